#include "matrix_kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const struct {
    const char *name;
    ds_shape word;
} kinds[MATRIX_KINDS] = {
    [KIND_ZERO] = {"zero", DS_SHAPE_ZERO},
    [KIND_IDENTITY] = {"identity", DS_SHAPE_ISOMETRY},
    [KIND_ORTHOGONAL] = {"orthogonal", DS_SHAPE_ISOMETRY},
    [KIND_LOW_RANK] = {"low rank", DS_SHAPE_LOW_RANK},
    [KIND_GAUSSIAN] = {"normal entries", DS_SHAPE_RANDOM},
    [KIND_UNIFORM] = {"uniform entries", DS_SHAPE_RANDOM},
    [KIND_SPARSE] = {"sparse entries", DS_SHAPE_RANDOM},
    [KIND_SPIKED] = {"normal, 1 to 15 spikes", DS_SHAPE_SPIKED},
    [KIND_ROWS] = {"rows of unequal length", DS_SHAPE_NO_FIT},
    [KIND_AUTOREGRESSIVE] = {"correlated entries", DS_SHAPE_NO_FIT},
    [KIND_EXPONENTIAL] = {"exponential law", DS_SHAPE_NO_FIT},
    [KIND_POWER_2] = {"power law, exponent 2", DS_SHAPE_POWER_LAW},
    [KIND_POWER_3] = {"power law, exponent 3", DS_SHAPE_POWER_LAW},
    [KIND_POWER_4] = {"power law, exponent 4", DS_SHAPE_POWER_LAW},
    [KIND_POWER_6] = {"power law, exponent 6", DS_SHAPE_POWER_LAW},
};

ds_shape matrix_kind_word(matrix_kind kind) { return kinds[kind].word; }
const char *matrix_kind_name(matrix_kind kind) { return kinds[kind].name; }

double matrix_round(double x, ds_dtype stored) {
    const int digits = stored == DS_DTYPE_F64 ? 53 : stored == DS_DTYPE_F32 ? 24 : stored == DS_DTYPE_F16 ? 11 : 8;
    int exponent;
    double fraction = frexp(x, &exponent);
    int least = stored == DS_DTYPE_F16 ? -24 : -1000; /* float16 has no numbers between multiples of 2^-24 */
    int unit = exponent - digits < least ? least : exponent - digits;
    return ldexp(nearbyint(ldexp(fraction, exponent - unit)), unit);
}

/* x (n) <- normal numbers; returns their sum of squares. */
static double draw(double *x, size_t n, ds_random *random) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = ds_random_normal(random);
        sum += x[i] * x[i];
    }
    return sum;
}

static void reflect_rows(double *values, double *k, size_t rows, size_t columns, ds_random *random) {
    double length2 = draw(k, columns, random);
    for (size_t i = 0; i < rows; i++) {
        double along = 0;
        for (size_t j = 0; j < columns; j++) along += k[j] * values[i * columns + j];
        for (size_t j = 0; j < columns; j++) values[i * columns + j] -= 2 / length2 * along * k[j];
    }
}

static void reflect_columns(double *values, double *k, double *along, size_t rows, size_t columns, ds_random *random) {
    double length2 = draw(k, rows, random);
    memset(along, 0, columns * sizeof *along);
    for (size_t i = 0; i < rows * columns; i++) along[i % columns] += k[i / columns] * values[i];
    for (size_t i = 0; i < rows * columns; i++) values[i] -= 2 / length2 * along[i % columns] * k[i / columns];
}

void matrix_of_singular_values(double *values, const double *sigma, size_t rows, size_t columns, ds_random *random) {
    double *k = ds_calloc(ds_max_size(rows, columns), sizeof *k), *along = ds_calloc(columns, sizeof *along);
    assert_true(k != NULL && along != NULL);
    memset(values, 0, rows * columns * sizeof *values);
    for (size_t i = 0; i < ds_min_size(rows, columns); i++) values[i * columns + i] = sigma[i];
    /* few: mostly on the diagonal; many: everywhere alike */
    size_t rounds = ds_random_below(random, 2) == 0 ? 4 : 4 + ds_min_size(rows, columns) / 2;
    for (size_t round = 0; round < rounds; round++) {
        reflect_rows(values, k, rows, columns, random);
        reflect_columns(values, k, along, rows, columns, random);
    }
    free(k);
    free(along);
}

