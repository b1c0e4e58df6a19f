/* What the digests of a report are of: everything but how the run went. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "support.h"

enum { SEED = 1906 };

static const char report[] =
    "{\"schema\":\"deltascope/1\",\"command\":\"report\",\"precision\":\"float\",\"threads\":2,\"seconds\":1.5,"
    "\"checkpoint\":{\"path\":\"somewhere/a\",\"sha256\":\"f00d\",\"variant\":\"ddl-cc\",\"parameters\":123},"
    "\"data\":{\"path\":\"b\",\"sha256\":\"beef\",\"seq_len\":16,\"starts\":[0,64]},\"verdict\":\"fine\",\"findings\":[{"
    "\"count\":1}],"
    "\"results\":{\"gates\":{\"loss\":1.7118526490002267,\"ranks\":3,\"list\":[{\"seconds\":0.25,\"x\":1e16},{\"x\":-0.0}]},"
    "\"spectrum\":{\"accumulated\":[{\"norm2\":0.75,\"log_abs_det\":-1.25},{\"norm2\":0.5,\"log_abs_det\":-3.5}]}}}";

static json_t *sample(void) {
    json_t *value;
    expect_ok(ds_json_parse(&value, report, sizeof report - 1, "a made-up report"));
    return value;
}

static void digests_of(char all[65], char own[65], const json_t *envelope) {
    json_t *made;
    expect_ok(ds_digests_make(&made, envelope));
    (void)snprintf(all, 65, "%s", json_string_value(json_object_get(made, "all")));
    (void)snprintf(own, 65, "%s", json_string_value(json_object_get(made, "own")));
    json_decref(made);
}

static json_t *at(json_t *value, const char *path) { return (json_t *)(uintptr_t)ds_json_at(value, path); }

static void test_what_they_are_of(void **state) {
    (void)state;
    const struct {
        const char *place, *key;
        bool all, own; /* which of the two sees the key changed */
    } cases[] = {
        {"", "seconds", false, false},
        {"", "threads", false, false},
        {"", "digests", false, false},
        {"", "signature", false, false},
        {"results/gates", "ranks", false, false},
        {"results/gates/list/0", "seconds", false, false},
        {"", "verdict", true, false},
        {"checkpoint", "path", true, false},
        {"data", "path", true, false},
        {"results/spectrum/accumulated/1", "norm2", true, false},
        {"results/spectrum/accumulated/1", "log_abs_det", true, true},
        {"checkpoint", "sha256", true, true},
        {"data", "sha256", true, true},
        {"", "precision", true, true},
        {"results/gates", "loss", true, true},
        {"results/gates/list/1", "x", true, true},
        {"results/gates", "digests", true, true}, /* at the top alone they are left out */
    };
    char all[65], own[65], all_after[65], own_after[65];
    json_t *first = sample();
    digests_of(all, own, first);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *other = sample();
        assert_int_equal(json_object_set_new(at(other, cases[i].place), cases[i].key, json_real(12.5)), 0);
        digests_of(all_after, own_after, other);
        if ((strcmp(all, all_after) != 0) != cases[i].all || (strcmp(own, own_after) != 0) != cases[i].own)
            fail_msg("%s of \"%s\" changed: not the digests that should", cases[i].key, cases[i].place);
        json_decref(other);
    }
    json_decref(first);
}

static void seal(json_t *envelope) {
    json_t *made;
    expect_ok(ds_digests_make(&made, envelope));
    assert_int_equal(json_object_set_new(envelope, "digests", made), 0);
}

static bool holds(const json_t *envelope, const char *which) {
    json_t *told;
    bool hold;
    expect_ok(ds_digests_check(&told, &hold, envelope));
    if (which != NULL) hold = json_is_true(json_object_get(json_object_get(told, which), "holds"));
    json_decref(told);
    return hold;
}

/* Leaves in an order of their own; *left counts down to the one that is forged. */
static bool forge(json_t *value, size_t *left) {
    const char *key;
    json_t *item;
    size_t index;
    json_object_foreach(value, key, item) {
        if (!json_is_object(item) && !json_is_array(item) && (*left)-- == 0)
            return json_object_set_new(value, key, json_real(0.123456789)) == 0;
        if (forge(item, left)) return true;
    }
    json_array_foreach(value, index, item) {
        if (!json_is_object(item) && !json_is_array(item) && (*left)-- == 0)
            return json_array_set_new(value, index, json_real(0.123456789)) == 0;
        if (forge(item, left)) return true;
    }
    return false;
}

static void test_every_forgery_is_seen(void **state) {
    (void)state;
    json_t *plain = sample();
    assert_int_equal(json_object_del(plain, "threads") | json_object_del(plain, "seconds"), 0);
    assert_int_equal(json_object_del(at(plain, "results/gates"), "ranks"), 0);
    assert_int_equal(json_object_del(at(plain, "results/gates/list/0"), "seconds"), 0);
    seal(plain);
    assert_true(holds(plain, NULL) && holds(plain, "all") && holds(plain, "own"));
    size_t forged = 0;
    for (;; forged++) {
        json_t *other = json_deep_copy(plain);
        size_t left = forged;
        if (!forge(other, &left)) {
            json_decref(other);
            break;
        }
        if (holds(other, NULL)) fail_msg("forgery number %zu is not seen", forged);
        json_decref(other);
    }
    assert_in_range(forged, 20, 60);
    json_decref(plain);
}

/* own_paths is the table's list: a file cannot shorten it to leave out what it forged. */
static void test_paths_are_not_the_files_to_choose(void **state) {
    (void)state;
    json_t *value = sample();
    seal(value);
    assert_int_equal(json_array_remove(at(value, "digests/own_paths"), 0), 0);
    assert_true(holds(value, "all") && !holds(value, "own") && !holds(value, NULL));
    assert_int_equal(json_object_del(value, "digests"), 0);
    assert_true(holds(value, NULL) && !holds(value, "all")); /* nothing is stated */
    json_decref(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_they_are_of), cmocka_unit_test(test_every_forgery_is_seen),
                                       cmocka_unit_test(test_paths_are_not_the_files_to_choose)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
