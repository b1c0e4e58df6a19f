/* Eigenvalues and singular values of a product, from its core, with the checks made on every run. */
#include <math.h>
#include <stdlib.h>

#include "product.h"

struct ds_product_solver {
    size_t order, sublayers;
    double *core;            /* (n,n) */
    double *triangle;        /* (S,n) R^T with its zeros */
    double *singular;        /* (n) */
    ds_complex *eigenvalues; /* (n) */
    ds_eigen *eigen;
    ds_svd *svd;
};

ds_status ds_product_solver_new(ds_product_solver **out, size_t hidden, size_t sublayers) {
    ds_status status = DS_OK;
    ds_product_solver *w = NULL;
    size_t order = ds_min_size(hidden, sublayers);
    *out = NULL;
    DS_NEW(w, 1);
    w->order = order;
    w->sublayers = sublayers;
    DS_TRY(ds_eigen_new(&w->eigen, order));
    DS_TRY(ds_svd_new(&w->svd, sublayers, order));
    DS_NEW_ARRAY(w->core, order * order);
    DS_NEW_ARRAY(w->triangle, sublayers * order);
    DS_NEW_ARRAY(w->singular, order);
    DS_NEW_ARRAY(w->eigenvalues, order);
done:
    if (status != DS_OK) ds_product_solver_free(&w);
    *out = w;
    return status;
}

void ds_product_solver_free(ds_product_solver **solver) {
    ds_product_solver *w = *solver;
    if (w == NULL) return;
    ds_eigen_free(&w->eigen);
    ds_svd_free(&w->svd);
    free(w->core);
    free(w->triangle);
    free(w->singular);
    free(w->eigenvalues);
    free(w);
    *solver = NULL;
}

/* Each sigma is known to `error`, its logarithm to error / (sigma - error); the sum adds its own roundings. */
static void check_determinant(ds_product_summary *summary, const ds_product *p, const double *singular, double error) {
    size_t order = ds_product_order(p);
    double sum = 0.0, moduli = 0.0, tolerance = p->log_error;
    summary->determinant_error = summary->determinant_tolerance = 0.0;
    for (size_t i = 0; i < order; i++) {
        if (!(singular[i] > 2.0 * error)) return; /* its logarithm has no correct digit */
        sum += log(singular[i]);
        moduli += fabs(log(singular[i]));
        tolerance += error / (singular[i] - error);
    }
    summary->determinant_error = fabs(sum - p->log_abs_det);
    summary->determinant_tolerance = tolerance + ((double)order + 2.0) * ds_unit_roundoff(DS_F64) * moduli;
}

static void summarise(ds_product_summary *summary, const ds_product *p, const ds_complex *eigenvalues, double departure,
                      const double *singular, double error) {
    size_t order = ds_product_order(p);
    summary->log_abs_det = p->log_abs_det;
    summary->log_abs_det_bound = p->log_error;
    summary->frobenius_defect = ds_product_frobenius_defect(p);
    summary->mean_squared_singular_value = ds_product_mean_square(p);
    summary->departure_from_normality = departure;
    summary->complex_share = ds_complex_share(eigenvalues, order);
    summary->span_radius = summary->spectral_radius = ds_spectral_radius(eigenvalues, order);
    summary->span_norm2 = summary->norm2 = order > 0 ? singular[order - 1] : 0.0;
    summary->smallest = order > 0 ? singular[0] : 1.0;
    if (p->hidden > order) {
        summary->spectral_radius = fmax(summary->spectral_radius, 1.0);
        summary->norm2 = fmax(summary->norm2, 1.0);
        summary->smallest = fmin(summary->smallest, 1.0);
    }
    summary->norm_excess = p->contracts ? fmax(0.0, summary->norm2 - 1.0) : 0.0;
    summary->norm_tolerance = p->contracts ? error : 0.0;
    check_determinant(summary, p, singular, error);
}

static ds_status check_size(const ds_product *p, const ds_product_solver *w) {
    size_t order = ds_product_order(p);
    if (order > w->order || p->depth > w->sublayers)
        return ds_fail(DS_ERR_USAGE, "a product of %zu sublayers and order %zu, expected at most the solver's %zu and %zu",
                       p->depth, order, w->sublayers, w->order);
    return DS_OK;
}

ds_status ds_product_spectrum_estimate(ds_complex *eigenvalues, double *bounds, double *singular_values, double *singular_bound,
                                       ds_product_summary *summary, const ds_product *p, ds_product_solver *w) {
    ds_status status = DS_OK;
    size_t order = ds_product_order(p);
    double departure = 0.0, rounding = ds_product_rounding(p);
    DS_TRY(check_size(p, w));
    if (eigenvalues == NULL) eigenvalues = w->eigenvalues;
    if (singular_values == NULL) singular_values = w->singular;
    ds_product_core(w->core, p);
    if (bounds == NULL || summary != NULL) DS_TRY(ds_eigenvalues_approx(eigenvalues, &departure, w->core, order, w->eigen));
    if (bounds != NULL) DS_TRY(ds_eigenvalues_estimate(eigenvalues, bounds, w->core, rounding, order, w->eigen));
    DS_TRY(ds_singular_values_approx(singular_values, w->core, order, order, w->svd));
    double largest = order > 0 ? singular_values[order - 1] : 0.0;
    double error = rounding + ds_singular_values_estimate(largest, order, order);
    if (singular_bound != NULL) *singular_bound = error;
    if (summary != NULL) summarise(summary, p, eigenvalues, departure, singular_values, error);
done:
    return status;
}

ds_status ds_product_directions_approx(double *singular, const ds_product *p, ds_product_solver *w) {
    ds_status status = DS_OK;
    size_t order = ds_product_order(p);
    DS_TRY(check_size(p, w));
    for (size_t s = 0; s < p->depth; s++) {
        for (size_t i = 0; i < order; i++) w->triangle[s * order + i] = i <= s ? p->triangle[s * p->stride + i] : 0.0;
    }
    DS_TRY(ds_singular_values_approx(singular, w->triangle, p->depth, order, w->svd));
done:
    return status;
}
