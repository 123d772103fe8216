/* SPDX-License-Identifier: Apache-2.0 */
#include "image/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bucket.h"
#include "base/clock.h"
#include "base/fd.h"
#include "image/closure.h"
#include "image/pass.h"
#include "image/said.h"
#include "image/store-private.h"

enum {
	SLICE_MS = 50,            /* of looking at suspects, then others get the lock */
	SWEEP_FILES = 1000,       /* in one go */
	PASS_BYTES = 1024 * 1024, /* in one go */
	TICK_MS = 100,            /* between two goes that a rate holds back */
};

const DnImageGuardRates dn_image_guard_rates = {
	.sweep_ms = 2000,
	.sweep_files_per_s = 5000,
	.pass_bytes_per_s = 8 * 1024 * 1024,
	.pass_ms = 60000,
	.marks_limit = DN_IMAGE_MARKS_LIMIT,
};

/* A commit in use. */
typedef struct {
	char *commit;            /* owned */
	DnImageListing *listing; /* owned */
	guint placed;            /* which checkout of it */
	DnImageSaid *said;       /* owned */
} Guarded;

struct DnImageGuard {
	DnImageStore *store; /* borrowed */
	DnImageGuardRates rates;
	int wake_fd; /* own */
	GMutex lock; /* all below; not held while waiting */
	DnImageWatch *watch;
	DnImageScan *scan;
	GPtrArray *guarded; /* of Guarded, owned */
	bool repository;    /* objects are to be checked */
	bool sweeping;
	uint64_t sweep_began_ns, pass_began_ns; /* 0: never */
	DnBucket sweep_bucket, pass_bucket;
	DnImagePass *pass; /* owned; NULL: none is under way */
	guint pass_turn;   /* index into guarded */
	uint64_t sweeps, passes, pass_ns;
};

static void free_guarded(gpointer data)
{
	Guarded *guarded = data;

	dn_image_listing_unref(guarded->listing);
	dn_image_said_free(guarded->said);
	g_free(guarded->commit);
	g_free(guarded);
}

DnImageGuard *dn_image_guard_new(DnImageStore *store, const DnImageGuardRates *rates,
				 GError **error)
{
	dn_autofd int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (wake_fd < 0) {
		dn_throw_errno(error, errno, "eventfd");
		return NULL;
	}
	DnImageGuard *self = g_new0(DnImageGuard, 1);
	self->store = store;
	self->rates = *rates;
	self->wake_fd = g_steal_fd(&wake_fd);
	g_mutex_init(&self->lock);
	self->watch = dn_image_watch_new(store->repo, rates->marks_limit);
	self->scan = dn_image_scan_new();
	self->guarded = g_ptr_array_new_with_free_func(free_guarded);
	return self;
}

void dn_image_guard_free(DnImageGuard *self)
{
	if (self == NULL)
		return;
	dn_image_pass_free(self->pass);
	dn_image_watch_free(self->watch);
	dn_image_scan_free(self->scan);
	g_ptr_array_unref(self->guarded);
	g_mutex_clear(&self->lock);
	dn_fd_clear(&self->wake_fd);
	g_free(self);
}

static Guarded *find(const DnImageGuard *self, const char *commit)
{
	for (guint i = 0; i < self->guarded->len; i++) {
		Guarded *guarded = self->guarded->pdata[i];

		if (strcmp(guarded->commit, commit) == 0)
			return guarded;
	}
	return NULL;
}

/* A pass over a checkout that is no more would find nothing right. */
static void end_pass(DnImageGuard *self, const char *commit)
{
	if (self->pass != NULL && strcmp(dn_image_pass_commit(self->pass), commit) == 0)
		g_clear_pointer(&self->pass, dn_image_pass_free);
}

static void let_go(DnImageGuard *self, const char *commit)
{
	Guarded *guarded = find(self, commit);

	if (guarded == NULL)
		return;
	dn_image_watch_remove(self->watch, commit);
	end_pass(self, commit);
	g_ptr_array_remove(self->guarded, guarded);
}

static void take_up(DnImageGuard *self, DnImageListing *listing, guint placed)
{
	const char *commit = dn_image_listing_commit(listing);
	g_autofree char *path = dn_image_store_checkout(self->store, commit);
	Guarded *guarded = g_new0(Guarded, 1);

	let_go(self, commit);
	guarded->commit = g_strdup(commit);
	guarded->listing = dn_image_listing_ref(listing);
	guarded->placed = placed;
	guarded->said = dn_image_said_new();
	g_ptr_array_add(self->guarded, guarded);
	dn_image_watch_add_now(self->watch, listing, path);
}

