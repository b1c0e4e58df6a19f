#include "deltascope/measure/ablation.h"

#include <stdlib.h>
#include <string.h>

/* Cases compared with the intact model in one pass over the vocabulary: the intact logits are computed once for all of them. */
enum { COMPARED_AT_ONCE = 64 };

struct ds_ablation {
    const ds_model *model;
    const ds_case_list *list;
    size_t length, state_bytes, hidden_bytes; /* of one window */
    void *state, *trial;                      /* (B,T,dv,d): intact up to some sublayer; a case's own */
    void *intact;                             /* (B,T,d) */
    unsigned char *hidden;                    /* (ordered, B, T, d): each case before the head, until the intact one is known */
    double *intact_nll, *nll[COMPARED_AT_ONCE], *kl[COMPARED_AT_ONCE]; /* (B,T) each */
    size_t *order;                                                     /* cases to run, by first forced sublayer */
    size_t ordered;
    double head_cost, cost_total; /* of one output head, of a batch; the unit is a sublayer of average cost */
};

static size_t first_forced(const ds_case *item, size_t sublayers) {
    size_t s = 0;
    while (s < sublayers && !item->forced[s]) s++;
    return s;
}

/* Sublayers a case runs after the shared prefix. */
static size_t sublayers_to_run(const ds_case *item, size_t sublayers, const ds_spec *spec) {
    size_t count = 0;
    for (size_t s = first_forced(item, sublayers); s < sublayers; s++)
        count += !ds_sublayer_is_identity(spec, s, item->gates[s]);
    return count;
}

/* Counting sort by first forced sublayer; cases equal to an earlier one are left out. */
static void order_cases(ds_ablation *ablation) {
    const ds_case_list *list = ablation->list;
    const ds_spec *spec = ds_model_spec(ablation->model);
    for (size_t s = 0; s <= list->sublayers; s++) {
        for (size_t c = 0; c < list->count; c++) {
            if (list->cases[c].same_as != c || list->cases[c].left_out || first_forced(&list->cases[c], list->sublayers) != s)
                continue;
            ablation->order[ablation->ordered++] = c;
            ablation->cost_total += (double)sublayers_to_run(&list->cases[c], list->sublayers, spec);
        }
    }
    ablation->cost_total += (double)list->sublayers + (double)(ablation->ordered + 1) * ablation->head_cost;
}

