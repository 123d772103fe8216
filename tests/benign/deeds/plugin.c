/* SPDX-License-Identifier: Apache-2.0 */

/* A library of the image that the service loads while it runs. */

int answer(void);

__attribute__((visibility("default"))) int answer(void)
{
	return 42;
}
