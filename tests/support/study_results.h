/* Made-up results of a study and of compared groups, every statistic computed as a study computes it. */
#ifndef DELTASCOPE_TESTS_STUDY_RESULTS_H
#define DELTASCOPE_TESTS_STUDY_RESULTS_H

#include <stddef.h>

#include "deltascope/io.h"

/* A study of that many variants (at most 8) and seeds, as study.json has it: variant v is lower by `step` nats than the one
 * before, seeds share most of their noise. With `diverged` the last run of the last variant did not end. A new reference. */
json_t *make_study(size_t variants, size_t seeds, double step, bool diverged);
/* "groups" and "contrasts" of compare, of models of so many layers, into the open object. */
void put_groups(ds_json_builder *b, size_t groups, size_t seeds, size_t layers);

#endif
