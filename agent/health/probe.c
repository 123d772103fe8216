/* SPDX-License-Identifier: Apache-2.0 */
#include "health/probe.h"

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"

typedef struct {
	DnExchange exchange;
	char *where;     /* owned: ADDRESS:PORT for the error */
	GSource *source; /* owned */
	gpointer tag;    /* of the descriptor in @source */
	unsigned timeout_ms;
} Probe;

/* Not left to probe_free(): the caller may keep the result, the node must not keep the socket. */
static void probe_stop(Probe *probe)
{
	if (probe->source != NULL)
		g_source_destroy(probe->source);
	dn_exchange_clear(&probe->exchange);
}

static void probe_free(gpointer data)
{
	Probe *probe = data;

	probe_stop(probe);
	g_clear_pointer(&probe->source, g_source_unref);
	g_free(probe->where);
	g_free(probe);
}

static void answer(GTask *task, DnExchangeState state, int errsv)
{
	Probe *probe = g_task_get_task_data(task);
	GError *error = NULL;

	if (state == DN_EXCHANGE_ANSWERED) {
		g_task_return_boolean(task, TRUE);
		return;
	}
	if (errsv == EPROTO)
		g_set_error(&error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "probe %s: the answer is not a success", probe->where);
	else
		dn_throw_errno(&error, errsv, "probe %s", probe->where);
	g_task_return_error(task, error);
}

/* Go on; true when the probe is over and its task has been answered. */
static bool advance(GTask *task)
{
	Probe *probe = g_task_get_task_data(task);
	DnExchangeState state = dn_exchange_step(&probe->exchange);
	int errsv = errno;

	if (state == DN_EXCHANGE_READ || state == DN_EXCHANGE_WRITE) {
		g_source_modify_unix_fd(probe->source, probe->tag,
					state == DN_EXCHANGE_READ ? G_IO_IN : G_IO_OUT);
		return false;
	}
	/* Before the answer: whoever is called may start the next probe. */
	probe_stop(probe);
	answer(task, state, errsv);
	return true;
}

/* The source is ready for one of three reasons: cancelled, late, or the socket has news. */
static gboolean on_ready(gpointer data)
{
	g_autoptr(GTask) task = g_object_ref(data);
	Probe *probe = g_task_get_task_data(task);

	if (g_task_return_error_if_cancelled(task)) {
		probe_stop(probe);
		return G_SOURCE_REMOVE;
	}
	if (g_source_get_time(probe->source) >= g_source_get_ready_time(probe->source)) {
		probe_stop(probe);
		g_task_return_new_error(task, DN_ERROR, DN_ERROR_EXHAUSTED,
					"probe %s: no answer within %u ms", probe->where,
					probe->timeout_ms);
		return G_SOURCE_REMOVE;
	}
	return advance(task) ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	return callback(data);
}

static GSourceFuncs probe_source = {.dispatch = dispatch};

void dn_probe_async(const DnHealthPolicy *policy, const char *address, uint16_t port,
		    GCancellable *cancellable, GAsyncReadyCallback done, gpointer user_data)
{
	g_autoptr(GTask) task = g_task_new(NULL, cancellable, done, user_data);
	Probe *probe = g_new0(Probe, 1);

	g_task_set_source_tag(task, dn_probe_async);
	g_task_set_task_data(task, probe, probe_free);
	probe->exchange.fd = -1;
	probe->where = g_strdup_printf("%s:%u", address, port);
	probe->timeout_ms = policy->timeout_ms;
	if (policy->kind == DN_PROBE_NONE) {
		g_task_return_boolean(task, TRUE);
		return;
	}
	if (!dn_exchange_begin(&probe->exchange, policy, address, port)) {
		answer(task, DN_EXCHANGE_FAILED, errno);
		return;
	}

	probe->source = g_source_new(&probe_source, sizeof(GSource));
	g_source_set_static_name(probe->source, "dn-probe");
	probe->tag = g_source_add_unix_fd(probe->source, probe->exchange.fd, G_IO_OUT);
	g_source_set_ready_time(probe->source,
				g_get_monotonic_time() + (gint64)policy->timeout_ms * 1000);
	if (cancellable != NULL) {
		g_autoptr(GSource) cancelled = g_cancellable_source_new(cancellable);
		g_source_set_dummy_callback(cancelled);
		g_source_add_child_source(probe->source, cancelled);
	}
	g_source_set_callback(probe->source, on_ready, g_object_ref(task), g_object_unref);
	g_source_attach(probe->source, g_task_get_context(task));
}

bool dn_probe_finish(GAsyncResult *result, GError **error)
{
	g_return_val_if_fail(g_task_is_valid(result, NULL), false);
	return g_task_propagate_boolean(G_TASK(result), error);
}

void dn_probe_clear(DnProbing *self)
{
	if (self->deadline_ns != 0)
		dn_exchange_clear(&self->exchange);
	self->deadline_ns = 0;
}

bool dn_probe_step(DnProbing *self, const DnHealthPolicy *policy, const char *address,
		   uint16_t port, struct pollfd *wanted)
{
	uint64_t now = dn_clock_monotonic_ns();
	DnExchangeState state = DN_EXCHANGE_FAILED;

	*wanted = (struct pollfd){.fd = -1};
	if (policy->kind == DN_PROBE_NONE)
		return true;
	bool begun =
		self->deadline_ns != 0 || dn_exchange_begin(&self->exchange, policy, address, port);
	if (self->deadline_ns == 0)
		self->deadline_ns = now + policy->timeout_ms * DN_NS_PER_MS;
	if (begun)
		state = dn_exchange_step(&self->exchange);
	if ((state == DN_EXCHANGE_READ || state == DN_EXCHANGE_WRITE) && now < self->deadline_ns) {
		wanted->fd = self->exchange.fd;
		wanted->events = state == DN_EXCHANGE_READ ? POLLIN : POLLOUT;
		return false;
	}
	dn_probe_clear(self);
	return state == DN_EXCHANGE_ANSWERED;
}

/* At most until @deadline_ns. */
static void wait_for(struct pollfd *wanted, uint64_t deadline_ns)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (now >= deadline_ns)
		return;
	struct timespec left = {(time_t)((deadline_ns - now) / DN_NS_PER_S),
				(long)((deadline_ns - now) % DN_NS_PER_S)};
	(void)ppoll(wanted, 1, &left, NULL);
}

bool dn_probe_now(const DnHealthPolicy *policy, const char *address, uint16_t port)
{
	DnProbing probe = {0};
	struct pollfd wanted;
	bool answered = dn_probe_step(&probe, policy, address, port, &wanted);

	while (!answered && wanted.fd >= 0) {
		wait_for(&wanted, probe.deadline_ns);
		answered = dn_probe_step(&probe, policy, address, port, &wanted);
	}
	return answered;
}
