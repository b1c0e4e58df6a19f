/* One window, token by token: what every gate did, and what the loss of each token becomes when gates are forced (CONTRACT
 * "trace"). */
#ifndef DELTASCOPE_MEASURE_TOKEN_TRACE_H
#define DELTASCOPE_MEASURE_TOKEN_TRACE_H

#include <jansson.h>

#include "deltascope/measure/ablation.h"
#include "deltascope/measure/token_coefficients.h"
#include "deltascope/model.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* What is looked at: one of the quantities of every sublayer, or the change of each token's loss. */
typedef enum ds_trace_quantity {
    DS_TRACE_BETA,
    DS_TRACE_EIGENVALUE,
    DS_TRACE_EDIT,
    DS_TRACE_QUANTITIES,
    DS_TRACE_LOSS = DS_TRACE_QUANTITIES,
    DS_TRACE_SOURCES, /* attention over depth: e^H of a read's weights */
    DS_TRACE_MIXING,  /* parallel streams: share of |R| beside the diagonal */
    DS_TRACE_SHOWN
} ds_trace_quantity;

typedef struct ds_trace_options {
    ds_window_source window; /* of the run's length, or what there is */
    const char *show;        /* "beta", "eigenvalue", "edit", "loss", "sources", "mixing"; NULL: what the rule has, of
                               the additive one "loss" */
    /* Comma-separated names of ablate's cases ("closed:3.mlp", "open-from:4", ...); "MODE:each" stands for that mode on each
     * sublayer alone; mean-gate is the mean over this window. One case at most unless losses are shown. NULL: none, for losses
     * "closed:each". */
    const char *force;
} ds_trace_options;
extern const ds_trace_options ds_trace_defaults;

/* T tokens, S sublayers. Losses stand at the token that is predicted, in nats: the first token has none (NaN). */
typedef struct ds_trace {
    size_t tokens, sublayers;
    uint32_t *ids; /* (T) */
    ds_trace_quantity shown;
    double *values[DS_TRACE_QUANTITIES]; /* (S, T): gate beta, 1 - m beta |k|^2, |edit|_F / |X before|_F; NULL without gates */
    ds_trace_coefficients coefficients;
    double *loss;          /* (T): intact */
    size_t count;          /* forced cases */
    const ds_case **cases; /* (count): views into `list` */
    ds_case_list list;
    double *forced; /* (count, T): losses */
} ds_trace;

/* The index of a word of `show`; DS_TRACE_SHOWN for another word. */
ds_trace_quantity ds_trace_find(const char *word);
/* What can be refused before a checkpoint is opened: DS_ERR_USAGE unless there is one text, or one file of tokens. */
ds_status ds_trace_check(const ds_trace_options *options) DS_MUST_CHECK;
/* `run` is open without data, and gets the window as ds_run_open_window leaves it. The values are those of the intact model,
 * or where a gate is forced and losses are not what is shown, those under that force. Unknown names are DS_ERR_USAGE. */
ds_status ds_trace_measure(ds_trace *out, ds_run *run, const ds_trace_options *options) DS_MUST_CHECK;
void ds_trace_release(ds_trace *trace);
/* CONTRACT's results of `trace`; a new reference. `tokenizer` gives the words; NULL: labels are ids. */
ds_status ds_trace_json(json_t **results, const ds_trace *trace, const ds_tokenizer *tokenizer) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_trace_results(json_t **options_json, json_t **results, ds_run *run, const ds_trace_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
