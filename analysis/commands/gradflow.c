/* gradflow: gradients by depth, by path and by parameter; Jacobians of sublayers. */
#include <math.h>

#include "cli/standard_streams.h"
#include "cli/text_wrapping.h"
#include "deltascope/measure/gradient_flow.h"
#include "model_command.h"
#include "rehearsal.h"
#include "run_notes.h"

typedef struct gradflow_options {
    ds_gradflow_options measure;
    ds_count memory;
} gradflow_options;

static const ds_option options[] = {
    {"force", "LIST", "force gates while the gradient flows: closed:3.mlp, open:attn, closed-from:4, ... as in ablate",
     DS_OPTION_TEXT, offsetof(gradflow_options, measure.force), 0, NULL},
    {"per-position", NULL, "norms by position in the window as well", DS_OPTION_FLAG,
     offsetof(gradflow_options, measure.per_position), 0, NULL},
    {"measure", NULL, "close each gate and measure, beside the gradient's estimate", DS_OPTION_FLAG,
     offsetof(gradflow_options, measure.measure), 0, NULL},
    {"jacobian", "LIST", "dense Jacobians of sublayers at tokens SEQUENCE:POSITION,... or last", DS_OPTION_TEXT,
     offsetof(gradflow_options, measure.jacobian), 0, NULL},
    {"jacobian-sublayers", "LIST", "which sublayers: 0.attn,3.mlp or indices (all)", DS_OPTION_TEXT,
     offsetof(gradflow_options, measure.jacobian_sublayers), 0, NULL},
    {"memory", "MIB", "for what the forward pass keeps; the rest is computed again (2048)", DS_OPTION_COUNT,
     offsetof(gradflow_options, memory), 1, NULL},
};
static const gradflow_options defaults = {.memory = {0, false}};

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* Estimates exist where no gate is forced. */
static const ds_result_column gradient_columns[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("total_norm", "|dL/dX|", NULL, DS_COLUMN_REAL, 3, "total_norm"),
    DS_CELL("shortcut_norm", "shortcut", NULL, DS_COLUMN_REAL, 3, "shortcut_norm"),
    DS_CELL("direction_norm", "direct.", NULL, DS_COLUMN_REAL, 3, "direction_norm"),
    DS_CELL("gate_norm", "gate", NULL, DS_COLUMN_REAL, 3, "gate_norm"),
    DS_CELL("value_norm", "value", NULL, DS_COLUMN_REAL, 3, "value_norm"),
    DS_CELL("frozen_norm", "|P'g|", NULL, DS_COLUMN_REAL, 3, "/states/@/frozen_norm"),
    DS_CELL_OPTIONAL("estimated_delta_loss", "est. Δ", "nats", DS_COLUMN_FIXED, 4,
                     "/attribution/sublayers/@/estimated_delta_loss"),
    DS_CELL_OPTIONAL("measured_delta_loss", "closed Δ", "nats", DS_COLUMN_FIXED, 4,
                     "/attribution/sublayers/@/measured_delta_loss"),
};
static const ds_result_column additive_columns[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("total_norm", "|dL/dX|", NULL, DS_COLUMN_REAL, 3, "total_norm"),
    DS_CELL("shortcut_norm", "shortcut", NULL, DS_COLUMN_REAL, 3, "shortcut_norm"),
    DS_CELL("direction_norm", "branch", NULL, DS_COLUMN_REAL, 3, "direction_norm"),
};
static const ds_result_column history_columns[] = {
    DS_CELL("read", NULL, NULL, DS_COLUMN_TEXT, 0, "read"),
    DS_CELL("source_norm", "|dL/dv|", NULL, DS_COLUMN_REAL, 3, "/sources/@"),
    DS_CELL("grad_norm", "state", NULL, DS_COLUMN_REAL, 3, "grad_norm"),
    DS_CELL("read_norm", "|dL/du|", NULL, DS_COLUMN_REAL, 3, "/reads/@"),
};
static const ds_result_column jacobian_columns[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("sequence", "window", NULL, DS_COLUMN_INTEGER, 0, "sequence"),
    DS_CELL("position", NULL, NULL, DS_COLUMN_INTEGER, 0, "position"),
    DS_CELL("norm2", "σ max", NULL, DS_COLUMN_REAL, 4, "norm2"),
    DS_CELL("smallest", "σ min", NULL, DS_COLUMN_REAL, 3, "smallest"),
    DS_CELL("spectral_radius", "|λ| max", NULL, DS_COLUMN_REAL, 4, "spectral_radius"),
    DS_CELL("log_abs_det", "log|det|", NULL, DS_COLUMN_FIXED, 3, "log_abs_det"),
    DS_CELL("distance_to_frozen", "|J-A|/|J|", NULL, DS_COLUMN_FIXED, 3, "distance_to_frozen"),
    DS_CELL("frozen_eigenvalue", "1-b of A", NULL, DS_COLUMN_FIXED, 3, "frozen/eigenvalue"),
};

