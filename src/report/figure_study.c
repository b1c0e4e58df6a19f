/* Figures from `study`: curves, final losses seed by seed, sweeps. Whatever is drawn over seeds has the seed as its unit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"
#include "figure.h"

static const json_t *study_of(const json_t *results) { return json_object_get(results, "study"); }

/* Names of the members as labels: "names = '...'". */
static ds_status tell_names(ds_text *settings, const ds_member *all, size_t count) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    for (size_t i = 0; i < count; i++) DS_TRY(ds_labels_add(&names, all[i].name));
    status = ds_text_printf(settings, "names = '%s'\nvariants = %zu\n", ds_labels_words(&names), count);
done:
    ds_labels_release(&names);
    return status;
}

static ds_status tell_number(ds_text *settings, const char *name, double value) {
    char number[32];
    return ds_text_printf(settings, "%s = %s\n", name, isnan(value) ? "NaN" : ds_format_real(number, value));
}

static size_t panels_for(size_t series) { return (series + DS_FIGURE_SERIES - 1) / DS_FIGURE_SERIES; }

/* ---- curves ------------------------------------------------------------------------------------------------------ */

static const json_t *curves_of(const json_t *results, const char *axis) {
    return json_object_get(json_object_get(study_of(results), "curves"), axis);
}

/* One block: x and other arrays of a curve, side by side. */
static ds_status draw_curve(ds_data *data, const json_t *curve, const json_t *const *columns, size_t count) {
    ds_status status = DS_OK;
    const json_t *x;
    DS_TRY(ds_result_array(&x, curve, "x", "study.curves"));
    DS_TRY(ds_data_block(data, "curve", count == 1 ? "x\tloss" : "x\tmean\tfrom\tto"));
    for (size_t p = 0; p < json_array_size(x); p++) {
        double row[4] = {ds_result_element(x, p)};
        for (size_t c = 0; c < count; c++) row[c + 1] = ds_result_element(columns[c], p);
        DS_TRY(ds_data_row(data, row, count + 1));
    }
done:
    return status;
}

static ds_status draw_mean(ds_data *data, const json_t *curve) {
    ds_status status = DS_OK;
    const json_t *columns[3];
    DS_TRY(ds_result_array(&columns[0], curve, "mean", "study.curves"));
    DS_TRY(ds_result_array(&columns[1], curve, "lo", "study.curves"));
    DS_TRY(ds_result_array(&columns[2], curve, "hi", "study.curves"));
    DS_TRY(draw_curve(data, curve, columns, 3));
done:
    return status;
}

/* The start of training would press the rest together: the axis begins where half of the evaluations are done. */
static double early_loss(const json_t *curve) {
    const json_t *mean = json_object_get(curve, "mean");
    double value = ds_result_element(mean, json_array_size(mean) / 2);
    return fabs(value) <= 1e290 ? value : NAN;
}

/* Whether runs were not ended by what the axis counts: a curve is then cut at equal costs, where no schedule ended. */
static bool is_descriptive(const json_t *results, const char *axis) {
    const json_t *budget = ds_json_at(study_of(results), "plan/budget");
    return strcmp(axis, "tokens") != 0 && json_object_get(budget, axis) == NULL;
}

/* Blocks: the mean of every variant; then the seeds, those of the first variant first. */
static ds_status draw_axis(ds_drawing *drawing, const json_t *results, const char *axis, const char *title) {
    ds_status status = DS_OK;
    ds_member *curves = NULL;
    size_t count;
    ds_text seeds = {0};
    double top = NAN;
    DS_TRY(ds_members_sorted(&curves, &count, curves_of(results, axis)));
    for (size_t i = 0; i < count; i++) {
        DS_TRY(draw_mean(&drawing->data, curves[i].value));
        top = fmax(top, early_loss(curves[i].value));
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *all = json_object_get(curves[i].value, "seeds");
        for (size_t k = 0; k < json_array_size(all); k++) {
            const json_t *column = json_array_get(all, k);
            DS_TRY(draw_curve(&drawing->data, curves[i].value, &column, 1));
        }
        DS_TRY(ds_text_printf(&seeds, "%zu ", json_array_size(all)));
    }
    DS_TRY(tell_names(&drawing->settings, curves, count));
    drawing->panels = panels_for(count);
    DS_TRY(tell_number(&drawing->settings, "early", top));
    const bool descriptive = is_descriptive(results, axis);
    status = ds_text_printf(&drawing->settings, "seeds = '%s'\nx_name = '%s%s'\ndescriptive = %d\n", seeds.bytes, title,
                            descriptive ? " (descriptive)" : "", descriptive);
done:
    free(curves);
    ds_text_release(&seeds);
    return status;
}

