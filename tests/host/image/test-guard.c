/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/repair.h"
#include "intruder.h"
#include "support/suite.h"
#include "watcher.h"

static Yard yard;
static DnImageGuard *guard;

static void setup(void)
{
	yard_open(&yard);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void teardown(void)
{
	dn_image_guard_free(guard);
	guard = NULL;
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(guard, .init = setup, .fini = teardown, .timeout = 120);

static void begin(const DnImageGuardRates *rates)
{
	guard = watcher_begin(&yard, rates);
}

static char *in(const char *path)
{
	return yard_in_checkout(&yard, path);
}

/* ---- each kind, told by the kernel at once ---- */

static const struct {
	const char *what;
	WatcherAct act;
	const char *path;
	bool by_object;
	DnDamageKind kind;
	const char *found; /* NULL: path */
} acts[] = {
	{"content", intruder_flip, "bin/app", false, DN_DAMAGE_CONTENT_DISK, NULL},
	{"content, times set back", intruder_flip_and_hide, "bin/app", false,
	 DN_DAMAGE_CONTENT_DISK, NULL},
	{"content by the object", intruder_flip, "bin/tool", true, DN_DAMAGE_CONTENT_DISK, NULL},
	{"mode", intruder_make_writable, "etc/app.conf", false, DN_DAMAGE_MODE, NULL},
	{"mode by the object", intruder_make_writable, "etc/app.conf", true, DN_DAMAGE_MODE, NULL},
	{"mode of a directory", intruder_make_writable, "usr/share", false, DN_DAMAGE_MODE, NULL},
	{"owner", intruder_give_away, "bin/tool", false, DN_DAMAGE_OWNER, NULL},
	{"owner of a link", intruder_give_away, "bin/sh", false, DN_DAMAGE_OWNER, NULL},
	{"xattr", intruder_annotate, "usr/share/noise", false, DN_DAMAGE_XATTR, NULL},
	{"xattr of a directory", intruder_annotate, "bin", false, DN_DAMAGE_XATTR, NULL},
	{"extra", intruder_make, "bin/extra", false, DN_DAMAGE_EXTRA, NULL},
	{"missing", intruder_delete, "bin/tool", false, DN_DAMAGE_MISSING, NULL},
	{"renamed: missing", intruder_move, "bin/app", false, DN_DAMAGE_MISSING, NULL},
	{"renamed: extra", intruder_move, "bin/app", false, DN_DAMAGE_EXTRA, "bin/app.moved"},
	{"renamed directory", intruder_move, "usr", false, DN_DAMAGE_MISSING, NULL},
	{"another kind", intruder_relink, "bin/tool", false, DN_DAMAGE_KIND, NULL},
};

static void expect_clean_after_repair(const GPtrArray *damages)
{
	g_autoptr(GError) error = NULL;
	const DnImageOrigin origin = {.url = yard.url, .ref = "apps/test", .commit = yard.commit};

	cr_assert(dn_image_store_repair_now(yard.store, &origin, damages, &error), "%s",
		  error != NULL ? error->message : "no error");
	watcher_expect_nothing(guard, 0, 0);
	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, NULL));
}

static GPtrArray *one_damage(const char *path, DnDamageKind kind)
{
	GPtrArray *damages = dn_damages_new();

	dn_damages_add(damages, yard.commit, path, kind);
	return damages;
}

static void expect_act(size_t i, const DnImageGuardRates *rates)
{
	const char *wanted = acts[i].found != NULL ? acts[i].found : acts[i].path;
	g_autofree char *path =
		acts[i].by_object ? yard_object_of(&yard, acts[i].path) : in(acts[i].path);
	g_autoptr(GPtrArray) damages = one_damage(wanted, acts[i].kind);

	begin(rates);
	watcher_tamper(acts[i].act, path);
	cr_log_info("%s", acts[i].what);
	watcher_expect(guard, wanted, acts[i].kind);
	expect_clean_after_repair(damages);
	dn_image_guard_free(guard);
	guard = NULL;
	cr_assert(dn_image_store_forget_now(yard.store, yard.commit, NULL));
	yard_ensure(&yard);
}

Test(guard, every_change_is_told_by_the_kernel_and_gone_after_the_repair)
{
	for (size_t i = 0; i < G_N_ELEMENTS(acts); i++)
		expect_act(i, &watcher_told);
}

Test(guard, every_change_is_found_by_its_stamp_where_the_kernel_tells_nothing)
{
	for (size_t i = 0; i < G_N_ELEMENTS(acts); i++)
		expect_act(i, &watcher_swept);
}

Test(guard, a_write_through_a_link_outside_of_the_store_is_told_with_its_writer)
{
	g_autofree char *file = in("bin/app");
	g_autofree char *third = workshop_path(&yard.shop, "third");

	cr_assert(eq(int, link(file, third), 0));
	begin(&watcher_told);
	watcher_tamper(intruder_flip, third);
	cr_assert(gt(int, watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK), 0));
}

