/* gates: how a trained model uses its gates and targets. */
#include "deltascope/measure/gates.h"
#include "cli/standard_streams.h"
#include "deltascope/measure/per_token_arrays.h"
#include "model_command.h"
#include "rehearsal.h"
#include "run_notes.h"

static const ds_option options[] = {
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     offsetof(ds_gates_options, regime_tolerance), 0, NULL},
    {"per-token", "FILE.npz", "ids, losses, gates, |k|^2, eigenvalues, readouts and targets of every token, for notebooks",
     DS_OPTION_TEXT, offsetof(ds_gates_options, per_token), 0, NULL},
};

static const ds_result_column columns[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3, "beta/mean"),
    DS_CELL("bar", "", NULL, DS_COLUMN_BAR, 0, "beta/mean"),
    DS_CELL("beta_05", "5%", NULL, DS_COLUMN_FIXED, 3, "beta/quantiles/0.05"),
    DS_CELL("beta_95", "95%", NULL, DS_COLUMN_FIXED, 3, "beta/quantiles/0.95"),
    DS_CELL("identity", "ident", NULL, DS_COLUMN_PERCENT, 1, "regimes/identity"),
    DS_CELL("damped", "damp", NULL, DS_COLUMN_PERCENT, 1, "regimes/damped"),
    DS_CELL("projection", "proj", NULL, DS_COLUMN_PERCENT, 1, "regimes/projection"),
    DS_CELL("over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1, "regimes/over_relaxed"),
    DS_CELL("reflection", "refl", NULL, DS_COLUMN_PERCENT, 1, "regimes/reflection"),
    DS_CELL("relative_edit", "edit/|X|", NULL, DS_COLUMN_FIXED, 3, "relative_edit"),
};
static const ds_result_table tables[] = {
    {.id = "sublayers",
     .title = "Gates by sublayer",
     .rows = "sublayers",
     .columns = columns,
     .column_count = sizeof columns / sizeof columns[0]},
};

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    ds_table *table = NULL;
    size_t made;
    DS_TRY(ds_command_publish_results(&table, &made, invocation, run, told, tables, 1));
    if (!invocation->common.table) goto done;
    (void)printf("loss %.6f nats over ", json_number_value(json_object_get(told->results, "loss")));
    ds_print_windows(run);
    (void)printf("\n\n");
    if (ds_rule_has_gates(run->spec.rule)) DS_TRY(ds_print_table(table));
    ds_print_limits(told->results, (uint64_t)run->sequences * run->length);
    ds_print_shadow(told->results);
done:
    ds_table_free(&table);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    ds_gates_options own = *(const ds_gates_options *)invocation->own;
    (void)journal;
    own.shadow = invocation->common.shadow.value;
    return ds_gates_results(told, results, run, &own);
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ds_gates_options *own = invocation->own;
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    if (own->per_token != NULL) DS_TRY(ds_per_token_check(own->per_token));
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(measure(&told.options, &told.results, &run, invocation, NULL));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

/* Without the arrays: a rehearsal writes nothing. */
static ds_status rehearse_gates(void *context, ds_run *run) {
    ds_status status = DS_OK;
    const ds_invocation *invocation = context;
    ds_told told = {NULL, NULL};
    ds_gates_options own = *(const ds_gates_options *)invocation->own;
    own.shadow = invocation->common.shadow.value;
    own.per_token = NULL;
    DS_TRY(ds_gates_results(&told.options, &told.results, run, &own));
done:
    ds_told_release(&told);
    return status;
}

static ds_status rehearse(ds_rehearsal *all, void *context) { return ds_rehearse(all, "gates", 0, rehearse_gates, context); }

static ds_status dry_run(const ds_invocation *invocation) {
    const ds_run_options opening = ds_rehearsal_options(invocation);
    return ds_rehearse_command(invocation, &opening, rehearse, NULL, (void *)(uintptr_t)invocation);
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(columns)};

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
    .takes = DS_TAKES_MODEL | DS_TAKES_SHADOW | DS_TAKES_RANKS | DS_TAKES_REHEARSAL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &ds_gates_defaults,
    .own_size = sizeof ds_gates_defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .dry_run = dry_run,
    .measure = measure,
};
