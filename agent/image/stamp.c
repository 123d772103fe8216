/* SPDX-License-Identifier: Apache-2.0 */
#include "image/stamp.h"

static int64_t nanoseconds(struct timespec time)
{
	/* Unsigned: after 2262 it wraps, which is as good for telling two apart. */
	return (int64_t)((uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec);
}

DnStamp dn_stamp_of(const struct stat *info)
{
	return (DnStamp){
		.dev = info->st_dev,
		.ino = info->st_ino,
		.size = info->st_size,
		.mtime_ns = nanoseconds(info->st_mtim),
		.ctime_ns = nanoseconds(info->st_ctim),
		.mode = info->st_mode,
		.uid = info->st_uid,
		.gid = info->st_gid,
		.links = (uint32_t)info->st_nlink,
	};
}

bool dn_stamp_differs(const DnStamp *a, const DnStamp *b)
{
	return a->dev != b->dev || a->ino != b->ino || a->size != b->size ||
	       a->mtime_ns != b->mtime_ns || a->ctime_ns != b->ctime_ns || a->mode != b->mode ||
	       a->uid != b->uid || a->gid != b->gid || a->links != b->links;
}

bool dn_stamp_is_fresh(const DnStamp *self, int64_t now_ns)
{
	int64_t age_ns = (int64_t)((uint64_t)now_ns - (uint64_t)self->ctime_ns);

	/* Far in the future is no tick: the clock was put back meanwhile. */
	return age_ns < DN_STAMP_SETTLE_NS && age_ns > -DN_STAMP_SETTLE_NS;
}
