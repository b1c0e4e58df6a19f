/* SHA-256 (FIPS 180-4) by OpenSSL. Private to io. */
#ifndef DELTASCOPE_IO_DIGEST_H
#define DELTASCOPE_IO_DIGEST_H

#include "catalog.h"

typedef struct ds_digest {
    void *state; /* SHA256_CTX */
} ds_digest;

ds_status ds_digest_init(ds_digest *digest) DS_MUST_CHECK;
ds_status ds_digest_update(ds_digest *digest, const void *bytes, size_t count) DS_MUST_CHECK;
ds_status ds_digest_final(ds_digest *digest, char text[DS_DIGEST_TEXT]) DS_MUST_CHECK; /* 64 hexadecimal digits */
void ds_digest_release(ds_digest *digest);                                             /* a zeroed one is fine */

#endif
