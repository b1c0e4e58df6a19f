#include "deltascope/measure/accumulated_spectra.h"

#include <math.h>
#include <stdlib.h>

typedef struct streaming {
    ds_depth_spectra *spectra;
    ds_certifying *certifying; /* NULL: without certificates */
    size_t solved;             /* of the tokens that are listed: batches come in order */
} streaming;

/* Number i of n evenly spaced ones of all tokens. */
static size_t spaced_token(size_t i, size_t n, size_t tokens) { return (size_t)((uint64_t)i * tokens / n); }

static void take_samples(ds_directions *sample, const ds_directions *batch, size_t first, size_t tokens) {
    for (size_t i = 0; i < sample->tokens; i++) {
        size_t token = spaced_token(i, sample->tokens, tokens);
        if (token >= first && token - first < batch->tokens) ds_directions_copy(sample, i, batch, token - first);
    }
}

/* What is listed of a batch, solved as listed tokens are. */
static ds_status list_batch(streaming *task, const ds_directions *batch, size_t first) {
    ds_status status = DS_OK;
    ds_depth_spectra *spectra = task->spectra;
    ds_directions some = {0}, picked = *batch;
    size_t from = task->solved, count = 0;
    while (from + count < spectra->listed &&
           spaced_token(from + count, spectra->listed, spectra->tokens) - first < batch->tokens)
        count++;
    if (count == 0) return DS_OK;
    if (count < batch->tokens) {
        DS_TRY(ds_directions_init(&some, count, batch->sublayers, batch->hidden));
        for (size_t i = 0; i < count; i++)
            ds_directions_copy(&some, i, batch, spaced_token(from + i, spectra->listed, spectra->tokens) - first);
        picked = some;
    }
    DS_TRY(ds_accumulated_run(spectra->accumulated + from, &picked));
    if (task->certifying != NULL) DS_TRY(ds_certified_run(spectra->certified + from, &picked, task->certifying));
    task->solved += count;
done:
    ds_directions_release(&some);
    return status;
}

static ds_status measure_batch(void *context, const ds_directions *batch, size_t first) {
    ds_status status = DS_OK;
    streaming *task = context;
    ds_depth_spectra *spectra = task->spectra;
    DS_TRY(ds_distribution_add(&spectra->distribution, batch, first));
    DS_TRY(ds_overlap_add(&spectra->overlap, batch));
    if (task->certifying != NULL) DS_TRY(ds_verdict_tally_add(&spectra->tally, batch, first, task->certifying));
    DS_TRY(list_batch(task, batch, first));
    take_samples(&spectra->sample, batch, first, spectra->tokens);
done:
    return status;
}

static ds_status measure_all(ds_depth_spectra *out, ds_direction_source *source, ds_certifying *certifying) {
    ds_status status = DS_OK;
    size_t sublayers = source->last - source->first, hidden = source->run->spec.hidden;
    streaming task = {out, certifying, 0};
    out->listed = ds_min_size(out->tokens, DS_LISTED_TOKENS);
    DS_NEW(out->accumulated, out->listed);
    if (certifying != NULL) DS_NEW(out->certified, out->listed);
    DS_TRY(ds_distribution_init(&out->distribution, sublayers, hidden, out->options->every_depth));
    bool learned = source->null == DS_NULL_NONE;
    DS_TRY(ds_distribution_keep(&out->distribution, out->options->journal, learned ? "token" : "null token",
                                source->run->options.ranks));
    out->tally.journal = out->options->journal;
    out->tally.kind = learned ? "verdicts" : "null verdicts";
    DS_TRY(ds_directions_init(&out->sample, ds_min_size(out->tokens, DS_RANK_TOKENS), sublayers, hidden));
    DS_TRY(ds_directions_stream(source, measure_batch, &task));
    out->determinant_error = out->distribution.determinant_error;
    out->norm_excess = out->distribution.norm_excess;
done:
    return status;
}

static ds_status measure_listed(ds_depth_spectra *out, ds_direction_source *source, ds_certifying *certifying) {
    ds_status status = DS_OK;
    DS_TRY(ds_directions_gather(&out->sample, source, out->options->positions));
    out->listed = out->sample.tokens;
    DS_NEW(out->accumulated, out->listed);
    DS_TRY(ds_accumulated_run(out->accumulated, &out->sample));
    for (size_t i = 0; i < out->listed; i++) {
        const ds_product_summary *summary = &out->accumulated[i].summary;
        DS_TRY(ds_identities_check(summary, "listed token", i));
        out->determinant_error =
            fmax(out->determinant_error, ds_identity_breach(summary->determinant_error, summary->determinant_tolerance));
        out->norm_excess = fmax(out->norm_excess, ds_identity_breach(summary->norm_excess, summary->norm_tolerance));
    }
    DS_TRY(ds_overlap_add(&out->overlap, &out->sample));
    if (certifying == NULL) goto done;
    DS_NEW(out->certified, out->listed);
    DS_TRY(ds_certified_run(out->certified, &out->sample, certifying));
done:
    return status;
}

