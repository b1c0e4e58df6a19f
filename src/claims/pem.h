/* Ed25519 keys as RFC 8410 writes them (PKCS #8, SubjectPublicKeyInfo) in the text armour of RFC 7468. Private to claims. */
#ifndef DELTASCOPE_CLAIMS_PEM_H
#define DELTASCOPE_CLAIMS_PEM_H

#include "deltascope/base.h"

enum { DS_KEY_BYTES = 32, DS_PEM_MOST = 1 << 16 };

/* key (DS_KEY_BYTES) <- the seed of a private key, or a public key. DS_ERR_INPUT, naming `where` and what was found, for
 * anything else; the sentence holds nothing of the file but the words of its first line. `bytes` (length and a NUL) is decoded
 * in place. */
ds_status ds_pem_private(unsigned char *key, char *bytes, size_t length, const char *where) DS_MUST_CHECK;
ds_status ds_pem_public(unsigned char *key, char *bytes, size_t length, const char *where) DS_MUST_CHECK;

#endif
