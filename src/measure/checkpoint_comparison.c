#include "deltascope/measure/checkpoint_comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/gradient_flow.h"
#include "deltascope/measure/rule_measures.h"
#include "observed_windows.h"
#include "result_json.h"

const ds_compare_options ds_compare_defaults = {.shut = "each", .regime_tolerance = 0.1};

/* ---- labels ------------------------------------------------------------------------------------------------------ */

static char *copy(const char *bytes, size_t length) {
    char *out = ds_calloc(length + 1, 1);
    if (out != NULL) memcpy(out, bytes, length);
    return out;
}

/* As many parts of a path from its end: 2 of "runs/a/ckpt.pt/" are "a/ckpt.pt". A view. */
static const char *last_parts(size_t *length, const char *path, size_t parts) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    for (; parts > 0 && start > 0; parts--) {
        while (start > 0 && path[start - 1] == '/') start--;
        while (start > 0 && path[start - 1] != '/') start--;
    }
    *length = end - start;
    return path + start;
}

static ds_status take_labels(ds_comparison *comparison, const char *labels) {
    const char *word;
    size_t index = 0, length;
    for (; ds_next_word(&labels, &word, &length); index++) {
        if (index < comparison->count && (comparison->entries[index].label = copy(word, length)) == NULL) return DS_ERR_SYSTEM;
    }
    if (index != comparison->count)
        return ds_fail(DS_ERR_USAGE, "--labels: %zu labels for %zu checkpoints", index, comparison->count);
    for (size_t i = 0; i < index; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(comparison->entries[i].label, comparison->entries[j].label) == 0)
                return ds_fail(DS_ERR_USAGE,
                               "--labels: \"%s\" names two checkpoints, tables and figures could not tell them apart",
                               DS_SHOW(comparison->entries[i].label));
        }
    }
    return DS_OK;
}

static bool is_distinct(const ds_comparison *comparison, size_t index, size_t parts) {
    size_t length, other_length;
    const char *name = last_parts(&length, comparison->entries[index].path, parts);
    for (size_t i = 0; i < comparison->count; i++) {
        const char *other = last_parts(&other_length, comparison->entries[i].path, parts);
        if (i != index && other_length == length && memcmp(other, name, length) == 0) return false;
    }
    return true;
}

static ds_status make_labels(ds_comparison *comparison) {
    for (size_t i = 0; i < comparison->count; i++) {
        ds_compared *entry = &comparison->entries[i];
        size_t parts = 1, length, whole = strlen(entry->path); /* the same path twice has no part that differs */
        while (parts < whole && !is_distinct(comparison, i, parts)) parts++;
        const char *name = last_parts(&length, entry->path, parts);
        if ((entry->label = copy(name, length)) == NULL) return DS_ERR_SYSTEM;
    }
    return DS_OK;
}

/* The last run of digits: the step in "ckpt-001000.pt". False when there is none. */
static bool last_number(double *number, const char *label) {
    size_t end = strlen(label);
    while (end > 0 && (label[end - 1] < '0' || label[end - 1] > '9')) end--;
    size_t start = end;
    while (start > 0 && label[start - 1] >= '0' && label[start - 1] <= '9') start--;
    *number = strtod(label + start, NULL);
    return end != 0;
}

/* The steps of a run in their order: shells give step-10000 before step-2000. */
static ds_status sort_by_step(ds_comparison *comparison) {
    ds_compared *entries = comparison->entries;
    for (size_t i = 0; i < comparison->count; i++) {
        double step;
        if (!last_number(&step, entries[i].label))
            return ds_fail(DS_ERR_USAGE, "--trajectory: no number in \"%s\" tells its step: give --labels that end in steps",
                           DS_SHOW(entries[i].label));
        const ds_compared moved = entries[i];
        size_t to = i;
        for (; to > 0 && comparison->x[to - 1] >= step; to--) {
            if (comparison->x[to - 1] == step)
                return ds_fail(DS_ERR_USAGE,
                               "--trajectory: \"%s\" and \"%s\" are the same step: give --labels that end in steps",
                               DS_SHOW(entries[to - 1].label), DS_SHOW(moved.label));
            entries[to] = entries[to - 1];
            comparison->x[to] = comparison->x[to - 1];
        }
        entries[to] = moved;
        comparison->x[to] = step;
        comparison->sorted = comparison->sorted || to != i;
    }
    comparison->numbered = true;
    return DS_OK;
}

