/* Where a sublayer joins the residual state, whatever its branch and the rule: from the state to the branch's input c and
 * the rule's coefficients, and from the branch's output h to the new state (rule.h). */
#include "tiles.h"

static ds_norm norm_of(const ds_pass *pass) {
    const ds_layer_weights *layer = ds_pass_layer(pass);
    return ds_pass_half(pass) == 0 ? layer->ln_1 : layer->ln_2;
}

/* ---- input ------------------------------------------------------------------------------------------------------------ */

const REAL *REAL_NAME(ds_sublayer_read)(const ds_pass *pass, ds_tile tile, REAL *x_in) {
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_RULE);
    const REAL *read = RULE(pass)->read_forward(pass, tile, x_in);
    (void)ds_activity_turn(before);
    return read;
}

/* Of its own where the read needs other tokens' states. */
ds_status REAL_NAME(ds_read_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    (void)REAL_NAME(ds_sublayer_read)(pass, tile, ROWS(pass->workspace->x_in, tile, pass->model->spec.hidden));
    return DS_OK;
}

ds_status REAL_NAME(ds_read_alone_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    REAL *out = ROWS(pass->hidden, tile, pass->model->spec.hidden);
    (void)worker;
    const REAL *read = REAL_NAME(ds_sublayer_read)(pass, tile, out);
    if (read != out) memcpy(out, read, tile.rows * pass->model->spec.hidden * sizeof *out);
    return DS_OK;
}

ds_status REAL_NAME(ds_mix_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    RULE(pass)->mix(pass, tile, (double *)pass->hidden + tile.token * (pass->sublayer + 1));
    return DS_OK;
}

ds_status REAL_NAME(ds_route_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    (void)worker;
    RULE(pass)->route(pass, ds_tile_of(pass, task), pass->hidden);
    return DS_OK;
}

void REAL_NAME(ds_sublayer_input_forward)(const ds_pass *pass, ds_tile tile, REAL *context, REAL *hidden, const REAL *x_in) {
    const ds_spec *spec = &pass->model->spec;
    const ds_rule_steps *rule = RULE(pass);
    BACKBONE(pass)->norm_forward(context, x_in, spec, norm_of(pass), tile.rows);
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_RULE);
    if (rule->coefficients_forward != NULL) rule->coefficients_forward(pass, tile, context, x_in, hidden);
    (void)ds_activity_turn(before);
}

const REAL *REAL_NAME(ds_sublayer_x_in)(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    return ROWS(spec->rule->reads_in_place(spec) ? b->pass.state : b->gradient->x_in, tile, spec->hidden);
}

void REAL_NAME(ds_sublayer_input_again)(const ds_derivative *b, ds_tile tile) {
    const ds_gradient *g = b->gradient;
    size_t d = b->pass.model->spec.hidden;
    const REAL *x_in = REAL_NAME(ds_sublayer_read)(&b->pass, tile, ROWS(g->x_in, tile, d));
    REAL *hidden = g->coefficient_hidden != NULL ? ROWS(g->coefficient_hidden, tile, g->coefficient_width) : NULL;
    REAL_NAME(ds_sublayer_input_forward)(&b->pass, tile, ROWS(g->context, tile, d), hidden, x_in);
}

static void norm_backward(const ds_derivative *b, ds_tile tile, REAL *dx_in, const REAL *dcontext, bool sums) {
    const ds_spec *spec = &b->pass.model->spec;
    double *dnorm = sums ? ds_partial_at(b, tile, b->gradient->layout.norm) : NULL;
    BACKBONE(&b->pass)->norm_backward(dx_in, dnorm, dcontext, REAL_NAME(ds_sublayer_x_in)(b, tile), spec, norm_of(&b->pass),
                                      tile.rows);
}

/* What comes to x_in by each path alone; dcontext is what the branch gives. */
static void split_paths(const ds_derivative *b, ds_tile tile, const REAL *dcontext) {
    const ds_rule_steps *rule = RULE(&b->pass);
    size_t d = b->pass.model->spec.hidden, bytes = tile.rows * d * sizeof(REAL);
    void *const *paths = b->gradient->dx_paths;
    norm_backward(b, tile, ROWS(paths[DS_PATH_BRANCH], tile, d), dcontext, false);
    if (rule->context_backward != NULL) {
        REAL *through_context = ROWS(paths[DS_PATH_CONTEXT], tile, d);
        memset(through_context, 0, bytes);
        rule->context_backward(b, tile, through_context, false);
        norm_backward(b, tile, through_context, through_context, false);
    }
    if (rule->input_backward != NULL) {
        REAL *through_input = ROWS(paths[DS_PATH_INPUT], tile, d);
        memset(through_input, 0, bytes);
        rule->input_backward(b, tile, REAL_NAME(ds_sublayer_x_in)(b, tile), through_input, false);
    }
}

