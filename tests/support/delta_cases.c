#include "delta_cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/delta.h"

static void normalise(double *k, size_t d) {
    double sum = 0.0;
    for (size_t i = 0; i < d; i++) sum += k[i] * k[i];
    double scale = 1.0 / sqrt(sum + 1e-10); /* as the model does: |k| < 1 */
    for (size_t i = 0; i < d; i++) k[i] *= scale;
}

static void make_direction(double *k, const double *earlier, size_t s, size_t d, ds_random *random) {
    const double *other = s > 0 ? earlier + ds_random_below(random, s) * d : NULL;
    uint64_t kind = ds_random_below(random, 16);
    for (size_t i = 0; i < d; i++) k[i] = ds_random_normal(random);
    if (kind == 0 && other != NULL) {
        memcpy(k, other, d * sizeof *k);
        return;
    }
    if (kind == 1 && other != NULL) {
        for (size_t i = 0; i < d; i++) k[i] = -other[i];
        return;
    }
    if (kind == 2 && other != NULL) { /* nearly parallel */
        double angle = pow(10.0, -1.0 - 15.0 * ds_random_uniform(random));
        for (size_t i = 0; i < d; i++) k[i] = other[i] + angle * k[i];
    }
    if (kind == 3) {
        memset(k, 0, d * sizeof *k);
        return;
    }
    if (kind == 4) {
        memset(k, 0, d * sizeof *k);
        k[ds_random_below(random, d)] = 1.0; /* exactly unit */
        return;
    }
    normalise(k, d);
    if (kind == 5) { /* a short direction: |h| comparable with k_eps, or below */
        double length = pow(10.0, -8.0 * ds_random_uniform(random));
        for (size_t i = 0; i < d; i++) k[i] *= length;
    }
}

static double make_gate(bool plain, ds_random *random) {
    double tiny = pow(10.0, -16.0 * ds_random_uniform(random));
    switch (ds_random_below(random, 16)) {
    case 0:
        return 0.0;
    case 1:
        return 1.0;
    case 2:
        return 2.0;
    case 3:
        return tiny;
    case 4:
        return 1.0 - tiny;
    case 5:
        return 2.0 - tiny;
    case 6:
        return plain ? 1.0 : 1.0 + tiny;
    case 7:
        return plain ? 1.5 : 2.0 + ds_random_uniform(random);
    default:
        return 2.0 * ds_random_uniform(random);
    }
}

void make_delta_case(delta_case *out, size_t most_hidden, size_t most_sublayers, bool plain, ds_random *random) {
    size_t least_hidden = ds_random_below(random, 8) == 0 ? 1 : ds_min_size(most_hidden, most_sublayers);
    out->hidden = least_hidden + ds_random_below(random, most_hidden - least_hidden + 1);
    out->sublayers = ds_random_below(random, most_sublayers + 1);
    out->mult = ds_random_below(random, 4) == 0 ? 0.3 + 0.7 * ds_random_uniform(random) : 1.0;
    bool alike = ds_random_below(random, 8) == 0; /* equal gates: multiple eigenvalues */
    for (size_t s = 0; s < out->sublayers; s++) {
        make_direction(out->directions + s * out->hidden, out->directions, s, out->hidden, random);
        out->beta[s] = alike && s > 0 ? out->beta[0] : make_gate(plain, random);
        out->c[s] = out->mult * out->beta[s];
    }
}

/* Complex pairs of the product with the last gate at `beta`; SIZE_MAX on failure. */
static size_t count_pairs(delta_case *example, double beta, ds_product *product, ds_eigen *solver) {
    double core[CASE_SUBLAYERS * CASE_SUBLAYERS];
    ds_complex values[CASE_SUBLAYERS];
    size_t last = example->sublayers - 1, pairs = 0;
    example->beta[last] = beta;
    example->c[last] = example->mult * beta;
    if (ds_product_window(product, example->directions, example->c, 0, example->sublayers) != DS_OK) return SIZE_MAX;
    ds_product_core(core, product);
    if (ds_eigenvalues_approx(values, NULL, core, ds_product_order(product), solver) != DS_OK) return SIZE_MAX;
    for (size_t i = 0; i < ds_product_order(product); i++) pairs += values[i].im > 0.0;
    return pairs;
}

bool make_defective_case(delta_case *out, size_t most_hidden, size_t most_sublayers, ds_random *random) {
    ds_product *product = NULL;
    ds_eigen *solver = NULL;
    bool found = false;
    make_delta_case(out, most_hidden, most_sublayers, true, random);
    if (out->sublayers < 2) return false;
    if (ds_product_new(&product, out->hidden, out->sublayers) == DS_OK && ds_eigen_new(&solver, out->sublayers) == DS_OK) {
        double low = 0.0, middle = 1.0, high = 2.0;
        size_t at_low = count_pairs(out, low, product, solver);
        found = at_low != count_pairs(out, high, product, solver);
        while (found && low < middle && middle < high) {
            bool same = count_pairs(out, middle, product, solver) == at_low;
            *(same ? &low : &high) = middle;
            middle = low + 0.5 * (high - low);
        }
        (void)count_pairs(out, high, product, solver);
    }
    ds_product_free(&product);
    ds_eigen_free(&solver);
    return found;
}

void multiply_densely(double *matrix, const delta_case *example, size_t first, size_t last) {
    size_t d = example->hidden;
    for (size_t i = 0; i < d * d; i++) matrix[i] = i % (d + 1) == 0 ? 1.0 : 0.0;
    for (size_t s = first; s < last; s++) {
        const double *k = example->directions + s * d;
        for (size_t j = 0; j < d; j++) {
            double w = 0.0;
            for (size_t i = 0; i < d; i++) w += k[i] * matrix[i * d + j];
            for (size_t i = 0; i < d; i++) matrix[i * d + j] -= example->c[s] * k[i] * w;
        }
    }
}
