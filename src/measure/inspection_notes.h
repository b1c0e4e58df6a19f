/* What is worth saying about a surveyed checkpoint. */
#ifndef DELTASCOPE_MEASURE_INSPECTION_NOTES_H
#define DELTASCOPE_MEASURE_INSPECTION_NOTES_H

#include "deltascope/measure/checkpoint_inspection.h"

void ds_inspection_notes(ds_notes *notes, const ds_survey *survey);

#endif
