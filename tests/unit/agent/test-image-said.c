/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "image/said.h"
#include "support/suite.h"

static DnImageSaid *said;

static void setup(void)
{
	said = dn_image_said_new();
}

static void teardown(void)
{
	dn_image_said_free(said);
	dn_suite_end();
}

TestSuite(image_said, .init = setup, .fini = teardown);

static DnDamage damage_of(const char *path, DnDamageKind kind)
{
	return (DnDamage){.path = (char *)path, .kind = kind};
}

Test(image_said, asking_alone_notes_nothing)
{
	DnDamage damage = damage_of("bin/app", DN_DAMAGE_MODE);

	cr_assert(not(dn_image_said_has(said, &damage)));
	cr_assert(not(dn_image_said_has(said, &damage)));
	dn_image_said_note(said, &damage);
	cr_assert(dn_image_said_has(said, &damage));
}

Test(image_said, each_kind_and_path_is_said_for_itself)
{
	DnDamage mode = damage_of("bin/app", DN_DAMAGE_MODE);
	DnDamage owner = damage_of("bin/app", DN_DAMAGE_OWNER);
	DnDamage other = damage_of("bin/tool", DN_DAMAGE_MODE);

	dn_image_said_note(said, &mode);
	cr_assert(not(dn_image_said_has(said, &owner)));
	cr_assert(not(dn_image_said_has(said, &other)));
	dn_image_said_note(said, &owner);
	cr_assert(dn_image_said_has(said, &mode));
	cr_assert(dn_image_said_has(said, &owner));
}

Test(image_said, what_was_undone_hides_nothing_that_stays)
{
	DnDamage damage = damage_of("bin/app", DN_DAMAGE_CONTENT_CACHE);

	damage.undone = true;
	dn_image_said_note(said, &damage);
	cr_assert(dn_image_said_has(said, &damage));
	damage.undone = false;
	cr_assert(not(dn_image_said_has(said, &damage)));
}

Test(image_said, a_path_that_was_found_right_is_news_again)
{
	DnDamage damage = damage_of("bin/app", DN_DAMAGE_MODE);

	dn_image_said_note(said, &damage);
	dn_image_said_take_back(said, "bin/app");
	cr_assert(not(dn_image_said_has(said, &damage)));
}

Test(image_said, one_kind_is_news_again_of_every_path_and_the_others_are_not)
{
	DnDamage mode = damage_of("objects/a", DN_DAMAGE_MODE);
	DnDamage object = damage_of("objects/a", DN_DAMAGE_OBJECT);
	DnDamage other = damage_of("objects/b", DN_DAMAGE_OBJECT);

	dn_image_said_note(said, &mode);
	dn_image_said_note(said, &object);
	dn_image_said_note(said, &other);
	dn_image_said_take_back_all(said, DN_DAMAGE_OBJECT);
	cr_assert(not(dn_image_said_has(said, &object)));
	cr_assert(not(dn_image_said_has(said, &other)));
	cr_assert(dn_image_said_has(said, &mode));
}

Test(image_said, past_the_limit_no_further_path_is_news)
{
	DnDamage first = damage_of("0", DN_DAMAGE_EXTRA);
	DnDamage mode = damage_of("0", DN_DAMAGE_MODE);
	DnDamage late = damage_of("late", DN_DAMAGE_EXTRA);

	for (unsigned i = 0; i < DN_IMAGE_SAID_LIMIT; i++) {
		g_autofree char *path = g_strdup_printf("%u", i);
		DnDamage damage = damage_of(path, DN_DAMAGE_EXTRA);

		cr_assert(not(dn_image_said_has(said, &damage)));
		dn_image_said_note(said, &damage);
	}
	cr_assert(dn_image_said_has(said, &late));
	cr_assert(dn_image_said_has(said, &first));
	cr_assert(not(dn_image_said_has(said, &mode)));
}
