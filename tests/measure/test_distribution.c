/* Distributions over tokens against dense LAPACK, depth by depth; overlaps of directions against their definitions; null
 * models. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/depth_distribution.h"
#include "deltascope/measure/direction_overlap.h"
#include "measure/null_models.h"
#include "support.h"

enum { D = 12, S = 5, TOKENS = 40 };
static const double U = 0x1p-53;

/* Directions with neighbours that nearly repeat, gates over [0,2]. */
static void fill(ds_directions *out, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    expect_ok(ds_directions_init(out, TOKENS, S, D));
    for (size_t cell = 0; cell < TOKENS * S; cell++) {
        double *k = out->k + cell * D, length2 = 0;
        bool repeat = cell % S > 0 && ds_random_below(&random, 3) == 0;
        for (size_t i = 0; i < D; i++) {
            k[i] = repeat ? (k - D)[i] + 0.1 * ds_random_normal(&random) : ds_random_normal(&random);
            length2 += k[i] * k[i];
        }
        for (size_t i = 0; i < D; i++) k[i] *= 0.99 / sqrt(length2);
        out->beta[cell] = 2 * ds_random_uniform(&random);
        out->c[cell] = out->beta[cell];
    }
}

/* P <- (I - c k k^T) P, P (D,D). */
static void multiply(double *p, const double *k, double c) {
    for (size_t j = 0; j < D; j++) {
        double along = 0;
        for (size_t i = 0; i < D; i++) along += k[i] * p[i * D + j];
        for (size_t i = 0; i < D; i++) p[i * D + j] -= c * k[i] * along;
    }
}

static void set_identity(double *p) {
    for (size_t i = 0; i < D * D; i++) p[i] = i % (D + 1) == 0;
}

typedef struct naive {
    double values[DS_DEPTH_QUANTITIES][TOKENS];
} naive;

static void solve_densely(naive *out, const double *p, size_t token, ds_eigen *eigen, ds_svd *svd, ds_symmetric *lu) {
    double sigma[D], departure, determinant, defect[D * D], row = 0, column = 0;
    ds_complex lambda[D];
    expect_ok(ds_eigenvalues_approx(lambda, &departure, p, D, eigen));
    expect_ok(ds_singular_values_approx(sigma, p, D, D, svd));
    expect_ok(ds_determinant_approx(&determinant, p, D, lu));
    for (size_t i = 0; i < D * D; i++) defect[i] = p[i] - (i % (D + 1) == 0);
    for (size_t i = 0; i < D; i++) {
        double along = 0, down = 0;
        for (size_t j = 0; j < D; j++) {
            along += p[i * D + j];
            down += p[j * D + i];
        }
        row = fmax(row, fabs(along));
        column = fmax(column, fabs(down));
    }
    double norm = ds_frobenius_norm(p, D * D);
    out->values[DS_DEPTH_LOG_ABS_DET][token] = log(fabs(determinant));
    out->values[DS_DEPTH_NORM2][token] = sigma[D - 1];
    out->values[DS_DEPTH_SMALLEST][token] = sigma[0];
    out->values[DS_DEPTH_SPECTRAL_RADIUS][token] = ds_spectral_radius(lambda, D);
    out->values[DS_DEPTH_DEPARTURE][token] = departure;
    out->values[DS_DEPTH_MEAN_SQUARE][token] = norm * norm / D;
    out->values[DS_DEPTH_FROBENIUS_DEFECT][token] = ds_frobenius_norm(defect, D * D);
    out->values[DS_DEPTH_ROW_GAIN][token] = row;
    out->values[DS_DEPTH_COLUMN_GAIN][token] = column;
}

