/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "runtime/holes.h"
#include "support/suite.h"

TestSuite(holes, .fini = dn_suite_end);

static bool has(const char *version, const char *cve)
{
	g_autoptr(GPtrArray) holes = dn_runtime_holes(version);

	cr_assert(holes != NULL, "%s is known", version);
	for (unsigned i = 0; i < holes->len; i++)
		if (g_str_equal(((const DnHole *)holes->pdata[i])->cve, cve))
			return true;
	return false;
}

Test(holes, a_version_below_the_repair_has_the_hole)
{
	cr_expect(has("crun version 1.8.1", "CVE-2026-47766"));
	cr_expect(has("crun version 1.19", "CVE-2026-30892"));
	cr_expect(has("crun version 1.26.9", "CVE-2026-30892"));
	cr_expect(has("runc version 1.1.5+ds1", "CVE-2024-21626"));
	cr_expect(has("runc version 1.0.0-rc6", "CVE-2019-5736"));
}

Test(holes, a_version_from_before_the_hole_does_not_have_it)
{
	cr_expect(not(has("crun version 1.8.1", "CVE-2026-30892")));
	cr_expect(not(has("crun version 1.18.2", "CVE-2026-30892")));
}

Test(holes, each_series_has_its_own_repair)
{
	cr_expect(has("runc version 1.2.7", "CVE-2025-31133"));
	cr_expect(not(has("runc version 1.2.8", "CVE-2025-31133")));
	cr_expect(has("runc version 1.3.0", "CVE-2025-31133"));
	cr_expect(has("runc version 1.3.2", "CVE-2025-52881"));
	cr_expect(not(has("runc version 1.3.3", "CVE-2025-52881")));
	cr_expect(has("runc version 1.4.0-rc.2", "CVE-2025-52565"));
	cr_expect(not(has("runc version 1.4.0-rc.3", "CVE-2025-52565")));
	cr_expect(has("runc version 1.4.2", "CVE-2026-41579"));
	cr_expect(not(has("runc version 1.3.6", "CVE-2026-41579")));
	cr_expect(not(has("runc version 1.4.3", "CVE-2026-41579")));
}

Test(holes, a_version_from_the_repair_on_does_not)
{
	cr_expect(not(has("crun version 1.27", "CVE-2026-30892")));
	cr_expect(not(has("crun version 2.0", "CVE-2026-47766")));
	cr_expect(not(has("crun version 1.8.1", "CVE-2022-27650")));
	cr_expect(not(has("runc version 1.1.12", "CVE-2024-21626")));
	cr_expect(not(has("runc version 1.0.0-rc7", "CVE-2019-5736")));
	cr_expect(not(has("runc version 1.0.0", "CVE-2021-30465")));
}

Test(holes, what_is_no_version_is_not_called_safe)
{
	static const char *const strangers[] = {"",
						"crun",
						"crun version",
						"crun version ?",
						"crun 1.8.1 version",
						"youki version 0.3"};

	for (size_t i = 0; i < G_N_ELEMENTS(strangers); i++) {
		g_autoptr(GPtrArray) holes = dn_runtime_holes(strangers[i]);
		cr_expect(zero(ptr, holes), "%s", strangers[i]);
	}
}

Test(holes, versions_are_compared_number_by_number)
{
	cr_expect(lt(int, dn_runtime_compare("1.8.1", "1.27"), 0));
	cr_expect(gt(int, dn_runtime_compare("1.10", "1.9"), 0));
	cr_expect(zero(int, dn_runtime_compare("1.0", "1.0.0")));
	cr_expect(lt(int, dn_runtime_compare("1.0-rc9", "1.0-rc10"), 0));
	cr_expect(lt(int, dn_runtime_compare("1.0-rc95", "1.0"), 0));
}
