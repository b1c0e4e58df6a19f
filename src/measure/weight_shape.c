/* What to call the spectrum of a matrix. */
#include <math.h>
#include <stdlib.h>

#include "deltascope/measure/weight_spectra.h"
#include "deltascope/num.h"

const char *ds_shape_name(ds_shape shape) {
    static const char *const names[DS_SHAPE_COUNT] = {"undecided",   "too small", "zero",      "low rank", "isometry",
                                                      "random-like", "spiked",    "power law", "no fit"};
    return names[shape];
}

/* ---- bulk and outliers ---- */

static double squares_below(const double *singular, size_t count) {
    ds_sum sum = {0};
    for (size_t i = 0; i < count; i++) ds_sum_add(&sum, singular[i] * singular[i]);
    return ds_sum_value(&sum);
}

static double farthest(const double *singular, size_t count, double square, double longer) {
    double most = 0, n = (double)count;
    for (size_t i = 0; i < count; i++) {
        double share = ds_marchenko_pastur(singular[i] * singular[i] / (square * longer), n / longer);
        most = ds_max_real(most, fabs(n * share - ((double)i + 0.5)));
    }
    return most;
}

void ds_bulk_fit(ds_bulk *out, const double *singular, size_t rows, size_t columns, double widths) {
    size_t count = ds_min_size(rows, columns), most = count / 2;
    double longer = (double)ds_max_size(rows, columns);
    *out = (ds_bulk){0};
    for (;;) { /* with outliers left out the edge comes down, and what is above it grows until nothing is added */
        size_t left = count - out->outliers, above = 0;
        double n = (double)left, m = longer - (double)out->outliers, square = squares_below(singular, left) / (m * n);
        double size = sqrt(square);
        out->edge = size * (sqrt(m) + sqrt(n));
        out->edge_width = 0.5 * size * cbrt(1 / sqrt(m) + 1 / sqrt(n));
        for (size_t i = 0; i < count; i++) above += singular[i] > out->edge + widths * out->edge_width;
        above = ds_min_size(above, most);
        if (above <= out->outliers) {
            out->distance = square > 0 ? farthest(singular, left, square, m) : n;
            return;
        }
        out->outliers = above;
    }
}

ds_bulk_limits ds_bulk_limits_of(size_t singular_values) {
    return (ds_bulk_limits){.distance = DS_BULK_DISTANCE + M_SQRT2 / M_PI * log((double)singular_values),
                            .widths = DS_EDGE_WIDTHS};
}

/* ---- one matrix ---- */

static bool all_equal(const ds_matrix_spectrum *s) {
    return s->singular_values.max - s->singular_values.min <= 2 * s->rounding;
}

static ds_status fit_power_laws(ds_matrix_spectrum *out, const double *singular, size_t count, uint64_t seed) {
    ds_status status = DS_OK;
    double *all = NULL;
    size_t rank = all_equal(out) ? 0 : out->rank; /* equal values differ by rounding: there is no law in that */
    DS_NEW_ARRAY(all, count);
    for (size_t i = 0; i < count; i++) all[i] = singular[i] * singular[i];
    const double *squares = all + (count - rank);
    DS_TRY(ds_power_law_fit_weightwatcher(&out->weightwatcher, all, rank < DS_LEAST_TAIL ? 0 : count));
    DS_TRY(ds_power_law_fit(&out->tail, squares, rank, DS_LEAST_TAIL));
    DS_TRY(ds_power_law_spread(&out->alpha_stderr, squares, rank, DS_LEAST_TAIL, seed));
    DS_TRY(
        ds_power_law_fit(&out->whole, squares, rank, ds_max_size(DS_LEAST_TAIL, (size_t)ceil(DS_TAIL_SHARE * (double)rank))));
done:
    free(all);
    return status;
}

