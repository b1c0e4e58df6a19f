/* The delta rule's own: what rule_delta.c tells its arithmetic. */
#ifndef DELTASCOPE_MODEL_RULE_DELTA_H
#define DELTASCOPE_MODEL_RULE_DELTA_H

#include "rule.h"

/* What a force makes of X' = X + m beta k (w v^T - e k^T X), w and e being 0 or 1. */
typedef struct ds_delta_form {
    bool learned; /* beta is what the weights say, otherwise `beta` */
    double beta;
    bool write, erase; /* w = 1, e = 1 */
} ds_delta_form;

ds_delta_form ds_delta_form_of(ds_force force);

#endif
