/* Results signed with --sign and checked with check --signer, as people and other programs see them; the key stays where it
 * is. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "keys.h"
#include "scratch.h"
#include "support.h"

#define MODEL "fixtures/models/scalar-safetensors"
#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "2", "--quiet"
#define CHEAP "--skip", "spectrum,weights,ablate,controls,gradflow,jacobians,verify"

static child result;
static const char *report_file;

static json_t *load(const char *path) {
    char *bytes;
    size_t length;
    json_t *tree;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

static int sign_a_report(void **state) {
    (void)state;
    if (setenv("PATH", "/nowhere", 1) != 0) return 1; /* figures are not what is tested */
    CHILD_RUN(&result, (child_limits){0}, "report", DATA, CHEAP, "--sign", private_key_file(0), "--json",
              scratch_path("other.json"), "--out", scratch_path("report"), MODEL);
    if (result.status != 0 || result.err[0] != '\0') fail_msg("%d: %s", result.status, result.err);
    report_file = scratch_path("report/report.json");
    return 0;
}

static void expect_checked(int status, const char *words, const char *file, const char *key) {
    CHILD_RUN(&result, (child_limits){0}, "check", file, key == NULL ? NULL : "--signer", key);
    if (result.status != status || strstr(status < 2 ? result.out : result.err, words) == NULL)
        fail_msg("exit status %d, expected %d and \"%s\" in: %s%s", result.status, status, words, result.out, result.err);
}

/* ---- who checks -------------------------------------------------------------------------------------------------- */

static void test_check(void **state) {
    (void)state;
    json_t *tree = load(report_file);
    const char *changed = scratch_path("changed.json"), *bare = scratch_path("bare.json");
    expect_checked(0, "signature holds, by the key given: ", report_file, public_key_file(0));
    expect_checked(0, "This proves only that", report_file, NULL);
    expect_checked(0, "signature holds", scratch_path("other.json"), public_key_file(0)); /* with its own seconds and threads */
    expect_checked(1, "signature does NOT hold: it is by another key than the one given", report_file, public_key_file(1));
    expect_checked(3, "is a private key", report_file, private_key_file(0));
    expect_checked(3, "no such file", report_file, scratch_path("nowhere.pem"));
    json_t *digests;
    assert_int_equal(json_object_set_new((json_t *)(uintptr_t)ds_json_at(tree, "results/gates"), "loss", json_real(1.25)), 0);
    expect_ok(ds_digests_make(&digests, tree));
    assert_int_equal(json_object_set_new(tree, "digests", digests), 0);
    expect_ok(ds_json_write(changed, tree, DS_JSON_CANONICAL));
    expect_checked(1, "signature does NOT hold: the file was changed", changed, public_key_file(0));
    expect_checked(1, "signature does NOT hold: the file was changed", changed, NULL);
    assert_non_null(strstr(result.out, "digest of all holds"));
    CHILD_RUN(&result, (child_limits){0}, "diff", report_file, changed);
    assert_int_equal(result.status, 1);
    assert_non_null(strstr(result.out, "second: signature does NOT hold"));
    CHILD_RUN(&result, (child_limits){0}, "plot", "--figure", "regime-shares", "--out", scratch_path("drawn"), changed);
    assert_non_null(strstr(result.err, "warning: "));
    assert_non_null(strstr(result.err, "its signature does not hold: the file was changed"));
    assert_int_equal(json_object_del(tree, "signature"), 0);
    expect_ok(ds_json_write(bare, tree, DS_JSON_CANONICAL));
    expect_checked(1, "signature does NOT hold: the file is not signed", bare, public_key_file(0));
    json_decref(tree);
}

