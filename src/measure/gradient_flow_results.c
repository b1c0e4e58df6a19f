/* The whole measurement of `gradflow`: the flow, the estimate of closing gates and Jacobians, and their JSON. */
#include <math.h>
#include <stdlib.h>

#include "deltascope/measure/ablation.h"
#include "deltascope/measure/gradient_flow.h"

const ds_gradflow_options ds_gradflow_defaults = {.memory_mib = 0};

/* ---- measuring --------------------------------------------------------------------------------------------------- */

ds_status ds_gradflow_check(const ds_gradflow_options *options) {
    if (options->jacobian_sublayers != NULL && options->jacobian == NULL)
        return ds_fail(DS_ERR_USAGE, "--jacobian-sublayers goes with --jacobian");
    return DS_OK;
}

/* *bytes <- the memory the options allow; refuses what this run cannot have. */
static ds_status check_with_run(size_t *bytes, const ds_run *run, const ds_gradflow_options *options) {
    if (options->measure && options->force != NULL)
        return ds_fail(DS_ERR_USAGE, "--measure compares the intact model with closed gates; it does not go with --force");
    if (options->measure && !ds_rule_has_gates(run->spec.rule))
        return ds_fail(DS_ERR_USAGE,
                       "--measure compares the intact model with closed gates, which the rule %s has not; deltascope ablate "
                       "closes its sublayers",
                       ds_rule_name(run->spec.rule));
    if (options->jacobian != NULL && ds_rule_keeps_history(run->spec.rule))
        return ds_fail(DS_ERR_USAGE,
                       "--jacobian: a sublayer of %s adds to its history and maps no state to another, so it has no Jacobian; "
                       "deltascope depth tells how reads mix what was written",
                       ds_rule_name(run->spec.rule));
    if (options->jacobian != NULL && ds_rule_kind_of(run->spec.rule) == DS_KIND_STREAMS)
        return ds_fail(DS_ERR_USAGE,
                       "--jacobian: the frozen shortcut of %s mixes whole streams, R on streams and the identity on features; "
                       "deltascope depth tells the gains and singular values of R and of its products",
                       ds_rule_name(run->spec.rule));
    if (!ds_mul_size(options->memory_mib, (size_t)1 << 20, bytes))
        return ds_fail(DS_ERR_USAGE, "--memory %llu is out of range", (unsigned long long)options->memory_mib);
    return DS_OK;
}

ds_status ds_gradflow_measure(ds_gradflow *out, ds_run *run, const ds_gradflow_options *options) {
    ds_status status = DS_OK;
    ds_force *forces = NULL;
    size_t memory = 0;
    *out = (ds_gradflow){.per_position = options->per_position, .model = run->model};
    DS_TRY(ds_gradflow_check(options));
    DS_TRY(check_with_run(&memory, run, options));
    if (options->force != NULL) {
        DS_NEW(forces, ds_spec_forces(&run->spec));
        DS_TRY(ds_gates_parse(forces, &run->spec, options->force, "force"));
    }
    DS_TRY(ds_gradient_flow_measure(&out->flow, run, forces, memory));
    if (ds_rule_has_gates(run->spec.rule) && forces == NULL)
        DS_TRY(ds_gate_attribution_measure(&out->attribution, run, out->flow.gate_slope, options->measure));
    if (options->jacobian != NULL)
        DS_TRY(ds_sublayer_jacobians_measure(&out->jacobians, run, forces, options->jacobian, options->jacobian_sublayers));
done:
    free(forces);
    if (status != DS_OK) ds_gradflow_release(out);
    return status;
}

