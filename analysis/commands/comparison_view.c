#include "comparison_view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- over all sublayers ---------------------------------------------------------------------------------------------------- */

typedef struct overall {
    double beta, edit, shares[DS_REGIME_COUNT]; /* NaN when additive */
} overall;

static overall over_sublayers(const ds_gate_census *census) {
    overall all = {NAN, NAN, {0}};
    double tokens = 0;
    ds_sum beta = {0}, edit = {0};
    for (size_t r = 0; r < DS_REGIME_COUNT; r++) all.shares[r] = 0;
    for (size_t s = 0; s < census->sublayers; s++) {
        ds_gate_usage *usage = &census->usage[s];
        double count = (double)usage->tokens;
        tokens += count;
        ds_sum_add(&beta, ds_summary_statistics(&usage->beta).mean * count);
        ds_sum_add(&edit, ds_sum_value(&usage->relative_edit));
        for (size_t r = 0; r < DS_REGIME_COUNT; r++) all.shares[r] += (double)usage->regimes[r];
    }
    for (size_t r = 0; r < DS_REGIME_COUNT; r++) all.shares[r] = tokens > 0 ? all.shares[r] / tokens : NAN;
    if (tokens > 0) all.beta = ds_sum_value(&beta) / tokens;
    if (tokens > 0) all.edit = ds_sum_value(&edit) / tokens;
    return all;
}

/* ---- rows of checkpoints --------------------------------------------------------------------------------------------------- */

