/* compare: several checkpoints on the same data. */
#include <string.h>

#include "comparison_view.h"
#include "model_command.h"

enum { MOST = 64 };

typedef struct compare_options {
    const char *labels, *shut;
    double regime_tol;
    bool trajectory;
} compare_options;

static const ds_option options[] = {
    {"labels", "LIST", "names for the checkpoints, comma separated (the last parts of each path that tell it apart)",
     DS_OPTION_TEXT, offsetof(compare_options, labels), 0},
    {"trajectory", NULL, "the checkpoints are steps of one training run, in order: draw curves", DS_OPTION_FLAG,
     offsetof(compare_options, trajectory), 0},
    {"shut", "each|none", "whether to shut each gate alone, the costly part (each)", DS_OPTION_CHOICE,
     offsetof(compare_options, shut), 0},
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     offsetof(compare_options, regime_tol), 0},
};
static const compare_options defaults = {.shut = "each", .regime_tol = 0.1};

/* The windows are those of the first checkpoint. */
static ds_status open_entry(ds_run *run, ds_invocation *one, const ds_invocation *invocation, size_t index,
                            size_t length) {
    *one = *invocation;
    one->operands = invocation->operands + index;
    one->operand_count = 1;
    one->common.seq_len = (ds_count){length, true};
    return ds_command_open(run, one);
}

static ds_status print(const ds_invocation *invocation, const ds_run *run, ds_comparison *comparison, ds_table *const *tables, bool trajectory) {
    ds_status status = DS_OK;
    ds_table *beside = NULL;
    bool curves = trajectory && ds_terminal_of(stdout).unicode, gates = false;
    if (!invocation->common.table) return DS_OK;
    for (size_t i = 0; i < comparison->count; i++) gates = gates || comparison->entries[i].census.sublayers != 0;
    (void)printf("%zu checkpoints on the same %zu window%s of %zu token%s\n\n", comparison->count, run->sequences,
                 ds_plural(run->sequences), run->length, ds_plural(run->length));
    DS_TRY(ds_table_print(stdout, tables[0]));
    if (gates) {
        (void)printf("\n");
        DS_TRY(ds_table_print(stdout, tables[1]));
        (void)printf("\n");
        DS_TRY(ds_comparison_mean_gates(&beside, comparison, curves));
        DS_TRY(ds_table_print(stdout, beside));
        ds_table_free(&beside);
    }
    if (comparison->shut) {
        (void)printf("\n");
        DS_TRY(ds_comparison_costs(&beside, comparison, curves));
        DS_TRY(ds_table_print(stdout, beside));
    }
done:
    ds_table_free(&beside);
    return status;
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    (void)run;
    const compare_options *own = invocation->own;
    ds_json_put_text(b, "shut", own->shut);
    ds_json_put_bool(b, "trajectory", own->trajectory);
    ds_json_put_real(b, "regime_tol", own->regime_tol);
    ds_json_put_count(b, "seed", invocation->common.seed.value);
    ds_json_put_count(b, "resamples", DS_BOOTSTRAP_RESAMPLES);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, ds_comparison *comparison, bool trajectory) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *tables[3] = {NULL, NULL, NULL};
    DS_TRY(ds_comparison_json(&results, comparison, trajectory));
    DS_TRY(ds_comparison_loss_table(&tables[0], comparison));
    DS_TRY(ds_comparison_gate_table(&tables[1], comparison));
    DS_TRY(ds_comparison_long_table(&tables[2], comparison));
    DS_TRY(ds_command_publish(invocation, run, results, tables, 3));
    DS_TRY(print(invocation, run, comparison, tables, trajectory));
done:
    json_decref(results);
    for (size_t i = 0; i < 3; i++) ds_table_free(&tables[i]);
    return status;
}

/* Last to first, so that the first one's session is there for the envelope and no two models ever are. */
static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const compare_options *own = invocation->own;
    const ds_common *common = &invocation->common;
    ds_comparison comparison;
    ds_invocation one;
    ds_run run = {0};
    DS_TRY(ds_comparison_init(&comparison, invocation->operands, invocation->operand_count, common->config, own->labels,
                              strcmp(own->shut, "each") == 0));
    size_t length = common->seq_len.given ? common->seq_len.value : comparison.entries[0].spec.block_size;
    size_t i = comparison.count;
    do {
        ds_run_close(&run);
        DS_TRY(open_entry(&run, &one, invocation, --i, length));
        DS_TRY(ds_comparison_measure(&comparison, i, &run, own->regime_tol));
    } while (i > 0);
    DS_TRY(ds_comparison_differences(&comparison, common->seed.value));
    DS_TRY(publish(invocation, &run, &comparison, own->trajectory));
done:
    ds_run_close(&run);
    ds_comparison_release(&comparison);
    return status;
}

const ds_command ds_command_compare = {
    .name = "compare",
    .operands = "CHECKPOINT CHECKPOINT...",
    .least_operands = 2,
    .most_operands = MOST,
    .summary = "How checkpoints differ: seeds, training steps, variants",
    .description =
        "Losses, gates, regimes and what shutting each gate costs, side by side on the same windows. Differences are from the "
        "first "
        "checkpoint, paired window by window: mean, 95% interval (bootstrap over windows) and p-value (sign flips, adjusted "
        "over all "
        "comparisons of the table after Holm). The cost of a gate is the rise of the loss when it alone is shut; an additive "
        "checkpoint has no gates, and its sublayers are dropped.\n"
        "Vocabularies must agree; the windows are those of the first checkpoint's block size unless --seq-len says otherwise. "
        "One "
        "model is in memory at a time. With --trajectory the checkpoints are steps of a run: the last number of each label is "
        "the "
        "step where these increase.",
    .examples = "  deltascope compare --tokens val.bin seed-1/ seed-2/ additive/\n"
                "  deltascope compare --tokens val.bin --trajectory --out run/ step-1000/ step-2000/ step-4000/\n",
    .takes = DS_TAKES_MODEL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .put_options = put_options,
    .run = run_command,
};
