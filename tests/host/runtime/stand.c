/* SPDX-License-Identifier: Apache-2.0 */
#include "stand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "runtime/logs.h"
#include "runtime/program.h"
#include "runtime/root.h"

enum { UID_BASE = 0x60000000, WAIT_S = 10, TOOL_TIMEOUT_MS = 10000 };

static char *join(const char *directory, const char *name)
{
	return g_build_filename(directory, name, NULL);
}

static void run(const char *const *argv)
{
	g_autoptr(GError) error = NULL;
	DnProgram program = DN_PROGRAM(argv, TOOL_TIMEOUT_MS);

	cr_assert(dn_program_run_now(&program, NULL, &error), "%s",
		  error != NULL ? error->message : "");
}

static void make_image(Stand *self)
{
	static const char *const directories[] = {"proc", "dev", "etc", "tmp", NULL};
	g_autofree char *program = join(self->checkout, "inside");
	g_autofree char *passwd = join(self->checkout, "etc/passwd");
	g_autofree char *data = join(self->checkout, "data");
	g_autoptr(GBytes) bytes = dn_file_read(TEST_INSIDE, 64 << 20, NULL);

	cr_assert(ne(ptr, bytes, NULL), "%s is not built", TEST_INSIDE);
	for (size_t i = 0; directories[i] != NULL; i++) {
		g_autofree char *path = join(self->checkout, directories[i]);

		cr_assert(dn_file_make_directory(path, 0755, NULL));
	}
	cr_assert(dn_file_replace(program, bytes, 0755, NULL));
	cr_assert(g_file_set_contents(passwd, "root:x:0:0\n", -1, NULL));
	cr_assert(g_file_set_contents(data, "data\n", -1, NULL));
	cr_assert(eq(int, g_chmod(passwd, 0644), 0));
	cr_assert(eq(int, g_chmod(data, 0644), 0));
}

/* A namespace of the test's own, with its loopback up: what agent/network makes for real nodes. */
static void make_netns(Stand *self)
{
	g_autofree char *name = g_path_get_basename(self->netns);
	const char *add[] = {"ip", "netns", "add", name, NULL};
	const char *up[] = {"ip", "-n", name, "link", "set", "lo", "up", NULL};

	run(add);
	run(up);
}

static void make_instance(Stand *self, const char *name)
{
	g_autoptr(GError) error = NULL;

	self->instance = (DnInstance){
		.name = g_strdup(name),
		.state_dir = join(self->directory, "state"),
		.run_dir = join(self->directory, "run"),
		.cgroup_parent = g_strdup_printf("%s/h1", name),
		.cgroup_root = dn_cgroup_find_root(&error),
		.runtime = g_strdup("crun"),
		.runtime_root = join(self->directory, "crun"),
		.uid_base = UID_BASE,
		.libexec_dir = g_strdup(TEST_LIBEXEC_DIR),
	};
	cr_assert(ne(ptr, self->instance.cgroup_root, NULL), "%s",
		  error != NULL ? error->message : "");
	cr_assert(dn_file_make_directory(self->instance.run_dir, 0711, NULL));
	cr_assert(dn_cgroup_prepare(&self->instance, &self->cgroup_level, &error), "%s",
		  error != NULL ? error->message : "");
}

static void make_spec(Stand *self, char *const *args)
{
	DnManifest *manifest = dn_manifest_new();
	DnWritable tmp = {.path = g_strdup("/tmp"), .size_bytes = 4 << 20};

	manifest->service = g_strdup("web");
	manifest->epoch = 7;
	manifest->image_ref = g_strdup("apps/hello");
	manifest->image_commit = g_strdup("c0ffee");
	manifest->memory_bytes = 64 << 20;
	manifest->cpu_milli = 1000;
	manifest->pids = 16;
	manifest->files = 128;
	g_array_append_val(manifest->writable, tmp);
	manifest->run.args = g_strdupv((char **)args);
	manifest->run.env = g_strsplit("DNODE_NODE=forged MODE=prod", " ", -1);
	manifest->run.uid = 1000;
	self->manifest = manifest;
	self->spec = (DnContainerSpec){
		.node = self->node,
		.uid_base = UID_BASE,
		.root = self->root,
		.netns = self->netns,
		.hosts_file = self->hosts_file,
		.manifest = manifest,
		.run = &manifest->run,
		.log_dir = self->log_dir,
	};
	self->fast.fast_start = true;
}

