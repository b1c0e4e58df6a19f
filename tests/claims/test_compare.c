/* Results held against each other: what agrees, what does not, and what is said of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "claims/sets.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "support.h"

enum { SEED = 60617 };

static json_t *parse(const char *text) {
    json_t *value;
    expect_ok(ds_json_parse(&value, text, strlen(text), "a made-up result"));
    return value;
}

static json_t *compare(const char *leaf, json_t *a, json_t *b, double other) {
    json_t *section;
    expect_ok(ds_claims_compare(&section, "made-up", leaf, "here", a, b, other));
    json_decref(a);
    json_decref(b);
    return section;
}

static int64_t count(const json_t *section, const char *key) { return json_integer_value(json_object_get(section, key)); }

/* How many of how many disagree; the first that does, or "". */
static void expect(const char *leaf, const char *a, const char *b, int compared, int disagreed, const char *path) {
    json_t *section = compare(leaf, parse(a), parse(b), 0);
    const char *first = json_string_value(ds_json_at(section, "differences/0/path"));
    if (count(section, "compared") != compared || count(section, "disagreed") != disagreed)
        fail_msg("%s against %s: %d of %d disagree, expected %d of %d", a, b, (int)count(section, "disagreed"),
                 (int)count(section, "compared"), disagreed, compared);
    assert_string_equal(first == NULL ? "" : first, path);
    json_decref(section);
}

static void test_exact(void **state) {
    (void)state;
    expect("gates", "{\"loss\":1.5,\"n\":3,\"s\":\"x\",\"z\":null}", "{\"loss\":1.5,\"n\":3,\"s\":\"x\",\"z\":null}", 4, 0, "");
    expect("gates", "{\"loss\":1.5}", "{\"loss\":1.5000000000000002}", 1, 1, "here/loss");
    expect("gates", "{\"loss\":null}", "{\"loss\":0.0}", 1, 1, "here/loss");
    expect("gates", "{\"n\":9007199254740993}", "{\"n\":9007199254740992}", 1, 1, "here/n");
    expect("gates", "{\"s\":\"a\"}", "{\"s\":\"b\"}", 1, 1, "here/s");
    expect("gates", "{\"yes\":true}", "{\"yes\":1}", 1, 1, "here/yes");
    expect("gates", "{\"a\":1}", "{\"a\":1,\"b\":2}", 2, 1, "here/b");
    expect("gates", "{\"a\":1,\"b\":2}", "{\"a\":1}", 2, 1, "here/b");
    expect("gates", "{\"l\":[1,2,3]}", "{\"l\":[1,2]}", 1, 1, "here/l");
    expect("gates", "{\"l\":[1,2,3]}", "{\"l\":[1,2,4]}", 3, 1, "here/l/2");
    expect("gates", "{\"l\":[1]}", "{\"l\":{\"0\":1}}", 1, 1, "here/l");
    expect("nobody/knows", "{\"x\":1.5}", "{\"x\":1.25}", 1, 1, "here/x"); /* without a row nothing is allowed */
    expect("envelope/checkpoint", "{\"path\":\"a\",\"sha256\":\"0\"}", "{\"path\":\"b\",\"sha256\":\"0\"}", 1, 0, "");
}

