/* inspect: what a checkpoint holds. */
#include <inttypes.h>
#include <string.h>

#include "cli/text_wrapping.h"
#include "deltascope/measure/checkpoint_inspection.h"
#include "model_command.h"

/* ---- rows as people read them ------------------------------------------------------------------------------------ */

static const char *text_at(const json_t *value, const char *path) { return json_string_value(ds_json_at(value, path)); }

static uint64_t count_at(const json_t *value, const char *path) {
    return (uint64_t)json_integer_value(ds_json_at(value, path));
}

/* "65x32"; a single number for a vector. */
static void put_shape(ds_json_builder *b, const json_t *shape) {
    char text[DS_MAX_RANK * 22] = "";
    for (size_t axis = 0, used = 0; axis < json_array_size(shape); axis++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%" JSON_INTEGER_FORMAT, axis == 0 ? "" : "x",
                                 json_integer_value(json_array_get(shape, axis)));
    ds_json_put_text(b, "shape", text);
}

static void append_oddity(char *text, size_t capacity, uint64_t count, const char *what) {
    size_t used = strlen(text);
    if (count != 0) (void)snprintf(text + used, capacity - used, ", %" PRIu64 " %s", count, what);
}

/* The name taken apart, narrow enough for a terminal: the layer in front, oddities behind the role. */
static void put_narrow(ds_json_builder *b, const char *name, const char *role, const json_t *health) {
    const char *prefix = "transformer.h.", *within = name, *of_layer = strstr(role, " of layer ");
    size_t digits = strncmp(name, prefix, strlen(prefix)) == 0 ? strspn(name + strlen(prefix), "0123456789") : 0;
    char layer[32] = "", text[256];
    if (digits != 0 && digits < sizeof layer && name[strlen(prefix) + digits] == '.') {
        memcpy(layer, name + strlen(prefix), digits);
        within += strlen(prefix) + digits + 1;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)(of_layer == NULL ? strlen(role) : (size_t)(of_layer - role)), role);
    append_oddity(text, sizeof text, count_at(health, "nan"), "NaN");
    append_oddity(text, sizeof text, count_at(health, "inf"), "Inf");
    if (ds_zero_rows_are_odd(name)) append_oddity(text, sizeof text, count_at(health, "zero_rows"), "zero");
    ds_json_put_text(b, "layer", layer);
    ds_json_put_text(b, "within", DS_SHOW(within));
    ds_json_put_text(b, "role_and_oddities", text);
}

/* health NULL: a tensor that cannot be read as numbers. */
static void put_tensor(ds_json_builder *b, const json_t *tensor, const json_t *health) {
    const char *name = text_at(tensor, "name"), *role = text_at(tensor, "role");
    if (role == NULL) role = "unused";
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "tensor", DS_SHOW(name));
    ds_json_put_text(b, "dtype", text_at(tensor, "dtype"));
    put_shape(b, ds_json_at(tensor, "shape"));
    ds_json_put_text(b, "role", role);
    ds_json_put_count(b, "nan", count_at(health, "nan"));
    ds_json_put_count(b, "inf", count_at(health, "inf"));
    ds_json_put_count(b, "zero_rows", count_at(health, "zero_rows"));
    put_narrow(b, name, role, health);
    ds_json_end(b);
}

/* "health" lists tensors in the order of "tensors", without those that cannot be read. */
static void put_tensors(ds_json_builder *b, const json_t *results) {
    const json_t *tensors = json_object_get(results, "tensors"), *healths = json_object_get(results, "health");
    ds_json_begin_array(b, "tensors");
    for (size_t i = 0, next = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i), *health = json_array_get(healths, next);
        bool readable = health != NULL && strcmp(text_at(health, "tensor"), text_at(tensor, "name")) == 0;
        put_tensor(b, tensor, readable ? health : NULL);
        next += readable;
    }
    ds_json_end(b);
}

static void put_group(ds_json_builder *b, const char *name, uint64_t count, uint64_t total) {
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "group", name);
    ds_json_put_count(b, "parameters", count);
    ds_json_put_real(b, "share", (double)count / (double)total);
    ds_json_end(b);
}