ds_status ds_depth_spectra_run(ds_depth_spectra *out, ds_direction_source *source, const ds_depth_spectra_options *options) {
    ds_status status = DS_OK;
    const ds_run *run = source->run;
    size_t sublayers = source->last - source->first, hidden = run->spec.hidden;
    ds_certifying certifying = {0}, *proof = options->certify ? &certifying : NULL;
    *out = (ds_depth_spectra){
        .options = options, .first = source->first, .length = run->length, .tokens = run->sequences * run->length};
    DS_TRY(ds_overlap_init(&out->overlap, sublayers, hidden));
    if (options->certify) DS_TRY(ds_certifying_init(&certifying, sublayers, hidden, run->spec.residual_mult));
    if (options->positions->all) {
        DS_TRY(measure_all(out, source, proof));
    } else {
        DS_TRY(measure_listed(out, source, proof));
    }
    DS_NEW(out->rank, sublayers);
    DS_NEW(out->participation, sublayers);
    DS_TRY(ds_sublayer_ranks(out->rank, out->participation, &out->sample));
    DS_TRY(ds_gain_survey_run(&out->gains, &out->sample, options->seed));
done:
    ds_certifying_release(&certifying);
    if (status != DS_OK) ds_depth_spectra_release(out);
    return status;
}

void ds_depth_spectra_release(ds_depth_spectra *spectra) {
    ds_accumulated_release(spectra->accumulated, spectra->listed);
    ds_certified_release(spectra->certified, spectra->listed);
    ds_distribution_release(&spectra->distribution);
    ds_overlap_release(&spectra->overlap);
    ds_gain_survey_release(&spectra->gains);
    free(spectra->rank);
    free(spectra->participation);
    ds_directions_release(&spectra->sample);
    *spectra = (ds_depth_spectra){0};
}

/* ---- JSON ---- */

static void put_complexes(ds_json_builder *b, const char *key, const ds_complex *values, size_t count) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) ds_json_put_reals(b, NULL, (const double[]){values[i].re, values[i].im}, 2);
    ds_json_end(b);
}

static void put_accumulated(ds_json_builder *b, ds_position at, const ds_accumulated *item, const ds_certified *certified) {
    const ds_product_summary *summary = &item->summary;
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "sequence", at.sequence);
    ds_json_put_count(b, "position", at.position);
    put_complexes(b, "eigenvalues", item->eigenvalues, item->order);
    ds_json_put_reals(b, "eigenvalue_bounds", item->bounds, item->order);
    ds_json_put_reals(b, "singular_values", item->singular_values, item->order);
    ds_json_put_real(b, "singular_value_bound", item->singular_bound);
    ds_json_put_real(b, "norm2", summary->norm2);
    ds_json_put_real(b, "spectral_radius", summary->spectral_radius);
    ds_json_put_real(b, "frobenius_defect", summary->frobenius_defect);
    ds_json_put_real(b, "log_abs_det", summary->log_abs_det);
    ds_json_put_real(b, "log_abs_det_bound", summary->log_abs_det_bound);
    ds_json_put_real(b, "departure_from_normality", summary->departure_from_normality);
    ds_json_put_real(b, "mean_squared_singular_value", summary->mean_squared_singular_value);
    ds_json_put_real(b, "complex_share", summary->complex_share);
    if (certified != NULL) ds_certified_put(b, certified);
    ds_json_end(b);
}

static ds_position listed_position(const ds_depth_spectra *spectra, size_t i) {
    const ds_position_list *positions = spectra->options->positions;
    if (!positions->all) return positions->at[i];
    size_t token = spaced_token(i, spectra->listed, spectra->tokens);
    return (ds_position){token / spectra->length, token % spectra->length};
}

ds_status ds_depth_spectra_put(ds_json_builder *b, ds_depth_spectra *spectra) {
    ds_status status = DS_OK;
    const ds_position_list *positions = spectra->options->positions;
    ds_json_begin_array(b, "accumulated");
    for (size_t i = 0; i < spectra->listed; i++)
        put_accumulated(b, listed_position(spectra, i), &spectra->accumulated[i],
                        spectra->certified == NULL ? NULL : &spectra->certified[i]);
    ds_json_end(b);
    if (positions->all) ds_distribution_put(b, &spectra->distribution);
    if (positions->all && spectra->options->certify) ds_verdict_tally_put(b, &spectra->tally);
    ds_json_begin_object(b, "checks");
    ds_json_put_real(b, "determinant_error_over_tolerance", spectra->determinant_error);
    ds_json_put_real(b, "norm_excess_over_tolerance", spectra->norm_excess);
    ds_json_end(b);
    DS_TRY(ds_gain_survey_put(b, &spectra->gains));
    ds_json_begin_object(b, "directions");
    ds_overlap_put(b, &spectra->overlap, spectra->first);
    ds_json_begin_object(b, "over_data");
    ds_json_put_count(b, "tokens", ds_min_size(spectra->sample.tokens, DS_RANK_TOKENS));
    ds_json_put_reals(b, "effective_rank", spectra->rank, spectra->sample.sublayers);
    ds_json_put_reals(b, "participation_ratio", spectra->participation, spectra->sample.sublayers);
    ds_json_end(b);
done:
    return status;
}
