/* Journals: what was appended is found again, whatever happened to the end of the file; other runs' journals are refused. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/journal.h"
#include "scratch.h"
#include "support.h"

enum { RECORDS = 5, VALUES = 3 };

static json_t *key_of(const char *digest, int windows) {
    json_t *key = json_pack("{s:s, s:{s:s, s:f}, s:{s:i}}", "command", "ablate", "checkpoint", "sha256", digest, "k_eps", 1e-5,
                            "options", "windows", windows);
    assert_non_null(key);
    return key;
}

/* Values that a decimal detour or a lost sign would change. */
static void values_of(double values[VALUES], uint64_t index) {
    values[0] = 1.0 / (double)(index + 3);
    values[1] = -0.0;
    values[2] = 0x1p-1074 * (double)(index + 1);
}

static void append_records(ds_journal *journal, uint64_t first, uint64_t last) {
    for (uint64_t i = first; i < last; i++) {
        double values[VALUES];
        values_of(values, i);
        expect_ok(ds_journal_append(journal, "window", i, values, sizeof values));
    }
    expect_ok(ds_journal_sync(journal));
}

/* The first records are found with their bits; returns how many. */
static size_t expect_prefix(const ds_journal *journal) {
    uint64_t count = 0;
    bool found = true;
    for (uint64_t i = 0; i <= RECORDS; i++) {
        double values[VALUES], expected[VALUES];
        expect_ok(ds_journal_find_reals(&found, values, VALUES, journal, "window", i));
        if (found && count < i) fail_msg("record %llu is there, one before it is not", (unsigned long long)i);
        if (!found) continue;
        values_of(expected, i);
        assert_memory_equal(values, expected, sizeof values);
        count = i + 1;
    }
    return count;
}

static char *contents(size_t *length, const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 16);
    assert_non_null(bytes);
    *length = fread(bytes, 1, 1 << 16, file);
    (void)fclose(file);
    return bytes;
}

static void records_come_back(void **state) {
    (void)state;
    const char *path = scratch_path("a.journal");
    json_t *key = key_of("ab", 5);
    ds_journal *journal;
    char *payload;
    size_t length;
    expect_ok(ds_journal_open(&journal, NULL, path, key, false));
    assert_int_equal(ds_journal_count(journal), 0);
    append_records(journal, 0, RECORDS);
    expect_ok(ds_journal_append(journal, "result", 7, "{\"loss\":1}", 10));
    expect_ok(ds_journal_append(journal, "result", UINT64_MAX, "", 0));
    ds_journal_close(&journal);
    expect_ok(ds_journal_open(&journal, NULL, path, key, true));
    assert_int_equal(ds_journal_count(journal), RECORDS + 2);
    assert_int_equal(expect_prefix(journal), RECORDS);
    expect_ok(ds_journal_find(&payload, &length, journal, "result", 7));
    assert_int_equal(length, 10);
    assert_string_equal(payload, "{\"loss\":1}");
    free(payload);
    expect_ok(ds_journal_find(&payload, &length, journal, "result", UINT64_MAX));
    assert_non_null(payload);
    assert_int_equal(length, 0);
    free(payload);
    expect_ok(ds_journal_find(&payload, &length, journal, "result", 8));
    assert_null(payload);
    double two[2];
    bool found;
    expect_failure(ds_journal_find_reals(&found, two, 2, journal, "window", 1), DS_ERR_INPUT,
                   "holds 24 bytes, 2 values need 16");
    expect_failure(ds_journal_append(journal, "sixteen bytes!!!", 0, "", 0), DS_ERR_USAGE, "1 to 15 bytes");
    ds_journal_close(&journal);
    json_decref(key);
}

static void no_journal_finds_nothing(void **state) {
    (void)state;
    double value = 1;
    bool found = true;
    expect_ok(ds_journal_append(NULL, "window", 0, &value, sizeof value));
    expect_ok(ds_journal_sync(NULL));
    expect_ok(ds_journal_find_reals(&found, &value, 1, NULL, "window", 0));
    assert_false(found);
    assert_int_equal(ds_journal_count(NULL), 0);
}

/* Opens damaged bytes, completes the journal and compares it with the undamaged one; returns how many records had survived. */
static size_t repair(const char *bytes, size_t length, const char *whole, size_t whole_length, const json_t *key) {
    const char *path = scratch_write("damaged.journal", bytes, length);
    ds_journal *journal;
    expect_ok(ds_journal_open(&journal, NULL, path, key, true));
    size_t kept = expect_prefix(journal);
    assert_int_equal(kept, ds_journal_count(journal));
    append_records(journal, kept, RECORDS);
    ds_journal_close(&journal);
    size_t repaired_length;
    char *repaired = contents(&repaired_length, path);
    assert_int_equal(repaired_length, whole_length);
    assert_memory_equal(repaired, whole, whole_length);
    free(repaired);
    return kept;
}

