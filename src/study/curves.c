/* Losses over tokens, operations and seconds, and how soon a loss is reached. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

static const char *const axes[] = {"tokens", "flops", "seconds"};
enum { TOKENS, FLOPS, SECONDS, AXES };

/* Where evaluation `point` of a run lies on an axis. */
static double place_of(const ds_plan *plan, const ds_cell_result *run, size_t point, size_t axis) {
    const ds_study_variant *variant = &plan->variants[run->cell.variant];
    const ds_recipe *recipe = &variant->recipe;
    double tokens = (double)run->steps[point] * (double)(recipe->accumulation * recipe->batch * recipe->length);
    if (axis == SECONDS) return run->seconds[point];
    return axis == TOKENS ? tokens : tokens * ds_study_flops_per_token(variant);
}

/* ---- curves ------------------------------------------------------------------------------------------------------ */

/* The number of evaluations that every finished run of a variant has when it comes to its end. */
static size_t most_points(const ds_study_results *results, size_t variant) {
    size_t most = 0;
    for (size_t s = 0; s < results->plan->seed_count; s++)
        most = ds_max_size(most, ds_study_result_of(results, variant, s)->points);
    return most;
}

typedef struct curve {
    double *x, *mean, *low, *high;
} curve;

static ds_status curve_new(curve *out, size_t points) {
    ds_status status = DS_OK;
    DS_NEW(out->x, points);
    DS_NEW(out->mean, points);
    DS_NEW(out->low, points);
    DS_NEW(out->high, points);
done:
    return status;
}

static void curve_release(curve *c) {
    free(c->x);
    free(c->mean);
    free(c->low);
    free(c->high);
}

/* The loss of a run at an evaluation, less that of its counterpart; NaN where either has none. */
static double loss_at(const ds_study_results *results, size_t variant, size_t other, size_t seed, size_t point) {
    const ds_cell_result *run = ds_study_result_of(results, variant, seed);
    const ds_cell_result *against = other == SIZE_MAX ? NULL : ds_study_result_of(results, other, seed);
    if (run->diverged || point >= run->points) return NAN;
    if (against == NULL) return run->losses[point];
    return against->diverged || point >= against->points ? NAN : run->losses[point] - against->losses[point];
}

/* Mean and band over the runs that have the evaluation; `other` SIZE_MAX: the variant's own losses. */
static ds_status point_of(curve *out, size_t point, const ds_study_results *results, size_t variant, size_t other, size_t axis,
                          double *x, double *y) {
    ds_status status = DS_OK;
    size_t n = 0;
    ds_seed_summary summary;
    for (size_t s = 0; s < results->plan->seed_count; s++) {
        const double loss = loss_at(results, variant, other, s, point);
        if (isnan(loss)) continue;
        x[n] = place_of(results->plan, ds_study_result_of(results, variant, s), point, axis);
        y[n++] = loss;
    }
    DS_TRY(ds_seed_summarise(&summary, y, n));
    out->x[point] = ds_mean(x, n);
    out->mean[point] = summary.mean;
    out->low[point] = summary.low;
    out->high[point] = summary.high;
done:
    return status;
}

/* One list a seed whose runs are finished. */
static void put_seeds(ds_json_builder *b, const ds_study_results *results, size_t variant, size_t other, size_t points) {
    ds_json_begin_array(b, "seeds");
    for (size_t s = 0; s < results->plan->seed_count; s++) {
        if (!ds_study_result_of(results, variant, s)->finished) continue;
        if (other != SIZE_MAX && !ds_study_result_of(results, other, s)->finished) continue;
        ds_json_begin_array(b, NULL);
        for (size_t i = 0; i < points; i++) ds_json_put_real(b, NULL, loss_at(results, variant, other, s, i));
        ds_json_end(b);
    }
    ds_json_end(b);
}

static ds_status put_curve(ds_json_builder *b, const char *key, const ds_study_results *results, size_t variant, size_t other,
                           size_t axis) {
    ds_status status = DS_OK;
    const size_t points = most_points(results, variant);
    curve c = {.x = NULL};
    double *x = NULL, *y = NULL;
    DS_TRY(curve_new(&c, points));
    DS_NEW(x, results->plan->seed_count);
    DS_NEW(y, results->plan->seed_count);
    for (size_t i = 0; i < points; i++) DS_TRY(point_of(&c, i, results, variant, other, axis, x, y));
    ds_json_begin_object(b, key);
    ds_json_put_reals(b, "x", c.x, points);
    ds_json_put_reals(b, "mean", c.mean, points);
    ds_json_put_reals(b, "lo", c.low, points);
    ds_json_put_reals(b, "hi", c.high, points);
    put_seeds(b, results, variant, other, points);
    ds_json_end(b);
done:
    curve_release(&c);
    free(x);
    free(y);
    return status;
}

