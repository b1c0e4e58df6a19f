/* Our own reader: OpenSSL's asks a terminal for pass phrases, guesses at formats, and does not say what it found. */
#include "pem.h"

#include <string.h>

/* ---- armour ------------------------------------------------------------------------------------------------------ */

static const char begin[] = "-----BEGIN ", end[] = "-----END ", dashes[] = "-----";

/* Where `mark` begins a line, from `from` on; NULL: nowhere. The text is NUL-terminated, and has no other NUL. */
static char *find_line(char *text, const char *from, const char *mark) {
    for (char *at = strstr(from, mark); at != NULL; at = strstr(at + 1, mark)) {
        if (at == text || at[-1] == '\n') return at;
    }
    return NULL;
}

static int digit_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes base64 in place, white space between its digits passed over; false where it is none. */
static bool decode(char *text, size_t length, size_t *decoded) {
    uint32_t bits = 0;
    size_t digits = 0, padding = 0, out = 0;
    for (size_t i = 0; i < length; i++) {
        if (strchr(" \t\r\n", text[i]) != NULL) continue;
        const int value = digit_value(text[i]);
        if (text[i] == '=' && digits % 4 >= 2 && padding < 4 - digits % 4) {
            padding++;
            continue;
        }
        if (value < 0 || padding > 0) return false;
        bits = bits << 6 | (uint32_t)value;
        digits++;
        if (digits % 4 != 1) text[out++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)) & 0xFF);
    }
    *decoded = out;
    return (digits + padding) % 4 == 0 && (bits & (padding == 2 ? 0xF : padding == 1 ? 0x3 : 0)) == 0;
}

/* One block of the text armour. */
typedef struct block {
    const char *label; /* (label_length) */
    size_t label_length;
    ds_cursor content; /* decoded */
    bool alone;        /* no other block comes after it */
} block;

static ds_status open_block(block *out, char *bytes, size_t length, const char *where) {
    char *head = strlen(bytes) == length ? find_line(bytes, bytes, begin) : NULL;
    if (length == 0) return ds_fail(DS_ERR_INPUT, "%s: is empty, expected a key in PEM", where);
    if (head == NULL) return ds_fail(DS_ERR_INPUT, "%s: has no line \"-----BEGIN ...-----\", expected a key in PEM", where);
    out->label = head + strlen(begin);
    out->label_length = strcspn(out->label, "-\r\n");
    char *body = head + strlen(begin) + out->label_length, *tail = find_line(bytes, body, end);
    if (strncmp(body, dashes, strlen(dashes)) != 0 || tail == NULL ||
        strncmp(tail + strlen(end), out->label, out->label_length) != 0 ||
        strncmp(tail + strlen(end) + out->label_length, dashes, strlen(dashes)) != 0)
        return ds_fail(DS_ERR_INPUT, "%s: truncated: it begins with \"%s\" and has no end of it", where,
                       ds_escape(out->label, out->label_length).text);
    out->alone = find_line(bytes, tail, begin) == NULL;
    body += strlen(dashes);
    /* the header lines of RFC 1421 are not base64, and no key that is wanted has any */
    if (!decode(body, (size_t)(tail - body), &out->content.left)) out->content.left = 0;
    out->content.at = (const uint8_t *)body;
    return DS_OK;
}

/* ---- DER --------------------------------------------------------------------------------------------------------- */

enum { INTEGER = 0x02, BITS = 0x03, OCTETS = 0x04, OBJECT = 0x06, SEQUENCE = 0x30 };

/* Takes one value of that tag off the front, lengths below 64 KiB in their shortest form; false, taking nothing of use, where
 * something else is there. */
static bool take(ds_cursor *from, uint8_t tag, ds_cursor *value) {
    uint8_t found, first, more[2] = {0};
    size_t length;
    if (!ds_take_u8(from, &found) || found != tag || !ds_take_u8(from, &first)) return false;
    length = first;
    if (first == 0x81) {
        if (!ds_take_u8(from, &more[1]) || more[1] < 0x80) return false;
        length = more[1];
    } else if (first == 0x82) {
        if (!ds_take_u8(from, &more[0]) || !ds_take_u8(from, &more[1]) || more[0] == 0) return false;
        length = (size_t)more[0] << 8 | more[1];
    } else if (first >= 0x80) {
        return false;
    }
    value->left = length;
    return ds_take_bytes(from, length, &value->at);
}

static bool holds(const ds_cursor *value, const void *bytes, size_t length) {
    return value->left == length && memcmp(value->at, bytes, length) == 0;
}

