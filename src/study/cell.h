/* One run of a study in its folder: cell.json says what it is made from, DONE how it ended. Private to study. */
#ifndef DELTASCOPE_STUDY_CELL_H
#define DELTASCOPE_STUDY_CELL_H

#include "clock.h"

typedef enum ds_cell_state { DS_CELL_ABSENT, DS_CELL_BEGUN, DS_CELL_FINISHED } ds_cell_state;

/* cell->folder <- where a run of a variant of that name lies, by its seed and whether it is nudged. */
void ds_cell_place(ds_cell *cell, const char *variant);
/* What lies there, which has to be of this cell: another is DS_ERR_INPUT naming the first difference. *diverged: how it
 * ended. */
ds_status ds_cell_look(ds_cell_state *state, bool *diverged, const ds_plan *plan, const ds_cell *cell,
                       const ds_folder *study) DS_MUST_CHECK;
/* *out <- a file of the cell as JSON, a new reference; NULL when there is none. */
ds_status ds_cell_read_json(json_t **out, const ds_folder *study, const ds_cell *cell, const char *name) DS_MUST_CHECK;
/* Trains it to its end, or until it is stopped. */
ds_status ds_cell_run(bool *stopped, const ds_plan *plan, const ds_cell *cell, const ds_study_options *options) DS_MUST_CHECK;

#endif
