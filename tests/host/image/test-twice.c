/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "disk.h"
#include "intruder.h"
#include "support/suite.h"
#include "watcher.h"

/*
 * What is right again when the guard looks a second time. The file is long, and only its first byte
 * is ever wrong: when the guard has read half of it, it has seen that, and the second look is still
 * to come. How far it came is seen by the pages it brought into memory.
 */

enum { LONG_BYTES = 20 << 20, PAGE = 4096, PATIENCE_S = 20, ATTEMPTS = 10 };

static const char *const name = "usr/share/long";
static Yard yard;
static Disk disk;

static void setup(void)
{
	g_autofree char *text = g_strnfill(LONG_BYTES, 'x');

	yard_open(&yard);
	disk_put_under(&disk, &yard);
	workshop_write(&yard.shop, "root/usr/share/long", text, 0644);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void teardown(void)
{
	disk_take_away(&disk, &yard);
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(twice, .init = setup, .fini = teardown, .timeout = 240);

static bool evict(const char *path, off_t from)
{
	dn_autofd int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, from, 0, POSIX_FADV_DONTNEED) == 0;
}

/* Acts of others: the byte is wrong by a write, or in the cache alone and the file is touched. */
static bool flip_and_evict(const char *path)
{
	return intruder_flip(path) && evict(path, 0);
}

static bool touch_and_evict(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0) == 0 && evict(path, PAGE);
}

/* What this process does, which the guard believes, when half of the file was read. */
typedef struct {
	char *path;
	WatcherAct undo;
	gint done; /* atomic */
} Meanwhile;

/* Is the page in the middle in memory? A mapping that is not touched brings none. */
static bool is_half_read(const char *path)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, LONG_BYTES / 2);
	unsigned char there = 0;

	if (at == MAP_FAILED)
		return false;
	bool known = mincore(at, PAGE, &there) == 0;
	(void)munmap(at, PAGE);
	return known && (there & 1) != 0;
}

static gpointer undo_halfway(gpointer data)
{
	Meanwhile *self = data;
	uint64_t end_ns = dn_clock_monotonic_ns() + PATIENCE_S * DN_NS_PER_S;

	while (!is_half_read(self->path) && dn_clock_monotonic_ns() < end_ns)
		continue;
	g_atomic_int_set(&self->done, self->undo(self->path) ? 1 : -1);
	return NULL;
}

static bool forget_first_page(const char *path)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && posix_fadvise(fd, 0, PAGE, POSIX_FADV_DONTNEED) == 0;
}

/* What the guard says of a file that is made wrong by @act and put right by @undo meanwhile. */
static GPtrArray *look(DnImageGuard *guard, WatcherAct act, WatcherAct undo)
{
	Meanwhile meanwhile = {.path = yard_in_checkout(&yard, name), .undo = undo};
	GPtrArray *damages = dn_damages_new();
	DnImageGuardState state = {0};

	watcher_tamper(act, meanwhile.path);
	cr_assert(not(is_half_read(meanwhile.path)), "its pages were not evicted");
	GThread *thread = g_thread_new("meanwhile", undo_halfway, &meanwhile);
	do {
		dn_image_guard_step_now(guard, 10, damages);
		dn_image_guard_state(guard, &state);
	} while (g_atomic_int_get(&meanwhile.done) == 0 || state.watch.suspects > 0);
	(void)g_thread_join(thread);
	cr_assert(eq(int, meanwhile.done, 1));
	g_free(meanwhile.path);
	return damages;
}

Test(twice, what_was_right_at_the_second_look_is_told_when_it_is_found_again)
{
	g_autofree char *path = yard_in_checkout(&yard, name);
	bool missed = false;

	/* A machine that is busy may put it right too late. */
	for (unsigned i = 0; i < ATTEMPTS && !missed; i++) {
		g_autoptr(DnImageGuard) guard = watcher_begin(&yard, &watcher_told);
		g_autoptr(GPtrArray) damages = look(guard, flip_and_evict, intruder_flip);

		missed = true;
		for (guint d = 0; d < damages->len; d++)
			missed = missed && ((const DnDamage *)damages->pdata[d])->undone;
		if (!missed)
			continue;
		watcher_tamper(intruder_flip, path);
		watcher_expect(guard, name, DN_DAMAGE_CONTENT_DISK);
	}
	cr_assert(missed, "the second look always found it wrong");
}

/* The first byte is wrong in memory, where it stays until somebody asks for it to be dropped. */
Test(twice, a_page_that_was_other_than_its_disk_for_a_moment_is_told_as_undone)
{
	g_autofree char *path = yard_in_checkout(&yard, name);
	bool undone = false;

	for (unsigned i = 0; i < ATTEMPTS && !undone; i++) {
		g_autoptr(DnImageGuard) guard = watcher_begin(&yard, &watcher_told);

		disk_change_cache(&disk, path);
		g_autoptr(GPtrArray) damages = look(guard, touch_and_evict, forget_first_page);
		for (guint d = 0; d < damages->len; d++) {
			const DnDamage *damage = damages->pdata[d];

			cr_assert(eq(int, damage->kind, DN_DAMAGE_CONTENT_CACHE));
			undone = undone || damage->undone;
		}
		(void)forget_first_page(path);
		if (!undone)
			continue;
		/* And when it stays, it is told as what it is. */
		disk_change_cache(&disk, path);
		watcher_tamper(touch_and_evict, path);
		watcher_expect(guard, name, DN_DAMAGE_CONTENT_CACHE);
	}
	cr_assert(undone, "the second look always found it wrong");
}
