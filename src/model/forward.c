/* Directs a pass: which step runs over which tiles, in which order; what observers see; what is refused. The arithmetic is in
 * *.real.c, thing by thing. */
#include <math.h>
#include <stdlib.h>

#include "deltascope/base.h"
#include "deltascope/model.h"

#include "backbone.h"
#include "rule.h"
#include "steps.h"

static ds_status check_ids(const uint32_t *ids, const ds_batch *batch, size_t vocab, const char *what) {
    for (size_t i = 0; i < batch->sequences * batch->length; i++) {
        if (ids[i] >= vocab)
            return ds_fail(DS_ERR_INPUT, "%s %zu of sequence %zu is id %u; the vocabulary has %zu entries", what,
                           i % batch->length, i / batch->length, (unsigned)ids[i], vocab);
    }
    return DS_OK;
}

ds_status ds_check_tokens(const ds_batch *batch, size_t vocab) { return check_ids(batch->tokens, batch, vocab, "token"); }
ds_status ds_check_targets(const ds_batch *batch, size_t vocab) { return check_ids(batch->targets, batch, vocab, "target"); }

ds_status ds_pass_begin(ds_pass *pass, ds_workspace *workspace, const ds_model *model, const ds_batch *batch) {
    if (batch->sequences == 0 || batch->length == 0)
        return ds_fail(DS_ERR_USAGE, "a batch of %zu windows of %zu tokens is empty", batch->sequences, batch->length);
    if (batch->sequences > workspace->sequences || batch->length > workspace->length)
        return ds_fail(DS_ERR_USAGE,
                       "a batch of %zu windows of %zu tokens does not fit a workspace made for %zu windows of %zu tokens",
                       batch->sequences, batch->length, workspace->sequences, workspace->length);
    *pass = (ds_pass){.workspace = workspace, .model = model, .batch = batch, .tiles = ds_tile_count(batch->length)};
    return DS_OK;
}

ds_status ds_pass_run(ds_pass *pass, ds_task step) {
    return ds_parallel_for_within(pass->workspace->workers, pass->batch->sequences * pass->tiles, step, pass);
}

ds_status ds_embed(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, void *state) {
    ds_status status;
    ds_pass pass;
    DS_TRY(ds_pass_begin(&pass, workspace, model, batch));
    DS_TRY(ds_check_tokens(batch, model->spec.vocab));
    pass.state = state;
    DS_TRY(ds_pass_run(&pass, ds_steps_of(model)->embed_forward));
done:
    return status;
}

/* ---- sublayers -------------------------------------------------------------------------------------------------------- */

static ds_status check_finite(const ds_pass *pass, size_t sublayer) {
    char name[32];
    for (size_t i = 0; i < pass->batch->sequences * pass->tiles; i++) {
        size_t position = pass->workspace->not_finite[i];
        if (position < pass->batch->length)
            return ds_fail(DS_ERR_INPUT,
                           "sublayer %s leaves a NaN or an infinity in the state of sequence %zu at position %zu; every "
                           "number of the residual state must be finite",
                           ds_sublayer_name(name, sublayer), i / pass->tiles, position);
    }
    return DS_OK;
}

static ds_status deliver(const ds_pass *pass, const ds_observer *observer) {
    const ds_workspace *w = pass->workspace;
    const ds_spec *spec = &pass->model->spec;
    bool norms = (observer->wants & DS_OBSERVE_GATES) != 0, states = (observer->wants & DS_OBSERVE_STATES) != 0;
    bool attention = ds_pass_half(pass) == 0 && (observer->wants & DS_OBSERVE_ATTENTION) != 0;
    ds_observation seen = {.sublayer = pass->sublayer,
                           .sequences = pass->batch->sequences,
                           .length = pass->batch->length,
                           .hidden = spec->hidden,
                           .planes = ds_spec_planes(spec),
                           .precision = pass->model->precision,
                           .state_norm = norms ? w->state_norm : NULL,
                           .edit_norm = norms ? w->edit_norm : NULL,
                           .before = states ? w->before : NULL,
                           .after = states ? pass->state : NULL,
                           .zero_weights = attention ? w->zero_weights : NULL};
    if (spec->rule->observe != NULL) spec->rule->observe(&seen, pass);
    return observer->sublayer(observer->context, &seen);
}