/* Cut at every length, every byte changed in turn, garbage behind it: what stands before the damage is kept, nothing else. */
static void any_damage_is_repaired(void **state) {
    (void)state;
    enum { RECORD_BYTES = 32 + VALUES * 8 + 4, MAGIC_BYTES = 21 };
    const char *path = scratch_path("whole.journal");
    json_t *key = key_of("cd", 5);
    ds_journal *journal;
    size_t length;
    expect_ok(ds_journal_open(&journal, NULL, path, key, false));
    append_records(journal, 0, RECORDS);
    ds_journal_close(&journal);
    char *whole = contents(&length, path), *damaged = malloc(length + 100);
    assert_non_null(damaged);
    size_t begin = length - RECORDS * RECORD_BYTES;
    for (size_t cut = 0; cut <= length; cut++) {
        size_t kept = repair(whole, cut, whole, length, key);
        assert_int_equal(kept, cut < begin ? 0 : (cut - begin) / RECORD_BYTES);
    }
    for (size_t at = MAGIC_BYTES; at < length; at++) {
        memcpy(damaged, whole, length);
        damaged[at] = (char)(damaged[at] ^ (1 << at % 8));
        size_t kept = repair(damaged, length, whole, length, key);
        assert_int_equal(kept, at < begin ? 0 : (at - begin) / RECORD_BYTES);
    }
    memcpy(damaged, whole, length);
    memset(damaged + length, 0, 100);
    assert_int_equal(repair(damaged, length + 100, whole, length, key), RECORDS);
    free(whole);
    free(damaged);
    json_decref(key);
}

static void other_runs_are_refused(void **state) {
    (void)state;
    const char *path = scratch_path("other.journal");
    json_t *key = key_of("ab", 5), *checkpoint = key_of("ef", 5), *options = key_of("ab", 6), *less = key_of("ab", 5);
    ds_journal *journal, *second;
    assert_int_equal(json_object_del(json_object_get(less, "options"), "windows"), 0);
    expect_ok(ds_journal_open(&journal, NULL, path, key, false));
    append_records(journal, 0, 2);
    expect_failure(ds_journal_open(&second, NULL, path, key, true), DS_ERR_SYSTEM, "another process holds this journal");
    ds_journal_close(&journal);
    expect_failure(ds_journal_open(&journal, NULL, path, checkpoint, true), DS_ERR_INPUT,
                   "its checkpoint.sha256 is \"ab\", this run's is \"ef\"");
    expect_failure(ds_journal_open(&journal, NULL, path, options, true), DS_ERR_INPUT,
                   "its options.windows is 5, this run's is 6");
    expect_failure(ds_journal_open(&journal, NULL, path, less, true), DS_ERR_INPUT,
                   "its options.windows is 5, this run's is absent");
    json_t *list = json_array();
    expect_failure(ds_journal_open(&journal, NULL, path, list, true), DS_ERR_INPUT, "its key is {\"checkpoint\":");
    json_decref(list);
    expect_ok(ds_journal_open(&journal, NULL, path, key, true)); /* a refusal changes nothing */
    assert_int_equal(expect_prefix(journal), 2);
    ds_journal_close(&journal);
    expect_ok(ds_journal_open(&journal, NULL, path, options, false)); /* starting anew forgets */
    ds_journal_close(&journal);
    expect_ok(ds_journal_open(&journal, NULL, path, options, true));
    assert_int_equal(ds_journal_count(journal), 0);
    ds_journal_close(&journal);
    json_decref(key);
    json_decref(checkpoint);
    json_decref(options);
    json_decref(less);
}

static void what_is_no_journal_is_refused(void **state) {
    (void)state;
    json_t *key = key_of("ab", 5);
    ds_journal *journal;
    const char *text = scratch_write("text.journal", "{\"schema\":\"deltascope/1\"}", 25);
    char *kept;
    size_t length;
    for (int resume = 0; resume < 2; resume++)
        expect_failure(ds_journal_open(&journal, NULL, text, key, resume != 0), DS_ERR_INPUT, "not a journal");
    expect_ok(ds_read_file(&kept, &length, text, 100));
    assert_int_equal(length, 25); /* a refusal changes nothing */
    free(kept);
    const char *pipe = scratch_path("pipe.journal");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    expect_failure(ds_journal_open(&journal, NULL, pipe, key, false), DS_ERR_INPUT, "a journal is a regular file");
    expect_failure(ds_journal_open(&journal, NULL, "/nowhere/x.journal", key, true), DS_ERR_SYSTEM, "cannot be opened");
    json_decref(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(no_journal_finds_nothing),
        cmocka_unit_test(any_damage_is_repaired),
        cmocka_unit_test(other_runs_are_refused),
        cmocka_unit_test(what_is_no_journal_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
