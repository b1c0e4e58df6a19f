/* A residual rule as the model room sees it: one struct of facts and functions. Everything else in the room reaches a rule through
 * it, and knows none by name. Private to the model room. */
#ifndef DELTASCOPE_MODEL_RULE_H
#define DELTASCOPE_MODEL_RULE_H

#include "model_internal.h"

struct ds_rule {
    const char *name, *title, *limits; /* as the accessors of model.h give them */
    bool has_gates, has_operators;
    const ds_intervention *interventions;
    size_t intervention_count;
    size_t (*planes)(const ds_spec *spec);
    /* Floating-point operations of one sublayer's update per token, what it reads included. */
    double (*flops)(const ds_spec *spec);
    /* Whether a pass can run with this force; DS_ERR_USAGE naming the sublayer. */
    ds_status (*check_force)(ds_force force, size_t sublayer);
    bool (*is_identity)(ds_force force);
};

#endif
