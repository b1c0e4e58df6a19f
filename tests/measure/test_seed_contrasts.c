/* Contrasts as results tell them: the numbers, and null for what does not apply. */
#include <math.h>
#include <string.h>

#include "deltascope/measure/seed_contrasts.h"
#include "support.h"

enum { SEED = 3571, MOST = 9 };

static json_t *told(const ds_contrast *contrast) {
    json_t *out;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_contrast(&b, contrast);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&out, &b));
    return out;
}

static void expect_number(const json_t *json, const char *path, double expected) {
    const json_t *found = ds_json_at(json, path);
    assert_non_null(found);
    if (isfinite(expected))
        assert_true(json_is_number(found) && json_number_value(found) == expected);
    else
        assert_true(json_is_null(found));
}

static void expect_contrast(const ds_contrast *c) {
    json_t *json = told(c);
    expect_number(json, "n", c->paired ? (double)c->n_a : NAN);
    expect_number(json, "mean", c->t.mean);
    expect_number(json, "sd", c->sd);
    expect_number(json, "dz", c->dz);
    expect_number(json, "correlation", c->correlation);
    expect_number(json, "t/p", c->t.p);
    expect_number(json, "t/df", c->t.df);
    expect_number(json, "sign_flip/p", c->sign_flip.p);
    expect_number(json, "sign_flip/smallest_p", c->sign_flip.smallest_p);
    expect_number(json, "signed_ranks/p", c->ranks.p);
    expect_number(json, "welch/mean", c->welch.mean);
    expect_number(json, "welch/p", c->welch.p);
    expect_number(json, "diverged/p", c->divergence_p);
    expect_number(json, "holm_p", c->holm_p);
    expect_number(json, "equivalence/p", c->equivalence.p);
    expect_number(json, "detectable_effect/effect", c->detectable.effect);
    if (isnan(c->t.low)) {
        expect_number(json, "interval", NAN);
    } else {
        expect_number(json, "interval/0", c->t.low);
        expect_number(json, "interval/1", c->t.high);
        expect_number(json, "welch/interval/1", c->welch.high);
        expect_number(json, "equivalence/interval/0", c->equivalence.low);
    }
    assert_true(json_is_true(json_object_get(json, "paired")) == c->paired);
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), ds_contrast_verdict_names[c->verdict]);
    json_decref(json);
}

static void test_contrasts(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (int round = 0; round < 40; round++) {
        double a[MOST], b[MOST];
        size_t n = 1 + ds_random_below(&random, MOST);
        for (size_t i = 0; i < n; i++) {
            a[i] = ds_random_below(&random, 9) == 0 ? NAN : 3 + 0.01 * ds_random_normal(&random);
            b[i] = round % 5 == 0 ? a[i] : 3 + 0.01 * ds_random_normal(&random);
        }
        ds_contrast c[2];
        expect_ok(ds_contrast_paired(&c[0], a, b, n, 0.02, 0));
        expect_ok(ds_contrast_unpaired(&c[1], a, n, b, 1 + n / 2, 0.02));
        expect_ok(ds_contrasts_judge(c, 2, SIZE_MAX));
        expect_contrast(&c[0]);
        expect_contrast(&c[1]);
    }
}

static void test_summary(void **state) {
    (void)state;
    const double values[] = {3.1, NAN, 3.3, 3.2};
    ds_seed_summary summary;
    json_t *out;
    ds_json_builder b = {0};
    expect_ok(ds_seed_summarise(&summary, values, 4));
    ds_json_begin_object(&b, NULL);
    ds_json_put_seed_summary(&b, "final", &summary);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&out, &b));
    expect_number(out, "final/n", 3);
    expect_number(out, "final/diverged", 1);
    expect_number(out, "final/mean", summary.mean);
    expect_number(out, "final/interval/1", summary.high);
    expect_number(out, "final/median", summary.median);
    json_decref(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contrasts),
        cmocka_unit_test(test_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
