/* Two kinds of runs, seed by seed: what their difference is, how sure, and what so many seeds could have seen. */
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

#include "student.h"

const char *const ds_contrast_verdict_names[] = {"unresolved", "better", "worse", "equivalent"};

/* a and b without what diverged; paired: without its partner too. */
typedef struct kept {
    double *a, *b, *differences, *ranks;
    size_t count_a, count_b;
    double scale; /* the largest magnitude */
} kept;

static void kept_release(kept *k) {
    free(k->a);
    free(k->b);
    free(k->differences);
    free(k->ranks);
}

static void keep(double *values, size_t *count, double *scale, double value) {
    values[(*count)++] = value;
    *scale = fmax(*scale, fabs(value));
}

static size_t count_diverged(const double *values, size_t count) {
    size_t diverged = 0;
    for (size_t i = 0; i < count; i++) diverged += isfinite(values[i]) ? 0 : 1;
    return diverged;
}

static ds_t_inference welch_of(const kept *k) {
    const ds_moments a = ds_moments_of(k->a, k->count_a, k->scale), b = ds_moments_of(k->b, k->count_b, k->scale);
    double va = a.sd * a.sd / (double)a.n, vb = b.sd * b.sd / (double)b.n, v = va + vb;
    double df = v * v / (va * va / ((double)a.n - 1) + vb * vb / ((double)b.n - 1));
    return ds_t_infer(a.mean - b.mean, sqrt(v), v == 0 ? (double)(a.n + b.n) - 2 : df);
}

static void judge_equivalence(ds_contrast *out, double margin) {
    const ds_t_inference *t = &out->t;
    double half = t->error == 0 ? 0 : ds_t_quantile(t->df, 0.05) * t->error;
    out->equivalence.margin = margin;
    out->equivalence.low = t->mean - half;
    out->equivalence.high = t->mean + half;
    out->equivalence.equivalent = out->equivalence.low > -margin && out->equivalence.high < margin;
    /* Either test alone: that the mean is at the margin or beyond. */
    double above = ds_t_below(t->mean - margin, t->error, t->df);
    double below = ds_t_below(-t->mean - margin, t->error, t->df);
    out->equivalence.p = ds_max_real(above, below);
}

static void finish(ds_contrast *out, double margin) {
    judge_equivalence(out, margin);
    out->detectable.power = DS_DETECTABLE_POWER;
    out->detectable.alpha = DS_SIGNIFICANCE;
    out->detectable.effect = ds_t_detectable(out->t.df, DS_DETECTABLE_POWER, DS_SIGNIFICANCE) * out->t.error;
}

/* ---- paired ------------------------------------------------------------------------------------------------------ */

/* a - b, where what diverged is worse than all else and no worse than what diverged too. */
static double ordinal_difference(double a, double b) {
    if (isfinite(a) && isfinite(b)) return a - b;
    return isfinite(a) ? -INFINITY : isfinite(b) ? INFINITY : 0;
}

/* Wilcoxon's signed ranks, midranks where differences are equally large; 0 has a rank, but no sign (Pratt 1959). */
static void signed_ranks(double *ranks, const double *a, const double *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double d = ordinal_difference(a[i], b[i]), rank = 0.5;
        for (size_t k = 0; k < count; k++) {
            double other = fabs(ordinal_difference(a[k], b[k]));
            rank += other < fabs(d) ? 1 : other == fabs(d) ? 0.5 : 0;
        }
        ranks[i] = d > 0 ? rank : d < 0 ? -rank : 0;
    }
}

static ds_status keep_pairs(kept *k, const double *a, const double *b, size_t count) {
    ds_status status = DS_OK;
    DS_NEW_ARRAY(k->a, count);
    DS_NEW_ARRAY(k->b, count);
    DS_NEW_ARRAY(k->differences, count);
    DS_NEW_ARRAY(k->ranks, count);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) continue;
        k->differences[k->count_a] = a[i] - b[i];
        keep(k->a, &k->count_a, &k->scale, a[i]);
        keep(k->b, &k->count_b, &k->scale, b[i]);
    }
    signed_ranks(k->ranks, a, b, count);
done:
    return status;
}

static double divergence_p(const double *a, const double *b, size_t count) {
    size_t only_a = 0, only_b = 0;
    for (size_t i = 0; i < count; i++) {
        only_a += !isfinite(a[i]) && isfinite(b[i]) ? 1 : 0;
        only_b += isfinite(a[i]) && !isfinite(b[i]) ? 1 : 0;
    }
    return ds_mcnemar(only_a, only_b);
}

