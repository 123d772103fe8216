/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib.h>
#include <string.h>

#include "image/stamp.h"
#include "support/suite.h"

TestSuite(stamp, .fini = dn_suite_end);

static const DnStamp some = {
	.dev = 1,
	.ino = 2,
	.size = 3,
	.mtime_ns = 4,
	.ctime_ns = 5,
	.mode = 6,
	.uid = 7,
	.gid = 8,
	.links = 9,
};

Test(stamp, the_same_stamp_does_not_differ)
{
	DnStamp other = some;

	cr_assert(not(dn_stamp_differs(&some, &other)));
}

Test(stamp, a_difference_in_any_field_is_one)
{
	for (size_t i = 0; i < sizeof(DnStamp); i++) {
		DnStamp other = some;

		((unsigned char *)&other)[i] ^= 1;
		cr_assert(dn_stamp_differs(&some, &other), "byte %zu", i);
	}
}

Test(stamp, every_field_comes_from_where_it_should)
{
	const struct stat info = {
		.st_dev = 1,
		.st_ino = 2,
		.st_size = 3,
		.st_mtim = {0, 4},
		.st_ctim = {0, 5},
		.st_mode = 6,
		.st_uid = 7,
		.st_gid = 8,
		.st_nlink = 9,
	};
	DnStamp stamp = dn_stamp_of(&info);

	cr_assert(not(dn_stamp_differs(&stamp, &some)));
}

Test(stamp, a_file_changed_within_the_last_tick_is_not_believed_yet)
{
	DnStamp stamp = {.ctime_ns = INT64_C(1000000000)};

	cr_assert(dn_stamp_is_fresh(&stamp, stamp.ctime_ns));
	cr_assert(dn_stamp_is_fresh(&stamp, stamp.ctime_ns + DN_STAMP_SETTLE_NS - 1));
	cr_assert(not(dn_stamp_is_fresh(&stamp, stamp.ctime_ns + DN_STAMP_SETTLE_NS)));
	/* A clock that was put back must not keep it so for a year. */
	cr_assert(not(dn_stamp_is_fresh(&stamp, stamp.ctime_ns - DN_STAMP_SETTLE_NS)));
}

Test(stamp, times_beyond_the_range_still_tell_two_apart)
{
	const struct stat late = {.st_ctim = {INT64_MAX, 0}}, later = {.st_ctim = {INT64_MAX, 1}};
	DnStamp one = dn_stamp_of(&late), other = dn_stamp_of(&later);

	cr_assert(dn_stamp_differs(&one, &other));
	(void)dn_stamp_is_fresh(&one, INT64_MIN);
}
