/* ablate: what each gate is worth when it is forced. */
#include <math.h>
#include <stdlib.h>

#include "deltascope/measure/ablation.h"
#include "model_command.h"
#include "deltascope/measure/double_precision_shadow.h"

typedef struct ablate_options {
    const char *modes, *scopes;
} ablate_options;

static const ds_option options[] = {
    {"modes", "LIST", "closed, open, reflect, mean-gate, write-only, erase-only, comma separated (closed)", DS_OPTION_TEXT,
     offsetof(ablate_options, modes), 0},
    {"scopes", "LIST", "each, attn, mlp, all, from, upto, comma separated (all of them)", DS_OPTION_TEXT,
     offsetof(ablate_options, scopes), 0},
};
static const ablate_options defaults = {.modes = "closed", .scopes = "each,attn,mlp,all,from,upto"};

/* Everything per case and window, and what follows from it. */
typedef struct ablation_result {
    ds_case_list list;
    ds_journal *journal; /* NULL without --out */
    size_t sequences;
    double *baseline;  /* (sequences) */
    double *loss, *kl; /* (cases, sequences) */
    ds_paired *paired; /* (cases) */
    double *holm;      /* (cases): adjusted p-values */
    ds_shadow shadow;
} ablation_result;

static void release(ablation_result *result) {
    ds_journal_close(&result->journal);
    ds_shadow_release(&result->shadow);
    ds_case_list_release(&result->list);
    free(result->baseline);
    free(result->loss);
    free(result->kl);
    free(result->paired);
    free(result->holm);
}

/* mean-gate needs each sublayer's mean over the data, hence one pass before the others. */
typedef struct mean_gates {
    ds_sum *sums; /* (S) */
} mean_gates;

static ds_status add_gates(void *context, const ds_observation *seen) {
    mean_gates *means = context;
    for (size_t t = 0; t < seen->sequences * seen->length; t++) ds_sum_add(&means->sums[seen->sublayer], seen->delta->beta[t]);
    return DS_OK;
}