static const ds_column loss_columns[] = {
    {"checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"variant", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"loss", NULL, "nats", DS_COLUMN_FIXED, 4},
    {"delta_loss", "Δ first", "nats", DS_COLUMN_FIXED, 4},
    {"low", "95% low", NULL, DS_COLUMN_FIXED, 4},
    {"high", "95% high", NULL, DS_COLUMN_FIXED, 4},
    {"p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2},
};

ds_status ds_comparison_loss_table(ds_table **table, const ds_comparison *comparison) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Loss, and its difference from the first", loss_columns, LENGTH_OF(loss_columns)));
    for (size_t i = 0; i < comparison->count; i++) {
        const ds_compared *entry = &comparison->entries[i];
        ds_table_text(*table, entry->label);
        ds_table_text(*table, ds_spec_variant(&entry->spec));
        ds_table_real(*table, ds_mean(entry->loss, comparison->windows));
        ds_table_real(*table, entry->difference.mean);
        ds_table_real(*table, entry->difference.low);
        ds_table_real(*table, entry->difference.high);
        ds_table_real(*table, entry->holm);
    }
done:
    return status;
}

static const ds_column gate_columns[] = {
    {"checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0},           {"layers", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3},       {"identity", "ident", NULL, DS_COLUMN_PERCENT, 1},
    {"damped", "damp", NULL, DS_COLUMN_PERCENT, 1},          {"projection", "proj", NULL, DS_COLUMN_PERCENT, 1},
    {"over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1},    {"reflection", "refl", NULL, DS_COLUMN_PERCENT, 1},
    {"relative_edit", "edit/|X|", NULL, DS_COLUMN_FIXED, 3},
};

ds_status ds_comparison_gate_table(ds_table **table, ds_comparison *comparison) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Gates over all sublayers", gate_columns, LENGTH_OF(gate_columns)));
    for (size_t i = 0; i < comparison->count; i++) {
        overall all = over_sublayers(&comparison->entries[i].census);
        ds_table_text(*table, comparison->entries[i].label);
        ds_table_integer(*table, (int64_t)comparison->entries[i].spec.layers);
        ds_table_real(*table, all.beta);
        for (size_t r = 0; r < DS_REGIME_COUNT; r++) ds_table_real(*table, all.shares[r]);
        ds_table_real(*table, all.edit);
    }
done:
    return status;
}

static const ds_column long_columns[] = {
    {"checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0},       {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"beta_mean", NULL, NULL, DS_COLUMN_FIXED, 3},       {"identity", NULL, NULL, DS_COLUMN_PERCENT, 1},
    {"damped", NULL, NULL, DS_COLUMN_PERCENT, 1},        {"projection", NULL, NULL, DS_COLUMN_PERCENT, 1},
    {"over_relaxed", NULL, NULL, DS_COLUMN_PERCENT, 1},  {"reflection", NULL, NULL, DS_COLUMN_PERCENT, 1},
    {"relative_edit", NULL, NULL, DS_COLUMN_FIXED, 3},   {"cost", NULL, "nats", DS_COLUMN_FIXED, 4},
    {"cost_low", NULL, NULL, DS_COLUMN_FIXED, 4},        {"cost_high", NULL, NULL, DS_COLUMN_FIXED, 4},
    {"difference", NULL, "nats", DS_COLUMN_FIXED, 4},    {"difference_low", NULL, NULL, DS_COLUMN_FIXED, 4},
    {"difference_high", NULL, NULL, DS_COLUMN_FIXED, 4}, {"p_value_holm", NULL, NULL, DS_COLUMN_REAL, 2},
};

static double mean_gate(const ds_compared *entry, size_t sublayer) {
    return sublayer < entry->census.sublayers ? ds_summary_statistics(&entry->census.usage[sublayer].beta).mean : NAN;
}

static double cost_of(const ds_compared *entry, size_t sublayer) {
    return sublayer < entry->cases.count ? entry->cost[sublayer].mean : NAN;
}

static void add_paired(ds_table *table, const ds_paired *paired) {
    ds_table_real(table, paired == NULL ? NAN : paired->mean);
    ds_table_real(table, paired == NULL ? NAN : paired->low);
    ds_table_real(table, paired == NULL ? NAN : paired->high);
}

ds_status ds_comparison_long_table(ds_table **table, ds_comparison *comparison) {
    ds_status status = DS_OK;
    char name[32];
    DS_TRY(ds_table_new(table, "Sublayers", long_columns, LENGTH_OF(long_columns)));
    for (size_t i = 0; i < comparison->count; i++) {
        const ds_compared *entry = &comparison->entries[i];
        for (size_t s = 0; s < entry->sublayers; s++) {
            const ds_gate_usage *usage = entry->census.sublayers == 0 ? NULL : &entry->census.usage[s];
            bool shut = entry->cases.count != 0;
            ds_table_text(*table, entry->label);
            ds_table_text(*table, ds_sublayer_name(name, s));
            ds_table_real(*table, mean_gate(entry, s));
            for (size_t r = 0; r < DS_REGIME_COUNT; r++) ds_table_real(*table, usage == NULL ? NAN : ds_gate_share(usage, r));
            ds_table_real(*table, usage == NULL ? NAN : ds_sum_value(&usage->relative_edit) / (double)usage->tokens);
            add_paired(*table, shut ? &entry->cost[s] : NULL);
            add_paired(*table, shut ? &entry->cost_difference[s] : NULL);
            ds_table_real(*table, shut ? entry->cost_holm[s] : NAN);
        }
    }
done:
    return status;
}

/* ---- rows of sublayers ----------------------------------------------------------------------------------------------------- */

typedef double (*sublayer_value)(const ds_compared *entry, size_t sublayer);

/* A curve over the checkpoints, between the row's smallest and largest value. */
static ds_status append_curve(ds_text *curve, const ds_comparison *comparison, sublayer_value value, size_t sublayer) {
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    ds_status status = DS_OK;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < comparison->count; i++) {
        low = fmin(low, value(&comparison->entries[i], sublayer));
        high = fmax(high, value(&comparison->entries[i], sublayer));
    }
    DS_TRY(ds_text_append(curve, "", 0));
    for (size_t i = 0; i < comparison->count; i++) {
        double v = value(&comparison->entries[i], sublayer);
        size_t level = high > low && !isnan(v) ? (size_t)lround(7 * (v - low) / (high - low)) : 0;
        DS_TRY(ds_text_printf(curve, "%s", isnan(v) ? " " : blocks[level]));
    }
done:
    return status;
}

static ds_status side_by_side(ds_table **table, const ds_comparison *comparison, const char *title, const char *unit,
                              int digits, sublayer_value value, bool differences, bool curves) {
    ds_status status = DS_OK;
    ds_column *columns = NULL;
    ds_text curve = {0};
    char name[32];
    size_t count = 0, rows = 0;
    DS_NEW(columns, comparison->count + 6);
    columns[count++] = (ds_column){"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0};
    if (curves) columns[count++] = (ds_column){"curve", NULL, NULL, DS_COLUMN_TEXT, 0};
    for (size_t i = 0; i < comparison->count; i++) {
        columns[count++] = (ds_column){comparison->entries[i].label, NULL, unit, DS_COLUMN_FIXED, digits};
        rows = ds_max_size(rows, comparison->entries[i].sublayers);
    }
    if (differences) {
        columns[count++] = (ds_column){"difference", NULL, unit, DS_COLUMN_FIXED, digits};
        columns[count++] = (ds_column){"low", "95% low", NULL, DS_COLUMN_FIXED, digits};
        columns[count++] = (ds_column){"high", "95% high", NULL, DS_COLUMN_FIXED, digits};
        columns[count++] = (ds_column){"p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2};
    }
    DS_TRY(ds_table_new(table, title, columns, count));
    for (size_t s = 0; s < rows; s++) {
        ds_table_text(*table, ds_sublayer_name(name, s));
        curve.length = 0;
        if (curves) DS_TRY(append_curve(&curve, comparison, value, s));
        if (curves) ds_table_text(*table, curve.bytes);
        for (size_t i = 0; i < comparison->count; i++) ds_table_real(*table, value(&comparison->entries[i], s));
        const ds_compared *second = &comparison->entries[1];
        bool known = differences && s < second->cases.count;
        if (differences) add_paired(*table, known ? &second->cost_difference[s] : NULL);
        if (differences) ds_table_real(*table, known ? second->cost_holm[s] : NAN);
    }
done:
    ds_text_release(&curve);
    free(columns);
    return status;
}

ds_status ds_comparison_mean_gates(ds_table **table, ds_comparison *comparison, bool curves) {
    return side_by_side(table, comparison, "Mean gate β", NULL, 3, mean_gate, false, curves);
}

ds_status ds_comparison_costs(ds_table **table, ds_comparison *comparison, bool curves) {
    const ds_compared *entries = comparison->entries;
    bool pairs = comparison->count == 2 && entries[0].sublayers == entries[1].sublayers;
    return side_by_side(table, comparison, "Rise of the loss when a gate is shut", "nats", 4, cost_of, pairs, curves);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------ */

static void put_paired(ds_json_builder *b, const char *key, const char *interval, const ds_paired *paired) {
    ds_json_put_real(b, key, paired->mean);
    ds_json_put_reals(b, interval, (const double[]){paired->low, paired->high}, 2);
}

static void put_cases(ds_json_builder *b, const ds_compared *entry, size_t windows) {
    char name[32];
    ds_json_begin_array(b, "cases");
    for (size_t c = 0; c < entry->cases.count; c++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", entry->cases.cases[c].name);
        ds_json_put_count(b, "index", c);
        ds_json_put_text(b, "sublayer", ds_sublayer_name(name, c));
        ds_json_put_real(b, "loss", ds_mean(entry->closed + c * windows, windows));
        put_paired(b, "delta_loss", "delta_loss_ci95", &entry->cost[c]);
        put_paired(b, "difference", "difference_ci95", &entry->cost_difference[c]);
        ds_json_put_real(b, "p_value", entry->cost_difference[c].p_value);
        ds_json_put_real(b, "p_value_holm", entry->cost_holm[c]);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_overall(ds_json_builder *b, const ds_gate_census *census) {
    overall all = over_sublayers(census);
    ds_json_begin_object(b, "overall");
    ds_json_put_real(b, "beta_mean", all.beta);
    ds_json_begin_object(b, "regimes");
    for (size_t r = 0; r < DS_REGIME_COUNT; r++) ds_json_put_real(b, ds_regime_name((ds_regime)r), all.shares[r]);
    ds_json_end(b);
    ds_json_put_real(b, "relative_edit", all.edit);
    ds_json_end(b);
}

static ds_status put_entry(ds_json_builder *b, const ds_comparison *comparison, size_t index) {
    ds_status status = DS_OK;
    ds_compared *entry = &comparison->entries[index];
    json_t *sublayers = NULL;
    DS_TRY(ds_gate_census_json(&sublayers, &entry->census));
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "label", entry->label);
    ds_json_put_real(b, "x", comparison->x[index]);
    ds_json_put_text(b, "path", entry->path);
    ds_json_put_text(b, "sha256", entry->sha256);
    if (entry->warning != NULL) {
        ds_json_begin_array(b, "warnings");
        ds_json_put_text(b, NULL, entry->warning);
        ds_json_end(b);
    }
    ds_json_put_text(b, "variant", ds_spec_variant(&entry->spec));
    ds_json_put_count(b, "parameters", entry->parameters);
    ds_json_put_count(b, "layers", entry->spec.layers);
    ds_json_put_count(b, "hidden", entry->spec.hidden);
    ds_json_put_count(b, "value_channels", entry->spec.value_channels);
    ds_json_put_real(b, "loss", ds_mean(entry->loss, comparison->windows));
    put_paired(b, "difference", "difference_ci95", &entry->difference);
    ds_json_put_real(b, "p_value", entry->difference.p_value);
    ds_json_put_real(b, "p_value_holm", entry->holm);
    ds_json_put_reals(b, "sequence_loss", entry->loss, comparison->windows);
    put_overall(b, &entry->census);
    ds_json_put(b, "sublayers", sublayers);
    put_cases(b, entry, comparison->windows);
    ds_json_end(b);
done:
    return status;
}

ds_status ds_comparison_json(json_t **results, ds_comparison *comparison, bool trajectory) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_bool(&b, "trajectory", trajectory);
    ds_json_put_text(&b, "x", comparison->numbered ? "number" : "order");
    ds_json_begin_array(&b, "checkpoints");
    for (size_t i = 0; i < comparison->count; i++) DS_TRY(put_entry(&b, comparison, i));
    ds_json_end(&b);
    ds_json_end(&b);
    status = ds_json_finish(results, &b);
done:
    if (status != DS_OK) ds_json_discard(&b);
    return status;
}