static ds_status describe_axis(ds_text *caption, const json_t *results, const char *axis, const char *of) {
    size_t count = json_object_size(curves_of(results, axis));
    const char *cut = "";
    if (is_descriptive(results, axis))
        cut = " Dashed, for a cosine schedule cut short is not a shorter run: this describes, it decides nothing.";
    return ds_text_printf(
        caption,
        "Validation loss of %zu variant%s against %s.%s Thick lines are means over seeds, thin lines the seeds, "
        "bands the 95%% t interval of the mean at each point alone: they are pointwise, and nothing is tested on "
        "them. Of the first half of the evaluations, what lies above the axis is cut off.",
        count, ds_plural(count), of, cut);
}

bool ds_study_tokens_applies(const json_t *results) { return json_object_size(curves_of(results, "tokens")) != 0; }
ds_status ds_study_tokens_draw(ds_drawing *drawing, const json_t *results) {
    return draw_axis(drawing, results, "tokens", "tokens");
}
ds_status ds_study_tokens_describe(ds_text *caption, const json_t *results) {
    return describe_axis(caption, results, "tokens", "tokens trained on");
}

bool ds_study_flops_applies(const json_t *results) { return json_object_size(curves_of(results, "flops")) != 0; }
ds_status ds_study_flops_draw(ds_drawing *drawing, const json_t *results) {
    return draw_axis(drawing, results, "flops", "floating-point operations");
}
ds_status ds_study_flops_describe(ds_text *caption, const json_t *results) {
    return describe_axis(caption, results, "flops", "floating-point operations of training");
}

bool ds_study_seconds_applies(const json_t *results) { return json_object_size(curves_of(results, "seconds")) != 0; }
ds_status ds_study_seconds_draw(ds_drawing *drawing, const json_t *results) {
    return draw_axis(drawing, results, "seconds", "seconds of updates");
}
ds_status ds_study_seconds_describe(ds_text *caption, const json_t *results) {
    return describe_axis(caption, results, "seconds", "seconds of updates, evaluation and saving left out");
}

/* ---- differences along training ---------------------------------------------------------------------------------- */

static const json_t *contrasts_of(const json_t *results) { return json_object_get(study_of(results), "contrasts"); }

static const json_t *difference_of(const json_t *results, const json_t *contrast) {
    const char *name = json_string_value(json_object_get(contrast, "name"));
    return name == NULL ? NULL : json_object_get(curves_of(results, "differences"), name);
}

static bool has_curve(const void *results, const json_t *contrast) { return difference_of(results, contrast) != NULL; }

/* Of the second half of a curve, what can be drawn of its mean and interval. */
static void widen_late(ds_extent *late, const json_t *curve) {
    static const char *const keys[] = {"mean", "lo", "hi"};
    for (size_t k = 0; k < 3; k++) {
        const json_t *column = json_object_get(curve, keys[k]);
        for (size_t p = json_array_size(column) / 2; p < json_array_size(column); p++) {
            double value = ds_result_element(column, p);
            if (!(fabs(value) <= 1e285)) continue;
            late->low = fmin(late->low, value);
            late->high = fmax(late->high, value);
        }
    }
}

static size_t count_curves(const json_t *results) {
    size_t i, count = 0;
    const json_t *contrast;
    json_array_foreach(contrasts_of(results), i, contrast) count += has_curve(results, contrast) ? 1 : 0;
    return count;
}

bool ds_study_differences_applies(const json_t *results) { return count_curves(results) != 0; }

ds_status ds_study_differences_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    size_t i;
    const json_t *contrast;
    ds_extent late = {NAN, NAN};
    json_array_foreach(contrasts_of(results), i, contrast) {
        if (!has_curve(results, contrast)) continue;
        DS_TRY(draw_mean(&drawing->data, difference_of(results, contrast)));
        widen_late(&late, difference_of(results, contrast));
    }
    drawing->panels = count_curves(results);
    DS_TRY(ds_contrast_labels(&drawing->settings, contrasts_of(results), has_curve, results));
    DS_TRY(tell_number(&drawing->settings, "late_low", late.low));
    DS_TRY(tell_number(&drawing->settings, "late_high", late.high));
    status = ds_text_printf(&drawing->settings, "contrasts = %zu\n", drawing->panels);
done:
    return status;
}

ds_status ds_study_differences_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Differences of validation loss, seed by seed, of %zu contrasts against tokens trained on, from a quarter "
        "of the evaluations on: means and 95%% t intervals over seeds at each point alone. The bands are "
        "pointwise; what is tested is the end.",
        count_curves(results));
}

/* ---- the end, seed by seed --------------------------------------------------------------------------------------- */