void stand_open(Stand *self, char *const *args)
{
	g_autofree char *name = g_strdup_printf("dnt%d", (int)getpid());

	*self = (Stand){0};
	self->directory = g_dir_make_tmp("dnt-runtime-XXXXXX", NULL);
	cr_assert(eq(int, g_chmod(self->directory, 0711), 0));
	self->checkout = join(self->directory, "checkout");
	self->hosts_file = join(self->directory, "hosts");
	self->node = g_strdup_printf("%s-web", name);
	self->root = join(self->directory, "root");
	self->log_dir = join(self->directory, "log");
	self->netns = g_strdup_printf("/run/netns/%s", name);
	make_image(self);
	cr_assert(g_file_set_contents(self->hosts_file, "10.0.0.1 db.service.dnode\n", -1, NULL));
	cr_assert(eq(int, g_chmod(self->hosts_file, 0644), 0));
	make_instance(self, name);
	make_netns(self);
	make_spec(self, args);
}

static void clear_instance(DnInstance *instance)
{
	g_free(instance->name);
	g_free(instance->state_dir);
	g_free(instance->run_dir);
	g_free(instance->cgroup_parent);
	g_free(instance->cgroup_root);
	g_free(instance->runtime);
	g_free(instance->runtime_root);
	g_free(instance->libexec_dir);
}

/* dn_cgroup_remove_parent() ends at h1; what is above it is the test's. */
static void remove_cgroups(Stand *self)
{
	DnInstance above = self->instance;
	g_autofree char *top = g_path_get_dirname(self->instance.cgroup_parent);
	g_autoptr(GError) error = NULL;

	above.cgroup_parent = top;
	cr_expect(dn_cgroup_remove_parent(&self->instance, &error), "%s",
		  error != NULL ? error->message : "");
	cr_expect(dn_cgroup_remove_parent(&above, NULL));
}

/* Everything is tried, whatever failed before: a test must not leave anything on the host. */
void stand_close(Stand *self)
{
	g_autofree char *name = g_path_get_basename(self->netns);
	const char *del[] = {"ip", "netns", "del", name, NULL};
	g_autoptr(GError) error = NULL;

	cr_expect(dn_container_delete_now(&self->instance, self->node, &error), "%s",
		  error != NULL ? error->message : "");
	cr_expect(dn_root_unmount_now(self->root, NULL));
	remove_cgroups(self);
	run(del);
	cr_expect(dn_file_remove_tree(self->directory, NULL));
	clear_instance(&self->instance);
	g_clear_pointer(&self->manifest, dn_manifest_unref);
	g_free(self->directory);
	g_free(self->checkout);
	g_free(self->hosts_file);
	g_free(self->node);
	g_free(self->root);
	g_free(self->log_dir);
	g_free(self->netns);
}

void stand_mount_root(Stand *self)
{
	g_autoptr(GError) error = NULL;
	dn_autofd int owner_fd = dn_root_owner_now(self->spec.uid_base, &error);

	cr_assert(owner_fd >= 0 && dn_root_mount_now(self->checkout, self->root, owner_fd, &error),
		  "%s", error != NULL ? error->message : "");
}

DnContainer stand_create(Stand *self)
{
	g_autoptr(GError) error = NULL;
	DnContainer made = {0};

	stand_mount_root(self);
	cr_assert(dn_container_create_now(&self->instance, &self->spec, &made, &error), "%s",
		  error != NULL ? error->message : "");
	return made;
}

void stand_start(Stand *self)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_container_start_now(&self->instance, &self->fast, self->node, &error), "%s",
		  error != NULL ? error->message : "");
}

char *stand_wait_for_log(const Stand *self, const char *text)
{
	uint64_t deadline_ns = dn_clock_monotonic_ns() + WAIT_S * DN_NS_PER_S;
	g_autofree char *said = NULL;

	do {
		g_free(said);
		said = dn_logs_read_now(self->log_dir, 1000, NULL, NULL);
		if (said != NULL && strstr(said, text) != NULL)
			return g_steal_pointer(&said);
		g_usleep(2000);
	} while (dn_clock_monotonic_ns() < deadline_ns);
	cr_assert(false, "the log never had '%s':\n%s", text, said);
	return NULL;
}

void stand_wait_for_end(const DnContainer *container)
{
	uint64_t deadline_ns = dn_clock_monotonic_ns() + WAIT_S * DN_NS_PER_S;
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)container->pid);

	while (dn_clock_monotonic_ns() < deadline_ns) {
		g_autofree char *stat = dn_file_read_kernel(path, 4096, NULL);
		const char *state = stat != NULL ? strrchr(stat, ')') : NULL;

		if (state == NULL || state[2] == 'Z' || state[2] == 'X')
			return;
		g_usleep(1000);
	}
	cr_assert(false, "process %d did not end", (int)container->pid);
}
