/* What a checkpoint holds: CONTRACT "inspect". Every tensor with its role and health, parameters by group, cost, and notes on
 * what is odd. */
#ifndef DELTASCOPE_MEASURE_CHECKPOINT_INSPECTION_H
#define DELTASCOPE_MEASURE_CHECKPOINT_INSPECTION_H

#include <jansson.h>

#include "deltascope/measure/inspection_notes.h"
#include "deltascope/model.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_inspection {
    ds_survey *survey; /* with views into the checkpoint: release before the run is closed */
    ds_notes notes;
    const ds_checkpoint *checkpoint; /* of the run */
    size_t length;                   /* tokens of a window, for the cost */
    ds_precision precision;          /* a run would have, for the size of its state */
} ds_inspection;

/* The weights are read once and not held; the run may have been opened with or without them. Unhealthy weights are found, not
 * refused. */
ds_status ds_inspect_measure(ds_inspection *out, ds_run *run) DS_MUST_CHECK;
void ds_inspect_release(ds_inspection *inspection);
/* CONTRACT's results of `inspect`; a new reference. */
ds_status ds_inspect_json(json_t **results, const ds_inspection *inspection) DS_MUST_CHECK;
/* Measures, and tells options (there are none) and results as the program writes them; new references. */
ds_status ds_inspect_results(json_t **options_json, json_t **results, ds_run *run) DS_MUST_CHECK;


DS_END_DECLARATIONS

#endif
