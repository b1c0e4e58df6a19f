/* The gated MLP sublayer: h = down (silu(gate c) * (up c)) (MODEL.md "Forward pass"), each projection with a bias where the
 * model has one. */
#include "tiles.h"

typedef struct gated_mlp {
    ds_linear_map gate, up, down;
} gated_mlp;

static gated_mlp mlp_of(const ds_pass *pass) {
    const ds_layer_weights *layer = ds_pass_layer(pass);
    return (gated_mlp){ds_map_of(pass->model, layer->gate, layer->gate_bias), ds_map_of(pass->model, layer->up, layer->up_bias),
                       ds_map_of(pass->model, layer->down, layer->down_bias)};
}

ds_status REAL_NAME(ds_mlp_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    const gated_mlp mlp = mlp_of(pass);
    ds_workspace *w = pass->workspace;
    ds_scratch *scratch = &w->scratch[worker];
    ds_tile tile = ds_tile_of(pass, task);
    const REAL *x_in = w->x_in != NULL ? ROWS(w->x_in, tile, spec->hidden) /* of the step before */
                                       : REAL_NAME(ds_sublayer_read)(pass, tile, scratch->x_in);
    REAL_NAME(ds_sublayer_input_forward)(pass, tile, scratch->context, scratch->coefficient_hidden, x_in);
    REAL *gate = pass->tape != NULL ? ROWS(pass->tape->mlp_gate, tile, spec->mlp_hidden) : scratch->gate;
    REAL *up = pass->tape != NULL ? ROWS(pass->tape->mlp_up, tile, spec->mlp_hidden) : scratch->up;
    REAL_NAME(ds_map_forward)(gate, scratch->context, &mlp.gate, tile.rows);
    REAL_NAME(ds_map_forward)(up, scratch->context, &mlp.up, tile.rows);
    REAL_NAME(ds_swiglu_forward)(scratch->gate, gate, up, tile.rows * spec->mlp_hidden);
    REAL_NAME(ds_map_forward)(scratch->branch, scratch->gate, &mlp.down, tile.rows);
    REAL_NAME(ds_sublayer_output_forward)(pass, tile, scratch->branch);
    return DS_OK;
}

ds_status REAL_NAME(ds_mlp_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const gated_mlp mlp = mlp_of(&b->pass);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = b->pass.model->spec.hidden, f = b->pass.model->spec.mlp_hidden, count = tile.rows * f;
    const REAL *gate = ROWS(b->tape->mlp_gate, tile, f), *up = ROWS(b->tape->mlp_up, tile, f);
    REAL *dgate = ROWS(g->dgate, tile, f), *dup = ROWS(g->dup, tile, f), *dcontext = g->scratch[worker].context;
    REAL_NAME(ds_sublayer_input_again)(b, tile);
    REAL_NAME(ds_sublayer_output_backward)(b, tile);
    if (b->parameters) REAL_NAME(ds_swiglu_forward)(ROWS(g->gated, tile, f), gate, up, count);
    REAL_NAME(ds_map_backward)(dup, ROWS(g->dbranch, tile, d), &mlp.down, tile.rows);
    REAL_NAME(ds_swiglu_backward)(dgate, dup, dup, gate, up, count);
    REAL_NAME(ds_bias_sums)(b, tile, &mlp.down, g->layout.output_bias, ROWS(g->dbranch, tile, d));
    REAL_NAME(ds_bias_sums)(b, tile, &mlp.gate, g->layout.gate_bias, dgate);
    REAL_NAME(ds_bias_sums)(b, tile, &mlp.up, g->layout.up_bias, dup);
    REAL_NAME(ds_map_backward)(dcontext, dgate, &mlp.gate, tile.rows);
    REAL_NAME(ds_map_backward_add)(dcontext, dup, &mlp.up, tile.rows);
    REAL_NAME(ds_sublayer_input_backward)(b, tile, dcontext);
    return DS_OK;
}

ds_status REAL_NAME(ds_mlp_parameters)(ds_derivative *b) {
    ds_status status;
    const ds_gradient *g = b->gradient;
    const gated_mlp mlp = mlp_of(&b->pass);
    DS_TRY(ds_map_job_add(b, &mlp.gate, g->dgate, g->context));
    DS_TRY(ds_map_job_add(b, &mlp.up, g->dup, g->context));
    DS_TRY(ds_map_job_add(b, &mlp.down, g->dbranch, g->gated));
    REAL_NAME(ds_sum_bias)(b, &mlp.gate, g->layout.gate_bias);
    REAL_NAME(ds_sum_bias)(b, &mlp.up, g->layout.up_bias);
    REAL_NAME(ds_sum_bias)(b, &mlp.down, g->layout.output_bias);
    DS_TRY(REAL_NAME(ds_sublayer_parameters)(b));
done:
    return status;
}

ds_status REAL_NAME(ds_mlp_tangent_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const gated_mlp mlp = mlp_of(&b->pass);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = b->pass.model->spec.hidden, f = b->pass.model->spec.mlp_hidden;
    REAL *dgate = ROWS(g->dgate, tile, f), *dup = ROWS(g->dup, tile, f);
    (void)worker;
    REAL_NAME(ds_map_linear)(dgate, ROWS(g->dcontext, tile, d), &mlp.gate, tile.rows);
    REAL_NAME(ds_map_linear)(dup, ROWS(g->dcontext, tile, d), &mlp.up, tile.rows);
    REAL_NAME(ds_swiglu_tangent)
    (dgate, dgate, dup, ROWS(b->tape->mlp_gate, tile, f), ROWS(b->tape->mlp_up, tile, f), tile.rows * f);
    REAL_NAME(ds_map_linear)(ROWS(g->dbranch, tile, d), dgate, &mlp.down, tile.rows);
    REAL_NAME(ds_sublayer_output_tangent)(b, tile);
    return DS_OK;
}

void REAL_NAME(ds_mlp_directions)(const ds_derivative *b, ds_tile token, void *dbranch, const void *dcontext, size_t count,
                                  void *first, void *second) {
    const gated_mlp mlp = mlp_of(&b->pass);
    size_t f = b->pass.model->spec.mlp_hidden;
    const REAL *gate = ROWS(b->tape->mlp_gate, token, f), *up = ROWS(b->tape->mlp_up, token, f);
    REAL *dgate = first, *dup = second;
    REAL_NAME(ds_map_linear)(dgate, dcontext, &mlp.gate, count);
    REAL_NAME(ds_map_linear)(dup, dcontext, &mlp.up, count);
    for (size_t i = 0; i < count; i++, dgate += f, dup += f) REAL_NAME(ds_swiglu_tangent)(dgate, dgate, dup, gate, up, f);
    REAL_NAME(ds_map_linear)(dbranch, first, &mlp.down, count);
}