ds_status ds_matrix_spectrum_compute(ds_matrix_spectrum *out, double *singular, const double *values,
                                     const ds_weight_matrix *matrix, uint64_t seed, ds_svd *svd) {
    ds_status status = DS_OK;
    size_t rows = matrix->rows, columns = matrix->columns, count = ds_min_size(rows, columns);
    double r = sqrt((double)rows), c = sqrt((double)columns);
    const ds_rounding stored = ds_dtype_rounding(matrix->stored);
    DS_TRY(ds_singular_values_approx(singular, values, rows, columns, svd));
    double frobenius = ds_frobenius_norm(values, rows * columns);
    double bound = ds_singular_values_estimate(singular[count - 1], rows, columns);
    *out = (ds_matrix_spectrum){.matrix = *matrix,
                                .spectral_norm = singular[count - 1],
                                .frobenius = frobenius,
                                .stable_rank = ds_stable_rank(singular, count),
                                .effective_rank = ds_effective_rank(singular, count),
                                .bound = bound,
                                .rounding = stored.relative * frobenius + stored.absolute * r * c + bound,
                                .mp_edge = frobenius / (r * c) * (r + c)};
    for (size_t i = 0; i < count; i++) {
        out->above_mp_edge += singular[i] > out->mp_edge;
        out->rank += singular[i] > out->rounding;
    }
    DS_TRY(ds_statistics_compute(&out->singular_values, singular, count));
    DS_TRY(fit_power_laws(out, singular, count, seed));
    ds_bulk_fit(&out->bulk, singular, rows, columns, DS_EDGE_WIDTHS);
    out->bulk.outliers = ds_min_size(out->bulk.outliers, out->rank); /* not what rounding left */
done:
    return status;
}

/* ---- the same entries in random order ---- */

static void shuffle(double *values, size_t count, ds_random *random) {
    for (size_t i = count; i-- > 1;) {
        size_t other = ds_random_below(random, i + 1);
        double kept = values[i];
        values[i] = values[other];
        values[other] = kept;
    }
}

