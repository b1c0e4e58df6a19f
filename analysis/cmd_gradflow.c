/* gradflow: gradients by depth, by path and by parameter; Jacobians of sublayers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ablation.h"
#include "gradflow.h"

typedef struct gradflow_options {
    const char *force, *jacobian, *jacobian_sublayers;
    ds_count memory;
    bool per_position, measure;
} gradflow_options;

static const ds_option options[] = {
    {"force", "LIST", "force gates while the gradient flows: closed:3.mlp, open:attn, closed-from:4, ... as in ablate",
     DS_OPTION_TEXT, offsetof(gradflow_options, force), 0},
    {"per-position", NULL, "norms by position in the window as well", DS_OPTION_FLAG, offsetof(gradflow_options, per_position),
     0},
    {"measure", NULL, "close each gate and measure, beside the gradient's estimate", DS_OPTION_FLAG,
     offsetof(gradflow_options, measure), 0},
    {"jacobian", "LIST", "dense Jacobians of sublayers at tokens SEQUENCE:POSITION,... or last", DS_OPTION_TEXT,
     offsetof(gradflow_options, jacobian), 0},
    {"jacobian-sublayers", "LIST", "which sublayers: 0.attn,3.mlp or indices (all)", DS_OPTION_TEXT,
     offsetof(gradflow_options, jacobian_sublayers), 0},
    {"memory", "MIB", "for what the forward pass keeps; the rest is computed again (2048)", DS_OPTION_COUNT,
     offsetof(gradflow_options, memory), 1},
};
static const gradflow_options defaults = {.memory = {2048, false}};

typedef struct gradflow_result {
    ds_gradflow flow;
    ds_attribution attribution;
    json_t *jacobians; /* NULL when none were asked for */
    ds_force *gates;   /* (S), NULL when none is forced */
} gradflow_result;

static void release(gradflow_result *result) {
    ds_gradflow_release(&result->flow);
    ds_attribution_release(&result->attribution);
    json_decref(result->jacobians);
    free(result->gates);
}

static void put_states(ds_json_builder *b, const ds_gradflow *flow, bool per_position) {
    ds_json_begin_array(b, "states");
    for (size_t s = 0; s <= flow->sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_real(b, "grad_norm", ds_gradflow_state_norm(flow, s));
        ds_json_put_real(b, "frozen_norm", sqrt(ds_sum_value(&flow->frozen_norm2[s])));
        if (per_position) {
            ds_json_begin_array(b, "position_norm");
            for (size_t t = 0; t < flow->length; t++)
                ds_json_put_real(b, NULL, sqrt(ds_sum_value(&flow->position_norm2[s * flow->length + t])));
            ds_json_end(b);
        }
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_sublayers(ds_json_builder *b, const ds_gradflow *flow) {
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < flow->sublayers; s++) {
        ds_path_norms norms = ds_path_squares_norms(&flow->paths[s]);
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_real(b, "shortcut_norm", norms.shortcut);
        ds_json_put_real(b, "direction_norm", norms.parts[DS_PATH_BRANCH]);
        ds_json_put_real(b, "gate_norm", norms.parts[DS_PATH_CONTEXT]);
        ds_json_put_real(b, "value_norm", norms.parts[DS_PATH_INPUT]);
        ds_json_put_real(b, "total_norm", norms.total);
        ds_json_put_real(b, "cosine_shortcut_total", norms.cosine_shortcut_total);
        ds_json_put_real(b, "sum_error", norms.sum_error); /* |sum of the four - total| / |total| */
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_parameters(ds_json_builder *b, const ds_gradflow *flow, const ds_model *model) {
    double groups[DS_GROUP_COUNT] = {0};
    ds_json_begin_array(b, "parameters");
    for (size_t p = 0; p < ds_model_parameters(model); p++) {
        const ds_parameter *parameter = ds_model_parameter(model, p);
        groups[parameter->group] += flow->parameter_norms[p] * flow->parameter_norms[p];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", parameter->older_name); /* so that checkpoints of both generations compare */
        ds_json_put_text(b, "tensor", parameter->name);
        ds_json_put_real(b, "grad_norm", flow->parameter_norms[p]);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_object(b, "groups");
    for (size_t g = 0; g < DS_GROUP_COUNT; g++) ds_json_put_real(b, ds_group_name((ds_group)g), sqrt(groups[g]));
    ds_json_end(b);
}

static void put_correlation(ds_json_builder *b, const char *key, const ds_correlation *correlation) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "coefficient", correlation->coefficient);
    ds_json_put_reals(b, "ci95", (const double[]){correlation->low, correlation->high}, 2);
    ds_json_end(b);
}

static void put_attribution(ds_json_builder *b, const ds_attribution *attribution) {
    ds_json_begin_object(b, "attribution");
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < attribution->sublayers; s++) {
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_real(b, "estimated_delta_loss", attribution->estimated[s]);
        if (attribution->measured != NULL) ds_json_put_real(b, "measured_delta_loss", attribution->measured[s]);
        ds_json_end(b);
    }
    ds_json_end(b);
    if (attribution->measured != NULL) {
        put_correlation(b, "pearson", &attribution->pearson);
        put_correlation(b, "spearman", &attribution->spearman);
    }
    ds_json_end(b);
}

static ds_status make_results(json_t **results, const ds_session *session, const gradflow_result *result,
                              const gradflow_options *own) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "loss", result->flow.loss);
    put_states(&b, &result->flow, own->per_position);
    put_sublayers(&b, &result->flow);
    put_parameters(&b, &result->flow, session->model);
    if (result->attribution.estimated != NULL) put_attribution(&b, &result->attribution);
    if (result->jacobians != NULL) ds_json_put(&b, "jacobians", json_incref(result->jacobians));
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

