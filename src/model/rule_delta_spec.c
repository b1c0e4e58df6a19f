#include "delta_spec.h"

#include <string.h>

#include "backbone.h"

/* ---- tensors ---------------------------------------------------------------------------------------------------------- */

static void note(const ds_tensor **slot, const ds_tensor *tensor) {
    if (*slot == NULL) *slot = tensor;
}

/* What follows the prefix; NULL: it does not stand there. */
static const char *behind(const char *text, const char *prefix) {
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

/* `part` is what follows "compress." or "readout.". */
static void note_compressor(ds_delta_evidence *evidence, const char *part, const ds_tensor *tensor) {
    if (strcmp(part, "shortconv.weight") == 0) note(&evidence->temporal, tensor);
    if (strcmp(part, "weight") != 0) return;
    if (tensor->rank == 3) {
        note(&evidence->temporal, tensor);
        note(&evidence->newer, tensor);
    } else {
        note(&evidence->channel, tensor);
    }
}

/* `name` without the backbone's prefix. */
static void note_of_model(ds_delta_evidence *evidence, const char *name, const ds_tensor *tensor) {
    const char *readout = behind(name, "readout.");
    if (readout != NULL) note_compressor(evidence, readout, tensor);
    if (strcmp(name, "input_embed.conv.weight") == 0) note(&evidence->input, tensor);
    if (strcmp(name, "input_embed.weight") != 0) return;
    note(&evidence->input, tensor);
    note(&evidence->newer, tensor);
}

/* `part` is what follows the layer's number. */
static void note_of_layer(ds_delta_evidence *evidence, const char *part, const ds_tensor *tensor) {
    const char *compressor = behind(part, ".compress.");
    if (compressor != NULL) note_compressor(evidence, compressor, tensor);
    if (behind(part, ".ddl_attn.") != NULL || behind(part, ".ddl_mlp.") != NULL) {
        note(&evidence->delta, tensor);
        if (strstr(part, ".beta_in.") != NULL) note(&evidence->gate_two_layer, tensor);
    }
    if (strcmp(part, ".attn.o_proj.weight") == 0 || strcmp(part, ".mlp.o_proj.weight") == 0) note(&evidence->newer, tensor);
}

ds_delta_evidence ds_delta_examine(const ds_checkpoint *checkpoint, const ds_spec *spec) {
    ds_delta_evidence evidence = {0};
    const ds_backbone *backbone = spec->backbone;
    const char *prefix = spec->bare_names ? "" : backbone->prefix;
    const char *layers = backbone->layer_prefix + (spec->bare_names ? strlen(backbone->prefix) : 0);
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        const char *of_model = behind(tensor->name, prefix), *of_layer = behind(tensor->name, layers);
        if (of_layer != NULL)
            note_of_layer(&evidence, of_layer + strspn(of_layer, "0123456789"), tensor);
        else if (of_model != NULL)
            note_of_model(&evidence, of_model, tensor);
    }
    return evidence;
}

ds_delta_evidence ds_delta_evidence_of(const char *variant, const ds_tensor *said) {
    const char *state = behind(variant, "ddl-"), *compressor = state == NULL ? NULL : behind(state, "tc");
    ds_delta_evidence evidence = {.delta = state != NULL ? said : NULL, .temporal = compressor != NULL ? said : NULL};
    if (state != NULL && compressor == NULL) {
        compressor = behind(state, "cc");
        evidence.channel = compressor != NULL ? said : NULL;
    }
    if (compressor != NULL && strcmp(compressor, "-ec") == 0) evidence.input = said;
    return evidence;
}

/* ---- configuration ---------------------------------------------------------------------------------------------------- */

/* The scalar state, or the expanded one with its compressor and kernels. */
static ds_status state_spec(ds_spec *spec, const ds_config *config, const ds_delta_evidence *evidence, const char *where) {
    spec->value_constant = config->scalar_value_constant;
    spec->value_constant_value = config->scalar_value_constant_value;
    const ds_tensor *compressor = evidence->temporal != NULL ? evidence->temporal : evidence->channel;
    if (compressor == NULL) compressor = evidence->input;
    if (compressor == NULL) {
        if (config->value_channels > 1)
            return ds_fail(DS_ERR_INPUT,
                           "%s: ddl_value_channels is %zu, but the checkpoint has no compressor (%s0.compress.*), expected 1",
                           where, config->value_channels, spec->backbone->layer_prefix);
        return DS_OK;
    }
    spec->value_channels = config->value_channels != 0 ? config->value_channels : 4;
    if (spec->value_channels < 2)
        return ds_fail(DS_ERR_INPUT,
                       "%s: ddl_value_channels is 1, but %s has tensor %s of an expanded state, expected at least 2", where,
                       compressor->file, compressor->name);
    spec->compressor = evidence->temporal != NULL ? DS_COMPRESS_TC : DS_COMPRESS_CC;
    spec->value_constant = config->value_constant;
    spec->value_constant_value = config->value_constant_value;
    spec->input_conv = evidence->input != NULL;
    spec->input_kernel = spec->input_conv ? config->input_kernel : 0;
    spec->state_kernel = config->state_kernel;
    if (spec->compressor == DS_COMPRESS_TC) {
        if (spec->state_kernel == 0) spec->state_kernel = 4;
        return DS_OK;
    }
    spec->state_kernel_causal = config->state_kernel_causal;
    if (spec->state_kernel == 0) spec->state_kernel = spec->value_channels;
    if (spec->state_kernel > spec->value_channels)
        return ds_fail(DS_ERR_INPUT, "%s: ddl_state_shortconv_kernel_size is %zu, expected at most ddl_value_channels, %zu",
                       where, spec->state_kernel, spec->value_channels);
    return DS_OK;
}

ds_status ds_delta_detect(ds_spec *spec, const ds_config *config, const ds_delta_evidence *evidence, const char *where) {
    ds_status status = DS_OK;
    if (evidence->delta == NULL && evidence->temporal == NULL && evidence->channel == NULL && evidence->input == NULL)
        return DS_OK;
    spec->rule = &ds_rule_delta;
    if (spec->backbone == &ds_backbone_ddl) spec->norm_eps = 1e-5; /* the published norms take the class's default here */
    DS_TRY(state_spec(spec, config, evidence, where));
    if (config->gate_single && evidence->gate_two_layer != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: ddl_beta_single_linear is true, but %s has tensor %s of a two-layer gate", where,
                       evidence->gate_two_layer->file, evidence->gate_two_layer->name);
    spec->gate_two_layer = !config->gate_single;
    spec->gate_hidden = spec->gate_two_layer ? config->gate_hidden : 0;
done:
    return status;
}
