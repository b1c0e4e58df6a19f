/* Ed25519 (RFC 8032) by OpenSSL. Private to claims. */
#ifndef DELTASCOPE_CLAIMS_ED25519_H
#define DELTASCOPE_CLAIMS_ED25519_H

#include "deltascope/base.h"

enum { DS_SIGNATURE_BYTES = 64 };

/* public_key (32) <- that of a seed (32). */
ds_status ds_ed25519_public(unsigned char *public_key, const unsigned char *seed) DS_MUST_CHECK;
/* signature (DS_SIGNATURE_BYTES) <- of `length` bytes, by the key of a seed. */
ds_status ds_ed25519_sign(unsigned char *signature, const unsigned char *seed, const void *bytes, size_t length) DS_MUST_CHECK;
/* *holds <- whether it is one by that key. A key of small order, of which anybody can make signatures, signs nothing. */
ds_status ds_ed25519_verify(bool *holds, const unsigned char *public_key, const unsigned char *signature, const void *bytes,
                            size_t length) DS_MUST_CHECK;

#endif