static void test_every_depth_against_lapack(void **state) {
    (void)state;
    ds_directions all;
    ds_distribution distribution;
    ds_eigen *eigen = NULL;
    ds_svd *svd = NULL;
    ds_symmetric *lu = NULL;
    naive *depths = ds_calloc(S, sizeof *depths);
    assert_non_null(depths);
    fill(&all, 1);
    expect_ok(ds_eigen_new(&eigen, D));
    expect_ok(ds_svd_new(&svd, D, D));
    expect_ok(ds_symmetric_new(&lu, D));
    for (size_t t = 0; t < TOKENS; t++) {
        double p[D * D];
        set_identity(p);
        for (size_t s = 0; s < S; s++) {
            multiply(p, ds_directions_k(&all, t, s), all.c[t * S + s]);
            solve_densely(&depths[s], p, t, eigen, svd, lu);
        }
    }
    for (int every = 0; every < 2; every++) {
        expect_ok(ds_distribution_init(&distribution, S, D, every));
        expect_ok(ds_distribution_add(&distribution, &all, 0));
        for (size_t s = every ? 0 : S - 1; s < S; s++) {
            for (size_t q = 0; q < DS_DEPTH_QUANTITIES; q++) {
                if (q == DS_DEPTH_COMPLEX_SHARE || q == DS_DEPTH_SPAN_NORM2 || q == DS_DEPTH_SPAN_RADIUS) continue;
                ds_statistics expected, found = ds_summary_statistics(&distribution.depths[s * DS_DEPTH_QUANTITIES + q]);
                expect_ok(ds_statistics_compute(&expected, depths[s].values[q], TOKENS));
                /* d x d arithmetic of S factors; the logarithm divides by the smallest singular value, an eigenvalue's
                 * condition is within its inverse here */
                double smallest = ds_summary_statistics(&distribution.depths[s * DS_DEPTH_QUANTITIES + DS_DEPTH_SMALLEST]).min;
                double tolerance = 64 * S * D * U / smallest;
                assert_int_equal(found.count, TOKENS);
                expect_close(found.mean, expected.mean, tolerance);
                expect_close(found.std, expected.std, tolerance);
                expect_close(found.quantiles[1], expected.quantiles[1], tolerance);
                expect_close(found.max, expected.max, tolerance);
            }
        }
        ds_distribution_release(&distribution);
    }
    free(depths);
    ds_eigen_free(&eigen);
    ds_svd_free(&svd);
    ds_symmetric_free(&lu);
    ds_directions_release(&all);
}

static void test_exponents_add_up_to_the_determinant(void **state) {
    (void)state;
    ds_directions all;
    ds_distribution distribution;
    fill(&all, 2);
    expect_ok(ds_distribution_init(&distribution, S, D, false));
    expect_ok(ds_distribution_add(&distribution, &all, 0));
    double sum = 0;
    for (size_t i = 0; i < S; i++) sum += ds_summary_statistics(&distribution.exponents[i]).mean;
    ds_statistics smallest = ds_summary_statistics(&distribution.depths[(S - 1) * DS_DEPTH_QUANTITIES + DS_DEPTH_SMALLEST]);
    ds_statistics det = ds_summary_statistics(&distribution.depths[(S - 1) * DS_DEPTH_QUANTITIES + DS_DEPTH_LOG_ABS_DET]);
    expect_close(sum * S, det.mean, 64 * S * D * U / smallest.min);
    ds_distribution_release(&distribution);
    ds_directions_release(&all);
}

/* Tokens added in two calls give the same bits as in one. */
static void test_batches_leave_no_trace(void **state) {
    (void)state;
    ds_directions all;
    ds_distribution one, two;
    fill(&all, 3);
    expect_ok(ds_distribution_init(&one, S, D, true));
    expect_ok(ds_distribution_init(&two, S, D, true));
    expect_ok(ds_distribution_add(&one, &all, 0));
    ds_directions part = all;
    part.tokens = 17;
    expect_ok(ds_distribution_add(&two, &part, 0));
    part = (ds_directions){TOKENS - 17, S, D, all.k + 17 * S * D, all.beta + 17 * S, all.c + 17 * S};
    expect_ok(ds_distribution_add(&two, &part, 17));
    for (size_t i = 0; i < S * DS_DEPTH_QUANTITIES; i++) {
        ds_statistics a = ds_summary_statistics(&one.depths[i]), b = ds_summary_statistics(&two.depths[i]);
        assert_memory_equal(&a, &b, sizeof a);
    }
    ds_distribution_release(&one);
    ds_distribution_release(&two);
    ds_directions_release(&all);
}

