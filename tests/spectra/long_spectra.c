/* At length: 10,000 random products against their certificates, 1,000 certificates against 77 digits, and how fast spectra are
 * at the reported width. */
#include <math.h>
#include <stdlib.h>

#include "spectra_checks.h"
#include "support.h"

static const uint64_t SEED = 20260401;

static void test_estimates(void **state) {
    (void)state;
    static delta_case example;
    ds_random random = ds_random_init(SEED);
    ds_certifier *certifier = NULL;
    ds_product_solver *solver = NULL;
    spectra_seen seen = {0};
    expect_ok(ds_certifier_new(&certifier, CASE_HIDDEN, CASE_SUBLAYERS));
    expect_ok(ds_product_solver_new(&solver, CASE_HIDDEN, CASE_SUBLAYERS));
    size_t checked = 0;
    while (checked < 10000) {
        bool wide = checked % 100 == 0;
        make_delta_case(&example, wide ? CASE_HIDDEN : 48, wide ? CASE_SUBLAYERS : 16, false, &random);
        check_estimates(&example, certifier, solver, &seen);
        checked++;
        /* nearly defective ones besides, where the search finds one */
        if (checked % 10 == 0 && make_defective_case(&example, 16, 8, &random))
            check_estimates(&example, certifier, solver, &seen);
    }
    ds_product_solver_free(&solver);
    ds_certifier_free(&certifier);
}

static void test_certificates(void **state) {
    (void)state;
    static delta_case example;
    ds_random random = ds_random_init(SEED + 1);
    ds_certifier *certifier = NULL;
    spectra_seen seen = {0};
    size_t checked = 0;
    expect_ok(ds_certifier_new(&certifier, 12, 12));
    for (size_t trial = 0; trial < 1000; trial++) {
        if (trial % 4 != 3)
            make_delta_case(&example, 12, 10, false, &random);
        else if (!make_defective_case(&example, 12, 8, &random))
            continue;
        check_certificate(&example, certifier, &seen);
        checked++;
    }
    print_message("seed %llu: widest disc %.2g, widest interval %.2g units, %zu clusters, %zu undecided, %zu of %zu counted\n",
                  (unsigned long long)SEED + 1, seen.disc, seen.interval, seen.clusters, seen.undecided, seen.counted, checked);
    assert_true(checked > 700 && seen.counted > checked * 3 / 4);
    ds_certifier_free(&certifier);
}

enum { WIDTH = 768, DEPTH = 24, STREAMS = 8, WORKERS = 64 };
typedef enum what { END_OF_DEPTH, EVERY_DEPTH, CERTIFIED } what;
typedef struct speed {
    double *directions, beta[DEPTH]; /* (STREAMS, S, d) */
    what asked;
    ds_product *products[WORKERS];
    ds_product_solver *solvers[WORKERS];
    ds_certifier *certifiers[WORKERS];
} speed;

static ds_status measure_one(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    speed *x = context;
    const double *directions = x->directions + index % STREAMS * DEPTH * WIDTH;
    ds_product *product = x->products[worker];
    ds_product_summary summary;
    ds_certificate certificate;
    if (x->asked == CERTIFIED)
        return ds_product_enclose(&certificate, directions, x->beta, 1.0, DEPTH, WIDTH, x->certifiers[worker]);
    ds_product_restart(product);
    for (size_t s = 0; s < DEPTH; s++) {
        DS_TRY(ds_product_push(product, directions + s * WIDTH, x->beta[s]));
        if (x->asked == EVERY_DEPTH || s + 1 == DEPTH)
            DS_TRY(ds_product_spectrum_estimate(NULL, NULL, NULL, NULL, &summary, product, x->solvers[worker]));
    }
done:
    return status;
}

/* Directions with some coherence and gates all over (0,2), as trained models have. */
static void test_speed(void **state) {
    (void)state;
    const struct {
        const char *name;
        what asked;
        size_t tokens;
        double target; /* tokens a second on 2 cores */
    } rows[] = {
        {"end of depth", END_OF_DEPTH, 4000, 3000}, {"every depth", EVERY_DEPTH, 600, 500}, {"certified", CERTIFIED, 60, 10}};
    speed *x = ds_calloc(1, sizeof *x);
    assert_non_null(x);
    ds_random random = ds_random_init(SEED + 2);
    size_t workers = ds_min_size(ds_threads(), WORKERS);
    expect_ok(ds_threads_set(workers));
    x->directions = ds_alloc_array(STREAMS * DEPTH * WIDTH, sizeof *x->directions);
    assert_non_null(x->directions);
    for (size_t i = 0; i < STREAMS * DEPTH * WIDTH; i++)
        x->directions[i] = ds_random_normal(&random) / sqrt(WIDTH) + (i % WIDTH < 3 ? 0.2 : 0.0);
    for (size_t s = 0; s < DEPTH; s++) x->beta[s] = 1.8 * ds_random_uniform(&random);
    for (size_t w = 0; w < workers; w++) {
        expect_ok(ds_product_new(&x->products[w], WIDTH, DEPTH));
        expect_ok(ds_product_solver_new(&x->solvers[w], WIDTH, DEPTH));
        expect_ok(ds_certifier_new(&x->certifiers[w], WIDTH, DEPTH));
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        x->asked = rows[i].asked;
        double start = ds_seconds();
        expect_ok(ds_parallel_for(rows[i].tokens, measure_one, x));
        print_message("%s: %.0f tokens a second on %zu threads, asked for %.0f on 2\n", rows[i].name,
                      (double)rows[i].tokens / (ds_seconds() - start), workers, rows[i].target);
    }
    ds_threads_stop();
    for (size_t w = 0; w < workers; w++) {
        ds_product_free(&x->products[w]);
        ds_product_solver_free(&x->solvers[w]);
        ds_certifier_free(&x->certifiers[w]);
    }
    free(x->directions);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speed),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
