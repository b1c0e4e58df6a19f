/* The delta rule: X <- X + m beta k (v^T - k^T X) (MODEL.md "Delta update"). What is known of it without arithmetic; the
 * arithmetic is in rule_delta.real.c. */
#include <math.h>
#include <string.h>

#include "rule_delta.h"

/* ---- interventions ---------------------------------------------------------------------------------------------------- */

static const ds_intervention interventions[] = {
    {"closed", "beta = 0: the state stays as it is", {DS_FORCE_CLOSED, 0}, DS_SCOPE_ANY, false, false},
    {"open", "beta = 1", {DS_FORCE_GATE, 1}, DS_SCOPE_ANY, false, false},
    {"reflect", "beta = 2", {DS_FORCE_GATE, 2}, DS_SCOPE_ANY, false, false},
    {"mean-gate", "beta = that sublayer's mean over the data", {DS_FORCE_GATE, 1}, DS_SCOPE_ANY, false, true},
    {"write-only", "the edit without the erase", {DS_FORCE_WRITE_ONLY, 0}, DS_SCOPE_ANY, false, false},
    {"erase-only", "the edit without the write", {DS_FORCE_ERASE_ONLY, 0}, DS_SCOPE_ANY, false, false},
};

static bool fixes_gate(ds_force force) { return force.mode == DS_FORCE_GATE || force.mode == DS_FORCE_CLOSED; }

ds_delta_form ds_delta_form_of(ds_force trained, ds_force force) {
    ds_force gate = fixes_gate(force) ? force : trained;
    return (ds_delta_form){.learned = !fixes_gate(gate),
                           .beta = gate.mode == DS_FORCE_GATE ? gate.value : 0,
                           .write = force.mode != DS_FORCE_ERASE_ONLY && trained.mode != DS_FORCE_ERASE_ONLY,
                           .erase = force.mode != DS_FORCE_WRITE_ONLY && trained.mode != DS_FORCE_WRITE_ONLY};
}

static ds_status check_force(ds_force force, size_t sublayer) {
    char name[32];
    if (force.mode == DS_FORCE_GATE && !isfinite(force.value))
        return ds_fail(DS_ERR_USAGE, "the gate of sublayer %s cannot be fixed at %g", ds_sublayer_name(name, sublayer),
                       force.value);
    if (force.mode > DS_FORCE_ERASE_ONLY)
        return ds_fail(DS_ERR_USAGE, "sublayer %s cannot be forced in mode %u: the delta rule has %d",
                       ds_sublayer_name(name, sublayer), force.mode, DS_FORCE_ERASE_ONLY + 1);
    return DS_OK;
}

static bool is_identity(ds_force trained, ds_force force) {
    ds_delta_form form = ds_delta_form_of(trained, force);
    return (!form.learned && form.beta == 0) || (!form.write && !form.erase);
}

