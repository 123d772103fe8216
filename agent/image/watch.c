/* SPDX-License-Identifier: Apache-2.0 */
#include "image/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "image/stamp.h"

enum {
	SUSPECT = 1, /* to be looked at */
	TOLD = 2,    /* … and the kernel said so */
	FRESH = 4,   /* its stamp cannot be believed yet: look again in a later sweep */
};

#define FILE_EVENTS (FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF)
#define DIRECTORY_EVENTS                                                                           \
	(FAN_ATTRIB | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_DELETE_SELF |  \
	 FAN_MOVE_SELF | FAN_ONDIR)
/* Objects of the repository that no checkout links are seen through their directory. */
#define OBJECT_EVENTS (DIRECTORY_EVENTS | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD)

typedef struct {
	DnStamp stamp;
	pid_t writer;
	uint8_t flags;
} Record;

typedef struct {
	DnImageListing *listing; /* owned */
	char *path;              /* owned */
	Record *records;         /* owned; as many as the listing has entries */
	guint suspects, told;    /* how many records have the flag */
	guint turn;              /* the record behind the one that was looked at last */
	guint marks;
} Watched;

struct DnImageWatch {
	char *repo_path; /* owned */
	int repo_fd;     /* own: where handles of files are opened; -1: cannot be */
	int fan_fd;      /* own; -1: the kernel offers none */
	pid_t own;
	guint marks_limit, marks;
	GPtrArray *watched; /* of Watched, owned */
	guint sweeping, at; /* where the sweep is: which of them, which record */
	guint turn;         /* whose suspect was looked at last */
	uint64_t events, overflows;
};

static void free_watched(gpointer data)
{
	Watched *watched = data;

	dn_image_listing_unref(watched->listing);
	g_free(watched->path);
	g_free(watched->records);
	g_free(watched);
}

static guint length_of(const Watched *watched)
{
	return dn_image_listing_length(watched->listing);
}

static int64_t now_ns(void)
{
	return (int64_t)dn_clock_realtime_ns();
}

static void mark_repository(DnImageWatch *self)
{
	static const char *const folders[] = {".", "objects", "refs", "refs/heads"};

	if (self->fan_fd < 0 || self->repo_fd < 0)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(folders); i++)
		(void)fanotify_mark(self->fan_fd, FAN_MARK_ADD, OBJECT_EVENTS, self->repo_fd,
				    folders[i]);
	/* One that is not there yet comes with the pull that makes it: marked at the next add. */
	for (unsigned i = 0; i < 256; i++) {
		char folder[16];

		g_snprintf(folder, sizeof(folder), "objects/%02x", i);
		(void)fanotify_mark(self->fan_fd, FAN_MARK_ADD, OBJECT_EVENTS, self->repo_fd,
				    folder);
	}
}

DnImageWatch *dn_image_watch_new(const char *repo_path, guint marks_limit)
{
	DnImageWatch *self = g_new0(DnImageWatch, 1);

	self->repo_path = g_strdup(repo_path);
	self->repo_fd = open(repo_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Unlimited marks, not an unlimited queue: @marks_limit bounds the first, nothing the
	 * other. */
	self->fan_fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID |
					     FAN_UNLIMITED_MARKS,
				     O_RDONLY);
	self->own = getpid();
	self->marks_limit = marks_limit;
	self->watched = g_ptr_array_new_with_free_func(free_watched);
	if (self->fan_fd < 0)
		g_warning("image: this kernel tells of no changes to files (%s): they are found "
			  "by looking",
			  g_strerror(errno));
	mark_repository(self);
	return self;
}

void dn_image_watch_free(DnImageWatch *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->watched);
	dn_fd_clear(&self->fan_fd);
	dn_fd_clear(&self->repo_fd);
	g_free(self->repo_path);
	g_free(self);
}

int dn_image_watch_fd(const DnImageWatch *self)
{
	return self->fan_fd;
}

