/* Proved singular value intervals of a ball matrix: E = U^T M V is nearly diagonal for LAPACK's U and V, orthogonalised. */
#include <math.h>

#include "enclose.h"

ds_interval ds_arb_interval(const arb_t x) {
    ds_interval interval = {arf_get_d(arb_midref(x), ARF_RND_NEAR), INFINITY, 1};
    if (!isfinite(interval.value)) {
        interval.value = 0.0;
        return interval;
    }
    arb_t difference;
    mag_t radius;
    arb_init(difference);
    mag_init(radius);
    arb_set_d(difference, interval.value);
    arb_sub(difference, x, difference, ARF_PREC_EXACT);
    arb_get_mag(radius, difference);
    interval.radius = ds_mag_upper(radius);
    arb_clear(difference);
    mag_clear(radius);
    return interval;
}

static void set_doubles(arb_mat_t target, const double *source) {
    slong n = arb_mat_nrows(target);
    for (slong i = 0; i < n * n; i++) arb_set_d(arb_mat_entry(target, i / n, i % n), source[i]);
}

/* U <- U (3 I - U^T U) / 2, the Newton-Schulz step towards the nearest orthogonal matrix, without its error bounds: U is
 * whatever comes out. Then delta <- upper bound of ||U^T U - I||_F: the squares of U's singular values are within delta of
 * 1. */
static void orthogonalise(mag_t delta, arb_mat_t u, slong bits) {
    slong n = arb_mat_nrows(u);
    arb_mat_t transposed, square;
    arb_t half;
    arb_mat_init(transposed, n, n);
    arb_mat_init(square, n, n);
    arb_init(half);
    arb_set_d(half, 0.5);
    for (int step = 0; step < 2; step++) {
        arb_mat_transpose(transposed, u);
        arb_mat_mul(square, transposed, u, bits);
        for (slong i = 0; i < n; i++) arb_sub_ui(arb_mat_entry(square, i, i), arb_mat_entry(square, i, i), 1, bits);
        if (step == 1) break;
        arb_mat_scalar_mul_arb(square, square, half, bits);
        arb_mat_mul(square, u, square, bits);
        arb_mat_sub(u, u, square, bits);
        arb_mat_get_mid(u, u);
    }
    arb_mat_bound_frobenius_norm(delta, square);
    arb_mat_clear(transposed);
    arb_mat_clear(square);
    arb_clear(half);
}

/* factor <- the interval [1/sqrt((1 + a)(1 + b)), 1/sqrt((1 - a)(1 - b))]: sigma_i(U^-T E V^-1) / sigma_i(E) is in it. */
static void find_factor(arb_t factor, const mag_t a, const mag_t b, slong bits) {
    arb_t first, second;
    arb_init(first);
    arb_init(second);
    arb_one(first);
    arb_one(second);
    mag_set(arb_radref(first), a); /* 1 +- a */
    mag_set(arb_radref(second), b);
    arb_mul(factor, first, second, bits);
    arb_rsqrt(factor, factor, bits); /* not finite when a or b reaches 1: the result is then an infinite radius */
    arb_clear(first);
    arb_clear(second);
}

/* error <- upper bound of ||E - diag(d)||_F, d_i the midpoint of E_ii. */
static void split_diagonal(mag_t error, const arb_mat_t e) {
    slong n = arb_mat_nrows(e);
    arb_mat_t rest;
    arb_mat_init(rest, n, n);
    arb_mat_set(rest, e);
    for (slong i = 0; i < n; i++) arf_zero(arb_midref(arb_mat_entry(rest, i, i)));
    arb_mat_bound_frobenius_norm(error, rest);
    arb_mat_clear(rest);
}

/* radius <- bound of |sigma - d_i| for the singular value of E that Weyl pairs with |d_i|: `error`, or, where the pairing
 * isolates it, Kato and Temple's error^2 / gap beside the radius of E_ii. They speak of the symmetric (0 E; E^T 0), whose
 * eigenvalues are +-sigma: for the vector (e_i, e_i) the Rayleigh quotient is E_ii, the residual at most `error`, and the
 * other eigenvalues are within `error` of -|d_i| and +-|d_j|. */
