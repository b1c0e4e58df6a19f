/* How statistics stand in results: CONTRACT "JSON: the envelope". */
#ifndef DELTASCOPE_MEASURE_RESULT_JSON_H
#define DELTASCOPE_MEASURE_RESULT_JSON_H

#include "deltascope/io.h"
#include "deltascope/stats.h"

/* CONTRACT's statistics object, plus "count" and "quantile_rank_error". */
void ds_json_put_stats(ds_json_builder *b, const char *key, const ds_statistics *statistics);
void ds_json_put_summary(ds_json_builder *b, const char *key, ds_summary *summary);
void ds_json_put_histogram(ds_json_builder *b, const char *key, const ds_histogram *histogram);

/* [low, high], or null where there is none (NaN). */
void ds_json_put_interval(ds_json_builder *b, const char *key, double low, double high);
/* How paired differences over so many windows were judged, each as one of so many hypotheses; what so many can decide. */
void ds_json_put_intervals(ds_json_builder *b, const char *key, size_t windows, size_t hypotheses);

#endif
