/* Who says it: a result signed, and what a signature is worth. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "ed25519.h"
#include "pem.h"

static const char algorithm[] = "ed25519";

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "out of memory while a signature is made or checked"); }

/* ---- digits ------------------------------------------------------------------------------------------------------ */

static void to_digits(char *digits, const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) (void)snprintf(digits + 2 * i, 3, "%02x", bytes[i]);
}

/* bytes (count) <- twice as many digits, small letters; false where it is anything else. */
static bool from_digits(unsigned char *bytes, size_t count, const char *digits) {
    static const char all[] = "0123456789abcdef";
    if (digits == NULL || strlen(digits) != 2 * count || strspn(digits, all) != 2 * count) return false;
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)((strchr(all, digits[2 * i]) - all) << 4 | (strchr(all, digits[2 * i + 1]) - all));
    return true;
}

/* SHA-256 of the key as "openssl pkey -pubin -outform DER" writes it. */
static ds_status fingerprint(char digits[65], const unsigned char *key) {
    unsigned char der[] = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00................................";
    memcpy(der + sizeof der - 1 - DS_KEY_BYTES, key, DS_KEY_BYTES);
    return ds_sha256(digits, der, sizeof der - 1);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* A page of its own: no dump of memory holds it, no other process gets it by fork, and it does not go to the disk. */
struct ds_signer {
    unsigned char seed[DS_KEY_BYTES], public_key[DS_KEY_BYTES];
    char sha256[65];
    bool exposed;
};

static ds_signer *new_signer(void) {
    ds_signer *signer = mmap(NULL, sizeof *signer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (signer == MAP_FAILED) return NULL;
    (void)madvise(signer, sizeof *signer, MADV_DONTDUMP); /* where one of these is not to be had, the others still help */
    (void)madvise(signer, sizeof *signer, MADV_WIPEONFORK);
    (void)mlock(signer, sizeof *signer);
    return signer;
}

void ds_signer_close(ds_signer **signer) {
    if (*signer == NULL) return;
    explicit_bzero(*signer, sizeof **signer);
    (void)munmap(*signer, sizeof **signer);
    *signer = NULL;
}

bool ds_signer_is_exposed(const ds_signer *signer) { return signer->exposed; }
const char *ds_signer_sha256(const ds_signer *signer) { return signer->sha256; }

/* Standard input up to its end, of at most DS_PEM_MOST bytes. */
static ds_status read_standard_input(char **bytes, size_t *length) {
    ds_status status = DS_OK;
    ssize_t got = 1;
    *length = 0;
    if (isatty(STDIN_FILENO)) return ds_fail(DS_ERR_INPUT, "standard input: is a terminal, expected a key in PEM");
    DS_NEW(*bytes, DS_PEM_MOST + 1);
    while (got > 0 && *length < DS_PEM_MOST) {
        got = read(STDIN_FILENO, *bytes + *length, DS_PEM_MOST - *length);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            *length += (size_t)got;
    }
    if (got < 0) status = ds_fail(DS_ERR_SYSTEM, "standard input: cannot be read: %s", strerror(errno));
    if (got > 0) status = ds_fail(DS_ERR_INPUT, "standard input: too large for a key, expected at most %d bytes", DS_PEM_MOST);
done:
    return status;
}

ds_status ds_signer_open(ds_signer **out, const char *path) {
    ds_status status = DS_OK;
    const bool piped = strcmp(path, "-") == 0;
    const ds_name shown = piped ? ds_escape("standard input", 14) : ds_escape(path, strlen(path));
    struct stat info;
    char *bytes = NULL;
    size_t length = 0;
    ds_signer *signer = new_signer();
    *out = NULL;
    if (signer == NULL) return out_of_memory();
    DS_TRY(piped ? read_standard_input(&bytes, &length) : ds_read_file(&bytes, &length, path, DS_PEM_MOST));
    signer->exposed = !piped && stat(path, &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0;
    DS_TRY(ds_pem_private(signer->seed, bytes, length, shown.text));
    DS_TRY(ds_ed25519_public(signer->public_key, signer->seed));
    DS_TRY(fingerprint(signer->sha256, signer->public_key));
done:
    if (bytes != NULL) explicit_bzero(bytes, length);
    free(bytes);
    if (status != DS_OK) ds_signer_close(&signer);
    *out = signer;
    return status;
}

ds_status ds_public_key_read(ds_public_key *key, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, path, DS_PEM_MOST));
    DS_TRY(ds_pem_public(key->bytes, bytes, length, DS_SHOW(path)));
    DS_TRY(fingerprint(key->sha256, key->bytes));
done:
    if (bytes != NULL) explicit_bzero(bytes, length); /* it may have been the private one */
    free(bytes);
    return status;
}

/* ---- signing ----------------------------------------------------------------------------------------------------- */

/* The canonical form of all but the signature itself. */
static ds_status what_is_signed(ds_text *text, const json_t *envelope) {
    ds_status status = DS_OK;
    json_t *content = ds_json_copy(envelope);
    if (content == NULL) return out_of_memory();
    (void)json_object_del(content, "signature");
    DS_TRY(ds_json_print(text, content, DS_JSON_CANONICAL));
done:
    json_decref(content);
    return status;
}

ds_status ds_signature_add(json_t *envelope, const ds_signer *signer) {
    ds_status status = DS_OK;
    unsigned char made[DS_SIGNATURE_BYTES];
    char key[2 * DS_KEY_BYTES + 1], value[2 * DS_SIGNATURE_BYTES + 1];
    ds_text text = {0};
    DS_TRY(what_is_signed(&text, envelope));
    DS_TRY(ds_ed25519_sign(made, signer->seed, text.bytes, text.length));
    to_digits(key, signer->public_key, DS_KEY_BYTES);
    to_digits(value, made, DS_SIGNATURE_BYTES);
    if (json_object_set_new(envelope, "signature",
                            json_pack("{s:s, s:s, s:s, s:s}", "algorithm", algorithm, "public_key", key, "key_sha256",
                                      signer->sha256, "value", value)) != 0)
        status = out_of_memory();
done:
    ds_text_release(&text);
    return status;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

/* A signature as a file states it. */
typedef struct stated {
    ds_public_key key;
    unsigned char value[DS_SIGNATURE_BYTES];
} stated;

/* *reason <- why it cannot be read as one; NULL when it can. Nothing stands beside the four keys: it would not be signed. */
static ds_status read_stated(stated *out, const char **reason, const json_t *signature) {
    ds_status status = DS_OK;
    const char *name = json_string_value(json_object_get(signature, "algorithm"));
    const char *sha256 = json_string_value(json_object_get(signature, "key_sha256"));
    *reason = NULL;
    if (json_object_size(signature) != 4 || name == NULL || sha256 == NULL)
        *reason = "it is malformed: expected algorithm, public_key, key_sha256 and value, and nothing else";
    else if (strcmp(name, algorithm) != 0)
        *reason = "its algorithm is not ed25519";
    else if (!from_digits(out->key.bytes, DS_KEY_BYTES, json_string_value(json_object_get(signature, "public_key"))))
        *reason = "its public_key is malformed: expected 64 hexadecimal digits";
    else if (!from_digits(out->value, DS_SIGNATURE_BYTES, json_string_value(json_object_get(signature, "value"))))
        *reason = "its value is malformed: expected 128 hexadecimal digits";
    if (*reason != NULL) return DS_OK;
    DS_TRY(fingerprint(out->key.sha256, out->key.bytes));
    if (strcmp(out->key.sha256, sha256) != 0) *reason = "its key_sha256 is not that of its public_key";
done:
    return status;
}

/* *reason <- why the envelope is not signed by `signer` (NULL: by the key it names itself); NULL when it is. */
static ds_status judge(stated *out, const char **reason, const json_t *envelope, const ds_public_key *signer) {
    ds_status status = DS_OK;
    const json_t *signature = json_object_get(envelope, "signature");
    ds_text text = {0};
    bool holds;
    *reason = "the file is not signed";
    if (signature == NULL) return DS_OK;
    DS_TRY(read_stated(out, reason, signature));
    if (*reason == NULL && signer != NULL && memcmp(signer->bytes, out->key.bytes, DS_KEY_BYTES) != 0)
        *reason = "it is by another key than the one given";
    if (*reason != NULL) goto done;
    DS_TRY(what_is_signed(&text, envelope));
    DS_TRY(ds_ed25519_verify(&holds, out->key.bytes, out->value, text.bytes, text.length));
    if (!holds) *reason = "the file was changed after it was signed, or another key signed it";
done:
    ds_text_release(&text);
    return status;
}

ds_status ds_signature_check(json_t **told, bool *holds, const json_t *envelope, const ds_public_key *signer) {
    ds_status status = DS_OK;
    const bool asked = signer != NULL || json_object_get(envelope, "signature") != NULL;
    const char *reason;
    stated found = {.key.sha256 = ""};
    *told = NULL;
    *holds = true;
    DS_TRY(judge(&found, &reason, envelope, signer));
    *holds = !asked || reason == NULL;
    *told = json_pack("{s:s?, s:s?, s:o, s:s?}", "key_sha256", found.key.sha256[0] == '\0' ? NULL : found.key.sha256, "signer",
                      !asked           ? NULL
                      : signer != NULL ? "given"
                                       : "named",
                      "holds", asked ? json_boolean(*holds) : json_null(), "reason", asked ? reason : NULL);
    if (*told == NULL) status = out_of_memory();
done:
    return status;
}
