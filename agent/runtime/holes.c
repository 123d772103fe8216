/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/holes.h"

#include <string.h>

/*
 * From the advisories of containers/crun and opencontainers/runc, each compared with what a
 * distribution or a scanner says of it. A hole that several series had has a row for each.
 *
 * Left out: CVE-2026-88264 and CVE-2026-88265 of crun up to 1.29.1, which no version has closed
 * yet. They need a container without a /dev of its own, and every node has one (oci-config.c).
 */
static const DnHole holes[] = {
	{"crun", "CVE-2019-18837", "0", "0.10.5", "symbolic links of the image followed at mounts"},
	{"crun", "CVE-2022-27650", "0", "1.4.4", "inheritable capabilities in exec"},
	{"crun", "CVE-2025-24965", "0", "1.20", "krun: a file followed out of the root"},
	{"crun", "CVE-2026-30892", "1.19", "1.27", "exec -u takes the wrong user"},
	{"crun", "CVE-2026-47766", "0", "1.28", "an image's /dev that is a link reaches the host"},
	{"runc", "CVE-2019-5736", "0", "1.0-rc7", "the runtime's own program written from inside"},
	{"runc", "CVE-2021-30465", "0", "1.0-rc95", "a mount's target exchanged for a link"},
	{"runc", "CVE-2022-29162", "0", "1.1.2", "inheritable capabilities in exec"},
	{"runc", "CVE-2023-27561", "0", "1.1.5", "a volume over /proc"},
	{"runc", "CVE-2023-28642", "0", "1.1.5", "a link in place of /proc"},
	{"runc", "CVE-2024-21626", "0", "1.1.12", "a directory of the host left open"},
	{"runc", "CVE-2024-45310", "0", "1.1.14", "empty files made on the host"},
	{"runc", "CVE-2024-45310", "1.2-rc1", "1.2-rc3", "empty files made on the host"},
	{"runc", "CVE-2025-31133", "0", "1.2.8", "masked paths through an exchanged /dev/null"},
	{"runc", "CVE-2025-31133", "1.3-rc1", "1.3.3", "masked paths by an exchanged /dev/null"},
	{"runc", "CVE-2025-31133", "1.4-rc1", "1.4-rc3", "masked paths by an exchanged /dev/null"},
	{"runc", "CVE-2025-52565", "0", "1.2.8", "a link bound over /dev/console"},
	{"runc", "CVE-2025-52565", "1.3-rc1", "1.3.3", "a link bound over /dev/console"},
	{"runc", "CVE-2025-52565", "1.4-rc1", "1.4-rc3", "a link bound over /dev/console"},
	{"runc", "CVE-2025-52881", "0", "1.2.8", "writes to /proc redirected"},
	{"runc", "CVE-2025-52881", "1.3-rc1", "1.3.3", "writes to /proc redirected"},
	{"runc", "CVE-2025-52881", "1.4-rc1", "1.4-rc3", "writes to /proc redirected"},
	{"runc", "CVE-2026-41579", "0", "1.3.6", "an image's /dev that is a link reaches the host"},
	{"runc", "CVE-2026-41579", "1.4-rc1", "1.4.3", "an image's /dev that is a link"},
	{"runc", "CVE-2026-41579", "1.5-rc1", "1.5-rc3", "an image's /dev that is a link"},
};

/* The number at *@at, which is moved behind it and one dot. */
static guint64 next_number(const char **at)
{
	char *end = NULL;
	guint64 number = g_ascii_strtoull(*at, &end, 10);

	*at = *end == '.' ? end + 1 : end;
	return number;
}

static bool is_candidate(const char *rest)
{
	return g_str_has_prefix(rest, "-rc");
}

int dn_runtime_compare(const char *one, const char *other)
{
	for (;;) {
		bool more = g_ascii_isdigit(*one) || g_ascii_isdigit(*other);
		guint64 left = g_ascii_isdigit(*one) ? next_number(&one) : 0;
		guint64 right = g_ascii_isdigit(*other) ? next_number(&other) : 0;

		if (left != right)
			return left < right ? -1 : 1;
		if (!more)
			break;
	}
	if (is_candidate(one) != is_candidate(other))
		return is_candidate(one) ? -1 : 1;
	if (!is_candidate(one))
		return 0;
	one += strlen("-rc");
	other += strlen("-rc");
	one += *one == '.';
	other += *other == '.';
	return dn_runtime_compare(one, other);
}

GPtrArray *dn_runtime_holes(const char *version)
{
	g_auto(GStrv) words = g_strsplit(version, " ", 4);

	if (g_strv_length(words) < 3 || strcmp(words[1], "version") != 0 ||
	    !g_ascii_isdigit(words[2][0]))
		return NULL;
	g_autoptr(GPtrArray) found = g_ptr_array_new();
	bool known = false;
	for (size_t i = 0; i < G_N_ELEMENTS(holes); i++) {
		if (strcmp(words[0], holes[i].runtime) != 0)
			continue;
		known = true;
		if (dn_runtime_compare(words[2], holes[i].since) >= 0 &&
		    dn_runtime_compare(words[2], holes[i].fixed) < 0)
			g_ptr_array_add(found, (gpointer)&holes[i]);
	}
	return known ? g_steal_pointer(&found) : NULL;
}
