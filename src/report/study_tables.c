/* The tables of a study. */
#include <math.h>
#include <string.h>

#include "deltascope/measure/published_losses.h"
#include "study_page.h"

const ds_study_table ds_study_tables[DS_STUDY_TABLES] = {
    [DS_STUDY_VARIANTS] =
        {"table-variants", "variants", "Variants",
         "Final validation loss over seeds; ± is half the 95% t interval, the lowest mean is bold. Operations "
         "are of training, by the formula of the section on the plan. Where runs diverged, mean and interval are given no "
         "divergence. What the paper reports is of single "
         "runs, of other sizes on other data: it is for reference alone.",
         "variants"},
    [DS_STUDY_CONTRASTS] =
        {"table-contrasts", "contrasts", "Contrasts",
         "Differences of final loss, first minus second. could see: the true difference that four studies of "
         "five with these seeds and this spread would find. windows: the standard error that the validation "
         "windows alone leave; it is no part of the interval.",
         "contrasts"},
    [DS_STUDY_TARGETS] = {"table-targets", "targets", "What it takes to reach a loss",
                          "Ratio of first to second, geometric mean over seeds; a seed that never gets there is counted, not "
                          "compared.",
                          "costs"},
    [DS_STUDY_SWEEPS] =
        {"table-sweeps", "sweeps", "Learning rates",
         "One grid for all variants, on seeds that the test does not contain. best: the rate of the lowest mean "
         "loss; from, to: rates within 0.01 nats of it; sensitivity: the mean over the grid of what is lost to the "
         "best, a run that diverged counting as no training at all.",
         "costs"},
    [DS_STUDY_TUNED] = {"table-tuned", "tuned", "Contrasts with every variant at its best learning rate",
                        "On the seeds of the test, adjusted among themselves. The headline is at the shared recipe; where the "
                        "words differ, tuning decides.",
                        "costs"},
    [DS_STUDY_AUDIT] = {"table-audit", "audit", "The audit of the trained models",
                        "Means over seeds with 95% t intervals, each for itself.", "audit"},
    [DS_STUDY_AUDIT_CONTRASTS] =
        {"table-audit-contrasts", "audit-contrasts", "How trained gates differ, and what forcing all of them costs",
         "The plan's contrasts of mean gates (beta) and of the rise of loss with all gates forced, first minus second, seed by "
         "seed. Each stands alone: p is that of its t test, adjusted for nothing. study.json has those of every measure.",
         "audit"},
    [DS_STUDY_REFERENCE] =
        {"table-reference", "reference", "Published losses: single runs of other sizes",
         "Deep Delta Learning (arXiv:2601.00417): one run a row, so that no spread over seeds is known. They "
         "are of other models on other data, and are not comparable with the losses above.",
         "variants"},
};

static double half_width(const json_t *variant) {
    return (ds_json_real_at(variant, "summary/interval/1") - ds_json_real_at(variant, "summary/interval/0")) / 2;
}

static double update_seconds(const json_t *variant) {
    const json_t *runs = json_object_get(variant, "runs");
    double sum = 0;
    for (size_t i = 0; i < json_array_size(runs); i++) sum += ds_json_real_at(json_array_get(runs, i), "train_seconds");
    return json_array_size(runs) == 0 ? NAN : sum / (double)json_array_size(runs);
}