void dn_image_guard_wake(DnImageGuard *self)
{
	(void)eventfd_write(self->wake_fd, 1);
}

bool dn_image_guard_add_now(DnImageGuard *self, const char *commit, GError **error)
{
	guint placed = 0;
	g_autoptr(DnImageListing) known = dn_image_store_listing_now(self->store, commit, error);

	if (known == NULL)
		return false;
	g_mutex_lock(&self->lock);
	g_autoptr(DnImageListing) listing = dn_store_recall(self->store, commit, &placed);
	const Guarded *guarded = find(self, commit);
	if (listing != NULL && (guarded == NULL || guarded->placed != placed))
		take_up(self, listing, placed);
	g_mutex_unlock(&self->lock);
	dn_image_guard_wake(self);
	return true;
}

void dn_image_guard_remove(DnImageGuard *self, const char *commit)
{
	g_mutex_lock(&self->lock);
	let_go(self, commit);
	g_mutex_unlock(&self->lock);
}

bool dn_image_guard_restored(DnImageGuard *self, const char *commit)
{
	g_mutex_lock(&self->lock);
	Guarded *guarded = find(self, commit);
	if (guarded != NULL)
		dn_image_said_take_back_all(guarded->said, DN_DAMAGE_OBJECT);
	self->repository = true;
	g_mutex_unlock(&self->lock);
	dn_image_guard_wake(self);
	return guarded != NULL;
}

/* Checkouts that the store put in place or forgot meanwhile. */
static void follow_store(DnImageGuard *self)
{
	for (guint i = self->guarded->len; i-- > 0;) {
		Guarded *guarded = self->guarded->pdata[i];
		guint placed = 0;
		g_autoptr(DnImageListing) listing =
			dn_store_recall(self->store, guarded->commit, &placed);

		if (listing == NULL)
			let_go(self, guarded->commit);
		else if (placed != guarded->placed)
			take_up(self, listing, placed);
	}
}

/* ---- what is said ---- */

/* False: the store put another checkout in its place meanwhile, or took it away. */
static bool is_current(const DnImageGuard *self, const Guarded *guarded)
{
	guint placed = 0;
	g_autoptr(DnImageListing) listing = dn_store_recall(self->store, guarded->commit, &placed);

	return listing != NULL && placed == guarded->placed;
}

/* Is it news of a checkout that is in place? */
static bool is_news(const DnImageGuard *self, const DnDamage *damage)
{
	const Guarded *guarded = find(self, damage->commit);

	return guarded != NULL && is_current(self, guarded) &&
	       !dn_image_said_has(guarded->said, damage);
}

/* What this agent lacks for a moment says nothing of a file; the next round looks at it again. */
static bool is_shortage(int errsv)
{
	return errsv == EMFILE || errsv == ENFILE || errsv == ENOMEM || errsv == EINTR;
}

/* -1: the checkout is not there, which is said, unless the store itself took it away just now. */
static int open_checkout(const DnImageGuard *self, const char *commit, GPtrArray *found)
{
	g_autofree char *path = dn_image_store_checkout(self->store, commit);
	int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int saved = errno;

	if (fd >= 0)
		return fd;
	g_autoptr(DnImageListing) listing = dn_store_recall(self->store, commit, NULL);
	if (listing == NULL)
		return -1;
	if (is_shortage(saved)) {
		g_warning("image %.12s: open %s: %s", commit, path, g_strerror(saved));
		return -1;
	}
	if (saved == ENOENT)
		dn_damages_add(found, commit, "", DN_DAMAGE_MISSING);
	else
		dn_damages_add(found, commit, "", DN_DAMAGE_KIND);
	return -1;
}

/* Is it so at a second look? */
static bool is_confirmed(const DnImageGuard *self, const DnDamage *damage)
{
	g_autoptr(GPtrArray) again = dn_damages_new();
	dn_autofd int root_fd = open_checkout(self, damage->commit, again);
	const DnImageProbe probe = {.listing = find(self, damage->commit)->listing,
				    .root_fd = root_fd};
	bool disk = false;

	if (damage->kind == DN_DAMAGE_OBJECT)
		return true;
	if (root_fd < 0)
		return again->len > 0;
	if (!dn_image_probe_path(&probe, self->scan, damage->path, again, NULL) || again->len > 0)
		return true;
	/* The page may be right, and the disk below it wrong. */
	return damage->kind == DN_DAMAGE_CONTENT_DISK &&
	       (!dn_image_probe_disk(&probe, self->scan, damage->path, &disk, NULL) || disk);
}