/* values += size x y^T, x and y normal directions of unit length. */
static void add_spike(double *values, double size, const ds_weight_matrix *m, ds_random *random) {
    double *x = ds_calloc(m->rows + m->columns, sizeof *x), *y = x + m->rows;
    assert_non_null(x);
    double scale = draw(x, m->rows, random) * draw(y, m->columns, random);
    for (size_t i = 0; i < m->rows * m->columns; i++) values[i] += size / sqrt(scale) * x[i / m->columns] * y[i % m->columns];
    free(x);
}

static void draw_entries(double *values, matrix_kind kind, const ds_weight_matrix *m, ds_random *random) {
    double edge = sqrt((double)m->rows) + sqrt((double)m->columns), row = 1;
    size_t most = ds_min_size(15, ds_min_size(m->rows, m->columns) / 6);
    for (size_t i = 0; i < m->rows * m->columns; i++) {
        if (i % m->columns == 0 && kind == KIND_ROWS) row = exp(0.5 * ds_random_normal(random));
        values[i] = row * (kind == KIND_UNIFORM ? ds_random_uniform(random) - 0.5 : ds_random_normal(random));
        if (kind == KIND_SPARSE && ds_random_below(random, 10) != 0) values[i] = 0;
        if (kind == KIND_AUTOREGRESSIVE && i % m->columns > 0) values[i] = 0.5 * values[i - 1] + sqrt(0.75) * values[i];
    }
    if (kind != KIND_SPIKED) return;
    for (size_t spikes = 1 + ds_random_below(random, most); spikes-- > 0;)
        add_spike(values, edge * (1.3 + 1.7 * ds_random_uniform(random)), m, random);
}

static void draw_spectrum(double *values, matrix_kind kind, const ds_weight_matrix *m, ds_random *random) {
    static const double exponents[MATRIX_KINDS] = {
        [KIND_POWER_2] = 2, [KIND_POWER_3] = 3, [KIND_POWER_4] = 4, [KIND_POWER_6] = 6};
    size_t count = ds_min_size(m->rows, m->columns), rank = kind == KIND_LOW_RANK ? 1 + ds_random_below(random, count / 3) : 0;
    double *sigma = ds_calloc(count, sizeof *sigma);
    assert_non_null(sigma);
    for (size_t i = 0; i < count; i++) {
        double left = 1 - ds_random_uniform(random); /* P(square > x) */
        if (exponents[kind] > 0)
            sigma[i] = sqrt(pow(left, -1 / (exponents[kind] - 1)));
        else if (kind == KIND_EXPONENTIAL)
            sigma[i] = sqrt(-log(left));
        else
            sigma[i] = kind == KIND_LOW_RANK && i >= rank ? 0 : kind == KIND_LOW_RANK ? 0.1 + left : 1;
    }
    if (kind == KIND_IDENTITY) {
        memset(values, 0, m->rows * m->columns * sizeof *values);
        for (size_t i = 0; i < count; i++) values[i * m->columns + i] = 1;
    } else {
        matrix_of_singular_values(values, sigma, m->rows, m->columns, random);
    }
    free(sigma);
}

void matrix_kind_draw(double *values, matrix_kind kind, const ds_weight_matrix *m, ds_random *random) {
    double scale = exp(ds_random_normal(random) - 3);
    if (kind == KIND_ZERO) scale = 0;
    if (kind >= KIND_GAUSSIAN && kind <= KIND_AUTOREGRESSIVE)
        draw_entries(values, kind, m, random);
    else
        draw_spectrum(values, kind, m, random);
    for (size_t i = 0; i < m->rows * m->columns; i++) values[i] = matrix_round(scale * values[i], m->stored);
}

void matrix_words_count(matrix_words *out, const ds_weight_matrix *matrix, size_t count, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    double *values = ds_calloc(matrix->rows * matrix->columns, sizeof *values);
    ds_svd *svd = NULL;
    assert_non_null(values);
    expect_ok(ds_svd_new(&svd, matrix->rows, matrix->columns));
    for (matrix_kind kind = 0; kind < MATRIX_KINDS; kind++) {
        for (size_t trial = 0; trial < count; trial++) {
            ds_weight_shape shape;
            matrix_kind_draw(values, kind, matrix, &random);
            expect_ok(ds_weight_shape_find(&shape, values, matrix, ds_random_u64(&random), svd));
            out->drawn[kind]++;
            out->words[kind][shape.verdict.shape]++;
        }
    }
    ds_svd_free(&svd);
    free(values);
}