/* The limits reach to where a matrix without structure goes. */
static void widen(ds_bulk_limits *limits, const double *singular, const ds_weight_matrix *matrix) {
    ds_bulk all;
    ds_bulk_fit(&all, singular, matrix->rows, matrix->columns, INFINITY);
    double largest = singular[ds_min_size(matrix->rows, matrix->columns) - 1];
    limits->edge = all.edge;
    if (!(all.edge_width > 0)) return;
    limits->widths = ds_max_real(limits->widths, (largest - all.edge) / all.edge_width);
    limits->distance = ds_max_real(limits->distance, all.distance);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Largest difference between the number of values (count, ascending) up to one of them and the mean number of the shuffles,
 * `own` of which (0 or 1) are these values themselves. */
static double departure(const double *values, size_t count, double scale, size_t own, const ds_bulk_limits *limits,
                        size_t all) {
    double most = 0;
    for (size_t i = 0, below = 0; i < count; i++) {
        while (below < all && limits->shuffled[below] <= scale * values[i]) below++;
        double others = ((double)below - (double)(own * (i + 1))) / (double)(limits->shuffles - own);
        most = ds_max_real(most, fabs(others - ((double)i + 0.5)));
    }
    return most;
}

/* ---- the verdict ---- */

typedef struct thresholds {
    ds_bulk bulk; /* with the outliers that its widths leave */
    double distance, spread, outliers, critical;
} thresholds;

static bool is_low(const ds_matrix_spectrum *s, size_t count) { return (double)s->rank <= DS_LOW_RANK_SHARE * (double)count; }

static bool bulk_decides(const ds_matrix_spectrum *s, size_t count) {
    return count >= DS_LEAST_VALUES && !all_equal(s) && !is_low(s, count);
}

/* A bulk that has lost k outliers may be k values off. */
static bool is_bulk(const double *singular, size_t count, const thresholds *at, const ds_bulk_limits *limits) {
    size_t left = count - at->bulk.outliers;
    if (!(at->bulk.distance <= at->distance && (double)at->bulk.outliers <= at->outliers * (double)count)) return false;
    if (limits->shuffled == NULL) return true;
    double off = departure(singular, left, limits->edge / at->bulk.edge, 0, limits, limits->shuffles * count);
    return off <= at->spread + (double)at->bulk.outliers;
}

static ds_shape shape_at(const ds_matrix_spectrum *s, const double *singular, size_t count, const thresholds *at,
                         const ds_bulk_limits *limits) {
    if (s->frobenius == 0) return DS_SHAPE_ZERO;
    if (is_low(s, count)) return DS_SHAPE_LOW_RANK;
    if (all_equal(s)) return DS_SHAPE_ISOMETRY;
    if (count < DS_LEAST_VALUES) return DS_SHAPE_TOO_SMALL;
    if (is_bulk(singular, count, at, limits)) return at->bulk.outliers == 0 ? DS_SHAPE_RANDOM : DS_SHAPE_SPIKED;
    return ds_power_law_rejected(&s->whole, at->critical) ? DS_SHAPE_NO_FIT : DS_SHAPE_POWER_LAW;
}

ds_shape_verdict ds_shape_judge(const ds_matrix_spectrum *spectrum, const double *singular, const ds_bulk_limits *limits) {
    const ds_weight_matrix *matrix = &spectrum->matrix;
    size_t count = ds_min_size(matrix->rows, matrix->columns), words = 0;
    ds_shape_verdict out = {.shape = DS_SHAPE_UNDECIDED};
    for (unsigned moved = 0; moved < 16; moved++) { /* each threshold up or down */
        double factors[4];
        thresholds at;
        for (unsigned i = 0; i < 4; i++) factors[i] = 1 + (moved >> i & 1 ? DS_SHAPE_SHARE : -DS_SHAPE_SHARE);
        ds_bulk_fit(&at.bulk, singular, matrix->rows, matrix->columns, limits->widths * factors[0]);
        at.distance = limits->distance * factors[1];
        at.spread = limits->spread * factors[1];
        at.outliers = DS_OUTLIER_SHARE * factors[2];
        at.critical = DS_POWER_LAW_CRITICAL * factors[3];
        ds_shape shape = shape_at(spectrum, singular, count, &at, limits);
        words += !out.alternatives[shape];
        out.alternatives[shape] = true;
        if (words == 1) out.shape = shape;
    }
    out.stable = words == 1;
    if (out.stable)
        out.alternatives[out.shape] = false;
    else
        out.shape = DS_SHAPE_UNDECIDED;
    return out;
}

/* shuffles (DS_MORE_SHUFFLES + 1, count): the first is there. */
static ds_status shuffle_more(ds_bulk_limits *limits, double *shuffles, double *values, const ds_weight_matrix *matrix,
                              ds_random *random, ds_svd *svd) {
    ds_status status = DS_OK;
    size_t count = ds_min_size(matrix->rows, matrix->columns);
    double *sorted = NULL;
    limits->shuffles = DS_MORE_SHUFFLES + 1;
    size_t all = limits->shuffles * count;
    DS_NEW_ARRAY(sorted, all);
    for (size_t i = 1; i < limits->shuffles; i++) {
        shuffle(values, matrix->rows * matrix->columns, random);
        DS_TRY(ds_singular_values_approx(shuffles + i * count, values, matrix->rows, matrix->columns, svd));
        widen(limits, shuffles + i * count, matrix);
    }
    for (size_t i = 0; i < all; i++) sorted[i] = shuffles[i];
    qsort(sorted, all, sizeof *sorted, ascending);
    limits->shuffled = sorted;
    for (size_t i = 0; i < limits->shuffles; i++)
        limits->spread = ds_max_real(limits->spread, departure(shuffles + i * count, count, 1, 1, limits, all));
    for (size_t i = 0; i < all; i++) shuffles[i] = sorted[i];
    limits->shuffled = shuffles;
done:
    free(sorted);
    return status;
}

ds_status ds_weight_shape_find(ds_weight_shape *out, double *values, const ds_weight_matrix *matrix, uint64_t seed,
                               ds_svd *svd) {
    ds_status status = DS_OK;
    size_t count = ds_min_size(matrix->rows, matrix->columns);
    ds_random random = ds_random_init(seed);
    const ds_bulk_limits usual = ds_bulk_limits_of(count);
    ds_bulk_limits limits = usual;
    double *singular = NULL, *shuffles = NULL;
    DS_NEW_ARRAY(singular, count);
    DS_NEW_ARRAY(shuffles, count * (DS_MORE_SHUFFLES + 1));
    DS_TRY(ds_matrix_spectrum_compute(&out->learned, singular, values, matrix, seed, svd));
    shuffle(values, matrix->rows * matrix->columns, &random);
    DS_TRY(ds_matrix_spectrum_compute(&out->shuffled, shuffles, values, matrix, seed, svd));
    widen(&limits, shuffles, matrix);
    bool unusual = limits.widths > usual.widths || limits.distance > usual.distance;
    if (unusual && bulk_decides(&out->learned, count)) DS_TRY(shuffle_more(&limits, shuffles, values, matrix, &random, svd));
    out->verdict = ds_shape_judge(&out->learned, singular, &limits);
done:
    free(singular);
    free(shuffles);
    return status;
}