/* May it be said, and as what? */
static bool is_to_be_said(const DnImageGuard *self, DnDamage *damage)
{
	if (!is_news(self, damage))
		return false;
	if (is_confirmed(self, damage))
		return true;
	damage->undone = damage->kind == DN_DAMAGE_CONTENT_CACHE;
	return damage->undone && is_news(self, damage);
}

static void say(const DnImageGuard *self, GPtrArray *found, pid_t writer, GPtrArray *damages)
{
	while (found->len > 0) {
		g_autoptr(DnDamage) damage = g_ptr_array_steal_index(found, 0);

		damage->writer = writer;
		if (!is_to_be_said(self, damage))
			continue;
		dn_image_said_note(find(self, damage->commit)->said, damage);
		g_ptr_array_add(damages, g_steal_pointer(&damage));
	}
}

/* An unreadable file runs no better than a changed one. */
static void say_unreadable(const char *commit, const char *path, GError *failed, GPtrArray *found)
{
	g_warning("image %.12s: %s", commit, failed->message);
	if (!g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_TOO_MANY_OPEN_FILES))
		dn_damages_add(found, commit, path, DN_DAMAGE_CONTENT);
	g_error_free(failed);
}

/* ---- suspects ---- */

static void judge(DnImageGuard *self, const DnImageSuspect *suspect, GPtrArray *damages)
{
	const char *commit = dn_image_listing_commit(suspect->listing);
	const char *path = dn_image_listing_at(suspect->listing, suspect->index)->path;
	g_autoptr(GPtrArray) found = dn_damages_new();
	dn_autofd int root_fd = open_checkout(self, commit, found);
	const DnImageProbe probe = {.listing = suspect->listing, .root_fd = root_fd};
	GError *failed = NULL;

	bool looked = root_fd >= 0 && dn_image_probe_path(&probe, self->scan, path, found, &failed);
	bool is_right = looked && found->len == 0;
	if (failed != NULL)
		say_unreadable(commit, path, failed, found);
	const Guarded *guarded = find(self, commit);
	if (is_right && guarded != NULL)
		dn_image_said_take_back(guarded->said, path);
	say(self, found, suspect->writer, damages);
}

static void judge_suspects(DnImageGuard *self, GPtrArray *damages)
{
	uint64_t end_ns = dn_clock_monotonic_ns() + SLICE_MS * DN_NS_PER_MS;
	DnImageSuspect suspect = {0};

	while (dn_clock_monotonic_ns() < end_ns && dn_image_watch_next(self->watch, &suspect)) {
		judge(self, &suspect, damages);
		dn_image_suspect_clear(&suspect);
	}
}

/* ---- objects ---- */

static void check_objects(DnImageGuard *self, GPtrArray *damages)
{
	/* Whoever brings an image removes and makes objects: looked at when that is over. */
	if (!self->repository || !g_mutex_trylock(&self->store->writing))
		return;
	g_autoptr(GError) error = NULL;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->store->repo, &error);
	g_autoptr(GPtrArray) found = dn_damages_new();

	self->repository = false;
	for (guint i = 0; i < self->guarded->len && repo != NULL; i++) {
		const Guarded *guarded = self->guarded->pdata[i];
		dn_autofd int root_fd = open_checkout(self, guarded->commit, found);

		if (root_fd >= 0 &&
		    !dn_image_closure_check(repo, guarded->listing, root_fd, found, &error)) {
			g_warning("image %.12s: %s", guarded->commit, error->message);
			g_clear_error(&error);
		}
	}
	if (repo == NULL)
		for (guint i = 0; i < self->guarded->len; i++)
			dn_damages_add(found, ((Guarded *)self->guarded->pdata[i])->commit, "repo",
				       DN_DAMAGE_OBJECT);
	g_mutex_unlock(&self->store->writing);
	say(self, found, 0, damages);
}

/* ---- rounds ---- */

static uint64_t at_ms(uint64_t began_ns, unsigned period_ms)
{
	return began_ns == 0 ? 0 : began_ns + period_ms * DN_NS_PER_MS;
}

static void sweep(DnImageGuard *self, uint64_t now_ns)
{
	const DnBucketRate rate = {.burst = self->rates.sweep_files_per_s,
				   .per_s = self->rates.sweep_files_per_s};
	bool round = false;

	if (!self->sweeping) {
		if (now_ns < at_ms(self->sweep_began_ns, self->rates.sweep_ms))
			return;
		self->sweeping = true;
		self->sweep_began_ns = now_ns;
	}
	while (!round && dn_bucket_has(&self->sweep_bucket, &rate, now_ns)) {
		dn_image_watch_sweep_now(self->watch, SWEEP_FILES, &round);
		dn_bucket_spend(&self->sweep_bucket, &rate, SWEEP_FILES, now_ns);
	}
	if (round) {
		self->sweeping = false;
		self->sweeps++;
	}
}

