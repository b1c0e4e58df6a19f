/* Key files in PEM, as they come from anybody: what our reader and OpenSSL's both take for an Ed25519 key is the same key. The
 * first byte says whether a private or a public one is wanted. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "claims/pem.h"
#include "fuzz.h"

/* OpenSSL asks no terminal. */
static int no_pass_phrase(char *buffer, int size, int writing, void *context) {
    (void)buffer, (void)size, (void)writing, (void)context;
    return -1;
}

/* Whether OpenSSL reads an Ed25519 key from the text; key <- it. */
static bool read_theirs(unsigned char *key, const char *text, size_t length, bool private) {
    size_t bytes = DS_KEY_BYTES;
    BIO *source = BIO_new_mem_buf(text, (int)length);
    MUST(source != NULL);
    EVP_PKEY *theirs = private ? PEM_read_bio_PrivateKey(source, NULL, no_pass_phrase, NULL)
                               : PEM_read_bio_PUBKEY(source, NULL, no_pass_phrase, NULL);
    const bool read =
        theirs != NULL && EVP_PKEY_get_base_id(theirs) == EVP_PKEY_ED25519 &&
        (private ? EVP_PKEY_get_raw_private_key(theirs, key, &bytes) : EVP_PKEY_get_raw_public_key(theirs, key, &bytes)) == 1 &&
        bytes == DS_KEY_BYTES;
    EVP_PKEY_free(theirs);
    BIO_free(source);
    return read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned char ours[DS_KEY_BYTES] = {0}, theirs[DS_KEY_BYTES];
    if (size == 0 || size > DS_PEM_MOST) return 0;
    const bool private = data[0] % 2 != 0;
    const size_t length = size - 1;
    char *text = ds_calloc(length + 1, 1);
    MUST(text != NULL);
    if (length > 0) memcpy(text, data + 1, length);
    const ds_status status =
        private ? ds_pem_private(ours, text, length, "KEY.pem") : ds_pem_public(ours, text, length, "KEY.pem");
    MUST(status == DS_OK || (status == DS_ERR_INPUT && strncmp(ds_error_text(), "KEY.pem: ", 9) == 0));
    if (status == DS_OK && read_theirs(theirs, (const char *)data + 1, length, private))
        MUST(memcmp(ours, theirs, DS_KEY_BYTES) == 0);
    free(text);
    return 0;
}