static ds_status find_means(ds_run *run, ds_case_list *list, ds_journal *journal) {
    ds_status status = DS_OK;
    mean_gates means = {NULL};
    bool known = false;
    double *nll = NULL, *values = NULL;
    ds_observer observer = {DS_OBSERVE_GATES, add_gates, &means};
    ds_progress progress = ds_progress_start(run, "mean gates", (double)run->sequences);
    DS_NEW(means.sums, list->sublayers);
    DS_NEW(values, list->sublayers);
    DS_NEW(nll, run->batch * run->length);
    DS_TRY(ds_journal_find_reals(&known, values, list->sublayers, journal, "means", 0));
    for (size_t s = 0; s < list->sublayers; s++) known = known && values[s] >= 0.0 && values[s] <= 2.0; /* or nobody's */
    for (size_t first = 0; first < run->sequences && !known; first += run->batch) {
        ds_batch batch;
        DS_TRY(ds_run_batch(run, first, &batch));
        DS_TRY(ds_forward(run->workspace, run->model, &batch, NULL, &observer, nll));
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
    for (size_t s = 0; s < list->sublayers && !known; s++)
        values[s] = ds_sum_value(&means.sums[s]) / ((double)run->sequences * (double)run->length);
    if (!known) DS_TRY(ds_journal_append(journal, "means", 0, values, list->sublayers * sizeof *values));
    ds_case_list_set_means(list, values);
done:
    ds_progress_finish(&progress);
    free(means.sums);
    free(values);
    free(nll);
    return status;
}

typedef struct clock {
    ds_progress progress;
    double before, batch; /* windows finished, windows in this batch */
} clock;

static void tick(void *context, double share) {
    clock *time = context;
    ds_progress_update(&time->progress, time->before + share * time->batch);
}

/* What the journal keeps of a window: its intact loss, then the loss and the KL of each case. */
static size_t record_length(const ablation_result *result) { return 1 + 2 * result->list.count; }

static void take_record(ablation_result *result, size_t window, const double *record) {
    size_t cases = result->list.count;
    result->baseline[window] = record[0];
    for (size_t c = 0; c < cases; c++) {
        result->loss[c * result->sequences + window] = record[1 + c];
        result->kl[c * result->sequences + window] = record[1 + cases + c];
    }
}

/* *first <- the first window that no earlier run has finished. */
static ds_status take_finished(ablation_result *result, size_t *first, double *record) {
    ds_status status = DS_OK;
    bool found = true;
    for (*first = 0; *first < result->sequences; ++*first) {
        DS_TRY(ds_journal_find_reals(&found, record, record_length(result), result->journal, "window", *first));
        if (!found) break;
        take_record(result, *first, record);
    }
done:
    return status;
}

/* One batch's arrays, as ds_ablation_run fills them. */
typedef struct batch_losses {
    double *baseline;  /* (B) */
    double *loss, *kl; /* (cases, B) */
    double *record;    /* (1 + 2 cases) */
} batch_losses;

static ds_status keep_batch(ablation_result *result, const batch_losses *all, size_t first, size_t windows) {
    ds_status status = DS_OK;
    size_t cases = result->list.count;
    for (size_t b = 0; b < windows; b++) {
        all->record[0] = all->baseline[b];
        for (size_t c = 0; c < cases; c++) {
            all->record[1 + c] = all->loss[c * windows + b];
            all->record[1 + cases + c] = all->kl[c * windows + b];
        }
        take_record(result, first + b, all->record);
        DS_TRY(
            ds_journal_append(result->journal, "window", first + b, all->record, record_length(result) * sizeof *all->record));
    }
    DS_TRY(ds_journal_sync(result->journal));
done:
    return status;
}

static ds_status run_cases(ds_run *run, ablation_result *result) {
    ds_status status = DS_OK;
    ds_ablation *ablation = NULL;
    batch_losses all = {.baseline = NULL};
    size_t cases = result->list.count, first,
           group = ds_min_size(run->batch, ds_ablation_sequences(run->model, &result->list, run->length));
    clock time = {.progress = ds_progress_start(run, "ablate", (double)run->sequences)};
    run->batch = group;
    DS_NEW(all.baseline, group);
    DS_NEW(all.loss, cases * group);
    DS_NEW(all.kl, cases * group);
    DS_NEW(all.record, record_length(result));
    DS_TRY(take_finished(result, &first, all.record));
    DS_TRY(ds_ablation_new(&ablation, run->model, &result->list, group, run->length));
    for (; first < run->sequences; first += group) {
        ds_batch batch;
        DS_TRY(ds_run_batch(run, first, &batch));
        time.before = (double)first;
        time.batch = (double)batch.sequences;
        DS_TRY(ds_ablation_run(ablation, run->workspace, &batch, all.baseline, all.loss, all.kl, tick, &time));
        DS_TRY(keep_batch(result, &all, first, batch.sequences));
    }
done:
    ds_progress_finish(&time.progress);
    ds_ablation_free(&ablation);
    free(all.baseline);
    free(all.loss);
    free(all.kl);
    free(all.record);
    return status;
}

/* Equal cases are one hypothesis, not several: Holm's correction counts each distinct case once. */
static ds_status find_intervals(ablation_result *result, uint64_t seed) {
    ds_status status = DS_OK;
    size_t cases = result->list.count, n = result->sequences;
    double *differences = NULL;
    DS_NEW(differences, cases * n);
    for (size_t c = 0; c < cases; c++) {
        for (size_t i = 0; i < n; i++) differences[c * n + i] = result->loss[c * n + i] - result->baseline[i];
    }
    DS_TRY(ds_paired_bootstrap(result->paired, differences, cases, n, 0, seed));
    for (size_t c = 0; c < cases; c++) result->holm[c] = result->list.cases[c].same_as == c ? result->paired[c].p_value : NAN;
    DS_TRY(ds_holm_adjust(result->holm, result->holm, cases));
    for (size_t c = 0; c < cases; c++) result->holm[c] = result->holm[result->list.cases[c].same_as];
done:
    free(differences);
    return status;
}

static void put_case(ds_json_builder *b, const ablation_result *result, size_t c) {
    const ds_case *item = &result->list.cases[c];
    size_t n = result->sequences;
    char name[32];
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", item->name);
    ds_json_put_text(b, "mode", item->mode);
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < result->list.sublayers; s++) {
        if (item->forced[s]) ds_json_put_text(b, NULL, ds_sublayer_name(name, s));
    }
    ds_json_end(b);
    ds_json_put_real(b, "loss", ds_mean(result->loss + c * n, n));
    ds_json_put_real(b, "delta_loss", result->paired[c].mean);
    ds_json_put_reals(b, "delta_loss_ci95", (const double[]){result->paired[c].low, result->paired[c].high}, 2);
    ds_json_put_real(b, "p_value", result->paired[c].p_value);
    ds_json_put_real(b, "p_value_holm", result->holm[c]);
    ds_json_put_real(b, "kl", ds_mean(result->kl + c * n, n));
    ds_json_put_reals(b, "sequence_loss", result->loss + c * n, n);
    ds_json_end(b);
}

static ds_status make_results(json_t **results, const ablation_result *result) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_begin_object(&b, "baseline");
    ds_json_put_real(&b, "loss", ds_mean(result->baseline, result->sequences));
    ds_json_put_reals(&b, "sequence_loss", result->baseline, result->sequences);
    ds_json_end(&b);
    ds_json_begin_array(&b, "cases");
    for (size_t c = 0; c < result->list.count; c++) put_case(&b, result, c);
    ds_json_end(&b);
    ds_shadow_put(&b, &result->shadow);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

