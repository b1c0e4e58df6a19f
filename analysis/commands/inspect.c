/* inspect: what a checkpoint holds. */
#include <inttypes.h>
#include <string.h>

#include "deltascope/measure/checkpoint_inspection.h"
#include "model_command.h"
#include "cli/text_wrapping.h"

enum { SHAPE_TEXT = DS_MAX_RANK * 22 };
/* "65x32"; a single number for a vector. */
static const char *shape_text(char text[SHAPE_TEXT], const ds_tensor *tensor) {
    text[0] = '\0';
    for (size_t axis = 0, used = 0; axis < tensor->rank; axis++)
        used += (size_t)snprintf(text + used, SHAPE_TEXT - used, "%s%" PRIu64, axis == 0 ? "" : "x", tensor->shape[axis]);
    return text;
}

static const ds_column tensor_columns[] = {
    {"tensor", NULL, NULL, DS_COLUMN_TEXT, 0},       {"dtype", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"shape", NULL, NULL, DS_COLUMN_TEXT, 0},        {"role", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"nan", NULL, NULL, DS_COLUMN_INTEGER, 0},       {"inf", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"zero_rows", NULL, NULL, DS_COLUMN_INTEGER, 0},
};

static ds_status fill_tensors(ds_table **table, const ds_survey *survey) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Tensors", tensor_columns, sizeof tensor_columns / sizeof tensor_columns[0]));
    for (size_t i = 0; i < survey->count; i++) {
        const ds_tensor_health *health = &survey->tensors[i];
        char shape[SHAPE_TEXT];
        ds_table_text(*table, DS_SHOW(health->tensor->name));
        ds_table_text(*table, health->tensor->dtype_name);
        ds_table_text(*table, shape_text(shape, health->tensor));
        ds_table_text(*table, ds_health_role(health) == NULL ? "unused" : ds_health_role(health));
        ds_table_integer(*table, (int64_t)health->nan);
        ds_table_integer(*table, (int64_t)health->inf);
        ds_table_integer(*table, (int64_t)health->zero_rows);
    }
done:
    return status;
}

static const ds_column screen_columns[] = {
    {"layer", NULL, NULL, DS_COLUMN_TEXT, 0}, {"tensor", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"dtype", NULL, NULL, DS_COLUMN_TEXT, 0}, {"shape", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"role", NULL, NULL, DS_COLUMN_TEXT, 0},
};

static void append_oddity(char *text, size_t capacity, uint64_t count, const char *what) {
    size_t used = strlen(text);
    if (count != 0) (void)snprintf(text + used, capacity - used, ", %" PRIu64 " %s", count, what);
}

/* The same, narrow enough for a terminal: the layer in front, oddities behind the role. */
static ds_status fill_screen(ds_table **table, const ds_survey *survey) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Tensors", screen_columns, sizeof screen_columns / sizeof screen_columns[0]));
    for (size_t i = 0; i < survey->count; i++) {
        const ds_tensor_health *health = &survey->tensors[i];
        const char *prefix = "transformer.h.", *name = health->tensor->name, *role = ds_health_role(health);
        size_t digits = strncmp(name, prefix, strlen(prefix)) == 0 ? strspn(name + strlen(prefix), "0123456789") : 0;
        char layer[32] = "", text[256], shape[SHAPE_TEXT];
        if (digits != 0 && digits < sizeof layer && name[strlen(prefix) + digits] == '.') {
            memcpy(layer, name + strlen(prefix), digits);
            name += strlen(prefix) + digits + 1;
        }
        if (role == NULL) role = "unused";
        const char *of_layer = strstr(role, " of layer ");
        (void)snprintf(text, sizeof text, "%.*s", (int)(of_layer == NULL ? strlen(role) : (size_t)(of_layer - role)), role);
        append_oddity(text, sizeof text, health->nan, "NaN");
        append_oddity(text, sizeof text, health->inf, "Inf");
        if (ds_health_odd_zeros(health)) append_oddity(text, sizeof text, health->zero_rows, "zero");
        ds_table_text(*table, layer);
        ds_table_text(*table, DS_SHOW(name));
        ds_table_text(*table, health->tensor->dtype_name);
        ds_table_text(*table, shape_text(shape, health->tensor));
        ds_table_text(*table, text);
    }