ds_status ds_ablation_new(ds_ablation **out, const ds_model *model, const ds_case_list *list, size_t sequences, size_t length) {
    ds_status status = DS_OK;
    ds_ablation *ablation = NULL;
    const ds_spec *spec = ds_model_spec(model);
    size_t real = ds_precision_size(ds_model_precision(model)), tokens = sequences * length;
    DS_NEW(ablation, 1);
    ablation->model = model;
    ablation->list = list;
    ablation->length = length;
    ablation->hidden_bytes = length * spec->hidden * real;
    ablation->state_bytes = ablation->hidden_bytes * ds_spec_planes(spec);
    ablation->state = ds_alloc_array(sequences, ablation->state_bytes);
    ablation->trial = ds_alloc_array(sequences, ablation->state_bytes);
    ablation->intact = ds_alloc_array(sequences, ablation->hidden_bytes);
    if (ablation->state == NULL || ablation->trial == NULL || ablation->intact == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    double head = ds_spec_head_flops_per_token(spec), body = ds_spec_forward_flops_per_token(spec, length) - head;
    ablation->head_cost = head / body * (double)list->sublayers;
    DS_NEW(ablation->order, list->count);
    order_cases(ablation);
    DS_NEW_ARRAY(ablation->intact_nll, tokens);
    for (size_t i = 0; i < COMPARED_AT_ONCE && i < ablation->ordered; i++) {
        DS_NEW_ARRAY(ablation->nll[i], tokens);
        DS_NEW_ARRAY(ablation->kl[i], tokens);
    }
    ablation->hidden = ds_alloc_array(ablation->ordered * sequences, ablation->hidden_bytes);
    if (ablation->hidden == NULL) status = DS_ERR_SYSTEM;
done:
    if (status != DS_OK) ds_ablation_free(&ablation);
    *out = ablation;
    return status;
}

void ds_ablation_free(ds_ablation **pointer) {
    ds_ablation *ablation = *pointer;
    if (ablation == NULL) return;
    for (size_t i = 0; i < COMPARED_AT_ONCE; i++) {
        free(ablation->nll[i]);
        free(ablation->kl[i]);
    }
    free(ablation->intact_nll);
    free(ablation->state);
    free(ablation->trial);
    free(ablation->intact);
    free(ablation->order);
    free(ablation->hidden);
    free(ablation);
    *pointer = NULL;
}

size_t ds_ablation_sequences(const ds_model *model, const ds_case_list *list, size_t length) {
    const size_t budget = (size_t)512 << 20; /* bytes for the cases' inputs to the head */
    size_t window = length * ds_model_spec(model)->hidden * ds_precision_size(ds_model_precision(model));
    size_t fitting = budget / (ds_max_size(list->count, 1) * window);
    return ds_max_size(1, ds_min_size(fitting, ds_batch_sequences(model, length)));
}

double ds_ablation_forward_equivalents(const ds_ablation *ablation) {
    return ablation->cost_total / ((double)ablation->list->sublayers + ablation->head_cost);
}

/* One run over a batch, as its helpers see it. */
typedef struct pass {
    ds_ablation *ablation;
    ds_workspace *workspace;
    const ds_batch *batch;
    ds_ablation_tick tick;
    void *context;
    double done;
} pass;

static void report(pass *run, double cost) {
    run->done += cost;
    if (run->tick != NULL) run->tick(run->context, run->done / run->ablation->cost_total);
}

static void *case_hidden(const pass *run, size_t place) {
    return run->ablation->hidden + place * run->batch->sequences * run->ablation->hidden_bytes;
}

/* From the shared state before sublayer `first`: copy, run what is not closed, read out. */
static ds_status run_case(pass *run, size_t place, size_t first) {
    ds_status status = DS_OK;
    ds_ablation *ablation = run->ablation;
    const ds_case *item = &ablation->list->cases[ablation->order[place]];
    size_t sublayers = ablation->list->sublayers;
    const ds_spec *spec = ds_model_spec(ablation->model);
    memcpy(ablation->trial, ablation->state, run->batch->sequences * ablation->state_bytes);
    for (size_t s = first; s < sublayers;) {
        size_t end = s;
        while (end < sublayers && !ds_sublayer_is_identity(spec, end, item->gates[end])) end++;
        if (end > s)
            DS_TRY(ds_sublayers(run->workspace, ablation->model, run->batch, ablation->trial, s, end, item->gates, NULL));
        report(run, (double)(end - s));
        s = end + 1;
    }
    DS_TRY(ds_readout(run->workspace, ablation->model, run->batch, item->gates, ablation->trial, case_hidden(run, place)));
done:
    return status;
}

/* One intact pass from X_0 to X_S, stopping wherever cases branch off. */
static ds_status run_bodies(pass *run) {
    ds_status status = DS_OK;
    ds_ablation *ablation = run->ablation;
    const ds_case_list *list = ablation->list;
    size_t reached = 0;
    DS_TRY(ds_embed(run->workspace, ablation->model, run->batch, ablation->state));
    for (size_t place = 0; place <= ablation->ordered; place++) {
        bool last = place == ablation->ordered;
        size_t until = last ? list->sublayers : first_forced(&list->cases[ablation->order[place]], list->sublayers);
        if (until > reached)
            DS_TRY(ds_sublayers(run->workspace, ablation->model, run->batch, ablation->state, reached, until, NULL, NULL));
        report(run, (double)(until - reached));
        reached = until;
        if (!last) DS_TRY(run_case(run, place, until));
    }
    DS_TRY(ds_readout(run->workspace, ablation->model, run->batch, NULL, ablation->state, ablation->intact));
done:
    return status;
}

/* Mean over the tokens of each window, in order. */
static void window_means(double *means, const double *values, const ds_batch *batch) {
    for (size_t b = 0; b < batch->sequences; b++) {
        double sum = 0;
        for (size_t t = 0; t < batch->length; t++) sum += values[b * batch->length + t];
        means[b] = sum / (double)batch->length;
    }
}

/* The first round tells the intact loss too. */
static ds_status compare_cases(pass *run, double *baseline, double *loss, double *kl) {
    ds_status status = DS_OK;
    ds_ablation *ablation = run->ablation;
    size_t place = 0;
    do {
        size_t count = ds_min_size(COMPARED_AT_ONCE, ablation->ordered - place);
        const void *hidden[COMPARED_AT_ONCE];
        for (size_t i = 0; i < count; i++) hidden[i] = case_hidden(run, place + i);
        DS_TRY(ds_head_compare(run->workspace, ablation->model, run->batch, ablation->intact, count, hidden,
                               place == 0 ? ablation->intact_nll : NULL, ablation->nll, ablation->kl));
        for (size_t i = 0; i < count; i++) {
            size_t row = ablation->order[place + i] * run->batch->sequences;
            window_means(loss + row, ablation->nll[i], run->batch);
            window_means(kl + row, ablation->kl[i], run->batch);
        }
        report(run, (double)(count + (place == 0)) * ablation->head_cost);
        place += count;
    } while (place < ablation->ordered);
    window_means(baseline, ablation->intact_nll, run->batch);
done:
    return status;
}

ds_status ds_ablation_run(ds_ablation *ablation, ds_workspace *workspace, const ds_batch *batch, double *baseline, double *loss,
                          double *kl, ds_ablation_tick tick, void *context) {
    ds_status status = DS_OK;
    pass run = {.ablation = ablation, .workspace = workspace, .batch = batch, .tick = tick, .context = context};
    const ds_case_list *list = ablation->list;
    ds_workspace_set_mean_mixing(workspace, list->mixing);
    DS_TRY(run_bodies(&run));
    DS_TRY(compare_cases(&run, baseline, loss, kl));
    for (size_t c = 0; c < list->count; c++) {
        size_t same = list->cases[c].same_as * batch->sequences;
        if (list->cases[c].same_as == c || list->cases[c].left_out) continue;
        memcpy(loss + c * batch->sequences, loss + same, batch->sequences * sizeof *loss);
        memcpy(kl + c * batch->sequences, kl + same, batch->sequences * sizeof *kl);
    }
done:
    ds_workspace_set_mean_mixing(workspace, NULL);
    return status;
}
