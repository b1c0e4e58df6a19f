/* A comparison as tables and JSON. */
#ifndef DELTASCOPE_COMMANDS_COMPARISON_VIEW_H
#define DELTASCOPE_COMMANDS_COMPARISON_VIEW_H

#include "deltascope/measure/checkpoint_comparison.h"

/* One row a checkpoint: losses with intervals; gates over all sublayers. */
ds_status ds_comparison_loss_table(ds_table **table, const ds_comparison *comparison) DS_MUST_CHECK;
ds_status ds_comparison_gate_table(ds_table **table, ds_comparison *comparison) DS_MUST_CHECK;
/* One row a sublayer and checkpoint: everything, for programs. */
ds_status ds_comparison_long_table(ds_table **table, ds_comparison *comparison) DS_MUST_CHECK;
/* One row a sublayer, one column a checkpoint: mean gates, or what shutting each gate costs; `curves` adds a small curve over the
 * checkpoints. Of exactly two checkpoints of one depth the cost has its difference with interval. */
ds_status ds_comparison_mean_gates(ds_table **table, ds_comparison *comparison, bool curves) DS_MUST_CHECK;
ds_status ds_comparison_costs(ds_table **table, ds_comparison *comparison, bool curves) DS_MUST_CHECK;
ds_status ds_comparison_json(json_t **results, ds_comparison *comparison, bool trajectory) DS_MUST_CHECK;

#endif
