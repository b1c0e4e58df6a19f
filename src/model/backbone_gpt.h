/* Shared by backbone_gpt.c and backbone_gpt.real.c. Private to them. */
#ifndef DELTASCOPE_MODEL_BACKBONE_GPT_H
#define DELTASCOPE_MODEL_BACKBONE_GPT_H

#include "backbone.h"

extern const ds_backbone_steps ds_backbone_gpt_steps_f32, ds_backbone_gpt_steps_f64;

#endif
