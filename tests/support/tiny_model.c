#include "tiny_model.h"

#include <stdlib.h>
#include <string.h>

const char *const tiny_variants[TINY_VARIANTS] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};

#define TINY_COMMON                                                                                                            \
    "{\"vocab_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"hidden_size\":8,\"head_dim\":4,"                   \
    "\"block_size\":16,\"ddl_value_channels\":2,\"ddl_state_shortconv_kernel_size\":2,"                                        \
    "\"input_embed_shortconv_kernel_size\":2}"

const char *tiny_config(const char *variant) {
    (void)variant; /* the variant is told by the tensors */
    return TINY_COMMON;
}

ds_spec tiny_spec(const char *variant) {
    ds_spec spec;
    if (ds_spec_reported(&spec, "small", variant) != DS_OK) abort();
    spec.vocab = TINY_VOCAB;
    spec.layers = 2;
    spec.hidden = 8;
    spec.heads = 2;
    spec.head_dim = spec.rotary_dim = 4;
    spec.mlp_hidden = 21;
    spec.block_size = 16;
    if (spec.value_channels > 1) spec.value_channels = 2;
    if (spec.state_kernel > 0) spec.state_kernel = 2;
    if (spec.input_kernel > 0) spec.input_kernel = 2;
    return spec;
}

ds_status tiny_write(const char *path, const char *variant) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    ds_tensor_write *writes = NULL;
    ds_spec spec = tiny_spec(variant);
    DS_TRY(ds_model_random(&model, &spec, DS_F32, 1));
    size_t count = ds_model_parameters(model);
    DS_NEW(writes, count);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        writes[i] = (ds_tensor_write){parameter->name, DS_F32, parameter->rank, parameter->shape, parameter->values};
    }
    DS_TRY(ds_safetensors_write(path, writes, count));
done:
    free(writes);
    ds_model_free(&model);
    return status;
}
