/* Numbers that carry bounds and samples: the library's own float kernels stay within them, operands moved by what their
 * bounds allow move results by no more than theirs, and no bound is far from what it bounds. */
#include <math.h>
#include <string.h>

#include "deltascope/num.h"
#include "verify/plain_model.h"

#include "forward_case.h"
#include "support.h"

enum { MOST = 40, ROWS = 3, TRIALS = 400 };

/* Sizes from far below to far above 1, with zeros and equal numbers among them; exactly floats. */
static void draw(double *x, size_t count, ds_random *r) {
    double size = ldexp(1, (int)ds_random_below(r, 24) - 16);
    for (size_t i = 0; i < count; i++) {
        x[i] = (double)(float)(size * ds_random_normal(r));
        if (ds_random_below(r, 8) == 0) x[i] = i > 0 && ds_random_below(r, 2) == 0 ? x[i - 1] : 0;
    }
}

typedef enum operation { LINEAR, RMSNORM, DIRECTION, SILU, RELU, ELU1, TANH, SIGMOID, OPERATIONS } operation;

/* One operation on x (ROWS,n), y (ROWS,n) or of LINEAR (ROWS,n) with weight (n,n). */
static void bounded(ds_bounded y, ds_bounded x, operation what, const double *weight, size_t n, const ds_arithmetic *a) {
    size_t count = ROWS * n;
    if (what == LINEAR) {
        expect_ok(ds_bounded_linear(y, x, weight, ROWS, n, n, false, a));
        return;
    }
    if (what == RMSNORM) {
        ds_bounded_rmsnorm(y, x, weight, ROWS, n, 1e-5, a);
        return;
    }
    memcpy(y.x, x.x, count * sizeof *y.x);
    memcpy(y.e, x.e, count * sizeof *y.e);
    for (size_t t = 0; what == DIRECTION && t < ROWS; t++)
        ds_bounded_direction((ds_bounded){y.x + t * n, y.e + t * n}, n, 1e-5, a);
    if (what == SILU) ds_bounded_activation(y, count, DS_ACT_SILU, a);
    if (what == RELU) ds_bounded_activation(y, count, DS_ACT_RELU, a);
    if (what == ELU1) ds_bounded_activation(y, count, DS_ACT_ELU1, a);
    if (what == TANH) ds_bounded_tanh(y, count, a);
    if (what == SIGMOID) ds_bounded_sigmoid(y, count, false, a);
}

/* The same by the library's kernels in float. */
static void in_float(double *y, const double *x, operation what, const double *weight, size_t n) {
    float in[ROWS * MOST], w[MOST * MOST], out[ROWS * MOST];
    size_t count = ROWS * n;
    for (size_t i = 0; i < count; i++) in[i] = (float)x[i];
    for (size_t i = 0; i < n * n; i++) w[i] = (float)weight[i];
    if (what == LINEAR) ds_gemm_nt_f32(out, n, in, n, w, n, ROWS, n, n);
    if (what == RMSNORM) ds_rmsnorm_forward_f32(out, NULL, in, w, ROWS, n, 1e-5);
    for (size_t t = 0; what == DIRECTION && t < ROWS; t++) (void)ds_direction_forward_f32(out + t * n, in + t * n, n, 1e-5);
    if (what == SILU) ds_silu_forward_f32(out, in, count);
    if (what == RELU) ds_relu_forward_f32(out, in, count);
    if (what == ELU1) ds_elu1_forward_f32(out, in, count);
    if (what == TANH) ds_tanh_f32(out, in, count);
    if (what == SIGMOID) ds_sigmoid_f32(out, in, count);
    for (size_t i = 0; i < count; i++) y[i] = (double)out[i];
}

static void test_float_kernels(void **state) {
    (void)state;
    ds_random r = ds_random_init(20261128);
    ds_arithmetic a = ds_arithmetic_between(DS_F32);
    double x[ROWS * MOST], none[ROWS * MOST] = {0}, weight[MOST * MOST], value[ROWS * MOST], bound[ROWS * MOST];
    double found[ROWS * MOST];
    for (size_t trial = 0; trial < TRIALS * OPERATIONS; trial++) {
        operation what = (operation)(trial % OPERATIONS);
        size_t n = 1 + ds_random_below(&r, MOST);
        draw(x, ROWS * n, &r);
        draw(weight, n * n, &r);
        bounded((ds_bounded){value, bound}, (ds_bounded){x, none}, what, weight, n, &a);
        in_float(found, x, what, weight, n);
        for (size_t i = 0; i < ROWS * n; i++) {
            expect_close(found[i], value[i], bound[i]);
            if (what != LINEAR) assert_true(bound[i] <= 16 * a.u * fabs(value[i]) + 2 * a.tiny); /* a few roundings, no more */
        }
    }
}

