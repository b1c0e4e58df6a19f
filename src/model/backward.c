/* Directs backward passes and tangents: which step runs over which tiles, in which order. The arithmetic is in
 * backward_*.real.c, tangent.real.c and token_jacobian.real.c. */
#include <math.h>
#include <string.h>

#include "backward.h"

/* ---- the tape ---------------------------------------------------------------------------------------------------------------- */

bool ds_backward_closed(const ds_gradient *g, size_t s) { return g->gates[s].mode == DS_GATE_FIXED && g->gates[s].beta == 0; }

static ds_status begin(ds_pass *pass, ds_gradient *g, const ds_batch *batch) {
    return ds_pass_begin(pass, g->workspace, g->model, batch);
}

static size_t state_bytes(const ds_gradient *g, const ds_batch *batch) {
    return batch->sequences * batch->length * g->model->spec.value_channels * g->model->spec.hidden *
           ds_precision_size(g->precision);
}

static ds_status set_gates(ds_gradient *g, const ds_gate *gates) {
    ds_status status = DS_OK;
    for (size_t s = 0; s < g->sublayers; s++) {
        g->gates[s] = gates != NULL ? gates[s] : (ds_gate){.mode = DS_GATE_LEARNED};
        DS_TRY(ds_check_gate(&g->model->spec, s, g->gates[s]));
    }
done:
    return status;
}

/* From states[first] to states[last], recording. */
static ds_status record(ds_gradient *g, const ds_batch *batch, size_t first, size_t last) {
    ds_status status;
    ds_pass pass;
    g->batch.sequences = 0;
    g->shared_holds[0] = g->shared_holds[1] = g->sublayers;
    DS_TRY(begin(&pass, g, batch));
    for (size_t s = first; s < last; s++) {
        memcpy(g->states[s + 1], g->states[s], state_bytes(g, batch));
        if (ds_backward_closed(g, s)) continue;
        pass.state = g->states[s + 1];
        pass.gate = g->gates[s];
        pass.tape = &g->tapes[s];
        DS_TRY(ds_pass_sublayer(&pass, s));
        if (s < g->kept_from) g->shared_holds[s % 2] = s;
    }
    g->batch = (ds_batch){.sequences = batch->sequences, .length = batch->length};
    g->first = first;
    g->last = last;
done:
    return status;
}

ds_status ds_backward_sublayer_begin(ds_backward_pass *b, ds_gradient *g, size_t s) {
    ds_status status = DS_OK;
    b->gradient = g;
    b->half = s % 2;
    b->tape = &g->tapes[s];
    b->pass.layer = s / 2;
    b->pass.gate = g->gates[s];
    b->pass.state = g->states[s];
    b->taps = &g->model->layers[s / 2].compress;
    if (s < g->kept_from && g->shared_holds[s % 2] != s) {
        ds_tape again = g->tapes[s];
        again.record_only = true;
        b->pass.tape = &again;
        g->shared_holds[s % 2] = g->sublayers;
        status = ds_pass_sublayer(&b->pass, s);
        b->pass.tape = NULL;
        if (status == DS_OK) g->shared_holds[s % 2] = s;
    }
    return status;
}

/* ---- one sublayer back ---------------------------------------------------------------------------------------------------------- */

static void add_job(ds_backward_pass *b, const ds_parameter *weight, const void *dy, const void *x) {
    if (weight == NULL) return;
    b->jobs[b->job_count++] = (ds_weight_job){.dweight = b->gradient->parameters[weight - b->pass.model->parameters],
                                              .dy = dy,
                                              .x = x,
                                              .out = weight->shape[0],
                                              .in = weight->shape[1]};
}

static ds_status run_jobs(ds_backward_pass *b) {
    size_t tasks = 0;
    for (size_t i = 0; i < b->job_count; i++) tasks += (b->jobs[i].out + DS_WEIGHT_ROWS - 1) / DS_WEIGHT_ROWS;
    return ds_parallel_for_within(b->pass.workspace->workers, tasks, ds_backward_tasks_of(b->gradient)->weights, b);
}