done:
    return status;
}

static const ds_column group_columns[] = {
    {"group", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"parameters", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"share", NULL, NULL, DS_COLUMN_PERCENT, 2},
};

static ds_status fill_groups(ds_table **table, const ds_survey *survey) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Parameters", group_columns, sizeof group_columns / sizeof group_columns[0]));
    for (size_t g = 0; g <= DS_GROUP_COUNT; g++) {
        uint64_t count = g == DS_GROUP_COUNT ? survey->total : survey->groups[g];
        ds_table_text(*table, g == DS_GROUP_COUNT ? "total" : ds_group_name((ds_group)g));
        ds_table_integer(*table, (int64_t)count);
        ds_table_real(*table, (double)count / (double)survey->total);
    }
done:
    return status;
}

/* "topic: text" in lines of at most 79 columns. */
static void print_note(const ds_note *note) {
    size_t column = (size_t)printf("%s: ", note->topic);
    ds_print_wrapped(note->text, 4, column);
}

static ds_status print(const ds_run *run, const ds_survey *survey, const ds_notes *notes, const ds_table *groups) {
    ds_status status = DS_OK;
    const ds_spec *spec = &run->spec;
    ds_table *screen = NULL;
    DS_TRY(fill_screen(&screen, survey));
    DS_TRY(ds_table_print(stdout, screen));
    (void)printf("\n");
    DS_TRY(ds_table_print(stdout, groups));
    (void)printf(
        "\n%s from %s: %zu layers, hidden %zu,\n%zu heads of %zu, value channels %zu, vocabulary %zu, output head %s\n",
        ds_spec_variant(spec), ds_checkpoint_format(run->checkpoint), spec->layers, spec->hidden, spec->heads,
        spec->head_dim, spec->value_channels, spec->vocab, ds_head_tie_name(survey->head));
    (void)printf("sha256 %s\n", ds_checkpoint_sha256(run->checkpoint));
    (void)printf("per token at window length %zu: %.4g operations forward,\n%.4g in training; state of %" PRIu64 " bytes\n\n",
                 run->length, ds_spec_forward_flops_per_token(spec, run->length),
                 3.0 * ds_spec_forward_flops_per_token(spec, run->length),
                 ds_state_bytes_per_token(spec, run->options.precision));
    if (run->tokens != NULL)
        (void)printf("data: %" PRIu64 " tokens; %zu window%s of %zu from token %" PRIu64 " on\n\n",
                     ds_tokens_count(run->tokens), run->sequences, ds_plural(run->sequences), run->length,
                     run->options.offset);
    for (size_t i = 0; i < notes->count; i++) print_note(&notes->notes[i]);
done:
    ds_table_free(&screen);
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_survey *survey) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *tables[2] = {NULL, NULL};
    ds_notes notes;
    ds_inspection_notes(&notes, survey);
    DS_TRY(fill_tensors(&tables[0], survey));
    DS_TRY(fill_groups(&tables[1], survey));
    DS_TRY(
        ds_inspection_json(&results, survey, run->checkpoint, &notes, run->length, run->options.precision));
    DS_TRY(ds_command_publish(invocation, run, results, tables, 2));
    if (invocation->common.table) DS_TRY(print(run, survey, &notes, tables[1]));
done:
    json_decref(results);
    ds_table_free(&tables[0]);
    ds_table_free(&tables[1]);
    return status;
}

/* The weights are surveyed, not held. */
static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run_options options = ds_command_run_options(invocation);
    ds_run run = {0};
    ds_survey *survey = NULL;
    options.without_weights = true;
    DS_TRY(ds_run_open(&run, &options));
    DS_TRY(ds_survey_new(&survey, run.checkpoint, options.precision));
    run.parameters = ds_model_parameter_count(survey->model);
    DS_TRY(publish(invocation, &run, survey));
done:
    ds_survey_free(&survey);
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