void REAL_NAME(ds_sublayer_input_backward)(const ds_derivative *b, ds_tile tile, REAL *dcontext) {
    const ds_rule_steps *rule = RULE(&b->pass);
    REAL *dx_in = ROWS(b->gradient->dx_in, tile, b->pass.model->spec.hidden);
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_RULE);
    if (b->paths) split_paths(b, tile, dcontext);
    if (rule->context_backward != NULL) rule->context_backward(b, tile, dcontext, true);
    (void)ds_activity_turn(before);
    norm_backward(b, tile, dx_in, dcontext, true);
    (void)ds_activity_turn(DS_ACTIVITY_RULE);
    if (rule->input_backward != NULL) rule->input_backward(b, tile, REAL_NAME(ds_sublayer_x_in)(b, tile), dx_in, true);
    if (rule->read_sums != NULL) rule->read_sums(b, tile);
    (void)ds_activity_turn(before);
}

void REAL_NAME(ds_sublayer_input_tangent)(const ds_derivative *b, ds_tile tile, size_t worker) {
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_rule_steps *rule = RULE(&b->pass);
    const REAL *dx_in = rule->read_tangent(b, tile, ROWS(g->dx_in, tile, spec->hidden));
    REAL *dcontext = ROWS(g->dcontext, tile, spec->hidden);
    BACKBONE(&b->pass)->norm_tangent(dcontext, dx_in, REAL_NAME(ds_sublayer_x_in)(b, tile), spec, norm_of(&b->pass), tile.rows);
    if (rule->coefficients_tangent != NULL) rule->coefficients_tangent(b, tile, dcontext, dx_in, worker);
}

ds_status REAL_NAME(ds_inputs_again_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    ds_tile tile = ds_tile_of(&b->pass, task);
    (void)worker;
    REAL_NAME(ds_sublayer_input_again)(b, tile);
    if (ds_pass_half(&b->pass) == 0) REAL_NAME(ds_qkv_again)(b, tile);
    return DS_OK;
}

/* A step of its own where writing the state has to wait until every tile has read it. */
ds_status REAL_NAME(ds_inputs_tangent_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    ds_tile tile = ds_tile_of(&b->pass, task);
    REAL_NAME(ds_sublayer_input_again)(b, tile);
    REAL_NAME(ds_sublayer_input_tangent)(b, tile, worker);
    return DS_OK;
}

/* ---- output ----------------------------------------------------------------------------------------------------------- */

/* The first row whose new state is not finite; tile.rows: none. */
static size_t write_state(const ds_pass *pass, ds_tile tile, REAL *h) {
    enum { BYTES_COPIED = 1 << 14 };
    size_t d = pass->model->spec.hidden, token_size = ds_spec_planes(&pass->model->spec) * d, bad = tile.rows;
    if (pass->next == NULL) return RULE(pass)->write_forward(pass, tile, h);
    ds_pass into = *pass;
    into.state = pass->next;
    size_t some = ds_max_size(1, BYTES_COPIED / (token_size * sizeof(REAL)));
    for (size_t row = 0; row < tile.rows; row += some) { /* copied, and written while they are in the first-level cache */
        ds_tile part = tile;
        part.first += row;
        part.token += row;
        part.rows = ds_min_size(some, tile.rows - row);
        REAL_NAME(ds_record)(pass->next, ROWS(pass->state, part, token_size), part, token_size);
        size_t found = RULE(pass)->write_forward(&into, part, h + row * d);
        if (found < part.rows) bad = ds_min_size(bad, row + found);
    }
    return bad;
}

