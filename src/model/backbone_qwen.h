/* Shared by backbone_qwen.c and backbone_qwen.real.c. Private to them. */
#ifndef DELTASCOPE_MODEL_BACKBONE_QWEN_H
#define DELTASCOPE_MODEL_BACKBONE_QWEN_H

#include "backbone.h"

extern const ds_backbone_steps ds_backbone_qwen_steps_f32, ds_backbone_qwen_steps_f64;

#endif
