#include <openssl/evp.h>

#include "digest.h"

static ds_status openssl_failure(void) { return ds_fail(DS_ERR_SYSTEM, "SHA-256 could not be computed: OpenSSL failed"); }

ds_status ds_digest_init(ds_digest *digest) {
    digest->state = EVP_MD_CTX_new();
    if (digest->state == NULL || EVP_DigestInit_ex(digest->state, EVP_sha256(), NULL) != 1) {
        ds_digest_release(digest);
        return openssl_failure();
    }
    return DS_OK;
}

ds_status ds_digest_update(ds_digest *digest, const void *bytes, size_t count) {
    return EVP_DigestUpdate(digest->state, bytes, count) == 1 ? DS_OK : openssl_failure();
}

ds_status ds_digest_final(ds_digest *digest, char text[DS_DIGEST_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_DigestFinal_ex(digest->state, bytes, &size) != 1 || size != (DS_DIGEST_TEXT - 1) / 2) return openssl_failure();
    for (unsigned i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[DS_DIGEST_TEXT - 1] = '\0';
    return DS_OK;
}

void ds_digest_release(ds_digest *digest) {
    EVP_MD_CTX_free(digest->state);
    digest->state = NULL;
}