static void unreached(bool *reached, const ds_model *model, const ds_layer_weights *layer, size_t half, ds_force trained) {
    const ds_delta_weights *weights = ds_delta_weights_of(layer, half);
    ds_delta_form form = ds_delta_form_of(trained, (ds_force){.mode = DS_FORCE_NONE});
    const ds_parameter *gate[] = {weights->beta, weights->beta_bias, weights->beta_in, weights->beta_out, weights->out_bias};
    const ds_parameter *value[] = {weights->value, weights->value_bias};
    for (size_t i = 0; !form.learned && i < sizeof gate / sizeof *gate; i++) ds_unreach(reached, model, gate[i]);
    for (size_t i = 0; !form.write && i < sizeof value / sizeof *value; i++) ds_unreach(reached, model, value[i]);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------ */

static size_t planes(const ds_spec *spec) { return spec->value_channels; }
static size_t coefficient_hidden(const ds_spec *spec) { return spec->gate_two_layer ? spec->gate_hidden : 0; }
static size_t partial_count(const ds_spec *spec) { return ds_delta_partial_of(spec).count; }
static bool reads_in_place(const ds_spec *spec) { return spec->compressor == DS_COMPRESS_NONE; }
static bool reads_other_tokens(const ds_spec *spec) { return spec->compressor == DS_COMPRESS_TC; }

static double flops(const ds_spec *spec) {
    double d = (double)spec->hidden, dv = (double)spec->value_channels, hidden = (double)spec->gate_hidden;
    double gate = spec->gate_two_layer ? hidden * d + hidden : d;
    double value = spec->value_constant ? 0.0 : dv * d;
    return 2.0 * (gate + value + 2.0 * dv * d); /* k^T X and k (v^T - k^T X) */
}

/* ---- parameters ------------------------------------------------------------------------------------------------------- */

static size_t one(const ds_spec *spec) {
    (void)spec;
    return 1;
}
static size_t gate_hidden(const ds_spec *spec) { return spec->gate_hidden; }
static size_t channels(const ds_spec *spec) { return spec->value_channels; }
static size_t kernel(const ds_spec *spec) { return spec->state_kernel; }
static size_t input_kernel(const ds_spec *spec) { return spec->input_kernel; }
/* Row i*dv+j is feature i, channel j. */
static size_t state_rows(const ds_spec *spec) { return spec->hidden * spec->value_channels; }

static const ds_extent extent_one = {"1", one}, extent_gate = {"ddl_beta_hidden_size", gate_hidden};
static const ds_extent extent_channels = {"ddl_value_channels", channels};
static const ds_extent extent_kernel = {"ddl_state_shortconv_kernel_size", kernel};
static const ds_extent extent_input_kernel = {"input_embed_shortconv_kernel_size", input_kernel};
static const ds_extent extent_state = {"hidden_size*ddl_value_channels", state_rows};
#define ONE (&extent_one)
#define GATE (&extent_gate)
#define CHANNELS (&extent_channels)
#define KERNEL (&extent_kernel)
#define INPUT_KERNEL (&extent_input_kernel)
#define STATE (&extent_state)

static bool has_input_conv(const ds_spec *spec) { return spec->input_conv; }
static bool is_expanded(const ds_spec *spec) { return spec->compressor != DS_COMPRESS_NONE; }
static bool has_tc(const ds_spec *spec) { return spec->compressor == DS_COMPRESS_TC; }
static bool has_cc(const ds_spec *spec) { return spec->compressor == DS_COMPRESS_CC; }
static bool has_linear_gate(const ds_spec *spec) { return !spec->gate_two_layer; }
static bool has_two_layer_gate(const ds_spec *spec) { return spec->gate_two_layer; }
static bool has_value(const ds_spec *spec) { return !spec->value_constant; }

#define MODEL(member) offsetof(ds_model, member)
#define LAYER(member) offsetof(ds_layer_weights, member)
#define OWN(member) offsetof(ds_delta_weights, member)
static const ds_table_row front[] = {
    {{"input_embed.conv.weight", {STATE, ONE, INPUT_KERNEL}},
     {"input_embed.weight", {HIDDEN, CHANNELS, INPUT_KERNEL}},
     "input convolution",
     DS_GROUP_COMPRESSOR,
     has_input_conv,
     MODEL(input.weight)},
};
static const ds_table_row layer[] = {
    {{"compress.weight", {HIDDEN, KERNEL}}, SAME, "compressor weight", DS_GROUP_COMPRESSOR, has_cc, LAYER(compress.weight)},
    {{"compress.shortconv.weight", {STATE, KERNEL}},
     {"compress.weight", {HIDDEN, CHANNELS, KERNEL}},
     "compressor weight",
     DS_GROUP_COMPRESSOR,
     has_tc,
     LAYER(compress.weight)},
    {{"compress.read", {CHANNELS}}, SAME, "compressor read vector", DS_GROUP_COMPRESSOR, is_expanded, LAYER(compress.read)},
};
static const ds_table_row sublayer[] = {
    {{"beta.weight", {ONE, HIDDEN}}, SAME, "delta gate weight", DS_GROUP_DELTA, has_linear_gate, OWN(beta)},
    {{"beta.bias", {ONE}}, SAME, "delta gate bias", DS_GROUP_DELTA, has_linear_gate, OWN(beta_bias)},
    {{"beta_in.weight", {GATE, HIDDEN}}, SAME, "delta gate, first layer", DS_GROUP_DELTA, has_two_layer_gate, OWN(beta_in)},
    {{"beta_out.weight", {ONE, GATE}}, SAME, "delta gate, second layer", DS_GROUP_DELTA, has_two_layer_gate, OWN(beta_out)},
    {{"beta_out.bias", {ONE}}, SAME, "delta gate bias", DS_GROUP_DELTA, has_two_layer_gate, OWN(out_bias)},
    {{"v_proj.weight", {CHANNELS, HIDDEN}}, SAME, "delta value weight", DS_GROUP_DELTA, has_value, OWN(value)},
    {{"v_proj.bias", {CHANNELS}}, SAME, "delta value bias", DS_GROUP_DELTA, has_value, OWN(value_bias)},
};
static const ds_table_row back[] = {
    {{"readout.weight", {HIDDEN, KERNEL}}, SAME, "readout weight", DS_GROUP_COMPRESSOR, has_cc, MODEL(readout.weight)},
    {{"readout.shortconv.weight", {STATE, KERNEL}},
     {"readout.weight", {HIDDEN, CHANNELS, KERNEL}},
     "readout weight",
     DS_GROUP_COMPRESSOR,
     has_tc,
     MODEL(readout.weight)},
    {{"readout.read", {CHANNELS}}, SAME, "readout read vector", DS_GROUP_COMPRESSOR, is_expanded, MODEL(readout.read)},
};

/* Compressors average, and the input convolution passes the current token on. */
static void start_taps(ds_start *starts, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    const ds_start average = {.kind = DS_START_CONSTANT, .scale = 1.0 / (double)ds_max_size(spec->state_kernel, 1)};
    const ds_start read = {.kind = DS_START_CONSTANT, .scale = 1.0 / (double)spec->value_channels};
    ds_start_set(starts, model, model->input.weight, (ds_start){.kind = DS_START_LAST_TAP, .kernel = spec->input_kernel});
    ds_start_set(starts, model, model->readout.weight, average);
    ds_start_set(starts, model, model->readout.read, read);
    for (size_t i = 0; i < spec->layers; i++) {
        ds_start_set(starts, model, model->layers[i].compress.weight, average);
        ds_start_set(starts, model, model->layers[i].compress.read, read);
    }
}

static void start(ds_start *starts, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    start_taps(starts, model);
    const double open = fmin(fmax(spec->gate_init / 2.0, 1e-6), 1.0 - 1e-6); /* the published clip */
    const ds_start bias_of_gate = {.kind = DS_START_CONSTANT, .scale = log(open) - log1p(-open)};
    const ds_start bias_of_value = {.kind = DS_START_UNIFORM, .scale = 1.0 / sqrt((double)spec->hidden)};
    for (size_t s = 0; s < ds_spec_sublayers(spec); s++) {
        const ds_delta_weights *weights = ds_delta_weights_of(&model->layers[s / 2], s % 2);
        ds_start_set(starts, model, weights->beta_bias, bias_of_gate);
        ds_start_set(starts, model, weights->out_bias, bias_of_gate);
        ds_start_set(starts, model, weights->value_bias, bias_of_value);
    }
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

static ds_status workspace_init(ds_workspace *w) {
    ds_status status = DS_OK;
    ds_delta_workspace *own = NULL;
    size_t tokens = w->sequences * w->length, dv = w->spec.value_channels, real = sizeof(double);
    DS_NEW(own, 1);
    w->rule = own;
    DS_TRY(ds_arrays_add(&w->arrays, &own->beta, tokens, 1, real));
    DS_TRY(ds_arrays_add(&w->arrays, &own->k_norm2, tokens, 1, real));
    DS_TRY(ds_arrays_add(&w->arrays, &own->target, tokens, dv, real));
    DS_TRY(ds_arrays_add(&w->arrays, &own->readout, tokens, dv, real));
    DS_TRY(ds_arrays_add(&w->arrays, &own->readout_after, tokens, dv, real));
    DS_TRY(ds_arrays_add(&w->arrays, &own->u, tokens, dv, real));
done:
    return status;
}

static ds_status gradient_init(ds_gradient *g) {
    ds_status status = DS_OK;
    ds_delta_memory *own = NULL;
    const ds_spec *spec = &g->model->spec;
    size_t tokens = g->sequences * g->length, dv = spec->value_channels, real = sizeof(double);
    size_t size = ds_precision_size(g->precision);
    DS_NEW(own, 1);
    g->rule = own;
    DS_TRY(ds_arrays_add(&g->arrays, &own->u, tokens, dv, real));
    DS_TRY(ds_arrays_add(&g->arrays, &own->e, tokens, dv, real));
    DS_TRY(ds_arrays_add(&g->arrays, &own->du, tokens, dv, real));
    DS_TRY(ds_arrays_add(&g->arrays, &own->dbeta, tokens, 1, real));
    DS_TRY(ds_arrays_add(&g->arrays, &own->dvalue, tokens, dv, real));
    DS_TRY(ds_arrays_add(&g->arrays, &own->gate_slope, tokens, 1, real));
    DS_TRY(ds_arrays_add(&g->arrays, &own->k, tokens, spec->hidden, size));
    if (spec->gate_two_layer) DS_TRY(ds_arrays_add(&g->arrays, &own->dhidden, tokens, spec->gate_hidden, size));
done:
    return status;
}

/* ---- observers -------------------------------------------------------------------------------------------------------- */

static ds_status observe_init(ds_workspace *w, unsigned wants) {
    ds_delta_workspace *own = w->rule;
    if ((wants & DS_OBSERVE_DIRECTIONS) == 0 || own->directions != NULL) return DS_OK;
    return ds_arrays_add(&w->arrays, &own->directions, w->sequences * w->length, w->spec.hidden,
                         ds_precision_size(w->precision));
}

static void observe(ds_observation *seen, const ds_pass *pass) {
    ds_delta_workspace *own = pass->workspace->rule;
    bool doubles = (pass->wants & DS_OBSERVE_GATES) != 0, directions = (pass->wants & DS_OBSERVE_DIRECTIONS) != 0;
    own->seen = (ds_delta_observation){.value_channels = pass->model->spec.value_channels,
                                       .beta = doubles ? own->beta : NULL,
                                       .k_norm2 = doubles ? own->k_norm2 : NULL,
                                       .readout = doubles ? own->readout : NULL,
                                       .readout_after = doubles ? own->readout_after : NULL,
                                       .target = doubles ? own->target : NULL,
                                       .k = directions ? own->directions : NULL};
    seen->delta = &own->seen;
}

/* A sublayer that leaves the state as it is was not gone through: its gate is 0, and so is the slope. */
static void observe_gradient(ds_gradient_event *event, const ds_derivative *b) {
    ds_delta_memory *own = b->gradient->rule;
    ds_delta_workspace *forward = b->gradient->workspace->rule;
    size_t tokens = event->sequences * event->length;
    if (event->index == b->gradient->sublayers) return; /* the readout has no gate */
    if (b->identity) {
        memset(own->gate_slope, 0, tokens * sizeof *own->gate_slope);
        memset(forward->beta, 0, tokens * sizeof *forward->beta);
    }
    own->seen = (ds_delta_gradient){.gate_slope = own->gate_slope, .beta = forward->beta, .k = b->identity ? NULL : own->k};
    event->delta = &own->seen;
}

const ds_rule ds_rule_delta = {
    .name = "ddl",
    .title = "delta rule",
    .kind = DS_KIND_DELTA,
    .limits = "a checkpoint of the delta rule has the modes of its gates only",
    .has_gates = true,
    .has_operators = true,
    .interventions = interventions,
    .intervention_count = sizeof interventions / sizeof interventions[0],
    .planes = planes,
    .flops = flops,
    .check_force = check_force,
    .is_identity = is_identity,
    .unreached = unreached,
    .front = {front, sizeof front / sizeof front[0]},
    .layer = {layer, sizeof layer / sizeof layer[0]},
    .sublayer = {sublayer, sizeof sublayer / sizeof sublayer[0]},
    .back = {back, sizeof back / sizeof back[0]},
    .prefixes = {"ddl_attn.", "ddl_mlp."},
    .start = start,
    .reads_in_place = reads_in_place,
    .reads_other_tokens = reads_other_tokens,
    .coefficient_hidden = coefficient_hidden,
    .partial_count = partial_count,
    .workspace_init = workspace_init,
    .gradient_init = gradient_init,
    .observe_init = observe_init,
    .observe = observe,
    .observe_gradient = observe_gradient,
    .steps = {&ds_rule_delta_steps_f32, &ds_rule_delta_steps_f64},
};