/* All but what is made of the error of the mean. */
static void describe_pairs(ds_contrast *out, const kept *k, const double *a, const double *b, size_t count, uint64_t seed) {
    const ds_moments m = ds_moments_of(k->differences, k->count_a, k->scale);
    *out = (ds_contrast){.paired = true, .n_a = k->count_a, .n_b = k->count_b, .sd = m.sd, .correlation = NAN, .holm_p = NAN};
    out->diverged_a = count_diverged(a, count);
    out->diverged_b = count_diverged(b, count);
    out->dz = m.sd > 0 ? m.mean / m.sd : NAN;
    if (m.n >= 2) out->correlation = gsl_stats_correlation(k->a, 1, k->b, 1, m.n);
    out->t = ds_t_infer_moments(m);
    out->welch = welch_of(k);
    out->sign_flip = ds_sign_flip_test(k->differences, m.n, seed);
    out->ranks = ds_sign_flip_test(k->ranks, count, seed);
    out->divergence_p = divergence_p(a, b, count);
}

ds_status ds_contrast_paired(ds_contrast *out, const double *a, const double *b, size_t count, double margin, uint64_t seed) {
    ds_status status = DS_OK;
    kept k = {0};
    DS_TRY(keep_pairs(&k, a, b, count));
    describe_pairs(out, &k, a, b, count, seed);
    finish(out, margin);
done:
    kept_release(&k);
    return status;
}

ds_status ds_contrast_crossed(ds_contrast *out, const double *a, const double *b, size_t rows, size_t columns, double margin,
                              uint64_t seed) {
    ds_status status = DS_OK;
    kept k = {0};
    size_t count = rows * columns;
    if (rows < 2 || columns < 2) return ds_contrast_paired(out, a, b, count, margin, seed);
    DS_TRY(keep_pairs(&k, a, b, count));
    describe_pairs(out, &k, a, b, count, seed);
    out->ranks = out->sign_flip = (ds_sign_flip){NAN, 0, NAN};
    out->divergence_p = NAN;
    const ds_two_way split = ds_two_way_split(k.differences, k.count_a == count ? rows : 0, columns);
    if (k.count_a < count || out->sd > 0) out->t = ds_t_infer(out->t.mean, split.error, split.df);
    finish(out, margin);
done:
    kept_release(&k);
    return status;
}

/* ---- unpaired ---------------------------------------------------------------------------------------------------- */

static ds_status keep_finite(double **kept_values, size_t *kept_count, double *scale, const double *values, size_t count) {
    ds_status status = DS_OK;
    DS_NEW_ARRAY(*kept_values, count);
    for (size_t i = 0; i < count; i++) {
        if (isfinite(values[i])) keep(*kept_values, kept_count, scale, values[i]);
    }
done:
    return status;
}

ds_status ds_contrast_unpaired(ds_contrast *out, const double *a, size_t count_a, const double *b, size_t count_b,
                               double margin) {
    ds_status status = DS_OK;
    const ds_sign_flip none = {NAN, 0, NAN};
    kept k = {0};
    DS_TRY(keep_finite(&k.a, &k.count_a, &k.scale, a, count_a));
    DS_TRY(keep_finite(&k.b, &k.count_b, &k.scale, b, count_b));
    const ds_t_inference t = welch_of(&k);
    *out = (ds_contrast){.n_a = k.count_a,
                         .n_b = k.count_b,
                         .diverged_a = count_a - k.count_a,
                         .diverged_b = count_b - k.count_b,
                         .sd = NAN,
                         .dz = NAN,
                         .correlation = NAN,
                         .t = t,
                         .welch = t,
                         .sign_flip = none,
                         .ranks = none,
                         .divergence_p = NAN,
                         .holm_p = NAN};
    finish(out, margin);
done:
    kept_release(&k);
    return status;
}

/* ---- several contrasts ------------------------------------------------------------------------------------------- */

/* Differences that are all the same, and not 0. */
static bool is_constant(const ds_contrast *c) { return c->t.error == 0 && c->t.df >= 1 && c->t.mean != 0; }

static ds_contrast_verdict verdict_of(const ds_contrast *c, bool tested) {
    if (tested && (c->holm_p < DS_SIGNIFICANCE || is_constant(c)))
        return c->t.mean < 0 ? DS_CONTRAST_BETTER : DS_CONTRAST_WORSE;
    return c->equivalence.equivalent ? DS_CONTRAST_EQUIVALENT : DS_CONTRAST_UNRESOLVED;
}

/* The p that stands between the primary contrast and the others. */
static double gate_of(const ds_contrast *primary) {
    if (is_constant(primary)) return 0;
    return isnan(primary->t.p) ? 1 : primary->t.p;
}

ds_status ds_contrasts_judge(ds_contrast *contrasts, size_t count, size_t primary) {
    ds_status status = DS_OK;
    double *p, gate = primary < count ? gate_of(&contrasts[primary]) : 0;
    DS_NEW_ARRAY(p, count);
    for (size_t i = 0; i < count; i++) p[i] = i == primary ? NAN : contrasts[i].t.p;
    DS_TRY(ds_holm_adjust(p, p, count));
    for (size_t i = 0; i < count; i++) {
        ds_contrast *c = &contrasts[i];
        c->holm_p = i == primary ? c->t.p : isnan(p[i]) ? NAN : fmax(p[i], gate);
        c->verdict = verdict_of(c, i == primary || gate < DS_SIGNIFICANCE);
    }
done:
    free(p);
    return status;
}
