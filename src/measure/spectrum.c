#include "deltascope/measure/spectrum.h"

#include <string.h>

const ds_spectrum_options ds_spectrum_defaults = {
    .positions = "last", .depths = "every", .count = 8, .steps = 64, .samples = 16, .regime_tolerance = 0.1};

void ds_spectrum_release(ds_spectrum *spectrum) {
    ds_depth_spectra_release(&spectrum->learned);
    ds_depth_spectra_release(&spectrum->null);
    ds_alignment_release(&spectrum->alignment);
    ds_position_list_release(&spectrum->positions);
    ds_weight_survey_release(&spectrum->weights);
    ds_end_to_end_release(&spectrum->end_to_end);
    json_decref(spectrum->sweep);
    ds_shadow_release(&spectrum->shadow);
    *spectrum = (ds_spectrum){.operators = false};
}

static ds_status tell_options(json_t **out, const ds_run *run, const ds_spectrum_options *options) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "positions", options->positions);
    ds_json_put_text(&b, "depths", options->depths);
    ds_json_put_text(&b, "window", options->window);
    ds_json_put_bool(&b, "certify", options->certify);
    ds_json_put_text(&b, "null", options->null);
    ds_json_put_bool(&b, "weights", options->weights);
    ds_json_put_text(&b, "end_to_end", options->end_to_end);
    ds_json_put_bool(&b, "by_depth", options->by_depth);
    ds_json_put_count(&b, "count", options->count);
    ds_json_put_count(&b, "steps", options->steps);
    ds_json_put_count(&b, "samples", options->samples);
    ds_json_put_real(&b, "regime_tol", options->regime_tolerance);
    ds_json_put_count(&b, "shadow", options->shadow);
    ds_json_put_count(&b, "seed", run->options.seed);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

static ds_status open_journal(ds_journal **journal, ds_run *run, const ds_spectrum_options *options) {
    ds_status status = DS_OK;
    json_t *told = NULL;
    DS_TRY(tell_options(&told, run, options));
    DS_TRY(ds_run_journal(journal, run, options->journal, "spectrum", told));
done:
    json_decref(told);
    return status;
}

/* A rule without operators on features has less to show: what else it has is told elsewhere. */
static ds_status check_rule(const ds_run *run, const ds_spectrum_options *options) {
    const ds_rule_kind kind = ds_rule_kind_of(run->spec.rule);
    const char *rule = ds_rule_name(run->spec.rule);
    if (kind == DS_KIND_DEPTH && options->end_to_end != NULL)
        return ds_fail(DS_ERR_USAGE,
                       "--end-to-end: the state of the rule %s is all that was written, and its first part stays as it is; "
                       "deltascope gradflow has the gradients of every part, deltascope depth what reads make of it",
                       rule);
    if (kind == DS_KIND_STREAMS && options->by_depth)
        return ds_fail(
            DS_ERR_USAGE,
            "--by-depth: the shortcut of the rule %s mixes whole streams, R on streams and the identity on features; "
            "deltascope depth has the gains and singular values of all products of R",
            rule);
    if (options->weights || options->end_to_end != NULL) return DS_OK;
    if (kind == DS_KIND_DEPTH)
        return ds_fail(
            DS_ERR_USAGE,
            "a checkpoint of the rule %s has no shortcut operators, since reads weigh what was written and turn none of "
            "it: --weights is what there is to show; deltascope depth has the singular values of the weights of reads",
            rule);
    if (kind == DS_KIND_STREAMS)
        return ds_fail(DS_ERR_USAGE,
                       "a checkpoint of the rule %s has shortcuts that mix whole streams, R on streams and the identity on "
                       "features: --weights and --end-to-end S are what there is to show; deltascope depth has the singular "
                       "values of R and of its products",
                       rule);
    return DS_OK;
}

/* What can be measured of this checkpoint, with or without data. */
static ds_status plan(ds_spectrum *out, const ds_run *run, const ds_spectrum_options *options) {
    bool data = run->tokens != NULL, operators = ds_spec_has_operators(&run->spec);
    *out = (ds_spectrum){.options = *options, .operators = data && operators};
    ds_status status = check_rule(run, options);
    if (status != DS_OK) return status;
    if (!data && (options->end_to_end != NULL || !options->weights))
        return ds_fail(DS_ERR_USAGE, "spectrum needs either --tokens FILE or --text FILE with --tokenizer PATH; without data "
                                     "there is --weights alone");
    if (!operators && !options->weights && options->end_to_end == NULL)
        return ds_fail(DS_ERR_USAGE,
                       "%s checkpoint has no shortcut operator but the identity: --weights and --end-to-end S are "
                       "what there is to show",
                       ds_rule_has_operators(run->spec.rule) ? "a write-only" : "an additive");
    if (options->samples > DS_SPECTRUM_SAMPLES)
        return ds_fail(DS_ERR_USAGE, "--samples takes at most %d, not %zu: each is a dense eigenvalue problem",
                       DS_SPECTRUM_SAMPLES, options->samples);
    if (options->by_depth && options->end_to_end == NULL) return ds_fail(DS_ERR_USAGE, "--by-depth goes with --end-to-end S");
    return DS_OK;
}

