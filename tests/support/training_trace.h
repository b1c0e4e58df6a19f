/* Training runs whose every number is known, fixtures/training. */
#ifndef DELTASCOPE_TESTS_TRAINING_TRACE_H
#define DELTASCOPE_TESTS_TRAINING_TRACE_H

#include "deltascope/train.h"

/* Where the traces lie; the environment's TRAINING_TRACES names another place. */
const char *trace_folder(void);
/* Names of the traces there, in order; NULL after the last. */
const char *const *trace_names(void);

typedef struct training_trace {
    char path[256], train[256], val[256], initial[288], final[288];
    json_t *trace; /* trace.json */
    ds_recipe recipe;
} training_trace;
void trace_open(training_trace *t, const char *name);
void trace_close(training_trace *t);

/* How far a run may be from the trace: absolute in losses and weights, relative in norms. */
typedef struct trace_bars {
    double loss, norm, weight;
} trace_bars;
/* `at` names a number of trace.json ("val_before", "steps/3/loss"). */
double trace_number(const training_trace *t, const char *at);
/* Every tensor of a checkpoint folder or weight file is there and near that of the trace; returns the largest distance. */
double trace_expect_weights(const training_trace *t, const char *path, const char *config, double bar);

#endif
