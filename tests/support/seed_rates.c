#include "seed_rates.h"

#include <math.h>

#include "deltascope/stats.h"
#include "support.h"

enum { VARIANTS = 4, CONTRASTS = 4, MOST = 64, FULL = 0, WRITE_ONLY, ADDITIVE, FIXED };
static const int pairs_of[CONTRASTS][2] = {{FULL, WRITE_ONLY}, {FULL, ADDITIVE}, {WRITE_ONLY, ADDITIVE}, {FULL, FIXED}};

/* Standard deviation of a difference of two draws. */
static double deviation_of(shape of) {
    static const double e = 2.718281828459045;
    return sqrt(2 * (of == SHAPE_LOGNORMAL ? (e - 1) * e : 1));
}

typedef struct study {
    double runs[VARIANTS][MOST], others[MOST]; /* others share nothing with anything */
} study;

static void run_study(study *s, shape of, size_t n, ds_random *random) {
    for (size_t i = 0; i < n; i++) {
        double common = 2 * ds_random_normal(random);
        for (int v = 0; v < VARIANTS; v++) s->runs[v][i] = 10 + common + shape_draw(of, random);
    }
    for (size_t i = 0; i < n + 2; i++) s->others[i] = 10 + 2 * ds_random_normal(random) + shape_draw(of, random);
}

static ds_contrast contrast_with(const study *s, size_t n, double shift, double margin) {
    double a[MOST];
    ds_contrast c;
    for (size_t i = 0; i < n; i++) a[i] = s->runs[FULL][i] + shift;
    expect_ok(ds_contrast_paired(&c, a, s->runs[WRITE_ONLY], n, margin, 0));
    return c;
}

static bool holds(const ds_t_inference *t, double truth) { return t->low <= truth && truth <= t->high; }

static bool any_found(const ds_contrast *judged, size_t primary) {
    ds_contrast c[CONTRASTS];
    bool found = false;
    for (size_t i = 0; i < CONTRASTS; i++) c[i] = judged[i];
    expect_ok(ds_contrasts_judge(c, CONTRASTS, primary));
    for (size_t i = 0; i < CONTRASTS; i++)
        found = found || c[i].verdict == DS_CONTRAST_BETTER || c[i].verdict == DS_CONTRAST_WORSE;
    return found;
}

study_rates rates_of_studies(shape of, size_t n, size_t sets, uint64_t seed) {
    study_rates r = {0};
    study s;
    ds_random random = ds_random_init(seed);
    double deviation = deviation_of(of), one = 1 / (double)sets, margin = 3 * deviation;
    double detectable = ds_t_detectable((double)n - 1, 0.8, 0.05) * deviation / sqrt((double)n);
    for (size_t k = 0; k < sets; k++) {
        ds_contrast c[CONTRASTS], apart;
        run_study(&s, of, n, &random);
        for (size_t i = 0; i < CONTRASTS; i++)
            expect_ok(ds_contrast_paired(&c[i], s.runs[pairs_of[i][0]], s.runs[pairs_of[i][1]], n, margin, 0));
        expect_ok(ds_contrast_unpaired(&apart, s.runs[FULL], n, s.others, n + 2, margin));
        r.held += holds(&c[0].t, 0) ? one : 0;
        r.welch_held += holds(&apart.t, 0) ? one : 0;
        r.t += c[0].t.p < 0.05 ? one : 0;
        r.sign_flip += c[0].sign_flip.p < 0.05 ? one : 0;
        r.family += any_found(c, SIZE_MAX) ? one : 0;
        r.family_primary += any_found(c, 0) ? one : 0;
        r.equivalent += c[0].equivalence.equivalent ? one : 0;
        r.equivalent_at_margin += contrast_with(&s, n, margin, margin).equivalence.equivalent ? one : 0;
        r.found += contrast_with(&s, n, detectable, margin).t.p < 0.05 ? one : 0;
    }
    return r;
}

crossed_rates rates_of_crossed(size_t rows, size_t columns, const double deviations[3], size_t sets, uint64_t seed) {
    crossed_rates r = {0};
    ds_random random = ds_random_init(seed);
    double one = 1 / (double)sets, zero[MOST] = {0};
    for (size_t k = 0; k < sets; k++) {
        double values[MOST], column[MOST];
        for (size_t j = 0; j < columns; j++) column[j] = deviations[1] * ds_random_normal(&random);
        for (size_t i = 0; i < rows; i++) {
            double row = deviations[0] * ds_random_normal(&random);
            for (size_t j = 0; j < columns; j++)
                values[i * columns + j] = row + column[j] + deviations[2] * ds_random_normal(&random);
        }
        ds_contrast crossed, cells;
        expect_ok(ds_contrast_crossed(&crossed, values, zero, rows, columns, 1, 0));
        expect_ok(ds_contrast_paired(&cells, values, zero, rows * columns, 1, 0));
        r.held += holds(&crossed.t, 0) ? one : 0;
        r.cells += holds(&cells.t, 0) ? one : 0;
    }
    return r;
}
