/* ablate: what each gate is worth when it is forced. */
#include "cli/standard_streams.h"
#include "deltascope/measure/forced_gates.h"
#include "model_command.h"
#include "rehearsal.h"
#include "run_notes.h"

static const ds_option options[] = {
    {"modes", "LIST", "*, comma separated (closed)", DS_OPTION_TEXT, offsetof(ds_ablate_options, modes), 0, ds_mode_words},
    {"scopes", "LIST", "*, comma separated (all of them)", DS_OPTION_TEXT, offsetof(ds_ablate_options, scopes), 0,
     ds_scope_words},
};

static const ds_result_column columns[] = {
    DS_CELL("case", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("loss", NULL, "nats", DS_COLUMN_FIXED, 4, "loss"),
    DS_CELL("delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4, "delta_loss"),
    DS_CELL("bar", "", NULL, DS_COLUMN_BAR, 0, "delta_loss"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "delta_loss_ci95/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "delta_loss_ci95/1"),
    DS_CELL("p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "p_value_holm"),
    DS_CELL("kl", "KL", "nats", DS_COLUMN_FIXED, 4, "kl"),
};
static const ds_result_table tables[] = {
    {.id = "cases",
     .title = "Forced gates",
     .rows = "cases",
     .columns = columns,
     .column_count = sizeof columns / sizeof columns[0]},
};

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    ds_table *table = NULL;
    size_t made;
    DS_TRY(ds_command_publish_results(&table, &made, invocation, run, told, tables, 1));
    if (!invocation->common.table) goto done;
    (void)printf("intact loss %.6f nats over ", json_number_value(ds_json_at(told->results, "baseline/loss")));
    ds_print_windows(run);
    (void)printf("\n\n");
    DS_TRY(ds_print_table(table));
    DS_TRY(ds_print_inference(run, told->results));
    ds_print_shadow(told->results);
done:
    ds_table_free(&table);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    ds_ablate_options own = *(const ds_ablate_options *)invocation->own;
    own.journal = journal;
    own.shadow = invocation->common.shadow.value;
    return ds_ablate_results(told, results, run, &own);
}

/* What is repeated in double is of all cases. */
static ds_status row_names(json_t **names, const ds_run *run, const ds_invocation *invocation) {
    const ds_ablate_options *own = invocation->own;
    ds_status status = DS_OK;
    ds_case_list list = {0};
    int code = 0;
    *names = NULL;
    if (invocation->common.shadow.value > 0) return DS_OK;
    DS_TRY(ds_case_list_parse(&list, &run->spec, own->modes, own->scopes));
    *names = json_array();
    for (size_t c = 0; c < list.count; c++) code |= json_array_append_new(*names, json_string(list.cases[c].name));
    if (*names == NULL || code != 0) status = ds_fail(DS_ERR_SYSTEM, "ablate: out of memory");
done:
    ds_case_list_release(&list);
    return status;
}

static void narrow(void *own, const char *names, const json_t *claimed) {
    ds_ablate_options *narrowed = own;
    narrowed->only = names;
    narrowed->others = json_object_get(claimed, "cases");
}

static const ds_command_rows rows = {.list = "cases", .key = "name", .names = row_names, .narrow = narrow};

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_journal_plan plan;
    ds_text path = {0};
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(ds_command_journal_plan(&plan, &path, invocation));
    DS_TRY(measure(&told.options, &told.results, &run, invocation, &plan));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    ds_text_release(&path);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(columns)};

const ds_command ds_command_ablate = {
    .name = "ablate",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "What each gate is worth when it is forced",
    .description =
        "Runs the model with gates forced and compares with the intact model on the same windows: loss, its change "
        "with a 95% interval over windows (paired; bootstrap-t, at least Student's), a p-value of no change, adjusted over "
        "all cases (Holm), and KL(intact || ablated). Fewer than 4 windows give neither interval nor p-value.\n"
        "Modes: closed (beta = 0), open (1), reflect (2), mean-gate (that sublayer's mean over the data), write-only "
        "(the edit without the erase), erase-only (without the write). Scopes: each sublayer alone, all attn, all "
        "mlp, all, from s on, up to s. An additive checkpoint has only closed, which drops the sublayer.\n"
        "Attention over depth: closed (the output and its place among the sources), zeroed (the output alone), and what "
        "a read does: uniform, recent (its last source), residual (the plain sum), mask-embedding, mask-current, "
        "mask-history. Without --scopes a mode takes those it has a meaning in: zeroed each, uniform each and all, the "
        "others of reads all; a readout that is routed counts as a read and is called final.\n"
        "Parallel streams: closed (the output is left out, the streams mix on), bypass (and they stay as they are), "
        "identity-res (R = I), uniform-res (R = 1/n), mean-mix (pre, post and R are means over the data), mean-res (R is), "
        "static (nothing depends on the streams), converged (R after 2000 rounds of Sinkhorn); bypass each, identity-res each "
        "and all, the others but closed all.\n"
        "With --out, finished windows are kept in DIR/ablate.journal: an interrupted run goes on with --resume and "
        "ends with the bytes it would have had.",
    .examples = "  deltascope ablate --tokens val.bin checkpoint/\n"
                "  deltascope ablate --tokens val.bin --modes open,reflect --scopes all checkpoint/\n"
                "  deltascope ablate --tokens val.bin --out audit/ --resume checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_SHADOW | DS_TAKES_RESUME | DS_TAKES_HISTORIES | DS_TAKES_STREAMS | DS_TAKES_RANKS |
             DS_TAKES_REHEARSAL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &ds_ablate_defaults,
    .own_size = sizeof ds_ablate_defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .dry_run = ds_dry_run_measure,
    .measure = measure,
    .rows = &rows,
};