#define COLUMNS(c) .columns = (c), .column_count = sizeof(c) / sizeof *(c)
/* Rows are sublayers: the gradient reaching the state before each, by path. */
static const ds_result_table gradient_table = {.id = "sublayers",
                                               .title = "Gradient reaching the state before each sublayer",
                                               .rows = "sublayers",
                                               COLUMNS(gradient_columns)};
static const ds_result_table additive_table = {.id = "sublayers",
                                               .title = "Gradient reaching the state before each sublayer",
                                               .rows = "sublayers",
                                               COLUMNS(additive_columns)};
/* Rows are reads: of what was written last before each, of the sum so far or the streams, and what returns through the read. */
static const ds_result_table history_table = {
    .id = "states", .title = "Gradient reaching what each sublayer reads", .rows = "states", COLUMNS(history_columns)};
static const ds_result_table jacobian_table = {.id = "jacobians",
                                               .title = "Jacobians J of full sublayers, beside the frozen shortcut A",
                                               .rows = "jacobians",
                                               COLUMNS(jacobian_columns)};
enum { TABLES = 2 };

/* ---- the command ------------------------------------------------------------------------------------------------- */

static double real_at(const json_t *results, const char *path) {
    const json_t *value = ds_json_at(results, path);
    return json_is_number(value) ? json_number_value(value) : NAN; /* null is not finite */
}

/* Without a coefficient, of constant sides, there is no interval either. */
static ds_status say_correlation(ds_text *text, const char *name, const json_t *correlation) {
    double r = real_at(correlation, "coefficient"), low = real_at(correlation, "ci95/0"), high = real_at(correlation, "ci95/1");
    if (isnan(r)) return ds_text_printf(text, " %s none", name);
    if (isnan(low) || isnan(high)) return ds_text_printf(text, " %s %.2f", name, r);
    return ds_text_printf(text, " %s %.2f [%.2f, %.2f]", name, r, low, high);
}

static ds_status print_attribution(const json_t *results) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(ds_text_printf(&text, "estimate against measurement:"));
    DS_TRY(say_correlation(&text, "Pearson", ds_json_at(results, "attribution/pearson")));
    DS_TRY(ds_text_printf(&text, ","));
    DS_TRY(say_correlation(&text, "Spearman", ds_json_at(results, "attribution/spearman")));
    ds_print_wrapped(text.bytes, 0, 0);
done:
    ds_text_release(&text);
    return status;
}

static ds_status print(const ds_run *run, const json_t *results, ds_table *const *tables, size_t count) {
    ds_status status = DS_OK;
    (void)printf("loss %.6f nats over ", real_at(results, "loss"));
    ds_print_windows(run);
    (void)printf("\n");
    DS_TRY(ds_print_table(tables[0]));
    if (ds_json_at(results, "attribution/pearson") != NULL) {
        DS_TRY(print_attribution(results));
        DS_TRY(ds_print_inference(run, results));
    }
    if (count == 1) goto done;
    (void)printf("\n");
    DS_TRY(ds_print_table(tables[1]));
done:
    return status;
}

