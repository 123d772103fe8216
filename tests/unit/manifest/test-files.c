/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "manifest/cluster-file.h"
#include "manifest/grammar.h"
#include "manifest/recipe.h"

TestSuite(files, .fini = dn_suite_end);

#define CLUSTER "dnode: cluster/v1\nid: \"0123456789abcdef\"\n"
#define RECIPE "dnode: image/v1\nref: apps/hello\n"

static void cluster_says(const char *text, const char *wanted)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnCluster) cluster = dn_cluster_file_parse(bytes, "c", &error);

	cr_assert(cluster == NULL, "it was accepted");
	cr_assert_str_eq(error->message, wanted);
}

Test(files, a_cluster_survives_being_written_and_read)
{
	g_autoptr(DnCluster) made = dn_cluster_new();
	g_autoptr(GError) error = NULL;

	made->id = g_strdup("1234567890123456");
	g_free(made->listen);
	made->listen = g_strdup("[::]:7443");
	made->advertise = g_strdup("boss.example:7443");
	g_autoptr(GBytes) text = dn_cluster_file_render(made);
	g_autoptr(DnCluster) read = dn_cluster_file_parse(text, "c", &error);
	cr_assert(read != NULL, "%s", error != NULL ? error->message : "no error was set");
	cr_assert_str_eq(read->id, made->id);
	cr_assert_str_eq(read->node_cidr, made->node_cidr);
	cr_assert_str_eq(read->vip_cidr, made->vip_cidr);
	cr_assert_str_eq(read->listen, made->listen);
	cr_assert_str_eq(read->advertise, made->advertise);
	cr_assert_str_eq(read->repo_listen, made->repo_listen);
}

Test(files, ranges_that_cannot_hold_a_fleet_are_refused)
{
	cluster_says(
		CLUSTER "node_cidr: 10.77.0.0/25\nvip_cidr: 10.99.0.0/31\n",
		"c:3:12: the prefix must be from /8 to /24: every host gets a /24 of it\n"
		"c:4:11: the prefix must be from /8 to /30: every service gets an address of it");
	cluster_says(CLUSTER "node_cidr: 10.77.1.0/16\nvip_cidr: \"2001:db8::/64\"\n",
		     "c:3:12: \"node_cidr\" must be an IPv4 network such as 10.77.0.0/16, zero "
		     "behind the prefix, not \"10.77.1.0/16\"\n"
		     "c:4:11: \"vip_cidr\" must be an IPv4 network such as 10.77.0.0/16, zero "
		     "behind the prefix, not \"2001:db8::/64\"");
	cluster_says(CLUSTER "vip_cidr: 10.77.255.0/24\n",
		     "c:3:11: vip_cidr 10.77.255.0/24 and node_cidr 10.77.0.0/16 overlap");
	cluster_says(CLUSTER "routes: vxlan\nlisten: 0.0.0.0\nadvertise: boss:0\n",
		     "c:3:9: \"routes\" must be host-gw, not \"vxlan\"\n"
		     "c:4:9: \"listen\" must be ADDRESS:PORT, IPv6 in brackets, not \"0.0.0.0\"\n"
		     "c:5:12: \"advertise\" must be HOST:PORT or ADDRESS:PORT, not \"boss:0\"");
}

static void recipe_says(const char *text, const char *wanted)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnRecipe) recipe = dn_recipe_parse(bytes, "i", &error);

	cr_assert(recipe == NULL, "it was accepted");
	cr_assert_str_eq(error->message, wanted);
}

Test(files, a_recipe_is_understood)
{
	g_autoptr(GBytes) bytes =
		bytes_of(RECIPE "root: rootfs\n"
				"files: [{source: out/hello, path: /bin/hello, mode: \"0755\"},"
				" {source: a, path: /etc/a}]\n"
				"directories: [/tmp, /var/lib]\n"
				"run: {args: [/bin/hello], env: {A: b}, cwd: /tmp, user: 1000}\n"
				"ports: [8080]\n");
	g_autoptr(GError) error = NULL;
	g_autoptr(DnRecipe) recipe = dn_recipe_parse(bytes, "i", &error);

	cr_assert(recipe != NULL, "%s", error != NULL ? error->message : "no error was set");
	const DnRecipeFile *hello = g_ptr_array_index(recipe->files, 0);
	const DnRecipeFile *other = g_ptr_array_index(recipe->files, 1);
	cr_assert_str_eq(recipe->root, "rootfs");
	cr_assert_str_eq(hello->source, "out/hello");
	cr_assert_str_eq(hello->path, "/bin/hello");
	cr_assert(eq(u32, hello->mode, 0755));
	cr_assert(eq(u32, other->mode, 0644));
	cr_assert_str_eq((char *)g_ptr_array_index(recipe->directories, 1), "/var/lib");
	cr_assert_str_eq(recipe->run.args[0], "/bin/hello");
	cr_assert_str_eq(recipe->run.env[0], "A=b");
	cr_assert(eq(i64, recipe->run.uid, 1000));
	cr_assert(eq(u16, g_array_index(recipe->ports, uint16_t, 0), 8080));
}

Test(files, a_recipe_cannot_reach_out_of_its_directory_or_its_image)
{
	static const char *const bad[] = {"../x", "/etc/shadow", "a/../../b", "-rf",
					  ".",    "a//b",        "a/",        "\"\""};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text =
			g_strconcat(RECIPE "files: [{source: ", bad[i], ", path: /a}]\n", NULL);
		g_autofree char *quoted =
			bad[i][0] == '"' ? g_strdup(bad[i]) : g_strdup_printf("\"%s\"", bad[i]);
		g_autofree char *wanted = g_strconcat(
			"i:3:18: \"source\" must be a relative path without . or .. that stays in "
			"its directory, not ",
			quoted, NULL);
		recipe_says(text, wanted);
	}
	recipe_says(RECIPE "files: [{source: a, path: ../a}, {source: a, path: /}]\n",
		    "i:3:27: \"path\" must be an absolute path without . or .. or a slash at its "
		    "end, not \"../a\"\n"
		    "i:3:52: \"/\" is the image itself; name a path in it");
}

