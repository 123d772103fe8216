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
#include "image/guarded.h"
#include "image/pass.h"
#include "image/store-private.h"

enum {
	SLICE_MS = 50,            /* of looking at suspects, then others get the lock */
	SWEEP_FILES = 1000,       /* in one go */
	PASS_BYTES = 1024 * 1024, /* in one go */
	TICK_MS = 100,            /* between two goes that a rate holds back */
	SPARE_FDS = 8,            /* that looking at objects may need at once */
};

const DnImageGuardRates dn_image_guard_rates = {
	.sweep_ms = 2000,
	.sweep_files_per_s = 5000,
	.pass_bytes_per_s = 8 * 1024 * 1024,
	.pass_ms = 60000,
	.marks_limit = DN_IMAGE_MARKS_LIMIT,
};

struct DnImageGuard {
	DnImageGuardRates rates;
	int wake_fd; /* own */
	GMutex lock; /* all below; not held while waiting */
	DnImageWatch *watch;
	DnImageGuardedSet guarded;
	bool repository; /* objects are to be checked */
	bool sweeping;
	uint64_t sweep_began_ns, pass_began_ns; /* 0: never */
	DnBucket sweep_bucket, pass_bucket;
	DnImagePass *pass; /* owned; NULL: none is under way */
	guint pass_turn;   /* index into guarded */
	uint64_t sweeps, passes, pass_ns;
};

DnImageGuard *dn_image_guard_new(DnImageStore *store, const DnImageGuardRates *rates,
				 GError **error)
{
	dn_autofd int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (wake_fd < 0) {
		dn_throw_errno(error, errno, "eventfd");
		return NULL;
	}
	DnImageGuard *self = g_new0(DnImageGuard, 1);
	self->rates = *rates;
	self->wake_fd = g_steal_fd(&wake_fd);
	g_mutex_init(&self->lock);
	self->watch = dn_image_watch_new(store->repo, rates->marks_limit);
	dn_image_guarded_init(&self->guarded, store);
	return self;
}

void dn_image_guard_free(DnImageGuard *self)
{
	if (self == NULL)
		return;
	dn_image_pass_free(self->pass);
	dn_image_watch_free(self->watch);
	dn_image_guarded_clear(&self->guarded);
	g_mutex_clear(&self->lock);
	dn_fd_clear(&self->wake_fd);
	g_free(self);
}

/* A pass over a checkout that is no more would find nothing right. */
static void end_pass(DnImageGuard *self, const char *commit)
{
	if (self->pass != NULL && strcmp(dn_image_pass_commit(self->pass), commit) == 0)
		g_clear_pointer(&self->pass, dn_image_pass_free);
}

static void let_go(DnImageGuard *self, const char *commit)
{
	DnImageGuarded *guarded = dn_image_guarded_find(&self->guarded, commit);

	if (guarded == NULL)
		return;
	dn_image_watch_remove(self->watch, commit);
	end_pass(self, commit);
	g_ptr_array_remove(self->guarded.all, guarded);
}

static void take_up(DnImageGuard *self, DnImageListing *listing, guint placed)
{
	const char *commit = dn_image_listing_commit(listing);
	g_autofree char *path = dn_image_store_checkout(self->guarded.store, commit);

	let_go(self, commit);
	dn_image_guarded_add(&self->guarded, listing, placed);
	dn_image_watch_add_now(self->watch, listing, path);
}

void dn_image_guard_wake(DnImageGuard *self)
{
	(void)eventfd_write(self->wake_fd, 1);
}

bool dn_image_guard_add_now(DnImageGuard *self, const char *commit, GError **error)
{
	guint placed = 0;
	g_autoptr(DnImageListing) known =
		dn_image_store_listing_now(self->guarded.store, commit, error);

	if (known == NULL)
		return false;
	g_mutex_lock(&self->lock);
	g_autoptr(DnImageListing) listing = dn_store_recall(self->guarded.store, commit, &placed);
	const DnImageGuarded *guarded = dn_image_guarded_find(&self->guarded, commit);
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
	DnImageGuarded *guarded = dn_image_guarded_find(&self->guarded, commit);
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
	for (guint i = self->guarded.all->len; i-- > 0;) {
		DnImageGuarded *guarded = self->guarded.all->pdata[i];
		guint placed = 0;
		g_autoptr(DnImageListing) listing =
			dn_store_recall(self->guarded.store, guarded->commit, &placed);

		if (listing == NULL)
			let_go(self, guarded->commit);
		else if (placed != guarded->placed)
			take_up(self, listing, placed);
	}
}

