/* SPDX-License-Identifier: Apache-2.0 */

/* The text and words of /proc/PID, as the kernel writes them and as nobody should. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/lines.h"
#include "inspect/text.h"
#include "support/suite.h"

TestSuite(text, .fini = dn_suite_end);

static bool parse(const char *line, DnMapping *mapping)
{
	return dn_mapping_parse(line, strlen(line), mapping);
}

Test(text, a_mapping_is_what_its_line_says)
{
	DnMapping mapping;

	cr_assert(parse("7fe3eb52f000-7fe3eb685000 r-xp 00026000 fe:00 332835        "
			"             /usr/lib/x y/libc.so.6",
			&mapping));
	cr_assert(eq(u64, mapping.start, 0x7fe3eb52f000));
	cr_assert(eq(u64, mapping.end, 0x7fe3eb685000));
	cr_assert(eq(u64, mapping.offset, 0x26000));
	cr_assert(eq(u64, mapping.dev, 0xfeULL << 20));
	cr_assert(eq(u64, mapping.ino, 332835));
	cr_assert(mapping.executable && !mapping.writable && !mapping.shared);
	cr_assert_str_eq(mapping.name, "/usr/lib/x y/libc.so.6");
	cr_assert(parse("1000-2000 rwxs 00000000 103:fffff 1 ", &mapping));
	cr_assert(mapping.executable && mapping.writable && mapping.shared);
	cr_assert(eq(u64, mapping.dev, 0x103ULL << 20 | 0xfffff));
	cr_assert_str_eq(mapping.name, "");
}

Test(text, code_of_the_kernels_has_its_name_and_no_file)
{
	DnMapping mapping;

	cr_assert(parse("7ffd3a3f7000-7ffd3a3f9000 r-xp 00000000 00:00 0    [vdso]", &mapping));
	cr_assert(dn_mapping_is_kernel(&mapping));
	cr_assert(parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]",
			&mapping));
	cr_assert(dn_mapping_is_kernel(&mapping));
	cr_assert(parse("1000-2000 r-xp 00000000 00:00 0 [anon:[vdso]]", &mapping));
	cr_assert(not(dn_mapping_is_kernel(&mapping)));
	cr_assert(parse("1000-2000 r-xp 00000000 00:00 0 [stack]", &mapping));
	cr_assert(not(dn_mapping_is_kernel(&mapping)));
	cr_assert(parse("1000-2000 r-xp 00000000 00:01 0 [vdso]", &mapping));
	cr_assert(not(dn_mapping_is_kernel(&mapping)));
	cr_assert(parse("1000-2000 r-xp 00000000 00:00 9 [vdso]", &mapping));
	cr_assert(not(dn_mapping_is_kernel(&mapping)));
}

Test(text, what_is_not_executable_is_known_before_it_is_parsed)
{
	static const char data[] = "7f1c00-7f1d00 rw-p 00000000 08:01 77   /data/x-file",
			  code[] = "7f1c00-7f1d00 r-xp 00000000 08:01 77   /lib/-",
			  cut[] = "7f1c00-7f1d00 rw-";

	cr_assert(dn_mapping_is_data(data, strlen(data)));
	cr_assert(not(dn_mapping_is_data(code, strlen(code))));
	cr_assert(not(dn_mapping_is_data(cut, strlen(cut))));
	cr_assert(not(dn_mapping_is_data("", 0)));
}

Test(text, what_is_no_mapping_is_refused)
{
	static const char *const lines[] = {
		"",
		"1000",
		"1000-",
		"1000-2000",
		"1000-2000 r-xp",
		"2000-1000 r-xp 00000000 00:00 0",
		"1000-1000 r-xp 00000000 00:00 0",
		"1000-2000 r-xq 00000000 00:00 0",
		"1000-2000 rwx 00000000 00:00 0",
		"1000-2000 r-xp 00000000 1000:00 0",
		"1000-2000 r-xp 00000000 00:100000 0",
		"1000-2000 r-xp 00000000 00:00 ",
		"1000-2000 r-xp 00000000 00:00 18446744073709551616",
		"10000000000000000-20000000000000000 r-xp 00000000 00:00 0",
		"-1000-2000 r-xp 00000000 00:00 0",
		"0x1000-0x2000 r-xp 00000000 00:00 0",
	};
	DnMapping mapping;

	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
		cr_assert(not(parse(lines[i], &mapping)), "%s", lines[i]);
	cr_assert(not(dn_mapping_parse("1000-2000 r\0xp 00000000 00:00 0", 32, &mapping)));
}

Test(text, a_name_longer_than_its_room_is_cut)
{
	g_autoptr(GString) line = g_string_new("1000-2000 r-xp 00000000 08:01 7 /");
	DnMapping mapping;

	for (int i = 0; i < 20000; i++)
		g_string_append_c(line, 'a');
	cr_assert(dn_mapping_parse(line->str, line->len, &mapping));
	cr_assert(eq(sz, strlen(mapping.name), sizeof(mapping.name) - 1));
	cr_assert(eq(u64, mapping.ino, 7));
}

static const char *const status_lines[] = {
	"Name:\tx\\nTracerPid:\t7",
	"Umask:\t0022",
	"State:\tS (sleeping)",
	"TracerPid:\t0",
	"Uid:\t1000000\t1000001\t1000002\t1000003",
	"Gid:\t1\t2\t3\t4",
	"Threads:\t12",
	"CapInh:\t0000000000000000",
	"CapPrm:\t000001ffffffffff",
	"CapEff:\t0000000000000000",
	"CapBnd:\tffffffffffffffff",
	"CapAmb:\t0000000000000001",
	"NoNewPrivs:\t1",
	"Seccomp:\t2",
	"Seccomp_filters:\t1",
};

Test(text, a_status_is_what_its_lines_say)
{
	DnStatus status = {0};

	for (size_t i = 0; i < G_N_ELEMENTS(status_lines); i++) {
		cr_assert(eq(int, dn_status_is_whole(&status), i > 13));
		cr_assert(dn_status_take(&status, status_lines[i], strlen(status_lines[i])), "%s",
			  status_lines[i]);
	}
	cr_assert(dn_status_is_whole(&status));
	cr_assert_str_eq(status.name, "x\\nTracerPid:\t7");
	cr_assert(eq(chr, status.state, 'S'));
	cr_assert(eq(u32, status.tracer, 0));
	cr_assert(eq(u32, status.uid[0], 1000000));
	cr_assert(eq(u32, status.uid[3], 1000003));
	cr_assert(eq(u32, status.gid[2], 3));
	cr_assert(eq(u32, status.threads, 12));
	cr_assert(eq(u64, status.capabilities[1], 0x1ffffffffff));
	cr_assert(eq(u64, status.capabilities[3], UINT64_MAX));
	cr_assert(eq(u64, status.capabilities[4], 1));
	cr_assert(eq(u32, status.no_new_privs, 1));
	cr_assert(eq(u32, status.seccomp, 2));
}

Test(text, a_line_of_a_status_that_is_wrong_is_refused)
{
	static const char *const lines[] = {
		"State:\t",
		"TracerPid:\t",
		"TracerPid:\tx",
		"TracerPid:\t7 ",
		"TracerPid:\t4294967296",
		"Uid:\t1\t2\t3",
		"Uid:\t1\t2\t3\t4\t5",
		"Uid:\t1 2 3 4",
		"Gid:\t-1\t2\t3\t4",
		"CapEff:\t",
		"CapEff:\t0x1",
		"CapEff:\t10000000000000000",
		"Seccomp:\t2x",
		"NoNewPrivs:\t",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		DnStatus status = {0};

		cr_assert(not(dn_status_take(&status, lines[i], strlen(lines[i]))), "%s", lines[i]);
		cr_assert(eq(u32, status.seen, 0));
	}
}

Test(text, a_line_of_a_status_that_is_there_twice_is_refused)
{
	DnStatus status = {0};

	cr_assert(dn_status_take(&status, "TracerPid:\t0", 12));
	cr_assert(not(dn_status_take(&status, "TracerPid:\t0", 12)));
}

static char *digest_of(const char *line)
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

	dn_mount_line_digest(sum, line, strlen(line));
	return g_strdup(g_checksum_get_string(sum));
}

static void assert_digests(const char *one, const char *other, bool same)
{
	g_autofree char *a = digest_of(one), *b = digest_of(other);

	cr_assert(eq(int, g_str_equal(a, b), same), "%s\n%s", one, other);
}

Test(text, a_mount_is_the_same_while_only_the_world_outside_changes)
{
	const char *mount = "36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw,errors=continue";

	assert_digests(mount, mount, true);
	assert_digests(mount,
		       "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root ro",
		       true);
	assert_digests(mount, "36 35 98:0 /mnt1//deleted /mnt2 rw,noatime - ext3 /dev/root rw",
		       true);
}

Test(text, the_root_of_a_node_is_the_same_when_its_checkout_is_set_aside)
{
	const char *root = "36 35 98:0 /checkouts/c1 / ro,nosuid,nodev - ext4 /dev/root rw";

	assert_digests(root, "36 35 98:0 /damaged/c1.x / ro,nosuid,nodev - ext4 /dev/root rw",
		       true);
	assert_digests(root,
		       "36 35 98:0 /damaged/c1.x//deleted / ro,nosuid,nodev - ext4 /dev/root rw",
		       true);
	assert_digests(root, "37 35 98:0 /checkouts/c1 / ro,nosuid,nodev - ext4 /dev/root rw",
		       false);
	assert_digests(root, "36 35 98:0 /checkouts/c1 / rw,nosuid,nodev - ext4 /dev/root rw",
		       false);
	assert_digests(root, "36 35 98:0 /damaged/c1.x /x ro,nosuid,nodev - ext4 /dev/root rw",
		       false);
}

Test(text, every_other_word_of_a_mount_counts)
{
	const char *mount = "36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw";
	static const char *const others[] = {
		"37 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw",
		"36 34 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw",
		"36 35 98:1 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw",
		"36 35 98:0 /mnt3 /mnt2 rw,noatime - ext3 /dev/root rw",
		"36 35 98:0 /mnt1 /mnt3 rw,noatime - ext3 /dev/root rw",
		"36 35 98:0 /mnt1 /mnt2 ro,noatime - ext3 /dev/root rw",
		"36 35 98:0 /mnt1 /mnt2 rw,noatime - ext4 /dev/root rw",
		"36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/sda rw",
		"36 35 98:0 /mnt1 /mnt2 rw,noatime",
		"",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
		assert_digests(mount, others[i], false);
	assert_digests("what is this", "what is that", false);
}

static bool is_below(const char *line, const char *path)
{
	return dn_cgroup_line_is_below(line, strlen(line), path);
}

Test(text, a_cgroup_is_below_itself_and_no_neighbour)
{
	cr_assert(is_below("0::/dnode/n1", "/dnode/n1"));
	cr_assert(is_below("0::/dnode/n1/deep/er", "/dnode/n1"));
	cr_assert(not(is_below("0::/dnode/n10", "/dnode/n1")));
	cr_assert(not(is_below("0::/dnode", "/dnode/n1")));
	cr_assert(not(is_below("0::/", "/dnode/n1")));
	cr_assert(not(is_below("4:memory:/dnode/n1", "/dnode/n1")));
	cr_assert(not(is_below("", "/dnode/n1")));
}

static bool namespace(const char *link, const char *kind, uint64_t *ino)
{
	return dn_namespace_parse(link, strlen(link), kind, ino);
}

Test(text, a_namespace_has_its_kind_and_a_number)
{
	uint64_t ino = 0;

	cr_assert(namespace("mnt:[4026531841]", "mnt", &ino));
	cr_assert(eq(u64, ino, 4026531841));
	cr_assert(not(namespace("mnt:[4026531841]", "net", &ino)));
	cr_assert(not(namespace("mnt:[4026531841", "mnt", &ino)));
	cr_assert(not(namespace("mnt:[4026531841]x", "mnt", &ino)));
	cr_assert(not(namespace("mnt:[]", "mnt", &ino)));
	cr_assert(not(namespace("mnt", "mnt", &ino)));
}

Test(text, a_page_is_copied_when_it_is_there_and_no_files)
{
	const uint64_t present = 1ULL << 63, swapped = 1ULL << 62, file = 1ULL << 61;
	const uint64_t guard = 1ULL << 58, soft_dirty = 1ULL << 55, exclusive = 1ULL << 56;

	cr_assert(dn_page_is_copied(present));
	cr_assert(dn_page_is_copied(present | soft_dirty | exclusive | 0x123456));
	cr_assert(dn_page_is_copied(swapped));
	cr_assert(not(dn_page_is_copied(0)));
	cr_assert(not(dn_page_is_copied(soft_dirty | exclusive)));
	cr_assert(not(dn_page_is_copied(present | file)));
	/* A page of the file's on its way to another frame. */
	cr_assert(not(dn_page_is_copied(swapped | file)));
	cr_assert(not(dn_page_is_copied(swapped | guard)));
	cr_assert(dn_page_is_of_file(present | file));
	cr_assert(not(dn_page_is_of_file(swapped | file)));
	cr_assert(not(dn_page_is_of_file(present)));
}