static const json_t *variants_of(const json_t *results) { return json_object_get(study_of(results), "variants"); }

/* The most runs any variant has. */
static size_t most_runs(const ds_member *variants, size_t count) {
    size_t most = 0;
    for (size_t i = 0; i < count; i++) most = ds_max_size(most, json_array_size(json_object_get(variants[i].value, "runs")));
    return most;
}

bool ds_study_seeds_applies(const json_t *results) { return json_object_size(variants_of(results)) != 0; }

/* Blocks: the means with their intervals; then every seed over the variants. */
ds_status ds_study_seeds_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"summary/mean", "summary/interval/0", "summary/interval/1"};
    ds_status status = DS_OK;
    ds_member *variants = NULL;
    double row[4];
    size_t count, seeds;
    DS_TRY(ds_members_sorted(&variants, &count, variants_of(results)));
    seeds = most_runs(variants, count);
    DS_TRY(ds_data_block(&drawing->data, "variants", "variant\tmean\tfrom\tto"));
    for (size_t v = 0; v < count; v++) {
        row[0] = (double)v + 1;
        for (size_t i = 0; i < 3; i++) DS_TRY(ds_result_number_at(&row[i + 1], variants[v].value, paths[i], "study.variants"));
        DS_TRY(ds_data_row(&drawing->data, row, 4));
    }
    for (size_t k = 0; k < seeds; k++) {
        DS_TRY(ds_data_block(&drawing->data, "seed", "variant\tloss"));
        for (size_t v = 0; v < count; v++) {
            row[0] = (double)v + 1;
            row[1] = ds_json_real_at(json_array_get(json_object_get(variants[v].value, "runs"), k), "final");
            DS_TRY(ds_data_row(&drawing->data, row, 2));
        }
    }
    DS_TRY(tell_names(&drawing->settings, variants, count));
    status = ds_text_printf(&drawing->settings, "seeds = %zu\n", seeds);
done:
    free(variants);
    return status;
}

ds_status ds_study_seeds_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Final validation loss of every run of %zu variants: a line joins the runs of one seed, and lines that "
        "run side by side are what pairing gains from. Squares and bars: means and 95%% t intervals over seeds. "
        "A diverged run has no point.",
        json_object_size(variants_of(results)));
}

/* ---- sweeps ------------------------------------------------------------------------------------------------------ */

static const json_t *sweeps_of(const json_t *results) { return json_object_get(study_of(results), "sweeps"); }

bool ds_study_sweep_applies(const json_t *results) { return json_object_size(sweeps_of(results)) != 0; }

static ds_status draw_sweep(ds_data *data, const json_t *sweep) {
    ds_status status = DS_OK;
    const json_t *grid, *loss;
    double *values = NULL;
    DS_TRY(ds_result_array(&grid, sweep, "grid", "study.sweeps"));
    DS_TRY(ds_result_array(&loss, sweep, "loss", "study.sweeps"));
    DS_NEW_ARRAY(values, json_array_size(loss));
    DS_TRY(ds_data_block(data, "sweep", "value\tmean\tfrom\tto"));
    for (size_t g = 0; g < json_array_size(grid); g++) {
        ds_seed_summary summary;
        for (size_t k = 0; k < json_array_size(loss); k++) values[k] = ds_result_element(json_array_get(loss, k), g);
        DS_TRY(ds_seed_summarise(&summary, values, json_array_size(loss)));
        DS_TRY(ds_data_row(data, (const double[]){ds_result_element(grid, g), summary.mean, summary.low, summary.high}, 4));
    }
done:
    free(values);
    return status;
}

ds_status ds_study_sweep_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const char *key;
    ds_member *sweeps = NULL;
    size_t count;
    ds_labels label = {0};
    DS_TRY(ds_members_sorted(&sweeps, &count, sweeps_of(results)));
    for (size_t i = 0; i < count; i++) DS_TRY(draw_sweep(&drawing->data, sweeps[i].value));
    DS_TRY(tell_names(&drawing->settings, sweeps, count));
    DS_TRY(ds_result_text(&key, sweeps[0].value, "key", "study.sweeps"));
    DS_TRY(ds_labels_add(&label, key));
    drawing->panels = panels_for(count);
    status = ds_text_printf(&drawing->settings, "x_name = '%s'\n", ds_labels_words(&label));
done:
    free(sweeps);
    ds_labels_release(&label);
    return status;
}

ds_status ds_study_sweep_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Final loss of %zu variant%s against what was swept, on seeds that the test does not contain: means, and "
        "bands of 95%% t intervals over seeds at each value alone.",
        json_object_size(sweeps_of(results)), ds_plural(json_object_size(sweeps_of(results))));
}
