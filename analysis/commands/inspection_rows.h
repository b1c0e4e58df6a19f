/* The results of `inspect` as rows that people read: names and shapes as text, each tensor with its health, group shares. */
#ifndef DELTASCOPE_COMMANDS_INSPECTION_ROWS_H
#define DELTASCOPE_COMMANDS_INSPECTION_ROWS_H

#include <jansson.h>

#include "deltascope/base.h"

/* *rows, a new reference:
 *   tensors  of each: tensor, dtype, shape ("65x32"), role ("unused" without one), nan, inf, zero_rows; and for a terminal the
 *            name taken apart, layer and within, and role_and_oddities ("query projection, 1 NaN")
 *   groups   of each: group, parameters, share; "total" last */
ds_status ds_inspection_rows(json_t **rows, const json_t *results) DS_MUST_CHECK;
/* An array, of each of a draft's tensors: tensor, dtype, shape, roles ("query projection; key projection; ..."). */
ds_status ds_draft_rows(json_t **rows, const json_t *tensors) DS_MUST_CHECK;

#endif
