/* What is no error and yet must be known to whoever reads numbers of a checkpoint. */
#include <string.h>

#include "config_keys.h"

ds_status ds_spec_doubts(const ds_checkpoint *checkpoint, ds_tell tell, void *context) {
    return ds_config_misspellings(ds_checkpoint_config(checkpoint), tell, context);
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

const char *ds_tensor_effect(const ds_tensor *tensor) {
    static const char *const positions[] = {"wpe", "position_embedding", "pos_emb", "positional"};
    static const char *const buffers[] = {"inv_freq", "mask", "cached", "num_batches_tracked"};
    const char *name = tensor->name;
    if (strstr(name, ".hc_attn.") != NULL || strstr(name, ".hc_mlp.") != NULL) return "a hyper-connection";
    if (tensor->dtype == DS_DTYPE_OTHER || tensor->rank == 0) return NULL;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (strstr(name, buffers[i]) != NULL) return NULL;
    }
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        if (strstr(name, positions[i]) != NULL) return "learned positions";
    }
    if (ends_with(name, ".bias"))
        return tensor->rank == 1 ? "a bias" : NULL; /* older programs call their causal mask attn.bias */
    if (!ends_with(name, ".weight")) return NULL;
    return tensor->rank == 1 ? "weights of a norm" : "a matrix of weights";
}