/* The next commit's turn; false: it is no time for one, or all had theirs. */
static bool begin_pass(DnImageGuard *self, uint64_t now_ns)
{
	if (self->pass != NULL)
		return true;
	if (self->guarded->len == 0 || self->rates.pass_bytes_per_s == 0)
		return false;
	if (self->pass_turn == 0) {
		if (now_ns < at_ms(self->pass_began_ns, self->rates.pass_ms))
			return false;
		self->pass_began_ns = now_ns;
	}
	if (self->pass_turn >= self->guarded->len) {
		self->pass_turn = 0;
		self->passes++;
		self->pass_ns = now_ns - self->pass_began_ns;
		self->repository = true;
		return false;
	}
	const Guarded *guarded = self->guarded->pdata[self->pass_turn++];
	g_autofree char *path = dn_image_store_checkout(self->store, guarded->commit);
	self->pass = dn_image_pass_new(guarded->listing, path);
	return true;
}

static void step_pass(DnImageGuard *self, uint64_t now_ns, GPtrArray *damages)
{
	const DnBucketRate rate = {.burst = PASS_BYTES,
				   .per_s = (double)self->rates.pass_bytes_per_s};
	g_autoptr(GPtrArray) found = dn_damages_new();
	uint64_t cost = 0;
	bool done = false;
	g_autoptr(GError) error = NULL;

	if (!begin_pass(self, now_ns) || !dn_bucket_has(&self->pass_bucket, &rate, now_ns))
		return;
	if (!dn_image_pass_step_now(self->pass, PASS_BYTES, found, &cost, &done, &error))
		g_warning("image %.12s: full pass: %s", dn_image_pass_commit(self->pass),
			  error->message);
	dn_bucket_spend(&self->pass_bucket, &rate, (double)cost, now_ns);
	say(self, found, 0, damages);
	if (done)
		g_clear_pointer(&self->pass, dn_image_pass_free);
}

/* ---- the step ---- */

static int wait_ms(DnImageGuard *self, unsigned timeout_ms)
{
	uint64_t now_ns = dn_clock_monotonic_ns(), due_ns = 0;
	DnImageWatchState state;

	dn_image_watch_state(self->watch, &state);
	if (state.suspects > 0)
		return 0;
	if (self->sweeping || self->pass != NULL || self->pass_turn > 0 || self->repository)
		return (int)MIN(timeout_ms, TICK_MS);
	due_ns = at_ms(self->sweep_began_ns, self->rates.sweep_ms);
	if (self->rates.pass_bytes_per_s > 0 && self->guarded->len > 0)
		due_ns = MIN(due_ns, at_ms(self->pass_began_ns, self->rates.pass_ms));
	if (due_ns <= now_ns)
		return 0;
	return (int)MIN(timeout_ms, (due_ns - now_ns) / DN_NS_PER_MS + 1);
}

static void wait_for_work(DnImageGuard *self, unsigned timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = self->wake_fd, .events = POLLIN},
		{.fd = dn_image_watch_fd(self->watch), .events = POLLIN},
	};
	eventfd_t unused = 0;

	g_mutex_lock(&self->lock);
	int timeout = wait_ms(self, timeout_ms);
	g_mutex_unlock(&self->lock);
	(void)poll(fds, G_N_ELEMENTS(fds), timeout);
	(void)eventfd_read(self->wake_fd, &unused);
}

void dn_image_guard_step_now(DnImageGuard *self, unsigned timeout_ms, GPtrArray *damages)
{
	bool repository = false;

	wait_for_work(self, timeout_ms);
	g_mutex_lock(&self->lock);
	uint64_t now_ns = dn_clock_monotonic_ns();
	follow_store(self);
	dn_image_watch_read(self->watch, &repository);
	self->repository |= repository;
	judge_suspects(self, damages);
	sweep(self, now_ns);
	step_pass(self, now_ns, damages);
	check_objects(self, damages);
	g_mutex_unlock(&self->lock);
}

void dn_image_guard_state(DnImageGuard *self, DnImageGuardState *state)
{
	*state = (DnImageGuardState){0};
	g_mutex_lock(&self->lock);
	dn_image_watch_state(self->watch, &state->watch);
	state->immediate =
		dn_image_watch_fd(self->watch) >= 0 && state->watch.marks == state->watch.paths;
	state->sweeps = self->sweeps;
	state->passes = self->passes;
	state->pass_ns = self->pass_ns;
	g_mutex_unlock(&self->lock);
}