ds_status ds_pass_sublayer(ds_pass *pass, size_t sublayer) {
    ds_status status;
    const ds_spec *spec = &pass->model->spec;
    const ds_steps *steps = ds_steps_of(pass->model);
    pass->sublayer = sublayer;
    if (spec->rule->check_pass != NULL) DS_TRY(spec->rule->check_pass(pass));
    if (ds_pass_half(pass) == 0) {
        DS_TRY(ds_pass_run(pass, steps->qkv_forward));
        if (spec->k_shift || spec->v_shift) DS_TRY(ds_pass_run(pass, steps->qkv_shift_forward));
        DS_TRY(ds_pass_run(pass, steps->attention_forward));
    } else {
        if (ds_rule_reads_other_tokens(spec)) DS_TRY(ds_pass_run(pass, steps->read_forward));
        DS_TRY(ds_pass_run(pass, ds_pass_backbone(pass)->steps[pass->model->precision]->mlp_forward));
    }
    if (pass->tape == NULL || !pass->tape->record_only) DS_TRY(check_finite(pass, sublayer));
done:
    return status;
}

ds_status ds_sublayers(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, void *state, size_t first,
                       size_t last, const ds_force *forces, const ds_observer *observer) {
    ds_status status;
    const ds_rule *rule = model->spec.rule;
    ds_pass pass;
    DS_TRY(ds_pass_begin(&pass, workspace, model, batch));
    if (first > last || last > ds_spec_sublayers(&model->spec))
        DS_TRY(ds_fail(DS_ERR_USAGE, "sublayers %zu to %zu asked for; the model has %zu", first, last,
                       ds_spec_sublayers(&model->spec)));
    pass.state = state;
    pass.forces = forces;
    if (observer != NULL) {
        pass.wants = observer->wants;
        DS_TRY(ds_workspace_observe(workspace, observer->wants));
    }
    for (size_t s = first; s < last; s++) {
        pass.sublayer = s;
        DS_TRY(rule->check_force(ds_pass_force(&pass), s));
        /* The state stays as it is: unless someone watches there is nothing to compute. */
        if (observer == NULL && ds_sublayer_is_identity(&model->spec, s, ds_pass_force(&pass))) continue;
        DS_TRY(ds_pass_sublayer(&pass, s));
        if (observer != NULL) DS_TRY(deliver(&pass, observer));
    }
done:
    return status;
}

/* ---- readout and head ------------------------------------------------------------------------------------------------- */

/* What reads the state alone: a step of `sublayer`, which writes to `out`. */
static ds_status read_state(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                            size_t sublayer, const void *state, void *out, ds_task step) {
    ds_status status;
    ds_pass pass;
    DS_TRY(ds_pass_begin(&pass, workspace, model, batch));
    pass.state = (void *)(uintptr_t)state; /* only read: every step of a pass shares one context */
    pass.forces = forces;
    pass.hidden = out;
    pass.sublayer = sublayer;
    DS_TRY(ds_pass_run(&pass, step));
done:
    return status;
}

ds_status ds_read(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                  size_t sublayer, const void *state, void *read) {
    if (sublayer > ds_spec_sublayers(&model->spec))
        return ds_fail(DS_ERR_USAGE, "the read of sublayer %zu asked for; the model has %zu", sublayer,
                       ds_spec_sublayers(&model->spec));
    return read_state(workspace, model, batch, forces, sublayer, state, read, ds_steps_of(model)->read_alone);
}

ds_status ds_mix(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces, size_t sublayer,
                 const void *state, double *mix) {
    if (model->spec.rule->steps[model->precision]->mix == NULL || sublayer > ds_spec_sublayers(&model->spec))
        return ds_fail(DS_ERR_USAGE, "the weights of read %zu asked for; a model of %zu sublayers by the rule %s has none",
                       sublayer, ds_spec_sublayers(&model->spec), model->spec.rule->name);
    return read_state(workspace, model, batch, forces, sublayer, state, mix, ds_steps_of(model)->mix);
}

ds_status ds_route(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, size_t sublayer, const void *state,
                   double *routing) {
    if (model->spec.rule->steps[model->precision]->route == NULL || sublayer > ds_spec_sublayers(&model->spec))
        return ds_fail(DS_ERR_USAGE, "the sources of read %zu asked for; a model of %zu sublayers by the rule %s has none",
                       sublayer, ds_spec_sublayers(&model->spec), model->spec.rule->name);
    return read_state(workspace, model, batch, NULL, sublayer, state, routing, ds_steps_of(model)->route);
}

ds_status ds_readout(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                     const void *state, void *hidden) {
    return read_state(workspace, model, batch, forces, ds_spec_sublayers(&model->spec), state, hidden,
                      ds_steps_of(model)->readout_forward);
}

/* -log p(target) */
static double negative_log_likelihood(const ds_online *online) { return online->max + log(online->sum) - online->target; }

