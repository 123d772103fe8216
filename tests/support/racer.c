/* SPDX-License-Identifier: Apache-2.0 */

/* Two threads write one number and agree on nothing: a race that must be found. */

#include <glib.h>

int number; /* seen from outside, so that it is written */

static void *write_it(void *value)
{
	for (int i = 0; i < 1000; i++)
		number = GPOINTER_TO_INT(value) + i;
	return NULL;
}

int main(void)
{
	GThread *one = g_thread_new("one", write_it, GINT_TO_POINTER(1));
	GThread *two = g_thread_new("two", write_it, GINT_TO_POINTER(2));

	g_thread_join(one);
	g_thread_join(two);
	return 0;
}
