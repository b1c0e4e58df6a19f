/* What compare shows of groups of checkpoints, the seed being the sampling unit; made from results. */
#ifndef DELTASCOPE_COMMANDS_GROUP_VIEW_H
#define DELTASCOPE_COMMANDS_GROUP_VIEW_H

#include <jansson.h>

#include "deltascope/report.h"

enum { DS_GROUP_MEANS, DS_GROUP_CONTRASTS, DS_GROUP_TABLES };
extern const ds_result_table ds_group_tables[DS_GROUP_TABLES];
enum { DS_GROUP_COLUMNS = 11, DS_GROUP_CONTRAST_COLUMNS = 8, DS_GROUP_SUBLAYER_COLUMNS = 8 };
extern const ds_result_column ds_group_columns[DS_GROUP_COLUMNS], ds_group_contrast_columns[DS_GROUP_CONTRAST_COLUMNS];
extern const ds_column ds_group_sublayer_columns[DS_GROUP_SUBLAYER_COLUMNS];
/* A row for every group and sublayer: mean gate, and what shutting it costs, with intervals over seeds. */
ds_status ds_group_sublayers(ds_table **table, const json_t *results) DS_MUST_CHECK;
/* Every contrast in words, and what the intervals speak of. */
ds_status ds_print_group_sentences(const json_t *results) DS_MUST_CHECK;

#endif