void ds_gradflow_release(ds_gradflow *gradflow) {
    ds_gradient_flow_release(&gradflow->flow);
    ds_gate_attribution_release(&gradflow->attribution);
    ds_sublayer_jacobians_release(&gradflow->jacobians);
    *gradflow = (ds_gradflow){0};
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_states(ds_json_builder *b, const ds_gradflow *gradflow) {
    const ds_gradient_flow *flow = &gradflow->flow;
    char name[32];
    ds_json_begin_array(b, "states");
    for (size_t s = 0; s <= flow->sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_real(b, "grad_norm", flow->state_norm[s]);
        if (flow->frozen_norm != NULL)
            ds_json_put_real(b, "frozen_norm", flow->frozen_norm[s]);
        else
            ds_json_put_text(b, "read", ds_read_name(name, ds_model_spec(gradflow->model), s));
        if (gradflow->per_position) ds_json_put_reals(b, "position_norm", flow->position_norm + s * flow->length, flow->length);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_sublayers(ds_json_builder *b, const ds_gradient_flow *flow) {
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < flow->sublayers; s++) {
        const ds_path_norms *norms = &flow->paths[s];
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_real(b, "shortcut_norm", norms->shortcut);
        ds_json_put_real(b, "direction_norm", norms->parts[DS_PATH_BRANCH]);
        ds_json_put_real(b, "gate_norm", norms->parts[DS_PATH_CONTEXT]);
        ds_json_put_real(b, "value_norm", norms->parts[DS_PATH_INPUT]);
        ds_json_put_real(b, "total_norm", norms->total);
        ds_json_put_real(b, "cosine_shortcut_total", norms->cosine_shortcut_total);
        ds_json_put_real(b, "sum_error", norms->sum_error); /* |sum of the four - total| / |total| */
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_parameters(ds_json_builder *b, const ds_gradient_flow *flow, const ds_model *model) {
    double groups[DS_GROUP_COUNT] = {0};
    ds_json_begin_array(b, "parameters");
    for (size_t p = 0; p < flow->parameters; p++) {
        const ds_parameter *parameter = ds_model_parameter(model, p);
        groups[parameter->group] += flow->parameter_norm[p] * flow->parameter_norm[p];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", parameter->older_name); /* so that checkpoints of both generations compare */
        ds_json_put_text(b, "tensor", parameter->name);
        ds_json_put_real(b, "grad_norm", flow->parameter_norm[p]);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_object(b, "groups");
    for (size_t g = 0; g < DS_GROUP_COUNT; g++) ds_json_put_real(b, ds_group_name((ds_group)g), sqrt(groups[g]));
    ds_json_end(b);
}

ds_status ds_gradflow_json(json_t **results, const ds_gradflow *gradflow) {
    const ds_gradient_flow *flow = &gradflow->flow;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "loss", flow->loss);
    ds_json_put_reals(&b, "sequence_loss", flow->sequence_loss, flow->sequences);
    if (flow->source_norm != NULL) ds_json_put_reals(&b, "sources", flow->source_norm, flow->sublayers + 1);
    if (flow->read_norm != NULL) ds_json_put_reals(&b, "reads", flow->read_norm, flow->sublayers + 1);
    put_states(&b, gradflow);
    if (flow->paths != NULL) put_sublayers(&b, flow);
    put_parameters(&b, flow, gradflow->model);
    if (gradflow->attribution.estimated != NULL) ds_gate_attribution_put(&b, &gradflow->attribution);
    if (gradflow->jacobians.of != NULL) ds_sublayer_jacobians_put(&b, &gradflow->jacobians);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

static ds_status tell_options(json_t **out, const ds_gradflow_options *options) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "force", options->force);
    ds_json_put_bool(&b, "per_position", options->per_position);
    ds_json_put_bool(&b, "measure", options->measure);
    ds_json_put_text(&b, "jacobian", options->jacobian);
    ds_json_put_text(&b, "jacobian_sublayers", options->jacobian_sublayers);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

ds_status ds_gradflow_results(json_t **options_json, json_t **results, ds_run *run, const ds_gradflow_options *options) {
    ds_status status = DS_OK;
    ds_gradflow gradflow = {.model = NULL};
    *options_json = *results = NULL;
    DS_TRY(tell_options(options_json, options));
    DS_TRY(ds_gradflow_measure(&gradflow, run, options));
    DS_TRY(ds_gradflow_json(results, &gradflow));
done:
    ds_gradflow_release(&gradflow);
    return status;
}
