#include "deltascope/measure/token_trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"
#include "deltascope/base.h"

/* Whether `name` asks for this case: by its own name, or as one of "MODE:each". */
static bool is_meant(const ds_case *item, const char *name, size_t length) {
    size_t mode = strlen(item->mode);
    if (ds_is_word(item->name, name, length)) return true;
    bool each = length == mode + 5 && memcmp(name, item->mode, mode) == 0 && memcmp(name + mode, ":each", 5) == 0;
    return each && item->name[mode] == ':' && strchr("0123456789", item->name[mode + 1]) != NULL;
}

static ds_status choose_cases(ds_trace *trace, const char *names) {
    ds_status status = DS_OK;
    const char *word;
    size_t words = 1, length;
    for (const char *at = names; *at != '\0'; at++) words += *at == ',';
    DS_NEW(trace->cases, words * trace->list.count);
    while (ds_next_word(&names, &word, &length)) {
        size_t before = trace->count;
        for (size_t c = 0; c < trace->list.count; c++) {
            if (is_meant(&trace->list.cases[c], word, length)) trace->cases[trace->count++] = &trace->list.cases[c];
        }
        if (trace->count == before)
            return ds_fail(DS_ERR_USAGE,
                           "--force: no case \"%s\" in a model of %zu sublayers; cases are named as by ablate (closed:0.mlp, "
                           "open-from:2, ...), closed:each is each sublayer alone",
                           ds_escape(word, length).text, trace->sublayers);
    }
done:
    return status;
}

ds_status ds_trace_init(ds_trace *trace, const ds_spec *spec, const char *force, size_t tokens) {
    ds_status status = DS_OK;
    *trace = (ds_trace){.tokens = tokens, .sublayers = ds_spec_sublayers(spec)};
    if (force != NULL) {
        DS_TRY(ds_case_list_all(&trace->list, spec, true));
        DS_TRY(choose_cases(trace, force));
    }
    DS_NEW(trace->loss, tokens);
    DS_NEW(trace->forced, trace->count * tokens);
    for (size_t q = 0; q < DS_TRACE_QUANTITIES && ds_rule_has_gates(spec->rule); q++)
        DS_NEW(trace->values[q], trace->sublayers * tokens);
done:
    if (status != DS_OK) ds_trace_release(trace);
    return status;
}

void ds_trace_release(ds_trace *trace) {
    for (size_t q = 0; q < DS_TRACE_QUANTITIES; q++) free(trace->values[q]);
    free(trace->loss);
    free(trace->forced);
    free(trace->cases);
    ds_case_list_release(&trace->list);
    *trace = (ds_trace){0};
}

typedef struct watch {
    ds_trace *trace;
    double residual_mult;
} watch;

static ds_status observe(void *context, const ds_observation *seen) {
    const watch *w = context;
    size_t row = seen->sublayer * w->trace->tokens;
    for (size_t t = 0; t < w->trace->tokens; t++) {
        double edit = seen->state_norm[t] > 0 ? seen->edit_norm[t] / seen->state_norm[t] : 0;
        w->trace->values[DS_TRACE_BETA][row + t] = seen->delta->beta[t];
        w->trace->values[DS_TRACE_EIGENVALUE][row + t] = 1 - w->residual_mult * seen->delta->beta[t] * seen->delta->k_norm2[t];
        w->trace->values[DS_TRACE_EDIT][row + t] = edit;
    }
    return DS_OK;
}

static ds_status set_means(ds_trace *trace) {
    ds_status status = DS_OK;
    double *means = NULL;
    DS_NEW(means, trace->sublayers);
    for (size_t s = 0; s < trace->sublayers; s++)
        means[s] = ds_mean(trace->values[DS_TRACE_BETA] + s * trace->tokens, trace->tokens);
    ds_case_list_set_means(&trace->list, means);
done:
    free(means);
    return status;
}

/* nll[t] is the loss of token t + 1. */
static void shift(double *loss, const double *nll, size_t tokens) {
    loss[0] = NAN;
    memcpy(loss + 1, nll, (tokens - 1) * sizeof *loss);
}

ds_status ds_trace_run(ds_trace *trace, const ds_model *model, const uint32_t *ids, bool under_force) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(model);
    watch context = {trace, spec->residual_mult};
    const ds_observer observer = {DS_OBSERVE_GATES, observe, &context},
                      *watching = ds_rule_has_gates(spec->rule) ? &observer : NULL;
    ds_workspace *workspace = NULL;
    uint32_t *targets = NULL;
    double *nll = NULL;
    DS_NEW(targets, trace->tokens); /* nothing follows the last token: its loss, of target 0, is not looked at */
    DS_NEW(nll, trace->tokens);
    memcpy(targets, ids + 1, (trace->tokens - 1) * sizeof *targets);
    const ds_batch batch = {ids, targets, 1, trace->tokens};
    DS_TRY(ds_workspace_new(&workspace, model, 1, trace->tokens));
    DS_TRY(ds_forward(workspace, model, &batch, NULL, watching, nll));
    shift(trace->loss, nll, trace->tokens);
    if (trace->list.needs_means) DS_TRY(set_means(trace));
    for (size_t c = 0; c < trace->count; c++) {
        bool watched = under_force && c == 0;
        DS_TRY(ds_forward(workspace, model, &batch, trace->cases[c]->gates, watched ? watching : NULL, nll));
        shift(trace->forced + c * trace->tokens, nll, trace->tokens);
    }
done:
    ds_workspace_free(&workspace);
    free(targets);
    free(nll);
    return status;
}