static ds_status sublayer_weights(ds_backward_pass *b) {
    const ds_gradient *g = b->gradient;
    const ds_layer_weights *layer = &b->pass.model->layers[b->pass.layer];
    bool shifts = b->pass.batch->length > 1;
    b->job_count = 0;
    if (b->half == 0) {
        add_job(b, layer->query, g->dquery, g->context);
        add_job(b, layer->key, shifts && layer->key_shift != NULL ? g->dkey_shifted : g->dkey, g->context);
        add_job(b, layer->value, shifts && layer->value_shift != NULL ? g->dvalue_shifted : g->dvalues, g->context);
        add_job(b, layer->attention, g->dbranch, g->heads);
        add_job(b, layer->output_gate, g->doutput_gate, g->context);
        if (shifts) add_job(b, layer->key_shift, g->dkey_mix, g->context);
        if (shifts) add_job(b, layer->value_shift, g->dvalue_mix, g->context);
    } else {
        add_job(b, layer->gate, g->dgate, g->context);
        add_job(b, layer->up, g->dup, g->context);
        add_job(b, layer->down, g->dbranch, g->gated);
    }
    if (b->pass.gate.mode != DS_GATE_FIXED) add_job(b, layer->delta[b->half].beta_in, g->dgate_hidden, g->context);
    return run_jobs(b);
}

/* Sums over tiles of what is too small for a task of its own. */
static void sublayer_sums(ds_backward_pass *b) {
    const ds_backward_tasks *tasks = ds_backward_tasks_of(b->gradient);
    const ds_layer_weights *layer = &b->pass.model->layers[b->pass.layer];
    const ds_delta_weights *delta = &layer->delta[b->half];
    const ds_partial_layout *at = &b->gradient->layout;
    tasks->reduce(b, b->half == 0 ? layer->ln_1 : layer->ln_2, at->norm);
    tasks->reduce(b, delta->value, at->value);
    tasks->reduce(b, delta->value_bias, at->value_bias);
    tasks->reduce(b, delta->beta != NULL ? delta->beta : delta->beta_out, at->beta);
    tasks->reduce(b, delta->beta != NULL ? delta->beta_bias : delta->out_bias, at->beta_bias);
    tasks->reduce_taps(b, &layer->compress, at->taps);
    if (b->half == 1) return;
    tasks->reduce(b, layer->query_norm, at->query_norm);
    tasks->reduce(b, layer->key_norm, at->key_norm);
    tasks->reduce(b, layer->head_norm != NULL ? layer->head_norm : layer->output_norm, at->head_norm);
}

/* The identity: the gradient passes, nothing else is reached. */
static ds_status closed_sublayer(ds_backward_pass *b) {
    size_t tokens = b->pass.batch->sequences * b->pass.batch->length;
    memset(b->gradient->gate_slope, 0, tokens * sizeof *b->gradient->gate_slope);
    memset(b->gradient->workspace->beta, 0, tokens * sizeof *b->gradient->workspace->beta);
    b->tape = NULL;
    b->taps = NULL;
    return ds_pass_run(&b->pass, ds_backward_tasks_of(b->gradient)->expand);
}

ds_status ds_backward_sublayer(ds_backward_pass *b, size_t s) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_backward_tasks *tasks = ds_backward_tasks_of(g);
    if (ds_backward_closed(g, s)) return closed_sublayer(b);
    DS_TRY(ds_backward_sublayer_begin(b, g, s));
    if (b->half == 0) {
        DS_TRY(ds_pass_run(&b->pass, tasks->enter));
        DS_TRY(ds_parallel_for_within(b->pass.workspace->workers, b->pass.batch->sequences * g->model->spec.heads,
                                      tasks->scores, b));
        DS_TRY(ds_pass_run(&b->pass, tasks->unshape));
        DS_TRY(ds_pass_run(&b->pass, tasks->leave));
    } else {
        DS_TRY(ds_pass_run(&b->pass, tasks->mlp));
    }
    DS_TRY(ds_pass_run(&b->pass, tasks->expand));
    if (b->parameters) {
        DS_TRY(sublayer_weights(b));
        sublayer_sums(b);
    }
done:
    return status;
}

/* ---- the loss ---------------------------------------------------------------------------------------------------------------------- */