static ds_status measure_null(ds_spectrum *out, ds_run *run) {
    ds_status status = DS_OK;
    ds_direction_source source = {0};
    DS_TRY(ds_direction_source_init(&source, run, out->first, out->last, ds_null_of(out->options.null), run->options.seed));
    DS_TRY(ds_depth_spectra_run(&out->null, &source, &out->spectra_options));
done:
    ds_direction_source_release(&source);
    return status;
}

static ds_status measure_operators(ds_spectrum *out, ds_run *run) {
    ds_status status = DS_OK;
    const ds_spectrum_options *options = &out->options;
    const ds_directions *sample = &out->learned.sample;
    uint64_t seed = run->options.seed;
    ds_direction_source source = {0};
    ds_journal *journal = NULL;
    DS_TRY(ds_window_parse(&out->first, &out->last, options->window, ds_spec_sublayers(&run->spec)));
    DS_TRY(ds_position_list_parse(&out->positions, options->positions, run->sequences, run->length));
    if (out->positions.all) DS_TRY(open_journal(&journal, run, options));
    out->spectra_options =
        (ds_depth_spectra_options){&out->positions, strcmp(options->depths, "every") == 0, options->certify, seed, journal};
    DS_TRY(ds_direction_source_init(&source, run, out->first, out->last, DS_NULL_NONE, seed));
    DS_TRY(ds_depth_spectra_run(&out->learned, &source, &out->spectra_options));
    DS_TRY(ds_operator_check_run(&out->check, sample, options->samples, seed));
    DS_TRY(ds_sweep_json(&out->sweep, sample->k, run->spec.residual_mult, run->spec.hidden, options->regime_tolerance));
    DS_TRY(ds_alignment_run(&out->alignment, sample, run->model, out->first, seed));
    if (options->null != NULL) DS_TRY(measure_null(out, run));
done:
    out->spectra_options.journal = NULL;
    ds_journal_close(&journal);
    ds_direction_source_release(&source);
    return status;
}

ds_status ds_spectrum_measure(ds_spectrum *out, ds_run *run, const ds_spectrum_options *options) {
    ds_status status = DS_OK;
    const ds_end_to_end_options end_to_end = {.place = options->end_to_end,
                                              .count = options->count,
                                              .steps = options->steps,
                                              .by_depth = options->by_depth,
                                              .seed = run->options.seed};
    DS_TRY(plan(out, run, options));
    if (out->operators) DS_TRY(measure_operators(out, run));
    DS_TRY(ds_shadow_run(&out->shadow, run, options->shadow));
    if (options->weights) DS_TRY(ds_weight_survey_run(&out->weights, run->model, run->options.seed));
    if (options->end_to_end != NULL) DS_TRY(ds_end_to_end_run(&out->end_to_end, run, &end_to_end));
done:
    if (status != DS_OK) ds_spectrum_release(out);
    return status;
}

static ds_status put_operators(ds_json_builder *b, ds_spectrum *spectrum) {
    ds_status status = DS_OK;
    ds_json_put_counts(b, "window", (const uint64_t[]){spectrum->first, spectrum->last - 1}, 2);
    ds_operator_check_put(b, &spectrum->check);
    ds_json_put(b, "sweep", json_incref(spectrum->sweep));
    DS_TRY(ds_depth_spectra_put(b, &spectrum->learned));
    ds_alignment_put(b, &spectrum->alignment);
    ds_json_end(b);
    if (spectrum->options.null == NULL) goto done;
    ds_json_begin_object(b, "null");
    ds_json_put_text(b, "kind", spectrum->options.null);
    DS_TRY(ds_depth_spectra_put(b, &spectrum->null));
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

ds_status ds_spectrum_json(json_t **results, ds_spectrum *spectrum) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    if (spectrum->operators) DS_TRY(put_operators(&b, spectrum));
    if (spectrum->options.weights) ds_weight_survey_put(&b, &spectrum->weights);
    if (spectrum->options.end_to_end != NULL) ds_end_to_end_put(&b, &spectrum->end_to_end);
    ds_shadow_put(&b, &spectrum->shadow);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    ds_json_discard(&b);
    return status;
}

ds_status ds_spectrum_results(json_t **options_json, json_t **results, ds_run *run, const ds_spectrum_options *options) {
    ds_status status = DS_OK;
    ds_spectrum spectrum = {.operators = false};
    *options_json = *results = NULL;
    DS_TRY(tell_options(options_json, run, options));
    DS_TRY(ds_spectrum_measure(&spectrum, run, options));
    DS_TRY(ds_spectrum_json(results, &spectrum));
done:
    ds_spectrum_release(&spectrum);
    return status;
}
