/* The Ed25519 keys of RFC 8032, section 7.1: no secret of anybody's. */
#ifndef DELTASCOPE_TESTS_KEYS_H
#define DELTASCOPE_TESTS_KEYS_H

#include <stddef.h>

enum { TEST_KEYS = 2 };
extern const char *const test_seeds[TEST_KEYS], *const test_public_keys[TEST_KEYS]; /* hexadecimal digits */

/* bytes (at least half as many) <- digits; returns how many. */
size_t from_hexadecimal(unsigned char *bytes, const char *digits);
/* DER in PEM of that label, as a file of that name with the mode 0600; the path is valid until the end. */
const char *write_pem(const char *name, const char *label, const unsigned char *der, size_t length);
/* Key number i: its private and its public file. */
const char *private_key_file(size_t i);
const char *public_key_file(size_t i);

#endif