/* What kind of key an identifier of an algorithm says it is. */
static const char *name_of(const ds_cursor *identifier) {
    static const struct {
        const char *name, *bytes;
        size_t length;
    } known[] = {{"Ed25519", "\x2b\x65\x70", 3},
                 {"an Ed448 key", "\x2b\x65\x71", 3},
                 {"an X25519 key", "\x2b\x65\x6e", 3},
                 {"an X448 key", "\x2b\x65\x6f", 3},
                 {"an RSA key", "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9},
                 {"an RSA-PSS key", "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 9},
                 {"a Diffie-Hellman key", "\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01", 9},
                 {"a DSA key", "\x2a\x86\x48\xce\x38\x04\x01", 7},
                 {"an elliptic curve (ECDSA) key", "\x2a\x86\x48\xce\x3d\x02\x01", 7}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (holds(identifier, known[i].bytes, known[i].length)) return known[i].name;
    }
    return "a key of an unknown kind";
}

/* Whether the algorithm in front is Ed25519, which has no parameters; *other <- another's name, NULL where none can be read. */
static bool take_algorithm(ds_cursor *from, const char **other) {
    ds_cursor algorithm, identifier;
    *other = NULL;
    if (!take(from, SEQUENCE, &algorithm) || !take(&algorithm, OBJECT, &identifier)) return false;
    *other = name_of(&identifier);
    if (strcmp(*other, "Ed25519") != 0) return false;
    *other = NULL;
    return algorithm.left == 0;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static const char how_private[] =
    "expected a private Ed25519 key, as \"openssl genpkey -algorithm ed25519 -out KEY.pem\" makes",
                  how_public[] = "expected a public Ed25519 key, as \"openssl pkey -in KEY.pem -pubout -out PUB.pem\" makes";

static bool is_label(const block *found, const char *label) {
    return found->label_length == strlen(label) && memcmp(found->label, label, found->label_length) == 0;
}

/* A block that is not of the wanted label. */
static ds_status refuse_label(const block *found, const char *where, bool wants_private) {
    static const struct {
        const char *label, *is;
    } others[] = {{"RSA PRIVATE KEY", "an RSA key"},
                  {"RSA PUBLIC KEY", "an RSA key"},
                  {"EC PRIVATE KEY", "an elliptic curve (ECDSA) key"},
                  {"EC PARAMETERS", "parameters of an elliptic curve"},
                  {"DSA PRIVATE KEY", "a DSA key"},
                  {"OPENSSH PRIVATE KEY", "a key in the format of OpenSSH"},
                  {"CERTIFICATE", "a certificate"}};
    const char *how = wants_private ? how_private : how_public;
    if (is_label(found, "ENCRYPTED PRIVATE KEY") && wants_private)
        return ds_fail(DS_ERR_INPUT,
                       "%s: is encrypted: give it decrypted, through a pipe so that no copy of it lies about: openssl pkey -in "
                       "KEY.pem | deltascope ... --sign -",
                       where);
    if (is_label(found, "PUBLIC KEY"))
        return ds_fail(DS_ERR_INPUT, "%s: is a public key, and signing takes the private one", where);
    if (is_label(found, "PRIVATE KEY") || is_label(found, "ENCRYPTED PRIVATE KEY"))
        return ds_fail(DS_ERR_INPUT, "%s: is a private key, which is not for giving away: %s", where, how);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (is_label(found, others[i].label)) return ds_fail(DS_ERR_INPUT, "%s: is %s, %s", where, others[i].is, how);
    }
    return ds_fail(DS_ERR_INPUT, "%s: is \"%s\", %s", where, ds_escape(found->label, found->label_length).text, how);
}

static ds_status refuse_content(const block *found, const char *other, const char *where, const char *how) {
    if (!found->alone) return ds_fail(DS_ERR_INPUT, "%s: has more than one block in PEM, expected one key", where);
    if (other != NULL) return ds_fail(DS_ERR_INPUT, "%s: is %s, %s", where, other, how);
    return ds_fail(DS_ERR_INPUT, "%s: is damaged: what stands between its first and last line is no key", where);
}

/* OneAsymmetricKey: version, algorithm, the seed in two wrappings, perhaps attributes and the public key. */
ds_status ds_pem_private(unsigned char *key, char *bytes, size_t length, const char *where) {
    ds_status status = DS_OK;
    block found = {0};
    ds_cursor all, version, wrapped, seed;
    const char *other = NULL;
    DS_TRY(open_block(&found, bytes, length, where));
    if (!is_label(&found, "PRIVATE KEY")) return refuse_label(&found, where, true);
    if (!found.alone || !take(&found.content, SEQUENCE, &all) || found.content.left != 0 || !take(&all, INTEGER, &version) ||
        (!holds(&version, "\0", 1) && !holds(&version, "\1", 1)) || !take_algorithm(&all, &other) ||
        !take(&all, OCTETS, &wrapped) || !take(&wrapped, OCTETS, &seed) || wrapped.left != 0 || seed.left != DS_KEY_BYTES)
        return refuse_content(&found, other, where, how_private);
    memcpy(key, seed.at, DS_KEY_BYTES);
done:
    return status;
}

/* SubjectPublicKeyInfo: algorithm and key, the key in whole bytes. */
ds_status ds_pem_public(unsigned char *key, char *bytes, size_t length, const char *where) {
    ds_status status = DS_OK;
    block found = {0};
    ds_cursor all, bits;
    const char *other = NULL;
    uint8_t unused;
    DS_TRY(open_block(&found, bytes, length, where));
    if (!is_label(&found, "PUBLIC KEY")) return refuse_label(&found, where, false);
    if (!found.alone || !take(&found.content, SEQUENCE, &all) || found.content.left != 0 || !take_algorithm(&all, &other) ||
        !take(&all, BITS, &bits) || all.left != 0 || !ds_take_u8(&bits, &unused) || unused != 0 || bits.left != DS_KEY_BYTES)
        return refuse_content(&found, other, where, how_public);
    memcpy(key, bits.at, DS_KEY_BYTES);
done:
    return status;
}
