/* depth: how much of what was written at each depth arrives at every later one. */
#include "cli/standard_streams.h"
#include "deltascope/measure/depth_mixing.h"
#include "model_command.h"
#include "rehearsal.h"
#include "run_notes.h"

static const ds_result_column columns[] = {
    DS_CELL("read", NULL, NULL, DS_COLUMN_TEXT, 0, "read"),
    DS_CELL("embedding", NULL, NULL, DS_COLUMN_PERCENT, 1, "contribution/0"),
    DS_CELL("largest", NULL, NULL, DS_COLUMN_PERCENT, 1, "contribution_max/mean"),
    DS_CELL("bar", "", NULL, DS_COLUMN_BAR, 0, "contribution_max/mean"),
    DS_CELL("effective_sources", "sources", NULL, DS_COLUMN_FIXED, 2, "contribution_sources/mean"),
    DS_CELL("effective_sources_std", "±", NULL, DS_COLUMN_FIXED, 2, "contribution_sources/std"),
};
static const ds_result_table tables[] = {
    {.id = "contributions",
     .title = "Contributions by read",
     .rows = "depth_rows",
     .columns = columns,
     .column_count = sizeof columns / sizeof columns[0]},
};

static const ds_column_set column_sets[] = {DS_COLUMN_SET(columns)};

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    ds_table *table = NULL;
    size_t made;
    DS_TRY(ds_command_publish_results(&table, &made, invocation, run, told, tables, 1));
    if (!invocation->common.table) goto done;
    (void)printf("loss %.6f nats over ", json_number_value(json_object_get(told->results, "loss")));
    ds_print_windows(run);
    (void)printf("\n\n");
    DS_TRY(ds_print_table(table));
    const json_t *error = json_object_get(told->results, "sum_error");
    if (error != NULL) (void)printf("\nWhat was written adds up to the last state to %.1e of it.\n", json_number_value(error));
done:
    ds_table_free(&table);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    (void)invocation;
    (void)journal;
    return ds_depth_mixing_results(told, results, run);
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(measure(&told.options, &told.results, &run, invocation, NULL));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_depth = {
    .name = "depth",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "How much of what was written at one depth arrives at another",
    .description = "For every sublayer and the readout: the share that the embedding and the output of every sublayer before "
                   "have in what is read, mean over tokens, with entropy, effective sources and the largest share. Of the "
                   "additive rule, of attention over depth and of parallel streams also the depth-mixing matrix itself; of "
                   "streams what every sublayer mixes them by, and the gains of its products over depth; of the delta rule how "
                   "much of an earlier edit its frozen operators leave (gain), and that all edits together are the state, "
                   "checked on every token.",
    .examples = "  deltascope depth --tokens val.bin --json depth.json checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_HISTORIES | DS_TAKES_STREAMS | DS_TAKES_REHEARSAL,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .dry_run = ds_dry_run_measure,
    .measure = measure,
};
