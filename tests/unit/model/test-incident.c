/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "model/incident.h"
#include "support/suite.h"

static DnIncident *one, *other;

static void setup(void)
{
	one = dn_incident_new();
	one->id = g_strdup("0000000000000001");
	g_ptr_array_add(one->conntrack, g_strdup("tcp 6 x"));
	g_ptr_array_add(one->replacements, g_strdup("web-00000001"));
	g_ptr_array_add(one->sockets, dn_socket_record_new("tcp", "listen", "x:1", "y:2", true));
	other = dn_incident_copy(one);
}

static void teardown(void)
{
	g_clear_pointer(&one, dn_incident_free);
	g_clear_pointer(&other, dn_incident_free);
	dn_suite_end();
}

TestSuite(incident, .init = setup, .fini = teardown);

Test(incident, says_what_its_copy_says)
{
	cr_assert(dn_incident_equal(one, other));
}

/* A change that is taken for none would never be stored. */
Test(incident, says_something_else_when_any_word_of_it_is_another)
{
	char **const texts[] = {&other->id,
				&other->service,
				&other->node,
				&other->host,
				&other->address,
				&other->digest,
				&other->class,
				&other->detail,
				&other->image_ref,
				&other->attack,
				&other->image_commit,
				&other->indicator_path,
				&other->indicator_comm};

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		char *before = *texts[i];

		*texts[i] = (char *)"another";
		cr_assert(not(dn_incident_equal(one, other)), "text %zu", i);
		*texts[i] = before;
	}
	cr_assert(dn_incident_equal(one, other));
}

Test(incident, says_something_else_when_any_number_of_it_is_another)
{
	void *const numbers[] = {&other->event_time_ns,
				 &other->event_monotonic_ns,
				 &other->epoch,
				 &other->first_drop_us,
				 &other->packets_after_cut,
				 &other->isolated_us,
				 &other->isolated_verified_us,
				 &other->here.time_us,
				 &other->here.looked,
				 &other->here.found,
				 &other->elsewhere.time_us,
				 &other->elsewhere.looked,
				 &other->elsewhere.found,
				 &other->state,
				 &other->drill,
				 &other->stages_us[DN_STAGE_VERDICT],
				 &other->stages_us[DN_STAGE_SEALED]};

	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		unsigned char *byte = numbers[i];

		*byte ^= 1;
		cr_assert(not(dn_incident_equal(one, other)), "number %zu", i);
		*byte ^= 1;
	}
	cr_assert(dn_incident_equal(one, other));
}

Test(incident, says_something_else_when_any_row_of_it_is_another)
{
	DnSocketRecord *socket = g_ptr_array_index(other->sockets, 0);

	socket->rtt_us++;
	cr_assert(not(dn_incident_equal(one, other)));
	socket->rtt_us--;
	((char *)g_ptr_array_index(other->conntrack, 0))[0] = 'u';
	cr_assert(not(dn_incident_equal(one, other)));
	((char *)g_ptr_array_index(other->conntrack, 0))[0] = 't';
	cr_assert(dn_incident_equal(one, other));
	g_ptr_array_add(other->replacements, g_strdup("web-00000002"));
	cr_assert(not(dn_incident_equal(one, other)));
}
