/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A disk that takes nothing more.
 *
 *   going ── a batch finds no space ──→ held ── written after all ──→ going
 *     └───── an fsync or a write fails ──→ the daemon ends
 *
 * While it is held nothing that a person asks for is begun; reading goes on, hosts are heard and
 * go on by themselves, and whatever protects is sent. The batch, journal first, is tried again
 * until it is written: what hosts have told is not lost, and they keep it until then.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "main/internal.h"

enum {
	LOW_BYTES = 1024 * 1024, /* with less nothing new is begun */
	LOW_FILES = 16,
	RESERVE_BYTES = 512 * 1024,
	/* The reserve is made only where it leaves more than it takes. */
	RESERVE_FROM_BYTES = 4 * 1024 * 1024,
	RETRY_MS = 250,
};

/* ---- the reserve: room for the start, and for what was decided when the disk filled up ---- */

static char *reserve_path(const DnSupervisor *self)
{
	return g_build_filename(self->state_dir, "reserve", NULL);
}

static uint64_t free_bytes(const struct statvfs *info)
{
	return (uint64_t)info->f_bavail * info->f_frsize;
}

void dn_supervisor_make_reserve(DnSupervisor *self)
{
	g_autofree char *path = reserve_path(self);
	struct statvfs info;

	if (statvfs(self->state_dir, &info) != 0 || free_bytes(&info) < RESERVE_FROM_BYTES ||
	    access(path, F_OK) == 0)
		return;
	dn_autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
		(void)unlink(path);
}

bool dn_supervisor_give_up_reserve(DnSupervisor *self)
{
	g_autofree char *path = reserve_path(self);

	if (unlink(path) != 0)
		return false;
	g_warning("the disk of %s is full: the reserve is given up", self->state_dir);
	return true;
}

/* ---- held ---- */

bool dn_supervisor_may_retry(const GError *error)
{
	return g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED) ||
	       g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE);
}

static void answer_all(DnSupervisor *self, DnBatch *batch, const GError *error)
{
	g_autoptr(GArray) waiters = NULL;

	if (batch == NULL)
		return;
	waiters = batch->waiters;
	batch->waiters = g_array_new(FALSE, FALSE, sizeof(DnAfter));
	for (guint i = 0; i < waiters->len; i++) {
		DnAfter after = g_array_index(waiters, DnAfter, i);

		after.call(self, after.data, error);
	}
}

void dn_supervisor_fail_waiters(DnSupervisor *self, const GError *why)
{
	g_autoptr(GError) error = g_error_new(
		DN_ERROR, DN_ERROR_UNAVAILABLE,
		"taken, and not on disk yet: %s; it is kept for as long as this supervisor lives, "
		"make room and look whether it is there",
		why->message);

	answer_all(self, self->writing, error);
	answer_all(self, self->filling, error);
}

void dn_supervisor_hold(DnSupervisor *self, const GError *why)
{
	if (self->held == NULL) {
		self->held = g_error_copy(why);
		self->held_since_ns = dn_clock_monotonic_ns();
		g_warning("nothing can be stored, changes are refused: %s", why->message);
	}
	dn_supervisor_fail_waiters(self, why);
}

void dn_supervisor_go_on(DnSupervisor *self)
{
	g_autoptr(GError) held = g_steal_pointer(&self->held);
	g_autoptr(DnActs) acts = NULL;

	if (held == NULL)
		return;
	acts = dn_acts_new();
	dn_acts_event(acts, dn_clock_realtime_ns(), "supervisor.held", "warning",
		      "for %" G_GUINT64_FORMAT " s nothing could be stored: %s",
		      (dn_clock_monotonic_ns() - self->held_since_ns) / DN_NS_PER_S, held->message);
	dn_supervisor_carry_out(self, acts);
}

void dn_supervisor_look_after_disk(DnSupervisor *self)
{
	g_autoptr(GError) trouble = dn_journal_trouble(self->journal);

	/* No batch waited for it, so none tells that it is over. */
	if (self->held != NULL && self->writing == NULL && trouble == NULL)
		dn_supervisor_go_on(self);
	/* Given up in a need that has ended. */
	if (self->held == NULL)
		dn_supervisor_make_reserve(self);
}

static gboolean on_retry(gpointer data)
{
	DnSupervisor *self = data;

	g_clear_pointer(&self->retry, g_source_unref);
	dn_supervisor_store_writing(self);
	return G_SOURCE_REMOVE;
}

/* The batch under way was refused by the store. */
void dn_supervisor_store_later(DnSupervisor *self, const GError *why)
{
	bool has_room = g_error_matches(why, DN_ERROR, DN_ERROR_EXHAUSTED) &&
			dn_supervisor_give_up_reserve(self);

	if (!has_room)
		dn_supervisor_hold(self, why);
	self->retry = g_timeout_source_new(has_room ? 0 : RETRY_MS);
	g_source_set_callback(self->retry, on_retry, self, NULL);
	g_source_attach(self->retry, NULL);
}

/* ---- may something new be begun? ---- */

static bool refuse(GError **error, DnErrorCode code, const char *why)
{
	g_set_error(error, DN_ERROR, (int)code,
		    "%s: nothing was changed, and no change is taken until that has ended; reading "
		    "goes on",
		    why);
	return false;
}

bool dn_supervisor_may_change(const DnSupervisor *self, GError **error)
{
	struct statvfs info;
	g_autofree char *why = NULL;

	if (!dn_supervisor_may_begin(self, error))
		return false;
	if (statvfs(self->state_dir, &info) != 0) {
		why = g_strdup_printf("%s: %s", self->state_dir, g_strerror(errno));
		return refuse(error, DN_ERROR_UNAVAILABLE, why);
	}
	if ((info.f_flag & ST_RDONLY) != 0) {
		why = g_strdup_printf("%s is read-only", self->state_dir);
		return refuse(error, DN_ERROR_UNAVAILABLE, why);
	}
	if (free_bytes(&info) >= LOW_BYTES && (info.f_files == 0 || info.f_favail >= LOW_FILES))
		return self->held == NULL ||
		       refuse(error, (DnErrorCode)self->held->code, self->held->message);
	why = g_strdup_printf("%s has %" G_GUINT64_FORMAT " KiB and %" G_GUINT64_FORMAT
			      " files left",
			      self->state_dir, free_bytes(&info) / 1024, (uint64_t)info.f_favail);
	return refuse(error, DN_ERROR_EXHAUSTED, why);
}