static void test_overlaps_follow_their_definitions(void **state) {
    (void)state;
    ds_directions all;
    ds_overlap overlap;
    double coherence[S][S] = {{0}}, survival[S] = {0}, again[S] = {0}, undone[S] = {0};
    fill(&all, 4);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t a = 0; a < S; a++) {
            const double *k = ds_directions_k(&all, t, a);
            double x[D], length2 = 0, left = 0;
            memcpy(x, k, sizeof x);
            for (size_t i = 0; i < D; i++) length2 += k[i] * k[i];
            for (size_t b = 0; b < S; b++) {
                const double *other = ds_directions_k(&all, t, b);
                double along = 0, product = 0, other2 = 0, c = all.c[t * S + b];
                for (size_t i = 0; i < D; i++) {
                    along += other[i] * x[i];
                    product += other[i] * k[i];
                    other2 += other[i] * other[i];
                }
                coherence[a][b] += fabs(product) / TOKENS;
                if (b <= a) continue;
                for (size_t i = 0; i < D; i++) x[i] -= c * along * other[i];
                double cosine = fabs(product) / sqrt(length2 * other2);
                if (cosine >= 0.5) again[a]++;
                if (cosine >= 0.5 && 1 - c * other2 * cosine * cosine < 0.5) undone[a]++;
            }
            for (size_t i = 0; i < D; i++) left += k[i] * x[i];
            survival[a] += left / length2 / TOKENS;
        }
    }
    expect_ok(ds_overlap_init(&overlap, S, D));
    expect_ok(ds_overlap_add(&overlap, &all));
    for (size_t a = 0; a < S; a++) {
        for (size_t b = 0; b < S; b++)
            expect_close(ds_sum_value(&overlap.coherence[a * S + b]) / TOKENS, coherence[a][b], 64 * D * U);
        expect_close(ds_summary_statistics(&overlap.survival[a]).mean, survival[a], 64 * S * D * U);
        expect_close((double)overlap.edited_again[a], again[a], 0);
        expect_close((double)overlap.undone[a], undone[a], 0);
    }
    assert_true(again[0] > 0 && undone[0] > 0);
    ds_overlap_release(&overlap);
    ds_directions_release(&all);
}

/* Mutually orthogonal directions of one length fill S directions; parallel ones fill one. */
static void test_ranks_of_known_spans(void **state) {
    (void)state;
    ds_directions all;
    ds_overlap overlap;
    double rank[S], participation[S];
    expect_ok(ds_directions_init(&all, S, S, D));
    memset(all.k, 0, S * S * D * sizeof *all.k);
    for (size_t t = 0; t < S; t++) {
        for (size_t s = 0; s < S; s++) all.k[(t * S + s) * D + (s + 2 * t) % S] = 0.7; /* orthogonal within a token */
    }
    expect_ok(ds_overlap_init(&overlap, S, D));
    expect_ok(ds_overlap_add(&overlap, &all));
    expect_close(ds_sum_value(&overlap.effective_rank) / S, S, 64 * U);
    expect_close(ds_sum_value(&overlap.participation_ratio) / S, S, 64 * U);
    expect_ok(ds_sublayer_ranks(rank, participation, &all)); /* and, 2 and S having no common factor, over tokens */
    for (size_t s = 0; s < S; s++) {
        expect_close(rank[s], S, 64 * U);
        expect_close(participation[s], S, 64 * U);
    }
    ds_overlap_release(&overlap);
    for (size_t cell = 0; cell < S * S; cell++) memcpy(all.k + cell * D, all.k, D * sizeof *all.k);
    expect_ok(ds_overlap_init(&overlap, S, D));
    expect_ok(ds_overlap_add(&overlap, &all));
    /* eigenvalues that should be 0 are a few u: their square roots, S of them, enter the entropy */
    expect_close(ds_sum_value(&overlap.effective_rank) / S, 1, 64 * S * sqrt(U));
    expect_close(ds_sum_value(&overlap.participation_ratio) / S, 1, 64 * U);
    ds_overlap_release(&overlap);
    ds_directions_release(&all);
}

