/* Certificates of products of delta operators: enclosures and verdicts. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "enclose.h"

enum { FIRST_BITS = 192, MOST_BITS = 1536 };

const char *ds_verdict_name(ds_verdict verdict) {
    static const char *const names[] = {"undecided", "proved", "refuted"};
    return names[verdict];
}

ds_status ds_certifier_new(ds_certifier **out, size_t hidden, size_t sublayers) {
    ds_status status = DS_OK;
    ds_certifier *w = NULL;
    size_t n = ds_min_size(hidden, sublayers);
    *out = NULL;
    if (hidden == 0) return ds_fail(DS_ERR_USAGE, "a certifier for 0 features, expected at least 1");
    DS_NEW(w, 1);
    DS_TRY(ds_eigen_new(&w->eigen, n));
    DS_TRY(ds_svd_new(&w->svd, n, n));
    DS_NEW_ARRAY(w->middle, n * n);
    DS_NEW_ARRAY(w->left, n * n);
    DS_NEW_ARRAY(w->right, n * n);
    DS_NEW_ARRAY(w->values, n);
    DS_NEW_ARRAY(w->vectors, n * n);
    DS_NEW_ARRAY(w->roots, n);
    DS_NEW_ARRAY(w->discs, n);
    DS_NEW_ARRAY(w->again, n);
    DS_NEW_ARRAY(w->intervals, n);
    w->hidden = hidden;
    w->sublayers = sublayers;
    w->order = n;
    w->directions = _arb_vec_init((slong)(sublayers * hidden));
    w->c = _arb_vec_init((slong)sublayers);
    w->b = _arb_vec_init((slong)sublayers);
done:
    if (status != DS_OK) ds_certifier_free(&w);
    *out = w;
    return status;
}

void ds_certifier_free(ds_certifier **certifier) {
    ds_certifier *w = *certifier;
    if (w == NULL) return;
    if (w->directions != NULL) _arb_vec_clear(w->directions, (slong)(w->sublayers * w->hidden));
    if (w->c != NULL) _arb_vec_clear(w->c, (slong)w->sublayers);
    if (w->b != NULL) _arb_vec_clear(w->b, (slong)w->sublayers);
    ds_eigen_free(&w->eigen);
    ds_svd_free(&w->svd);
    free(w->middle);
    free(w->left);
    free(w->right);
    free(w->values);
    free(w->vectors);
    free(w->roots);
    free(w->discs);
    free(w->again);
    free(w->intervals);
    free(w);
    *certifier = NULL;
}

/* What the exact b_s = m beta_s |k_s|^2 say by themselves. */
typedef struct gates {
    bool contract;   /* every b_s in [0,2] */
    bool strict;     /* every b_s in (0,2), or k_s = 0 */
    bool orthogonal; /* every b_s is 0 or 2, some k_s is not 0 */
    bool invertible; /* no b_s is 1 */
} gates;

static gates judge_gates(const ds_certifier *w, size_t sublayers, size_t hidden) {
    gates g = {true, true, true, true};
    bool moves = false;
    for (size_t s = 0; s < sublayers; s++) {
        const arf_struct *b = arb_midref(w->b + s);
        int low = arf_sgn(b), high = arf_cmp_si(b, 2);
        bool zero = _arb_vec_is_zero(w->directions + s * hidden, (slong)hidden);
        g.contract = g.contract && low >= 0 && high <= 0;
        g.strict = g.strict && (zero || (low > 0 && high < 0));
        g.orthogonal = g.orthogonal && (low == 0 || high == 0);
        moves = moves || !zero;
        g.invertible = g.invertible && arf_cmp_si(b, 1) != 0;
    }
    g.orthogonal = g.orthogonal && moves;
    return g;
}

static ds_interval enclose_log_abs_det(const ds_certifier *w, size_t sublayers, bool invertible) {
    if (!invertible) return (ds_interval){-INFINITY, 0.0, 1};
    arb_t sum, term;
    arb_init(sum);
    arb_init(term);
    for (size_t s = 0; s < sublayers; s++) {
        arb_sub_ui(term, w->b + s, 1, ARF_PREC_EXACT);
        arb_abs(term, term);
        arb_log(term, term, FIRST_BITS);
        arb_add(sum, sum, term, FIRST_BITS);
    }
    ds_interval interval = ds_arb_interval(sum);
    arb_clear(sum);
    arb_clear(term);
    return interval;
}

