/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tells ThreadSanitizer what GLib's locks, queues, tasks and reference counts order.
 *
 * GLib's mutexes are futexes inside a library that is not instrumented, so without this every
 * hand-over between two threads would look like a race. Preloaded into the tests of a build with
 * -Db_sanitize=thread and inherited by all they start: in a program without the sanitizer the
 * annotations are missing and every function only passes on.
 *
 * Each order that is told here is one that GLib's documentation promises. A lock tells more than a
 * mutex would, "what was before the unlock is before the next lock", and hides nothing else.
 */

#include <dlfcn.h>
#include <gio/gio.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));

static void acquire(const void *address)
{
	if (__tsan_acquire != NULL)
		__tsan_acquire((void *)address);
}

static void release(const void *address)
{
	if (__tsan_release != NULL)
		__tsan_release((void *)address);
}

/* The function that this one stands before. */
#define NEXT(function)                                                                             \
	({                                                                                         \
		static typeof(function) *next;                                                     \
		typeof(function) *found = __atomic_load_n(&next, __ATOMIC_RELAXED);                \
		if (found == NULL) {                                                               \
			found = (typeof(function) *)dlsym(RTLD_NEXT, #function);                   \
			__atomic_store_n(&next, found, __ATOMIC_RELAXED);                          \
		}                                                                                  \
		found;                                                                             \
	})

/* ---- locks ---- */

void g_mutex_lock(GMutex *mutex)
{
	NEXT(g_mutex_lock)(mutex);
	acquire(mutex);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
	gboolean locked = NEXT(g_mutex_trylock)(mutex);

	if (locked)
		acquire(mutex);
	return locked;
}

void g_mutex_unlock(GMutex *mutex)
{
	release(mutex);
	NEXT(g_mutex_unlock)(mutex);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
	release(mutex);
	NEXT(g_cond_wait)(cond, mutex);
	acquire(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
	release(mutex);
	gboolean signalled = NEXT(g_cond_wait_until)(cond, mutex, end_time);
	acquire(mutex);
	return signalled;
}

/* ---- queues ---- */

void g_async_queue_push(GAsyncQueue *queue, gpointer data)
{
	release(queue);
	NEXT(g_async_queue_push)(queue, data);
}

gpointer g_async_queue_pop(GAsyncQueue *queue)
{
	gpointer data = NEXT(g_async_queue_pop)(queue);

	acquire(queue);
	return data;
}

/* ---- things made once ---- */

gboolean(g_once_init_enter)(volatile void *location)
{
	gboolean first = NEXT(g_once_init_enter)(location);

	if (!first)
		acquire((const void *)location);
	return first;
}

void(g_once_init_leave)(volatile void *location, gsize result)
{
	release((const void *)location);
	NEXT(g_once_init_leave)(location, result);
}

/* ---- reference counts: whoever lets go last sees what all others did before ---- */

void(g_object_unref)(gpointer object)
{
	release(object);
	acquire(object);
	NEXT(g_object_unref)(object);
}

void g_bytes_unref(GBytes *bytes)
{
	if (bytes != NULL) {
		release(bytes);
		acquire(bytes);
	}
	NEXT(g_bytes_unref)(bytes);
}

void g_ptr_array_unref(GPtrArray *array)
{
	release(array);
	acquire(array);
	NEXT(g_ptr_array_unref)(array);
}

void g_hash_table_unref(GHashTable *table)
{
	release(table);
	acquire(table);
	NEXT(g_hash_table_unref)(table);
}

/* ---- tasks: out to a thread, and back to the context they came from ---- */

static GQuark function_quark(void)
{
	return g_quark_from_static_string("dn-tsan-function");
}

static void run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	GTaskThreadFunc function =
		(GTaskThreadFunc)g_object_get_qdata(G_OBJECT(task), function_quark());

	acquire(task);
	function(task, source, data, cancellable);
	release(task);
}

void g_task_run_in_thread(GTask *task, GTaskThreadFunc function)
{
	g_object_set_qdata(G_OBJECT(task), function_quark(), (gpointer)function);
	release(task);
	NEXT(g_task_run_in_thread)(task, run);
}

void g_task_return_pointer(GTask *task, gpointer result, GDestroyNotify destroy)
{
	release(task);
	NEXT(g_task_return_pointer)(task, result, destroy);
}

void g_task_return_boolean(GTask *task, gboolean result)
{
	release(task);
	NEXT(g_task_return_boolean)(task, result);
}

void g_task_return_error(GTask *task, GError *error)
{
	release(task);
	NEXT(g_task_return_error)(task, error);
}

void g_task_return_new_error(GTask *task, GQuark domain, gint code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	GError *error = g_error_new_valist(domain, code, format, arguments);
	va_end(arguments);
	g_task_return_error(task, error);
}

gpointer g_task_get_task_data(GTask *task)
{
	acquire(task);
	return NEXT(g_task_get_task_data)(task);
}

gpointer g_task_propagate_pointer(GTask *task, GError **error)
{
	acquire(task);
	return NEXT(g_task_propagate_pointer)(task, error);
}

gboolean g_task_propagate_boolean(GTask *task, GError **error)
{
	acquire(task);
	return NEXT(g_task_propagate_boolean)(task, error);
}

/* ---- main contexts: what was before a source was attached is before it is dispatched ---- */

guint g_source_attach(GSource *source, GMainContext *context)
{
	release(context != NULL ? context : g_main_context_default());
	return NEXT(g_source_attach)(source, context);
}

/* ---- counters in the kernel: their wrappers in libc write without the sanitizer's knowledge ----
 */

static char counters[1024];

int eventfd_write(int fd, eventfd_t value)
{
	release(&counters[(unsigned)fd % sizeof(counters)]);
	return NEXT(eventfd_write)(fd, value);
}

int eventfd_read(int fd, eventfd_t *value)
{
	int failed = NEXT(eventfd_read)(fd, value);

	acquire(&counters[(unsigned)fd % sizeof(counters)]);
	return failed;
}

/*
 * ---- a child that borrows our memory ----
 *
 * The sanitizer takes it for one with a copy, as fork makes, and keeps its notes about the thread
 * in that memory: so it gets a copy.
 */

int __clone(int (*function)(void *), void *stack, int flags, void *data, ...);

int clone(int (*function)(void *), void *stack, int flags, void *data, ...)
{
	return __clone(function, stack, flags & ~CLONE_VM, data, NULL, NULL, NULL);
}

/* ---- Criterion ---- */

/*
 * Where the memory lies that Criterion shares with a test is drawn from all addresses, of which the
 * sanitizer leaves few to the program: a draw that lies where programs are loaded.
 */
int rand_r(unsigned *seed)
{
	enum { FIRST = 0x350000, CHOICES = 0x18000 }; /* times 2^24, after 2^45 */
	int drawn = NEXT(rand_r)(seed);

	return __tsan_acquire != NULL ? FIRST + drawn % CHOICES : drawn;
}
