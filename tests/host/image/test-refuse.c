/* SPDX-License-Identifier: Apache-2.0 */

/* Images that are well signed by a key that may, and are refused by the host all the same. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/forge.h"
#include "support/suite.h"
#include "yard.h"

static Yard yard;

static void setup(void)
{
	yard_open(&yard);
}

static void teardown(void)
{
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(refuse, .init = setup, .fini = teardown);

static void offer(const Forgery *forgery)
{
	g_free(yard.commit);
	yard.commit = forge(yard.shop.repo_path, forgery);
	yard_sign(&yard, yard.commit, yard.release);
}

static void refuse(const Forgery *forgery, DnErrorCode code, const char *why)
{
	offer(forgery);
	yard_refuse(&yard, code, why);
	yard_expect_nothing(&yard);
}

Test(refuse, a_plain_image_by_the_same_means_is_taken)
{
	offer(&(Forgery){.ref = "apps/test"});
	yard_ensure(&yard);
}

Test(refuse, a_commit_without_a_ref_binding)
{
	refuse(&(Forgery){.ref = NULL}, DN_ERROR_UNTRUSTED, "is bound to no ref");
}

Test(refuse, a_commit_bound_to_another_ref)
{
	refuse(&(Forgery){.ref = "apps/other"}, DN_ERROR_UNTRUSTED, "was built as apps/other");
}

Test(refuse, set_id_files)
{
	refuse(&(Forgery){.ref = "apps/test", .file_mode = 04755}, DN_ERROR_INVALID,
	       "/bin/app is set-id");
	refuse(&(Forgery){.ref = "apps/test", .file_mode = 02755}, DN_ERROR_INVALID,
	       "/bin/app is set-id");
}

Test(refuse, file_capabilities)
{
	refuse(&(Forgery){.ref = "apps/test", .capability = true}, DN_ERROR_INVALID,
	       "/bin/app has file capabilities");
}

Test(refuse, owners_that_no_node_has)
{
	refuse(&(Forgery){.ref = "apps/test", .file_uid = 65536}, DN_ERROR_INVALID,
	       "/bin/app belongs to an id above 65535");
}

Test(refuse, mount_points_that_are_links_or_absent)
{
	static const char *const names[] = {"dev", "proc", "sys", "etc", "tmp", "run"};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *why = g_strdup_printf("/%s is no directory", names[i]);

		refuse(&(Forgery){.ref = "apps/test", .link = names[i]}, DN_ERROR_INVALID, why);
		refuse(&(Forgery){.ref = "apps/test", .absent = names[i]}, DN_ERROR_INVALID, why);
	}
}

Test(refuse, an_image_without_the_file_that_hosts_is_mounted_over)
{
	refuse(&(Forgery){.ref = "apps/test", .without_hosts = true}, DN_ERROR_INVALID,
	       "/etc/hosts");
}
