/* The core of a product of delta operators in balls: exact gates, Gram matrix, pivoted Cholesky factor, product. */
#include "enclose.h"

void ds_exact_gates(ds_certifier *w, const double *beta, double mult, size_t sublayers, size_t hidden) {
    arb_t factor;
    arb_init(factor);
    for (size_t s = 0; s < sublayers; s++) {
        arb_srcptr k = w->directions + s * hidden;
        arb_set_d(w->c + s, beta[s]);
        arb_set_d(factor, mult);
        arb_mul(w->c + s, w->c + s, factor, ARF_PREC_EXACT);
        arb_zero(factor);
        for (size_t i = 0; i < hidden; i++) arb_addmul(factor, k + i, k + i, ARF_PREC_EXACT);
        arb_mul(w->b + s, w->c + s, factor, ARF_PREC_EXACT);
    }
    arb_clear(factor);
}

/* Takes the row and column with the largest remaining diagonal entry to position `at`. */
static void pivot(arb_mat_t schur, arb_mat_t factor, size_t *order, size_t at, size_t n) {
    size_t best = at;
    for (size_t i = at + 1; i < n; i++) {
        if (arf_cmp(arb_midref(arb_mat_entry(schur, i, i)), arb_midref(arb_mat_entry(schur, best, best))) > 0) best = i;
    }
    arb_mat_swap_rows(schur, NULL, (slong)at, (slong)best);
    for (size_t i = 0; i < n; i++) arb_swap(arb_mat_entry(schur, i, at), arb_mat_entry(schur, i, best));
    arb_mat_swap_rows(factor, NULL, (slong)at, (slong)best);
    size_t swapped = order[at];
    order[at] = order[best];
    order[best] = swapped;
}

/* What is left of a positive semidefinite Schur complement S has a factor with rows of norm sqrt(S_ii). */
static void bound_rest(arb_mat_t factor, const arb_mat_t schur, size_t from, size_t n) {
    mag_t length;
    mag_init(length);
    for (size_t i = from; i < n; i++) {
        arb_get_mag(length, arb_mat_entry(schur, i, i));
        mag_sqrt(length, length);
        for (size_t j = from; j < n; j++) {
            arb_zero(arb_mat_entry(factor, i, j));
            mag_set(arb_radref(arb_mat_entry(factor, i, j)), length);
        }
    }
    mag_clear(length);
}

/* rows (n,n): row s is k_s in some orthonormal basis of a space that holds all directions. `schur` is overwritten. */
static void factor_gram(arb_mat_t rows, arb_mat_t schur, size_t n, slong bits) {
    arb_mat_t factor;
    size_t *order = flint_malloc((n + 1) * sizeof *order);
    arb_mat_init(factor, (slong)n, (slong)n);
    for (size_t i = 0; i < n; i++) order[i] = i;
    for (size_t at = 0; at < n; at++) {
        pivot(schur, factor, order, at, n);
        arb_ptr diagonal = arb_mat_entry(factor, at, at);
        if (!arb_is_positive(arb_mat_entry(schur, at, at))) {
            bound_rest(factor, schur, at, n);
            break;
        }
        arb_sqrt(diagonal, arb_mat_entry(schur, at, at), bits);
        for (size_t i = at + 1; i < n; i++) {
            arb_div(arb_mat_entry(factor, i, at), arb_mat_entry(schur, i, at), diagonal, bits);
            for (size_t j = at + 1; j <= i; j++) {
                arb_submul(arb_mat_entry(schur, i, j), arb_mat_entry(factor, i, at), arb_mat_entry(factor, j, at), bits);
                arb_set(arb_mat_entry(schur, j, i), arb_mat_entry(schur, i, j));
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) arb_set(arb_mat_entry(rows, order[i], j), arb_mat_entry(factor, i, j));
    }
    arb_mat_clear(factor);
    flint_free(order);
}

/* M <- (I - c l l^T) M */
static void multiply(arb_mat_t core, arb_srcptr row, const arb_t c, arb_ptr scratch, size_t n, slong bits) {
    arb_t scaled;
    arb_init(scaled);
    for (size_t j = 0; j < n; j++) /* column j of M has stride n */
        arb_dot(scratch + j, NULL, 0, row, 1, arb_mat_entry(core, 0, j), (slong)n, (slong)n, bits);
    for (size_t i = 0; i < n; i++) {
        arb_mul(scaled, c, row + i, bits);
        for (size_t j = 0; j < n; j++) arb_submul(arb_mat_entry(core, i, j), scaled, scratch + j, bits);
    }
    arb_clear(scaled);
}

void ds_enclose_core(arb_mat_t core, const ds_certifier *w, size_t sublayers, size_t hidden, slong bits) {
    size_t n = ds_min_size(sublayers, hidden);
    arb_mat_one(core);
    if (n == 0) return;
    arb_ptr scratch = _arb_vec_init((slong)n);
    if (sublayers > hidden) {
        for (size_t s = 0; s < sublayers; s++) multiply(core, w->directions + s * hidden, w->c + s, scratch, n, bits);
    } else {
        arb_mat_t rows, gram;
        arb_mat_init(rows, (slong)n, (slong)n);
        arb_mat_init(gram, (slong)n, (slong)n);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j <= i; j++) {
                arb_dot(arb_mat_entry(gram, i, j), NULL, 0, w->directions + i * hidden, 1, w->directions + j * hidden, 1,
                        (slong)hidden, bits);
                arb_set(arb_mat_entry(gram, j, i), arb_mat_entry(gram, i, j));
            }
        }
        factor_gram(rows, gram, n, bits);
        for (size_t s = 0; s < n; s++) multiply(core, arb_mat_entry(rows, s, 0), w->c + s, scratch, n, bits);
        arb_mat_clear(rows);
        arb_mat_clear(gram);
    }
    _arb_vec_clear(scratch, (slong)n);
}