static ds_interval enclose_frobenius_defect(const arb_mat_t core, slong bits) {
    arb_mat_t defect;
    arb_t norm;
    slong n = arb_mat_nrows(core);
    arb_mat_init(defect, n, n);
    arb_init(norm);
    arb_mat_set(defect, core);
    for (slong i = 0; i < n; i++) arb_sub_ui(arb_mat_entry(defect, i, i), arb_mat_entry(defect, i, i), 1, bits);
    arb_mat_frobenius_norm(norm, defect, bits);
    ds_interval interval = ds_arb_interval(norm);
    arb_mat_clear(defect);
    arb_clear(norm);
    return interval;
}

/* Bounds of |lambda| over a disc: hypot errs by less than 1 ulp, the sum by half of one. */
static double modulus_upper(const ds_disc *disc) {
    double modulus = hypot(disc->centre.re, disc->centre.im) * (1.0 + 2.0 * DBL_EPSILON);
    return nextafter(nextafter(modulus, INFINITY) + disc->radius, INFINITY);
}
static double modulus_lower(const ds_disc *disc) {
    double modulus = hypot(disc->centre.re, disc->centre.im) * (1.0 - 2.0 * DBL_EPSILON);
    return nextafter(nextafter(modulus, 0.0) - disc->radius, -INFINITY);
}

static ds_verdict decide(bool proved, bool refuted) { return proved ? DS_PROVED : refuted ? DS_REFUTED : DS_UNDECIDED; }

/* The gates' theorems first; what they leave open, the enclosures may settle. */
static void judge(ds_certificate *out, gates g) {
    bool inside = true, strictly = true, outside = false, contracts = true, expands = false;
    for (size_t i = 0; i < out->eigenvalue_count; i++) {
        double upper = modulus_upper(&out->eigenvalues[i]), lower = modulus_lower(&out->eigenvalues[i]);
        inside = inside && upper <= 1.0;
        strictly = strictly && upper < 1.0;
        outside = outside || lower > 1.0;
    }
    for (size_t i = 0; i < out->singular_value_count; i++) {
        const ds_interval *sigma = &out->singular_values[i];
        contracts = contracts && nextafter(sigma->value + sigma->radius, INFINITY) <= 1.0;
        expands = expands || nextafter(sigma->value - sigma->radius, -INFINITY) > 1.0;
    }
    out->eigenvalues_in_unit_disk = decide(g.contract || inside, outside);
    out->contraction = decide(g.contract || contracts, expands || outside);
    out->radius_below_one = decide(g.strict || strictly, g.orthogonal || outside);
    out->invertible = g.invertible ? DS_PROVED : DS_REFUTED;
}

static double widest_entry(const arb_mat_t matrix) {
    double widest = 0.0;
    for (slong i = 0; i < arb_mat_nrows(matrix); i++) {
        for (slong j = 0; j < arb_mat_ncols(matrix); j++)
            widest = fmax(widest, ds_mag_upper(arb_radref(arb_mat_entry(matrix, i, j))));
    }
    return widest;
}

static ds_status load(ds_certifier *w, const double *directions, const double *beta, double mult, size_t sublayers,
                      size_t hidden) {
    if (hidden == 0 || hidden > w->hidden || sublayers > w->sublayers)
        return ds_fail(DS_ERR_USAGE, "a product of %zu sublayers on %zu features, expected at most %zu on 1 to %zu", sublayers,
                       hidden, w->sublayers, w->hidden);
    if (!isfinite(mult)) return ds_fail(DS_ERR_INPUT, "residual multiplier %g, expected a finite number", mult);
    for (size_t s = 0; s < sublayers; s++) {
        if (!isfinite(beta[s]))
            return ds_fail(DS_ERR_INPUT, "beta of sublayer %zu is %g, expected a finite number", s, beta[s]);
    }
    for (size_t i = 0; i < sublayers * hidden; i++) {
        if (!isfinite(directions[i]))
            return ds_fail(DS_ERR_INPUT, "direction of sublayer %zu: feature %zu is %g, expected a finite number", i / hidden,
                           i % hidden, directions[i]);
        arb_set_d(w->directions + i, directions[i]);
    }
    ds_exact_gates(w, beta, mult, sublayers, hidden);
    return DS_OK;
}

