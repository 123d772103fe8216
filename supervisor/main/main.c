/* SPDX-License-Identifier: Apache-2.0 */

/* dnode-supervisor: one a cluster. Its exit code says what to do next, like the command's. */

#include <dnode/version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/failpoint.h"
#include "base/notify.h"
#include "base/text.h"
#include "main/supervisor.h"

enum { EXIT_USAGE = 2 };

static int exit_code_of(const GError *error)
{
	/* DESIGN section 10: the code of a remedy plus one; anything else is 1. */
	return error->domain == DN_ERROR ? error->code + 1 : EXIT_FAILURE;
}

static int complain(const GError *error)
{
	dn_text_complain("dnode-supervisor", error->message);
	return exit_code_of(error);
}

static bool parse(int *argc, char ***argv, DnSupervisorOptions *options, GError **error)
{
	static char *config, *state, *run;
	static gboolean version;
	const GOptionEntry entries[] = {
		{"config", 0, 0, G_OPTION_ARG_FILENAME, &config,
		 "cluster.yaml, trust.yaml, supervisor.key (default /etc/dnode)", "DIR"},
		{"state", 0, 0, G_OPTION_ARG_FILENAME, &state,
		 "what must survive (default /var/lib/dnode/supervisor)", "DIR"},
		{"run", 0, 0, G_OPTION_ARG_FILENAME, &run,
		 "the socket (default /run/dnode/supervisor)", "DIR"},
		{"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version", NULL},
		G_OPTION_ENTRY_NULL,
	};
	g_autoptr(GOptionContext) context = g_option_context_new("- supervise a fleet of nodes");

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, argc, argv, error))
		return false;
	if (*argc > 1) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unexpected \"%s\"; see dnode-supervisor --help", (*argv)[1]);
		return false;
	}
	if (version) {
		printf("dnode-supervisor %s\n", DN_VERSION);
		exit(EXIT_SUCCESS);
	}
	options->config_dir = config != NULL ? config : "/etc/dnode";
	options->state_dir = state != NULL ? state : "/var/lib/dnode/supervisor";
	options->run_dir = run != NULL ? run : "/run/dnode/supervisor";
	return true;
}

int main(int argc, char **argv)
{
	DnSupervisorOptions options;
	g_autoptr(GError) error = NULL;

	/* A peer that went away is an error of one write, not the end of the daemon. */
	signal(SIGPIPE, SIG_IGN);
	/* What others may read says so itself, like the socket. */
	umask(077);
	if (!parse(&argc, &argv, &options, &error)) {
		(void)complain(error);
		return EXIT_USAGE;
	}
	dn_failpoints_begin(options.run_dir);
	g_autoptr(DnNotify) notify = dn_notify_new();
	g_autoptr(DnSupervisor) supervisor = dn_supervisor_new(&options, &error);
	if (supervisor == NULL)
		return complain(error);
	fprintf(stderr, "dnode-supervisor: ready\n");
	dn_notify_ready(notify);
	bool ran = dn_supervisor_run(supervisor, &error);
	dn_notify_stopping(notify);
	return ran ? EXIT_SUCCESS : complain(error);
}