/* With a checkpoint, a broken signature makes the verdict whatever is measured. */
static void test_check_with_a_checkpoint(void **state) {
    (void)state;
    for (size_t key = 0; key < 2; key++) {
        CHILD_RUN(&result, (child_limits){0}, "check", "--quiet", "--json", scratch_path("check.json"), "--tokens",
                  "fixtures/data/val.bin", "--signer", public_key_file(key), report_file, MODEL);
        assert_int_equal(result.status, key);
        json_t *told = load(scratch_path("check.json"));
        assert_string_equal(json_string_value(ds_json_at(told, "results/verdict")), key == 0 ? "agrees" : "disagrees");
        assert_true(json_is_true(ds_json_at(told, "results/signature/holds")) == (key == 0));
        json_decref(told);
    }
}

static void run_python(const char *script) {
    const char *file = scratch_write("verify.py", script, strlen(script));
    child_run_program(
        &result, "/usr/bin/python3",
        (const char *const[]){file, report_file, public_key_file(0), scratch_path("message"), scratch_path("value"), NULL},
        (child_limits){0});
}

/* What README.md says of it, done by others: Python for the canonical form, OpenSSL's program or Python's cryptography for the
 * signature. */
static void test_others_verify_it(void **state) {
    (void)state;
    static const char script[] = "import hashlib, json, sys\n"
                                 "r = json.load(open(sys.argv[1], encoding='utf-8'))\n"
                                 "s = r.pop('signature')\n"
                                 "message = json.dumps(r, sort_keys=True, separators=(',', ':'), ensure_ascii=False).encode()\n"
                                 "key, value = bytes.fromhex(s['public_key']), bytes.fromhex(s['value'])\n"
                                 "der = bytes.fromhex('302a300506032b6570032100') + key\n"
                                 "assert s['algorithm'] == 'ed25519' and s['key_sha256'] == hashlib.sha256(der).hexdigest()\n"
                                 "open(sys.argv[3], 'wb').write(message)\n"
                                 "open(sys.argv[4], 'wb').write(value)\n"
                                 "try:\n"
                                 "    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey\n"
                                 "except ImportError:\n"
                                 "    sys.exit(print('no cryptography'))\n"
                                 "Ed25519PublicKey.from_public_bytes(key).verify(value, message)\n"
                                 "print('verified')\n";
    child_run_program(&result, "/usr/bin/python3", (const char *const[]){"-c", "pass", NULL}, (child_limits){0});
    if (result.status != 0) skip();
    run_python(script);
    if (result.status != 0) fail_msg("%s", result.err);
    const bool by_python = strcmp(result.out, "verified\n") == 0;
    if (access("/usr/bin/openssl", X_OK) != 0 && !by_python) skip(); /* nobody else to ask */
    if (access("/usr/bin/openssl", X_OK) != 0) return;
    const char *arguments[] = {"pkeyutl",
                               "-verify",
                               "-pubin",
                               "-inkey",
                               public_key_file(0),
                               "-rawin",
                               "-in",
                               scratch_path("message"),
                               "-sigfile",
                               scratch_path("value"),
                               NULL};
    child_run_program(&result, "/usr/bin/openssl", arguments, (child_limits){0});
    if (result.status != 0) fail_msg("%s%s", result.out, result.err);
    arguments[4] = public_key_file(1);
    child_run_program(&result, "/usr/bin/openssl", arguments, (child_limits){0});
    assert_int_not_equal(result.status, 0);
}

/* ---- what is signed ---------------------------------------------------------------------------------------------- */

