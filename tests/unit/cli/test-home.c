/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <glib/gstdio.h>

#include "base/clock.h"
#include "support/suite.h"
#include "verbs/answer.h"

static DnCall call;

static void setup(void)
{
	call = (DnCall){.operands = g_ptr_array_new_with_free_func(g_free),
			.options = g_hash_table_new(g_str_hash, g_str_equal)};
	g_unsetenv("DNODE_HOME");
	g_unsetenv("DNODE_SUPERVISOR");
}

static void teardown(void)
{
	g_ptr_array_unref(call.operands);
	g_hash_table_unref(call.options);
	dn_suite_end();
}

TestSuite(home, .init = setup, .fini = teardown);

Test(home, the_option_wins_over_the_environment)
{
	g_autoptr(GError) error = NULL;

	g_setenv("DNODE_HOME", "/from/environment", TRUE);
	g_autofree char *second = dn_call_home(&call, &error);
	cr_assert_str_eq(second, "/from/environment");
	call.home = (char *)"/from/option";
	g_autofree char *first = dn_call_home(&call, &error);
	cr_assert_str_eq(first, "/from/option");
}

Test(home, a_key_is_a_name_in_the_home_or_a_path)
{
	g_autoptr(GError) error = NULL;

	call.home = (char *)"/home";
	g_autofree char *name = dn_call_key_path(&call, "ops", &error);
	g_autofree char *path = dn_call_key_path(&call, "./ops", &error);
	cr_assert_str_eq(name, "/home/keys/ops.key");
	cr_assert_str_eq(path, "./ops");
}

Test(home, members_of_the_wrong_type_are_absent_and_do_no_harm)
{
	g_autoptr(JsonObject) object = json_object_new();

	json_object_set_int_member(object, "number", 5);
	json_object_set_null_member(object, "nothing");
	json_object_set_array_member(object, "array", json_array_new());
	cr_assert_null(dn_answer_text(object, "number"));
	cr_assert_null(dn_answer_text(object, "nothing"));
	cr_assert_null(dn_answer_text(object, "array"));
	cr_assert_null(dn_answer_text(object, "missing"));
	cr_assert_null(dn_answer_text(NULL, "missing"));
	cr_assert_eq(dn_answer_number(object, "array", 7), 7);
	cr_assert_eq(dn_answer_number(object, "number", 7), 5);
	cr_assert_null(dn_answer_object(object, "array"));
	cr_assert_null(dn_answer_array(object, "number"));
	cr_assert_null(dn_answer_at(dn_answer_array(object, "array"), 0));
	cr_assert_str_eq(dn_answer_word(object, "nothing"), "-");
}

Test(home, an_age_is_told_in_its_largest_unit)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} ages[] = {{0, "0s"}, {59, "59s"}, {61, "1m"}, {3601, "1h"}, {90000, "1d"}};

	for (unsigned i = 0; i < G_N_ELEMENTS(ages); i++) {
		/* Half a second away from the border, so that the test's own time does not count.
		 */
		uint64_t then_ns =
			dn_clock_realtime_ns() - ages[i].seconds * DN_NS_PER_S - DN_NS_PER_S / 4;
		g_autofree char *time = dn_clock_format(then_ns);
		g_autofree char *age = dn_answer_age(time);
		cr_assert_str_eq(age, ages[i].text);
	}
	g_autofree char *never = dn_answer_age("soon");
	cr_assert_str_eq(never, "-");
}
