/* SPDX-License-Identifier: Apache-2.0 */

/* The helper that the service may execute: ends with its first argument. With a second it takes
 * most of the stack that it may have before.
 */

#include <stdlib.h>

enum { PAGE = 4096, DEPTH = 1500 };

static int descend(int depth, volatile char *above)
{
	volatile char frame[PAGE];

	frame[0] = (char)(above[0] + 1);
	return depth == 0 ? 0 : descend(depth - 1, frame) + (frame[0] != above[0]);
}

int main(int argc, char **argv)
{
	volatile char top[1] = {0};

	if (argc > 2 && descend(DEPTH, top) != DEPTH)
		return 1;
	return argc > 1 ? atoi(argv[1]) : 0;
}
