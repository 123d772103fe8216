/* SPDX-License-Identifier: Apache-2.0 */
#include "watcher.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { NEVER_MS = 3600 * 1000, PATIENCE_S = 20 };

const DnImageGuardRates watcher_told = {
	.sweep_ms = NEVER_MS,
	.sweep_files_per_s = 1000000,
	.marks_limit = DN_IMAGE_MARKS_LIMIT,
};

const DnImageGuardRates watcher_swept = {
	.sweep_ms = 20,
	.sweep_files_per_s = 1000000,
	.marks_limit = 0,
};

static void show(const GPtrArray *damages)
{
	for (guint i = 0; i < damages->len; i++) {
		const DnDamage *damage = damages->pdata[i];

		cr_log_info("found: /%s %s", damage->path, dn_damage_name(damage->kind));
	}
}

static uint64_t deadline(void)
{
	return dn_clock_monotonic_ns() + PATIENCE_S * DN_NS_PER_S;
}

DnImageGuard *watcher_begin(const Yard *yard, const DnImageGuardRates *rates)
{
	g_autoptr(GError) error = NULL;
	uint64_t end_ns = deadline();
	DnImageGuardState state = {0};
	DnImageGuard *guard = dn_image_guard_new(yard->store, rates, &error);

	cr_assert(ne(ptr, guard, NULL));
	cr_assert(dn_image_guard_add_now(guard, yard->commit, &error), "%s",
		  error != NULL ? error->message : "no error");
	do {
		g_autoptr(GPtrArray) damages = dn_damages_new();

		dn_image_guard_step_now(guard, 10, damages);
		show(damages);
		cr_assert(eq(int, (int)damages->len, 0));
		dn_image_guard_state(guard, &state);
		cr_assert(lt(u64, dn_clock_monotonic_ns(), end_ns), "the first look has no end");
	} while (state.watch.suspects > 0 || state.sweeps == 0);
	return guard;
}

void watcher_tamper(WatcherAct tamper, const char *path)
{
	int status = 0;
	pid_t child = fork();

	cr_assert(ge(int, child, 0));
	if (child == 0)
		_exit(tamper(path) ? 0 : 1);
	cr_assert(eq(int, waitpid(child, &status, 0), child));
	cr_assert(eq(int, status, 0), "%s could not be tampered with", path);
}

pid_t watcher_expect(DnImageGuard *guard, const char *path, DnDamageKind kind)
{
	uint64_t end_ns = deadline();

	while (dn_clock_monotonic_ns() < end_ns) {
		g_autoptr(GPtrArray) damages = dn_damages_new();

		dn_image_guard_step_now(guard, 100, damages);
		show(damages);
		for (guint i = 0; i < damages->len; i++) {
			const DnDamage *damage = damages->pdata[i];

			if (strcmp(damage->path, path) == 0 && damage->kind == kind &&
			    !damage->undone)
				return damage->writer;
		}
	}
	cr_fatal("/%s %s was not noticed", path, dn_damage_name(kind));
	return 0;
}

void watcher_expect_nothing(DnImageGuard *guard, unsigned sweeps, unsigned passes)
{
	uint64_t end_ns = deadline();
	DnImageGuardState before = {0}, now = {0};

	dn_image_guard_state(guard, &before);
	do {
		g_autoptr(GPtrArray) damages = dn_damages_new();

		dn_image_guard_step_now(guard, 10, damages);
		show(damages);
		cr_assert(eq(int, (int)damages->len, 0), "a false alarm");
		dn_image_guard_state(guard, &now);
		cr_assert(lt(u64, dn_clock_monotonic_ns(), end_ns), "the rounds have no end");
	} while (now.sweeps < before.sweeps + sweeps || now.passes < before.passes + passes ||
		 now.watch.suspects > 0);
}