/* An unreadable file runs no better than a changed one. */
static void say_unreadable(const char *commit, const char *path, GError *failed, GPtrArray *found)
{
	g_warning("image %.12s: %s", commit, failed->message);
	if (!dn_image_probe_is_shortage(failed))
		dn_damages_add(found, commit, path, DN_DAMAGE_CONTENT);
	g_error_free(failed);
}

/* ---- suspects ---- */

static void judge(DnImageGuard *self, const DnImageSuspect *suspect, GPtrArray *damages)
{
	const char *commit = dn_image_listing_commit(suspect->listing);
	const char *path = dn_image_listing_at(suspect->listing, suspect->index)->path;
	g_autoptr(GPtrArray) found = dn_damages_new();
	dn_autofd int root_fd = dn_image_guarded_open(&self->guarded, commit, found);
	const DnImageProbe probe = {.listing = suspect->listing, .root_fd = root_fd};
	GError *failed = NULL;

	bool looked = root_fd >= 0 &&
		      dn_image_probe_path(&probe, self->guarded.scan, path, found, &failed);
	bool is_right = looked && found->len == 0;
	if (failed != NULL)
		say_unreadable(commit, path, failed, found);
	const DnImageGuarded *guarded = dn_image_guarded_find(&self->guarded, commit);
	if (is_right && guarded != NULL)
		dn_image_said_take_back(guarded->said, path);
	dn_image_guarded_say(&self->guarded, found, suspect->writer, damages);
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

/* With too few of them every object would look lost. */
static bool has_descriptors(const DnImageGuard *self)
{
	int fds[SPARE_FDS];
	int count = 0;

	while (count < SPARE_FDS && (fds[count] = fcntl(self->wake_fd, F_DUPFD_CLOEXEC, 0)) >= 0)
		count++;
	for (int i = 0; i < count; i++)
		(void)close(fds[i]);
	return count == SPARE_FDS;
}

static void check_objects(DnImageGuard *self, GPtrArray *damages)
{
	/* Whoever brings an image removes and makes objects: looked at when that is over. */
	if (!self->repository || !has_descriptors(self) ||
	    !g_mutex_trylock(&self->guarded.store->writing))
		return;
	g_autoptr(GError) error = NULL;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->guarded.store->repo, &error);
	g_autoptr(GPtrArray) found = dn_damages_new();

	self->repository = false;
	for (guint i = 0; i < self->guarded.all->len && repo != NULL; i++) {
		const DnImageGuarded *guarded = self->guarded.all->pdata[i];
		dn_autofd int root_fd =
			dn_image_guarded_open(&self->guarded, guarded->commit, found);

		if (root_fd >= 0 &&
		    !dn_image_closure_check(repo, guarded->listing, root_fd, found, &error)) {
			g_warning("image %.12s: %s", guarded->commit, error->message);
			g_clear_error(&error);
		}
	}
	if (repo == NULL)
		for (guint i = 0; i < self->guarded.all->len; i++)
			dn_damages_add(found,
				       ((DnImageGuarded *)self->guarded.all->pdata[i])->commit,
				       "repo", DN_DAMAGE_OBJECT);
	g_mutex_unlock(&self->guarded.store->writing);
	dn_image_guarded_say(&self->guarded, found, 0, damages);
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
	if (self->guarded.all->len == 0 || self->rates.pass_bytes_per_s == 0)
		return false;
	if (self->pass_turn == 0) {
		if (now_ns < at_ms(self->pass_began_ns, self->rates.pass_ms))
			return false;
		self->pass_began_ns = now_ns;
	}
	if (self->pass_turn >= self->guarded.all->len) {
		self->pass_turn = 0;
		self->passes++;
		self->pass_ns = now_ns - self->pass_began_ns;
		self->repository = true;
		return false;
	}
	const DnImageGuarded *guarded = self->guarded.all->pdata[self->pass_turn++];
	g_autofree char *path = dn_image_store_checkout(self->guarded.store, guarded->commit);
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
	dn_image_guarded_say(&self->guarded, found, 0, damages);
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
	if (self->rates.pass_bytes_per_s > 0 && self->guarded.all->len > 0)
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
