#include "deltascope/measure/gates.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/per_token_arrays.h"
#include "observed_windows.h"

const ds_gates_options ds_gates_defaults = {.regime_tolerance = 0.1};

/* What is filled while the windows pass. The record of a window: losses of its tokens, then what was observed. */
typedef struct collection {
    ds_gates *out;
    ds_run *run;
    ds_observed observed;
    ds_per_token *per_token;    /* NULL: not asked for */
    double *nll;                /* (batch, T) */
    uint32_t *inputs, *targets; /* (T): of the window whose record is taken, for per_token */
} collection;

static ds_status observe(void *context, const ds_observation *observation) {
    const collection *all = context;
    ds_status status = DS_OK;
    ds_limits_add(&all->out->limits, observation);
    if (all->out->census.sublayers == 0) goto done; /* a rule without gates */
    DS_TRY(ds_gate_census_add(&all->out->census, observation));
    if (all->per_token != NULL) DS_TRY(ds_per_token_add(all->per_token, observation));
done:
    return status;
}

static ds_status measure_batch(void *context, const ds_window_batch *now) {
    collection *all = context;
    const ds_observer observer = {DS_LIMITS_WANT, ds_observed_take, &all->observed};
    return ds_forward(now->run->workspace, now->run->model, &now->batch, NULL, &observer, all->nll);
}

static void fill_record(void *context, double *record, size_t row, size_t rows) {
    const collection *all = context;
    size_t length = all->run->length;
    (void)rows;
    memcpy(record, all->nll + row * length, length * sizeof *record);
    memcpy(record + length, all->observed.windows + row * all->observed.length, all->observed.length * sizeof *record);
}

static ds_status take_record(void *context, size_t window, const double *record) {
    ds_status status = DS_OK;
    const collection *all = context;
    size_t length = all->run->length;
    const ds_observer observer = {DS_LIMITS_WANT, observe, context};
    all->out->sequence_loss[window] = ds_mean(record, length);
    DS_TRY(ds_observed_show(&all->observed, record + length, &observer));
    if (all->per_token == NULL) goto done;
    const ds_window_batch now = {.run = all->run, .batch = {all->inputs, all->targets, 1, length}, .windows = &window};
    DS_TRY(ds_run_read_windows(all->run, all->inputs, all->targets, window, 1));
    DS_TRY(ds_per_token_end_batch(all->per_token, &now, record));
done:
    return status;
}

static ds_status tell_options(json_t **out, const ds_gates_options *options) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "regime_tol", options->regime_tolerance);
    ds_json_put_count(&b, "shadow", options->shadow);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

/* The arrays carry the whole result, as --out would write it: equal inputs give equal bytes. */
static ds_status finish_arrays(ds_per_token **file, ds_gates *gates, const ds_run *run, const ds_gates_options *options) {
    ds_status status = DS_OK;
    json_t *told = NULL, *results = NULL, *envelope = NULL;
    DS_TRY(tell_options(&told, options));
    DS_TRY(ds_gates_json(&results, gates));
    DS_TRY(ds_run_envelope(&envelope, run, "gates", told, results));
    DS_TRY(ds_run_envelope_lasting(envelope));
    status = ds_per_token_commit(file, envelope);
done:
    json_decref(told);
    json_decref(results);
    json_decref(envelope);
    return status;
}

/* Number 0 alone writes the arrays; the others have them to themselves. */
static ds_status open_arrays(collection *all, const ds_gates_options *options) {
    ds_status status = DS_OK;
    if (options->per_token == NULL || ds_ranks_number(all->run->options.ranks) > 0) return DS_OK;
    DS_NEW(all->inputs, all->run->length);
    DS_NEW(all->targets, all->run->length);
    DS_TRY(ds_per_token_open(&all->per_token, options->per_token, all->run));
done:
    return status;
}

static ds_status pass_windows(collection *all) {
    ds_status status = DS_OK;
    ds_run *run = all->run;
    DS_NEW(all->nll, run->batch * run->length);
    DS_TRY(ds_observed_init(&all->observed, run, run->batch));
    const ds_window_pass pass = {.label = "gates",
                                 .batch = measure_batch,
                                 .record_length = run->length + all->observed.length,
                                 .fill = fill_record,
                                 .take = take_record,
                                 .context = all};
    DS_TRY(ds_run_windows(run, &pass));
done:
    return status;
}