/* Another arithmetic gives reals room, whole numbers none. */
static void test_other_arithmetic(void **state) {
    (void)state;
    json_t *section = compare("gates", parse("{\"a\":1.0,\"n\":7}"), parse("{\"a\":1.0000009,\"n\":7}"), 1e-6);
    assert_int_equal(count(section, "disagreed"), 0);
    json_decref(section);
    section = compare("gates", parse("{\"a\":1.0,\"n\":7000000}"), parse("{\"a\":1.0000011,\"n\":7000001}"), 1e-6);
    assert_int_equal(count(section, "disagreed"), 2);
    json_decref(section);
    json_t *a = parse("{\"arithmetic\":\"fma\",\"environment\":{\"libc\":\"2.36\"}}"), *b = json_deep_copy(a);
    assert_true(ds_claims_arithmetic(a, b) == 0);
    assert_int_equal(json_object_set_new(b, "arithmetic", json_string("no-fma")), 0);
    assert_true(ds_claims_arithmetic(a, b) == 1e-6);
    assert_int_equal(json_object_clear(b), 0);
    assert_true(ds_claims_arithmetic(a, b) == 1e-6 &&
                ds_claims_arithmetic(b, b) == 1e-6); /* who does not say may be anything */
    json_decref(a);
    json_decref(b);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

static const char accumulated[] = "{\"accumulated\":[{\"singular_values\":[%.17g,%.17g],\"singular_value_bound\":%.17g,"
                                  "\"eigenvalues\":[[0.5,0.25],[0.5,-0.25]],\"eigenvalue_bounds\":[1e-10,1e-10],"
                                  "\"spectral_radius\":%.17g}]}";

static json_t *accumulate(double first, double second, double bound, double radius) {
    ds_text text = {0};
    expect_ok(ds_text_printf(&text, accumulated, first, second, bound, radius));
    json_t *value = parse(text.bytes);
    ds_text_release(&text);
    return value;
}

/* A value may move by the sum of both bounds and no further; a bound may not be widened to let it. */
static void test_bounds(void **state) {
    (void)state;
    const struct {
        double second, bound, radius;
        const char *differs;
    } cases[] = {
        {0.75, 1e-12, 0.55, ""},
        {0.75 + 1.9e-12, 1e-12, 0.55, ""},
        {0.75 + 2.1e-12, 1e-12, 0.55, "here/accumulated/0/singular_values/1"},
        {0.75 + 4.9e-12, 3.9e-12, 0.55, ""},
        {0.75 + 6.1e-12, 5e-12, 0.55, "here/accumulated/0/singular_values/1"},
        {0.75, 5e-12, 0.55, "here/accumulated/0/singular_value_bound"},
        {0.75, 0.1e-12, 0.55, "here/accumulated/0/singular_value_bound"},
        {0.75 + 1e-3, 1e-3, 0.55, "here/accumulated/0/singular_value_bound"},
        {0.75, 1e-12, 0.55 + 1.9e-10, ""},
        {0.75, 1e-12, 0.55 + 2.1e-10, "here/accumulated/0/spectral_radius"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *section = compare("spectrum", accumulate(0.25, cases[i].second, cases[i].bound, cases[i].radius),
                                  accumulate(0.25, 0.75, 1e-12, 0.55), 0);
        const char *first = json_string_value(ds_json_at(section, "differences/0/path"));
        if (strcmp(first == NULL ? "" : first, cases[i].differs) != 0)
            fail_msg("case %zu: \"%s\" differs, expected \"%s\"", i, first == NULL ? "" : first, cases[i].differs);
        json_decref(section);
    }
}

/* What is worst is told also where all agree, in units of what is allowed. */
static void test_worst(void **state) {
    (void)state;
    json_t *section =
        compare("spectrum", accumulate(0.25 + 1e-12, 0.75, 1e-12, 0.55), accumulate(0.25, 0.75 + 1.5e-12, 1e-12, 0.55), 0);
    assert_int_equal(count(section, "disagreed"), 0);
    assert_string_equal(json_string_value(ds_json_at(section, "worst/path")), "here/accumulated/0/singular_values/1");
    assert_true(fabs(ds_json_real_at(section, "worst/allowed") - 2e-12) < 1e-27);
    assert_true(ds_json_real_at(section, "worst/a") == 0.75);
    assert_false(ds_claims_disagree(json_array_get(section, 0)));
    json_decref(section);
    section = compare("gates", parse("[1,2]"), parse("[1,2]"), 0);
    assert_true(json_is_null(json_object_get(section, "worst")));
    json_decref(section);
}

/* At most so many differences are listed; all are counted. */
static void test_many(void **state) {
    (void)state;
    json_t *a = json_array(), *b = json_array();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(json_array_append_new(a, json_integer(i)), 0);
        assert_int_equal(json_array_append_new(b, json_integer(i + 1)), 0);
    }
    json_t *section = compare("gates", a, b, 0);
    assert_int_equal(count(section, "disagreed"), 100);
    assert_int_equal(json_array_size(json_object_get(section, "differences")), DS_DIFFERENCES_SHOWN);
    json_decref(section);
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static void shuffle(json_t *values, json_t *bounds, ds_random *random) {
    for (size_t i = json_array_size(values) - 1; i > 0; i--) {
        size_t j = ds_random_u64(random) % (i + 1);
        json_t *lists[] = {values, bounds};
        for (size_t l = 0; l < 2; l++) {
            json_t *x = json_incref(json_array_get(lists[l], i)), *y = json_incref(json_array_get(lists[l], j));
            assert_int_equal(json_array_set_new(lists[l], i, y) | json_array_set_new(lists[l], j, x), 0);
        }
    }
}

static json_t *spectrum_of(size_t n, ds_random *random) {
    json_t *values = json_array(), *bounds = json_array();
    for (size_t i = 0; i < n; i++) { /* clusters: one in three is where another is */
        double re = (double)(ds_random_u64(random) % (1 + n / 3)) / 8, im = (double)(ds_random_u64(random) % 3);
        assert_int_equal(json_array_append_new(values, json_pack("[f, f]", re, im)), 0);
        assert_int_equal(json_array_append_new(bounds, json_real(1e-6)), 0);
    }
    return json_pack("{s:[{s:o, s:o}]}", "accumulated", "eigenvalues", values, "eigenvalue_bounds", bounds);
}

/* Moves one eigenvalue by so much. */
static void move(json_t *tree, size_t i, double by) {
    json_t *list = json_object_get(json_array_get(json_object_get(tree, "accumulated"), 0), "eigenvalues");
    json_t *value = json_array_get(list, i);
    double re = json_real_value(json_array_get(value, 0)) + by;
    assert_int_equal(json_array_set_new(value, 0, json_real(re)), 0);
}

static void test_sets_in_any_order(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (size_t n = 1; n < 40; n++) {
        json_t *a = spectrum_of(n, &random), *b = json_deep_copy(a);
        json_t *item = json_array_get(json_object_get(b, "accumulated"), 0);
        shuffle(json_object_get(item, "eigenvalues"), json_object_get(item, "eigenvalue_bounds"), &random);
        move(a, ds_random_u64(&random) % n, 1.9e-6);
        json_t *section = compare("spectrum", json_incref(a), json_incref(b), 0);
        if (count(section, "disagreed") != 0) fail_msg("%zu eigenvalues in another order disagree", n);
        assert_int_equal(count(section, "compared"), 2 * n);
        json_decref(section);
        move(a, ds_random_u64(&random) % n, 0.03125);
        section = compare("spectrum", a, b, 0);
        assert_int_equal(count(section, "disagreed"), 1);
        json_decref(section);
    }
}

/* A chain: greedy choices can leave one alone, augmenting paths do not. */
static bool chained(const void *context, size_t i, size_t j) {
    (void)context;
    return j == i || j == i + 1;
}
static bool reversed(const void *context, size_t i, size_t j) { return chained(context, j, i); }

static void test_matching(void **state) {
    (void)state;
    size_t partner[64];
    bool used[64];
    for (size_t n = 0; n <= 64; n++) {
        for (int way = 0; way < 2; way++) {
            expect_ok(ds_sets_match(partner, n, way == 0 ? chained : reversed, NULL));
            memset(used, 0, sizeof used);
            for (size_t i = 0; i < n; i++) {
                assert_true(partner[i] < n && !used[partner[i]]);
                used[partner[i]] = true;
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_other_arithmetic),
        cmocka_unit_test(test_bounds),   cmocka_unit_test(test_worst),
        cmocka_unit_test(test_many),     cmocka_unit_test(test_sets_in_any_order),
        cmocka_unit_test(test_matching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