Test(files, a_recipe_cannot_bring_in_set_id_files_or_nothing_at_all)
{
	recipe_says(RECIPE "files: [{source: a, path: /a, mode: \"4755\"}]\n",
		    "i:3:37: \"mode\" must be octal permission bits from \"0000\" to \"0777\"; "
		    "set-id and sticky bits are not taken into an image");
	recipe_says(RECIPE, "i:1:1: nothing to build from: give \"root\", \"files\" or both");
	recipe_says(RECIPE "root: a\nrun: {may_exec: [/a], args: []}\nports: [0]\n",
		    "i:4:7: unknown key \"may_exec\", known are: args, env, cwd, user\n"
		    "i:4:29: \"args\" has 0 items, from 1 to 256 are allowed\n"
		    "i:5:9: \"ports\" must be a whole number from 1 to 65535, not \"0\"");
}

/* The API that other programs read their settings with. */
typedef struct {
	char *name;
	char *state_dir;
	uint32_t slots;
	bool quiet;
} Settings;

static const DnField settings_fields[] = {
	{"name", DN_FIELD_NAME, DN_FIELD_REQUIRED, DN_MEMBER(Settings, name)},
	{"state_dir", DN_FIELD_PATH, 0, DN_MEMBER(Settings, state_dir)},
	{"slots", DN_FIELD_UINT, 0, DN_MEMBER(Settings, slots), .min = 1, .max = 250},
	{"quiet", DN_FIELD_BOOL, 0, DN_MEMBER(Settings, quiet)},
	{0},
};

Test(files, a_small_table_reads_a_small_file)
{
	Settings settings = {.state_dir = g_strdup("/var/lib/dnode"), .slots = 100};
	g_autoptr(GBytes) good = bytes_of("name: h1\nstate_dir: /srv\nquiet: true\n");
	g_autoptr(GBytes) bad = bytes_of("slots: 251\nqiet: true\n");
	g_autoptr(GError) error = NULL;

	cr_assert(dn_fields_parse(good, "agent.yaml", settings_fields, &settings, NULL));
	cr_assert_str_eq(settings.name, "h1");
	cr_assert_str_eq(settings.state_dir, "/srv");
	cr_assert(eq(u32, settings.slots, 100));
	cr_assert(settings.quiet);
	cr_assert(not(dn_fields_parse(bad, "agent.yaml", settings_fields, &settings, &error)));
	cr_assert_str_eq(
		error->message,
		"agent.yaml:1:1: key \"name\" is missing\n"
		"agent.yaml:1:8: \"slots\" must be a whole number from 1 to 250, not \"251\"\n"
		"agent.yaml:2:1: unknown key \"qiet\", did you mean \"quiet\"?");
	g_free(settings.name);
	g_free(settings.state_dir);
}

Test(files, quantities_are_read_and_written_without_loss)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} durations[] = {{"500ms", 500}, {"10s", 10000}, {"24h", 86400000}, {"0s", 0}};
	uint64_t value = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(durations); i++) {
		g_autofree char *again = dn_grammar_print_duration(durations[i].ms);
		cr_assert(dn_grammar_duration(durations[i].text, &value));
		cr_assert(eq(u64, value, durations[i].ms));
		cr_assert_str_eq(again, durations[i].text);
	}
	g_autofree char *odd = dn_grammar_print_size(1025);
	g_autofree char *cpu = dn_grammar_print_cpu(1050);
	cr_assert_str_eq(odd, "1025B");
	cr_assert_str_eq(cpu, "1.05");
	cr_assert(dn_grammar_cpu("1.05", &value));
	cr_assert(eq(u64, value, 1050));
	cr_assert(dn_grammar_size("16777215TiB", &value));
	cr_assert(eq(u64, value, UINT64_C(16777215) << 40));
}

Test(files, a_quantity_that_overflows_or_says_more_than_a_number_is_refused)
{
	static const char *const bad[] = {"16777216TiB",
					  "18446744073709551616B",
					  "1",
					  "MiB",
					  "",
					  "1 MiB",
					  "-1MiB",
					  "1.5MiB",
					  "1e3MiB",
					  "1mib",
					  "1MiBs"};
	static const char *const bad_cpu[] = {"", ".", ".5", "1.", "1.0000", "-1", "1e1", "1.2.3"};
	static const char *const bad_times[] = {"2027-06-01",           "2027-06-01T00:00:00",
						"2027-13-01T00:00:00Z", "20270601T000000Z",
						"2027-W01-1T00:00:00Z", "2027-06-01T00:00:00Z\n",
						"1969-01-01T00:00:00Z"};
	uint64_t value = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		cr_assert(not(dn_grammar_size(bad[i], &value)), "%s", bad[i]);
	for (size_t i = 0; i < G_N_ELEMENTS(bad_cpu); i++)
		cr_assert(not(dn_grammar_cpu(bad_cpu[i], &value)), "%s", bad_cpu[i]);
	for (size_t i = 0; i < G_N_ELEMENTS(bad_times); i++)
		cr_assert(not(dn_grammar_time(bad_times[i], &value)), "%s", bad_times[i]);
	cr_assert(dn_grammar_time("2027-06-01T02:00:00.5+02:00", &value));
	cr_assert(eq(u64, value, UINT64_C(1811808000500000000)));
}
