/* OpenSSL's plain SHA-256 functions rather than its EVP interface: they neither allocate nor load providers and configuration
 * files, where OpenSSL 3.0 follows null pointers when memory runs out. */
#define OPENSSL_API_COMPAT 0x10100000L /* version 3 calls them deprecated */
#include <openssl/sha.h>
#include <stdlib.h>

#include "digest.h"

static ds_status openssl_failure(void) { return ds_fail(DS_ERR_SYSTEM, "SHA-256 could not be computed: OpenSSL failed"); }

ds_status ds_digest_init(ds_digest *digest) {
    digest->state = ds_calloc(1, sizeof(SHA256_CTX));
    if (digest->state == NULL) return DS_ERR_SYSTEM;
    return SHA256_Init(digest->state) == 1 ? DS_OK : openssl_failure();
}

ds_status ds_digest_update(ds_digest *digest, const void *bytes, size_t count) {
    return SHA256_Update(digest->state, bytes, count) == 1 ? DS_OK : openssl_failure();
}

ds_status ds_digest_final(ds_digest *digest, char text[DS_DIGEST_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[SHA256_DIGEST_LENGTH];
    if (SHA256_Final(bytes, digest->state) != 1) return openssl_failure();
    for (size_t i = 0; i < sizeof bytes; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[DS_DIGEST_TEXT - 1] = '\0';
    return DS_OK;
}

void ds_digest_release(ds_digest *digest) {
    free(digest->state);
    digest->state = NULL;
}

ds_status ds_sha256(char digits[65], const void *bytes, size_t count) {
    ds_status status = DS_OK;
    ds_digest digest = {0};
    DS_TRY(ds_digest_init(&digest));
    DS_TRY(ds_digest_update(&digest, bytes, count));
    DS_TRY(ds_digest_final(&digest, digits));
done:
    ds_digest_release(&digest);
    return status;
}

ds_status ds_sha256_file(char digits[65], const ds_folder *folder, const char *path, uint64_t limit) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file_in(&bytes, &length, folder, path, limit));
    DS_TRY(ds_sha256(digits, bytes, length));
done:
    free(bytes);
    return status;
}