/* A finite state can still give logits that are not: the last norm and the embedding come after it. */
static ds_status check_losses(const double *values, const ds_batch *batch, const char *what) {
    for (size_t i = 0; i < batch->sequences * batch->length; i++) {
        if (!isfinite(values[i]))
            return ds_fail(DS_ERR_INPUT,
                           "the output head gives a %s of %g for sequence %zu at position %zu; every logit must be finite",
                           what, values[i], i / batch->length, i % batch->length);
    }
    return DS_OK;
}

ds_status ds_pass_losses(const ds_pass *pass, double *nll, const ds_online *online) {
    for (size_t i = 0; i < pass->batch->sequences * pass->batch->length; i++) nll[i] = negative_log_likelihood(&online[i]);
    return check_losses(nll, pass->batch, "loss");
}

/* KL(p || q) = sum p (z - y) - log Z_p + log Z_q for logits z of p and y of q. */
static double divergence(const ds_online *p, const ds_online *q) {
    return q->moment / p->sum - (p->max + log(p->sum)) + (q->max + log(q->sum));
}

ds_status ds_head_loss(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const void *hidden, double *nll) {
    ds_status status;
    ds_pass pass;
    DS_TRY(ds_pass_begin(&pass, workspace, model, batch));
    DS_TRY(ds_check_targets(batch, model->spec.vocab));
    pass.cases = 1;
    pass.case_hidden = &hidden;
    pass.case_online = workspace->online;
    DS_TRY(ds_pass_run(&pass, ds_steps_of(model)->head_compare));
    DS_TRY(ds_pass_losses(&pass, nll, workspace->online));
done:
    return status;
}

ds_status ds_head_compare(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const void *intact,
                          size_t cases, const void *const *hidden, double *intact_nll, double *const *nll, double *const *kl) {
    ds_status status;
    ds_pass pass;
    ds_online *online = NULL;
    size_t tokens = batch->sequences * batch->length, count;
    DS_TRY(ds_pass_begin(&pass, workspace, model, batch));
    DS_TRY(ds_check_targets(batch, model->spec.vocab));
    if (!ds_mul_size(cases, tokens, &count))
        DS_TRY(ds_fail(DS_ERR_USAGE, "%zu cases of %zu tokens are too many", cases, tokens));
    DS_NEW_ARRAY(online, count);
    pass.cases = cases;
    pass.case_hidden = hidden;
    pass.case_online = online;
    pass.intact = kl != NULL || intact_nll != NULL ? intact : NULL;
    pass.intact_online = workspace->online;
    DS_TRY(ds_pass_run(&pass, ds_steps_of(model)->head_compare));
    if (intact_nll != NULL) DS_TRY(ds_pass_losses(&pass, intact_nll, workspace->online));
    for (size_t c = 0; c < cases; c++) {
        for (size_t i = 0; i < tokens; i++) {
            const ds_online *now = &online[c * tokens + i];
            nll[c][i] = negative_log_likelihood(now);
            if (kl != NULL && kl[c] != NULL) kl[c][i] = divergence(&workspace->online[i], now);
        }
        DS_TRY(check_losses(nll[c], batch, "loss"));
        if (kl != NULL && kl[c] != NULL) DS_TRY(check_losses(kl[c], batch, "divergence"));
    }
done:
    free(online);
    return status;
}

ds_status ds_head_logits(const ds_model *model, const void *hidden, size_t first, size_t count, void *logits) {
    size_t size = ds_precision_size(model->precision), offset;
    if (!ds_mul_size(first, model->spec.hidden, &offset) || !ds_mul_size(offset, size, &offset))
        return ds_fail(DS_ERR_USAGE, "row %zu of the hidden states cannot be addressed", first);
    const char *row = (const char *)hidden + offset;
    char *out = logits;
    for (size_t done = 0; done < count; done += DS_TILE_ROWS) {
        ds_steps_of(model)->logits(model, row + done * model->spec.hidden * size, ds_min_size(count - done, DS_TILE_ROWS),
                                   out + done * model->spec.vocab * size);
    }
    return DS_OK;
}

ds_status ds_forward(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                     const ds_observer *observer, double *nll) {
    ds_status status;
    DS_TRY(ds_embed(workspace, model, batch, workspace->state));
    DS_TRY(ds_sublayers(workspace, model, batch, workspace->state, 0, ds_spec_sublayers(&model->spec), forces, observer));
    DS_TRY(ds_readout(workspace, model, batch, forces, workspace->state, workspace->hidden));
    DS_TRY(ds_head_loss(workspace, model, batch, workspace->hidden, nll));
done:
    return status;
}
