/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a verb of the command is, and what it is given when it runs.
 *
 * Each verb is one row in the file that implements it: its words, its options and its function.
 * cli/main/table.c lists the rows; help, parsing and suggestions all come from them.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"
#include "http/client.h"
#include "output/output.h"
#include "seal/keys.h"

#define DN_OPTIONS_LIMIT 8

/* What the help says of a --key that dn_call_keys() reads. */
#define DN_KEYS_HELP(role)                                                                         \
	"a " role " key: a file, or a name in the home's keys; may be given again"

typedef struct {
	const char *name;  /* "reason" for --reason, "f" for -f */
	const char *value; /* what the help calls its value; NULL: a switch */
	const char *help;
} DnOption;

typedef struct DnCall DnCall;

typedef struct {
	const char *noun;
	const char *verb;     /* NULL: the noun is the whole command */
	const char *operands; /* as the help shows them */
	unsigned least, most; /* how many operands */
	const char *help;     /* one line */
	bool hidden;          /* not in the help */
	bool reserved;        /* in a later version: refused, whatever else is typed */
	bool on_agent;        /* --agent: a host's agent can answer it too */
	const char *more;     /* NULL, or what else the help of this verb says */
	const char *many;     /* NULL, or the option that may be given again, for another value */
	DnOption options[DN_OPTIONS_LIMIT];
	bool (*run)(DnCall *call, GError **error);
} DnVerb;

struct DnCall {
	DnOutput *output;   /* borrowed */
	const DnVerb *verb; /* borrowed from the table */
	bool json;
	char *supervisor;    /* owned; NULL: look for it */
	char *home;          /* owned; NULL: look for it */
	char *agent;         /* owned; NULL: ask the supervisor; "": the agent of this machine */
	GPtrArray *operands; /* owned, of char * */
	GHashTable *options; /* owned: char * → GPtrArray of char *, one "" for a switch */
};

/* Operand @index, or NULL. */
const char *dn_call_operand(const DnCall *call, unsigned index);

/* The value of an option, the first one if there are more, or NULL when it was not given. */
const char *dn_call_option(const DnCall *call, const char *name);
bool dn_call_has(const DnCall *call, const char *name);

/* An option that the verb cannot do without: DN_ERROR_INVALID when it is missing. */
const char *dn_call_need(const DnCall *call, const char *name, GError **error);

/*
 * With --agent: a host's agent, by its socket or run directory, else as /etc/dnode/agent.yaml says.
 * Otherwise the supervisor: --supervisor, $DNODE_SUPERVISOR, the local socket, the lab's socket.
 */
DnHttp *dn_call_connect(const DnCall *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The directory with cluster.yaml: --home, $DNODE_HOME, /etc/dnode, the lab's. */
char *dn_call_home(const DnCall *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The secret key that --key names: a path, or a name in the home's keys. */
DnSecretKey *dn_call_key(const DnCall *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same where --key may be given again: an array of at least one DnSecretKey. One key under two
 * names is DN_ERROR_INVALID, for it would count once.
 */
GPtrArray *dn_call_keys(const DnCall *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The path of a key, for a name or path that does not come from --key. */
char *dn_call_key_path(const DnCall *call, const char *name,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
