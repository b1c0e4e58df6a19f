/* Groups of checkpoints, each one variant trained with several seeds, on the same windows: the seed is the sampling unit
 * (CONTRACT "compare"). */
#ifndef DELTASCOPE_MEASURE_GROUP_COMPARISON_H
#define DELTASCOPE_MEASURE_GROUP_COMPARISON_H

#include "deltascope/measure/checkpoint_comparison.h"
#include "deltascope/measure/checkpoint_groups.h"

DS_BEGIN_DECLARATIONS

/* As ds_compare_results of all their checkpoints (the options' own are not looked at), and of each group and of every group
 * against the first. `margin`: the difference of losses, in nats, up to which groups are equivalent. Checkpoints of unlike
 * structure in one group, or of equal bytes anywhere, are DS_ERR_INPUT. */
ds_status ds_compare_groups_results(json_t **options_json, json_t **results, ds_run *first, const ds_run_options *base,
                                    const ds_compare_options *options, const ds_checkpoint_groups *groups,
                                    double margin) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
