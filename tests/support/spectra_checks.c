#include "spectra_checks.h"

#include <float.h>
#include <math.h>

#include <acb_mat.h>
#include <arb_mat.h>

#include "support.h"

enum { BITS = 256 };

/* product (d,d) <- A_{S-1} ... A_0 from the exact numbers, one row at a time from the definition. */
static void multiply_exactly(arb_mat_t product, const delta_case *example) {
    slong d = (slong)example->hidden;
    arb_mat_t factor;
    arb_t c, m;
    arb_mat_init(factor, d, d);
    arb_init(c);
    arb_init(m);
    arb_mat_one(product);
    for (size_t s = 0; s < example->sublayers; s++) {
        const double *k = example->directions + s * example->hidden;
        arb_set_d(c, example->beta[s]);
        arb_set_d(m, example->mult);
        arb_mul(c, c, m, BITS);
        for (slong i = 0; i < d * d; i++) {
            arb_ptr entry = arb_mat_entry(factor, i / d, i % d);
            arb_set_d(entry, k[i / d]);
            arb_set_d(m, k[i % d]);
            arb_mul(entry, entry, m, BITS);
            arb_mul(entry, entry, c, BITS);
            arb_neg(entry, entry);
            if (i / d == i % d) arb_add_ui(entry, entry, 1, BITS);
        }
        arb_mat_mul(product, factor, product, BITS);
    }
    arb_mat_clear(factor);
    arb_clear(c);
    arb_clear(m);
}

/* Proved by Arb's own method; false when it finds no enclosure. */
static bool reference_eigenvalues(acb_ptr values, const arb_mat_t matrix) {
    slong d = arb_mat_nrows(matrix);
    acb_mat_t complex_matrix, vectors;
    acb_mat_init(complex_matrix, d, d);
    acb_mat_init(vectors, d, d);
    acb_mat_set_arb_mat(complex_matrix, matrix);
    (void)acb_mat_approx_eig_qr(values, NULL, vectors, complex_matrix, NULL, 0, BITS);
    bool found = acb_mat_eig_multiple(values, complex_matrix, values, vectors, BITS);
    acb_mat_clear(complex_matrix);
    acb_mat_clear(vectors);
    return found;
}

/* Whether the two closed regions have a point in common, by mid-point distance with 77 digits rounded outwards to double. */
static bool meets(const ds_disc *disc, const acb_t value) {
    acb_t difference;
    mag_t distance;
    arf_t radius;
    acb_init(difference);
    mag_init(distance);
    arf_init(radius);
    acb_set_d_d(difference, disc->centre.re, disc->centre.im);
    acb_sub(difference, difference, value, BITS);
    acb_get_mag_lower(distance, difference);
    arf_set_mag(radius, distance);
    bool result = arf_cmp_d(radius, disc->radius) <= 0;
    acb_clear(difference);
    mag_clear(distance);
    arf_clear(radius);
    return result;
}

static bool interval_meets(const ds_interval *interval, const arb_t value) {
    arb_t difference;
    arf_t distance;
    arb_init(difference);
    arf_init(distance);
    arb_set_d(difference, interval->value);
    arb_sub(difference, difference, value, BITS);
    arb_get_abs_lbound_arf(distance, difference, BITS);
    bool result = arf_cmp_d(distance, interval->radius) <= 0;
    arb_clear(difference);
    arf_clear(distance);
    return result;
}

/* The d - r ones that a certificate leaves out are extra where its region holds 1. A reference ball so wide (a cluster of its
 * own) that it meets several regions proves nothing about how many each holds: such cases are only checked for coverage. */
static bool count_eigenvalues(const ds_certificate *found, acb_srcptr values, size_t d) {
    size_t total = 0, holds[CASE_SUBLAYERS] = {0};
    const ds_disc one = {{1.0, 0.0}, 0.0, 1};
    bool plain = true;
    for (size_t j = 0; j < d; j++) {
        size_t hits = 0;
        for (size_t i = 0; i < found->eigenvalue_count; i++) {
            bool hit = meets(&found->eigenvalues[i], values + j);
            holds[i] += hit;
            hits += hit;
        }
        bool left_out = d > found->order && meets(&one, values + j);
        if (hits == 0 && !left_out) fail_msg("an eigenvalue is in no disc");
        plain = plain && (hits == 1 || (hits == 0 && left_out));
    }
    acb_t unit;
    acb_init(unit);
    acb_one(unit);
    for (size_t i = 0; i < found->eigenvalue_count; i++) {
        const ds_disc *disc = &found->eigenvalues[i];
        size_t extra = meets(disc, unit) ? d - found->order : 0;
        total += disc->multiplicity;
        if (plain) assert_int_equal(holds[i], disc->multiplicity + extra);
        for (size_t j = 0; j < i; j++)
            assert_true(hypot(disc->centre.re - found->eigenvalues[j].centre.re,
                              disc->centre.im - found->eigenvalues[j].centre.im) > disc->radius + found->eigenvalues[j].radius);
    }
    acb_clear(unit);
    assert_int_equal(total, found->order);
    return plain;
}