/* Operands anywhere within their bounds give results within theirs, with no roundings but double's own. */
static void test_moved_operands(void **state) {
    (void)state;
    ds_random r = ds_random_init(7);
    ds_arithmetic a = ds_arithmetic_between(DS_F64);
    double x[ROWS * MOST], e[ROWS * MOST], moved[ROWS * MOST], none[ROWS * MOST] = {0}, weight[MOST * MOST];
    double value[ROWS * MOST], bound[ROWS * MOST], other[ROWS * MOST], own[ROWS * MOST];
    for (size_t trial = 0; trial < TRIALS * OPERATIONS; trial++) {
        operation what = (operation)(trial % OPERATIONS);
        size_t n = 1 + ds_random_below(&r, MOST);
        double size = ldexp(1, -(int)ds_random_below(&r, 40));
        draw(x, ROWS * n, &r);
        draw(weight, n * n, &r);
        for (size_t i = 0; i < ROWS * n; i++) {
            e[i] = size * (ds_random_below(&r, 4) == 0 ? 1 : fabs(x[i]));
            moved[i] = x[i] + (2 * ds_random_uniform(&r) - 1) * e[i];
        }
        bounded((ds_bounded){value, bound}, (ds_bounded){x, e}, what, weight, n, &a);
        bounded((ds_bounded){other, own}, (ds_bounded){moved, none}, what, weight, n, &a);
        for (size_t i = 0; i < ROWS * n; i++) expect_close(other[i], value[i], bound[i] + own[i]);
    }
}

/* The multiple of the largest of the samples is above what float does, and they stay below the worst case. */
static void test_samples(void **state) {
    (void)state;
    ds_random r = ds_random_init(11);
    double x[ROWS * MOST], none[ROWS * MOST] = {0}, weight[MOST * MOST], value[ROWS * MOST], bound[ROWS * MOST];
    double found[ROWS * MOST], sample[ROWS * MOST], left[ROWS * MOST];
    for (size_t trial = 0; trial < TRIALS; trial++) {
        operation what = (operation)(trial % OPERATIONS);
        size_t n = 1 + ds_random_below(&r, MOST), count = ROWS * n;
        ds_arithmetic a = ds_arithmetic_between(DS_F32);
        double largest = 0, squares = 0, bounds = 0;
        draw(x, count, &r);
        draw(weight, n * n, &r);
        bounded((ds_bounded){value, bound}, (ds_bounded){x, none}, what, weight, n, &a);
        in_float(found, x, what, weight, n);
        for (uint64_t s = 1; s <= DS_SAMPLES; s++) {
            double distance = 0;
            a.sample = s;
            bounded((ds_bounded){sample, left}, (ds_bounded){x, none}, what, weight, n, &a);
            for (size_t i = 0; i < count; i++) {
                distance += (sample[i] - value[i]) * (sample[i] - value[i]);
                expect_close(left[i], 0, 0);
            }
            largest = fmax(largest, sqrt(distance));
        }
        for (size_t i = 0; i < count; i++) {
            squares += (found[i] - value[i]) * (found[i] - value[i]);
            bounds += bound[i] * bound[i];
        }
        expect_close(sqrt(squares), 0, DS_SAMPLED * largest);
        assert_true(largest <= 8 * sqrt(bounds)); /* 8 deviations, where one is at most the bound */
    }
}

/* No product of tangent, sublayer and cotangent exceeds what is said of its factors' absolute values: one tangent by
 * differences. */
static void test_reach(void **state) {
    (void)state;
    forward_case c = forward_case_open("cc-ec-activations", DS_F64, 2, 6);
    ds_plain plain;
    ds_random r = ds_random_init(3);
    size_t count = 2 * 6 * c.spec->hidden * c.spec->value_channels;
    double *x = forward_case_embed(&c), *ends[2], *tangent = ds_calloc(count, sizeof(double)), *w = ds_calloc(count, 8);
    const double h = 0x1p-20;
    expect_ok(ds_plain_init(&plain, c.model, 6));
    for (size_t s = 0; s < ds_spec_sublayers(c.spec); s++) {
        double reach, product = 0;
        for (size_t i = 0; i < count; i++) {
            tangent[i] = ds_random_normal(&r);
            w[i] = ds_random_normal(&r);
        }
        for (size_t side = 0; side < 2; side++) {
            ends[side] = ds_calloc(count, sizeof(double));
            for (size_t i = 0; i < count; i++) ends[side][i] = x[i] + (side == 0 ? h : -h) * tangent[i];
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, ends[side], s, s + 1, NULL, NULL));
        }
        for (size_t i = 0; i < count; i++) {
            product += w[i] * (ends[0][i] - ends[1][i]) / (2 * h);
            tangent[i] = fabs(tangent[i]);
        }
        expect_ok(ds_plain_reach(&reach, &plain, 2, (ds_bounded){x, tangent}, w, s));
        assert_true(fabs(product) <= reach);
        for (size_t side = 0; side < 2; side++) free(ends[side]);
        expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, x, s, s + 1, NULL, NULL));
    }
    ds_plain_release(&plain);
    free(x), free(tangent), free(w);
    forward_case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_kernels),
        cmocka_unit_test(test_moved_operands),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_reach),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
