/* SPDX-License-Identifier: Apache-2.0 */

/* What happened, one line a decision: all of it as it happens, or the last lines when it matters.
 */

#include "sim.h"

#include <stdio.h>

enum { KEPT = 4096, LINE = 200 };

struct Trace {
	bool all;
	char (*lines)[LINE];
	uint64_t said;
};

Trace *trace_new(bool all)
{
	Trace *self = g_new0(Trace, 1);

	self->all = all;
	if (all)
		self->lines = g_malloc_n(KEPT, LINE);
	return self;
}

void trace_free(Trace *self)
{
	g_free(self->lines);
	g_free(self);
}

/* Formatting costs more than a step: nothing is kept unless this is the run that is shown. */
void sim_say(Sim *self, const char *actor, const char *format, ...)
{
	Trace *trace = self->trace;
	uint64_t ms = (self->now_ns - 1000 * SIM_S) / SIM_MS;
	va_list args;

	if (!trace->all)
		return;
	char *line = trace->lines[trace->said++ % KEPT];
	int length = g_snprintf(line, LINE, "%3" G_GUINT64_FORMAT ".%03" G_GUINT64_FORMAT " %-4s ",
				ms / 1000, ms % 1000, actor);
	va_start(args, format);
	g_vsnprintf(line + length, LINE - (gulong)length, format, args);
	va_end(args);
}

void trace_print(const Trace *self)
{
	uint64_t first = self->said > KEPT ? self->said - KEPT : 0;

	if (first > 0)
		printf("(%" G_GUINT64_FORMAT " earlier lines left out)\n", first);
	for (uint64_t i = first; i < self->said; i++)
		puts(self->lines[i % KEPT]);
}
