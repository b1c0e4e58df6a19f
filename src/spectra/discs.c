/* Proved eigenvalue discs of a ball matrix: similarity by approximate eigenvectors, then Gershgorin's theorem. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "enclose.h"

#define DS_WIDE_DISC 0x1p-44 /* beside a matrix of norm 1: worth another attempt */

double ds_mag_upper(const mag_t x) {
    arf_t exact;
    arf_init(exact);
    arf_set_mag(exact, x);
    double upper = arf_get_d(exact, ARF_RND_UP);
    arf_clear(exact);
    return upper;
}

void ds_arb_middle(double *middle, const arb_mat_t matrix) {
    slong n = arb_mat_nrows(matrix);
    for (slong i = 0; i < n * n; i++) middle[i] = arf_get_d(arb_midref(arb_mat_entry(matrix, i / n, i % n)), ARF_RND_NEAR);
}

/* The quantities of Gershgorin's theorem for B, all rounded so as to keep what is proved. */
typedef struct gershgorin {
    size_t n;
    const acb_mat_struct *b;
    mag_ptr entry;  /* (n,n) upper bounds of |B_ij|, 0 on the diagonal */
    mag_ptr radius; /* (n) sum over j of entry[i][j] */
    size_t *group;  /* (n) smallest member of i's connected component of overlapping discs */
} gershgorin;

/* Lower bound of |B_ii - B_jj|. */
static void distance(mag_t lower, const gershgorin *g, size_t i, size_t j) {
    acb_t difference;
    acb_init(difference);
    acb_sub(difference, acb_mat_entry(g->b, i, i), acb_mat_entry(g->b, j, j), ARF_PREC_EXACT);
    acb_get_mag_lower(lower, difference);
    acb_clear(difference);
}

static void find_groups(gershgorin *g) {
    mag_t gap, reach;
    mag_init(gap);
    mag_init(reach);
    for (size_t i = 0; i < g->n; i++) g->group[i] = i;
    for (size_t i = 0; i < g->n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (g->group[i] == g->group[j]) continue;
            distance(gap, g, i, j);
            mag_add(reach, g->radius + i, g->radius + j);
            if (mag_cmp(gap, reach) > 0) continue;
            size_t keep = ds_min_size(g->group[i], g->group[j]), drop = ds_max_size(g->group[i], g->group[j]);
            for (size_t l = 0; l < g->n; l++) {
                if (g->group[l] == drop) g->group[l] = keep;
            }
        }
    }
    mag_clear(gap);
    mag_clear(reach);
}

static void prepare(gershgorin *g, const acb_mat_t b) {
    g->n = (size_t)acb_mat_nrows(b);
    g->b = b;
    g->entry = _mag_vec_init((slong)(g->n * g->n));
    g->radius = _mag_vec_init((slong)g->n);
    g->group = flint_malloc(g->n * sizeof *g->group);
    for (size_t i = 0; i < g->n; i++) {
        for (size_t j = 0; j < g->n; j++) {
            if (i == j) continue;
            acb_get_mag(g->entry + i * g->n + j, acb_mat_entry(b, i, j));
            mag_add(g->radius + i, g->radius + i, g->entry + i * g->n + j);
        }
    }
    find_groups(g);
}

static void release(gershgorin *g) {
    _mag_vec_clear(g->entry, (slong)(g->n * g->n));
    _mag_vec_clear(g->radius, (slong)g->n);
    flint_free(g->group);
}

/* sum over j in (inside: the group, else: its complement) of |B_ij| */
static void partial_radius(mag_t sum, const gershgorin *g, size_t i, size_t group, bool inside) {
    mag_zero(sum);
    for (size_t j = 0; j < g->n; j++) {
        if ((g->group[j] == group) == inside) mag_add(sum, sum, g->entry + i * g->n + j);
    }
}

/* With rows and columns outside the group scaled by eta, disc i of the group has radius a_i + eta o_i (a inside, o outside the
 * group) and disc j outside p_j + q_j / eta. They stay apart while q_j / eta < |B_ii - B_jj| - R_i - p_j; eta is twice what
 * that asks for, and 1 where that is more (the groups are apart unscaled). */
