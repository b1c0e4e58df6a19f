/* The tables of a comparison that have no fixed columns, or rows of two kinds; made from results. */
#ifndef DELTASCOPE_COMMANDS_COMPARISON_VIEW_H
#define DELTASCOPE_COMMANDS_COMPARISON_VIEW_H

#include <jansson.h>

#include "deltascope/report.h"

enum { DS_COMPARISON_COLUMNS = 16 };
extern const ds_column ds_comparison_columns[DS_COMPARISON_COLUMNS];
/* One row a sublayer and checkpoint: everything, for programs. */
ds_status ds_comparison_long_table(ds_table **table, const json_t *results) DS_MUST_CHECK;
/* One row a sublayer, one column a checkpoint: mean gates, or what shutting each gate costs; `curves` adds a small curve over
 * the checkpoints. Of exactly two checkpoints of one depth the cost has its difference with interval. */
ds_status ds_comparison_mean_gates(ds_table **table, const json_t *results, bool curves) DS_MUST_CHECK;
ds_status ds_comparison_costs(ds_table **table, const json_t *results, bool curves) DS_MUST_CHECK;
/* Whether any checkpoint has gates. */
bool ds_comparison_has_gates(const json_t *results);

#endif