Test(guard, a_shared_mapping_is_told_when_it_is_closed)
{
	g_autofree char *path = in("usr/share/noise");

	begin(&watcher_told);
	watcher_tamper(intruder_flip_by_mapping, path);
	watcher_expect(guard, "usr/share/noise", DN_DAMAGE_CONTENT_DISK);
}

Test(guard, a_shared_mapping_is_found_while_it_is_held)
{
	g_autofree char *path = in("usr/share/noise");
	const DnImageGuardRates rates = {
		.sweep_ms = 20,
		.sweep_files_per_s = 1000000,
		.marks_limit = DN_IMAGE_MARKS_LIMIT,
	};

	begin(&rates);
	dn_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	char *at = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert(ne(ptr, at, MAP_FAILED));
	at[0] ^= 1;
	watcher_expect(guard, "usr/share/noise", DN_DAMAGE_CONTENT_DISK);
	cr_assert(eq(int, munmap(at, 1), 0));
}

/* ---- the repository ---- */

Test(guard, a_lost_object_is_told_though_the_checkout_is_right)
{
	g_autofree char *object = yard_object_of(&yard, "bin/app");
	const char *name = strstr(object, "objects/");

	begin(&watcher_told);
	watcher_tamper(intruder_delete, object);
	watcher_expect(guard, name, DN_DAMAGE_OBJECT);
	g_autoptr(GPtrArray) damages = one_damage(name, DN_DAMAGE_OBJECT);
	expect_clean_after_repair(damages);
	cr_assert(eq(int, access(object, F_OK), 0));
}

static void expect_object(const char *suffix, WatcherAct act)
{
	g_autofree char *objects = g_build_filename(yard.instance.state_dir, "repo/objects", NULL);
	g_autoptr(GPtrArray) found = yard_find(objects, suffix);
	const char *object = found->pdata[0];

	begin(&watcher_told);
	watcher_tamper(act, object);
	/* A tree that is lost or changed is said of the commit whose it is. */
	g_autofree char *commit =
		g_strdup_printf("objects/%.2s/%s.commit", yard.commit, yard.commit + 2);
	const char *name =
		g_str_has_suffix(object, ".dirmeta") ? strstr(object, "objects/") : commit;
	watcher_expect(guard, name, DN_DAMAGE_OBJECT);
	g_autoptr(GPtrArray) damages = one_damage(name, DN_DAMAGE_OBJECT);
	expect_clean_after_repair(damages);
	dn_image_guard_free(guard);
	guard = NULL;
}

Test(guard, changed_and_lost_trees_of_the_repository_are_told)
{
	static const char *const kinds[] = {".dirmeta", ".dirtree", ".commit"};

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		expect_object(kinds[i], intruder_flip);
		expect_object(kinds[i], intruder_delete);
	}
}

/* ---- no alarms ---- */

Test(guard, the_agents_own_work_is_no_alarm)
{
	const DnImageGuardRates rates = {
		.sweep_ms = 10,
		.sweep_files_per_s = 1000000,
		.pass_bytes_per_s = 1 << 30,
		.pass_ms = 10,
		.marks_limit = DN_IMAGE_MARKS_LIMIT,
	};
	g_autofree char *first = g_strdup(yard.commit);

	begin(&rates);
	for (unsigned i = 0; i < 3; i++) {
		g_autofree char *text = g_strdup_printf("another %u", i);

		/* Shares all its other files with the guarded one. */
		workshop_write(&yard.shop, "root/usr/share/new", text, 0644);
		yard_image(&yard, yard.release);
		yard_ensure(&yard);
		cr_assert(dn_image_guard_add_now(guard, yard.commit, NULL));
		watcher_expect_nothing(guard, 2, 2);
		g_autoptr(GPtrArray) none = dn_damages_new();
		expect_clean_after_repair(none);
		DnImageCopyReport report;
		cr_assert(dn_image_store_private_copy_now(yard.store, yard.commit, NULL, &report,
							  NULL));
		watcher_expect_nothing(guard, 2, 2);
		cr_assert(dn_image_store_forget_now(yard.store, yard.commit, NULL));
		watcher_expect_nothing(guard, 2, 2);
	}
	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", first, NULL));
}

static gint stop; /* atomic */

static gpointer look_on(gpointer data)
{
	GPtrArray *all = data;

	while (!g_atomic_int_get(&stop))
		dn_image_guard_step_now(guard, 10, all);
	return NULL;
}

