#include "deltascope/measure/forced_gates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/mean_gates.h"
#include "result_json.h"

const ds_ablate_options ds_ablate_defaults = {.modes = "closed"};

/* The journal's records: the means of all sublayers; for each window its intact loss, then loss and KL of every case. */
static const char means_kind[] = "means", window_kind[] = "window";

static ds_status tell_options(json_t **out, const ds_run *run, const ds_ablate_options *options) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_text every = {0};
    *out = NULL;
    if (options->scopes == NULL) DS_TRY(ds_scope_words(&every, ",", ","));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "modes", options->modes);
    ds_json_put_text(&b, "scopes", options->scopes != NULL ? options->scopes : every.bytes);
    ds_json_put_count(&b, "shadow", options->shadow);
    ds_json_put_count(&b, "seed", run->options.seed);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    ds_text_release(&every);
    return status;
}

static ds_status open_journal(ds_journal **journal, ds_run *run, const ds_ablate_options *options) {
    ds_status status = DS_OK;
    json_t *told = NULL;
    DS_TRY(tell_options(&told, run, options));
    DS_TRY(ds_run_journal(journal, run, options->journal, "ablate", told));
done:
    json_decref(told);
    return status;
}

/* A record outside [0,2] is no mean of gates. */
static bool are_means(const double *means, size_t count, bool gates) {
    for (size_t i = 0; i < count; i++)
        if (!(gates ? means[i] >= 0.0 && means[i] <= 2.0 : isfinite(means[i]))) return false;
    return true;
}

/* Modes that force the mean over the data need a pass before the others. */
static ds_status find_means(ds_run *run, ds_case_list *list, ds_journal *journal) {
    ds_status status = DS_OK;
    bool known = false;
    double *means = NULL;
    size_t length = ds_mean_length(&run->spec), count = list->sublayers * length;
    DS_NEW(means, count);
    DS_TRY(ds_journal_find_reals(&known, means, count, journal, means_kind, 0));
    if (!known || !are_means(means, count, ds_rule_has_gates(run->spec.rule))) {
        DS_TRY(ds_mean_gates(means, run));
        DS_TRY(ds_journal_append(journal, means_kind, 0, means, count * sizeof *means));
    }
    DS_TRY(ds_case_list_set_means(list, means, length));
done:
    free(means);
    return status;
}

/* The pass over the windows, and one batch as ds_ablation_run fills it. */
typedef struct collection {
    ds_ablate_result *out;
    ds_ablation *ablation;
    const ds_window_batch *now;
    double *baseline;  /* (B) */
    double *loss, *kl; /* (cases, B) */
} collection;

static void tick(void *context, double share) { ds_window_batch_progress(((const collection *)context)->now, share); }

static ds_status run_batch(void *context, const ds_window_batch *now) {
    collection *all = context;
    all->now = now;
    return ds_ablation_run(all->ablation, now->run->workspace, &now->batch, all->baseline, all->loss, all->kl, tick, all);
}

static void fill_record(void *context, double *record, size_t row, size_t rows) {
    const collection *all = context;
    size_t cases = all->out->list.count;
    record[0] = all->baseline[row];
    for (size_t c = 0; c < cases; c++) {
        record[1 + c] = all->loss[c * rows + row];
        record[1 + cases + c] = all->kl[c * rows + row];
    }
}

static ds_status take_record(void *context, size_t window, const double *record) {
    const collection *all = context;
    ds_ablate_result *out = all->out;
    size_t cases = out->list.count;
    out->baseline[window] = record[0];
    for (size_t c = 0; c < cases; c++) {
        out->loss[c * out->sequences + window] = record[1 + c];
        out->kl[c * out->sequences + window] = record[1 + cases + c];
    }
    return DS_OK;
}

static ds_status run_cases(ds_ablate_result *out, ds_run *run, ds_journal *journal) {
    ds_status status = DS_OK;
    size_t cases = out->list.count, most = ds_min_size(run->batch, ds_ablation_sequences(run->model, &out->list, run->length));
    collection all = {.out = out};
    const ds_window_pass pass = {.label = "ablate",
                                 .most = most,
                                 .batch = run_batch,
                                 .record_length = 1 + 2 * cases,
                                 .fill = fill_record,
                                 .take = take_record,
                                 .journal = journal,
                                 .kind = window_kind,
                                 .context = &all};
    DS_NEW(all.baseline, most);
    DS_NEW(all.loss, cases * most);
    DS_NEW(all.kl, cases * most);
    DS_TRY(ds_ablation_new(&all.ablation, run->model, &out->list, most, run->length));
    DS_TRY(ds_run_windows(run, &pass));
done:
    ds_ablation_free(&all.ablation);
    free(all.baseline);
    free(all.loss);
    free(all.kl);
    return status;
}

/* What a list of cases says of the p-value of one; NaN where it says nothing. */
static double p_value_of(const json_t *cases, const char *name) {
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i), *p = json_object_get(item, "p_value");
        const char *found = json_string_value(json_object_get(item, "name"));
        if (found != NULL && strcmp(found, name) == 0) return json_is_number(p) ? json_number_value(p) : NAN;
    }
    return NAN;
}

