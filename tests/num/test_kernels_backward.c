/* Every backward kernel against central differences of its forward kernel, and float against double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

#include "support.h"

/* ROWS tokens of CHANNELS planes of WIDTH features; HEADS heads; KERNEL taps. */
enum { ROWS = 6, WIDTH = 40, HEADS = 5, CHANNELS = 3, KERNEL = 4, FIXED = 1024 };
enum kernel {
    SILU,
    RELU,
    ELU1,
    GELU,
    GELU_TANH,
    SWIGLU,
    RMSNORM,
    LAYERNORM,
    ROPE,
    SHIFT,
    SOFTMAX,
    EMBED,
    COMPRESS_CC,
    COMPRESS_TC,
    DIRECTION,
    KERNELS,
};
typedef struct kernel_case {
    const char *name;
    enum kernel kernel;
    size_t inputs, outputs;
} kernel_case;

static const kernel_case cases[] = {
    {"silu", SILU, 200, 200},
    {"relu", RELU, 200, 200},
    {"elu1", ELU1, 200, 200},
    {"gelu", GELU, 200, 200},
    {"gelu_tanh", GELU_TANH, 200, 200},
    {"swiglu", SWIGLU, 400, 200},
    {"rmsnorm", RMSNORM, ROWS *WIDTH, ROWS *WIDTH},
    {"layernorm", LAYERNORM, ROWS *WIDTH, ROWS *WIDTH},
    {"rope", ROPE, ROWS *WIDTH, ROWS *WIDTH},
    {"shift", SHIFT, ROWS *(WIDTH + HEADS), ROWS *WIDTH},
    {"softmax", SOFTMAX, ROWS *ROWS, ROWS *ROWS},
    {"embed", EMBED, ROWS *WIDTH, ROWS *CHANNELS *WIDTH},
    {"compress_cc", COMPRESS_CC, ROWS *CHANNELS *WIDTH, ROWS *WIDTH},
    {"compress_tc", COMPRESS_TC, ROWS *CHANNELS *WIDTH, ROWS *WIDTH},
    {"direction", DIRECTION, WIDTH, WIDTH},
};

static ds_random source;
static double fixed[FIXED]; /* weights, taps, cosines: whatever a kernel reads besides its input */

/* Numbers that are floats, so that both precisions see the same; none nearer to a relu's kink than the steps below. */
static double *noise(size_t count) {
    double *x = calloc(count, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) {
        do x[i] = (double)(float)ds_random_normal(&source);
        while (fabs(x[i]) < 0.01);
    }
    return x;
}

#define REAL float
#define REAL_NAME(name) name##_f32
#define UNIT 0x1p-24
#include "kernels_backward.inc"
#undef REAL
#undef REAL_NAME
#undef UNIT

#define REAL double
#define REAL_NAME(name) name##_f64
#define UNIT 0x1p-53
#include "kernels_backward.inc"

static void run_forward(double *y, const kernel_case *c, const double *x) {
    double scratch[ROWS];
    switch (c->kernel) {
    case SILU:
        ds_silu_forward_f64(y, x, c->inputs);
        break;
    case RELU:
        ds_relu_forward_f64(y, x, c->inputs);
        break;
    case ELU1:
        ds_elu1_forward_f64(y, x, c->inputs);
        break;
    case GELU:
        ds_gelu_forward_f64(y, x, c->inputs);
        break;
    case GELU_TANH:
        ds_gelu_tanh_forward_f64(y, x, c->inputs);
        break;
    case SWIGLU:
        ds_swiglu_forward_f64(y, x, x + c->outputs, c->outputs);
        break;
    case RMSNORM:
        ds_rmsnorm_forward_f64(y, NULL, x, fixed, ROWS, WIDTH, 1e-5);
        break;
    case LAYERNORM:
        ds_layernorm_forward_f64(y, x, fixed, fixed + WIDTH, ROWS, WIDTH, 1e-5);
        break;
    case ROPE:
        memcpy(y, x, c->inputs * sizeof *y);
        ds_rope_forward_f64(y, fixed, fixed + FIXED / 2, ROWS, HEADS, WIDTH / HEADS, 4);
        break;
    case SHIFT:
        memcpy(y, x, c->outputs * sizeof *y);
        ds_shift_forward_f64(y, NULL, x + c->outputs, ROWS, HEADS, WIDTH / HEADS);
        break;
    case SOFTMAX:
        memcpy(y, x, c->inputs * sizeof *y);
        ds_softmax_causal_forward_f64(y, scratch, ROWS, ROWS, ROWS, 0, 0.7);
        ds_scale_rows_f64(y, ROWS, scratch, ROWS, ROWS);
        break;
    case EMBED: {
        const uint32_t tokens[ROWS] = {0, 1, 2, 3, 4, 5}; /* x is the table, each row used once */
        ds_embed_forward_f64(y, x, fixed, tokens, 0, ROWS, WIDTH, CHANNELS, KERNEL);
        break;
    }
    case COMPRESS_CC:
        ds_compress_cc_forward_f64(y, x, fixed, ROWS, WIDTH, CHANNELS);
        break;
    case COMPRESS_TC:
        ds_compress_tc_forward_f64(y, x, fixed, fixed + FIXED / 2, 0, ROWS, WIDTH, CHANNELS, KERNEL);
        break;
    case DIRECTION:
        (void)ds_direction_forward_f64(y, x, WIDTH, 0.5);
        break;
    case KERNELS:
        break;
    }
}