/* nll, and dloss/dX_S in g->state. */
static ds_status head(ds_backward_pass *b, double *nll) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_model *model = g->model;
    const ds_backward_tasks *tasks = ds_backward_tasks_of(g);
    DS_TRY(ds_readout(g->workspace, model, b->pass.batch, g->states[g->sublayers], g->hidden));
    b->blocks = (model->spec.vocab + DS_VOCABULARY_BLOCK - 1) / DS_VOCABULARY_BLOCK;
    DS_TRY(ds_pass_run(&b->pass, tasks->loss));
    DS_TRY(ds_pass_losses(&b->pass, nll, g->workspace->online));
    for (b->block = 0; b->block < b->blocks; b->block += g->blocks_held) {
        DS_TRY(ds_pass_run(&b->pass, tasks->logits));
        if (b->parameters)
            DS_TRY(ds_parallel_for_within(b->pass.workspace->workers, ds_min_size(b->blocks - b->block, g->blocks_held),
                                          tasks->head_weights, b));
    }
    b->pass.state = g->states[g->sublayers];
    b->taps = &model->readout;
    DS_TRY(ds_pass_run(&b->pass, tasks->final_norm));
    DS_TRY(ds_pass_run(&b->pass, tasks->expand));
    if (!b->parameters) goto done;
    tasks->reduce(b, model->final_norm, g->layout.norm);
    tasks->reduce_taps(b, &model->readout, g->layout.taps);
done:
    return status;
}

static ds_status embedding(ds_backward_pass *b) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_backward_tasks *tasks = ds_backward_tasks_of(g);
    DS_TRY(ds_pass_run(&b->pass, tasks->embeddings));
    if (!b->parameters) goto done;
    tasks->scatter(b);
    tasks->reduce_taps(b, &g->model->input, g->layout.taps);
done:
    return status;
}

static ds_status deliver(const ds_backward_pass *b, size_t index, const ds_gradient_observer *observer) {
    const ds_gradient *g = b->gradient;
    if (observer == NULL) return DS_OK;
    bool sublayer = index < g->sublayers, delta = sublayer && g->model->spec.delta;
    ds_gradient_event event = {.index = index,
                               .sequences = b->pass.batch->sequences,
                               .length = b->pass.batch->length,
                               .hidden = g->model->spec.hidden,
                               .value_channels = g->model->spec.value_channels,
                               .precision = g->precision,
                               .state = g->states[index],
                               .gradient = b->state,
                               .norm2 = g->norm2,
                               .paths = sublayer && g->paths ? g->squares : NULL,
                               .gate_slope = delta ? g->gate_slope : NULL,
                               .beta = delta ? g->workspace->beta : NULL,
                               .k = delta && !ds_backward_closed(g, index) ? g->direction : NULL};
    return observer->state(observer->context, &event);
}

ds_status ds_backward(ds_gradient *g, const ds_batch *batch, const ds_gate *gates, double weight,
                      const ds_gradient_observer *observer, double *nll) {
    ds_status status;
    ds_backward_pass b = {.gradient = g, .state = g->state, .weight = weight};
    DS_TRY(begin(&b.pass, g, batch));
    DS_TRY(ds_check_targets(batch, g->model->spec.vocab));
    DS_TRY(set_gates(g, gates));
    DS_TRY(ds_embed(g->workspace, g->model, batch, g->states[0]));
    DS_TRY(record(g, batch, 0, g->sublayers));
    b.parameters = g->parameters != NULL;
    b.norms = observer != NULL;
    DS_TRY(head(&b, nll));
    DS_TRY(deliver(&b, g->sublayers, observer));
    b.paths = g->paths;
    for (size_t s = g->sublayers; s-- > 0;) {
        DS_TRY(ds_backward_sublayer(&b, s));
        DS_TRY(deliver(&b, s, observer));
    }
    DS_TRY(embedding(&b));
done:
    return status;
}

/* ---- Jacobians ------------------------------------------------------------------------------------------------------------------------ */

ds_status ds_linearise(ds_gradient *g, const ds_batch *batch, void *state, size_t first, size_t last, const ds_gate *gates) {
    ds_status status;
    ds_pass pass;
    DS_TRY(begin(&pass, g, batch));
    if (first > last || last > g->sublayers)
        DS_TRY(ds_fail(DS_ERR_USAGE, "sublayers %zu to %zu asked for; the model has %zu", first, last, g->sublayers));
    DS_TRY(set_gates(g, gates));
    memcpy(g->states[first], state, state_bytes(g, batch));
    DS_TRY(record(g, batch, first, last));
    memcpy(state, g->states[last], state_bytes(g, batch));
done:
    return status;
}

