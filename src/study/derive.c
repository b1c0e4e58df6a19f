/* What of a study.json follows from other numbers in it, computed anew: whoever holds the file needs nothing else to see that
 * its statistics are those of its runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/seed_contrasts.h"
#include "result.h"

typedef struct derivation {
    const json_t *study;
    double margin;
    uint64_t seed;        /* of drawn sign patterns */
    size_t rows, columns; /* of crossed seeds; 0: both moved together */
    double *a, *b;        /* (seeds) */
    size_t seeds;         /* of the variant that has most */
    double effect;        /* asked of --plan-power; NaN: not asked */
} derivation;

/* ---- what the file says ------------------------------------------------------------------------------------------ */

static const json_t *runs_of(const json_t *study, const char *variant, size_t length) {
    const ds_name name = ds_escape(variant, length);
    return json_object_get(json_object_get(json_object_get(study, "variants"), name.text), "runs");
}

static bool has_status(const json_t *run, const char *status) {
    const char *word = json_string_value(json_object_get(run, "status"));
    return word != NULL && strcmp(word, status) == 0;
}

static bool is_finished(const json_t *run) { return has_status(run, "done") || has_status(run, "diverged"); }

static double final_of(const json_t *run) { return has_status(run, "done") ? ds_json_real_at(run, "final") : NAN; }

/* values (seeds) <- of the runs that are finished; returns how many. */
static size_t finals_of(double *values, const json_t *runs) {
    size_t n = 0, i;
    const json_t *run;
    json_array_foreach(runs, i, run) {
        if (is_finished(run)) values[n++] = final_of(run);
    }
    return n;
}

/* values <- the numbers of a list, NaN for what is none; returns how many. */
static size_t numbers_of(double *values, const json_t *list) {
    const size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, i);
        values[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
    return n;
}

static void longer(size_t *most, const json_t *list) { *most = ds_max_size(*most, json_array_size(list)); }

/* The longest of all lists over seeds: a stranger's file may have them of any length. */
static size_t most_seeds(const json_t *study) {
    json_t *variant, *measure, *member = json_object_get(study, "variants");
    const char *name, *key;
    size_t most = 1, i;
    json_object_foreach(member, name, variant) longer(&most, json_object_get(variant, "runs"));
    member = json_object_get(json_object_get(study, "tuned"), "variants");
    json_object_foreach(member, name, variant) longer(&most, json_object_get(variant, "runs"));
    json_array_foreach(json_object_get(study, "to_target"), i, member) longer(&most, json_object_get(member, "ratios"));
    json_object_foreach(json_object_get(study, "curves"), key, member) {
        json_object_foreach(member, name, variant) longer(&most, json_object_get(variant, "seeds"));
    }
    member = json_object_get(json_object_get(study, "audit"), "variants");
    json_object_foreach(member, name, variant) {
        json_object_foreach(variant, key, measure) longer(&most, json_object_get(measure, "values"));
    }
    return most;
}

/* ---- variants ---------------------------------------------------------------------------------------------------- */