/* Each case that was run, beside the intact model. */
static ds_status compare_with_baseline(ds_ablate_result *result, const json_t *others, uint64_t seed) {
    ds_status status = DS_OK;
    size_t cases = result->list.count, n = result->sequences, kept = 0;
    double *differences = NULL;
    ds_paired *paired = NULL;
    DS_NEW(differences, cases * n);
    DS_NEW(paired, cases);
    for (size_t c = 0; c < cases; c++) {
        for (size_t i = 0; i < n && !result->list.cases[c].left_out; i++)
            differences[kept * n + i] = result->loss[c * n + i] - result->baseline[i];
        kept += !result->list.cases[c].left_out;
    }
    DS_TRY(ds_paired_bootstrap(paired, differences, kept, n, ds_paired_resamples(result->hypotheses), seed));
    kept = 0;
    for (size_t c = 0; c < cases; c++) {
        if (result->list.cases[c].left_out)
            result->paired[c].p_value = p_value_of(others, result->list.cases[c].name);
        else
            result->paired[c] = paired[kept++];
    }
done:
    free(differences);
    free(paired);
    return status;
}

/* Equal cases are one hypothesis, not several: Holm's correction counts each distinct case once. */
static ds_status find_intervals(ds_ablate_result *result, const json_t *others, uint64_t seed) {
    ds_status status = DS_OK;
    size_t cases = result->list.count;
    for (size_t c = 0; c < cases; c++) result->hypotheses += result->list.cases[c].same_as == c;
    DS_TRY(compare_with_baseline(result, others, seed));
    for (size_t c = 0; c < cases; c++) result->holm[c] = result->list.cases[c].same_as == c ? result->paired[c].p_value : NAN;
    DS_TRY(ds_holm_adjust(result->holm, result->holm, cases));
    for (size_t c = 0; c < cases; c++) result->holm[c] = result->holm[result->list.cases[c].same_as];
done:
    return status;
}

static ds_status allocate(ds_ablate_result *out) {
    ds_status status = DS_OK;
    DS_NEW(out->baseline, out->sequences);
    DS_NEW(out->loss, out->list.count * out->sequences);
    DS_NEW(out->kl, out->list.count * out->sequences);
    DS_NEW(out->paired, out->list.count);
    DS_NEW(out->holm, out->list.count);
done:
    return status;
}

ds_status ds_ablate_measure(ds_ablate_result *out, ds_run *run, const ds_ablate_options *options) {
    ds_status status = DS_OK;
    ds_journal *journal = NULL;
    *out = (ds_ablate_result){.sequences = run->sequences, .spec = &run->spec};
    DS_TRY(ds_case_list_parse(&out->list, &run->spec, options->modes, options->scopes));
    if (options->only != NULL) ds_case_list_keep(&out->list, options->only);
    DS_TRY(allocate(out));
    DS_TRY(open_journal(&journal, run, options));
    if (out->list.needs_means) DS_TRY(find_means(run, &out->list, journal));
    DS_TRY(run_cases(out, run, journal));
    DS_TRY(find_intervals(out, options->others, run->options.seed));
    DS_TRY(ds_shadow_run(&out->shadow, run, options->shadow));
    DS_TRY(ds_shadow_cases(&out->shadow, run, &out->list, out->baseline, out->loss, out->kl));
done:
    ds_journal_close(&journal);
    if (status != DS_OK) ds_ablate_release(out);
    return status;
}

void ds_ablate_release(ds_ablate_result *result) {
    ds_shadow_release(&result->shadow);
    ds_case_list_release(&result->list);
    free(result->baseline);
    free(result->loss);
    free(result->kl);
    free(result->paired);
    free(result->holm);
    *result = (ds_ablate_result){.sequences = 0};
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_case(ds_json_builder *b, const ds_ablate_result *result, size_t c) {
    const ds_case *item = &result->list.cases[c];
    size_t n = result->sequences;
    char name[32];
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", item->name);
    ds_json_put_text(b, "mode", item->mode);
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < result->list.forces; s++) {
        if (item->forced[s]) ds_json_put_text(b, NULL, ds_read_name(name, result->spec, s));
    }
    ds_json_end(b);
    ds_json_put_real(b, "loss", ds_mean(result->loss + c * n, n));
    ds_json_put_real(b, "delta_loss", result->paired[c].mean);
    ds_json_put_interval(b, "delta_loss_ci95", result->paired[c].low, result->paired[c].high);
    ds_json_put_real(b, "p_value", result->paired[c].p_value);
    ds_json_put_real(b, "p_value_holm", result->holm[c]);
    ds_json_put_real(b, "kl", ds_mean(result->kl + c * n, n));
    ds_json_put_reals(b, "sequence_loss", result->loss + c * n, n);
    ds_json_end(b);
}

ds_status ds_ablate_json(json_t **results, const ds_ablate_result *result) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_begin_object(&b, "baseline");
    ds_json_put_real(&b, "loss", ds_mean(result->baseline, result->sequences));
    ds_json_put_reals(&b, "sequence_loss", result->baseline, result->sequences);
    ds_json_end(&b);
    ds_json_put_intervals(&b, "intervals", result->sequences, result->hypotheses);
    ds_json_begin_array(&b, "cases");
    for (size_t c = 0; c < result->list.count; c++) {
        if (!result->list.cases[c].left_out) put_case(&b, result, c);
    }
    ds_json_end(&b);
    ds_shadow_put(&b, &result->shadow);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

ds_status ds_ablate_results(json_t **options_json, json_t **results, ds_run *run, const ds_ablate_options *options) {
    ds_status status = DS_OK;
    ds_ablate_result result = {.sequences = 0};
    *options_json = *results = NULL;
    DS_TRY(tell_options(options_json, run, options));
    DS_TRY(ds_ablate_measure(&result, run, options));
    DS_TRY(ds_ablate_json(results, &result));
done:
    ds_ablate_release(&result);
    return status;
}
