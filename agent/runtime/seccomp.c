/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/seccomp.h"

#include <errno.h>

/* One architecture. libseccomp counts x32 as another one, and kills what enters by another. */
#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCHITECTURE "SCMP_ARCH_X86_64"
#elif defined(__aarch64__)
#define ARCHITECTURE "SCMP_ARCH_AARCH64"
#else
#error "the system call tables have not been read for this architecture"
#endif

static JsonObject *call_new(JsonArray *calls, int errnum, JsonArray *names)
{
	JsonObject *call = json_object_new();

	json_object_set_array_member(call, "names", names);
	json_object_set_string_member(call, "action",
				      errnum == 0 ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO");
	if (errnum != 0)
		json_object_set_int_member(call, "errnoRet", errnum);
	json_array_add_object_element(calls, call);
	return call;
}

static void add_arg(JsonArray *args, const DnSeccompArg *arg)
{
	JsonObject *json = json_object_new();

	json_object_set_int_member(json, "index", arg->index);
	/* MASKED_EQ: "value" is the mask, "valueTwo" what is compared. */
	json_object_set_int_member(json, "value", (gint64)arg->mask);
	json_object_set_int_member(json, "valueTwo", (gint64)arg->value);
	json_object_set_string_member(json, "op", "SCMP_CMP_MASKED_EQ");
	json_array_add_object_element(args, json);
}

static void add_rule(JsonArray *calls, const DnSeccompRule *rule, bool any_argument)
{
	JsonArray *names = json_array_new();

	for (size_t i = 0; i < G_N_ELEMENTS(rule->names) && rule->names[i] != NULL; i++)
		json_array_add_string_element(names, rule->names[i]);
	JsonObject *call = call_new(calls, rule->errnum, names);
	if (any_argument || rule->n_args == 0)
		return;
	JsonArray *args = json_array_new();
	for (size_t i = 0; i < rule->n_args; i++)
		add_arg(args, &rule->args[i]);
	json_object_set_array_member(call, "args", args);
}

static void add_ioctls(JsonArray *calls)
{
	for (size_t i = 0; dn_seccomp_ioctls[i] != 0; i++) {
		DnSeccompRule rule = {
			.names = {"ioctl"},
			.n_args = 1,
			.args = {{1, UINT32_MAX, dn_seccomp_ioctls[i]}},
		};

		add_rule(calls, &rule, false);
	}
}

JsonObject *dn_seccomp_profile(bool jit, bool memfd)
{
	JsonObject *profile = json_object_new();
	JsonArray *architectures = json_array_new();
	JsonArray *calls = json_array_new();
	JsonArray *plain = json_array_new();

	for (size_t i = 0; dn_seccomp_plain[i] != NULL; i++)
		json_array_add_string_element(plain, dn_seccomp_plain[i]);
	/* Sealed against exec, a memfd can still be mapped executable: memory written, then run. */
	if (memfd && jit)
		json_array_add_string_element(plain, "memfd_create");
	(void)call_new(calls, 0, plain);
	for (size_t i = 0; i < dn_seccomp_n_rules; i++)
		add_rule(calls, &dn_seccomp_rules[i], false);
	for (size_t i = 0; i < dn_seccomp_n_wx; i++)
		add_rule(calls, &dn_seccomp_wx[i], jit);
	add_ioctls(calls);

	json_array_add_string_element(architectures, ARCHITECTURE);
	json_object_set_string_member(profile, "defaultAction", "SCMP_ACT_ERRNO");
	json_object_set_int_member(profile, "defaultErrnoRet", EPERM);
	json_object_set_array_member(profile, "architectures", architectures);
	json_object_set_array_member(profile, "syscalls", calls);
	return profile;
}
