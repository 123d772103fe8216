/* SPDX-License-Identifier: Apache-2.0 */
#include "base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

enum { DELAY_LIMIT_MS = 600000, SPEC_LIMIT = 16384 };

/* Given by the linker; weak for a program that has no point at all. */
extern DnFailpoint *__start_dn_failpoints[] __attribute__((weak));
extern DnFailpoint *__stop_dn_failpoints[] __attribute__((weak));

int dn_failpoints_active;

static GMutex lock; /* of every point, and of counting */
static bool counting;

static const struct {
	const char *name;
	int errsv;
} errors[] = {
	{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT},
	{"ENOMEM", ENOMEM}, {"EMFILE", EMFILE}, {"EPERM", EPERM},
};

static size_t count_points(void)
{
	return (size_t)(__stop_dn_failpoints - __start_dn_failpoints);
}

static DnFailpoint *find(const char *name)
{
	for (size_t i = 0; i < count_points(); i++)
		if (strcmp(__start_dn_failpoints[i]->name, name) == 0)
			return __start_dn_failpoints[i];
	return NULL;
}

/* Under the lock. */
static void look_whether_active(void)
{
	int active = counting;

	for (size_t i = 0; i < count_points(); i++)
		active |= __start_dn_failpoints[i]->action != DN_FAIL_OFF;
	__atomic_store_n(&dn_failpoints_active, active, __ATOMIC_RELAXED);
}

/* What this hit comes to; a copy, since another thread may arm it anew meanwhile. */
static DnFailpoint take(DnFailpoint *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&lock);
	DnFailpoint now = *self;

	self->hits++;
	if (self->action == DN_FAIL_OFF)
		return now;
	if (self->skip > 0) {
		self->skip--;
		now.action = DN_FAIL_OFF;
		return now;
	}
	self->taken++;
	if (!self->always) {
		self->action = DN_FAIL_OFF;
		look_whether_active();
	}
	return now;
}

G_GNUC_NORETURN static void crash(void)
{
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

/* By write(2), in one piece: the next thing may be the end of the process. */
static void tell(const char *name, const char *what)
{
	char line[256];
	int length = snprintf(line, sizeof(line), "failpoint %s: %s\n", name, what);

	(void)!write(STDERR_FILENO, line, MIN((size_t)length, sizeof(line) - 1));
}

bool dn_failpoint_hit(DnFailpoint *self, GError **error)
{
	const DnFailpoint now = take(self);

	switch (now.action) {
	case DN_FAIL_OFF:
		return true;
	case DN_FAIL_CRASH:
		tell(now.name, "crash");
		crash();
	case DN_FAIL_DELAY:
		tell(now.name, "delay");
		g_usleep(now.delay_ms * 1000ul);
		return true;
	case DN_FAIL_ERROR:
		break;
	}
	tell(now.name, "error");
	if (now.errsv != 0)
		dn_throw_errno(error, now.errsv, "failpoint %s", now.name);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "failpoint %s", now.name);
	errno = now.errsv != 0 ? now.errsv : EIO;
	return false;
}

/* ---- arming ---- */

static bool refuse(GError **error, const char *item, const char *why)
{
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "failpoint \"%.200s\": %s; NAME=crash|error[:ERRNO]|delay:MS|off, then @N for "
		    "the Nth hit or * for every one",
		    item, why);
	return false;
}

static bool refuse_name(GError **error, const char *name)
{
	g_autofree const char **names = g_new0(const char *, count_points() + 1);

	for (size_t i = 0; i < count_points(); i++)
		names[i] = __start_dn_failpoints[i]->name;
	const char *near = dn_text_suggest(name, names);
	g_autofree char *hint =
		near != NULL ? g_strdup_printf(", did you mean \"%s\"?", near) : g_strdup("");
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "there is no failpoint \"%.200s\" in this program%s", name, hint);
	return false;
}

/* Take the end of @action that says when. */
static bool parse_when(char *action, DnFailpoint *wish)
{
	size_t length = strlen(action);
	char *at = strchr(action, '@');
	uint64_t n = 0;

	if (length > 0 && action[length - 1] == '*') {
		action[length - 1] = '\0';
		wish->always = true;
		return at == NULL;
	}
	if (at == NULL)
		return true;
	*at = '\0';
	wish->skip = 0;
	if (!dn_text_parse_u64(at + 1, G_MAXINT64, &n) || n == 0)
		return false;
	wish->skip = n - 1;
	return true;
}

static bool parse_errno(const char *name, int *errsv)
{
	for (size_t i = 0; i < G_N_ELEMENTS(errors); i++)
		if (strcmp(errors[i].name, name) == 0) {
			*errsv = errors[i].errsv;
			return true;
		}
	return false;
}