ds_status ds_gates_measure(ds_gates *out, ds_run *run, const ds_gates_options *options) {
    ds_status status = DS_OK;
    collection all = {.out = out, .run = run};
    *out = (ds_gates){.sequences = run->sequences};
    if (options->per_token != NULL) DS_TRY(ds_per_token_check(options->per_token));
    if (options->per_token != NULL && !ds_rule_has_gates(run->spec.rule))
        return ds_fail(DS_ERR_USAGE, "--per-token: an additive checkpoint has no gates to write");
    DS_TRY(ds_gate_census_init(&out->census, &run->spec, options->regime_tolerance));
    DS_TRY(ds_limits_init(&out->limits, &run->spec));
    DS_NEW(out->sequence_loss, run->sequences);
    DS_TRY(open_arrays(&all, options));
    DS_TRY(pass_windows(&all));
    out->loss = ds_mean(out->sequence_loss, run->sequences);
    DS_TRY(ds_shadow_run(&out->shadow, run, options->shadow));
    if (all.per_token != NULL) DS_TRY(finish_arrays(&all.per_token, out, run, options));
done:
    ds_per_token_discard(&all.per_token);
    ds_observed_release(&all.observed);
    free(all.nll);
    free(all.inputs);
    free(all.targets);
    if (status != DS_OK) ds_gates_release(out);
    return status;
}

void ds_gates_release(ds_gates *gates) {
    ds_gate_census_release(&gates->census);
    ds_limits_release(&gates->limits);
    ds_shadow_release(&gates->shadow);
    free(gates->sequence_loss);
    *gates = (ds_gates){0};
}

ds_status ds_gates_json(json_t **results, ds_gates *gates) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    json_t *sublayers = NULL;
    DS_TRY(ds_gate_census_json(&sublayers, &gates->census));
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "loss", gates->loss);
    ds_json_put_reals(&b, "sequence_loss", gates->sequence_loss, gates->sequences);
    ds_json_put(&b, "sublayers", sublayers);
    ds_limits_put(&b, &gates->limits);
    ds_shadow_put(&b, &gates->shadow);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    return status;
}

ds_status ds_gates_results(json_t **options_json, json_t **results, ds_run *run, const ds_gates_options *options) {
    ds_status status = DS_OK;
    ds_gates gates = {.sequences = 0};
    *options_json = *results = NULL;
    DS_TRY(tell_options(options_json, options));
    DS_TRY(ds_gates_measure(&gates, run, options));
    DS_TRY(ds_gates_json(results, &gates));
done:
    ds_gates_release(&gates);
    return status;
}

/* ---- an audit ---------------------------------------------------------------------------------------------------- */

ds_status ds_gate_audit_check(const ds_spec *spec, const char *what) {
    if (ds_rule_has_gates(spec->rule)) return DS_OK;
    if (ds_rule_kind_of(spec->rule) == DS_KIND_ADDITIVE)
        return ds_fail(DS_ERR_USAGE, "%s: an additive model has no gates: each of its sublayers adds its output as it is",
                       what);
    return ds_fail(DS_ERR_USAGE, "%s: %s, the rule of this model, has no gates of the delta rule", what, ds_spec_variant(spec));
}

static void put_audited(ds_json_builder *b, const json_t *sublayer) {
    static const char *const means[][2] = {{"beta_mean", "beta/mean"},
                                           {"k_norm2_mean", "k_norm2/mean"},
                                           {"eigenvalue_mean", "eigenvalue/mean"},
                                           {"relative_edit", "relative_edit"}};
    ds_json_begin_object(b, NULL);
    ds_json_put(b, "name", json_incref(json_object_get(sublayer, "name")));
    for (size_t i = 0; i < sizeof means / sizeof *means; i++)
        ds_json_put_real(b, means[i][0], ds_json_real_at(sublayer, means[i][1]));
    ds_json_put(b, "regimes", json_incref(json_object_get(sublayer, "regimes")));
    ds_json_end(b);
}

ds_status ds_gate_audit(json_t **out, ds_run *run) {
    ds_status status = DS_OK;
    ds_gates gates = {.sequences = 0};
    json_t *sublayers = NULL;
    ds_json_builder b = {0};
    *out = NULL;
    DS_TRY(ds_gates_measure(&gates, run, &ds_gates_defaults));
    DS_TRY(ds_gate_census_json(&sublayers, &gates.census));
    ds_json_begin_array(&b, NULL);
    for (size_t s = 0; s < json_array_size(sublayers); s++) put_audited(&b, json_array_get(sublayers, s));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    json_decref(sublayers);
    ds_gates_release(&gates);
    return status;
}
