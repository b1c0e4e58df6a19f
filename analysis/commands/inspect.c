/* inspect: what a checkpoint holds. */
#include <inttypes.h>

#include "cli/standard_streams.h"
#include "cli/text_wrapping.h"
#include "deltascope/measure/checkpoint_inspection.h"
#include "draft_view.h"
#include "inspection_rows.h"
#include "model_command.h"

typedef struct inspect_options {
    const char *draft_map;
} inspect_options;

static const ds_option options[] = {
    {"draft-map", "FILE", "write a draft of a map from the checkpoint's names to ours, for --map, and stop", DS_OPTION_TEXT,
     offsetof(inspect_options, draft_map), 0, NULL},
};
static const inspect_options defaults = {.draft_map = NULL};

static const char *text_at(const json_t *value, const char *path) { return json_string_value(ds_json_at(value, path)); }

static uint64_t count_at(const json_t *value, const char *path) {
    return (uint64_t)json_integer_value(ds_json_at(value, path));
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static const ds_result_column tensor_columns[] = {
    DS_CELL("tensor", NULL, NULL, DS_COLUMN_TEXT, 0, "tensor"),
    DS_CELL("dtype", NULL, NULL, DS_COLUMN_TEXT, 0, "dtype"),
    DS_CELL("shape", NULL, NULL, DS_COLUMN_TEXT, 0, "shape"),
    DS_CELL("role", NULL, NULL, DS_COLUMN_TEXT, 0, "role"),
    DS_CELL("nan", NULL, NULL, DS_COLUMN_INTEGER, 0, "nan"),
    DS_CELL("inf", NULL, NULL, DS_COLUMN_INTEGER, 0, "inf"),
    DS_CELL("zero_rows", NULL, NULL, DS_COLUMN_INTEGER, 0, "zero_rows"),
};
static const ds_result_column group_columns[] = {
    DS_CELL("group", NULL, NULL, DS_COLUMN_TEXT, 0, "group"),
    DS_CELL("parameters", NULL, NULL, DS_COLUMN_INTEGER, 0, "parameters"),
    DS_CELL("share", NULL, NULL, DS_COLUMN_PERCENT, 2, "share"),
};
static const ds_result_column narrow_columns[] = {
    DS_CELL("layer", NULL, NULL, DS_COLUMN_TEXT, 0, "layer"),
    DS_CELL("tensor", NULL, NULL, DS_COLUMN_TEXT, 0, "within"),
    DS_CELL("dtype", NULL, NULL, DS_COLUMN_TEXT, 0, "dtype"),
    DS_CELL("shape", NULL, NULL, DS_COLUMN_TEXT, 0, "shape"),
    DS_CELL("role", NULL, NULL, DS_COLUMN_TEXT, 0, "role_and_oddities"),
};

/* The first two are written to files; the terminal has the last two, unless columns are chosen. */
enum { TENSORS, GROUPS, NARROW_TENSORS, TABLES };
#define COLUMNS(c) .columns = (c), .column_count = sizeof(c) / sizeof *(c)
static const ds_result_table kinds[TABLES] = {
    [TENSORS] = {.id = "tensors", .title = "Tensors", .rows = "tensors", COLUMNS(tensor_columns)},
    [GROUPS] = {.id = "parameters", .title = "Parameters", .rows = "groups", COLUMNS(group_columns)},
    [NARROW_TENSORS] = {.id = "narrow", .title = "Tensors", .rows = "tensors", COLUMNS(narrow_columns)},
};

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* "topic: text" in lines of at most 79 columns. */
static void print_note(const json_t *note) {
    size_t column = (size_t)printf("%s: ", text_at(note, "topic"));
    ds_print_wrapped(text_at(note, "text"), 4, column);
}

static void print_model(const ds_run *run, const json_t *results) {
    const ds_spec *spec = &run->spec;
    char shared[48] = "";
    if (ds_spec_kv_heads(spec) != spec->heads)
        (void)snprintf(shared, sizeof shared, " (keys and values: %zu)", ds_spec_kv_heads(spec));
    (void)printf(
        "\n%s from %s: %zu layers, hidden %zu,\n%zu heads of %zu%s, value channels %zu, vocabulary %zu, output head %s\n",
        ds_spec_variant(spec), text_at(results, "format"), spec->layers, spec->hidden, spec->heads, spec->head_dim, shared,
        spec->value_channels, spec->vocab, text_at(results, "tied_head"));
    (void)printf("sha256 %s\n", ds_checkpoint_sha256(run->checkpoint));
    if (ds_checkpoint_config_entry(run->checkpoint) != NULL)
        (void)printf("configuration: what the checkpoint holds as %s\n", ds_checkpoint_config_entry(run->checkpoint));
    (void)printf("per token at window length %zu: %.4g operations forward,\n%.4g of them the rule's; %.4g in training; "
                 "state of %" PRIu64 " bytes\n\n",
                 run->length, json_number_value(ds_json_at(results, "cost/forward_flops_per_token")),
                 json_number_value(ds_json_at(results, "cost/rule_flops_per_token")),
                 json_number_value(ds_json_at(results, "cost/training_flops_per_token")),
                 count_at(results, "cost/state_bytes_per_token"));
    if (run->tokens == NULL) return;
    (void)printf("data: %" PRIu64 " tokens; %zu window%s of %zu", ds_tokens_count(run->tokens), run->sequences,
                 ds_plural(run->sequences), run->length);
    if (run->options.spread == DS_SPREAD_EVEN)
        (void)printf(" spread evenly over them\n\n");
    else if (run->options.spread == DS_SPREAD_RANDOM)
        (void)printf(" drawn at random\n\n");
    else
        (void)printf(" from token %" PRIu64 " on\n\n", run->starts[0]);
}

/* `tensors`: the table that the terminal has. */
static ds_status print(const ds_run *run, const json_t *results, const ds_table *tensors, const ds_table *groups) {
    ds_status status = DS_OK;
    const json_t *notes = json_object_get(results, "notes");
    DS_TRY(ds_print_table(tensors));
    (void)printf("\n");
    DS_TRY(ds_print_table(groups));
    print_model(run, results);
    for (size_t i = 0; i < json_array_size(notes); i++) print_note(json_array_get(notes, i));
done:
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    json_t *rows = NULL;
    ds_table *tables[TABLES] = {NULL};
    DS_TRY(ds_inspection_rows(&rows, told->results));
    for (size_t i = 0; i < TABLES; i++) DS_TRY(ds_command_table(&tables[i], "inspect", &kinds[i], rows));
    DS_TRY(ds_command_publish_tables(invocation, run, told, tables, NARROW_TENSORS));
    const ds_table *tensors = tables[invocation->common.columns == NULL ? NARROW_TENSORS : TENSORS];
    if (invocation->common.table) DS_TRY(print(run, told->results, tensors, tables[GROUPS]));
done:
    for (size_t i = 0; i < TABLES; i++) ds_table_free(&tables[i]);
    json_decref(rows);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    ds_status status = DS_OK;
    (void)invocation;
    (void)journal;
    DS_TRY(ds_inspect_results(told, results, run));
    run->parameters = count_at(*results, "parameters/total");
done:
    return status;
}

/* The weights are surveyed, not held. */
static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const inspect_options *own = invocation->own;
    ds_run_options run_options = ds_command_run_options(invocation);
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    if (own->draft_map != NULL) return ds_draft_write(invocation, own->draft_map);
    run_options.without_weights = true;
    status = ds_run_open(&run, &run_options);
    if (status != DS_OK) return ds_draft_explain(invocation, status);
    ds_command_warn(&run, 0);
    DS_TRY(measure(&told.options, &told.results, &run, invocation, NULL));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(tensor_columns), DS_COLUMN_SET(group_columns)};

const ds_command ds_command_inspect = {
    .name = "inspect",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "What a checkpoint holds: tensors, roles, oddities, cost",
    .description =
        "Every tensor with the role it plays, those the configuration leaves unused, and what is odd: NaN, infinities, "
        "rows of zeros, an output head that differs from the embedding, settings in which the published code and the "
        "paper differ. Parameters by group; floating-point operations and state per token at --seq-len. The weights "
        "are read once and not held; unhealthy ones are reported, not refused. Data are not needed; where given, it is told "
        "how many windows they hold for this checkpoint. Where no model can be made of the tensors, they are listed with the "
        "roles each could fill, and --draft-map writes down which name is likely to mean which of ours.",
    .examples = "  deltascope inspect checkpoint/\n"
                "  deltascope inspect --config config.json --json inspect.json ckpt.pt\n"
                "  deltascope inspect --draft-map map.json fork/ckpt.pt\n",
    .takes = DS_TAKES_MODEL | DS_DATA_OPTIONAL | DS_TAKES_HISTORIES | DS_TAKES_STREAMS,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .measure = measure,
};
