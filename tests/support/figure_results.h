/* Made-up results of every command a figure is drawn from, as the commands write them. */
#ifndef DELTASCOPE_TESTS_FIGURE_RESULTS_H
#define DELTASCOPE_TESTS_FIGURE_RESULTS_H

#include <jansson.h>
#include <stddef.h>

/* {"gates": ..., "spectrum": ..., "ablate": ..., "gradflow": ..., "compare": ..., "train": ...} of a model with so many layers;
 * `half` is the half width of intervals, NaN for none. A new reference. */
json_t *make_results(size_t layers, double half);

#endif
