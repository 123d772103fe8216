/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "seal/digest.h"
#include "support/suite.h"

TestSuite(digest, .fini = dn_suite_end);

/* FIPS 180-2, appendix B. */
#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OF_MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
#define OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Test(digest, the_published_examples_come_out)
{
	g_autoptr(GBytes) abc = g_bytes_new_static("abc", 3);
	g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
	g_autofree char *of_abc = dn_digest_bytes(abc);
	g_autofree char *of_nothing = dn_digest_bytes(nothing);

	cr_assert_str_eq(of_abc, OF_ABC);
	cr_assert_str_eq(of_nothing, OF_NOTHING);
}

Test(digest, bit_by_bit_is_the_same_as_at_once_and_begins_again)
{
	g_autoptr(DnDigest) digest = dn_digest_new();
	uint8_t bytes[DN_DIGEST_BYTES];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 1000; i++) {
			char part[1000];

			memset(part, 'a', sizeof(part));
			dn_digest_add(digest, part, sizeof(part));
		}
		dn_digest_finish(digest, bytes);
		g_autofree char *text = dn_digest_text(bytes);
		cr_assert_str_eq(text, OF_MILLION_A);
	}
}

Test(digest, a_file_larger_than_one_read_is_read_to_its_end)
{
	dn_autofd int fd = memfd_create("digest", MFD_CLOEXEC);
	g_autofree char *million = g_strnfill(1000000, 'a');
	g_autoptr(GError) error = NULL;
	uint8_t bytes[DN_DIGEST_BYTES];
	uint64_t size = 0;

	cr_assert(eq(long, write(fd, million, 1000000), 1000000));
	cr_assert(eq(long, lseek(fd, 0, SEEK_SET), 0));
	cr_assert(dn_digest_fd(fd, bytes, &size, &error));
	g_autofree char *text = dn_digest_text(bytes);
	cr_assert_str_eq(text, OF_MILLION_A);
	cr_assert(eq(u64, size, 1000000));
}

Test(digest, a_descriptor_that_cannot_be_read_is_an_error)
{
	dn_autofd int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g_autoptr(GError) error = NULL;
	uint8_t bytes[DN_DIGEST_BYTES];

	cr_assert(not(dn_digest_fd(fd, bytes, NULL, &error)));
	cr_assert(error != NULL);
}
