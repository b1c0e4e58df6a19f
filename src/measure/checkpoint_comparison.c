#include "deltascope/measure/checkpoint_comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"

/* ---- labels ---------------------------------------------------------------------------------------------------------------- */

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
    return DS_OK;
}

static bool is_told_apart(const ds_comparison *comparison, size_t index, size_t parts) {
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
        while (parts < whole && !is_told_apart(comparison, i, parts)) parts++;
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

static void place(ds_comparison *comparison) {
    comparison->numbered = true;
    for (size_t i = 0; i < comparison->count; i++) {
        bool found = last_number(&comparison->x[i], comparison->entries[i].label);
        comparison->numbered = comparison->numbered && found && (i == 0 || comparison->x[i] > comparison->x[i - 1]);
    }
    for (size_t i = 0; i < comparison->count && !comparison->numbered; i++) comparison->x[i] = (double)i;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------ */

/* Structure and configuration only: cheap, so that what cannot be compared is told before anything is computed. */
static ds_status look(ds_compared *entry, const char *path, const char *config) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    DS_TRY(ds_checkpoint_open(&checkpoint, path, config));
    DS_TRY(ds_spec_detect(&entry->spec, checkpoint));
    entry->path = ds_strdup(path);
    entry->sublayers = ds_spec_sublayers(&entry->spec);
    if (entry->path == NULL) status = DS_ERR_SYSTEM;
done:
    ds_checkpoint_close(&checkpoint);
    return status;
}

ds_status ds_comparison_init(ds_comparison *comparison, const char *const *paths, size_t count, const char *config,
                             const char *labels, bool shut) {
    ds_status status = DS_OK;
    *comparison = (ds_comparison){.count = count, .shut = shut};
    DS_NEW(comparison->entries, count);
    DS_NEW(comparison->x, count);
    for (size_t i = 0; i < count; i++) {
        DS_TRY(look(&comparison->entries[i], paths[i], config));
        if (comparison->entries[i].spec.vocab == comparison->entries[0].spec.vocab) continue;
        status =
            ds_fail(DS_ERR_INPUT, "%s: a vocabulary of %zu, but that of %s is %zu: their losses cannot be compared",
                    DS_SHOW(paths[i]), comparison->entries[i].spec.vocab, DS_SHOW(paths[0]), comparison->entries[0].spec.vocab);
        goto done;
    }
    if (labels != NULL)
        DS_TRY(take_labels(comparison, labels));
    else
        DS_TRY(make_labels(comparison));
    place(comparison);
done:
    if (status != DS_OK) ds_comparison_release(comparison);
    return status;
}

void ds_comparison_release(ds_comparison *comparison) {
    for (size_t i = 0; comparison->entries != NULL && i < comparison->count; i++) {
        ds_compared *entry = &comparison->entries[i];
        ds_gate_census_release(&entry->census);
        ds_case_list_release(&entry->cases);
        free(entry->label);
        free(entry->path);
        free(entry->warning);
        free(entry->loss);
        free(entry->closed);
        free(entry->cost);
        free(entry->cost_difference);
        free(entry->cost_holm);
    }
    free(comparison->entries);
    free(comparison->x);
    *comparison = (ds_comparison){0};
}

/* ---- measuring ------------------------------------------------------------------------------------------------------------- */

static ds_status observe(void *context, const ds_observation *observation) { return ds_gate_census_add(context, observation); }

typedef struct pass {
    ds_compared *entry;
    ds_run *opened;
    ds_ablation *ablation;                /* NULL when no gate is shut */
    double *nll, *baseline, *losses, *kl; /* of one batch: (B,T), (B), (S,B), (S,B) */
} pass;

static ds_status prepare(pass *all) {
    ds_status status = DS_OK;
    ds_run *run = all->opened;
    const ds_case_list *list = &all->entry->cases;
    if (list->count != 0) {
        run->batch = ds_min_size(run->batch, ds_ablation_sequences(run->model, list, run->length));
        DS_TRY(ds_ablation_new(&all->ablation, run->model, list, run->batch, run->length));
    }
    DS_NEW(all->nll, run->batch * run->length);
    DS_NEW(all->baseline, run->batch);
    DS_NEW(all->losses, list->count * run->batch);
    DS_NEW(all->kl, list->count * run->batch);
done:
    return status;
}

static ds_status measure_batch(pass *all, const ds_batch *batch, size_t first) {
    ds_status status = DS_OK;
    ds_run *run = all->opened;
    ds_compared *entry = all->entry;
    const ds_observer observer = {DS_OBSERVE_GATES, observe, &entry->census};
    DS_TRY(ds_forward(run->workspace, run->model, batch, NULL, ds_rule_has_gates(run->spec.rule) ? &observer : NULL, all->nll));
    for (size_t b = 0; b < batch->sequences; b++) entry->loss[first + b] = ds_mean(all->nll + b * batch->length, batch->length);
    if (all->ablation == NULL) goto done;
    DS_TRY(ds_ablation_run(all->ablation, run->workspace, batch, all->baseline, all->losses, all->kl, NULL, NULL));
    for (size_t c = 0; c < entry->cases.count; c++) {
        for (size_t b = 0; b < batch->sequences; b++)
            entry->closed[c * run->sequences + first + b] = all->losses[c * batch->sequences + b];
    }
done:
    return status;
}

ds_status ds_comparison_measure(ds_comparison *comparison, size_t index, ds_run *run, double regime_tol) {
    ds_status status = DS_OK;
    ds_compared *entry = &comparison->entries[index];
    pass all = {.entry = entry, .opened = run};
    ds_progress progress = ds_progress_start(run, entry->label, (double)run->sequences);
    comparison->windows = run->sequences;
    entry->spec = run->spec;
    entry->parameters = ds_model_parameter_count(run->model);
    (void)snprintf(entry->sha256, sizeof entry->sha256, "%s", ds_checkpoint_sha256(run->checkpoint));
    if (run->warning.bytes != NULL && (entry->warning = ds_strdup(run->warning.bytes)) == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_TRY(ds_gate_census_init(&entry->census, &run->spec, regime_tol));
    if (comparison->shut) DS_TRY(ds_case_list_parse(&entry->cases, &run->spec, "closed", "each"));
    DS_NEW(entry->loss, run->sequences);
    DS_NEW(entry->closed, entry->cases.count * run->sequences);
    DS_TRY(prepare(&all));
    for (size_t first = 0; first < run->sequences; first += run->batch) {
        ds_batch batch;
        DS_TRY(ds_run_batch(run, first, &batch));
        DS_TRY(measure_batch(&all, &batch, first));
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
done:
    ds_progress_finish(&progress);
    ds_ablation_free(&all.ablation);
    free(all.nll);
    free(all.baseline);
    free(all.losses);
    free(all.kl);
    return status;
}

/* ---- differences ----------------------------------------------------------------------------------------------------------- */

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
    DS_TRY(ds_paired_bootstrap(paired, rows, others, n, 0, seed));
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

/* The cost of each shut gate, and its difference from the first checkpoint's where sublayers correspond one to one. */
static ds_status cost_differences(ds_compared *entry, const ds_compared *first, size_t n, uint64_t seed) {
    ds_status status = DS_OK;
    size_t count = entry->cases.count;
    bool pairs = entry != first && count == first->cases.count;
    double *rows = NULL;
    DS_NEW(rows, count * n);
    DS_NEW(entry->cost, count);
    DS_NEW(entry->cost_difference, count);
    DS_NEW(entry->cost_holm, count);
    for (size_t i = 0; i < count * n; i++) rows[i] = entry->closed[i] - entry->loss[i % n];
    DS_TRY(ds_paired_bootstrap(entry->cost, rows, count, n, 0, seed));
    for (size_t c = 0; c < count; c++) entry->cost_difference[c] = nothing;
    for (size_t i = 0; pairs && i < count * n; i++) rows[i] -= first->closed[i] - first->loss[i % n];
    if (pairs) DS_TRY(ds_paired_bootstrap(entry->cost_difference, rows, count, n, 0, seed));
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

ds_status ds_comparison_differences(ds_comparison *comparison, uint64_t seed) {
    ds_status status = DS_OK;
    DS_TRY(loss_differences(comparison, seed));
    for (size_t i = 0; i < comparison->count; i++)
        DS_TRY(cost_differences(&comparison->entries[i], &comparison->entries[0], comparison->windows, seed));
    DS_TRY(adjust_costs(comparison));
done:
    return status;
}