static double dot(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* <dy, f'(x) v> by Richardson's extrapolated differences equals <backward(dy), v>. Truncation h^4, cancellation 2^-52 / h. */
static void backward_is_the_adjoint_of_the_derivative(void **state) {
    (void)state;
    const double h = 1e-3, tolerance = 1e-9;
    const double steps[] = {h / 2, -h / 2, h, -h}, factors[] = {4 / (3 * h), -4 / (3 * h), -1 / (6 * h), 1 / (6 * h)};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const kernel_case *c = &cases[k];
        double *x = noise(c->inputs), *v = noise(c->inputs), *dy = noise(c->outputs), *moved = malloc(c->inputs * sizeof *x);
        double *y = calloc(c->outputs, sizeof *y), *dx = calloc(c->inputs, sizeof *dx), left = 0;
        assert_true(moved != NULL && y != NULL && dx != NULL);
        for (size_t s = 0; s < 4; s++) {
            for (size_t i = 0; i < c->inputs; i++) moved[i] = x[i] + steps[s] * v[i];
            run_forward(y, c, moved);
            left += factors[s] * dot(dy, y, c->outputs);
        }
        run_backward_f64(dx, c, x, dy);
        double right = dot(dx, v, c->inputs), scale = sqrt(dot(dx, dx, c->inputs) * dot(v, v, c->inputs));
        if (!(fabs(left - right) <= tolerance * scale)) print_error("%s:\n", c->name);
        expect_close(left, right, tolerance * scale);
        free(x), free(v), free(dy), free(moved), free(y), free(dx);
    }
}

static void float_follows_double(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const kernel_case *c = &cases[k];
        double *x = noise(c->inputs), *dy = noise(c->outputs), *narrow = calloc(c->inputs, sizeof *x), error = 0;
        double *wide = calloc(c->inputs, sizeof *wide);
        assert_true(narrow != NULL && wide != NULL);
        run_backward_f32(narrow, c, x, dy);
        run_backward_f64(wide, c, x, dy);
        for (size_t i = 0; i < c->inputs; i++) error += (narrow[i] - wide[i]) * (narrow[i] - wide[i]);
        /* a dozen roundings of terms no larger than a few times the result, by norm */
        if (!(sqrt(error) <= 32 * 0x1p-24 * sqrt(dot(wide, wide, c->inputs)))) print_error("%s:\n", c->name);
        expect_close(sqrt(error), 0, 32 * 0x1p-24 * sqrt(dot(wide, wide, c->inputs)));
        free(x), free(dy), free(narrow), free(wide);
    }
}

/* ---- square matrices of logits ---------------------------------------------------------------------------------------- */

enum { MOST = 5, MOST_ROUNDS = 21 };
static const double newton_schulz[3] = {3, -3.2, 1.2};

/* One way to make a matrix, drawn at random. */
typedef struct square {
    size_t n, rounds;
    bool rows_last, orthostochastic;
    double logits[MOST * MOST], history[2 * MOST_ROUNDS * MOST * MOST];
} square;

static void draw_square(square *q) {
    *q = (square){.n = 1 + ds_random_below(&source, MOST), .rounds = 1 + ds_random_below(&source, MOST_ROUNDS)};
    q->rows_last = ds_random_below(&source, 2) == 0;
    q->orthostochastic = ds_random_below(&source, 3) == 0;
    if (q->orthostochastic) q->rounds = 1 + q->rounds % 6;
    for (size_t i = 0; i < MOST * MOST; i++) q->logits[i] = 2 * ds_random_normal(&source);
}