static const ds_column columns[] = {
    {"case", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"loss", NULL, "nats", DS_COLUMN_FIXED, 4},
    {"delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4},
    {"bar", "", NULL, DS_COLUMN_BAR, 0},
    {"low", "95% low", NULL, DS_COLUMN_FIXED, 4},
    {"high", "95% high", NULL, DS_COLUMN_FIXED, 4},
    {"p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2},
    {"kl", "KL", "nats", DS_COLUMN_FIXED, 4},
};

static ds_status make_table(ds_table **table, const ablation_result *result) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Forced gates", columns, sizeof columns / sizeof columns[0]));
    for (size_t c = 0; c < result->list.count; c++) {
        size_t row = c * result->sequences;
        ds_table_text(*table, result->list.cases[c].name);
        ds_table_real(*table, ds_mean(result->loss + row, result->sequences));
        ds_table_real(*table, result->paired[c].mean);
        ds_table_real(*table, result->paired[c].mean);
        ds_table_real(*table, result->paired[c].low);
        ds_table_real(*table, result->paired[c].high);
        ds_table_real(*table, result->holm[c]);
        ds_table_real(*table, ds_mean(result->kl + row, result->sequences));
    }
done:
    return status;
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    (void)run;
    const ablate_options *own = invocation->own;
    ds_json_put_text(b, "modes", own->modes);
    ds_json_put_text(b, "scopes", own->scopes);
    ds_json_put_count(b, "seed", invocation->common.seed.value);
    ds_json_put_count(b, "resamples", DS_BOOTSTRAP_RESAMPLES);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ablation_result *result) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *table = NULL;
    DS_TRY(make_results(&results, result));
    DS_TRY(make_table(&table, result));
    DS_TRY(ds_command_publish(invocation, run, results, &table, 1));
    if (!invocation->common.table) goto done;
    (void)printf("intact loss %.6f nats over %zu window%s of %zu token%s\n\n", ds_mean(result->baseline, result->sequences),
                 result->sequences, ds_plural(result->sequences), run->length, ds_plural(run->length));
    DS_TRY(ds_table_print(stdout, table));
    ds_shadow_print(stdout, &result->shadow);
done:
    json_decref(results);
    ds_table_free(&table);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ablate_options *own = invocation->own;
    ds_run run = {0};
    ablation_result result = {0};
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(ds_case_list_parse(&result.list, &run.spec, own->modes, own->scopes));
    result.sequences = run.sequences;
    DS_NEW(result.baseline, result.sequences);
    DS_NEW(result.loss, result.list.count * result.sequences);
    DS_NEW(result.kl, result.list.count * result.sequences);
    DS_NEW(result.paired, result.list.count);
    DS_NEW(result.holm, result.list.count);
    DS_TRY(ds_command_journal(&result.journal, invocation, &run));
    if (result.list.needs_means) DS_TRY(find_means(&run, &result.list, result.journal));
    DS_TRY(run_cases(&run, &result));
    DS_TRY(find_intervals(&result, invocation->common.seed.value));
    DS_TRY(ds_shadow_run(&result.shadow, &run, invocation->common.shadow.value));
    DS_TRY(ds_shadow_cases(&result.shadow, &run, &result.list, result.baseline, result.loss, result.kl));
    DS_TRY(publish(invocation, &run, &result));
done:
    release(&result);
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_ablate = {
    .name = "ablate",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "What each gate is worth when it is forced",
    .description =
        "Runs the model with gates forced and compares with the intact model on the same windows: loss, its change "
        "with a 95% interval (bootstrap over windows, paired), a p-value adjusted over all cases (Holm), and "
        "KL(intact || ablated).\n"
        "Modes: closed (beta = 0), open (1), reflect (2), mean-gate (that sublayer's mean over the data), write-only "
        "(the edit without the erase), erase-only (without the write). Scopes: each sublayer alone, all attn, all "
        "mlp, all, from s on, up to s. An additive checkpoint has only closed, which drops the sublayer.\n"
        "With --out, finished windows are kept in DIR/ablate.journal: an interrupted run goes on with --resume and "
        "ends with the bytes it would have had.",
    .examples = "  deltascope ablate --tokens val.bin checkpoint/\n"
                "  deltascope ablate --tokens val.bin --modes open,reflect --scopes all checkpoint/\n"
                "  deltascope ablate --tokens val.bin --out audit/ --resume checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_SHADOW | DS_TAKES_RESUME,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .put_options = put_options,
    .run = run_command,
};
