/* Contrasts of seeds: every number by a second way, published tables, and what holds of any runs. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <string.h>

#include "deltascope/stats.h"
#include "support.h"

enum { SEED = 611953, MOST = 24 };
static const double u = 0x1p-53;

/* Simpson's rule over Student's density with t = sqrt(df) cot(x), where it is sin(x)^(df - 1), from x = 0; x = far y^4 makes it
 * smooth there for any df >= 1. */
static double t_upper_tail(double t, double df) {
    const int steps = 1000;
    double far = atan2(sqrt(df), t), sum = 0;
    for (int i = 0; i <= steps; i++) {
        double y = (double)i / steps, weight = i == 0 || i == steps ? 1 : i % 2 == 1 ? 4 : 2;
        sum += weight * pow(sin(far * y * y * y * y), df - 1) * 4 * far * y * y * y;
    }
    return sum / steps / 3 * exp(gsl_sf_lngamma((df + 1) / 2) - gsl_sf_lngamma(df / 2)) / sqrt(acos(-1));
}

/* Runs of both sides that share part of their noise; sizes and shifts over several powers of ten. */
typedef struct sample {
    size_t n;
    double a[MOST], b[MOST];
} sample;
static sample sample_of(ds_random *random, size_t n) {
    sample s = {.n = n};
    double size = pow(10, -3 + 4 * ds_random_uniform(random)), shift = size * ds_random_normal(random);
    double shared = 2 * ds_random_normal(random);
    for (size_t i = 0; i < n; i++) {
        double common = shared * ds_random_normal(random);
        s.a[i] = 3 + size * (common + ds_random_normal(random)) + shift;
        s.b[i] = 3 + size * (common + ds_random_normal(random));
    }
    return s;
}

static double sum_of_squares(const double *x, size_t n, double mean) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum;
}

/* The interval's end is where the tail of the t distribution is 2.5%; the p-value is a tail; TOST is two tails. */
static void test_paired(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (int round = 0; round < 60; round++) {
        const sample s = sample_of(&random, 2 + ds_random_below(&random, 12));
        double n = (double)s.n, d[MOST], margin = 0.3 * ds_random_uniform(&random);
        for (size_t i = 0; i < s.n; i++) d[i] = s.a[i] - s.b[i];
        double mean = ds_mean(d, s.n), sd = sqrt(sum_of_squares(d, s.n, mean) / (n - 1)), error = sd / sqrt(n);
        ds_contrast c;
        expect_ok(ds_contrast_paired(&c, s.a, s.b, s.n, margin, 0));
        assert_true(c.paired && c.n_a == s.n && c.n_b == s.n && c.diverged_a + c.diverged_b == 0);
        expect_close(c.t.mean, mean, 4 * u * fabs(mean));
        expect_close(c.sd, sd, 64 * u * sd + 16 * u);
        expect_close(c.dz, mean / sd, 1e-11 * fabs(mean / sd) + 1e-11);
        expect_close(t_upper_tail((c.t.high - mean) / error, n - 1), 0.025, 1e-9);
        expect_close(c.t.high - mean, mean - c.t.low, 1e-11 * error + 4 * u * fabs(mean));
        expect_close(c.t.p, 2 * t_upper_tail(fabs(mean) / error, n - 1), 1e-9);
        expect_close(t_upper_tail((c.equivalence.high - mean) / error, n - 1), 0.05, 1e-9);
        double beyond = fmax(t_upper_tail((margin - mean) / error, n - 1), t_upper_tail((margin + mean) / error, n - 1));
        expect_close(c.equivalence.p, beyond, 1e-8);
        assert_true(c.equivalence.equivalent == (c.equivalence.p < 0.05));
        /* var(a - b) = var a + var b - 2 r sd a sd b. */
        double va = sum_of_squares(s.a, s.n, ds_mean(s.a, s.n)), vb = sum_of_squares(s.b, s.n, ds_mean(s.b, s.n));
        expect_close(va + vb - 2 * c.correlation * sqrt(va * vb), sd * sd * (n - 1), 1e-9 * (va + vb));
    }
}