static bool count_singular_values(const ds_certificate *found, acb_srcptr squares, size_t d) {
    size_t total = 0, holds[CASE_SUBLAYERS] = {0};
    const ds_interval one = {1.0, 0.0, 1};
    bool plain = true;
    arb_t value;
    arb_init(value);
    for (size_t j = 0; j < d; j++) {
        size_t hits = 0;
        arb_sqrtpos(value, acb_realref(squares + j), BITS);
        for (size_t i = 0; i < found->singular_value_count; i++) {
            bool hit = interval_meets(&found->singular_values[i], value);
            holds[i] += hit;
            hits += hit;
        }
        bool left_out = d > found->order && interval_meets(&one, value);
        if (hits == 0 && !left_out) fail_msg("a singular value is in no interval");
        plain = plain && (hits == 1 || (hits == 0 && left_out));
    }
    arb_one(value);
    for (size_t i = 0; i < found->singular_value_count; i++) {
        const ds_interval *interval = &found->singular_values[i];
        total += interval->multiplicity;
        if (plain)
            assert_int_equal(holds[i], interval->multiplicity + (interval_meets(interval, value) ? d - found->order : 0));
        assert_true(i == 0 || interval[-1].value + interval[-1].radius < interval->value - interval->radius);
    }
    arb_clear(value);
    assert_int_equal(total, found->order);
    return plain;
}

/* A verdict never contradicts the reference; `above` and `below`: the reference proves a value above, all values at most, 1. */
static void check_verdict(ds_verdict verdict, bool above, bool below, spectra_seen *seen) {
    if (above) assert_true(verdict != DS_PROVED);
    if (below) assert_true(verdict != DS_REFUTED);
    seen->undecided += verdict == DS_UNDECIDED;
}

static void check_verdicts(const ds_certificate *found, acb_srcptr values, acb_srcptr squares, size_t d, spectra_seen *seen) {
    bool above = false, below = true, expands = false, contracts = true;
    arb_t modulus, one;
    arb_init(modulus);
    arb_init(one);
    arb_one(one);
    for (size_t j = 0; j < d; j++) {
        acb_abs(modulus, values + j, BITS);
        above = above || arb_gt(modulus, one);
        below = below && arb_le(modulus, one);
        expands = expands || arb_gt(acb_realref(squares + j), one);
        contracts = contracts && arb_le(acb_realref(squares + j), one);
    }
    check_verdict(found->eigenvalues_in_unit_disk, above, below, seen);
    check_verdict(found->contraction, expands, contracts, seen);
    check_verdict(found->radius_below_one, above, false, seen);
    assert_true(found->invertible != DS_UNDECIDED);
    arb_clear(modulus);
    arb_clear(one);
}

/* log |det| and ||P - I||_F from the dense product. */
static void check_scalars(const ds_certificate *found, arb_mat_t product) {
    arb_t value;
    arb_init(value);
    arb_mat_det(value, product, BITS);
    if (found->invertible == DS_PROVED) {
        arb_abs(value, value);
        arb_log(value, value, BITS);
        if (arb_is_finite(value)) assert_true(interval_meets(&found->log_abs_det, value));
    } else {
        assert_true(arb_contains_zero(value) && isinf(found->log_abs_det.value));
    }
    for (slong i = 0; i < arb_mat_nrows(product); i++)
        arb_sub_ui(arb_mat_entry(product, i, i), arb_mat_entry(product, i, i), 1, BITS);
    arb_mat_frobenius_norm(value, product, BITS);
    assert_true(interval_meets(&found->frobenius_defect, value));
    arb_clear(value);
}