static ds_result_table table_of(const ds_rule *rule) {
    if (ds_rule_keeps_history(rule) || ds_rule_kind_of(rule) == DS_KIND_STREAMS) return history_table;
    return ds_rule_has_gates(rule) ? gradient_table : additive_table;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    ds_table *tables[TABLES] = {NULL, NULL};
    const ds_result_table kinds[TABLES] = {table_of(run->spec.rule), jacobian_table};
    size_t made;
    DS_TRY(ds_command_publish_results(tables, &made, invocation, run, told, kinds, TABLES));
    if (invocation->common.table) DS_TRY(print(run, told->results, tables, made));
done:
    for (size_t i = 0; i < TABLES; i++) ds_table_free(&tables[i]);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    const gradflow_options *given = invocation->own;
    ds_gradflow_options own = given->measure;
    (void)journal;
    own.memory_mib = given->memory.value;
    return ds_gradflow_results(told, results, run, &own);
}

static ds_status row_names(json_t **names, const ds_run *run, const ds_invocation *invocation) {
    const ds_gradflow_options *own = invocation->own;
    char name[32];
    int code = 0;
    *names = NULL;
    if (own->jacobian == NULL || own->jacobian_sublayers != NULL) return DS_OK;
    *names = json_array();
    for (size_t s = 0; s < ds_spec_sublayers(&run->spec); s++)
        code |= json_array_append_new(*names, json_string(ds_sublayer_name(name, s)));
    return *names != NULL && code == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "gradflow: out of memory");
}

static void narrow(void *own, const char *names, const json_t *claimed) {
    ds_gradflow_options *narrowed = own;
    (void)claimed;
    if (names[0] == '\0')
        narrowed->jacobian = NULL;
    else
        narrowed->jacobian_sublayers = names;
}

static const ds_command_rows rows = {
    .list = "jacobians", .key = "name", .options = {"jacobian", "jacobian_sublayers"}, .names = row_names, .narrow = narrow};

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const gradflow_options *own = invocation->own;
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    DS_TRY(ds_gradflow_check(&own->measure));
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(measure(&told.options, &told.results, &run, invocation, NULL));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(gradient_columns), DS_COLUMN_SET(additive_columns),
                                            DS_COLUMN_SET(history_columns), DS_COLUMN_SET(jacobian_columns)};

const ds_command ds_command_gradflow = {
    .name = "gradflow",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "How the gradient flows: by depth, by path, by parameter",
    .description =
        "Exact gradients of the mean loss. For every state X_s its norm and, beside it, what the frozen shortcuts alone "
        "would carry there from the end (P' g); for every sublayer the exact split of what reaches the state before "
        "it into shortcut (k, beta, v held), direction (through k), gate (through beta) and value (through v), whose "
        "sum equals the total to rounding; norms by parameter and group.\n"
        "est. is the gradient's first-order estimate of what closing a gate does to the loss, -dL/d(gate scale). It "
        "screens large models cheaply where gates are small; a gate near 1 is closed far beyond where a tangent "
        "holds: believe it as far as --measure shows that it correlates.\n"
        "Attention over depth keeps what was written: for every v the norm of its gradient (through values and keys of all "
        "reads), of the running sum's where that is a thing beside it, and of what returns through each read alone. "
        "Parallel streams have the same: of every v, of all streams before each sublayer, of each read.\n"
        "--jacobian solves the full non-linear sublayer's own-token Jacobian densely, beside the frozen operator.",
    .examples = "  deltascope gradflow --tokens val.bin --measure checkpoint/\n"
                "  deltascope gradflow --tokens val.bin --force closed:3.mlp checkpoint/\n"
                "  deltascope gradflow --tokens val.bin --jacobian 0:32 --jacobian-sublayers 0.mlp checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_HISTORIES | DS_TAKES_STREAMS | DS_TAKES_RANKS | DS_TAKES_REHEARSAL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .dry_run = ds_dry_run_measure,
    .measure = measure,
    .rows = &rows,
};