/* Welch's interval by its own formula; unpaired groups of unequal size, and pairs as if nothing were paired. */
static void test_welch(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED + 1);
    for (int round = 0; round < 60; round++) {
        const sample s = sample_of(&random, MOST);
        size_t na = 2 + ds_random_below(&random, 12), nb = 2 + ds_random_below(&random, 12);
        double mean_a = ds_mean(s.a, na), mean_b = ds_mean(s.b, nb);
        double va = sum_of_squares(s.a, na, mean_a) / (double)(na - 1) / (double)na;
        double vb = sum_of_squares(s.b, nb, mean_b) / (double)(nb - 1) / (double)nb;
        double df = pow(va + vb, 2) / (va * va / (double)(na - 1) + vb * vb / (double)(nb - 1));
        ds_contrast c, turned, pairs;
        expect_ok(ds_contrast_unpaired(&c, s.a, na, s.b, nb, 0.005));
        expect_close(c.t.df, df, 1e-10 * df);
        expect_close(c.t.mean, mean_a - mean_b, 8 * u);
        expect_close(c.t.p, 2 * t_upper_tail(fabs(mean_a - mean_b) / sqrt(va + vb), df), 1e-8);
        expect_close(t_upper_tail((c.t.high - c.t.mean) / sqrt(va + vb), df), 0.025, 1e-8);
        assert_true(!c.paired && isnan(c.sd) && isnan(c.dz) && isnan(c.correlation) && isnan(c.sign_flip.p));
        expect_ok(ds_contrast_unpaired(&turned, s.b, nb, s.a, na, 0.005));
        assert_true(turned.t.mean == -c.t.mean && turned.t.low == -c.t.high && turned.t.p == c.t.p);
        expect_ok(ds_contrast_paired(&pairs, s.a, s.b, na, 0.005, 0));
        expect_ok(ds_contrast_unpaired(&c, s.a, na, s.b, na, 0.005));
        assert_memory_equal(&pairs.welch, &c.t, sizeof c.t);
    }
}

static void count_signs(const double *d, size_t n, double sum, double least, uint64_t *found) {
    if (n == 0) {
        *found += fabs(sum) >= least;
        return;
    }
    count_signs(d + 1, n - 1, sum + *d, least, found);
    count_signs(d + 1, n - 1, sum - *d, least, found);
}

/* Every pattern of signs, one after another, with ties (small whole numbers) and without. */
static void test_sign_flips(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED + 2);
    for (int round = 0; round < 60; round++) {
        size_t n = 1 + ds_random_below(&random, 14);
        double d[MOST], sum = 0;
        uint64_t found = 0;
        for (size_t i = 0; i < n; i++) {
            d[i] = round % 2 == 0 ? (double)ds_random_below(&random, 7) - 2 : 0.4 + ds_random_normal(&random);
            sum += d[i];
        }
        count_signs(d, n, 0, fabs(sum) - 1e-12, &found);
        ds_sign_flip test = ds_sign_flip_test(d, n, 0);
        assert_true(test.p == ldexp((double)found, -(int)n) && test.patterns == (uint64_t)1 << n);
        assert_true(test.smallest_p == ldexp(2, -(int)n) && test.p >= test.smallest_p);
    }
    static const double bounds[] = {[3] = 0.25, [5] = 0.0625, [6] = 0.03125, [8] = 0.0078125};
    const double same[] = {-0.3, -0.3, -0.3, -0.3, -0.3, -0.3, -0.3, -0.3};
    for (size_t n = 3; n <= 8; n++) {
        if (bounds[n] > 0) assert_true(ds_sign_flip_test(same, n, 0).p == bounds[n]);
    }
    /* 0.1 + 0.2 - 0.3 and its like differ from 0.3 + ... only by rounding. */
    const double tied[] = {0.1, 0.2, 0.3, 0.3, 0.2, 0.1, -0.6};
    const double whole[] = {1, 2, 3, 3, 2, 1, -6};
    assert_true(ds_sign_flip_test(tied, 7, 0).p == ds_sign_flip_test(whole, 7, 0).p);
    assert_true(isnan(ds_sign_flip_test(tied, 0, 0).p));
}