static void find_scale(mag_t eta, const gershgorin *g, size_t group) {
    mag_t inner, entries, gap, reach;
    mag_init(inner);
    mag_init(entries);
    mag_init(gap);
    mag_init(reach);
    mag_zero(eta);
    for (size_t j = 0; j < g->n; j++) {
        if (g->group[j] == group) continue;
        partial_radius(inner, g, j, group, false);
        partial_radius(entries, g, j, group, true);
        for (size_t i = 0; i < g->n; i++) {
            if (g->group[i] != group) continue;
            distance(gap, g, i, j);
            mag_add(reach, g->radius + i, inner);
            mag_sub_lower(gap, gap, reach);
            mag_div(reach, entries, gap);
            mag_max(eta, eta, reach);
        }
    }
    mag_mul_2exp_si(eta, eta, 1);
    mag_t one;
    mag_init(one);
    mag_one(one);
    mag_min(eta, eta, one);
    mag_clear(one);
    mag_clear(inner);
    mag_clear(entries);
    mag_clear(gap);
    mag_clear(reach);
}

/* |B_ii - centre| + radius, upwards. */
static double reach_from(ds_complex centre, const acb_t diagonal, const mag_t radius) {
    acb_t difference;
    mag_t reach;
    acb_init(difference);
    mag_init(reach);
    acb_set_d_d(difference, centre.re, centre.im);
    acb_sub(difference, difference, diagonal, ARF_PREC_EXACT);
    acb_get_mag(reach, difference);
    mag_add(reach, reach, radius);
    double upper = ds_mag_upper(reach);
    acb_clear(difference);
    mag_clear(reach);
    return upper;
}

static double cover(const gershgorin *g, size_t group, ds_complex centre, mag_srcptr radius) {
    double reach = 0.0;
    for (size_t i = 0; i < g->n; i++) {
        if (g->group[i] == group) reach = fmax(reach, reach_from(centre, acb_mat_entry(g->b, i, i), radius + i));
    }
    return reach;
}

/* One disc over the scaled discs of a group, moved to the real axis when it meets it: eigenvalues come in conjugate pairs. */
static ds_disc cover_group(const gershgorin *g, size_t group) {
    mag_t eta, outside;
    mag_ptr radius = _mag_vec_init((slong)g->n);
    mag_init(eta);
    mag_init(outside);
    ds_disc disc = {{0.0, 0.0}, 0.0, 0};
    find_scale(eta, g, group);
    for (size_t i = 0; i < g->n; i++) {
        if (g->group[i] != group) continue;
        partial_radius(radius + i, g, i, group, true);
        partial_radius(outside, g, i, group, false);
        mag_addmul(radius + i, eta, outside);
        disc.centre.re += arf_get_d(arb_midref(acb_realref(acb_mat_entry(g->b, i, i))), ARF_RND_NEAR);
        disc.centre.im += arf_get_d(arb_midref(acb_imagref(acb_mat_entry(g->b, i, i))), ARF_RND_NEAR);
        disc.multiplicity++;
    }
    disc.centre.re /= (double)disc.multiplicity;
    disc.centre.im /= (double)disc.multiplicity;
    disc.radius = cover(g, group, disc.centre, radius);
    if (disc.centre.im != 0.0 && fabs(disc.centre.im) <= disc.radius) {
        disc.centre.im = 0.0;
        disc.radius = cover(g, group, disc.centre, radius);
    }
    _mag_vec_clear(radius, (slong)g->n);
    mag_clear(eta);
    mag_clear(outside);
    return disc;
}

/* Upper bound of the distance of two points: hypot and the subtractions err by less than 4 ulp. */
static double distance_upper(ds_complex a, ds_complex b) { return hypot(a.re - b.re, a.im - b.im) * (1.0 + 8.0 * DBL_EPSILON); }

/* The first of two discs grows to cover the second. A sum of two positive doubles errs by half an ulp: one up is safe. */
static void absorb(ds_disc *into, const ds_disc *other) {
    double first = (double)into->multiplicity, second = (double)other->multiplicity;
    ds_complex centre = {(first * into->centre.re + second * other->centre.re) / (first + second),
                         (first * into->centre.im + second * other->centre.im) / (first + second)};
    double reach = fmax(nextafter(distance_upper(centre, into->centre) + into->radius, INFINITY),
                        nextafter(distance_upper(centre, other->centre) + other->radius, INFINITY));
    *into = (ds_disc){centre, reach, into->multiplicity + other->multiplicity};
}