static int open_root(const Watched *watched)
{
	return open(watched->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool stamp_now(int root_fd, const char *path, DnStamp *stamp)
{
	struct stat info = {0};
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (path[0] == '\0' ? AT_EMPTY_PATH : 0);

	if (fstatat(root_fd, path, &info, flags) < 0)
		return false;
	*stamp = dn_stamp_of(&info);
	return true;
}

static bool mark(DnImageWatch *self, const DnImageEntry *entry, int root_fd)
{
	uint64_t events = S_ISDIR(entry->mode) ? DIRECTORY_EVENTS : FILE_EVENTS;
	const char *path = entry->path[0] == '\0' ? "." : entry->path;

	return self->fan_fd >= 0 && fanotify_mark(self->fan_fd, FAN_MARK_ADD | FAN_MARK_DONT_FOLLOW,
						  events, root_fd, path) == 0;
}

static void mark_all(DnImageWatch *self, Watched *watched)
{
	dn_autofd int root_fd = open_root(watched);

	watched->marks = 0;
	for (guint i = 0; i < length_of(watched) && root_fd >= 0; i++) {
		if (self->marks >= self->marks_limit)
			return;
		if (mark(self, dn_image_listing_at(watched->listing, i), root_fd)) {
			watched->marks++;
			self->marks++;
		}
	}
}

static void suspect(Watched *watched, guint index, bool told, pid_t writer)
{
	Record *record = &watched->records[index];

	if ((record->flags & SUSPECT) == 0)
		watched->suspects++;
	if (told && (record->flags & TOLD) == 0)
		watched->told++;
	record->flags |= (uint8_t)(SUSPECT | (told ? TOLD : 0));
	if (writer != 0)
		record->writer = writer;
}

static void suspect_all(DnImageWatch *self)
{
	for (guint w = 0; w < self->watched->len; w++)
		for (guint i = 0; i < length_of(self->watched->pdata[w]); i++)
			suspect(self->watched->pdata[w], i, false, 0);
}

void dn_image_watch_remove(DnImageWatch *self, const char *commit)
{
	guint before = self->watched->len;

	for (guint w = self->watched->len; w-- > 0;) {
		const Watched *watched = self->watched->pdata[w];

		if (strcmp(dn_image_listing_commit(watched->listing), commit) == 0)
			g_ptr_array_remove_index(self->watched, w);
	}
	self->sweeping = 0;
	self->at = 0;
	if (before == self->watched->len || self->fan_fd < 0)
		return;
	/* Checkouts share inodes, so a mark cannot go for one of them alone. What happens between
	 * these two is found by its stamp. */
	(void)fanotify_mark(self->fan_fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
	self->marks = 0;
	mark_repository(self);
	for (guint w = 0; w < self->watched->len; w++)
		mark_all(self, self->watched->pdata[w]);
}

void dn_image_watch_add_now(DnImageWatch *self, DnImageListing *listing, const char *path)
{
	dn_image_watch_remove(self, dn_image_listing_commit(listing));
	Watched *watched = g_new0(Watched, 1);

	watched->listing = dn_image_listing_ref(listing);
	watched->path = g_strdup(path);
	watched->records = g_new0(Record, length_of(watched));
	g_ptr_array_add(self->watched, watched);
	mark_repository(self);
	mark_all(self, watched);
	dn_autofd int root_fd = open_root(watched);
	for (guint i = 0; i < length_of(watched); i++) {
		/* So that an event before the first look finds its record. */
		(void)stamp_now(root_fd, dn_image_listing_at(listing, i)->path,
				&watched->records[i].stamp);
		suspect(watched, i, false, 0);
	}
}

/* ---- what the kernel tells ---- */

/* The inode that an event is about; false: it is gone, or its handle cannot be opened. */
static bool locate(const DnImageWatch *self, const struct fanotify_event_metadata *event,
		   const char *behind, struct stat *info)
{
	const struct fanotify_event_info_fid *fid = (const void *)behind;

	if (event->event_len < sizeof(*event) + sizeof(*fid) + sizeof(struct file_handle) ||
	    fid->hdr.info_type != FAN_EVENT_INFO_TYPE_FID)
		return false;
	dn_autofd int fd = open_by_handle_at(self->repo_fd, (struct file_handle *)fid->handle,
					     O_PATH | O_CLOEXEC);
	return fd >= 0 && fstat(fd, info) == 0;
}

static bool suspect_inode(DnImageWatch *self, const struct stat *info, pid_t writer)
{
	bool found = false;

	for (guint w = 0; w < self->watched->len; w++) {
		Watched *watched = self->watched->pdata[w];

		for (guint i = 0; i < length_of(watched); i++) {
			const DnStamp *stamp = &watched->records[i].stamp;

			if (stamp->ino != info->st_ino || stamp->dev != info->st_dev)
				continue;
			suspect(watched, i, true, writer);
			found = true;
		}
	}
	return found;
}

/* @behind: what follows the event in the buffer. */
static void take(DnImageWatch *self, const struct fanotify_event_metadata *event,
		 const char *behind, bool *repository)
{
	struct stat info = {0};

	if ((event->mask & FAN_Q_OVERFLOW) != 0) {
		self->overflows++;
		*repository = true;
		suspect_all(self);
		return;
	}
	if (event->pid == self->own)
		return;
	self->events++;
	if (!locate(self, event, behind, &info)) {
		/* Something that was marked is gone for good. */
		*repository = true;
		suspect_all(self);
	} else if (!suspect_inode(self, &info, event->pid))
		*repository = true;
}

void dn_image_watch_read(DnImageWatch *self, bool *repository)
{
	_Alignas(struct fanotify_event_metadata) char buffer[16384];

	*repository = false;
	if (self->fan_fd < 0)
		return;
	/* As much as one queue holds: who writes without end must not keep this here. */
	for (unsigned i = 0; i < 64; i++) {
		ssize_t left = read(self->fan_fd, buffer, sizeof(buffer));
		const char *at = buffer;
		struct fanotify_event_metadata event;

		if (left <= 0)
			return;
		/* Events are as long as their handles: one need not begin where its words would. */
		for (; left >= (ssize_t)sizeof(event);
		     at += event.event_len, left -= event.event_len) {
			memcpy(&event, at, sizeof(event));
			if (event.event_len < sizeof(event) || (ssize_t)event.event_len > left)
				return;
			take(self, &event, at + sizeof(event), repository);
			/* Only an event without an inode brings none; be sure. */
			if (event.fd >= 0)
				(void)close(event.fd);
		}
	}
}

/* ---- stamps ---- */

static void compare(Watched *watched, int root_fd, guint index)
{
	Record *record = &watched->records[index];
	DnStamp stamp = {0};

	if ((record->flags & SUSPECT) != 0)
		return;
	/* One that is not there has the empty stamp, and is suspect once. */
	(void)stamp_now(root_fd, dn_image_listing_at(watched->listing, index)->path, &stamp);
	if ((record->flags & FRESH) != 0 || dn_stamp_differs(&stamp, &record->stamp))
		suspect(watched, index, false, 0);
}

void dn_image_watch_sweep_now(DnImageWatch *self, guint limit, bool *round)
{
	*round = self->watched->len == 0;
	while (limit > 0 && self->sweeping < self->watched->len) {
		Watched *watched = self->watched->pdata[self->sweeping];
		dn_autofd int root_fd = open_root(watched);

		for (; limit > 0 && self->at < length_of(watched); limit--)
			compare(watched, root_fd, self->at++);
		if (self->at < length_of(watched))
			return;
		self->at = 0;
		self->sweeping++;
	}
	if (self->sweeping == self->watched->len) {
		self->sweeping = 0;
		*round = true;
	}
}

/* Take the stamp anew, before anybody looks at the file. */
static void begin(DnImageWatch *self, Watched *watched, guint index)
{
	const DnImageEntry *entry = dn_image_listing_at(watched->listing, index);
	Record *record = &watched->records[index];
	dn_autofd int root_fd = open_root(watched);
	DnStamp stamp = {0};

	watched->suspects--;
	if ((record->flags & TOLD) != 0)
		watched->told--;
	record->flags = 0;
	record->writer = 0;
	bool there = stamp_now(root_fd, entry->path, &stamp);
	if (there && record->stamp.ino != 0 &&
	    (stamp.ino != record->stamp.ino || stamp.dev != record->stamp.dev))
		/* Another inode by that name has no mark yet. */
		(void)mark(self, entry, root_fd);
	if (there && dn_stamp_is_fresh(&stamp, now_ns()))
		record->flags = FRESH;
	record->stamp = stamp;
}

/*
 * The next record that has @flag, which one has. Round and round: whoever writes to one file
 * without end must not keep the others from being looked at.
 */
static guint find_flagged(Watched *watched, uint8_t flag)
{
	guint index = watched->turn;

	while (index >= length_of(watched) || (watched->records[index].flags & flag) == 0)
		index = index >= length_of(watched) ? 0 : index + 1;
	watched->turn = index + 1;
	return index;
}

static bool has_told(const DnImageWatch *self)
{
	for (guint w = 0; w < self->watched->len; w++)
		if (((const Watched *)self->watched->pdata[w])->told > 0)
			return true;
	return false;
}

bool dn_image_watch_next(DnImageWatch *self, DnImageSuspect *found)
{
	bool told = has_told(self);

	for (guint tried = 0; tried < self->watched->len; tried++) {
		self->turn = (self->turn + 1) % self->watched->len;
		Watched *watched = self->watched->pdata[self->turn];

		if ((told ? watched->told : watched->suspects) == 0)
			continue;
		guint index = find_flagged(watched, told ? TOLD : SUSPECT);
		*found = (DnImageSuspect){
			.listing = dn_image_listing_ref(watched->listing),
			.index = index,
			.writer = watched->records[index].writer,
			.told = told,
		};
		begin(self, watched, index);
		return true;
	}
	return false;
}

void dn_image_suspect_clear(DnImageSuspect *self)
{
	g_clear_pointer(&self->listing, dn_image_listing_unref);
}

void dn_image_watch_state(const DnImageWatch *self, DnImageWatchState *state)
{
	*state = (DnImageWatchState){.events = self->events, .overflows = self->overflows};
	for (guint w = 0; w < self->watched->len; w++) {
		const Watched *watched = self->watched->pdata[w];

		state->paths += length_of(watched);
		state->marks += watched->marks;
		state->suspects += watched->suspects;
	}
}
