/* How statistics stand in results: CONTRACT "JSON: the envelope". */
#ifndef DELTASCOPE_MEASURE_RESULT_JSON_H
#define DELTASCOPE_MEASURE_RESULT_JSON_H

#include "deltascope/io.h"
#include "deltascope/stats.h"

/* CONTRACT's statistics object, plus "count" and "quantile_rank_error". */
void ds_json_put_stats(ds_json_builder *b, const char *key, const ds_statistics *statistics);
void ds_json_put_summary(ds_json_builder *b, const char *key, ds_summary *summary);
void ds_json_put_histogram(ds_json_builder *b, const char *key, const ds_histogram *histogram);

#endif
