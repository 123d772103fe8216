/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* Texts in user memory: their length and the last component of a path. */

enum {
	WINDOW = 64,  /* bytes of a text that are looked at together, the last one its NUL */
	WINDOWS = 72, /* of one text: longer than any path */
};

/* The last component of a text, as last_name() gives it. */
#define NAME_UNREAD 0ULL
#define NAME_LONG (1ULL << 63)                        /* longer than a window, or unended */
#define NAME_LENGTH(name_) ((name_)&0xffffff)         /* of the text with its NUL; 0: unended */
#define NAME_OFFSET(name_) ((name_) >> 24 & 0xffffff) /* where the component begins in it */

/* The length of the text at @at with its NUL; 0: it cannot be read; -1: too long. */
__noinline long length_of(__u64 at)
{
	char text[WINDOW];
	long length = 0;

	for (int i = 0; i < WINDOWS; i++) {
		long got = bpf_probe_read_user_str(text, WINDOW, (const void *)(at + length));

		if (got <= 0)
			return 0;
		if (got < WINDOW)
			return length + got;
		length += WINDOW - 1;
	}
	return -1;
}

/*
 * Where the last component of the text at @at begins. The text is read to its end, and what is
 * looked at is within it, for the memory around it need not be there. As a function of its own,
 * like the one above, the kernel checks it once and not for every call; and it does not follow what
 * is kept in a volatile byte, or it would look at every way in which slashes can be strewn over a
 * text.
 */
__noinline __u64 last_name(__u64 at)
{
	char text[WINDOW] = {};
	volatile __u8 begin = 1; /* one more than it is: nor does it follow what is not zero */
	long length = length_of(at);

	if (length <= 0)
		return length ? NAME_LONG : NAME_UNREAD;
	__u64 from = length > WINDOW ? length - WINDOW : 0;
	if (bpf_probe_read_user_str(text, WINDOW, (const void *)(at + from)) < 0)
		return NAME_UNREAD;
	for (int i = 0; i < WINDOW - 1; i++) {
		if (!text[i])
			break;
		if (text[i] == '/')
			begin = i + 2;
	}
	__u64 name = begin - 1;
	return length | (from + name) << 24 | (from && !name ? NAME_LONG : 0);
}

/* The first seven letters of the text at @at as one number; 0: it has none. */
static __always_inline __u64 letters_at(__u64 at)
{
	__u64 letters = 0;

	return bpf_probe_read_user_str(&letters, sizeof(letters), (const void *)at) < 0 ? 0
											: letters;
}

#define LETTERS(a_, b_, c_, d_, e_, f_, g_)                                                        \
	((__u64)(a_) | (__u64)(b_) << 8 | (__u64)(c_) << 16 | (__u64)(d_) << 24 |                  \
	 (__u64)(e_) << 32 | (__u64)(f_) << 40 | (__u64)(g_) << 48)