/* "... : step-100, step-200" */
static ds_status tell_order(ds_run *run, const ds_comparison *comparison) {
    ds_status status = DS_OK;
    ds_text order = {0};
    for (size_t i = 0; i < comparison->count; i++)
        DS_TRY(ds_text_printf(&order, "%s%s", i == 0 ? "" : ", ", DS_SHOW(comparison->entries[i].label)));
    DS_TRY(
        ds_run_warn(run, "checkpoints were given in another order than that of their steps and were sorted: %s", order.bytes));
done:
    ds_text_release(&order);
    return status;
}

/* What differs then is not the rule alone. */
static ds_status tell_backbones(ds_run *run, const ds_comparison *comparison) {
    const ds_compared *first = &comparison->entries[0];
    for (size_t i = 1; i < comparison->count; i++) {
        const ds_compared *entry = &comparison->entries[i];
        if (entry->spec.backbone == first->spec.backbone) continue;
        return ds_run_warn(run,
                           "%s stands on backbone %s, %s on %s: what differs between them is not the residual rule alone, and "
                           "their losses do not say which rule is better",
                           DS_SHOW(first->label), ds_spec_backbone_name(&first->spec), DS_SHOW(entry->label),
                           ds_spec_backbone_name(&entry->spec));
    }
    return DS_OK;
}

static void place(ds_comparison *comparison) {
    comparison->numbered = true;
    for (size_t i = 0; i < comparison->count; i++) {
        bool found = last_number(&comparison->x[i], comparison->entries[i].label);
        comparison->numbered = comparison->numbered && found && (i == 0 || comparison->x[i] > comparison->x[i - 1]);
    }
    for (size_t i = 0; i < comparison->count && !comparison->numbered; i++) comparison->x[i] = (double)i;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* Structure and configuration only: cheap, so that what cannot be compared is refused before anything is computed. */
static ds_status look(ds_compared *entry, const char *path, const ds_run_options *base) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    const ds_checkpoint_options named = {.config = base->config, .map = base->map};
    DS_TRY(ds_checkpoint_open_with(&checkpoint, path, &named));
    DS_TRY(ds_spec_detect(&entry->spec, checkpoint));
    DS_TRY(ds_run_check_state(&entry->spec, path, base->histories, base->streams));
    entry->path = ds_strdup(path);
    entry->sublayers = ds_spec_sublayers(&entry->spec);
    if (entry->path == NULL) status = DS_ERR_SYSTEM;
done:
    ds_checkpoint_close(&checkpoint);
    return status;
}

static ds_status look_at_all(ds_comparison *comparison, const ds_compare_options *options, const ds_run_options *base) {
    ds_status status = DS_OK;
    const char *const *paths = options->checkpoints;
    DS_NEW(comparison->entries, comparison->count);
    DS_NEW(comparison->x, comparison->count);
    for (size_t i = 0; i < comparison->count; i++) {
        DS_TRY(look(&comparison->entries[i], paths[i], base));
        if (comparison->entries[i].spec.vocab == comparison->entries[0].spec.vocab) continue;
        status =
            ds_fail(DS_ERR_INPUT, "%s: a vocabulary of %zu, but that of %s is %zu: their losses cannot be compared",
                    DS_SHOW(paths[i]), comparison->entries[i].spec.vocab, DS_SHOW(paths[0]), comparison->entries[0].spec.vocab);
        goto done;
    }
    if (options->accept != NULL) DS_TRY(options->accept(options->accept_context, comparison, comparison->count));
    if (options->labels != NULL)
        DS_TRY(take_labels(comparison, options->labels));
    else
        DS_TRY(make_labels(comparison));
    if (options->trajectory)
        DS_TRY(sort_by_step(comparison));
    else
        place(comparison);
done:
    return status;
}