ds_status ds_product_enclose(ds_certificate *out, const double *directions, const double *beta, double mult, size_t sublayers,
                             size_t hidden, ds_certifier *w) {
    ds_status status = load(w, directions, beta, mult, sublayers, hidden);
    if (status != DS_OK) return status;
    size_t n = ds_min_size(sublayers, hidden);
    slong bits = FIRST_BITS;
    arb_mat_t core;
    arb_mat_init(core, (slong)n, (slong)n);
    ds_enclose_core(core, w, sublayers, hidden, bits);
    while (bits < MOST_BITS && !(widest_entry(core) <= 0x1p-60)) {
        bits *= 2;
        ds_enclose_core(core, w, sublayers, hidden, bits);
    }
    *out = (ds_certificate){.order = n, .eigenvalues = w->discs, .singular_values = w->intervals};
    DS_TRY(ds_arb_eigenvalues(w->discs, &out->eigenvalue_count, core, bits, w));
    double before = INFINITY, excess = ds_arb_excess(w->discs, out->eigenvalue_count, n, w);
    while (bits < MOST_BITS && excess > 1 && excess < before) { /* a cluster feels a root of the core's error */
        bits *= 2;
        ds_enclose_core(core, w, sublayers, hidden, bits);
        DS_TRY(ds_arb_eigenvalues(w->discs, &out->eigenvalue_count, core, bits, w));
        before = excess;
        excess = ds_arb_excess(w->discs, out->eigenvalue_count, n, w);
    }
    out->precision_bits = bits;
    DS_TRY(ds_arb_singular_values(w->intervals, &out->singular_value_count, core, bits, w));
    out->frobenius_defect = enclose_frobenius_defect(core, bits);
    gates g = judge_gates(w, sublayers, hidden);
    out->log_abs_det = enclose_log_abs_det(w, sublayers, g.invertible);
    judge(out, g);
done:
    arb_mat_clear(core);
    return status;
}

static ds_status load_matrix(arb_mat_t matrix, const double *source, size_t n, const ds_certifier *w) {
    if (n > w->order) return ds_fail(DS_ERR_USAGE, "a matrix of order %zu, expected at most the certifier's %zu", n, w->order);
    for (size_t i = 0; i < n * n; i++) {
        if (!isfinite(source[i]))
            return ds_fail(DS_ERR_INPUT, "%zu x %zu matrix: element [%zu][%zu] is %g, expected a finite number", n, n, i / n,
                           i % n, source[i]);
        arb_set_d(arb_mat_entry(matrix, i / n, i % n), source[i]);
    }
    return DS_OK;
}

ds_status ds_eigenvalues_enclose(ds_disc *discs, size_t *count, const double *matrix, size_t n, ds_certifier *w) {
    ds_status status = DS_OK;
    arb_mat_t exact;
    arb_mat_init(exact, (slong)n, (slong)n);
    DS_TRY(load_matrix(exact, matrix, n, w));
    DS_TRY(ds_arb_eigenvalues(discs, count, exact, FIRST_BITS, w));
done:
    arb_mat_clear(exact);
    return status;
}

ds_status ds_singular_values_enclose(ds_interval *intervals, size_t *count, const double *matrix, size_t n, ds_certifier *w) {
    ds_status status = DS_OK;
    arb_mat_t exact;
    arb_mat_init(exact, (slong)n, (slong)n);
    DS_TRY(load_matrix(exact, matrix, n, w));
    DS_TRY(ds_arb_singular_values(intervals, count, exact, FIRST_BITS, w));
done:
    arb_mat_clear(exact);
    return status;
}