static void put_groups(ds_json_builder *b, const json_t *results) {
    const json_t *parameters = json_object_get(results, "parameters");
    uint64_t total = count_at(parameters, "total");
    ds_json_begin_array(b, "groups");
    for (size_t g = 0; g < DS_GROUP_COUNT; g++) {
        const char *name = ds_group_name((ds_group)g);
        put_group(b, name, count_at(parameters, name), total);
    }
    put_group(b, "total", total, total);
    ds_json_end(b);
}

static ds_status make_rows(json_t **rows, const json_t *results) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    put_tensors(&b, results);
    put_groups(&b, results);
    ds_json_end(&b);
    return ds_json_finish(rows, &b);
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

/* The first two are written to files; the terminal has the last two. */
enum { TENSORS, GROUPS, NARROW_TENSORS, TABLES };
#define COLUMNS(c) .columns = (c), .column_count = sizeof(c) / sizeof *(c)
static const ds_result_table kinds[TABLES] = {
    [TENSORS] = {.title = "Tensors", .rows = "tensors", COLUMNS(tensor_columns)},
    [GROUPS] = {.title = "Parameters", .rows = "groups", COLUMNS(group_columns)},
    [NARROW_TENSORS] = {.title = "Tensors", .rows = "tensors", COLUMNS(narrow_columns)},
};

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* "topic: text" in lines of at most 79 columns. */
static void print_note(const json_t *note) {
    size_t column = (size_t)printf("%s: ", text_at(note, "topic"));
    ds_print_wrapped(text_at(note, "text"), 4, column);
}

static void print_model(const ds_run *run, const json_t *results) {
    const ds_spec *spec = &run->spec;
    (void)printf(
        "\n%s from %s: %zu layers, hidden %zu,\n%zu heads of %zu, value channels %zu, vocabulary %zu, output head %s\n",
        ds_spec_variant(spec), text_at(results, "format"), spec->layers, spec->hidden, spec->heads, spec->head_dim,
        spec->value_channels, spec->vocab, text_at(results, "tied_head"));
    (void)printf("sha256 %s\n", ds_checkpoint_sha256(run->checkpoint));
    (void)printf("per token at window length %zu: %.4g operations forward,\n%.4g in training; state of %" PRIu64 " bytes\n\n",
                 run->length, json_number_value(ds_json_at(results, "cost/forward_flops_per_token")),
                 json_number_value(ds_json_at(results, "cost/training_flops_per_token")),
                 count_at(results, "cost/state_bytes_per_token"));
    if (run->tokens != NULL)
        (void)printf("data: %" PRIu64 " tokens; %zu window%s of %zu from token %" PRIu64 " on\n\n",
                     ds_tokens_count(run->tokens), run->sequences, ds_plural(run->sequences), run->length, run->options.offset);
}

static ds_status print(const ds_run *run, const json_t *results, ds_table *const *tables) {
    ds_status status = DS_OK;
    const json_t *notes = json_object_get(results, "notes");
    DS_TRY(ds_table_print(stdout, tables[NARROW_TENSORS]));
    (void)printf("\n");
    DS_TRY(ds_table_print(stdout, tables[GROUPS]));
    print_model(run, results);
    for (size_t i = 0; i < json_array_size(notes); i++) print_note(json_array_get(notes, i));
done:
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    json_t *rows = NULL;
    ds_table *tables[TABLES] = {NULL};
    DS_TRY(make_rows(&rows, told->results));
    for (size_t i = 0; i < TABLES; i++) DS_TRY(ds_result_table_new(&tables[i], &kinds[i], rows));
    DS_TRY(ds_command_publish_tables(invocation, run, told, tables, NARROW_TENSORS));
    if (invocation->common.table) DS_TRY(print(run, told->results, tables));
done:
    for (size_t i = 0; i < TABLES; i++) ds_table_free(&tables[i]);
    json_decref(rows);
    return status;
}

/* The weights are surveyed, not held. */
static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run_options options = ds_command_run_options(invocation);
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    options.without_weights = true;
    DS_TRY(ds_run_open(&run, &options));
    DS_TRY(ds_inspect_results(&told.options, &told.results, &run));
    run.parameters = count_at(told.results, "parameters/total");
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

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
        "how many windows they hold for this checkpoint.",
    .examples = "  deltascope inspect checkpoint/\n"
                "  deltascope inspect --config config.json --json inspect.json ckpt.pt\n",
    .takes = DS_TAKES_MODEL | DS_DATA_OPTIONAL,
    .run = run_command,
};
