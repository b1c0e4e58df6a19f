/* Loading and running what a fuzz target has opened. */
#ifndef DELTASCOPE_TESTS_RUN_MODEL_H
#define DELTASCOPE_TESTS_RUN_MODEL_H

#include "deltascope/model.h"

/* The weight file of one of the tiny models, chosen by any number; written once. */
const char *tiny_weights(unsigned choice);
/* Loads the weights, or refuses them by name: false. Loaded, two windows run together and alone to the same bits, all finite,
 * or are refused by sublayer or token. */
bool runs_or_refuses(ds_checkpoint *checkpoint);

#endif
