/* The additive rule's own, shared by rule_additive.c and rule_additive.real.c. Private to them. */
#ifndef DELTASCOPE_MODEL_RULE_ADDITIVE_H
#define DELTASCOPE_MODEL_RULE_ADDITIVE_H

#include "rule.h"

extern const ds_rule_steps ds_rule_additive_steps_f32, ds_rule_additive_steps_f64;

#endif
