/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "fuzz/fuzz.h"
#include "runtime/container.h"

/* The file "status" in which crun keeps what it knows of a container. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char node[] = "web-00112233";
	g_autofree char *home = g_build_filename(fuzz_directory(), node, NULL);
	g_autofree char *status = g_build_filename(node, "status", NULL);
	DnInstance instance = {
		.runtime = (char *)"/bin/false",
		.runtime_root = (char *)fuzz_directory(),
		.cgroup_root = (char *)fuzz_directory(),
		.cgroup_parent = (char *)".",
	};
	DnContainer found = {0};
	bool created = false;
	GError *error = NULL;

	(void)mkdir(home, 0700);
	fuzz_write(status, data, size);
	bool done = dn_container_find_now(&instance, node, &found, &created, &error);
	fuzz_judge(done, error);
	return 0;
}