static void bound_value(mag_t radius, const arb_mat_t e, slong i, const mag_t error) {
    arf_t difference;
    mag_t gap, room;
    arf_init(difference);
    mag_init(gap);
    mag_init(room);
    arf_srcptr d = arb_midref(arb_mat_entry(e, i, i));
    arf_add(difference, d, d, ARF_PREC_EXACT, ARF_RND_DOWN);
    arf_get_mag_lower(gap, difference);
    for (slong j = 0; j < arb_mat_nrows(e); j++) {
        if (j == i) continue;
        arf_srcptr other = arb_midref(arb_mat_entry(e, j, j));
        arf_sub(difference, d, other, ARF_PREC_EXACT, ARF_RND_DOWN);
        arf_get_mag_lower(room, difference);
        mag_min(gap, gap, room);
        arf_add(difference, d, other, ARF_PREC_EXACT, ARF_RND_DOWN);
        arf_get_mag_lower(room, difference);
        mag_min(gap, gap, room);
    }
    mag_mul_2exp_si(room, error, 1); /* E_ii and the other eigenvalue may each be off by `error` */
    mag_sub_lower(gap, gap, room);
    mag_mul(room, error, error);
    mag_div(room, room, gap); /* infinite without a gap */
    mag_add(room, room, arb_radref(arb_mat_entry(e, i, i)));
    mag_min(radius, error, room);
    arf_clear(difference);
    mag_clear(gap);
    mag_clear(room);
}

/* Both ends of an interval, each rounded by at most half an ulp and moved one outwards. */
static double low_end(const ds_interval *x) { return nextafter(x->value - x->radius, -INFINITY); }
static double high_end(const ds_interval *x) { return nextafter(x->value + x->radius, INFINITY); }

static ds_interval join(const ds_interval *a, const ds_interval *b) {
    double low = fmin(low_end(a), low_end(b)), high = fmax(high_end(a), high_end(b)), middle = low + 0.5 * (high - low);
    return (ds_interval){middle, nextafter(fmax(high - middle, middle - low), INFINITY), a->multiplicity + b->multiplicity};
}

/* Ascending; intervals that meet become one. */
static void sort_and_merge(ds_interval *intervals, size_t *count) {
    size_t n = *count;
    for (size_t i = 1; i < n; i++) {
        ds_interval interval = intervals[i];
        size_t at = i;
        for (; at > 0 && intervals[at - 1].value > interval.value; at--) intervals[at] = intervals[at - 1];
        intervals[at] = interval;
    }
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        ds_interval interval = intervals[i];
        for (; *count > 0 && !(high_end(&intervals[*count - 1]) < low_end(&interval)); --*count)
            interval = join(&intervals[*count - 1], &interval);
        intervals[(*count)++] = interval;
    }
}

ds_status ds_arb_singular_values(ds_interval *intervals, size_t *count, const arb_mat_t matrix, slong bits, ds_certifier *w) {
    ds_status status = DS_OK;
    slong n = arb_mat_nrows(matrix);
    arb_mat_t left, right, e;
    mag_t left_defect, right_defect, error, radius;
    arb_t factor, value;
    arb_mat_init(left, n, n);
    arb_mat_init(right, n, n);
    arb_mat_init(e, n, n);
    mag_init(left_defect);
    mag_init(right_defect);
    mag_init(error);
    mag_init(radius);
    arb_init(factor);
    arb_init(value);
    *count = 0;
    if (n == 0) goto done;
    ds_arb_middle(w->middle, matrix);
    DS_TRY(ds_singular_vectors_approx(w->values, w->left, w->right, w->middle, (size_t)n, (size_t)n, w->svd));
    set_doubles(left, w->left);
    set_doubles(right, w->right);
    orthogonalise(left_defect, left, bits);
    orthogonalise(right_defect, right, bits); /* V^T: a square V is as orthogonal as its transpose */
    find_factor(factor, left_defect, right_defect, bits);
    arb_mat_transpose(left, left);
    arb_mat_transpose(right, right);
    arb_mat_mul(e, left, matrix, bits);
    arb_mat_mul(e, e, right, bits);
    split_diagonal(error, e);
    for (slong i = 0; i < n; i++) {
        arb_set_arf(value, arb_midref(arb_mat_entry(e, i, i)));
        arb_abs(value, value);
        bound_value(radius, e, i, error);
        arb_add_error_mag(value, radius);
        arb_mul(value, value, factor, bits);
        intervals[(*count)++] = ds_arb_interval(value);
    }
    sort_and_merge(intervals, count);
done:
    arb_mat_clear(left);
    arb_mat_clear(right);
    arb_mat_clear(e);
    mag_clear(left_defect);
    mag_clear(right_defect);
    mag_clear(error);
    mag_clear(radius);
    arb_clear(factor);
    arb_clear(value);
    return status;
}