/* Differences are over tokens, where both sides have seen the same; runs of other lengths have other schedules: none. */
static ds_status put_differences(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    ds_json_begin_object(b, "differences");
    for (size_t i = 0; i < plan->contrast_count; i++) {
        const ds_study_contrast *c = &plan->contrasts[i];
        char name[2 * DS_CELL_FOLDER];
        if (c->c != SIZE_MAX || plan->variants[c->a].recipe.steps != plan->variants[c->b].recipe.steps) continue;
        (void)snprintf(name, sizeof name, "%s - %s", plan->variants[c->a].name, plan->variants[c->b].name);
        DS_TRY(put_curve(b, name, results, c->a, c->b, TOKENS));
    }
    ds_json_end(b);
done:
    return status;
}

ds_status ds_study_put_curves(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    ds_json_begin_object(b, "curves");
    for (size_t axis = 0; axis < AXES; axis++) {
        ds_json_begin_object(b, axes[axis]);
        for (size_t v = 0; v < plan->variant_count; v++)
            DS_TRY(put_curve(b, plan->variants[v].name, results, v, SIZE_MAX, axis));
        ds_json_end(b);
    }
    DS_TRY(put_differences(b, results));
    ds_json_end(b);
done:
    return status;
}

/* ---- to a target ------------------------------------------------------------------------------------------------- */

/* Where the least loss so far first is at most `loss`, linear between evaluations; NaN when it never is. */
static double reach(const ds_plan *plan, const ds_cell_result *run, double loss, size_t axis) {
    if (run->diverged) return NAN;
    for (size_t i = 0; i < run->points; i++) {
        if (!(run->losses[i] <= loss)) continue;
        double x = place_of(plan, run, i, axis);
        if (i == 0) return x;
        double before = place_of(plan, run, i - 1, axis), share = (run->losses[i - 1] - loss);
        return before + (x - before) * share / (run->losses[i - 1] - run->losses[i]);
    }
    return NAN;
}

/* The mean final loss of a variant, given no divergence. */
static ds_status mean_final(double *out, const ds_study_results *results, size_t variant) {
    ds_status status = DS_OK;
    size_t n = 0;
    double *finals = NULL;
    DS_NEW(finals, results->plan->seed_count);
    for (size_t s = 0; s < results->plan->seed_count; s++) {
        const ds_cell_result *run = ds_study_result_of(results, variant, s);
        if (run->finished && !run->diverged) finals[n++] = run->final;
    }
    *out = ds_mean(finals, n);
done:
    free(finals);
    return status;
}

static ds_status put_target(ds_json_builder *b, const ds_study_results *results, const ds_study_contrast *contrast, double loss,
                            size_t axis) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    size_t n = 0, missed[2] = {0, 0};
    double *ratios = NULL;
    ds_ratio_summary summary;
    DS_NEW(ratios, plan->seed_count);
    for (size_t s = 0; s < plan->seed_count; s++) {
        const ds_cell_result *x = ds_study_result_of(results, contrast->a, s), *y = ds_study_result_of(results, contrast->b, s);
        if (!x->finished || !y->finished) continue;
        double a = reach(plan, x, loss, axis), c = reach(plan, y, loss, axis);
        missed[0] += isnan(a) ? 1 : 0;
        missed[1] += isnan(c) ? 1 : 0;
        ratios[n++] = a / c;
    }
    DS_TRY(ds_ratios_summarise(&summary, ratios, n));
    ds_json_begin_object(b, NULL);
    ds_json_put_real(b, "loss", loss);
    ds_json_put_text(b, "axis", axes[axis]);
    ds_json_put_text(b, "a", plan->variants[contrast->a].name);
    ds_json_put_text(b, "b", plan->variants[contrast->b].name);
    ds_json_put_reals(b, "ratios", ratios, n);
    ds_json_put_real(b, "geometric_mean", summary.geometric_mean);
    ds_study_put_interval(b, "interval", summary.low, summary.high);
    ds_json_begin_object(b, "censored");
    ds_json_put_count(b, "a", missed[0]);
    ds_json_put_count(b, "b", missed[1]);
    ds_json_end(b);
    ds_json_end(b);
done:
    free(ratios);
    return status;
}

ds_status ds_study_put_to_target(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    ds_json_begin_array(b, "to_target");
    for (size_t i = 0; i < plan->contrast_count; i++) {
        double loss;
        if (plan->contrasts[i].c != SIZE_MAX) continue;
        DS_TRY(mean_final(&loss, results, plan->contrasts[i].b));
        for (size_t axis = 0; axis < AXES && isfinite(loss); axis++)
            DS_TRY(put_target(b, results, &plan->contrasts[i], loss, axis));
    }
    ds_json_end(b);
done:
    return status;
}
