/* A specification without tensors that say what it is. Private to model. */
#ifndef DELTASCOPE_MODEL_SPEC_H
#define DELTASCOPE_MODEL_SPEC_H

#include "config.h"

enum { DS_SUPPOSITIONS = 12 }; /* every variant with older and with newer names */
/* What the configuration would mean if the tensors were of that variant; false when it contradicts it. The MLP has its usual
 * width. */
bool ds_spec_suppose(ds_spec *spec, const ds_config *config, size_t number);

#endif