static int file_of(const char *text, size_t length)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);

	cr_assert(write(fd, text, length) == (ssize_t)length && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

Test(text, lines_come_one_by_one_and_the_last_needs_no_feed)
{
	dn_autofd int fd = file_of("one\n\ntwo\nthree", 14);
	const char *line = NULL;
	size_t length = 0;
	DnLines lines;

	dn_lines_begin(&lines, fd);
	cr_assert(eq(int, dn_lines_next(&lines, &line, &length), 1));
	cr_assert(length == 3 && memcmp(line, "one", 3) == 0);
	cr_assert(eq(int, dn_lines_next(&lines, &line, &length), 1));
	cr_assert(eq(sz, length, 0));
	cr_assert(eq(int, dn_lines_next(&lines, &line, &length), 1));
	cr_assert(length == 3 && memcmp(line, "two", 3) == 0);
	cr_assert(eq(int, dn_lines_next(&lines, &line, &length), 1));
	cr_assert(length == 5 && memcmp(line, "three", 5) == 0);
	cr_assert(eq(int, dn_lines_next(&lines, &line, &length), 0));
	cr_assert(eq(int, dn_lines_next(&lines, &line, &length), 0));
}

/* However long a line is, its tail is never taken for a line. */
Test(text, of_a_long_line_the_beginning_is_given_and_the_rest_passed_over)
{
	for (size_t size = DN_LINES_BYTES - 2; size < DN_LINES_BYTES * 3 + 3; size++) {
		g_autoptr(GString) text = g_string_new("first\n");
		const char *line = NULL;
		size_t length = 0;
		DnLines lines;

		for (size_t i = 0; i < size; i++)
			g_string_append_c(text, 'a');
		g_string_append(text, "\nlast\n");
		dn_autofd int fd = file_of(text->str, text->len);
		dn_lines_begin(&lines, fd);
		cr_assert(dn_lines_next(&lines, &line, &length) == 1 && length == 5);
		cr_assert(dn_lines_next(&lines, &line, &length) == 1);
		cr_assert(length == MIN(size, DN_LINES_BYTES) && line[0] == 'a', "%zu of %zu",
			  length, size);
		cr_assert(dn_lines_next(&lines, &line, &length) == 1);
		cr_assert(length == 4 && memcmp(line, "last", 4) == 0, "after %zu", size);
		cr_assert(dn_lines_next(&lines, &line, &length) == 0);
		if (size == DN_LINES_BYTES + 8)
			size = DN_LINES_BYTES * 3 - 4;
	}
}
