/* Shared by backbone_ddl.c and backbone_ddl.real.c. Private to them. */
#ifndef DELTASCOPE_MODEL_BACKBONE_DDL_H
#define DELTASCOPE_MODEL_BACKBONE_DDL_H

#include "backbone.h"

extern const ds_backbone_steps ds_backbone_ddl_steps_f32, ds_backbone_ddl_steps_f64;

#endif