double interval_unit(size_t order, double norm) {
    double n = (double)order;
    return n * sqrt(n) * DBL_EPSILON * fmax(1, norm);
}

void check_certificate(const delta_case *example, ds_certifier *certifier, spectra_seen *seen) {
    size_t d = example->hidden;
    ds_certificate found;
    expect_ok(ds_product_enclose(&found, example->directions, example->beta, example->mult, example->sublayers, d, certifier));
    arb_mat_t product, transposed;
    acb_ptr values = _acb_vec_init((slong)d), squares = _acb_vec_init((slong)d);
    arb_mat_init(product, (slong)d, (slong)d);
    arb_mat_init(transposed, (slong)d, (slong)d);
    multiply_exactly(product, example);
    arb_mat_transpose(transposed, product);
    arb_mat_mul(transposed, transposed, product, BITS);
    bool eigenvalues = reference_eigenvalues(values, product), singular_values = reference_eigenvalues(squares, transposed);
    bool counted = eigenvalues && count_eigenvalues(&found, values, d);
    counted = singular_values && count_singular_values(&found, squares, d) && counted;
    seen->counted += counted;
    if (eigenvalues && singular_values) check_verdicts(&found, values, squares, d, seen);
    check_scalars(&found, product);
    for (size_t i = 0; i < found.eigenvalue_count; i++) {
        seen->disc = ds_max_real(seen->disc, found.eigenvalues[i].radius);
        seen->clusters += found.eigenvalues[i].multiplicity > 1;
    }
    if (found.singular_value_count > 0) {
        const ds_interval *largest = &found.singular_values[found.singular_value_count - 1];
        double unit = interval_unit(found.order, largest->value + largest->radius);
        for (size_t i = 0; i < found.singular_value_count; i++)
            seen->interval = ds_max_real(seen->interval, found.singular_values[i].radius / unit);
    }
    _acb_vec_clear(values, (slong)d);
    _acb_vec_clear(squares, (slong)d);
    arb_mat_clear(product);
    arb_mat_clear(transposed);
}

void check_estimates(const delta_case *example, ds_certifier *certifier, ds_product_solver *solver, spectra_seen *seen) {
    ds_product *product = NULL;
    ds_certificate exact;
    ds_product_summary summary;
    ds_complex values[CASE_SUBLAYERS];
    double bounds[CASE_SUBLAYERS], singular[CASE_SUBLAYERS], singular_bound;
    expect_ok(ds_product_new(&product, example->hidden, CASE_SUBLAYERS));
    expect_ok(ds_product_window(product, example->directions, example->c, 0, example->sublayers));
    expect_ok(ds_product_spectrum_estimate(values, bounds, singular, &singular_bound, &summary, product, solver));
    expect_ok(ds_product_enclose(&exact, example->directions, example->c, 1.0, example->sublayers, example->hidden, certifier));
    size_t order = ds_product_order(product), at = 0;
    assert_int_equal(order, exact.order);
    for (size_t i = 0; i < order; i++) {
        double excess = INFINITY;
        for (size_t j = 0; j < exact.eigenvalue_count; j++)
            excess = fmin(excess,
                          hypot(values[i].re - exact.eigenvalues[j].centre.re, values[i].im - exact.eigenvalues[j].centre.im) -
                              exact.eigenvalues[j].radius);
        expect_close(fmax(excess, 0.0), 0.0, bounds[i]);
        seen->bound = fmax(seen->bound, bounds[i]);
    }
    for (size_t j = 0; j < exact.eigenvalue_count; j++) {
        size_t claims = 0;
        for (size_t i = 0; i < order; i++)
            claims += hypot(values[i].re - exact.eigenvalues[j].centre.re, values[i].im - exact.eigenvalues[j].centre.im) <=
                      bounds[i] + exact.eigenvalues[j].radius;
        assert_true(claims >= exact.eigenvalues[j].multiplicity);
    }
    for (size_t j = 0; j < exact.singular_value_count; j++) {
        for (size_t m = 0; m < exact.singular_values[j].multiplicity; m++, at++)
            expect_close(singular[at], exact.singular_values[j].value, singular_bound + exact.singular_values[j].radius);
    }
    expect_close(summary.determinant_error, 0.0, summary.determinant_tolerance);
    expect_close(summary.norm_excess, 0.0, summary.norm_tolerance);
    ds_product_free(&product);
}