static bool parse_action(const char *action, DnFailpoint *wish)
{
	uint64_t ms = 0;

	if (strcmp(action, "off") == 0) {
		wish->action = DN_FAIL_OFF;
	} else if (strcmp(action, "crash") == 0) {
		wish->action = DN_FAIL_CRASH;
	} else if (strcmp(action, "error") == 0) {
		wish->action = DN_FAIL_ERROR;
	} else if (g_str_has_prefix(action, "error:")) {
		wish->action = DN_FAIL_ERROR;
		return parse_errno(action + strlen("error:"), &wish->errsv);
	} else if (g_str_has_prefix(action, "delay:")) {
		wish->action = DN_FAIL_DELAY;
		if (!dn_text_parse_u64(action + strlen("delay:"), DELAY_LIMIT_MS, &ms))
			return false;
		wish->delay_ms = (unsigned)ms;
	} else {
		return false;
	}
	return true;
}

/* @item is NAME=ACTION; @point is then the point and *@wish how it shall be armed. */
static bool parse_item(char *item, DnFailpoint **point, DnFailpoint *wish, GError **error)
{
	g_autofree char *shown = g_strdup(item);
	char *equals = strchr(item, '=');

	if (equals == NULL)
		return refuse(error, shown, "no '='");
	*equals = '\0';
	*point = find(item);
	if (*point == NULL)
		return refuse_name(error, item);
	*wish = (DnFailpoint){0};
	if (!parse_when(equals + 1, wish) || !parse_action(equals + 1, wish))
		return refuse(error, shown, "unknown action");
	if (wish->action == DN_FAIL_ERROR && !(*point)->can_fail)
		return refuse(error, shown, "nothing can be returned there: crash or delay");
	return true;
}

static void set(DnFailpoint *point, const DnFailpoint *wish)
{
	point->action = wish->action;
	point->always = wish->always;
	point->delay_ms = wish->delay_ms;
	point->errsv = wish->errsv;
	point->skip = wish->skip;
}

static void set_all(bool count)
{
	const DnFailpoint off = {0};

	counting = count;
	for (size_t i = 0; !count && i < count_points(); i++)
		set(__start_dn_failpoints[i], &off);
}

bool dn_failpoints_arm(const char *spec, GError **error)
{
	g_auto(GStrv) items = g_strsplit(spec, ",", -1);
	unsigned n = g_strv_length(items);
	g_autofree DnFailpoint **points = g_new0(DnFailpoint *, n + 1);
	g_autofree DnFailpoint *wishes = g_new0(DnFailpoint, n + 1);

	for (unsigned i = 0; i < n; i++) {
		g_strstrip(items[i]);
		if (*items[i] == '\0' || strcmp(items[i], "count") == 0 ||
		    strcmp(items[i], "off") == 0)
			continue;
		if (!parse_item(items[i], &points[i], &wishes[i], error))
			return false;
	}
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&lock);
	for (unsigned i = 0; i < n; i++) {
		if (points[i] != NULL)
			set(points[i], &wishes[i]);
		else if (*items[i] != '\0')
			set_all(strcmp(items[i], "count") == 0);
	}
	look_whether_active();
	return true;
}

static int compare(gconstpointer a, gconstpointer b)
{
	const DnFailpoint *const *one = a;
	const DnFailpoint *const *other = b;

	return strcmp((*one)->name, (*other)->name);
}

GPtrArray *dn_failpoints_list(void)
{
	GPtrArray *points = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&lock);

	for (size_t i = 0; i < count_points(); i++)
		g_ptr_array_add(points, g_memdup2(__start_dn_failpoints[i], sizeof(DnFailpoint)));
	g_ptr_array_sort(points, compare);
	return points;
}

/* ---- at the start ---- */

/* Each by itself: one lab has one environment for programs that know different points. */
static void arm_each(const char *spec, const char *source)
{
	g_auto(GStrv) items = g_strsplit(spec, ",", -1);

	for (char **item = items; *item != NULL; item++) {
		g_autoptr(GError) error = NULL;

		if (!dn_failpoints_arm(*item, &error))
			g_warning("%s: %s", source, error->message);
	}
}

void dn_failpoints_begin(const char *run_dir)
{
	const char *variable = g_getenv(DN_FAILPOINTS_VARIABLE);

	if (variable != NULL)
		arm_each(variable, DN_FAILPOINTS_VARIABLE);
	if (run_dir == NULL)
		return;
	g_autofree char *path = g_build_filename(run_dir, DN_FAILPOINTS_FILE, NULL);
	g_autoptr(GBytes) bytes = dn_file_read(path, SPEC_LIMIT, NULL);
	if (bytes == NULL)
		return;
	/* First, or a point that crashes at the start would do so for ever. */
	(void)unlink(path);
	arm_each(g_strstrip((char *)g_bytes_get_data(bytes, NULL)), path);
}
