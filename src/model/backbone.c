/* The list of backbones; each is in its own file. */
#include "backbone.h"

static const ds_backbone *const backbones[] = {&ds_backbone_ddl, &ds_backbone_qwen3, &ds_backbone_llama, &ds_backbone_qwen2};

size_t ds_backbone_count(void) { return sizeof backbones / sizeof backbones[0]; }
const ds_backbone *ds_backbone_at(size_t index) { return backbones[index]; }