/* Every result, to a file, to standard output and in a folder; the same key and the same content give the same bytes. */
static void test_every_result(void **state) {
    (void)state;
    char *first, *second;
    size_t length;
    const char *key = private_key_file(1), *file = scratch_path("gates.json");
    CHILD_RUN(&result, (child_limits){0}, "gates", DATA, "--sign", key, "--json", file, "--out", scratch_path("gates"), MODEL);
    assert_int_equal(result.status, 0);
    expect_checked(0, "signature holds", file, public_key_file(1));
    expect_checked(0, "signature holds", scratch_path("gates/gates.json"), public_key_file(1));
    CHILD_RUN(&result, (child_limits){0}, "check", "--sign", key, "--json", "-", report_file);
    assert_int_equal(result.status, 0);
    expect_checked(0, "says what was found in another file", scratch_write("check.json", result.out, strlen(result.out)), NULL);
    json_t *told = load(scratch_path("check.json")), *seen;
    bool holds;
    expect_ok(ds_signature_check(&seen, &holds, told, NULL));
    assert_true(holds && json_is_true(json_object_get(seen, "holds")));
    json_decref(seen);
    json_decref(told);
    expect_ok(ds_read_file(&first, &length, report_file, 1 << 26));
    CHILD_RUN(&result, (child_limits){0}, "report", DATA, CHEAP, "--threads", "1", "--resume", "--sign", private_key_file(0),
              "--out", scratch_path("report"), MODEL);
    assert_int_equal(result.status, 0);
    expect_ok(ds_read_file(&second, &length, report_file, 1 << 26));
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void test_pages_name_the_key(void **state) {
    (void)state;
    static const char *const pages[] = {"report/report.md", "report/report.html"};
    json_t *tree = load(report_file);
    for (size_t i = 0; i < 2; i++) {
        char *bytes;
        size_t length;
        expect_ok(ds_read_file(&bytes, &length, scratch_path(pages[i]), 1 << 26));
        assert_non_null(strstr(bytes, json_string_value(ds_json_at(tree, "signature/key_sha256"))));
        assert_non_null(strstr(bytes, "deltascope check --signer PUB.pem report.json"));
        free(bytes);
    }
    json_decref(tree);
}

/* ---- the key ----------------------------------------------------------------------------------------------------- */

static const char *const secrets[] = {"private-0.pem", "J1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g", "9d61b19deffd5a60"};
static size_t looked_at;

static int expect_no_secret(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)walk;
    if (kind != FTW_F) return 0;
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        if (memmem(bytes, length, secrets[i], strlen(secrets[i])) != NULL) fail_msg("%s has \"%s\"", path, secrets[i]);
    }
    free(bytes);
    looked_at++;
    return 0;
}

static void test_no_output_has_the_key(void **state) {
    (void)state;
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, private_key_file(0), 1 << 16));
    assert_non_null(strstr(bytes, secrets[1])); /* it would be found */
    free(bytes);
    assert_int_equal(nftw(scratch_path("report"), expect_no_secret, 8, FTW_PHYS), 0);
    assert_true(looked_at > 10);
    assert_int_equal(expect_no_secret(scratch_path("other.json"), NULL, FTW_F, NULL), 0);
}

static void expect_refused(int status, const char *words, const char *const *arguments) {
    child_run(&result, arguments, (child_limits){.seconds = 20});
    if (result.status != status || strstr(result.err, words) == NULL)
        fail_msg("exit status %d, signal %d, expected %d and \"%s\" in: %s", result.status, result.signal, status, words,
                 result.err);
    assert_int_not_equal(access(scratch_path("new"), F_OK), 0); /* no output was begun */
}
#define SIGN_REFUSED(status, words, key)                                                                                       \
    expect_refused(status, words,                                                                                              \
                   (const char *const[]){"gates", DATA, "--sign", key, "--out", scratch_path("new"), MODEL, NULL})

