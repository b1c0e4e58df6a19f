/* What stands beside each other when rules are compared: a checkpoint's depth-mixing, its gradients, what forcing its rule's
 * own parts does to the loss, how what is read of a sublayer agrees with what the sublayer is worth, and its health. */
#ifndef DELTASCOPE_MEASURE_RULE_MEASURES_H
#define DELTASCOPE_MEASURE_RULE_MEASURES_H

#include <jansson.h>

#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* *out <- the object "rules" of a checkpoint in `compare`, a new reference, by passes over the run's windows. cost (S): rise of
 * the loss with each sublayer closed alone; NULL: not known. */
ds_status ds_rule_measures(json_t **out, ds_run *run, const double *cost) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
