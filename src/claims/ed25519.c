#include "ed25519.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "pem.h"

static ds_status openssl_failure(void) {
    ERR_clear_error();
    return ds_fail(DS_ERR_SYSTEM, "OpenSSL failed on an Ed25519 signature: out of memory, or a build without Ed25519");
}

/* No configuration file is read: it could name modules to load. */
static bool begin(void) { return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1; }

ds_status ds_ed25519_public(unsigned char *public_key, const unsigned char *seed) {
    size_t length = DS_KEY_BYTES;
    EVP_PKEY *key = begin() ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, DS_KEY_BYTES) : NULL;
    const bool done = key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &length) == 1 && length == DS_KEY_BYTES;
    EVP_PKEY_free(key);
    return done ? DS_OK : openssl_failure();
}

ds_status ds_ed25519_sign(unsigned char *signature, const unsigned char *seed, const void *bytes, size_t length) {
    size_t made = DS_SIGNATURE_BYTES;
    EVP_PKEY *key = begin() ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, DS_KEY_BYTES) : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool done = key != NULL && context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
                      EVP_DigestSign(context, signature, &made, bytes, length) == 1 && made == DS_SIGNATURE_BYTES;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return done ? DS_OK : openssl_failure();
}

/* The y of the eight points whose order divides 8, as RFC 8032 encodes points: numbers below 2^255, little-endian; and the two
 * of p = 2^255 - 19 and p + 1, which encode 0 and 1 as well. The highest bit, the sign of x, does not count. */
static bool has_small_order(const unsigned char *key) {
    static const unsigned char first[][DS_KEY_BYTES + 1] = {
        "\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d"
        "\x53\xfc\x05",
        "\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92"
        "\xac\x03\x7a"};
    unsigned char y[DS_KEY_BYTES];
    memcpy(y, key, sizeof y);
    y[31] &= 0x7f;
    size_t zeros = 1, ones = 1; /* of the bytes between the first and the last, and of the last */
    while (zeros < 32 && y[zeros] == 0) zeros++;
    while (ones < 31 && y[ones] == 0xff) ones++;
    const bool near_zero = zeros == 32 && y[0] <= 1, near_p = ones == 31 && y[31] == 0x7f && y[0] >= 0xec && y[0] <= 0xee;
    return near_zero || near_p || memcmp(y, first[0], sizeof y) == 0 || memcmp(y, first[1], sizeof y) == 0;
}

ds_status ds_ed25519_verify(bool *holds, const unsigned char *public_key, const unsigned char *signature, const void *bytes,
                            size_t length) {
    *holds = false;
    if (has_small_order(public_key)) return DS_OK;
    EVP_PKEY *key = begin() ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, DS_KEY_BYTES) : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool ready = key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1;
    if (ready) *holds = EVP_DigestVerify(context, signature, DS_SIGNATURE_BYTES, bytes, length) == 1;
    ERR_clear_error();
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return ready ? DS_OK : openssl_failure();
}
