/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "manifest/yaml.h"
#include "verbs/named.h"
#include "verbs/verb.h"

#define SYSTEM_SOCKET "/run/dnode/supervisor/supervisor.sock"
#define LAB_SOCKET "/run/dnode-lab/supervisor/supervisor.sock"
#define AGENT_CONFIG "/etc/dnode/agent.yaml"
#define AGENT_RUN_DIR "/run/dnode/agent"
#define SYSTEM_HOME "/etc/dnode"
#define LAB_HOME "/var/lib/dnode-lab/home"

const char *dn_call_operand(const DnCall *call, unsigned index)
{
	return index < call->operands->len ? call->operands->pdata[index] : NULL;
}

const char *dn_call_option(const DnCall *call, const char *name)
{
	const GPtrArray *values = g_hash_table_lookup(call->options, name);

	return values != NULL ? values->pdata[0] : NULL;
}

bool dn_call_has(const DnCall *call, const char *name)
{
	return dn_call_option(call, name) != NULL;
}

const char *dn_call_need(const DnCall *call, const char *name, GError **error)
{
	const char *value = dn_call_option(call, name);

	if (value == NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s%s%s needs --%s",
			    call->verb->noun, call->verb->verb != NULL ? " " : "",
			    call->verb->verb != NULL ? call->verb->verb : "", name);
	return value;
}

static const char *find_supervisor(const DnCall *call)
{
	const char *named = g_getenv("DNODE_SUPERVISOR");

	if (call->supervisor != NULL)
		return call->supervisor;
	if (named != NULL && named[0] != '\0')
		return named;
	if (access(SYSTEM_SOCKET, F_OK) != 0 && access(LAB_SOCKET, F_OK) == 0)
		return LAB_SOCKET;
	return SYSTEM_SOCKET;
}

/* The run directory that this machine's agent is configured with. */
static char *configured_run_dir(void)
{
	g_autoptr(GBytes) bytes = dn_file_read(AGENT_CONFIG, DN_YAML_BYTES, NULL);
	g_autoptr(DnFaults) faults = dn_faults_new(AGENT_CONFIG);
	g_autoptr(DnYamlNode) root = bytes != NULL ? dn_yaml_load(bytes, faults) : NULL;
	const DnYamlNode *run_dir = root != NULL ? dn_yaml_get(root, "run_dir") : NULL;

	return g_strdup(run_dir != NULL && run_dir->text != NULL ? run_dir->text : AGENT_RUN_DIR);
}

static char *agent_target(const char *named)
{
	g_autofree char *path = named[0] != '\0' ? g_strdup(named) : configured_run_dir();
	g_autofree char *socket = g_file_test(path, G_FILE_TEST_IS_DIR) || named[0] == '\0'
					  ? g_build_filename(path, "agent.sock", NULL)
					  : g_strdup(path);

	return g_strconcat("unix:", socket, NULL);
}

DnHttp *dn_call_connect(const DnCall *call, GError **error)
{
	if (call->agent != NULL) {
		g_autofree char *target = agent_target(call->agent);

		return dn_http_new(target, error);
	}
	return dn_http_new(find_supervisor(call), error);
}

static bool is_home(const char *path)
{
	g_autofree char *file = g_build_filename(path, "cluster.yaml", NULL);

	return access(file, F_OK) == 0;
}

char *dn_call_home(const DnCall *call, GError **error)
{
	const char *named = g_getenv("DNODE_HOME");

	if (call->home != NULL)
		return g_strdup(call->home);
	if (named != NULL && named[0] != '\0')
		return g_strdup(named);
	if (is_home(SYSTEM_HOME))
		return g_strdup(SYSTEM_HOME);
	if (is_home(LAB_HOME))
		return g_strdup(LAB_HOME);
	g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID,
			    "no cluster directory: neither " SYSTEM_HOME " nor a lab's is there; "
			    "make one with 'dnode cluster init' or name it with --home");
	return NULL;
}

char *dn_call_key_path(const DnCall *call, const char *name, GError **error)
{
	if (!dn_text_is_name(name))
		return g_strdup(name);

	g_autofree char *home = dn_call_home(call, error);
	if (home == NULL) {
		g_prefix_error(error, "key '%s': ", name);
		return NULL;
	}
	g_autofree char *file = g_strconcat(name, ".key", NULL);
	return g_build_filename(home, "keys", file, NULL);
}

static DnSecretKey *load_key(const DnCall *call, const char *name, GError **error)
{
	g_autofree char *path = dn_call_key_path(call, name, error);

	DnSecretKey *key = path != NULL ? dn_secret_key_load(path, error) : NULL;

	if (key == NULL)
		dn_named_blame(error, "--key takes a file, or a name in the home's keys; 'dnode "
				      "key gen' makes one");
	return key;
}

DnSecretKey *dn_call_key(const DnCall *call, GError **error)
{
	const char *name = dn_call_need(call, "key", error);

	return name != NULL ? load_key(call, name, error) : NULL;
}

/* Whether @key is not among @keys, which @names name. */
static bool is_another(const DnSecretKey *key, const char *name, const GPtrArray *keys,
		       const GPtrArray *names, GError **error)
{
	uint8_t public[DN_PUBLIC_KEY_BYTES], earlier[DN_PUBLIC_KEY_BYTES];

	dn_secret_key_public(key, public);
	for (unsigned i = 0; i < keys->len; i++) {
		dn_secret_key_public(keys->pdata[i], earlier);
		if (memcmp(public, earlier, sizeof(public)) != 0)
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "--key %s and --key %s are the same key, which counts once; leave one "
			    "out",
			    (const char *)names->pdata[i], name);
		return false;
	}
	return true;
}

GPtrArray *dn_call_keys(const DnCall *call, GError **error)
{
	const GPtrArray *names = g_hash_table_lookup(call->options, "key");
	g_autoptr(GPtrArray) keys =
		g_ptr_array_new_with_free_func((GDestroyNotify)dn_secret_key_free);

	if (dn_call_need(call, "key", error) == NULL)
		return NULL;
	for (unsigned i = 0; i < names->len; i++) {
		g_autoptr(DnSecretKey) key = load_key(call, names->pdata[i], error);

		if (key == NULL || !is_another(key, names->pdata[i], keys, names, error))
			return NULL;
		g_ptr_array_add(keys, g_steal_pointer(&key));
	}
	return g_steal_pointer(&keys);
}