/* Drawn patterns against all of them: five standard errors of 100,000 draws. */
static void test_drawn_signs(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED + 3);
    double d[MOST], sum = 0;
    enum { N = 21 };
    uint64_t found = 0;
    for (size_t i = 0; i < N; i++) sum += d[i] = 0.35 + ds_random_normal(&random);
    count_signs(d, N, 0, fabs(sum) - 1e-12, &found);
    double p = ldexp((double)found, -N);
    ds_sign_flip test = ds_sign_flip_test(d, N, SEED);
    expect_close(test.p, p, 5 * sqrt(p * (1 - p) / DS_SIGN_FLIP_DRAWS) + 1e-5);
    assert_true(test.patterns == DS_SIGN_FLIP_DRAWS && test.smallest_p == 1.0 / 100001);
    assert_true(ds_sign_flip_test(d, N, SEED).p == test.p && ds_sign_flip_test(d, N, SEED + 1).p != test.p);
    for (size_t i = 0; i < MOST; i++) d[i] = 1; /* 100,000 draws meet one of two patterns among 2^24 once in 80 times */
    assert_true(ds_sign_flip_test(d, MOST, SEED).p == test.smallest_p);
}

/* Equal differences: an interval of no width and no p-value; a variant against itself is equivalent. */
static void test_no_spread(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED + 4);
    for (int round = 0; round < 30; round++) {
        sample s = sample_of(&random, 2 + ds_random_below(&random, 10));
        ds_contrast c;
        expect_ok(ds_contrast_paired(&c, s.a, s.a, s.n, 0.005, 0));
        expect_ok(ds_contrasts_judge(&c, 1, SIZE_MAX));
        assert_true(c.t.mean == 0 && c.sd == 0 && c.t.low == 0 && c.t.high == 0 && isnan(c.t.p) && isnan(c.holm_p));
        assert_true(c.verdict == DS_CONTRAST_EQUIVALENT && c.sign_flip.p == 1 && c.detectable.effect == 0);
        double shift = round % 2 == 0 ? 0.1 : -0.1; /* no sum of a and 0.1 is exact */
        for (size_t i = 0; i < s.n; i++) s.b[i] = s.a[i] - shift;
        expect_ok(ds_contrast_paired(&c, s.a, s.b, s.n, 0.005, 0));
        expect_ok(ds_contrasts_judge(&c, 1, SIZE_MAX));
        expect_close(c.t.mean, shift, 16 * u);
        assert_true(c.sd == 0 && c.t.low == c.t.mean && c.t.high == c.t.mean && isnan(c.t.p));
        assert_true(c.verdict == (shift > 0 ? DS_CONTRAST_WORSE : DS_CONTRAST_BETTER));
        assert_true(c.sign_flip.p == c.sign_flip.smallest_p);
    }
}

static void test_few_seeds(void **state) {
    (void)state;
    const double a[] = {3.1, 3.3}, b[] = {3.0, 3.15};
    ds_contrast c;
    for (size_t n = 0; n < 2; n++) {
        expect_ok(ds_contrast_paired(&c, a, b, n, 0.005, 0));
        expect_ok(ds_contrasts_judge(&c, 1, 0));
        assert_true(isnan(c.t.low) && isnan(c.t.p) && isnan(c.detectable.effect) && !c.equivalence.equivalent);
        assert_true(c.verdict == DS_CONTRAST_UNRESOLVED && isnan(c.t.mean) == (n == 0));
        expect_ok(ds_contrast_unpaired(&c, a, n, b, 2, 0.005));
        assert_true(isnan(c.t.low) && isnan(c.t.p));
    }
}

/* A diverged run leaves its pair out of the mean, is counted, and is the worst of the ranks. */
static void test_diverged(void **state) {
    (void)state;
    const double a[] = {3.1, 3.2, 3.05, 3.3, 3.25, 3.4}, b[] = {3.0, NAN, 3.0, INFINITY, 3.1, NAN};
    const double kept_a[] = {3.1, 3.05, 3.25}, kept_b[] = {3.0, 3.0, 3.1};
    ds_contrast c, kept;
    expect_ok(ds_contrast_paired(&c, a, b, 6, 0.005, 0));
    expect_ok(ds_contrast_paired(&kept, kept_a, kept_b, 3, 0.005, 0));
    assert_true(c.n_a == 3 && c.diverged_a == 0 && c.diverged_b == 3 && c.t.p == kept.t.p && c.sd == kept.sd);
    /* Signed ranks 2, -5, 1, -5, 3, -5: of all 64 patterns those whose sum is at least 9 from 0, and 3 of 3 events. */
    const double ranks[] = {2, -5, 1, -5, 3, -5};
    assert_true(c.ranks.p == ds_sign_flip_test(ranks, 6, 0).p && c.ranks.p != c.sign_flip.p);
    expect_close(c.divergence_p, 0.25, 4 * u);
    ds_seed_summary of_b;
    expect_ok(ds_seed_summarise(&of_b, b, 6));
    assert_true(of_b.n == 3 && of_b.diverged == 3 && isinf(of_b.median) && fabs(of_b.mean - 9.1 / 3) < 1e-15);
    expect_ok(ds_seed_summarise(&of_b, b, 5));
    assert_true(of_b.n == 3 && of_b.median == 3.1);
}