static const ds_result_column variant_columns[] = {
    DS_CELL("variant", NULL, NULL, DS_COLUMN_TEXT, 0, NULL),
    DS_CELL("rule", NULL, NULL, DS_COLUMN_TEXT, 0, "rule"),
    DS_CELL("parameters", NULL, NULL, DS_COLUMN_INTEGER, 0, "parameters"),
    DS_CELL("state_floats_per_token", "state", "floats/token", DS_COLUMN_INTEGER, 0, "state_floats_per_token"),
    DS_CELL("flops_per_token", "operations", "FLOP/token", DS_COLUMN_REAL, 3, "flops_per_token"),
    DS_CELL_NUMBER("update_seconds", "updates", "s/run", DS_COLUMN_REAL, 3, update_seconds),
    DS_CELL("seeds", NULL, NULL, DS_COLUMN_INTEGER, 0, "summary/n"),
    DS_CELL("diverged", NULL, NULL, DS_COLUMN_INTEGER, 0, "summary/diverged"),
    DS_CELL("loss", NULL, "nats", DS_COLUMN_LOWEST, 4, "summary/mean"),
    DS_CELL_NUMBER("half_width", "±", NULL, DS_COLUMN_FIXED, 4, half_width),
    DS_CELL("sd", NULL, NULL, DS_COLUMN_FIXED, 4, "summary/sd"),
    DS_CELL("median", NULL, NULL, DS_COLUMN_FIXED, 4, "summary/median"),
    DS_CELL_OPTIONAL("published_small", "paper 124M, 1 run", "nats", DS_COLUMN_FIXED, 4, "published_losses/small_loss"),
    DS_CELL_OPTIONAL("published_medium", "paper 353M, 1 run", "nats", DS_COLUMN_FIXED, 4, "published_losses/medium_loss"),
};
static const ds_result_column contrast_columns[] = {
    DS_CELL("contrast", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("difference", NULL, "nats", DS_COLUMN_FIXED, 4, "mean"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "interval/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "interval/1"),
    DS_CELL("p_t", "p (t)", NULL, DS_COLUMN_REAL, 2, "t/p"),
    DS_CELL("p_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "holm_p"),
    DS_CELL("p_sign_flip", "p flips", NULL, DS_COLUMN_REAL, 2, "sign_flip/p"),
    DS_CELL("correlation", "r", NULL, DS_COLUMN_FIXED, 2, "correlation"),
    DS_CELL("detectable", "could see", "nats", DS_COLUMN_FIXED, 4, "detectable_effect/effect"),
    DS_CELL("window_se", "windows", "nats", DS_COLUMN_FIXED, 4, "window_se"),
    DS_CELL("verdict", NULL, NULL, DS_COLUMN_TEXT, 0, "verdict"),
};
static const ds_result_column target_columns[] = {
    DS_CELL("first", NULL, NULL, DS_COLUMN_TEXT, 0, "a"),
    DS_CELL("second", NULL, NULL, DS_COLUMN_TEXT, 0, "b"),
    DS_CELL("axis", "in", NULL, DS_COLUMN_TEXT, 0, "axis"),
    DS_CELL("loss", "to reach", "nats", DS_COLUMN_FIXED, 4, "loss"),
    DS_CELL("ratio", NULL, NULL, DS_COLUMN_FIXED, 3, "geometric_mean"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 3, "interval/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 3, "interval/1"),
    DS_CELL("never_first", "first never", NULL, DS_COLUMN_INTEGER, 0, "censored/a"),
    DS_CELL("never_second", "second never", NULL, DS_COLUMN_INTEGER, 0, "censored/b"),
};
static const ds_result_column sweep_columns[] = {
    DS_CELL("variant", NULL, NULL, DS_COLUMN_TEXT, 0, NULL),
    DS_CELL("swept", NULL, NULL, DS_COLUMN_TEXT, 0, "key"),
    DS_CELL("best", NULL, NULL, DS_COLUMN_REAL, 4, "best"),
    DS_CELL("from", NULL, NULL, DS_COLUMN_REAL, 4, "within_0_01/0"),
    DS_CELL("to", NULL, NULL, DS_COLUMN_REAL, 4, "within_0_01/1"),
    DS_CELL("sensitivity", NULL, "nats", DS_COLUMN_FIXED, 4, "sensitivity"),
};
static const ds_result_column tuned_columns[] = {
    DS_CELL("contrast", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("difference", NULL, "nats", DS_COLUMN_FIXED, 4, "mean"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "interval/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "interval/1"),
    DS_CELL("p_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "holm_p"),
    DS_CELL("verdict", NULL, NULL, DS_COLUMN_TEXT, 0, "verdict"),
};
static const ds_result_table kinds[] = {
    [DS_STUDY_VARIANTS] = {.title = "Variants",
                           .rows = "variants",
                           .columns = variant_columns,
                           .column_count = sizeof variant_columns / sizeof variant_columns[0]},
    [DS_STUDY_CONTRASTS] = {.title = "Contrasts",
                            .rows = "contrasts",
                            .columns = contrast_columns,
                            .column_count = sizeof contrast_columns / sizeof contrast_columns[0]},
    [DS_STUDY_TARGETS] = {.title = "What it takes to reach a loss",
                          .rows = "to_target",
                          .columns = target_columns,
                          .column_count = sizeof target_columns / sizeof target_columns[0]},
    [DS_STUDY_SWEEPS] = {.title = "Learning rates",
                         .rows = "sweeps",
                         .columns = sweep_columns,
                         .column_count = sizeof sweep_columns / sizeof sweep_columns[0]},
    [DS_STUDY_TUNED] = {.title = "Contrasts at best learning rates",
                        .rows = "tuned/contrasts",
                        .columns = tuned_columns,
                        .column_count = sizeof tuned_columns / sizeof tuned_columns[0]},
};

/* ---- two kinds of rows ------------------------------------------------------------------------------------------- */

static const ds_column audit_columns[] = {
    {"variant", NULL, NULL, DS_COLUMN_TEXT, 0},  {"measure", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"seeds", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"mean", NULL, NULL, DS_COLUMN_REAL, 4},
    {"low", "95% low", NULL, DS_COLUMN_REAL, 4}, {"high", "95% high", NULL, DS_COLUMN_REAL, 4},
};

static ds_status make_audit(ds_table **table, const json_t *study) {
    ds_status status = DS_OK;
    json_t *variants = (json_t *)(uintptr_t)ds_json_at(study, "audit/variants"), *measures, *measure; /* for iterators */
    const char *variant, *name;
    if (variants == NULL) return DS_OK;
    DS_TRY(ds_table_new(table, "Audit", audit_columns, sizeof audit_columns / sizeof audit_columns[0]));
    json_object_foreach(variants, variant, measures) {
        json_object_foreach(measures, name, measure) {
            ds_table_text(*table, variant);
            ds_table_text(*table, name);
            ds_table_integer(*table, (int64_t)json_integer_value(ds_json_at(measure, "summary/n")));
            ds_table_real(*table, ds_json_real_at(measure, "summary/mean"));
            ds_table_real(*table, ds_json_real_at(measure, "summary/interval/0"));
            ds_table_real(*table, ds_json_real_at(measure, "summary/interval/1"));
        }
    }
done:
    return status;
}

static const ds_column audit_contrast_columns[] = {
    {"contrast", NULL, NULL, DS_COLUMN_TEXT, 0}, {"measure", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"seeds", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"difference", NULL, NULL, DS_COLUMN_REAL, 4},
    {"low", "95% low", NULL, DS_COLUMN_REAL, 4}, {"high", "95% high", NULL, DS_COLUMN_REAL, 4},
    {"p_t", "p (t)", NULL, DS_COLUMN_REAL, 2},
};

/* Measures of which the page shows contrasts: how far gates open, and what the whole rule is worth. */
static bool is_main_measure(const char *name) {
    const size_t length = strlen(name);
    return strncmp(name, "beta:", 5) == 0 || (length > 4 && strcmp(name + length - 4, ":all") == 0);
}

static ds_status make_audit_contrasts(ds_table **table, const json_t *study) {
    ds_status status = DS_OK;
    const json_t *contrasts = ds_json_at(study, "audit/contrasts"), *contrast;
    json_t *measure;
    const char *name;
    char sides[300];
    size_t i;
    if (json_array_size(contrasts) == 0) return DS_OK;
    DS_TRY(ds_table_new(table, "Audit: contrasts", audit_contrast_columns,
                        sizeof audit_contrast_columns / sizeof audit_contrast_columns[0]));
    json_array_foreach(contrasts, i, contrast) {
        const char *a = json_string_value(json_object_get(contrast, "a")),
                   *b = json_string_value(json_object_get(contrast, "b"));
        (void)snprintf(sides, sizeof sides, "%.140s - %.140s", a == NULL ? "?" : a, b == NULL ? "?" : b);
        json_object_foreach(json_object_get(contrast, "measures"), name, measure) {
            if (!is_main_measure(name)) continue;
            ds_table_text(*table, sides);
            ds_table_text(*table, name);
            ds_table_integer(*table, (int64_t)json_integer_value(json_object_get(measure, "n")));
            ds_table_real(*table, ds_json_real_at(measure, "mean"));
            ds_table_real(*table, ds_json_real_at(measure, "interval/0"));
            ds_table_real(*table, ds_json_real_at(measure, "interval/1"));
            ds_table_real(*table, ds_json_real_at(measure, "p"));
        }
    }
done:
    return status;
}

static const ds_column reference_columns[] = {
    {"variant", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"small_loss", "124M, single run", "nats", DS_COLUMN_FIXED, 4},
    {"small_perplexity", "perplexity", NULL, DS_COLUMN_FIXED, 2},
    {"medium_loss", "353M, single run", "nats", DS_COLUMN_FIXED, 4},
    {"medium_perplexity", "perplexity", NULL, DS_COLUMN_FIXED, 2},
};

static ds_status make_reference(ds_table **table) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Published losses", reference_columns, sizeof reference_columns / sizeof reference_columns[0]));
    for (size_t i = 0; i < ds_published_count(); i++) {
        const ds_published_loss *row = ds_published_at(i);
        ds_table_text(*table, row->name);
        ds_table_real(*table, row->small_loss);
        ds_table_real(*table, row->small_perplexity);
        ds_table_real(*table, row->medium_loss);
        ds_table_real(*table, row->medium_perplexity);
    }
done:
    return status;
}

ds_status ds_study_table_new(ds_table **table, size_t which, const json_t *study) {
    ds_status status = DS_OK;
    *table = NULL;
    if (which == DS_STUDY_AUDIT)
        DS_TRY(make_audit(table, study));
    else if (which == DS_STUDY_AUDIT_CONTRASTS)
        DS_TRY(make_audit_contrasts(table, study));
    else if (which == DS_STUDY_REFERENCE)
        DS_TRY(make_reference(table));
    else
        DS_TRY(ds_result_table_new(table, &kinds[which], study));
    if (*table != NULL && ds_table_rows(*table) == 0) ds_table_free(table);
done:
    if (status != DS_OK) ds_table_free(table);
    return status;
}
