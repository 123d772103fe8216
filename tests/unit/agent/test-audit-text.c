/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "audit/text.h"
#include "support/suite.h"

TestSuite(audit_text, .fini = dn_suite_end);

static const char status[] = "Name:\tevil\\nSeccomp:\n"
			     "Uid:\t1000\t1000\t1000\t1000\n"
			     "Groups:\t \n"
			     "Seccomp:\t2\n"
			     "Seccomp_filters:\t1\n";

Test(audit_text, a_line_of_status_is_found_by_its_whole_name)
{
	g_autofree char *uid = dn_status_value(status, "Uid");
	g_autofree char *seccomp = dn_status_value(status, "Seccomp");
	g_autofree char *filters = dn_status_value(status, "Seccomp_filters");
	g_autofree char *groups = dn_status_value(status, "Groups");
	g_autofree char *missing = dn_status_value(status, "NoNewPrivs");
	g_autofree char *nothing = dn_status_value(NULL, "Uid");

	cr_expect_str_eq(uid, "1000\t1000\t1000\t1000");
	cr_expect_str_eq(seccomp, "2");
	cr_expect_str_eq(filters, "1");
	cr_expect_str_eq(groups, "");
	cr_expect_null(missing);
	cr_expect_null(nothing);
}

Test(audit_text, a_mount_is_read_with_its_propagation_and_escapes)
{
	g_autoptr(GPtrArray) mounts = dn_mounts_parse(
		"36 35 98:0 /a\\040b /mnt\\0112 ro,nosuid shared:3 master:1 - ext3 /dev/root "
		"rw,errors=continue\n"
		"37 36 0:31 / /tmp rw - tmpfs none rw,size=8192k,nr_inodes=64\n");

	cr_assert(eq(uint, mounts->len, 2));
	const DnMount *first = g_ptr_array_index(mounts, 0);
	const DnMount *second = g_ptr_array_index(mounts, 1);
	cr_expect(eq(u64, first->id, 36));
	cr_expect_str_eq(first->root, "/a b");
	cr_expect_str_eq(first->point, "/mnt\t2");
	cr_expect_str_eq(first->shared, "shared:3 master:1");
	cr_expect_str_eq(second->shared, "");
	cr_expect_str_eq(second->type, "tmpfs");
	g_autofree char *size = dn_mount_value(second->super, "size");
	cr_expect_str_eq(size, "8192k");
	cr_expect(eq(u64, dn_mount_size(size), 8 << 20));
}

Test(audit_text, what_is_no_mount_is_left_out)
{
	static const char *const lines[] = {"",
					    "1 2 3",
					    "a b c d e f - g h i",
					    "1 0 0:1 / / rw",
					    "1 0 0:1 / / rw - proc none",
					    "1 0 0:1 / / - - - -",
					    "-1 0 0:1 / / rw - proc none rw"};

	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autoptr(GPtrArray) mounts = dn_mounts_parse(lines[i]);

		cr_expect(eq(uint, mounts->len, 0), "%s", lines[i]);
	}
}

Test(audit_text, an_option_is_the_whole_word)
{
	cr_expect(dn_mount_has("rw,noexec,relatime", "noexec"));
	cr_expect(not(dn_mount_has("rw,noexec2,relatime", "noexec")));
	cr_expect(not(dn_mount_has("", "rw")));
	cr_expect_null(dn_mount_value("mysize=3k", "size"));
}

Test(audit_text, a_size_that_is_none_is_zero)
{
	cr_expect(eq(u64, dn_mount_size("512"), 512));
	cr_expect(eq(u64, dn_mount_size("1g"), 1 << 30));
	cr_expect(eq(u64, dn_mount_size("k"), 0));
	cr_expect(eq(u64, dn_mount_size("12x"), 0));
	cr_expect(eq(u64, dn_mount_size("50%"), 0));
	cr_expect(eq(u64, dn_mount_size("18446744073709551615g"), 0));
}

Test(audit_text, the_hard_limit_counts)
{
	static const char limits[] =
		"Limit                     Soft Limit           Hard Limit           Units     \n"
		"Max core file size        0                    unlimited            bytes     \n"
		"Max open files            1024                 4096                 files     \n";
	uint64_t value = 0;

	cr_assert(dn_limit_of(limits, "Max open files", &value));
	cr_expect(eq(u64, value, 4096));
	cr_assert(dn_limit_of(limits, "Max core file size", &value));
	cr_expect(eq(u64, value, UINT64_MAX));
	cr_expect(not(dn_limit_of(limits, "Max stack size", &value)));
	cr_expect(not(dn_limit_of(NULL, "Max open files", &value)));
}

Test(audit_text, listening_and_unconnected_sockets_are_told_from_others)
{
	static const char tcp[] =
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
		"   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n"
		"   1: 0100007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n"
		"   2: 0100580A:1F90 0200580A:C350 01 00000000:00000000 00:00000000 00000000 0\n";
	static const char tcp6[] = "  sl  local_address                         remote_address\n"
				   "   0: 00000000000000000000000000000000:1F91 "
				   "00000000000000000000000000000000:0000 0A 00000000:00000000\n"
				   "   1: 00000000000000000000000001000000:1F92 "
				   "00000000000000000000000000000000:0000 0A 00000000:00000000\n"
				   "   2: 0000000000000000FFFF00000100007F:1F93 "
				   "00000000000000000000000000000000:0000 0A 00000000:00000000\n";
	g_autoptr(GArray) four = dn_bound_sockets(tcp, true);
	g_autoptr(GArray) six = dn_bound_sockets(tcp6, true);
	g_autoptr(GArray) none = dn_bound_sockets(tcp, false);

	cr_assert(eq(uint, four->len, 2));
	cr_expect(eq(int, g_array_index(four, DnBound, 0).port, 8080));
	cr_expect(eq(int, g_array_index(four, DnBound, 0).loopback, false));
	cr_expect(eq(int, g_array_index(four, DnBound, 1).loopback, true));
	cr_assert(eq(uint, six->len, 3));
	cr_expect(eq(int, g_array_index(six, DnBound, 0).loopback, false));
	cr_expect(eq(int, g_array_index(six, DnBound, 1).loopback, true));
	cr_expect(eq(int, g_array_index(six, DnBound, 2).loopback, true));
	cr_expect(eq(uint, none->len, 0));
}

Test(audit_text, rows_are_counted_below_the_title)
{
	cr_expect(eq(uint, dn_table_rows(NULL), 0));
	cr_expect(eq(uint, dn_table_rows(""), 0));
	cr_expect(eq(uint, dn_table_rows("sk RefCnt\n"), 0));
	cr_expect(eq(uint, dn_table_rows("sk RefCnt\na\nb\n"), 2));
	cr_expect(eq(uint, dn_table_rows("sk RefCnt\na\nb"), 2));
}
