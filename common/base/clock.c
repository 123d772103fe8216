/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/file.h"

static uint64_t read_ns(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * DN_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t dn_clock_monotonic_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t dn_clock_thread_ns(void)
{
	return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t dn_clock_realtime_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

static gpointer read_boot_id(gpointer data)
{
	char *text = dn_file_read_kernel("/proc/sys/kernel/random/boot_id", 64, NULL);

	return text != NULL ? g_strstrip(text) : g_strdup("unknown");
}

const char *dn_clock_boot_id(void)
{
	static GOnce once = G_ONCE_INIT;

	return g_once(&once, read_boot_id, NULL);
}

char *dn_clock_format(uint64_t realtime_ns)
{
	time_t seconds = (time_t)(realtime_ns / DN_NS_PER_S);
	struct tm utc = {0};
	char day[32];

	gmtime_r(&seconds, &utc);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
	return g_strdup_printf("%s.%09uZ", day, (unsigned)(realtime_ns % DN_NS_PER_S));
}

/* Digits of a second past the microsecond, which GDateTime does not keep. */
static uint64_t nanoseconds_of(const char *text)
{
	const char *dot = strchr(text, '.');
	uint64_t value = 0;
	unsigned digits = 0;

	if (dot == NULL)
		return 0;
	for (const char *digit = dot + 1; g_ascii_isdigit(*digit) && digits < 9; digit++, digits++)
		value = value * 10 + (uint64_t)(*digit - '0');
	for (; digits < 9; digits++)
		value *= 10;
	return value;
}

bool dn_clock_parse(const char *text, uint64_t *realtime_ns)
{
	g_autoptr(GDateTime) when = g_date_time_new_from_iso8601(text, NULL);

	if (when == NULL)
		return false;
	gint64 seconds = g_date_time_to_unix(when);
	if (seconds < 0 || seconds > G_GINT64_CONSTANT(16725225600))
		return false;
	*realtime_ns = (uint64_t)seconds * DN_NS_PER_S + nanoseconds_of(text);
	return true;
}
