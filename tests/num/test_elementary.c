/* Every elementary function against libm in higher precision, over all exponents, both signs, and the special values. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "deltascope/num.h"

#include "support.h"

enum { BLOCK = 1024 };

typedef long double (*reference)(long double x);

static long double sigmoid_reference(long double x) {
    long double e = expl(-fabsl(x));
    return x > 0 ? 1 / (1 + e) : e / (1 + e);
}
static long double silu_reference(long double x) { return x * sigmoid_reference(x); }
static long double elu1_reference(long double x) { return x > 0 ? x + 1 : expl(x); }

/* |found - exact| in units in the last place of a format with `digits` bits and smallest normal exponent `lowest`, but at least
 * `factor` smallest subnormals; 0 when the exact value is beyond `largest` and the found one infinite. */
static double error_in_ulps(long double found, long double exact, int digits, int lowest, long double largest,
                            long double factor) {
    if (isinf(found) && fabsl(exact) >= largest && signbit(found) == signbit(exact)) return 0;
    int exponent = exact == 0 ? lowest : ilogbl(exact);
    if (exponent < lowest) exponent = lowest;
    return (double)(fabsl(found - exact) / fmaxl(ldexpl(1, exponent - digits + 1), factor * ldexpl(1, lowest - digits + 1)));
}

/* `product`: the function is x times something that may be subnormal. */
static double worst_f32(void (*function)(float *, const float *, size_t), reference exact, bool product) {
    double worst = 0;
    float x[BLOCK], y[BLOCK];
    /* A stride that is odd, so that low bits vary; every exponent and both signs are met thousands of times. */
    const uint32_t stride = 1021;
    uint32_t bits = 0;
    for (uint32_t done = 0; done < UINT32_MAX / stride; done += BLOCK) {
        for (size_t i = 0; i < BLOCK; i++, bits += stride) memcpy(&x[i], &bits, sizeof bits);
        function(y, x, BLOCK);
        for (size_t i = 0; i < BLOCK; i++) {
            if (!isfinite(x[i])) continue;
            double error = error_in_ulps((long double)y[i], exact((long double)x[i]), FLT_MANT_DIG, FLT_MIN_EXP - 1, FLT_MAX,
                                         product ? fabsl((long double)x[i]) : 0);
            if (!(error <= worst)) worst = error;
        }
    }
    return worst;
}

static double worst_f64(void (*function)(double *, const double *, size_t), reference exact, bool product) {
    double worst = 0, x[BLOCK], y[BLOCK];
    ds_random random = ds_random_init(2601417);
    for (size_t round = 0; round < 600; round++) {
        for (size_t i = 0; i < BLOCK; i++) {
            uint64_t bits = ds_random_u64(&random);
            memcpy(&x[i], &bits, sizeof bits);
            /* Most bit patterns are far outside the interesting range: half the arguments are drawn inside it. */
            if (i % 2 == 0) x[i] = 760 * (2 * ds_random_uniform(&random) - 1);
            if (i % 8 == 0) x[i] /= 64;
        }
        function(y, x, BLOCK);
        for (size_t i = 0; i < BLOCK; i++) {
            if (!isfinite(x[i])) continue;
            double error = error_in_ulps((long double)y[i], exact((long double)x[i]), DBL_MANT_DIG, DBL_MIN_EXP - 1, DBL_MAX,
                                         product ? fabsl((long double)x[i]) : 0);
            if (!(error <= worst)) worst = error;
        }
    }
    return worst;
}

/* The bounds num.h states. */
static const struct {
    const char *name;
    void (*f32)(float *, const float *, size_t);
    void (*f64)(double *, const double *, size_t);
    reference exact;
    bool product;
    double ulps;
} functions[] = {
    {"exp", ds_exp_f32, ds_exp_f64, expl, false, 1.5},
    {"sigmoid", ds_sigmoid_f32, ds_sigmoid_f64, sigmoid_reference, false, 3},
    {"silu", ds_silu_forward_f32, ds_silu_forward_f64, silu_reference, true, 4},
    {"tanh", ds_tanh_f32, ds_tanh_f64, tanhl, false, 3},
    {"elu1", ds_elu1_forward_f32, ds_elu1_forward_f64, elu1_reference, false, 1.5},
};

static void errors_stay_below_the_stated_bounds(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        double f32 = worst_f32(functions[i].f32, functions[i].exact, functions[i].product);
        double f64 = worst_f64(functions[i].f64, functions[i].exact, functions[i].product);
        print_message("%-8s largest error %.3f ulp in float, %.3f ulp in double\n", functions[i].name, f32, f64);
        expect_close(f32, 0, functions[i].ulps);
        expect_close(f64, 0, functions[i].ulps);
    }
}

static void special_values(void **state) {
    (void)state;
    const double x[] = {INFINITY, -INFINITY, NAN, 0, -750, 750, -1e300, 1e300};
    double y[8];
    ds_exp_f64(y, x, 8);
    const double exp_expected[] = {INFINITY, 0, NAN, 1, 0, INFINITY, 0, INFINITY};
    for (size_t i = 0; i < 8; i++) assert_true(isnan(exp_expected[i]) ? isnan(y[i]) : y[i] == exp_expected[i]);
    ds_sigmoid_f64(y, x, 8);
    const double sigmoid_expected[] = {1, 0, NAN, 0.5, 0, 1, 0, 1};
    for (size_t i = 0; i < 8; i++) assert_true(isnan(sigmoid_expected[i]) ? isnan(y[i]) : y[i] == sigmoid_expected[i]);
    ds_tanh_f64(y, x, 8);
    const double tanh_expected[] = {1, -1, NAN, 0, -1, 1, -1, 1};
    for (size_t i = 0; i < 8; i++) assert_true(isnan(tanh_expected[i]) ? isnan(y[i]) : y[i] == tanh_expected[i]);
    float low[8], z[8];
    for (size_t i = 0; i < 8; i++) low[i] = (float)x[i]; /* 1e300 becomes infinity */
    ds_exp_f32(z, low, 8);
    for (size_t i = 0; i < 8; i++) assert_true(isnan(exp_expected[i]) ? isnan(z[i]) : (double)z[i] == exp_expected[i]);
    ds_relu_forward_f32(z, low, 3);
    assert_true(isinf(z[0]) && z[1] == 0 && isnan(z[2]));
}

/* 2 sigmoid stays inside (0,2) as long as double can tell. */
static void gates_stay_inside(void **state) {
    (void)state;
    for (int i = 0; i < 1990; i++) {
        double x = -700 + 0.37 * i, y; /* to 35.93 */
        ds_sigmoid_f64(&y, &x, 1);
        assert_true(2 * y > 0 && 2 * y < 2);
    }
}

/* The same argument gives the same bits wherever it stands in an array: vector body and remainder agree. */
static void position_does_not_matter(void **state) {
    (void)state;
    ds_random random = ds_random_init(7);
    float x[67], y[67], z;
    for (size_t i = 0; i < 67; i++) x[i] = (float)(5 * ds_random_normal(&random));
    for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++) {
        functions[f].f32(y, x, 67);
        for (size_t i = 0; i < 67; i++) {
            functions[f].f32(&z, &x[i], 1);
            assert_memory_equal(&z, &y[i], sizeof z);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_stay_below_the_stated_bounds),
        cmocka_unit_test(special_values),
        cmocka_unit_test(gates_stay_inside),
        cmocka_unit_test(position_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
