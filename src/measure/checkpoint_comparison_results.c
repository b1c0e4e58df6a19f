/* What a comparison of checkpoints says, as JSON. */
#include "deltascope/measure/checkpoint_comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result_json.h"

/* ---- over all sublayers ------------------------------------------------------------------------------------------ */

ds_overall_gates ds_overall_gates_of(const ds_gate_census *census) {
    ds_overall_gates all = {NAN, NAN, {0}};
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

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_paired(ds_json_builder *b, const char *key, const char *interval, const ds_paired *paired) {
    ds_json_put_real(b, key, paired->mean);
    ds_json_put_interval(b, interval, paired->low, paired->high);
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
    ds_overall_gates all = ds_overall_gates_of(census);
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
    if (entry->warnings != NULL) ds_json_put(b, "warnings", json_incref(entry->warnings));
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
    if (entry->state_gradient != NULL) ds_json_put_reals(b, "state_gradients", entry->state_gradient, entry->sublayers + 1);
    put_overall(b, &entry->census);
    ds_json_put(b, "sublayers", sublayers);
    put_cases(b, entry, comparison->windows);
    if (entry->rules != NULL) ds_json_put(b, "rules", json_incref(entry->rules));
    ds_json_end(b);
done:
    return status;
}

/* What forcing the own parts of every rule does, checkpoint by checkpoint. */
static void put_parts(ds_json_builder *b, const ds_comparison *comparison) {
    static const char *const keys[] = {"delta_loss", "delta_loss_ci95", "p_value_holm", "kl"};
    ds_json_begin_array(b, "rule_parts");
    for (size_t i = 0; i < comparison->count; i++) {
        const json_t *cases = ds_json_at(comparison->entries[i].rules, "parts/cases");
        for (size_t c = 0; c < json_array_size(cases); c++) {
            const json_t *item = json_array_get(cases, c);
            ds_json_begin_object(b, NULL);
            ds_json_put_text(b, "label", comparison->entries[i].label);
            ds_json_put_text(b, "part", json_string_value(json_object_get(item, "mode")));
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
                ds_json_put(b, keys[k], json_incref(json_object_get(item, keys[k])));
            ds_json_end(b);
        }
    }
    ds_json_end(b);
}

ds_status ds_compare_json(json_t **results, ds_comparison *comparison) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_bool(&b, "trajectory", comparison->trajectory);
    ds_json_put_text(&b, "x", comparison->numbered ? "number" : "order");
    ds_json_put_intervals(&b, "intervals", comparison->windows, comparison->count - 1);
    ds_json_put_intervals(&b, "cost_intervals", comparison->windows, comparison->cost_hypotheses);
    ds_json_begin_array(&b, "checkpoints");
    for (size_t i = 0; i < comparison->count; i++) DS_TRY(put_entry(&b, comparison, i));
    ds_json_end(&b);
    if (comparison->entries[0].rules != NULL) put_parts(&b, comparison);
    ds_json_end(&b);
    status = ds_json_finish(results, &b);
done:
    if (status != DS_OK) ds_json_discard(&b);
    return status;
}

ds_status ds_compare_options_json(json_t **out, const ds_run_options *base, const ds_compare_options *options) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "shut", options->shut);
    ds_json_put_bool(&b, "trajectory", options->trajectory);
    ds_json_put_bool(&b, "rules", options->rules);
    ds_json_put_real(&b, "regime_tol", options->regime_tolerance);
    ds_json_put_count(&b, "seed", base->seed);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

ds_status ds_compare_results(json_t **options_json, json_t **results, ds_run *first, const ds_run_options *base,
                             const ds_compare_options *options) {
    ds_status status = DS_OK;
    ds_comparison comparison = {.count = 0};
    *options_json = *results = NULL;
    *first = (ds_run){.checkpoint = NULL};
    DS_TRY(ds_compare_options_json(options_json, base, options));
    DS_TRY(ds_compare_measure(&comparison, first, base, options));
    DS_TRY(ds_compare_json(results, &comparison));
done:
    ds_compare_release(&comparison);
    return status;
}