void ds_compare_release(ds_comparison *comparison) {
    for (size_t i = 0; comparison->entries != NULL && i < comparison->count; i++) {
        ds_compared *entry = &comparison->entries[i];
        ds_gate_census_release(&entry->census);
        ds_case_list_release(&entry->cases);
        free(entry->label);
        free(entry->path);
        json_decref(entry->warnings);
        json_decref(entry->rules);
        free(entry->loss);
        free(entry->closed);
        free(entry->state_gradient);
        free(entry->cost);
        free(entry->cost_difference);
        free(entry->cost_holm);
    }
    free(comparison->entries);
    free(comparison->x);
    *comparison = (ds_comparison){0};
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

/* One checkpoint while its windows pass. The record of a window: its loss, with each gate shut, then what was observed. */
typedef struct collection {
    ds_compared *entry;
    ds_ablation *ablation;                /* NULL when no gate is shut */
    ds_observed observed;                 /* length 0: a rule without gates */
    size_t windows;                       /* of the run */
    double *nll, *baseline, *losses, *kl; /* of one batch: (B,T), (B), (S,B), (S,B) */
    double *intact;                       /* (B) */
} collection;

static ds_status observe(void *context, const ds_observation *observation) { return ds_gate_census_add(context, observation); }

static ds_status measure_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    collection *all = context;
    const ds_run *run = now->run;
    const ds_batch *batch = &now->batch;
    const ds_observer observer = {DS_OBSERVE_GATES, ds_observed_take, &all->observed};
    DS_TRY(ds_forward(run->workspace, run->model, batch, NULL, all->observed.length > 0 ? &observer : NULL, all->nll));
    for (size_t b = 0; b < batch->sequences; b++) all->intact[b] = ds_mean(all->nll + b * batch->length, batch->length);
    if (all->ablation == NULL) goto done;
    DS_TRY(ds_ablation_run(all->ablation, run->workspace, batch, all->baseline, all->losses, all->kl, NULL, NULL));
done:
    return status;
}

static void fill_record(void *context, double *record, size_t row, size_t rows) {
    const collection *all = context;
    const size_t cases = all->entry->cases.count, length = all->observed.length;
    record[0] = all->intact[row];
    for (size_t c = 0; c < cases; c++) record[1 + c] = all->losses[c * rows + row];
    if (length > 0) memcpy(record + 1 + cases, all->observed.windows + row * length, length * sizeof *record);
}

static ds_status take_record(void *context, size_t window, const double *record) {
    const collection *all = context;
    ds_compared *entry = all->entry;
    const size_t cases = entry->cases.count;
    const ds_observer observer = {DS_OBSERVE_GATES, observe, &entry->census};
    entry->loss[window] = record[0];
    for (size_t c = 0; c < cases; c++) entry->closed[c * all->windows + window] = record[1 + c];
    return all->observed.length > 0 ? ds_observed_show(&all->observed, record + 1 + cases, &observer) : DS_OK;
}

static ds_status pass_windows(ds_compared *entry, ds_run *run) {
    ds_status status = DS_OK;
    const ds_case_list *list = &entry->cases;
    size_t fitting = list->count == 0 ? run->batch : ds_ablation_sequences(run->model, list, run->length);
    size_t most = ds_min_size(run->batch, fitting);
    collection all = {.entry = entry, .windows = run->sequences};
    if (list->count != 0) DS_TRY(ds_ablation_new(&all.ablation, run->model, list, most, run->length));
    if (ds_rule_has_gates(run->spec.rule)) DS_TRY(ds_observed_init(&all.observed, run, most));
    const ds_window_pass pass = {.label = entry->label,
                                 .most = most,
                                 .batch = measure_batch,
                                 .record_length = 1 + list->count + all.observed.length,
                                 .fill = fill_record,
                                 .take = take_record,
                                 .context = &all};
    DS_NEW(all.nll, most * run->length);
    DS_NEW(all.intact, most);
    DS_NEW(all.baseline, most);
    DS_NEW(all.losses, list->count * most);
    DS_NEW(all.kl, list->count * most);
    DS_TRY(ds_run_windows(run, &pass));
done:
    ds_ablation_free(&all.ablation);
    ds_observed_release(&all.observed);
    free(all.nll);
    free(all.intact);
    free(all.baseline);
    free(all.losses);
    free(all.kl);
    return status;
}

