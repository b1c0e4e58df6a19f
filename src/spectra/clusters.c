/* Eigenvalues that no eigenvectors tell apart: a matrix with the same characteristic polynomial whose diagonal is near them. */
#include "enclose.h"

/* cluster (n) <- smallest member of i's chain of roots nearer to one another than `reach`. */
static void chain(size_t *cluster, acb_srcptr roots, size_t n, const arf_t reach, slong bits) {
    acb_t difference;
    arf_t length;
    acb_init(difference);
    arf_init(length);
    for (size_t i = 0; i < n; i++) cluster[i] = i;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            acb_sub(difference, roots + i, roots + j, bits);
            acb_get_abs_ubound_arf(length, difference, bits);
            if (cluster[i] == cluster[j] || arf_cmp(length, reach) > 0) continue;
            size_t keep = ds_min_size(cluster[i], cluster[j]), drop = ds_max_size(cluster[i], cluster[j]);
            for (size_t l = 0; l < n; l++) {
                if (cluster[l] == drop) cluster[l] = keep;
            }
        }
    }
    acb_clear(difference);
    arf_clear(length);
}

/* points (n) <- each root, or, for a cluster of m, the corners of a regular m-gon of radius `spacing` about its mean. So do the
 * roots of a perturbed polynomial lie about a root of multiplicity m, and their mean is as good as a simple root. */
static void place(acb_ptr points, acb_srcptr roots, const size_t *cluster, size_t n, const arb_t spacing, slong bits) {
    acb_t mean, corner;
    acb_init(mean);
    acb_init(corner);
    for (size_t first = 0; first < n; first++) {
        size_t m = 0, at = 0;
        acb_zero(mean);
        for (size_t i = 0; i < n; i++) {
            if (cluster[i] != first) continue;
            acb_add(mean, mean, roots + i, bits);
            m++;
        }
        if (m == 0) continue;
        acb_div_ui(mean, mean, m, bits);
        for (size_t i = 0; i < n; i++) {
            if (cluster[i] != first) continue;
            acb_unit_root(corner, m, bits);
            acb_pow_ui(corner, corner, at++, bits);
            acb_mul_arb(corner, corner, spacing, bits);
            if (m == 1) acb_zero(corner);
            acb_add(points + i, mean, corner, bits);
            acb_get_mid(points + i, points + i);
        }
    }
    acb_clear(mean);
    acb_clear(corner);
}

void ds_cluster_matrix(acb_mat_t b, const arb_poly_t polynomial, acb_srcptr roots, const arf_t reach, const arf_t spacing,
                       slong bits) {
    size_t n = (size_t)acb_mat_nrows(b), *cluster = flint_malloc(n * sizeof *cluster);
    acb_ptr points = _acb_vec_init((slong)n);
    arb_t radius;
    acb_t weight, factor;
    arb_init(radius);
    acb_init(weight);
    acb_init(factor);
    arb_set_arf(radius, spacing);
    chain(cluster, roots, n, reach, bits);
    place(points, roots, cluster, n, radius, bits);
    for (size_t j = 0; j < n; j++) {
        arb_poly_evaluate_acb(weight, polynomial, points + j, bits);
        for (size_t i = 0; i < n; i++) {
            if (i == j) continue;
            acb_sub(factor, points + j, points + i, bits);
            acb_div(weight, weight, factor, bits); /* not finite when two points are one */
        }
        for (size_t i = 0; i < n; i++) acb_neg(acb_mat_entry(b, j, i), weight);
        acb_sub(acb_mat_entry(b, j, j), points + j, weight, bits);
    }
    flint_free(cluster);
    _acb_vec_clear(points, (slong)n);
    arb_clear(radius);
    acb_clear(weight);
    acb_clear(factor);
}