/* Rounding centres to double, and moving them, may make discs overlap that held separate groups. */
static void separate(ds_disc *discs, size_t *count) {
    for (size_t i = 0; i < *count;) {
        size_t j = i + 1;
        while (j < *count && hypot(discs[i].centre.re - discs[j].centre.re, discs[i].centre.im - discs[j].centre.im) *
                                     (1.0 - 8.0 * DBL_EPSILON) >
                                 nextafter(discs[i].radius + discs[j].radius, INFINITY))
            j++;
        if (j == *count) {
            i++;
            continue;
        }
        absorb(&discs[i], &discs[j]);
        discs[j] = discs[--*count];
        i = 0; /* the larger disc may meet earlier ones */
    }
}

static void sort_discs(ds_disc *discs, size_t count) {
    for (size_t i = 1; i < count; i++) {
        ds_disc disc = discs[i];
        size_t at = i;
        for (; at > 0 && (discs[at - 1].centre.re > disc.centre.re ||
                          (discs[at - 1].centre.re == disc.centre.re && discs[at - 1].centre.im > disc.centre.im));
             at--)
            discs[at] = discs[at - 1];
        discs[at] = disc;
    }
}

/* Every eigenvalue is within ||M - centre I||_F of the mean of the diagonal. */
static void enclose_trivially(ds_disc *discs, size_t *count, const arb_mat_t matrix, slong bits) {
    slong n = arb_mat_nrows(matrix);
    double centre = 0.0;
    for (slong i = 0; i < n; i++) centre += arf_get_d(arb_midref(arb_mat_entry(matrix, i, i)), ARF_RND_NEAR) / (double)n;
    arb_mat_t shifted;
    arb_t exact;
    mag_t norm;
    arb_mat_init(shifted, n, n);
    arb_init(exact);
    mag_init(norm);
    arb_set_d(exact, centre);
    arb_mat_set(shifted, matrix);
    for (slong i = 0; i < n; i++) arb_sub(arb_mat_entry(shifted, i, i), arb_mat_entry(shifted, i, i), exact, bits);
    arb_mat_bound_frobenius_norm(norm, shifted);
    discs[0] = (ds_disc){{centre, 0.0}, ds_mag_upper(norm), (size_t)n};
    *count = 1;
    arb_mat_clear(shifted);
    arb_clear(exact);
    mag_clear(norm);
}

/* Gershgorin's theorem for B. */
static void cover_all(ds_disc *discs, size_t *count, const acb_mat_t b) {
    gershgorin g;
    prepare(&g, b);
    *count = 0;
    for (size_t i = 0; i < g.n; i++) {
        if (g.group[i] == i) discs[(*count)++] = cover_group(&g, i);
    }
    release(&g);
    separate(discs, count);
    sort_discs(discs, *count);
}

/* B = X^-1 M X. */
static void enclose_with(ds_disc *discs, size_t *count, const arb_mat_t matrix, const acb_mat_t vectors, slong bits) {
    slong n = arb_mat_nrows(matrix);
    acb_mat_t image, b;
    acb_mat_init(image, n, n);
    acb_mat_init(b, n, n);
    acb_mat_set_arb_mat(b, matrix);
    acb_mat_mul(image, b, vectors, bits);
    if (acb_mat_solve(b, vectors, image, bits) && acb_mat_is_finite(b))
        cover_all(discs, count, b);
    else
        enclose_trivially(discs, count, matrix, bits);
    acb_mat_clear(image);
    acb_mat_clear(b);
}

static double widest(const ds_disc *discs, size_t count) {
    double radius = 0.0;
    for (size_t i = 0; i < count; i++) radius = fmax(radius, discs[i].radius);
    return radius;
}

static double scale_of(size_t n, const ds_certifier *w) { return fmax(1.0, ds_frobenius_norm(w->middle, n * n)); }

