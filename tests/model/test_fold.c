/* Folded weights against the definitions of MODEL.md "Compressors", evaluated the long way. */
#include "support.h"

#include <math.h>
#include <stdlib.h>

#include "model/fold.h"

enum { MOST = 64 };

static void random_values(double *values, size_t count, ds_random *random) {
    for (size_t i = 0; i < count; i++) values[i] = ds_random_normal(random);
}

/* x_in = sum_a read[a] sum_v w[left+v-a] X[v], for one feature. */
static double convolve_then_read(const double *w, const double *read, const double *x, size_t dv, size_t kernel, size_t left) {
    double sum = 0.0;
    for (size_t a = 0; a < dv; a++) {
        double y = 0.0;
        for (size_t v = 0; v < dv; v++) {
            long long tap = (long long)left + (long long)v - (long long)a;
            if (tap >= 0 && tap < (long long)kernel) y += w[tap] * x[v];
        }
        sum += read[a] * y;
    }
    return sum;
}

static void folded_channels_equal_convolution_then_read(void **state) {
    (void)state;
    const uint64_t seed = 20260117;
    print_message("seed %llu\n", (unsigned long long)seed);
    ds_random random = ds_random_init(seed);
    for (size_t dv = 1; dv <= 6; dv++) {
        for (size_t kernel = 1; kernel <= dv; kernel++) {
            for (size_t causal = 0; causal < 2; causal++) {
                const size_t d = 3, left = causal ? kernel - 1 : (kernel - 1) / 2;
                double weight[MOST], read[MOST], taps[MOST], x[MOST];
                float weight32[MOST], read32[MOST], taps32[MOST];
                random_values(weight, d * kernel, &random);
                random_values(read, dv, &random);
                random_values(x, dv, &random);
                for (size_t i = 0; i < d * kernel; i++) weight[i] = weight32[i] = (float)weight[i];
                for (size_t i = 0; i < dv; i++) read[i] = read32[i] = (float)read[i];
                ds_fold_channels_f64(taps, weight, read, dv, kernel, d, left);
                ds_fold_channels_f32(taps32, weight32, read32, dv, kernel, d, left);
                for (size_t i = 0; i < d; i++) {
                    double folded = 0.0, magnitude_w[MOST], magnitude_read[MOST], magnitude_x[MOST];
                    for (size_t s = 0; s < kernel; s++) magnitude_w[s] = fabs(weight[i * kernel + s]);
                    for (size_t v = 0; v < dv; v++) {
                        magnitude_read[v] = fabs(read[v]);
                        magnitude_x[v] = fabs(x[v]);
                        folded += taps[v * d + i] * x[v];
                        /* summed in double, rounded once to float */
                        expect_close(taps32[v * d + i], taps[v * d + i], 0x1p-24 * fabs(taps[v * d + i]));
                    }
                    double scale = convolve_then_read(magnitude_w, magnitude_read, magnitude_x, dv, kernel, left);
                    double expected = convolve_then_read(weight + i * kernel, read, x, dv, kernel, left);
                    /* Both sides sum the same products w read x: at most dv*dv of them, each rounded twice. With n = dv*dv + 2
                     * roundings on the way of any product, each side is off by at most n u sum |w read x| to first order. */
                    expect_close(folded, expected, 2.0 * 1.01 * (double)(dv * dv + 2) * 0x1p-53 * scale);
                }
            }
        }
    }
}

static void unfolding_moves_channels_and_taps_in_front(void **state) {
    (void)state;
    const size_t dv = 3, kernel = 2, d = 5;
    double weight[30], taps[30];
    float weight32[30], taps32[30];
    for (size_t i = 0; i < 30; i++) weight[i] = weight32[i] = (float)i + 0.5F;
    ds_unfold_taps_f64(taps, weight, dv, kernel, d);
    ds_unfold_taps_f32(taps32, weight32, dv, kernel, d);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < dv; j++) {
            for (size_t s = 0; s < kernel; s++) {
                double expected = (double)((i * dv + j) * kernel + s) + 0.5; /* row i*dv+j is feature i, channel j */
                expect_close(taps[(j * kernel + s) * d + i], expected, 0.0);
                expect_close((double)taps32[(j * kernel + s) * d + i], expected, 0.0);
            }
        }
    }
}

static void the_first_nonfinite_value_is_found_anywhere(void **state) {
    (void)state;
    const double bad[] = {NAN, INFINITY, -INFINITY};
    const size_t count = 9000, places[] = {0, 1, 4095, 4096, 8191, 8999};
    double *values = calloc(count, sizeof *values);
    float *values32 = calloc(count, sizeof *values32);
    assert_true(values != NULL && values32 != NULL);
    for (size_t i = 0; i < count; i++) values[i] = values32[i] = i % 2 == 0 ? 3.4e38F : -1.25F;
    assert_int_equal(ds_first_nonfinite_f64(values, count), count);
    assert_int_equal(ds_first_nonfinite_f32(values32, count), count);
    assert_int_equal(ds_first_nonfinite_f32(values32, 0), 0);
    for (size_t p = 6; p-- > 0;) { /* back to front: earlier ones hide later ones */
        values[places[p]] = bad[p % 3];
        values32[places[p]] = (float)bad[(p + 1) % 3];
        assert_int_equal(ds_first_nonfinite_f64(values, count), places[p]);
        assert_int_equal(ds_first_nonfinite_f32(values32, count), places[p]);
    }
    free(values);
    free(values32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folded_channels_equal_convolution_then_read),
        cmocka_unit_test(unfolding_moves_channels_and_taps_in_front),
        cmocka_unit_test(the_first_nonfinite_value_is_found_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
