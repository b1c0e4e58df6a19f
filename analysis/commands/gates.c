/* gates: how a trained model uses its gates and targets. */
#include <stdlib.h>

#include "deltascope/measure/gates.h"
#include "deltascope/measure/per_token_arrays.h"
#include "model_command.h"
#include "deltascope/measure/double_precision_shadow.h"

typedef struct gates_options {
    double regime_tol;
    const char *per_token;
} gates_options;

static const ds_option options[] = {
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     offsetof(gates_options, regime_tol), 0},
    {"per-token", "FILE.npz", "gate, |k|^2, eigenvalue, readout and target of every token and sublayer, for notebooks",
     DS_OPTION_TEXT, offsetof(gates_options, per_token), 0},
};
static const gates_options defaults = {.regime_tol = 0.1};

/* One run: what is collected while the windows pass. */
typedef struct collection {
    ds_gate_census census;
    ds_limits limits;
    ds_shadow shadow;
    ds_per_token *per_token;
    double *sequence_loss; /* (sequences) */
    double *nll;           /* (group, length) */
} collection;

static ds_status observe(void *context, const ds_observation *observation) {
    collection *all = context;
    ds_status status = DS_OK;
    ds_limits_add(&all->limits, observation);
    if (all->census.sublayers == 0) goto done; /* an additive checkpoint has no gates */
    DS_TRY(ds_gate_census_add(&all->census, observation));
    if (all->per_token != NULL) DS_TRY(ds_per_token_add(all->per_token, observation));
done:
    return status;
}

static ds_status collect(ds_run *run, collection *all) {
    ds_status status = DS_OK;
    ds_progress progress = ds_progress_start(run, "gates", (double)run->sequences);
    ds_observer observer = {DS_LIMITS_WANT, observe, all};
    for (size_t first = 0; first < run->sequences; first += run->batch) {
        ds_batch batch;
        DS_TRY(ds_run_batch(run, first, &batch));
        DS_TRY(ds_forward(run->workspace, run->model, &batch, NULL, &observer, all->nll));
        for (size_t b = 0; b < batch.sequences; b++)
            all->sequence_loss[first + b] = ds_mean(all->nll + b * batch.length, batch.length);
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
done:
    ds_progress_finish(&progress);
    return status;
}

static ds_status make_results(json_t **results, const ds_run *run, collection *all) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    json_t *sublayers = NULL;
    DS_TRY(ds_gate_census_json(&sublayers, &all->census));
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "loss", ds_mean(all->sequence_loss, run->sequences));
    ds_json_put_reals(&b, "sequence_loss", all->sequence_loss, run->sequences);
    ds_json_put(&b, "sublayers", sublayers);
    ds_limits_put(&b, &all->limits);
    ds_shadow_put(&b, &all->shadow);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    return status;
}

static const ds_column columns[] = {
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3},
    {"bar", "", NULL, DS_COLUMN_BAR, 0},
    {"beta_05", "5%", NULL, DS_COLUMN_FIXED, 3},
    {"beta_95", "95%", NULL, DS_COLUMN_FIXED, 3},
    {"identity", "ident", NULL, DS_COLUMN_PERCENT, 1},
    {"damped", "damp", NULL, DS_COLUMN_PERCENT, 1},
    {"projection", "proj", NULL, DS_COLUMN_PERCENT, 1},
    {"over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1},
    {"reflection", "refl", NULL, DS_COLUMN_PERCENT, 1},
    {"relative_edit", "edit/|X|", NULL, DS_COLUMN_FIXED, 3},
};

static ds_status make_table(ds_table **table, ds_gate_census *census) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Gates by sublayer", columns, sizeof columns / sizeof columns[0]));
    for (size_t s = 0; s < census->sublayers; s++) {
        ds_gate_usage *usage = &census->usage[s];
        ds_statistics beta = ds_summary_statistics(&usage->beta);
        char name[32];
        ds_table_text(*table, ds_sublayer_name(name, s));
        ds_table_real(*table, beta.mean);
        ds_table_real(*table, beta.mean);
        ds_table_real(*table, beta.quantiles[1]);
        ds_table_real(*table, beta.quantiles[5]);
        for (size_t r = 0; r < DS_REGIME_COUNT; r++) ds_table_real(*table, ds_gate_share(usage, r));
        ds_table_real(*table, ds_sum_value(&usage->relative_edit) / (double)usage->tokens);
    }
done:
    return status;
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    (void)run;
    const gates_options *own = invocation->own;
    ds_json_put_real(b, "regime_tol", own->regime_tol);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, collection *all) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *table = NULL;
    DS_TRY(make_results(&results, run, all));
    DS_TRY(make_table(&table, &all->census));
    if (all->per_token != NULL) DS_TRY(ds_per_token_commit(&all->per_token));
    DS_TRY(ds_command_publish(invocation, run, results, &table, 1));
    if (!invocation->common.table) goto done;
    (void)printf("loss %.6f nats over %zu window%s of %zu token%s\n\n", ds_mean(all->sequence_loss, run->sequences),
                 run->sequences, ds_plural(run->sequences), run->length, ds_plural(run->length));
    if (ds_rule_has_gates(run->spec.rule)) DS_TRY(ds_table_print(stdout, table));
    ds_limits_print(stdout, &all->limits);
    ds_shadow_print(stdout, &all->shadow);
done:
    json_decref(results);
    ds_table_free(&table);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const gates_options *own = invocation->own;
    ds_run run = {0};
    collection all = {0};
    DS_TRY(ds_command_open(&run, invocation));
    if (own->per_token != NULL && !ds_rule_has_gates(run.spec.rule)) {
        status = ds_fail(DS_ERR_USAGE, "--per-token: an additive checkpoint has no gates to write");
        goto done;
    }
    DS_TRY(ds_gate_census_init(&all.census, &run.spec, own->regime_tol));
    DS_TRY(ds_limits_init(&all.limits, &run.spec));
    DS_NEW(all.sequence_loss, run.sequences);
    DS_NEW(all.nll, run.batch * run.length);
    if (own->per_token != NULL)
        DS_TRY(ds_per_token_open(&all.per_token, own->per_token, &run.spec, run.batch, run.length));
    DS_TRY(collect(&run, &all));
    DS_TRY(ds_shadow_run(&all.shadow, &run, invocation->common.shadow.value));
    DS_TRY(publish(invocation, &run, &all));
done:
    ds_per_token_discard(&all.per_token);
    ds_gate_census_release(&all.census);
    ds_limits_release(&all.limits);
    ds_shadow_release(&all.shadow);
    free(all.sequence_loss);
    free(all.nll);
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_gates = {
    .name = "gates",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "How the gates of a trained model are used",
    .description = "For every sublayer: the distribution of the gate beta, of |k|^2 and of the moved eigenvalue "
                   "1 - m beta |k|^2; the share of tokens in the identity, damped, projection, over-relaxed and reflection "
                   "regimes; the discrepancy k^T X - v^T before and after the edit; sizes of readout, target and edit. "
                   "Memory does not grow with the data.",
    .examples = "  deltascope gates --tokens val.bin --json gates.json checkpoint/\n"
                "  deltascope gates --text essay.txt --tokenizer gpt2/ --seq-len 256 checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_SHADOW,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .put_options = put_options,
    .run = run_command,
};