double ds_arb_excess(const ds_disc *discs, size_t count, size_t n, const ds_certifier *w) {
    return widest(discs, count) / (DS_WIDE_DISC * scale_of(n, w));
}

/* w->again takes the place of the discs when it is narrower. */
static void keep_narrower(ds_disc *discs, size_t *count, const ds_certifier *w, size_t again) {
    if (!(widest(w->again, again) < widest(discs, *count))) return;
    memcpy(discs, w->again, again * sizeof *discs);
    *count = again;
}

/* By the characteristic polynomial, for eigenvalues that share an eigenvector or nearly do: how near their approximations are,
 * and how far apart points may be moved, depends on the multiplicity; what is tried first is narrowest when it succeeds. */
static void enclose_clusters(ds_disc *discs, size_t *count, const arb_mat_t matrix, acb_srcptr roots, slong bits,
                             ds_certifier *w) {
    static const slong reaches[] = {-40, -30, -20, -10}, spacings[] = {-90, -70, -56, -40, -30, -20};
    enum { REACHES = sizeof reaches / sizeof *reaches, SPACINGS = sizeof spacings / sizeof *spacings };
    slong n = arb_mat_nrows(matrix);
    arb_poly_t polynomial;
    acb_mat_t b;
    arf_t reach, spacing;
    arb_poly_init(polynomial);
    acb_mat_init(b, n, n);
    arf_init(reach);
    arf_init(spacing);
    double before = INFINITY, excess = ds_arb_excess(discs, *count, (size_t)n, w);
    for (slong more = 2 * bits; more <= 8 * bits && excess > 1 && excess < before; more *= 2) {
        before = excess;
        arb_mat_charpoly(polynomial, matrix, more);
        for (size_t at = 0; at < REACHES * SPACINGS && excess > 1; at++) {
            size_t again;
            arf_set_d(reach, scale_of((size_t)n, w));
            arf_mul_2exp_si(spacing, reach, spacings[at % SPACINGS]);
            arf_mul_2exp_si(reach, reach, reaches[at / SPACINGS]);
            ds_cluster_matrix(b, polynomial, roots, reach, spacing, more);
            if (!acb_mat_is_finite(b)) continue;
            cover_all(w->again, &again, b);
            keep_narrower(discs, count, w, again);
            excess = ds_arb_excess(discs, *count, (size_t)n, w);
        }
    }
    arb_poly_clear(polynomial);
    acb_mat_clear(b);
    arf_clear(reach);
    arf_clear(spacing);
}

ds_status ds_arb_eigenvalues(ds_disc *discs, size_t *count, const arb_mat_t matrix, slong bits, ds_certifier *w) {
    ds_status status = DS_OK;
    size_t n = (size_t)arb_mat_nrows(matrix);
    acb_mat_t vectors, middle;
    acb_mat_init(vectors, (slong)n, (slong)n);
    acb_mat_init(middle, (slong)n, (slong)n);
    *count = 0;
    if (n == 0) goto done;
    ds_arb_middle(w->middle, matrix);
    DS_TRY(ds_eigenvectors_approx(w->roots, w->vectors, w->middle, n, w->eigen));
    for (size_t i = 0; i < n * n; i++) acb_set_d_d(acb_mat_entry(vectors, i / n, i % n), w->vectors[i].re, w->vectors[i].im);
    enclose_with(discs, count, matrix, vectors, bits);
    /* A radius this far above rounding comes from eigenvectors too nearly parallel for double: 0.9 s for n = 24. */
    if (ds_arb_excess(discs, *count, n, w) > 1) {
        size_t again;
        acb_mat_set_arb_mat(middle, matrix);
        acb_mat_get_mid(middle, middle);
        acb_ptr roots = _acb_vec_init((slong)n);
        (void)acb_mat_approx_eig_qr(roots, NULL, vectors, middle, NULL, 0, bits); /* converged or not, it is only tried */
        enclose_with(w->again, &again, matrix, vectors, bits);
        keep_narrower(discs, count, w, again);
        enclose_clusters(discs, count, matrix, roots, bits, w);
        _acb_vec_clear(roots, (slong)n);
    }
done:
    acb_mat_clear(vectors);
    acb_mat_clear(middle);
    return status;
}