/* Takes the norms of states from a whole measurement of the gradient. */
static ds_status measure_gradients(ds_compared *entry, ds_run *run) {
    ds_status status = DS_OK;
    const size_t usual = 0;
    ds_gradient_flow flow = {0};
    DS_TRY(ds_gradient_flow_measure(&flow, run, NULL, usual));
    entry->state_gradient = flow.state_norm;
    flow.state_norm = NULL;
done:
    ds_gradient_flow_release(&flow);
    return status;
}

static ds_status measure_rules(ds_compared *entry, ds_run *run) {
    ds_status status = DS_OK;
    double *cost = NULL;
    DS_NEW(cost, entry->sublayers);
    for (size_t c = 0; c < entry->cases.count; c++)
        cost[c] = ds_mean(entry->closed + c * run->sequences, run->sequences) - ds_mean(entry->loss, run->sequences);
    DS_TRY(ds_rule_measures(&entry->rules, run, entry->cases.count > 0 ? cost : NULL));
done:
    free(cost);
    return status;
}

/* What `run` has open, as entry `index`. */
static ds_status measure_entry(ds_comparison *comparison, size_t index, ds_run *run, const ds_compare_options *options) {
    ds_status status = DS_OK;
    ds_compared *entry = &comparison->entries[index];
    comparison->windows = run->sequences;
    entry->spec = run->spec;
    entry->parameters = ds_model_parameter_count(run->model);
    entry->warnings = json_incref(run->warnings);
    DS_TRY(ds_gate_census_init(&entry->census, &run->spec, options->regime_tolerance));
    if (comparison->shut) DS_TRY(ds_case_list_parse(&entry->cases, &run->spec, "closed", "each"));
    DS_NEW(entry->loss, run->sequences);
    DS_NEW(entry->closed, entry->cases.count * run->sequences);
    DS_TRY(pass_windows(entry, run));
    if (comparison->gradients) DS_TRY(measure_gradients(entry, run));
    if (options->rules) DS_TRY(measure_rules(entry, run));
done:
    return status;
}

/* ---- differences ------------------------------------------------------------------------------------------------- */

static const ds_paired nothing = {NAN, NAN, NAN, NAN};

static ds_status loss_differences(ds_comparison *comparison, uint64_t seed) {
    ds_status status = DS_OK;
    size_t n = comparison->windows, others = comparison->count - 1;
    double *rows = NULL, *holm = NULL;
    ds_paired *paired = NULL;
    DS_NEW(rows, others * n);
    DS_NEW(holm, others);
    DS_NEW(paired, others);
    for (size_t i = 0; i < others; i++) {
        for (size_t w = 0; w < n; w++) rows[i * n + w] = comparison->entries[i + 1].loss[w] - comparison->entries[0].loss[w];
    }
    DS_TRY(ds_paired_bootstrap(paired, rows, others, n, ds_paired_resamples(others), seed));
    for (size_t i = 0; i < others; i++) holm[i] = paired[i].p_value;
    DS_TRY(ds_holm_adjust(holm, holm, others));
    comparison->entries[0].difference = nothing;
    comparison->entries[0].holm = NAN;
    for (size_t i = 0; i < others; i++) {
        comparison->entries[i + 1].difference = paired[i];
        comparison->entries[i + 1].holm = holm[i];
    }
done:
    free(rows);
    free(holm);
    free(paired);
    return status;
}

/* How many costs differ from the first checkpoint's or not: none where sublayers do not correspond one to one. */
static size_t cost_hypotheses(const ds_comparison *comparison) {
    size_t count = 0, of_first = comparison->entries[0].cases.count;
    for (size_t i = 1; i < comparison->count; i++) count += comparison->entries[i].cases.count == of_first ? of_first : 0;
    return count;
}