static void square_forward(double *matrix, square *q) {
    if (q->orthostochastic)
        ds_orthostochastic_forward(matrix, q->history, q->logits, q->n, q->rounds, 1e-7, newton_schulz);
    else
        ds_sinkhorn_forward(matrix, q->history, q->logits, q->n, q->rounds, q->rows_last);
}

static void square_backward(double *d, square *q) {
    if (q->orthostochastic)
        ds_orthostochastic_backward(d, q->history, q->logits, q->n, q->rounds, 1e-7, newton_schulz);
    else
        ds_sinkhorn_backward(d, q->history, q->n, q->rounds, q->rows_last);
}

/* The lines of the last half of a round add up to 1, and many rounds bring the others there. */
static void matrices_are_doubly_stochastic_as_far_as_their_last_step_goes(void **state) {
    (void)state;
    for (size_t turn = 0; turn < 200; turn++) {
        square q;
        double matrix[MOST * MOST], converged[MOST * MOST];
        draw_square(&q);
        if (q.orthostochastic) continue;
        size_t n = q.n;
        square_forward(matrix, &q);
        assert_memory_equal(matrix, q.history + (2 * q.rounds - 1) * n * n, n * n * sizeof *matrix);
        ds_sinkhorn_forward(converged, NULL, q.logits, n, 4000, q.rows_last);
        for (size_t i = 0; i < n; i++) {
            double last = 0, row = 0, column = 0;
            for (size_t k = 0; k < n; k++) last += q.rows_last ? matrix[i * n + k] : matrix[k * n + i];
            for (size_t k = 0; k < n; k++) row += converged[i * n + k];
            for (size_t k = 0; k < n; k++) column += converged[k * n + i];
            /* a logarithm of size 40 is rounded before the exponential */
            expect_close(last, 1, (double)(n + 2) * 40 * 0x1p-52);
            expect_close(row, 1, 1e-12);
            expect_close(column, 1, 1e-12);
        }
    }
}

/* Backward against differences, (4 D(h/2) - D(h)) / 3 with central differences D; the tangent against the adjoint. */
static void square_derivatives(void **state) {
    (void)state;
    for (size_t turn = 0; turn < 200; turn++) {
        const double h = 1e-4, steps[] = {h / 2, -h / 2, h, -h},
                     factors[] = {4 / (3 * h), -4 / (3 * h), -1 / (6 * h), 1 / (6 * h)};
        square q, moved;
        double d[MOST * MOST], w[MOST * MOST], v[MOST * MOST], matrix[MOST * MOST], found = 0, forward = 0, slope = 0,
                                                                                    scale = 0;
        draw_square(&q);
        size_t count = q.n * q.n;
        for (size_t i = 0; i < count; i++) d[i] = w[i] = ds_random_normal(&source);
        for (size_t i = 0; i < count; i++) v[i] = ds_random_normal(&source);
        square_forward(matrix, &q);
        square_backward(d, &q);
        for (size_t k = 0; k < 4; k++) {
            moved = q;
            for (size_t i = 0; i < count; i++) moved.logits[i] += steps[k] * v[i];
            square_forward(matrix, &moved);
            for (size_t i = 0; i < count; i++) slope += factors[k] * w[i] * matrix[i];
        }
        for (size_t i = 0; i < count; i++) found += d[i] * v[i];
        for (size_t i = 0; i < count; i++) scale += fabs(w[i]) + fabs(d[i] * v[i]);
        expect_close(found, slope, 1e-7 * scale);
        if (q.orthostochastic) continue;
        ds_sinkhorn_tangent(v, q.history, q.n, q.rounds, q.rows_last);
        for (size_t i = 0; i < count; i++) forward += w[i] * v[i];
        expect_close(forward, found, 1e-13 * scale * (double)q.rounds);
    }
}

static int seed_source(void **state) {
    (void)state;
    const uint64_t seed = 20260118;
    source = ds_random_init(seed);
    for (size_t i = 0; i < FIXED; i++) fixed[i] = (double)(float)ds_random_normal(&source);
    print_message("seed %llu\n", (unsigned long long)seed);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backward_is_the_adjoint_of_the_derivative),
        cmocka_unit_test(float_follows_double),
        cmocka_unit_test(accumulating_products_f32),
        cmocka_unit_test(accumulating_products_f64),
        cmocka_unit_test(matrices_are_doubly_stochastic_as_far_as_their_last_step_goes),
        cmocka_unit_test(square_derivatives),
    };
    return cmocka_run_group_tests(tests, seed_source, NULL);
}
