/* Signatures: those of RFC 8032, over what a file says and nothing less; keys of strangers are named for what they are. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "claims/ed25519.h"
#include "claims/pem.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "keys.h"
#include "scratch.h"
#include "support.h"

enum { SEED = 8032 };

static const char report[] =
    "{\"schema\":\"deltascope/1\",\"command\":\"report\",\"precision\":\"float\",\"threads\":2,\"seconds\":1.5,"
    "\"checkpoint\":{\"path\":\"somewhere/\xce\xb2\",\"sha256\":\"f00d\",\"parameters\":123},\"data\":null,"
    "\"verdict\":\"fine\",\"findings\":[{\"count\":1,\"evidence\":\"x\\u0007\\\"\"}],\"results\":{\"gates\":{"
    "\"loss\":1.7118526490002267,\"list\":[{\"seconds\":0.25,\"x\":1e16},{\"x\":-0.0},true,null,[]],\"shut\":false},"
    "\"spectrum\":{\"accumulated\":[{\"norm2\":0.75,\"eigenvalues\":[[0.5,-0.25],[0.5,0.25]]},{\"norm2\":5e-324}]}}}";

/* ---- the algorithm ----------------------------------------------------------------------------------------------- */

static void test_known_signatures(void **state) {
    (void)state;
    static const char *const messages[TEST_KEYS] = {"", "72"};
    static const char *const expected[TEST_KEYS] = {"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590"
                                                    "a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e"
                                                    "7a100b",
                                                    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e"
                                                    "15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612"
                                                    "bb0c00"};
    for (size_t i = 0; i < TEST_KEYS; i++) {
        unsigned char seed[32], public_key[32], known[64], made[64], message[8];
        bool holds;
        assert_int_equal(from_hexadecimal(seed, test_seeds[i]), 32);
        assert_int_equal(from_hexadecimal(known, expected[i]), 64);
        const size_t length = from_hexadecimal(message, messages[i]);
        expect_ok(ds_ed25519_public(public_key, seed));
        expect_ok(ds_ed25519_sign(made, seed, message, length));
        assert_memory_equal(made, known, 64);
        expect_ok(ds_ed25519_verify(&holds, public_key, known, message, length));
        assert_true(holds);
        for (size_t bit = 0; bit < 512; bit++) {
            known[bit / 8] ^= (unsigned char)(1 << bit % 8);
            expect_ok(ds_ed25519_verify(&holds, public_key, known, message, length));
            assert_false(holds);
            known[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

/* Of points whose order divides 8 anybody can make signatures: where A is the identity, S = 0 and R = A suit every message. */
static void test_keys_of_small_order(void **state) {
    (void)state;
    static const char *const points[] = {"0100000000000000000000000000000000000000000000000000000000000000",
                                         "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                         "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                         "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                                         "0000000000000000000000000000000000000000000000000000000000000000",
                                         "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                                         "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"};
    size_t accepted = 0;
    for (size_t i = 0; i < 2 * sizeof points / sizeof *points; i++) {
        unsigned char key[32], forged[64] = {1};
        assert_int_equal(from_hexadecimal(key, points[i / 2]), 32);
        key[31] |= (unsigned char)(i % 2 << 7);
        for (unsigned n = 0; n < 32; n++) { /* of order 8, about one message in eight */
            const unsigned char message[] = {(unsigned char)n};
            bool holds;
            EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, sizeof key);
            EVP_MD_CTX *context = EVP_MD_CTX_new();
            assert_true(theirs != NULL && context != NULL);
            accepted += EVP_DigestVerifyInit(context, NULL, NULL, NULL, theirs) == 1 &&
                        EVP_DigestVerify(context, forged, sizeof forged, message, 1) == 1;
            EVP_MD_CTX_free(context);
            EVP_PKEY_free(theirs);
            expect_ok(ds_ed25519_verify(&holds, key, forged, message, 1));
            assert_false(holds);
        }
    }
    assert_true(accepted >= 64); /* OpenSSL takes them, so that the refusal is ours */
}

/* ---- what is signed ---------------------------------------------------------------------------------------------- */

static json_t *parse(const char *text) {
    json_t *value;
    expect_ok(ds_json_parse(&value, text, strlen(text), "a made-up report"));
    return value;
}

/* The report with digests, signed by key number i. */
static json_t *signed_report(size_t i) {
    ds_signer *signer;
    json_t *tree = parse(report), *digests;
    expect_ok(ds_digests_make(&digests, tree));
    assert_int_equal(json_object_set_new(tree, "digests", digests), 0);
    expect_ok(ds_signer_open(&signer, private_key_file(i)));
    assert_false(ds_signer_is_exposed(signer));
    expect_ok(ds_signature_add(tree, signer));
    assert_string_equal(ds_signer_sha256(signer), json_string_value(ds_json_at(tree, "signature/key_sha256")));
    ds_signer_close(&signer);
    return tree;
}

static ds_public_key public_key(size_t i) {
    ds_public_key key;
    expect_ok(ds_public_key_read(&key, public_key_file(i)));
    return key;
}

/* That the signature does not hold, for a reason with these words. */
static void expect_refused(const json_t *tree, const ds_public_key *signer, const char *words) {
    json_t *told;
    bool holds;
    expect_ok(ds_signature_check(&told, &holds, tree, signer));
    const char *reason = json_string_value(json_object_get(told, "reason"));
    assert_false(holds);
    assert_true(json_is_false(json_object_get(told, "holds")));
    if (reason == NULL || strstr(reason, words) == NULL) fail_msg("\"%s\" expected in \"%s\"", words, reason);
    json_decref(told);
}

static void expect_holds(const json_t *tree, const ds_public_key *signer, const char *by) {
    json_t *told;
    bool holds;
    expect_ok(ds_signature_check(&told, &holds, tree, signer));
    assert_true(holds && json_is_true(json_object_get(told, "holds")));
    assert_string_equal(json_string_value(json_object_get(told, "signer")), by);
    assert_true(json_is_null(json_object_get(told, "reason")));
    json_decref(told);
}

static void test_who_signed(void **state) {
    (void)state;
    const ds_public_key first = public_key(0), second = public_key(1);
    json_t *tree = signed_report(0), *unsigned_tree = parse(report), *told, *again;
    bool holds;
    ds_text text = {0};
    expect_holds(tree, &first, "given");
    expect_holds(tree, NULL, "named");
    expect_refused(tree, &second, "another key than the one given");
    expect_refused(unsigned_tree, &first, "not signed");
    expect_ok(ds_signature_check(&told, &holds, unsigned_tree, NULL));
    assert_true(holds && json_is_null(json_object_get(told, "holds")) && json_is_null(json_object_get(told, "signer")));
    /* the bytes of the file do not count, what it says does */
    expect_ok(ds_json_print(&text, tree, DS_JSON_READABLE));
    again = parse(text.bytes);
    expect_holds(again, &first, "given");
    ds_signer *signer;
    expect_ok(ds_signer_open(&signer, private_key_file(1)));
    expect_ok(ds_signature_add(again, signer)); /* in the place of the first */
    expect_holds(again, &second, "given");
    ds_signer_close(&signer);
    json_decref(told);
    json_decref(again);
    json_decref(tree);
    json_decref(unsigned_tree);
    ds_text_release(&text);
}

/* ---- forgeries --------------------------------------------------------------------------------------------------- */

/* Another value of the same kind, or of another. */
static json_t *other_value(const json_t *value, ds_random *random) {
    const bool same_kind = ds_random_below(random, 4) != 0;
    if (same_kind && json_is_real(value)) {
        union {
            double real;
            uint64_t bits;
        } next = {.real = json_real_value(value)};
        next.bits ^= 1; /* the next double */
        return json_real(next.real);
    }
    if (same_kind && json_is_integer(value)) return json_integer(json_integer_value(value) + 1);
    if (same_kind && json_is_string(value)) return json_sprintf("%s ", json_string_value(value));
    if (same_kind && json_is_boolean(value)) return json_boolean(!json_is_true(value));
    return json_is_null(value) ? json_integer(0) : json_null();
}

/* Changes, takes away, renames or adds something below the report's top, not in its signature or digests. */
static void forge(json_t *tree, ds_random *random) {
    json_t *holder = tree, *node = tree;
    char key[64] = "";
    size_t index = 0;
    do {
        const size_t n = json_is_object(node) ? json_object_size(node) : json_array_size(node);
        if (n == 0) break;
        holder = node;
        index = ds_random_below(random, n);
        void *at = json_object_iter(holder);
        for (size_t i = 0; i < index && at != NULL; i++) at = json_object_iter_next(holder, at);
        if (at != NULL) (void)snprintf(key, sizeof key, "%s", json_object_iter_key(at));
        node = json_is_object(holder) ? json_object_iter_value(at) : json_array_get(holder, index);
    } while (ds_random_below(random, 4) != 0);
    const uint64_t what = ds_random_below(random, 6);
    json_t *kept = json_incref(node);
    if (json_is_array(holder) && what == 0)
        assert_int_equal(json_array_remove(holder, index), 0);
    else if (json_is_array(holder) && what == 1)
        assert_int_equal(json_array_append_new(holder, json_true()), 0);
    else if (json_is_array(holder))
        assert_int_equal(json_array_set_new(holder, index, other_value(node, random)), 0);
    else if (what == 0 || what == 2)
        assert_int_equal(json_object_del(holder, key), 0);
    else if (what != 1)
        assert_int_equal(json_object_set_new(holder, key, other_value(node, random)), 0);
    if (json_is_object(holder) && (what == 1 || what == 2))
        assert_int_equal(json_object_set_new(holder, "forged", what == 1 ? json_true() : json_incref(kept)), 0);
    json_decref(kept);
}

/* Whatever is forged, digests made anew and the signature kept: it does not hold. */
static void test_every_forgery_is_seen(void **state) {
    (void)state;
    enum { DRAWS = 400 };
    ds_random random = ds_random_init(SEED);
    const ds_public_key key = public_key(0);
    json_t *honest = signed_report(0);
    size_t forged = 0;
    for (size_t i = 0; i < DRAWS; i++) {
        json_t *tree = json_deep_copy(honest), *digests, *told;
        json_t *signature = json_incref(json_object_get(tree, "signature"));
        bool holds;
        assert_int_equal(json_object_del(tree, "signature") | json_object_del(tree, "digests"), 0);
        json_t *before = json_deep_copy(tree);
        forge(tree, &random);
        forged += !json_equal(before, tree);
        assert_false(json_equal(before, tree));
        expect_ok(ds_digests_make(&digests, tree));
        assert_int_equal(json_object_set_new(tree, "digests", digests), 0);
        assert_int_equal(json_object_set_new(tree, "signature", signature), 0);
        expect_ok(ds_digests_check(&told, &holds, tree));
        assert_true(holds);
        json_decref(told);
        expect_refused(tree, i % 2 == 0 ? &key : NULL, "changed after it was signed");
        json_decref(before);
        json_decref(tree);
    }
    assert_int_equal(forged, DRAWS);
    json_decref(honest);
}

/* The signature itself: any digit of it, and what is no signature. */
static void test_broken_signatures(void **state) {
    (void)state;
    static const struct {
        const char *signature, *words;
    } cases[] = {
        {"null", "malformed"},
        {"7", "malformed"},
        {"[]", "malformed"},
        {"{}", "malformed"},
        {"{\"algorithm\":\"none\",\"public_key\":\"\",\"key_sha256\":\"\",\"value\":\"\"}", "not ed25519"},
        {"{\"algorithm\":\"ed25519\",\"public_key\":\"\",\"key_sha256\":\"\",\"value\":\"\"}", "public_key is malformed"},
        {"{\"algorithm\":\"ed25519\",\"public_key\":3,\"key_sha256\":\"\",\"value\":\"\"}", "public_key is malformed"},
        {"{\"algorithm\":\"ed25519\",\"public_key\":\"\",\"key_sha256\":null,\"value\":\"\"}", "malformed"},
    };
    json_t *tree = signed_report(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *other = json_copy(tree);
        assert_int_equal(json_object_set_new(other, "signature", json_loads(cases[i].signature, JSON_DECODE_ANY, NULL)), 0);
        expect_refused(other, NULL, cases[i].words);
        json_decref(other);
    }
    static const char *const keys[] = {"public_key", "key_sha256", "value"};
    for (size_t k = 0; k < 3; k++) {
        const char *digits = json_string_value(json_object_get(json_object_get(tree, "signature"), keys[k]));
        for (size_t i = 0; i <= strlen(digits); i++) {
            char changed[160];
            json_t *other = json_deep_copy(tree);
            (void)snprintf(changed, sizeof changed, "%s", digits);
            changed[i] = changed[i] == '\0' ? '0' : changed[i] == '7' ? '8' : changed[i] == 'a' ? 'A' : '7';
            changed[strlen(digits) + (i == strlen(digits))] = '\0';
            assert_int_equal(json_object_set_new(json_object_get(other, "signature"), keys[k], json_string(changed)), 0);
            expect_refused(other, NULL, "");
            json_decref(other);
        }
    }
    assert_int_equal(json_object_set_new(json_object_get(tree, "signature"), "note", json_string("by the author")), 0);
    expect_refused(tree, NULL, "nothing else");
    json_decref(tree);
}

/* ---- key files --------------------------------------------------------------------------------------------------- */

static void expect_key_refused(const char *path, bool as_private, const char *words) {
    ds_signer *signer;
    ds_public_key key;
    if (as_private)
        expect_failure(ds_signer_open(&signer, path), DS_ERR_INPUT, words);
    else
        expect_failure(ds_public_key_read(&key, path), DS_ERR_INPUT, words);
}

static void test_other_kinds_are_named(void **state) {
    (void)state;
    static const struct {
        const char *label, *der, *as_private, *as_public;
    } files[] = {
        /* the bodies are no keys: nobody looks further than the name of the algorithm */
        {"PRIVATE KEY", "3016020100300d06092a864886f70d010101050004023000", "is an RSA key", "is a private key"},
        {"PRIVATE KEY", "3010020100300706032b656e0500040204", "is damaged", "is a private key"},
        {"PRIVATE KEY", "3014020100300706032b656e", "is damaged", "is a private key"},
        {"PRIVATE KEY", "300e020100300506032b656e04020000", "is an X25519 key", "is a private key"},
        {"PRIVATE KEY", "300e020100300506032b657104020000", "is an Ed448 key", "is a private key"},
        {"PRIVATE KEY", "300e020100300506032b657004020000", "is damaged", "is a private key"},
        {"PRIVATE KEY", "301b020100301306072a8648ce3d020106082a8648ce3d030107040130", "elliptic curve", "is a private key"},
        {"PRIVATE KEY", "300e020100300506032a030404020000", "unknown kind", "is a private key"},
        {"ENCRYPTED PRIVATE KEY", "3000", "is encrypted: give it decrypted", "is a private key"},
        {"RSA PRIVATE KEY", "3000", "is an RSA key", "is an RSA key"},
        {"OPENSSH PRIVATE KEY", "00", "format of OpenSSH", "format of OpenSSH"},
        {"CERTIFICATE", "3000", "is a certificate", "is a certificate"},
        {"PUBLIC KEY", "300d300706032b65700500030200ff", "is a public key", "is damaged"},
        {"PUBLIC KEY", "300b300506032b6571030200ff", "is a public key", "is an Ed448 key"},
        {"SOME\x1bTHING", "3000", "is \"SOME\\x1BTHING\"", "is \"SOME\\x1BTHING\""},
    };
    unsigned char der[128];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = write_pem("other.pem", files[i].label, der, from_hexadecimal(der, files[i].der));
        expect_key_refused(path, true, files[i].as_private);
        expect_key_refused(path, false, files[i].as_public);
    }
    expect_key_refused(scratch_write("other.pem", "", 0), true, "is empty");
    expect_key_refused(scratch_write("other.pem", "secret words", 12), true, "has no line");
    assert_null(strstr(ds_error_text(), "secret"));
    expect_key_refused(scratch_write("other.pem", "a\0b", 3), false, "has no line");
    expect_key_refused(scratch_path("nowhere.pem"), true, "no such file");
}

/* A key with attributes and the public key behind it (version 1 of RFC 5958), and one with words in front, are keys. */
static void test_legal_oddities(void **state) {
    (void)state;
    char digits[256], words[512], *bytes;
    unsigned char der[128];
    size_t length;
    ds_signer *signer;
    (void)snprintf(digits, sizeof digits, "3051020101300506032b657004220420%s812100%s", test_seeds[0], test_public_keys[0]);
    expect_ok(ds_signer_open(&signer, write_pem("version-1.pem", "PRIVATE KEY", der, from_hexadecimal(der, digits))));
    ds_signer_close(&signer);
    expect_ok(ds_read_file(&bytes, &length, private_key_file(0), 1 << 16));
    int written = snprintf(words, sizeof words, "Bag Attributes: <none>\r\n%s", bytes);
    const char *path = scratch_write("words.pem", words, (size_t)written);
    assert_int_equal(chmod(path, 0640), 0);
    expect_ok(ds_signer_open(&signer, path));
    assert_true(ds_signer_is_exposed(signer));
    ds_signer_close(&signer);
    written = snprintf(words, sizeof words, "%s%s", bytes, bytes);
    expect_key_refused(scratch_write("twice.pem", words, (size_t)written), true, "more than one block");
    free(bytes);
}

/* Broken at random, a file is refused in a sentence that holds nothing of the key, or is the key still. */
static void test_broken_key_files(void **state) {
    (void)state;
    enum { DRAWS = 3000 };
    ds_random random = ds_random_init(SEED + 1);
    char *whole;
    size_t length, refused = 0;
    unsigned char seed[32], expected[32];
    expect_ok(ds_read_file(&whole, &length, private_key_file(0), 1 << 16));
    assert_int_equal(from_hexadecimal(expected, test_seeds[0]), 32);
    for (size_t i = 0; i < DRAWS; i++) {
        char *bytes = ds_calloc(length + 2, 1);
        size_t left = i < length ? i : length;
        assert_non_null(bytes);
        memcpy(bytes, whole, left);
        for (size_t n = ds_random_below(&random, 3); n > 0 && left > 0 && i >= length; n--) {
            const size_t at = ds_random_below(&random, left);
            if (ds_random_below(&random, 3) == 0) {
                memmove(bytes + at + 1, bytes + at, left - at);
                left++;
                bytes[at] = "\n =A-"[ds_random_below(&random, 5)];
                break;
            }
            bytes[at] ^= (char)(1 << ds_random_below(&random, 8));
        }
        const ds_status outcome = ds_pem_private(seed, bytes, left, "the file");
        refused += outcome != DS_OK;
        if (outcome != DS_OK) {
            assert_int_equal(outcome, DS_ERR_INPUT);
            assert_null(strstr(ds_error_text(), "MC4C"));
            assert_null(strstr(ds_error_text(), "J1hs"));
        }
        free(bytes);
    }
    assert_in_range(refused, DRAWS / 10, DRAWS);
    expect_ok(ds_pem_private(seed, whole, length, "the file"));
    assert_memory_equal(seed, expected, 32);
    free(whole);
}

/* ---- against OpenSSL's reader ------------------------------------------------------------------------------------ */

static int no_pass_phrase(char *buffer, int size, int writing, void *context) {
    (void)buffer, (void)size, (void)writing, (void)context;
    return -1; /* and no terminal is asked */
}

/* A fresh key as OpenSSL writes it; returns how long the text is. */
static size_t draw_key(char *text, size_t capacity, unsigned char *key, bool private) {
    size_t bytes = DS_KEY_BYTES;
    char *written;
    BIO *sink = BIO_new(BIO_s_mem());
    EVP_PKEY *drawn = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_true(sink != NULL && drawn != NULL);
    assert_int_equal(
        private ? PEM_write_bio_PKCS8PrivateKey(sink, drawn, NULL, NULL, 0, NULL, NULL) : PEM_write_bio_PUBKEY(sink, drawn), 1);
    assert_int_equal(
        private ? EVP_PKEY_get_raw_private_key(drawn, key, &bytes) : EVP_PKEY_get_raw_public_key(drawn, key, &bytes), 1);
    const long length = BIO_get_mem_data(sink, &written);
    assert_true(length > 0 && (size_t)length < capacity);
    memcpy(text, written, (size_t)length);
    BIO_free(sink);
    EVP_PKEY_free(drawn);
    return (size_t)length;
}

static bool read_theirs(unsigned char *key, const char *text, size_t length, bool private) {
    size_t bytes = DS_KEY_BYTES;
    BIO *source = BIO_new_mem_buf(text, (int)length);
    assert_non_null(source);
    EVP_PKEY *theirs = private ? PEM_read_bio_PrivateKey(source, NULL, no_pass_phrase, NULL)
                               : PEM_read_bio_PUBKEY(source, NULL, no_pass_phrase, NULL);
    const bool read =
        theirs != NULL && EVP_PKEY_get_base_id(theirs) == EVP_PKEY_ED25519 &&
        (private ? EVP_PKEY_get_raw_private_key(theirs, key, &bytes) : EVP_PKEY_get_raw_public_key(theirs, key, &bytes)) == 1;
    EVP_PKEY_free(theirs);
    BIO_free(source);
    return read;
}

/* Fresh keys as OpenSSL writes them, then changed in up to three bytes or cut: two readers that both find a key find the same
 * one; the untouched is found by both. */
static void test_two_readers(void **state) {
    (void)state;
    static const char odd[] = "\n\r \t-=+/:AZaz09\xff";
    ds_random random = ds_random_init(20261128);
    size_t both = 0, ours_alone = 0, theirs_alone = 0;
    for (size_t round = 0; round < 1000; round++) {
        char text[512], copy[513] = "";
        unsigned char key[DS_KEY_BYTES], ours[DS_KEY_BYTES], theirs[DS_KEY_BYTES];
        const bool private = round % 2 != 0, untouched = round < 100;
        size_t length = draw_key(text, sizeof text, key, private);
        for (size_t i = untouched ? 3 : ds_random_below(&random, 3); i < 3; i++)
            text[ds_random_below(&random, length)] = ds_random_below(&random, 2) == 0
                                                         ? (char)ds_random_below(&random, 256)
                                                         : odd[ds_random_below(&random, sizeof odd)];
        if (!untouched && ds_random_below(&random, 8) == 0) length = ds_random_below(&random, length + 1);
        memcpy(copy, text, length);
        const bool we = (private ? ds_pem_private(ours, copy, length, "x") : ds_pem_public(ours, copy, length, "x")) == DS_OK,
                   they = read_theirs(theirs, text, length, private);
        if (we && they) assert_memory_equal(ours, theirs, DS_KEY_BYTES);
        if (untouched) assert_true(we && they && memcmp(ours, key, DS_KEY_BYTES) == 0);
        both += we && they;
        ours_alone += we && !they;
        theirs_alone += they && !we;
    }
    print_message("both read %zu keys, we alone %zu, OpenSSL alone %zu\n", both, ours_alone, theirs_alone);
    assert_true(both > 110);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_signatures),  cmocka_unit_test(test_keys_of_small_order),
        cmocka_unit_test(test_who_signed),        cmocka_unit_test(test_every_forgery_is_seen),
        cmocka_unit_test(test_broken_signatures), cmocka_unit_test(test_other_kinds_are_named),
        cmocka_unit_test(test_legal_oddities),    cmocka_unit_test(test_broken_key_files),
        cmocka_unit_test(test_two_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