/* Whatever lies where a key is looked for: one sentence, at once, before anything is written. */
static void test_hostile_key_files(void **state) {
    (void)state;
    static const char junk[] = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ";
    const char *fifo = scratch_path("fifo.pem"), *huge = scratch_write("huge.pem", junk, sizeof junk - 1);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("loop.pem", scratch_path("loop.pem")), 0);
    SIGN_REFUSED(3, "truncated", scratch_write("truncated.pem", junk, sizeof junk - 1));
    assert_int_equal(truncate(huge, (off_t)1 << 40), 0); /* a hole */
    SIGN_REFUSED(3, "too large", huge);
    SIGN_REFUSED(3, "a FIFO", fifo);
    SIGN_REFUSED(3, "a folder", "/");
    SIGN_REFUSED(3, "a character device", "/dev/zero");
    SIGN_REFUSED(3, "circle", scratch_path("loop.pem"));
    SIGN_REFUSED(3, "is empty", scratch_write("empty.pem", "", 0));
    SIGN_REFUSED(3, "is a public key", public_key_file(0));
    SIGN_REFUSED(3, "no such file", scratch_path("nowhere.pem"));
    SIGN_REFUSED(3, "no line", "fixtures/recipes/shakespeare.json");
    const char *const signer[] = {"check", report_file, "--signer", fifo, NULL};
    expect_refused(3, "a FIFO", signer);
    expect_refused(2, "--sign signs the result",
                   (const char *const[]){"gates", DATA, "--sign", private_key_file(0), MODEL, NULL});
}

/* The key is an input: nothing is written over it. */
static void test_nothing_is_written_over_the_key(void **state) {
    (void)state;
    const char *key = private_key_file(0), *alias = scratch_path("alias.json");
    char *before, *after;
    size_t length;
    expect_ok(ds_read_file(&before, &length, key, 1 << 16));
    assert_int_equal(link(key, alias), 0);
    expect_refused(2, "is an input of this run (--sign)",
                   (const char *const[]){"gates", DATA, "--sign", key, "--json", alias, MODEL, NULL});
    expect_ok(ds_make_folder(scratch_path("taken")));
    assert_int_equal(link(key, scratch_path("taken/gates.json")), 0);
    expect_refused(2, "is an input of this run (--sign)",
                   (const char *const[]){"gates", DATA, "--sign", key, "--out", scratch_path("taken"), MODEL, NULL});
    expect_refused(
        2, "is an input of this run (--signer)",
        (const char *const[]){"check", report_file, "--signer", public_key_file(1), "--json", public_key_file(1), NULL});
    expect_ok(ds_read_file(&after, &length, key, 1 << 16));
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void test_rights_and_pipes(void **state) {
    (void)state;
    const char *key = private_key_file(1), *program = getenv("DELTASCOPE") == NULL ? "build/deltascope" : getenv("DELTASCOPE");
    char command[1024];
    assert_int_equal(chmod(key, 0604), 0);
    CHILD_RUN(&result, (child_limits){0}, "gates", DATA, "--sign", key, "--json", scratch_path("exposed.json"), MODEL);
    assert_int_equal(result.status, 0);
    assert_non_null(strstr(result.err, "others than its owner have rights to this key"));
    for (size_t i = 0; i < 2; i++) { /* a key in a pipe, then no key at all */
        (void)snprintf(command, sizeof command,
                       "/bin/%s '%s' | '%s' gates --tokens fixtures/data/val.bin --seq-len 16 --sequences 2 --quiet --sign - "
                       "--json '%s' %s",
                       i == 0 ? "cat" : "false", key, program, scratch_path("piped.json"), MODEL);
        child_run_program(&result, "/bin/sh", (const char *const[]){"-c", command, NULL}, (child_limits){0});
        assert_int_equal(result.status, i == 0 ? 0 : 3);
    }
    assert_non_null(strstr(result.err, "standard input: is empty"));
    expect_checked(0, "signature holds", scratch_path("piped.json"), public_key_file(1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_check_with_a_checkpoint),
        cmocka_unit_test(test_others_verify_it),
        cmocka_unit_test(test_every_result),
        cmocka_unit_test(test_pages_name_the_key),
        cmocka_unit_test(test_no_output_has_the_key),
        cmocka_unit_test(test_hostile_key_files),
        cmocka_unit_test(test_nothing_is_written_over_the_key),
        cmocka_unit_test(test_rights_and_pipes),
    };
    return cmocka_run_group_tests(tests, sign_a_report, NULL);
}