static ds_status derive_variants(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    json_t *variants = json_object_get(all->study, "variants"), *variant;
    const char *name;
    ds_seed_summary summary;
    ds_json_begin_object(b, "variants");
    json_object_foreach(variants, name, variant) {
        const size_t n = finals_of(all->a, json_object_get(variant, "runs"));
        DS_TRY(ds_seed_summarise(&summary, all->a, n));
        ds_json_begin_object(b, name);
        ds_json_put_seed_summary(b, "summary", &summary);
        ds_study_put_split(b, all->rows, all->columns, all->a, n);
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

static ds_status derive_noise(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    const json_t *noise = ds_json_at(all->study, "matching/noise_floor"), *run;
    const char *variant = json_string_value(json_object_get(noise, "variant"));
    ds_seed_summary summary;
    double plain = NAN;
    size_t i;
    if (variant == NULL) return DS_OK;
    const json_t *runs = runs_of(all->study, variant, strlen(variant));
    json_array_foreach(runs, i, run) {
        if (json_equal(json_object_get(run, "seed"), json_object_get(noise, "seed"))) plain = ds_json_real_at(run, "final");
    }
    DS_TRY(ds_seed_summarise(&summary, all->a, finals_of(all->a, runs)));
    ds_json_begin_object(b, "matching");
    ds_json_begin_object(b, "noise_floor");
    ds_json_put_real(b, "final_a", plain);
    ds_json_put_real(b, "difference", ds_json_real_at(noise, "final_b") - plain);
    ds_json_put_real(b, "seed_sd", summary.sd);
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

/* ---- contrasts --------------------------------------------------------------------------------------------------- */

/* runs <- of "A", or of "A - B" in a contrast of contrasts; returns how many, 0 where it names nobody. */
static size_t find_side(const json_t *runs[2], const json_t *study, const char *side) {
    const char *dash = strstr(side, " - ");
    runs[0] = runs_of(study, side, dash == NULL ? strlen(side) : (size_t)(dash - side));
    runs[1] = dash == NULL ? NULL : runs_of(study, dash + 3, strlen(dash + 3));
    if (runs[0] == NULL || (dash != NULL && runs[1] == NULL)) return 0;
    return dash == NULL ? 1 : 2;
}

static double value_of_side(const json_t *const runs[2], size_t count, size_t seed, bool *finished) {
    const json_t *first = json_array_get(runs[0], seed), *second = json_array_get(runs[1], seed);
    *finished = *finished && is_finished(first) && (count == 1 || is_finished(second));
    return count == 1 ? final_of(first) : final_of(first) - final_of(second);
}

/* all->a, all->b <- both sides under the seeds at which all of its runs are finished. */
static ds_status gather(size_t *n, const derivation *all, const json_t *contrast) {
    const char *a = json_string_value(json_object_get(contrast, "a")), *b = json_string_value(json_object_get(contrast, "b"));
    const json_t *left[2], *right[2];
    const size_t of_a = a == NULL ? 0 : find_side(left, all->study, a), of_b = b == NULL ? 0 : find_side(right, all->study, b);
    *n = 0;
    if (of_a == 0 || of_b == 0)
        return ds_fail(DS_ERR_INPUT, "its contrast of \"%s\" and \"%s\" names no variants of it", a == NULL ? "" : DS_SHOW(a),
                       b == NULL ? "" : DS_SHOW(b));
    for (size_t s = 0; s < json_array_size(left[0]); s++) {
        bool finished = true;
        const double x = value_of_side(left, of_a, s, &finished), y = value_of_side(right, of_b, s, &finished);
        if (!finished) continue;
        all->a[*n] = x;
        all->b[(*n)++] = y;
    }
    return DS_OK;
}

static void put_differences(ds_json_builder *b, const derivation *all, size_t n) {
    ds_json_begin_array(b, "differences");
    for (size_t i = 0; i < n; i++) ds_json_put_real(b, NULL, all->a[i] - all->b[i]);
    ds_json_end(b);
}

static ds_status derive_contrasts(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    const json_t *list = json_object_get(all->study, "contrasts"), *contrast;
    const ds_study_judging how = {all->rows, all->columns, all->margin, all->seed};
    ds_contrast *judged = NULL;
    size_t i, n, primary = SIZE_MAX;
    DS_NEW(judged, json_array_size(list));
    json_array_foreach(list, i, contrast) {
        if (json_is_true(json_object_get(contrast, "primary"))) primary = i;
        DS_TRY(gather(&n, all, contrast));
        DS_TRY(ds_study_compare(&judged[i], all->a, all->b, n, &how));
    }
    DS_TRY(ds_contrasts_judge(judged, json_array_size(list), primary));
    ds_json_begin_array(b, "contrasts");
    json_array_foreach(list, i, contrast) {
        DS_TRY(gather(&n, all, contrast));
        ds_json_begin_object(b, NULL);
        put_differences(b, all, n);
        ds_json_put_contrast(b, &judged[i]);
        ds_study_put_power(b, judged[i].sd, all->effect);
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    free(judged);
    return status;
}

/* ---- targets ----------------------------------------------------------------------------------------------------- */

static ds_status derive_target(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    json_t *variants = json_object_get(all->study, "variants"), *variant;
    const double loss = ds_json_real_at(all->study, "options/target");
    const char *name;
    ds_target_test test;
    if (!isfinite(loss)) return DS_OK;
    ds_json_begin_object(b, "target");
    ds_json_put_real(b, "loss", loss);
    ds_json_begin_object(b, "variants");
    json_object_foreach(variants, name, variant) {
        const size_t n = finals_of(all->a, json_object_get(variant, "runs"));
        DS_TRY(ds_target_compare(&test, all->a, n, loss));
        ds_study_put_target_test(b, name, &test);
    }
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

/* The loss is what the second variant ends with in the mean; what becomes of the ratios follows from them. */
static ds_status derive_to_target(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    size_t i;
    const json_t *target;
    ds_seed_summary finals;
    ds_ratio_summary ratios;
    ds_json_begin_array(b, "to_target");
    json_array_foreach(json_object_get(all->study, "to_target"), i, target) {
        const char *other = json_string_value(json_object_get(target, "b"));
        const json_t *runs = other == NULL ? NULL : runs_of(all->study, other, strlen(other));
        DS_TRY(ds_seed_summarise(&finals, all->a, finals_of(all->a, runs)));
        DS_TRY(ds_ratios_summarise(&ratios, all->b, numbers_of(all->b, json_object_get(target, "ratios"))));
        ds_json_begin_object(b, NULL);
        ds_json_put_real(b, "loss", finals.mean);
        ds_json_put_real(b, "geometric_mean", ratios.geometric_mean);
        ds_study_put_interval(b, "interval", ratios.low, ratios.high);
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

/* ---- curves ------------------------------------------------------------------------------------------------------ */

/* Mean and band at every evaluation, of the seeds that have it. */
static ds_status derive_curve(ds_json_builder *b, const derivation *all, const char *name, const json_t *curve) {
    static const char *const keys[] = {"mean", "lo", "hi"};
    ds_status status = DS_OK;
    const json_t *seeds = json_object_get(curve, "seeds");
    const size_t points = json_array_size(json_object_get(curve, "x"));
    ds_json_begin_object(b, name);
    for (size_t k = 0; k < 3; k++) {
        ds_json_begin_array(b, keys[k]);
        for (size_t p = 0; p < points; p++) {
            ds_seed_summary summary;
            size_t n = 0;
            for (size_t s = 0; s < json_array_size(seeds); s++) {
                const json_t *value = json_array_get(json_array_get(seeds, s), p);
                if (json_is_number(value)) all->a[n++] = json_number_value(value);
            }
            DS_TRY(ds_seed_summarise(&summary, all->a, n));
            ds_json_put_real(b, NULL, k == 0 ? summary.mean : k == 1 ? summary.low : summary.high);
        }
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

static ds_status derive_curves(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    json_t *curves = json_object_get(all->study, "curves"), *axis, *curve;
    const char *key, *name;
    ds_json_begin_object(b, "curves");
    json_object_foreach(curves, key, axis) {
        ds_json_begin_object(b, key);
        json_object_foreach(axis, name, curve) DS_TRY(derive_curve(b, all, name, curve));
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

/* ---- audit ------------------------------------------------------------------------------------------------------- */

/* all->a, all->b <- a measure of two variants under the seeds at which both have finished runs; returns how many. */
static size_t gather_measures(const derivation *all, const char *const names[2], const char *measure) {
    const json_t *variants = ds_json_at(all->study, "audit/variants"), *runs[2], *values[2];
    size_t at[2] = {0, 0}, n = 0;
    for (size_t k = 0; k < 2; k++) {
        runs[k] = runs_of(all->study, names[k], strlen(names[k]));
        values[k] = json_object_get(json_object_get(json_object_get(variants, names[k]), measure), "values");
    }
    for (size_t s = 0; s < json_array_size(runs[0]); s++) {
        const bool has_a = is_finished(json_array_get(runs[0], s)), has_b = is_finished(json_array_get(runs[1], s));
        const json_t *x = json_array_get(values[0], at[0]), *y = json_array_get(values[1], at[1]);
        at[0] += has_a;
        at[1] += has_b;
        if (!has_a || !has_b) continue;
        all->a[n] = json_is_number(x) ? json_number_value(x) : NAN;
        all->b[n++] = json_is_number(y) ? json_number_value(y) : NAN;
    }
    return n;
}

static ds_status derive_audit_contrast(ds_json_builder *b, const derivation *all, const json_t *contrast) {
    ds_status status = DS_OK;
    const char *const names[2] = {json_string_value(json_object_get(contrast, "a")),
                                  json_string_value(json_object_get(contrast, "b"))};
    json_t *measures = json_object_get(contrast, "measures"), *unused;
    const char *measure;
    ds_contrast judged;
    ds_json_begin_object(b, NULL);
    ds_json_begin_object(b, "measures");
    json_object_foreach(measures, measure, unused) {
        if (names[0] == NULL || names[1] == NULL) break;
        DS_TRY(ds_contrast_paired(&judged, all->a, all->b, gather_measures(all, names, measure), all->margin, all->seed));
        ds_study_put_audit_contrast(b, measure, &judged);
    }
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

static ds_status derive_audit(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    json_t *audit = json_object_get(all->study, "audit"), *variant, *measure, *contrast;
    const char *name, *key;
    ds_seed_summary summary;
    size_t i;
    if (!json_is_object(audit)) return DS_OK;
    ds_json_begin_object(b, "audit");
    ds_json_begin_object(b, "variants");
    json_object_foreach(json_object_get(audit, "variants"), name, variant) {
        ds_json_begin_object(b, name);
        json_object_foreach(variant, key, measure) {
            DS_TRY(ds_seed_summarise(&summary, all->a, numbers_of(all->a, json_object_get(measure, "values"))));
            ds_json_begin_object(b, key);
            ds_json_put_seed_summary(b, "summary", &summary);
            ds_json_end(b);
        }
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "contrasts");
    json_array_foreach(json_object_get(audit, "contrasts"), i, contrast) DS_TRY(derive_audit_contrast(b, all, contrast));
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

/* ---- sweeps ------------------------------------------------------------------------------------------------------ */

static ds_status derive_sweep(ds_json_builder *b, const char *name, const json_t *sweep) {
    ds_status status = DS_OK;
    const json_t *losses = json_object_get(sweep, "loss"), *grid = json_object_get(sweep, "grid");
    const size_t points = json_array_size(grid), seeds = json_array_size(losses);
    double *numbers = NULL, *initial = NULL;
    DS_NEW(numbers, (seeds + 2) * points);
    DS_NEW(initial, ds_max_size(seeds, json_array_size(json_object_get(sweep, "initial"))));
    (void)numbers_of(numbers, grid);
    (void)numbers_of(initial, json_object_get(sweep, "initial"));
    for (size_t k = 0; k < seeds; k++) {
        const json_t *row = json_array_get(losses, k);
        if (json_array_size(row) != points)
            DS_TRY(ds_fail(DS_ERR_INPUT, "its sweep of %s has a list of %zu losses for %zu rates", DS_SHOW(name),
                           json_array_size(row), points));
        (void)numbers_of(numbers + (k + 2) * points, row);
    }
    const ds_sweep_losses of = {.grid = numbers,
                                .losses = numbers + 2 * points,
                                .initial = initial,
                                .points = points,
                                .seeds = seeds,
                                .stride = points,
                                .complete = json_is_number(json_object_get(sweep, "best")),
                                .scratch = numbers + points};
    ds_json_begin_object(b, name);
    ds_study_put_sweep(b, &of);
    ds_json_end(b);
done:
    free(numbers);
    free(initial);
    return status;
}

/* The test at each variant's best is laid out as the study is. */
static ds_status derive_sweeps(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    json_t *sweeps = json_object_get(all->study, "sweeps"), *sweep;
    const json_t *tuned = json_object_get(all->study, "tuned");
    const char *name;
    derivation inside = *all;
    if (!json_is_object(sweeps)) return DS_OK;
    ds_json_begin_object(b, "sweeps");
    json_object_foreach(sweeps, name, sweep) DS_TRY(derive_sweep(b, name, sweep));
    ds_json_end(b);
    if (!json_is_object(tuned)) return DS_OK;
    inside.study = tuned;
    ds_json_begin_object(b, "tuned");
    DS_TRY(derive_variants(b, &inside));
    DS_TRY(derive_contrasts(b, &inside));
    ds_json_end(b);
done:
    return status;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

ds_status ds_study_select(json_t **out, const json_t *value, const json_t *shape) {
    ds_status status = DS_OK;
    json_t *member, *part = NULL, *object = (json_t *)(uintptr_t)shape; /* for the iterator */
    const char *key;
    size_t i;
    const bool objects = json_is_object(value) && json_is_object(shape);
    const bool lists = json_is_array(value) && json_is_array(shape) && json_array_size(value) == json_array_size(shape);
    *out = objects ? json_object() : lists ? json_array() : ds_json_copy(value);
    if (*out == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for what a study says");
    if (objects) {
        json_object_foreach(object, key, member) {
            const json_t *found = json_object_get(value, key);
            if (found == NULL) continue;
            DS_TRY(ds_study_select(&part, found, member));
            if (json_object_set_new(*out, key, part) != 0) DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for a study"));
        }
    } else if (lists) {
        json_array_foreach(shape, i, member) {
            DS_TRY(ds_study_select(&part, json_array_get(value, i), member));
            if (json_array_append_new(*out, part) != 0) DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for a study"));
        }
    }
done:
    if (status != DS_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

static ds_status derive_all(ds_json_builder *b, const derivation *all) {
    ds_status status = DS_OK;
    ds_json_begin_object(b, NULL);
    DS_TRY(derive_noise(b, all));
    DS_TRY(derive_variants(b, all));
    DS_TRY(derive_contrasts(b, all));
    DS_TRY(derive_target(b, all));
    DS_TRY(derive_to_target(b, all));
    DS_TRY(derive_curves(b, all));
    DS_TRY(derive_audit(b, all));
    DS_TRY(derive_sweeps(b, all));
    ds_json_end(b);
done:
    return status;
}

ds_status ds_study_derive(json_t **told, json_t **derived, const json_t *study) {
    ds_status status = DS_OK;
    const json_t *seeds = ds_json_at(study, "plan/seeds"), *order = ds_json_at(study, "order/seed");
    const double margin = ds_json_real_at(study, "plan/margin");
    ds_json_builder b = {0};
    derivation all = {.study = study,
                      .margin = margin > 0 ? margin : DS_EQUIVALENCE_MARGIN,
                      .seed = (uint64_t)json_integer_value(order),
                      .rows = json_array_size(json_object_get(seeds, "init")),
                      .columns = json_array_size(json_object_get(seeds, "data")),
                      .effect = ds_json_real_at(study, "options/plan_power"),
                      .seeds = most_seeds(study)};
    *told = *derived = NULL;
    DS_NEW(all.a, all.seeds);
    DS_NEW(all.b, all.seeds);
    DS_TRY(derive_all(&b, &all));
    DS_TRY(ds_json_finish(derived, &b));
    DS_TRY(ds_study_select(told, study, *derived));
done:
    ds_json_discard(&b);
    free(all.a);
    free(all.b);
    if (status != DS_OK) {
        json_decref(*derived);
        *derived = NULL;
    }
    return status;
}
