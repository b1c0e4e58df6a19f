/* Directs backward passes and tangents: which step runs over which tiles, in which order. The arithmetic is in *.real.c,
 * thing by thing. */
#include <math.h>
#include <string.h>

#include "backbone.h"
#include "rule.h"
#include "steps.h"

/* ---- the tape --------------------------------------------------------------------------------------------------------- */

static bool is_identity(const ds_gradient *g, size_t s) { return ds_sublayer_is_identity(&g->model->spec, s, g->forces[s]); }

static const ds_backbone_steps *backbone_of(const ds_derivative *b) {
    return ds_pass_backbone(&b->pass)->steps[b->pass.model->precision];
}

static ds_status begin(ds_pass *pass, ds_gradient *g, const ds_batch *batch) {
    return ds_pass_begin(pass, g->workspace, g->model, batch);
}

static size_t state_bytes(const ds_gradient *g, const ds_batch *batch) {
    return batch->sequences * batch->length * ds_spec_planes(&g->model->spec) * g->model->spec.hidden *
           ds_precision_size(g->precision);
}

static ds_status set_forces(ds_gradient *g, const ds_force *forces) {
    ds_status status = DS_OK;
    for (size_t s = 0; s < ds_spec_forces(&g->model->spec); s++) {
        g->forces[s] = forces != NULL ? forces[s] : (ds_force){.mode = DS_FORCE_NONE};
        DS_TRY(g->model->spec.rule->check_force(g->forces[s], s));
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
    pass.forces = g->forces;
    for (size_t s = first; s < last; s++) {
        const bool grows = g->states[s + 1] == g->states[s]; /* one array holds them all */
        if (is_identity(g, s)) {
            if (!grows) memcpy(g->states[s + 1], g->states[s], state_bytes(g, batch));
            continue;
        }
        pass.state = g->states[s];
        pass.next = grows ? NULL : g->states[s + 1];
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

/* The pass that goes through sublayer `s`, its tape filled. */
static ds_status begin_sublayer(ds_derivative *b, ds_gradient *g, size_t s) {
    ds_status status = DS_OK;
    b->tape = &g->tapes[s];
    b->identity = false;
    b->pass.sublayer = s;
    b->pass.state = g->states[s];
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

/* ---- one sublayer back ------------------------------------------------------------------------------------------------ */

ds_status ds_grouped_job_add(ds_derivative *b, const ds_linear_map *map, const void *dy, const void *x, size_t groups) {
    ds_status status = DS_OK;
    ds_gradient *g = b->gradient;
    const ds_parameter *weight = map->weight;
    void *storage = g->jobs;
    DS_TRY(ds_grow(&storage, &g->job_capacity, g->job_count + 1, sizeof *g->jobs));
    g->jobs = storage;
    size_t skipped = map->first * (map->inputs_first ? 1 : map->in) * ds_precision_size(g->precision);
    g->jobs[g->job_count++] = (ds_weight_job){.dweight = (char *)g->parameters[weight - b->pass.model->parameters] + skipped,
                                              .dy = map->inputs_first ? x : dy,
                                              .x = map->inputs_first ? dy : x,
                                              .out = map->inputs_first ? map->in : map->out,
                                              .in = map->inputs_first ? map->out : map->in,
                                              .stride = weight->rank > 1 ? weight->shape[1] : 1,
                                              .groups = groups};
done:
    return status;
}

ds_status ds_map_job_add(ds_derivative *b, const ds_linear_map *map, const void *dy, const void *x) {
    return ds_grouped_job_add(b, map, dy, x, 1);
}

ds_status ds_weight_job_add(ds_derivative *b, const ds_parameter *weight, const void *dy, const void *x) {
    if (weight == NULL) return DS_OK;
    const ds_linear_map map = {.weight = weight, .out = weight->shape[0], .in = weight->shape[1]};
    return ds_map_job_add(b, &map, dy, x);
}

/* On as many threads as the workspace has scratch for. */
static ds_status run_tasks(ds_derivative *b, size_t count, ds_task task) {
    return ds_parallel_for_within(b->pass.workspace->workers, count, task, b);
}

static ds_status sublayer_parameters(ds_derivative *b) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_steps *steps = ds_steps_of(b->pass.model);
    size_t tasks = 0;
    g->job_count = 0;
    DS_TRY(ds_pass_half(&b->pass) == 0 ? steps->attention_parameters(b) : backbone_of(b)->mlp_parameters(b));
    for (size_t i = 0; i < g->job_count; i++) tasks += (g->jobs[i].out + DS_WEIGHT_ROWS - 1) / DS_WEIGHT_ROWS;
    DS_TRY(run_tasks(b, tasks, steps->weights_backward));
done:
    return status;
}

/* The gradient passes, nothing else is reached. */
static ds_status identity_backward(ds_derivative *b, size_t s) {
    b->tape = NULL;
    b->identity = true;
    b->pass.sublayer = s;
    return ds_pass_run(&b->pass, ds_steps_of(b->pass.model)->state_backward);
}

/* A tile's last two steps, one after the other: its part of the state is read while it is in the cache. */
typedef struct last_steps {
    ds_derivative *b;
    ds_task inputs;
} last_steps;

static ds_status last_steps_task(void *context, size_t task, size_t worker) {
    ds_status status = DS_OK;
    const last_steps *two = context;
    DS_TRY(two->inputs(two->b, task, worker));
    DS_TRY(ds_steps_of(two->b->pass.model)->state_backward(two->b, task, worker));
done:
    return status;
}

/* From the branch's gradient to the state's; where the read takes other tokens' states every tile waits for all. */
static ds_status inputs_and_state_backward(ds_derivative *b, ds_task inputs) {
    ds_status status = DS_OK;
    last_steps two = {b, inputs};
    if (!ds_rule_reads_other_tokens(&b->pass.model->spec))
        return ds_parallel_for_within(b->pass.workspace->workers, b->pass.batch->sequences * b->pass.tiles, last_steps_task,
                                      &two);
    DS_TRY(ds_pass_run(&b->pass, inputs));
    DS_TRY(ds_pass_run(&b->pass, ds_steps_of(b->pass.model)->state_backward));
done:
    return status;
}

/* Gradient b->state at X_{s+1} -> at X_s. */
static ds_status sublayer_backward(ds_derivative *b, size_t s) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_steps *steps = ds_steps_of(g->model);
    if (is_identity(g, s)) return identity_backward(b, s);
    DS_TRY(begin_sublayer(b, g, s));
    if (ds_pass_half(&b->pass) == 0) {
        DS_TRY(ds_pass_run(&b->pass, steps->attention_output_backward));
        DS_TRY(run_tasks(b, b->pass.batch->sequences * ds_spec_kv_heads(&g->model->spec), steps->attention_scores_backward));
        DS_TRY(ds_pass_run(&b->pass, steps->qkv_transform_backward));
        DS_TRY(inputs_and_state_backward(b, steps->qkv_backward));
    } else {
        DS_TRY(inputs_and_state_backward(b, backbone_of(b)->mlp_backward));
    }
    if (b->parameters) DS_TRY(sublayer_parameters(b));
done:
    return status;
}

/* ---- the loss --------------------------------------------------------------------------------------------------------- */

/* nll, and dloss/dX_S in g->state; *turned <- when the losses were known. */
static ds_status head(ds_derivative *b, double *nll, double *turned) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_model *model = g->model;
    const ds_steps *steps = ds_steps_of(g->model);
    DS_TRY(ds_readout(g->workspace, model, b->pass.batch, g->forces, g->states[g->sublayers], g->hidden));
    b->blocks = (model->spec.vocab + DS_VOCABULARY_BLOCK - 1) / DS_VOCABULARY_BLOCK;
    DS_TRY(ds_pass_run(&b->pass, steps->head_loss));
    DS_TRY(ds_pass_losses(&b->pass, nll, g->workspace->online));
    *turned = ds_seconds();
    for (b->block = 0; b->block < b->blocks; b->block += g->blocks_held) {
        DS_TRY(ds_pass_run(&b->pass, steps->head_backward));
        if (b->parameters) DS_TRY(run_tasks(b, ds_min_size(b->blocks - b->block, g->blocks_held), steps->head_weights));
    }
    b->pass.state = g->states[g->sublayers];
    b->pass.sublayer = g->sublayers;
    DS_TRY(ds_pass_run(&b->pass, steps->readout_backward));
    DS_TRY(ds_pass_run(&b->pass, steps->state_backward));
    if (b->parameters) steps->readout_parameters(b);
done:
    return status;
}

static ds_status embedding(ds_derivative *b) {
    ds_status status;
    ds_gradient *g = b->gradient;
    const ds_steps *steps = ds_steps_of(g->model);
    DS_TRY(ds_pass_run(&b->pass, steps->embed_backward));
    if (b->parameters) steps->embed_parameters(b);
done:
    return status;
}

static ds_status deliver(const ds_derivative *b, size_t index, const ds_gradient_observer *observer) {
    const ds_gradient *g = b->gradient;
    const ds_rule *rule = g->model->spec.rule;
    if (observer == NULL) return DS_OK;
    bool sublayer = index < g->sublayers;
    ds_gradient_event event = {.index = index,
                               .sequences = b->pass.batch->sequences,
                               .length = b->pass.batch->length,
                               .hidden = g->model->spec.hidden,
                               .planes = ds_spec_planes(&g->model->spec),
                               .precision = g->precision,
                               .state = g->states[index],
                               .gradient = b->state,
                               .norm2 = g->norm2,
                               .read_gradient = b->identity ? NULL : g->dx_in,
                               .output_gradient = sublayer && !b->identity ? g->dbranch : NULL,
                               .paths = sublayer && g->paths ? g->squares : NULL};
    if (rule->observe_gradient != NULL) rule->observe_gradient(&event, b);
    return observer->state(observer->context, &event);
}

ds_status ds_backward(ds_gradient *g, const ds_batch *batch, const ds_force *forces, double weight,
                      const ds_gradient_observer *observer, double *nll) {
    ds_status status;
    ds_derivative b = {.gradient = g, .state = g->state, .weight = weight};
    double began = ds_seconds(), turned;
    DS_TRY(begin(&b.pass, g, batch));
    DS_TRY(ds_check_targets(batch, g->model->spec.vocab));
    DS_TRY(set_forces(g, forces));
    b.pass.forces = g->forces;
    DS_TRY(ds_embed(g->workspace, g->model, batch, g->states[0]));
    DS_TRY(record(g, batch, 0, g->sublayers));
    b.parameters = g->parameters != NULL;
    b.norms = observer != NULL;
    DS_TRY(head(&b, nll, &turned));
    DS_TRY(deliver(&b, g->sublayers, observer));
    b.paths = g->paths;
    for (size_t s = g->sublayers; s-- > 0;) {
        DS_TRY(sublayer_backward(&b, s));
        DS_TRY(deliver(&b, s, observer));
    }
    DS_TRY(embedding(&b));
    g->seconds[0] += turned - began;
    g->seconds[1] += ds_seconds() - turned;
done:
    return status;
}

void ds_gradient_seconds(const ds_gradient *g, double *forward, double *backward) {
    *forward = g->seconds[0];
    *backward = g->seconds[1];
}

/* ---- Jacobians -------------------------------------------------------------------------------------------------------- */

ds_status ds_linearise(ds_gradient *g, const ds_batch *batch, void *state, size_t first, size_t last, const ds_force *forces) {
    ds_status status;
    ds_pass pass;
    DS_TRY(begin(&pass, g, batch));
    if (first > last || last > g->sublayers)
        DS_TRY(ds_fail(DS_ERR_USAGE, "sublayers %zu to %zu asked for; the model has %zu", first, last, g->sublayers));
    DS_TRY(set_forces(g, forces));
    memcpy(g->states[first], state, state_bytes(g, batch));
    DS_TRY(record(g, batch, first, last));
    memcpy(state, g->states[last], state_bytes(g, batch));
done:
    return status;
}

static ds_status begin_linear(ds_derivative *b, ds_gradient *g) {
    if (g->batch.sequences == 0) return ds_fail(DS_ERR_USAGE, "a Jacobian asked for before any window was linearised");
    ds_status status = begin(&b->pass, g, &g->batch);
    b->pass.forces = g->forces;
    return status;
}

ds_status ds_adjoint(ds_gradient *g, void *cotangent) {
    ds_status status;
    ds_derivative b = {.gradient = g, .state = cotangent};
    DS_TRY(begin_linear(&b, g));
    for (size_t s = g->last; s-- > g->first;) DS_TRY(sublayer_backward(&b, s));
done:
    return status;
}

static ds_status sublayer_tangent(ds_derivative *b, size_t s) {
    ds_status status;
    const ds_steps *steps = ds_steps_of(b->pass.model);
    const ds_spec *spec = &b->gradient->model->spec;
    if (is_identity(b->gradient, s)) return DS_OK;
    DS_TRY(begin_sublayer(b, b->gradient, s));
    if (ds_pass_half(&b->pass) == 0) {
        DS_TRY(ds_pass_run(&b->pass, steps->qkv_tangent));
        if (spec->k_shift || spec->v_shift) DS_TRY(ds_pass_run(&b->pass, steps->qkv_shift_tangent));
        DS_TRY(ds_pass_run(&b->pass, steps->attention_tangent));
    } else {
        DS_TRY(ds_pass_run(&b->pass, steps->inputs_tangent));
        DS_TRY(ds_pass_run(&b->pass, backbone_of(b)->mlp_tangent));
    }
done:
    return status;
}

ds_status ds_tangent(ds_gradient *g, void *tangent) {
    ds_status status;
    ds_derivative b = {.gradient = g, .state = tangent};
    DS_TRY(begin_linear(&b, g));
    for (size_t s = g->first; s < g->last; s++) DS_TRY(sublayer_tangent(&b, s));
done:
    return status;
}

ds_status ds_token_jacobian(ds_gradient *g, double *jacobian, size_t s, size_t sequence, size_t position) {
    ds_status status;
    ds_derivative b = {.gradient = g};
    const ds_steps *steps = ds_steps_of(g->model);
    size_t size = g->model->spec.hidden * ds_spec_planes(&g->model->spec);
    DS_TRY(begin_linear(&b, g));
    if (g->model->spec.rule->keeps_history)
        DS_TRY(ds_fail(DS_ERR_USAGE,
                       "a sublayer of %s adds to its history and maps no state to another: it has no Jacobian of one token",
                       g->model->spec.rule->name));
    if (s < g->first || s >= g->last || sequence >= g->batch.sequences || position >= g->batch.length)
        DS_TRY(ds_fail(DS_ERR_USAGE,
                       "the Jacobian of sublayer %zu at sequence %zu, position %zu asked for; linearised are sublayers %zu to "
                       "%zu of %zu windows of %zu tokens",
                       s, sequence, position, g->first, g->last, g->batch.sequences, g->batch.length));
    if (is_identity(g, s)) {
        memset(jacobian, 0, size * size * sizeof *jacobian);
        for (size_t i = 0; i < size; i++) jacobian[i * size + i] = 1;
        goto done;
    }
    DS_TRY(begin_sublayer(&b, g, s));
    DS_TRY(ds_pass_run(&b.pass, steps->recompute_inputs));
    DS_TRY(steps->token_jacobian(&b, jacobian, sequence, position));
done:
    return status;
}

/* ---- sums of squares -------------------------------------------------------------------------------------------------- */

void ds_path_squares_add(ds_path_squares *sum, const ds_path_squares *tokens, size_t count) {
    for (size_t i = 0; i < count; i++) {
        sum->shortcut += tokens[i].shortcut;
        for (size_t p = 0; p < DS_PATHS; p++) sum->parts[p] += tokens[i].parts[p];
        sum->total += tokens[i].total;
        sum->shortcut_total += tokens[i].shortcut_total;
        sum->error += tokens[i].error;
    }
}

ds_path_norms ds_path_squares_norms(const ds_path_squares *sum) {
    double shortcut = sqrt(sum->shortcut), total = sqrt(sum->total);
    bool cosine = shortcut > 0 && total > 0;
    ds_path_norms norms = {.shortcut = shortcut,
                           .total = total,
                           .cosine_shortcut_total = cosine ? sum->shortcut_total / (shortcut * total) : 0,
                           .sum_error = total > 0 ? sqrt(sum->error) / total : 0};
    for (size_t p = 0; p < DS_PATHS; p++) norms.parts[p] = sqrt(sum->parts[p]);
    return norms;
}
