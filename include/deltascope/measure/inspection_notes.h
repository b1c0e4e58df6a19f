/* What is worth saying about a surveyed checkpoint. */
#ifndef DELTASCOPE_MEASURE_INSPECTION_NOTES_H
#define DELTASCOPE_MEASURE_INSPECTION_NOTES_H

#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

/* One observation. `topic` is "weights", "configuration", "names" (oddities of this checkpoint), "paper" (where the published
 * code and the paper's text differ, as far as this checkpoint is concerned) or "rule" (what its residual rule makes of it). */
typedef struct ds_note {
    const char *topic;
    char text[640];
} ds_note;

enum { DS_MOST_NOTES = 24 };
typedef struct ds_notes {
    ds_note notes[DS_MOST_NOTES];
    size_t count;
} ds_notes;

/* Whether rows of zeros in a tensor of that name are odd: anywhere but in a bias. */
bool ds_zero_rows_are_odd(const char *tensor);
ds_status ds_inspection_notes(ds_notes *notes, const ds_survey *survey) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