static const ds_column columns[] = {
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"total_norm", "|dL/dX|", NULL, DS_COLUMN_REAL, 3},
    {"shortcut_norm", "shortcut", NULL, DS_COLUMN_REAL, 3},
    {"direction_norm", "direct.", NULL, DS_COLUMN_REAL, 3},
    {"gate_norm", "gate", NULL, DS_COLUMN_REAL, 3},
    {"value_norm", "value", NULL, DS_COLUMN_REAL, 3},
    {"frozen_norm", "|P'g|", NULL, DS_COLUMN_REAL, 3},
    {"estimated_delta_loss", "est. Δ", "nats", DS_COLUMN_FIXED, 4},
    {"measured_delta_loss", "closed Δ", "nats", DS_COLUMN_FIXED, 4},
};

static const ds_column additive_columns[] = {
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"total_norm", "|dL/dX|", NULL, DS_COLUMN_REAL, 3},
    {"shortcut_norm", "shortcut", NULL, DS_COLUMN_REAL, 3},
    {"direction_norm", "branch", NULL, DS_COLUMN_REAL, 3},
};

/* Rows are sublayers: the gradient reaching the state before each, by path. Estimates exist where no gate is forced. */
static ds_status make_table(ds_table **table, const gradflow_result *result, bool gates) {
    ds_status status = DS_OK;
    const ds_attribution *attribution = &result->attribution;
    size_t count = sizeof columns / sizeof columns[0];
    if (attribution->measured == NULL) count--;
    if (attribution->estimated == NULL) count--;
    DS_TRY(ds_table_new(table, "Gradient reaching the state before each sublayer", gates ? columns : additive_columns,
                        gates ? count : sizeof additive_columns / sizeof additive_columns[0]));
    for (size_t s = 0; s < result->flow.sublayers; s++) {
        ds_path_norms norms = ds_path_squares_norms(&result->flow.paths[s]);
        char name[32];
        ds_table_text(*table, ds_sublayer_name(name, s));
        ds_table_real(*table, norms.total);
        ds_table_real(*table, norms.shortcut);
        ds_table_real(*table, norms.parts[DS_PATH_BRANCH]);
        if (!gates) continue;
        ds_table_real(*table, norms.parts[DS_PATH_CONTEXT]);
        ds_table_real(*table, norms.parts[DS_PATH_INPUT]);
        ds_table_real(*table, sqrt(ds_sum_value(&result->flow.frozen_norm2[s])));
        if (attribution->estimated != NULL) ds_table_real(*table, attribution->estimated[s]);
        if (attribution->measured != NULL) ds_table_real(*table, attribution->measured[s]);
    }
done:
    return status;
}