static void test_random_coherence(void **state) {
    (void)state;
    ds_random random = ds_random_init(5);
    const size_t draws = 200000, d = 9;
    double sum = 0, squares = 0;
    for (size_t n = 0; n < draws; n++) { /* one of the two may be an axis */
        double first = ds_random_normal(&random), length2 = first * first;
        for (size_t i = 1; i < d; i++) {
            double x = ds_random_normal(&random);
            length2 += x * x;
        }
        sum += fabs(first) / sqrt(length2);
        squares += first * first / length2;
    }
    double mean = sum / (double)draws, error = sqrt((squares / (double)draws - mean * mean) / (double)draws);
    expect_close(ds_random_coherence(d), mean, 5 * error);
    expect_close(ds_random_coherence(1), 1, 8 * U);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void expect_same_gates(const ds_directions *a, const ds_directions *b) {
    bool moved = false;
    for (size_t s = 0; s < S; s++) {
        double x[TOKENS], y[TOKENS];
        for (size_t t = 0; t < TOKENS; t++) {
            x[t] = a->beta[t * S + s];
            y[t] = b->beta[t * S + s];
            moved = moved || x[t] != y[t];
            expect_close(b->c[t * S + s], 0.5 * y[t], 0);
        }
        qsort(x, TOKENS, sizeof x[0], compare);
        qsort(y, TOKENS, sizeof y[0], compare);
        assert_memory_equal(x, y, sizeof x);
    }
    assert_true(moved);
}

static void test_null_models_change_what_they_say(void **state) {
    (void)state;
    ds_directions learned, null, again;
    ds_run run = {.spec = {.residual_mult = 0.5}};
    double means[S] = {0.1, 0.2, 0.3, 0.4, 0.5};
    ds_direction_source source = {.run = &run, .null = DS_NULL_SHUFFLED_GATES, .seed = 3, .means = means};
    const size_t features = TOKENS * S * D * sizeof(double), gates = TOKENS * S * sizeof(double);
    fill(&learned, 6);
    fill(&null, 6);
    fill(&again, 6);
    ds_null_apply(&null, 0, TOKENS, &source, 0);
    expect_same_gates(&learned, &null);
    assert_memory_equal(learned.k, null.k, features);
    memcpy(again.beta, learned.beta, gates);
    ds_null_apply(&again, 0, TOKENS, &source, 0); /* equal seeds, equal numbers */
    assert_memory_equal(again.beta, null.beta, gates);
    memcpy(again.beta, learned.beta, gates);
    ds_null_apply(&again, 0, TOKENS, &source, 1); /* another set, others */
    assert_memory_not_equal(again.beta, null.beta, gates);
    source.null = DS_NULL_RANDOM_DIRECTIONS;
    memcpy(null.beta, learned.beta, gates);
    ds_null_apply(&null, 0, TOKENS, &source, 0);
    assert_memory_equal(learned.beta, null.beta, gates);
    for (size_t cell = 0; cell < TOKENS * S; cell++) {
        double before = 0, after = 0, between = 0;
        for (size_t i = 0; i < D; i++) {
            before += learned.k[cell * D + i] * learned.k[cell * D + i];
            after += null.k[cell * D + i] * null.k[cell * D + i];
            between += learned.k[cell * D + i] * null.k[cell * D + i];
        }
        expect_close(after, before, 16 * D * U);
        assert_true(fabs(between) < 0.9999 * before);
    }
    source.null = DS_NULL_CONSTANT_GATES;
    ds_null_apply(&again, 0, TOKENS, &source, 0);
    assert_memory_equal(learned.k, again.k, features);
    for (size_t cell = 0; cell < TOKENS * S; cell++) expect_close(again.beta[cell], means[cell % S], 0);
    ds_directions_release(&learned);
    ds_directions_release(&null);
    ds_directions_release(&again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_depth_against_lapack),
        cmocka_unit_test(test_exponents_add_up_to_the_determinant),
        cmocka_unit_test(test_batches_leave_no_trace),
        cmocka_unit_test(test_overlaps_follow_their_definitions),
        cmocka_unit_test(test_ranks_of_known_spans),
        cmocka_unit_test(test_random_coherence),
        cmocka_unit_test(test_null_models_change_what_they_say),
    };
    return cmocka_run_group_tests_name("distribution", tests, NULL, NULL);
}