/* The cost of each shut gate, and its difference from the first checkpoint's. */
static ds_status cost_differences(ds_comparison *comparison, ds_compared *entry, uint64_t seed) {
    ds_status status = DS_OK;
    const ds_compared *first = &comparison->entries[0];
    size_t count = entry->cases.count, n = comparison->windows, resamples = ds_paired_resamples(comparison->cost_hypotheses);
    bool pairs = entry != first && count == first->cases.count;
    double *rows = NULL;
    DS_NEW(rows, count * n);
    DS_NEW(entry->cost, count);
    DS_NEW(entry->cost_difference, count);
    DS_NEW(entry->cost_holm, count);
    for (size_t i = 0; i < count * n; i++) rows[i] = entry->closed[i] - entry->loss[i % n];
    DS_TRY(ds_paired_bootstrap(entry->cost, rows, count, n, resamples, seed));
    for (size_t c = 0; c < count; c++) entry->cost_difference[c] = nothing;
    for (size_t i = 0; pairs && i < count * n; i++) rows[i] -= first->closed[i] - first->loss[i % n];
    if (pairs) DS_TRY(ds_paired_bootstrap(entry->cost_difference, rows, count, n, resamples, seed));
done:
    free(rows);
    return status;
}

static ds_status adjust_costs(ds_comparison *comparison) {
    ds_status status = DS_OK;
    double *holm = NULL;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < comparison->count; i++) total += comparison->entries[i].cases.count;
    DS_NEW(holm, total);
    for (size_t i = 0; i < comparison->count; i++) {
        const ds_compared *entry = &comparison->entries[i];
        for (size_t c = 0; c < entry->cases.count; c++) holm[at++] = entry->cost_difference[c].p_value;
    }
    DS_TRY(ds_holm_adjust(holm, holm, total));
    at = 0;
    for (size_t i = 0; i < comparison->count; i++) {
        ds_compared *entry = &comparison->entries[i];
        for (size_t c = 0; c < entry->cases.count; c++) entry->cost_holm[c] = holm[at++];
    }
done:
    free(holm);
    return status;
}

static ds_status find_differences(ds_comparison *comparison, uint64_t seed) {
    ds_status status = DS_OK;
    comparison->cost_hypotheses = cost_hypotheses(comparison);
    DS_TRY(loss_differences(comparison, seed));
    for (size_t i = 0; i < comparison->count; i++) DS_TRY(cost_differences(comparison, &comparison->entries[i], seed));
    DS_TRY(adjust_costs(comparison));
done:
    return status;
}

/* Last to first, so that the first one's run is there for the envelope and no two models ever are. */
ds_status ds_compare_measure(ds_comparison *out, ds_run *first, const ds_run_options *base, const ds_compare_options *options) {
    ds_status status = DS_OK;
    ds_run_options opening = *base;
    *first = (ds_run){.checkpoint = NULL};
    *out = (ds_comparison){.count = options->count,
                           .shut = strcmp(options->shut, "each") == 0,
                           .gradients = options->gradients,
                           .trajectory = options->trajectory};
    if (options->count < 2) return ds_fail(DS_ERR_USAGE, "a comparison needs two checkpoints at least");
    DS_TRY(look_at_all(out, options, base));
    if (opening.length == 0) opening.length = out->entries[0].spec.block_size; /* the windows are those of the first */
    for (size_t i = out->count; i-- > 0;) {
        ds_run_close(first);
        opening.checkpoint = out->entries[i].path;
        DS_TRY(ds_run_open(first, &opening));
        if (i == 0 && out->sorted) DS_TRY(tell_order(first, out));
        if (i == 0) DS_TRY(tell_backbones(first, out));
        if (options->opened != NULL) options->opened(options->context, first);
        (void)snprintf(out->entries[i].sha256, sizeof out->entries[i].sha256, "%s", ds_checkpoint_sha256(first->checkpoint));
        if (options->accept != NULL) DS_TRY(options->accept(options->accept_context, out, i));
        DS_TRY(measure_entry(out, i, first, options));
    }
    DS_TRY(find_differences(out, base->seed));
done:
    if (status != DS_OK) ds_compare_release(out);
    return status;
}