void REAL_NAME(ds_sublayer_output_forward)(const ds_pass *pass, ds_tile tile, REAL *h) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    size_t token_size = ds_spec_planes(spec) * spec->hidden;
    if (pass->tape != NULL) {
        REAL_NAME(ds_record)(pass->tape->branch, h, tile, spec->hidden);
        if (pass->tape->record_only) return;
    }
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_RULE);
    if ((pass->wants & DS_OBSERVE_STATES) != 0)
        REAL_NAME(ds_record)(w->before, ROWS(pass->state, tile, token_size), tile, token_size);
    size_t row = write_state(pass, tile, h);
    w->not_finite[tile.sequence * pass->tiles + tile.index] = row < tile.rows ? tile.first + row : pass->batch->length;
    (void)ds_activity_turn(before);
}

void REAL_NAME(ds_sublayer_output_backward)(const ds_derivative *b, ds_tile tile) {
    double *partial = ds_partial_of(b, tile);
    if (partial != NULL) memset(partial, 0, b->gradient->layout.count * sizeof *partial);
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_RULE);
    RULE(&b->pass)->write_backward(b, tile);
    (void)ds_activity_turn(before);
}

void REAL_NAME(ds_sublayer_output_tangent)(const ds_derivative *b, ds_tile tile) { RULE(&b->pass)->write_tangent(b, tile); }

/* ---- back to the state ------------------------------------------------------------------------------------------------ */

/* `parts` (DS_PATHS+2,planes,d) starts with the shortcut's; the rest is scratch. */
static ds_path_squares measure_paths(const ds_derivative *b, REAL *parts, const REAL *total, size_t token, size_t future) {
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    size_t count = ds_spec_planes(spec) * spec->hidden;
    REAL *error = parts + (DS_PATHS + 1) * count;
    ds_path_squares squares = {.shortcut = REAL_NAME(ds_dot)(parts, parts, count),
                               .total = REAL_NAME(ds_dot)(total, total, count),
                               .shortcut_total = REAL_NAME(ds_dot)(parts, total, count)};
    memcpy(error, parts, count * sizeof *error);
    for (size_t p = 0; p < DS_PATHS; p++) {
        REAL *part = parts + (p + 1) * count;
        bool of_state = p == DS_PATH_INPUT && RULE(&b->pass)->state_coefficients_backward != NULL;
        if (g->dx_paths[p] == NULL && !of_state) continue;
        memset(part, 0, count * sizeof *part);
        if (!b->identity && !of_state) RULE(&b->pass)->read_backward(b, part, g->dx_paths[p], token, future);
        if (!b->identity && of_state) RULE(&b->pass)->state_coefficients_backward(b, part, token);
        squares.parts[p] = REAL_NAME(ds_dot)(part, part, count);
        for (size_t i = 0; i < count; i++) error[i] += part[i];
    }
    for (size_t i = 0; i < count; i++) error[i] -= total[i];
    squares.error = REAL_NAME(ds_dot)(error, error, count);
    return squares;
}

/* From the gradient of x_in, and along the shortcut, to that of the state. The readout has no shortcut. */
ds_status REAL_NAME(ds_state_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_rule_steps *rule = RULE(&b->pass);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t count = ds_spec_planes(spec) * spec->hidden;
    bool shortcut = !b->identity && b->pass.sublayer < ds_spec_sublayers(spec) && rule->shortcut_backward != NULL;
    REAL *state = ROWS(b->state, tile, count), *parts = g->scratch[worker].token;
    (void)ds_activity_turn(DS_ACTIVITY_RULE);
    for (size_t t = 0; t < tile.rows; t++, state += count) {
        size_t token = tile.token + t, future = b->pass.batch->length - 1 - (tile.first + t);
        if (shortcut) rule->shortcut_backward(b, state, token);
        if (b->paths) memcpy(parts, state, count * sizeof *parts);
        if (!b->identity) rule->read_backward(b, state, g->dx_in, token, future);
        if (!b->identity && rule->state_coefficients_backward != NULL) rule->state_coefficients_backward(b, state, token);
        if (b->paths) g->squares[token] = measure_paths(b, parts, state, token, future);
        if (b->norms) g->norm2[token] = REAL_NAME(ds_dot)(state, state, count);
    }
    return DS_OK;
}

ds_status REAL_NAME(ds_sublayer_parameters)(ds_derivative *b) {
    ds_status status = DS_OK;
    const ds_rule_steps *rule = RULE(&b->pass);
    REAL_NAME(ds_sum_norm)(b, norm_of(&b->pass));
    if (rule->read_parameters != NULL) rule->read_parameters(b);
    if (rule->coefficient_parameters != NULL) DS_TRY(rule->coefficient_parameters(b));
done:
    return status;
}
