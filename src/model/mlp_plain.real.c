/* The MLP sublayer without a gate: h = down act(up c), act being GELU by the error function or by its tanh form. */
#include "tiles.h"

typedef struct plain_mlp {
    ds_linear_map up, down;
} plain_mlp;

static plain_mlp mlp_of(const ds_pass *pass) {
    const ds_layer_weights *layer = ds_pass_layer(pass);
    return (plain_mlp){ds_map_of(pass->model, layer->up, layer->up_bias),
                       ds_map_of(pass->model, layer->down, layer->down_bias)};
}

static void activation_forward(REAL *y, const REAL *x, size_t count, const ds_spec *spec) {
    if (spec->mlp == DS_MLP_GELU_TANH)
        REAL_NAME(ds_gelu_tanh_forward)(y, x, count);
    else
        REAL_NAME(ds_gelu_forward)(y, x, count);
}

/* dx = act'(x) dy, so also the tangent. */
static void activation_backward(REAL *dx, const REAL *dy, const REAL *x, size_t count, const ds_spec *spec) {
    if (spec->mlp == DS_MLP_GELU_TANH)
        REAL_NAME(ds_gelu_tanh_backward)(dx, dy, x, count);
    else
        REAL_NAME(ds_gelu_backward)(dx, dy, x, count);
}

ds_status REAL_NAME(ds_plain_mlp_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    const plain_mlp mlp = mlp_of(pass);
    ds_workspace *w = pass->workspace;
    ds_scratch *scratch = &w->scratch[worker];
    ds_tile tile = ds_tile_of(pass, task);
    const REAL *x_in = w->x_in != NULL ? ROWS(w->x_in, tile, spec->hidden) /* of the step before */
                                       : REAL_NAME(ds_sublayer_read)(pass, tile, scratch->x_in);
    REAL_NAME(ds_sublayer_input_forward)(pass, tile, scratch->context, scratch->coefficient_hidden, x_in);
    REAL *up = pass->tape != NULL ? ROWS(pass->tape->mlp_up, tile, spec->mlp_hidden) : scratch->up;
    REAL_NAME(ds_map_forward)(up, scratch->context, &mlp.up, tile.rows);
    activation_forward(scratch->gate, up, tile.rows * spec->mlp_hidden, spec);
    REAL_NAME(ds_map_forward)(scratch->branch, scratch->gate, &mlp.down, tile.rows);
    REAL_NAME(ds_sublayer_output_forward)(pass, tile, scratch->branch);
    return DS_OK;
}

ds_status REAL_NAME(ds_plain_mlp_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const plain_mlp mlp = mlp_of(&b->pass);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, f = spec->mlp_hidden, count = tile.rows * f;
    const REAL *up = ROWS(b->tape->mlp_up, tile, f);
    REAL *dup = ROWS(g->dup, tile, f), *dcontext = g->scratch[worker].context;
    REAL_NAME(ds_sublayer_input_again)(b, tile);
    REAL_NAME(ds_sublayer_output_backward)(b, tile);
    if (b->parameters) activation_forward(ROWS(g->gated, tile, f), up, count, spec);
    REAL_NAME(ds_map_backward)(dup, ROWS(g->dbranch, tile, d), &mlp.down, tile.rows);
    activation_backward(dup, dup, up, count, spec);
    REAL_NAME(ds_bias_sums)(b, tile, &mlp.down, g->layout.output_bias, ROWS(g->dbranch, tile, d));
    REAL_NAME(ds_bias_sums)(b, tile, &mlp.up, g->layout.up_bias, dup);
    REAL_NAME(ds_map_backward)(dcontext, dup, &mlp.up, tile.rows);
    REAL_NAME(ds_sublayer_input_backward)(b, tile, dcontext);
    return DS_OK;
}

ds_status REAL_NAME(ds_plain_mlp_parameters)(ds_derivative *b) {
    ds_status status;
    const ds_gradient *g = b->gradient;
    const plain_mlp mlp = mlp_of(&b->pass);
    DS_TRY(ds_map_job_add(b, &mlp.up, g->dup, g->context));
    DS_TRY(ds_map_job_add(b, &mlp.down, g->dbranch, g->gated));
    REAL_NAME(ds_sum_bias)(b, &mlp.up, g->layout.up_bias);
    REAL_NAME(ds_sum_bias)(b, &mlp.down, g->layout.output_bias);
    DS_TRY(REAL_NAME(ds_sublayer_parameters)(b));
done:
    return status;
}

ds_status REAL_NAME(ds_plain_mlp_tangent_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const plain_mlp mlp = mlp_of(&b->pass);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, f = spec->mlp_hidden;
    REAL *dup = ROWS(g->dup, tile, f);
    (void)worker;
    REAL_NAME(ds_map_linear)(dup, ROWS(g->dcontext, tile, d), &mlp.up, tile.rows);
    activation_backward(dup, dup, ROWS(b->tape->mlp_up, tile, f), tile.rows * f, spec);
    REAL_NAME(ds_map_linear)(ROWS(g->dbranch, tile, d), dup, &mlp.down, tile.rows);
    REAL_NAME(ds_sublayer_output_tangent)(b, tile);
    return DS_OK;
}

void REAL_NAME(ds_plain_mlp_directions)(const ds_derivative *b, ds_tile token, void *dbranch, const void *dcontext,
                                        size_t count, void *first, void *second) {
    const ds_spec *spec = &b->pass.model->spec;
    const plain_mlp mlp = mlp_of(&b->pass);
    size_t f = spec->mlp_hidden;
    REAL *dup = first;
    (void)second;
    REAL_NAME(ds_map_linear)(dup, dcontext, &mlp.up, count);
    for (size_t i = 0; i < count; i++, dup += f) activation_backward(dup, dup, ROWS(b->tape->mlp_up, token, f), f, spec);
    REAL_NAME(ds_map_linear)(dbranch, first, &mlp.down, count);
}
