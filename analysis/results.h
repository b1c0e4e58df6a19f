/* Saved results: envelopes read back and put together. */
#ifndef DELTASCOPE_ANALYSIS_RESULTS_H
#define DELTASCOPE_ANALYSIS_RESULTS_H

#include <jansson.h>

#include "deltascope/base.h"

enum { DS_RESULTS_MOST_BYTES = 1 << 30 }; /* of a saved file */

/* One envelope of deltascope/1; DS_ERR_INPUT naming the file otherwise. *out is a new reference. */
ds_status ds_envelope_load(json_t **out, const char *path) DS_MUST_CHECK;
/* *results <- {"COMMAND": results} of all files together, *envelope <- the first file's, both new references. Files of different
 * checkpoints are refused. */
ds_status ds_results_load(json_t **results, json_t **envelope, const char *const *paths, size_t count) DS_MUST_CHECK;

#endif