Test(guard, the_agents_own_work_is_no_alarm_while_it_is_done)
{
	const DnImageGuardRates rates = {
		.sweep_ms = 1,
		.sweep_files_per_s = 1000000,
		.pass_bytes_per_s = UINT64_C(1) << 40,
		.pass_ms = 1,
		.marks_limit = DN_IMAGE_MARKS_LIMIT,
	};
	g_autoptr(GPtrArray) damages = dn_damages_new();
	g_autoptr(GPtrArray) none = dn_damages_new();

	begin(&rates);
	GThread *thread = g_thread_new("look", look_on, damages);
	for (unsigned i = 0; i < 8; i++) {
		g_autofree char *text = g_strdup_printf("another %u", i);
		DnImageOrigin own = {.url = yard.url, .ref = "apps/test"};
		DnImageCopyReport report;

		workshop_write(&yard.shop, "root/usr/share/new", text, 0644);
		yard_image(&yard, yard.release);
		yard_ensure(&yard);
		cr_assert(dn_image_guard_add_now(guard, yard.commit, NULL));
		own.commit = yard.commit;
		cr_assert(dn_image_store_repair_now(yard.store, &own, none, NULL));
		cr_assert(dn_image_store_private_copy_now(yard.store, yard.commit, NULL, &report,
							  NULL));
		cr_assert(dn_image_store_forget_now(yard.store, yard.commit, NULL));
	}
	g_atomic_int_set(&stop, 1);
	(void)g_thread_join(thread);
	for (guint i = 0; i < damages->len; i++) {
		const DnDamage *damage = damages->pdata[i];

		cr_expect(false, "/%s %s", damage->path, dn_damage_name(damage->kind));
	}
}

Test(guard, reading_running_and_linking_are_no_alarm)
{
	g_autofree char *file = in("bin/app");
	g_autofree char *third = workshop_path(&yard.shop, "third");
	g_autofree char *command = g_strdup_printf("cat %s >/dev/null; ls -lR $(dirname %s)/.. "
						   ">/dev/null; ln %s %s; rm %s",
						   file, file, file, third, third);
	const DnImageGuardRates rates = {
		.sweep_ms = 10,
		.sweep_files_per_s = 1000000,
		.marks_limit = DN_IMAGE_MARKS_LIMIT,
	};

	begin(&rates);
	cr_assert(eq(int, system(command), 0));
	watcher_expect_nothing(guard, 3, 0);
}

Test(guard, what_was_found_is_said_once)
{
	g_autofree char *path = in("bin/app");

	begin(&watcher_told);
	watcher_tamper(intruder_flip, path);
	watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK);
	watcher_tamper(intruder_make_writable, path);
	watcher_expect(guard, "bin/app", DN_DAMAGE_MODE);
	watcher_tamper(intruder_make_writable, path);
	watcher_expect_nothing(guard, 0, 0);
}

/* ---- limits ---- */

Test(guard, who_writes_to_one_file_without_end_hides_no_other)
{
	g_autofree char *noisy = in("bin/app");
	g_autofree char *quiet = in("usr/share/noise");

	begin(&watcher_told);
	pid_t child = intruder_flood(noisy);
	watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK);
	watcher_tamper(intruder_make_writable, quiet);
	watcher_expect(guard, "usr/share/noise", DN_DAMAGE_MODE);
	cr_assert(eq(int, kill(child, SIGKILL), 0));
	cr_assert(eq(int, waitpid(child, NULL, 0), child));
}

Test(guard, when_the_kernels_queue_runs_over_everything_is_looked_at)
{
	g_autofree char *objects =
		g_build_filename(yard.instance.state_dir, "repo/refs/heads", NULL);
	g_autofree char *file = in("bin/app");
	DnImageGuardState state = {0};

	begin(&watcher_told);
	/* Each a file of its own, so that the kernel cannot make one event of them. */
	for (unsigned i = 0; i < 4; i++)
		watcher_tamper(intruder_touch_much, objects);
	watcher_tamper(intruder_flip, file);
	watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK);
	dn_image_guard_state(guard, &state);
	cr_assert(gt(u64, state.watch.overflows, 0), "the queue did not run over");
}

Test(guard, who_damages_again_and_again_meets_a_limit_with_a_clear_error)
{
	g_autofree char *path = in("bin/app");
	const DnImageOrigin origin = {.url = yard.url, .ref = "apps/test", .commit = yard.commit};
	g_autoptr(GPtrArray) damages = one_damage("bin/app", DN_DAMAGE_CONTENT_DISK);
	g_autoptr(GError) error = NULL;
	unsigned repaired = 0;

	begin(&watcher_told);
	while (repaired < 100) {
		watcher_tamper(intruder_flip, path);
		watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK);
		if (!dn_image_store_repair_now(yard.store, &origin, damages, &error))
			break;
		watcher_expect_nothing(guard, 0, 0);
		repaired++;
	}
	cr_assert(eq(int, (int)repaired, 8));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, "damaged checkouts are kept"), NULL));
}

Test(guard, a_repair_that_finds_nobody_leaves_nothing_to_start_from)
{
	g_autofree char *path = in("bin/app");
	g_autofree char *checkout = dn_image_store_checkout(yard.store, yard.commit);
	const DnImageOrigin origin = {
		.url = "http://127.0.0.1:1/repo", .ref = "apps/test", .commit = yard.commit};
	g_autoptr(GPtrArray) damages = one_damage("bin/app", DN_DAMAGE_CONTENT_DISK);
	g_autoptr(GError) error = NULL;

	begin(&watcher_told);
	watcher_tamper(intruder_flip, path);
	watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK);
	cr_assert(not(dn_image_store_repair_now(yard.store, &origin, damages, &error)));
	cr_assert(ne(int, access(checkout, F_OK), 0));
	watcher_expect_nothing(guard, 0, 0);
	yard_ensure(&yard);
}
