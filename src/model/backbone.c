/* The list of backbones; each is in its own file. */
#include "backbone.h"

static const ds_backbone *const backbones[] = {&ds_backbone_ddl,   &ds_backbone_qwen3,   &ds_backbone_llama,
                                               &ds_backbone_qwen2, &ds_backbone_nanogpt, &ds_backbone_gpt2};

size_t ds_backbone_count(void) { return sizeof backbones / sizeof backbones[0]; }
static bool is_same(const ds_tensor *own, const ds_tensor *tensor) {
    bool same = own != NULL && own->rank == tensor->rank && own->file_index == tensor->file_index &&
                own->offset == tensor->offset && own->dtype == tensor->dtype;
    for (size_t i = 0; same && i < own->rank; i++)
        same = own->shape[i] == tensor->shape[i] && own->stride[i] == tensor->stride[i];
    return same;
}

bool ds_is_twin(const ds_spec *spec, const ds_checkpoint *checkpoint, const ds_tensor *tensor) {
    char name[64];
    for (size_t i = 0; spec->backbone->twin != NULL && spec->backbone->twin(name, tensor->name, i); i++)
        if (is_same(ds_checkpoint_find(checkpoint, name), tensor)) return true;
    return false;
}

const ds_backbone *ds_backbone_at(size_t index) { return backbones[index]; }