static void put_options(ds_json_builder *b, const ds_session *session) {
    const gradflow_options *own = session->invocation->own;
    ds_json_put_text(b, "force", own->force);
    ds_json_put_bool(b, "per_position", own->per_position);
    ds_json_put_bool(b, "measure", own->measure);
    ds_json_put_text(b, "jacobian", own->jacobian);
    ds_json_put_text(b, "jacobian_sublayers", own->jacobian_sublayers);
}

static ds_status publish(const ds_session *session, const gradflow_result *result, const gradflow_options *own) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *tables[2] = {NULL, NULL};
    size_t count = result->jacobians == NULL ? 1 : 2;
    DS_TRY(make_results(&results, session, result, own));
    DS_TRY(make_table(&tables[0], result, ds_rule_has_gates(session->spec.rule)));
    if (count > 1) DS_TRY(ds_jacobians_table(&tables[1], result->jacobians));
    DS_TRY(ds_session_publish(session, results, tables, count));
    if (!session->invocation->common.table) goto done;
    (void)printf("loss %.6f nats over %zu window%s of %zu token%s\n", result->flow.loss, session->sequences,
                 ds_plural(session->sequences), session->length, ds_plural(session->length));
    DS_TRY(ds_table_print(stdout, tables[0]));
    if (result->attribution.measured != NULL)
        (void)printf("estimate against measurement: Pearson %.2f [%.2f, %.2f], Spearman %.2f\n",
                     result->attribution.pearson.coefficient, result->attribution.pearson.low, result->attribution.pearson.high,
                     result->attribution.spearman.coefficient);
    if (count == 1) goto done;
    (void)printf("\n");
    DS_TRY(ds_table_print(stdout, tables[1]));
done:
    json_decref(results);
    ds_table_free(&tables[0]);
    ds_table_free(&tables[1]);
    return status;
}

static ds_status measure(gradflow_result *result, ds_session *session, const gradflow_options *own) {
    ds_status status = DS_OK;
    size_t memory;
    if (!ds_mul_size(own->memory.value, (size_t)1 << 20, &memory))
        return ds_fail(DS_ERR_USAGE, "--memory %llu is out of range", (unsigned long long)own->memory.value);
    if (own->force != NULL) {
        DS_NEW(result->gates, ds_spec_sublayers(&session->spec));
        DS_TRY(ds_gates_parse(result->gates, &session->spec, own->force, "force"));
    }
    DS_TRY(ds_gradflow_run(&result->flow, session, result->gates, memory));
    if (ds_rule_has_gates(session->spec.rule) && result->gates == NULL)
        DS_TRY(ds_attribution_run(&result->attribution, session, &result->flow, own->measure));
    if (own->jacobian != NULL)
        DS_TRY(ds_jacobians_json(&result->jacobians, session, result->gates, own->jacobian, own->jacobian_sublayers));
done:
    return status;
}

static ds_status run(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const gradflow_options *own = invocation->own;
    ds_session session;
    gradflow_result result = {0};
    if (own->jacobian_sublayers != NULL && own->jacobian == NULL)
        return ds_fail(DS_ERR_USAGE, "--jacobian-sublayers goes with --jacobian");
    DS_TRY(ds_session_open(&session, invocation));
    if (own->measure && (own->force != NULL || !ds_rule_has_gates(session.spec.rule))) {
        status = ds_fail(DS_ERR_USAGE,
                         "--measure compares the intact model of a checkpoint with gates; it goes with neither --force "
                         "nor an additive checkpoint");
        goto done;
    }
    DS_TRY(measure(&result, &session, own));
    DS_TRY(publish(&session, &result, own));
done:
    release(&result);
    ds_session_close(&session);
    return status;
}

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
        "--jacobian solves the full non-linear sublayer's own-token Jacobian densely, beside the frozen operator.",
    .examples = "  deltascope gradflow --tokens val.bin --measure checkpoint/\n"
                "  deltascope gradflow --tokens val.bin --force closed:3.mlp checkpoint/\n"
                "  deltascope gradflow --tokens val.bin --jacobian 0:32 --jacobian-sublayers 0.mlp checkpoint/\n",
    .takes = DS_TAKES_MODEL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .put_options = put_options,
    .run = run,
};
