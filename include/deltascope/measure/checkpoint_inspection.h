/* What `inspect` says about a surveyed checkpoint: its results, and notes on what is odd. */
#ifndef DELTASCOPE_MEASURE_CHECKPOINT_INSPECTION_H
#define DELTASCOPE_MEASURE_CHECKPOINT_INSPECTION_H

#include <jansson.h>

#include "deltascope/io.h"
#include "deltascope/model.h"

/* One observation. `topic` is "weights", "configuration", "names" (oddities of this checkpoint) or "paper" (where the published
 * code and the paper's text differ, as far as this checkpoint is concerned). */
typedef struct ds_note {
    const char *topic;
    char text[640];
} ds_note;

enum { DS_MOST_NOTES = 24 };
typedef struct ds_notes {
    ds_note notes[DS_MOST_NOTES];
    size_t count;
} ds_notes;

void ds_inspection_notes(ds_notes *notes, const ds_survey *survey);

/* CONTRACT "inspect", with cost for windows of `length` tokens in `precision`. */
ds_status ds_inspection_json(json_t **results, const ds_survey *survey, const ds_checkpoint *checkpoint, const ds_notes *notes,
                             size_t length, ds_precision precision) DS_MUST_CHECK;

const char *ds_head_tie_name(ds_head_tie head); /* "absent", "shared", "equal", "different" */
/* What a tensor is for: the parameter's role, "output head", or NULL when it is not used. */
const char *ds_health_role(const ds_tensor_health *health);
/* Rows of zeros where one would not expect them: anywhere but in a bias. */
bool ds_health_odd_zeros(const ds_tensor_health *health);
/* Bytes of the residual state one token carries through the layers. */
uint64_t ds_state_bytes_per_token(const ds_spec *spec, ds_precision precision);

#endif