static ds_status begin_linear(ds_backward_pass *b, ds_gradient *g) {
    if (g->batch.sequences == 0) return ds_fail(DS_ERR_USAGE, "a Jacobian asked for before any window was linearised");
    return begin(&b->pass, g, &g->batch);
}

ds_status ds_adjoint(ds_gradient *g, void *cotangent) {
    ds_status status;
    ds_backward_pass b = {.gradient = g, .state = cotangent};
    DS_TRY(begin_linear(&b, g));
    for (size_t s = g->last; s-- > g->first;) DS_TRY(ds_backward_sublayer(&b, s));
done:
    return status;
}

static ds_status sublayer_tangent(ds_backward_pass *b, size_t s) {
    ds_status status;
    const ds_backward_tasks *tasks = ds_backward_tasks_of(b->gradient);
    const ds_spec *spec = &b->gradient->model->spec;
    if (ds_backward_closed(b->gradient, s)) return DS_OK;
    DS_TRY(ds_backward_sublayer_begin(b, b->gradient, s));
    DS_TRY(ds_pass_run(&b->pass, tasks->tangent_enter));
    if (b->half == 0 && (spec->k_shift || spec->v_shift)) DS_TRY(ds_pass_run(&b->pass, tasks->tangent_shift));
    DS_TRY(ds_pass_run(&b->pass, b->half == 0 ? tasks->tangent_attend : tasks->tangent_mlp));
done:
    return status;
}

ds_status ds_tangent(ds_gradient *g, void *tangent) {
    ds_status status;
    ds_backward_pass b = {.gradient = g, .state = tangent};
    DS_TRY(begin_linear(&b, g));
    for (size_t s = g->first; s < g->last; s++) DS_TRY(sublayer_tangent(&b, s));
done:
    return status;
}

ds_status ds_token_jacobian(ds_gradient *g, double *jacobian, size_t s, size_t sequence, size_t position) {
    ds_status status;
    ds_backward_pass b = {.gradient = g};
    const ds_backward_tasks *tasks = ds_backward_tasks_of(g);
    size_t size = g->model->spec.hidden * g->model->spec.value_channels;
    DS_TRY(begin_linear(&b, g));
    if (s < g->first || s >= g->last || sequence >= g->batch.sequences || position >= g->batch.length)
        DS_TRY(ds_fail(DS_ERR_USAGE,
                       "the Jacobian of sublayer %zu at sequence %zu, position %zu asked for; linearised are sublayers %zu to "
                       "%zu of %zu windows of %zu tokens",
                       s, sequence, position, g->first, g->last, g->batch.sequences, g->batch.length));
    if (ds_backward_closed(g, s)) {
        memset(jacobian, 0, size * size * sizeof *jacobian);
        for (size_t i = 0; i < size; i++) jacobian[i * size + i] = 1;
        goto done;
    }
    DS_TRY(ds_backward_sublayer_begin(&b, g, s));
    DS_TRY(ds_pass_run(&b.pass, tasks->restore));
    DS_TRY(tasks->token_jacobian(&b, jacobian, sequence, position));
done:
    return status;
}

/* ---- sums of squares --------------------------------------------------------------------------------------------------------------------- */

void ds_path_squares_add(ds_path_squares *sum, const ds_path_squares *tokens, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sum->shortcut += tokens[i].shortcut;
        sum->direction += tokens[i].direction;
        sum->gate += tokens[i].gate;
        sum->value += tokens[i].value;
        sum->total += tokens[i].total;
        sum->shortcut_total += tokens[i].shortcut_total;
        sum->error += tokens[i].error;
    }
}

ds_path_norms ds_path_squares_norms(const ds_path_squares *sum) {
    double shortcut = sqrt(sum->shortcut), total = sqrt(sum->total);
    bool cosine = shortcut > 0 && total > 0;
    return (ds_path_norms){.shortcut = shortcut,
                           .direction = sqrt(sum->direction),
                           .gate = sqrt(sum->gate),
                           .value = sqrt(sum->value),
                           .total = total,
                           .cosine_shortcut_total = cosine ? sum->shortcut_total / (shortcut * total) : 0,
                           .sum_error = total > 0 ? sqrt(sum->error) / total : 0};
}