/* Holm by its definition: rejected at level q where every smaller p is at most q over the hypotheses left. */
static void test_judged(void **state) {
    (void)state;
    enum { COUNT = 5 };
    ds_random random = ds_random_init(SEED + 5);
    for (int round = 0; round < 100; round++) {
        ds_contrast c[COUNT], primary[COUNT];
        double rest[COUNT], all[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            const sample s = sample_of(&random, 3 + ds_random_below(&random, 6));
            expect_ok(ds_contrast_paired(&c[i], s.a, s.b, s.n, 0.02, 0));
            all[i] = c[i].t.p;
            rest[i] = i == 2 ? NAN : all[i];
        }
        memcpy(primary, c, sizeof c);
        expect_ok(ds_contrasts_judge(c, COUNT, SIZE_MAX));
        expect_ok(ds_contrasts_judge(primary, COUNT, 2));
        expect_ok(ds_holm_adjust(all, all, COUNT));
        expect_ok(ds_holm_adjust(rest, rest, COUNT));
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(c[i].holm_p == all[i]);
            assert_true(primary[i].holm_p == (i == 2 ? c[i].t.p : fmax(rest[i], c[2].t.p)));
            ds_contrast_verdict expected = DS_CONTRAST_UNRESOLVED;
            if (c[i].equivalence.equivalent) expected = DS_CONTRAST_EQUIVALENT;
            if (all[i] < 0.05) expected = c[i].t.mean < 0 ? DS_CONTRAST_BETTER : DS_CONTRAST_WORSE;
            assert_true(c[i].verdict == expected);
        }
    }
}

/* Three seeds of small runs, published as mean, interval, p and bound; the differences are any with that mean and deviation. */
static void test_published_table(void **state) {
    (void)state;
    static const struct row {
        double mean, low, high, sd;
    } rows[] = {{-0.0174, -0.0239, -0.0109, 0.00262}, {-0.0173, -0.038, 0.003, 0.00825}, {-0.0055, -0.052, 0.041, 0.0187}};
    ds_contrast c[3];
    const double zero[] = {0, 0, 0};
    for (size_t i = 0; i < 3; i++) {
        const double d[] = {rows[i].mean + rows[i].sd, rows[i].mean, rows[i].mean - rows[i].sd};
        expect_ok(ds_contrast_paired(&c[i], d, zero, 3, DS_EQUIVALENCE_MARGIN, 0));
        expect_close(c[i].t.low, rows[i].low, i == 0 ? 0.00005 : 0.0005);
        expect_close(c[i].t.high, rows[i].high, i == 0 ? 0.00005 : 0.0005);
        expect_ok(ds_contrasts_judge(&c[i], 1, SIZE_MAX));
    }
    expect_close(c[0].t.p, 0.0075, 0.00005);
    assert_true(c[0].sign_flip.p == 0.25 && c[0].sign_flip.smallest_p == 0.25 && c[0].verdict == DS_CONTRAST_BETTER);
    assert_true(c[1].verdict == DS_CONTRAST_UNRESOLVED && c[2].verdict == DS_CONTRAST_UNRESOLVED);
    expect_close(c[2].detectable.effect, 0.06, 0.005);
    size_t needed = ds_seeds_needed(c[2].t.mean / c[2].sd, 0.8, 0.05);
    assert_true(needed > 85 && needed < 95);
    assert_true(ds_sign_flip_test((double[]){1, 1, 1, 1, 1, 1, 1, 1}, 8, 0).p < 0.05);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paired),      cmocka_unit_test(test_welch),     cmocka_unit_test(test_sign_flips),
        cmocka_unit_test(test_drawn_signs), cmocka_unit_test(test_no_spread), cmocka_unit_test(test_few_seeds),
        cmocka_unit_test(test_diverged),    cmocka_unit_test(test_judged),    cmocka_unit_test(test_published_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
