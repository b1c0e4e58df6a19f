#include "deltascope/measure/rule_measures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/depth_mixing.h"
#include "deltascope/measure/forced_gates.h"
#include "deltascope/measure/gradient_flow.h"
#include "deltascope/measure/spectrum.h"

static double number_at(const json_t *object, const char *path) {
    const json_t *value = ds_json_at(object, path);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double element(const json_t *array, size_t index) {
    const json_t *value = json_array_get(array, index);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- the measurements ------------------------------------------------------------------------------------------------ */

/* The modes, of those that force all sublayers at once, whose price says whether the rule's own part is used. */
static const char *const parts[] = {"write-only",  "mean-gate", "uniform",  "recent", "residual", "identity-res",
                                    "uniform-res", "mean-mix",  "mean-res", "static", "converged"};

static ds_status list_parts(ds_text *modes, const ds_spec *spec) {
    ds_status status = DS_OK;
    size_t count;
    const ds_intervention *all = ds_rule_interventions(spec->rule, &count);
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
            if (strcmp(all[i].name, parts[p]) == 0 && (all[i].scopes & DS_SCOPE_ALL) != 0)
                DS_TRY(ds_text_printf(modes, "%s%s", modes->length > 0 ? "," : "", parts[p]));
done:
    return status;
}

static ds_status force_parts(json_t **results, ds_run *run) {
    ds_status status = DS_OK;
    ds_text modes = {0};
    json_t *told = NULL;
    DS_TRY(list_parts(&modes, &run->spec));
    if (modes.length == 0) goto done; /* the additive rule has none */
    const ds_ablate_options options = {.modes = modes.bytes, .scopes = "all"};
    DS_TRY(ds_ablate_results(&told, results, run, &options));
done:
    json_decref(told);
    ds_text_release(&modes);
    return status;
}

/* Singular values of products of frozen operators, of every token at every depth. */
static ds_status multiply_operators(json_t **results, ds_run *run) {
    ds_status status = DS_OK;
    json_t *told = NULL;
    ds_spectrum_options options = ds_spectrum_defaults;
    if (!ds_spec_has_operators(&run->spec)) return DS_OK;
    options.positions = "all";
    DS_TRY(ds_spectrum_results(&told, results, run, &options));
done:
    json_decref(told);
    return status;
}

/* ---- mass and cause --------------------------------------------------------------------------------------------------- */

/* mass (S) <- the mean over all later reads of the contribution of what a sublayer wrote. */
static void find_masses(double *mass, const json_t *depth, size_t sublayers) {
    const json_t *rows = ds_json_at(depth, "depth_rows");
    for (size_t s = 0; s < sublayers; s++) {
        mass[s] = 0;
        for (size_t read = s + 1; read <= sublayers; read++)
            mass[s] += element(json_object_get(json_array_get(rows, read), "contribution"), s + 1) / (double)(sublayers - s);
    }
}

static ds_status put_masses(ds_json_builder *b, const json_t *depth, const double *cost, size_t sublayers) {
    ds_status status = DS_OK;
    double *mass = NULL;
    ds_correlation rank = {NAN, NAN, NAN};
    DS_NEW(mass, sublayers);
    find_masses(mass, depth, sublayers);
    if (cost != NULL) DS_TRY(ds_spearman(&rank, mass, cost, sublayers));
    ds_json_put_reals(b, "mass", mass, sublayers);
    ds_json_put_real(b, "mass_cost_rank_correlation", rank.coefficient);
done:
    free(mass);
    return status;
}

/* Where costs lie: the largest one's part of their sum, and their Gini coefficient; a gain by closing counts as 0. */
static void put_concentration(ds_json_builder *b, const double *cost, size_t sublayers) {
    double sum = 0, largest = 0, differences = 0;
    for (size_t i = 0; cost != NULL && i < sublayers; i++) {
        double own = ds_max_real(0, cost[i]);
        sum += own;
        largest = ds_max_real(largest, own);
        for (size_t j = 0; j < sublayers; j++) differences += fabs(own - ds_max_real(0, cost[j]));
    }
    ds_json_put_real(b, "largest_cost_share", sum > 0 ? largest / sum : NAN);
    ds_json_put_real(b, "cost_gini", sum > 0 ? differences / (2 * (double)sublayers * sum) : NAN);
}

/* ---- health ----------------------------------------------------------------------------------------------------------- */

/* Means over the deepest third of the reads; a row of one source has no normalised entropy. */
static void put_deepest(ds_json_builder *b, const json_t *depth) {
    const json_t *rows = ds_json_at(depth, "depth_rows");
    size_t reads = json_array_size(rows), first = reads - ds_max_size(1, reads / 3);
    double largest = 0, entropy = 0;
    for (size_t s = first; s < reads; s++) {
        largest += number_at(json_array_get(rows, s), "contribution_max/mean") / (double)(reads - first);
        entropy +=
            number_at(json_array_get(rows, s), "contribution_entropy/mean") / log((double)(s + 1)) / (double)(reads - first);
    }
    ds_json_put_real(b, "deepest_largest", largest);
    ds_json_put_real(b, "deepest_entropy", reads > 1 ? entropy : NAN);
}

/* Over sublayers: the mean cosine between streams, the larger defect of sums of R on either side, the widest logits. */
static void put_streams(ds_json_builder *b, const json_t *depth) {
    const json_t *mixing = ds_json_at(depth, "mixing");
    double cosine = 0, rows = 0, columns = 0, range = 0;
    size_t count = json_array_size(mixing);
    for (size_t s = 0; s < count; s++) {
        const json_t *sublayer = json_array_get(mixing, s);
        cosine += number_at(sublayer, "stream_cosine") / (double)count;
        rows = ds_max_real(rows, number_at(sublayer, "row_deviation/max"));
        columns = ds_max_real(columns, number_at(sublayer, "column_deviation/max"));
        range = ds_max_real(range, number_at(sublayer, "logit_range/max"));
    }
    ds_json_put_real(b, "stream_cosine", count > 0 ? cosine : NAN);
    ds_json_put_real(b, "row_defect", count > 0 ? rows : NAN);
    ds_json_put_real(b, "column_defect", count > 0 ? columns : NAN);
    ds_json_put_real(b, "logit_range", count > 0 ? range : NAN);
}

/* Over tokens, the mean standard deviation of what outputs are weighed by, A. Gates have their own place. */
static double coefficient_std(const json_t *depth) {
    const json_t *matrix = ds_json_at(depth, "depth_matrix/token_std");
    double sum = 0, count = 0;
    for (size_t s = 0; s < json_array_size(matrix); s++)
        for (size_t i = 0; i <= s; i++, count++) sum += element(json_array_get(matrix, s), i);
    return count > 0 ? sum / count : NAN;
}

/* Numbers that an additive model on the same backbone would not have. */
static ds_status count_added(uint64_t *added, const ds_run *run) {
    ds_status status = DS_OK;
    ds_spec plain = run->spec;
    uint64_t count;
    for (size_t i = 0; i < ds_rule_count(); i++)
        if (ds_rule_kind_of(ds_rule_at(i)) == DS_KIND_ADDITIVE) plain.rule = ds_rule_at(i);
    plain.streams = (ds_stream_spec){.count = 0};
    plain.compressor = DS_COMPRESS_NONE;
    plain.value_channels = 1;
    plain.input_kernel = plain.state_kernel = 0;
    plain.trained[0] = plain.trained[1] = (ds_force){DS_FORCE_NONE, 0};
    DS_TRY(ds_spec_parameter_count(&count, &plain));
    *added = ds_model_parameter_count(run->model) - count;
done:
    return status;
}

static ds_status put_health(ds_json_builder *b, const ds_run *run, const json_t *depth) {
    ds_status status = DS_OK;
    bool *reached = NULL;
    uint64_t added = 0;
    size_t dead = 0, count = ds_model_parameters(run->model);
    DS_NEW(reached, count);
    DS_TRY(count_added(&added, run));
    ds_model_reached(reached, run->model, run->length);
    for (size_t p = 0; p < count; p++) dead += !reached[p];
    ds_json_begin_object(b, "health");
    put_deepest(b, depth);
    put_streams(b, depth);
    ds_json_put_real(b, "coefficient_std", coefficient_std(depth));
    ds_json_put_count(b, "dead_tensors", dead);
    ds_json_put_count(b, "parameters_added", added);
    ds_json_end(b);
done:
    free(reached);
    return status;
}

ds_status ds_rule_measures(json_t **out, ds_run *run, const double *cost) {
    ds_status status = DS_OK;
    json_t *told[2] = {NULL}, *depth = NULL, *gradients = NULL, *forced = NULL, *spectrum = NULL;
    ds_json_builder b = {0};
    *out = NULL;
    DS_TRY(ds_depth_mixing_results(&told[0], &depth, run));
    DS_TRY(ds_gradflow_results(&told[1], &gradients, run, &ds_gradflow_defaults));
    DS_TRY(force_parts(&forced, run));
    DS_TRY(multiply_operators(&spectrum, run));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "kind", ds_rule_kind_name(run->spec.rule));
    ds_json_put_text(&b, "backbone", ds_spec_backbone_name(&run->spec));
    DS_TRY(put_masses(&b, depth, cost, ds_spec_sublayers(&run->spec)));
    put_concentration(&b, cost, ds_spec_sublayers(&run->spec));
    DS_TRY(put_health(&b, run, depth));
    ds_json_put(&b, "depth", json_incref(depth));
    ds_json_put(&b, "gradflow", json_incref(gradients));
    if (forced != NULL) ds_json_put(&b, "parts", json_incref(forced));
    if (spectrum != NULL) ds_json_put(&b, "spectrum", json_incref(spectrum));
    ds_json_end(&b);
    status = ds_json_finish(out, &b);
done:
    if (status != DS_OK) ds_json_discard(&b);
    json_t *const owned[] = {told[0], told[1], depth, gradients, forced, spectrum};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) json_decref(owned[i]);
    return status;
}
