/* The own-token Jacobian of one sublayer: X[t] enters the new X'[t] through the shortcut and through x_in alone, so
 *   dX'[t] = A dX[t] + M dx_in,   dx_in[i] = sum_j tap[j][i] dX[t][i][j]
 * and M (d*dv, d) takes d passes of forward mode, done together as the rows of matrices. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backward_tiles.h"
#include "rule_delta.h"

/* Row i holds the tangent along feature i of x_in. */
typedef struct directions {
    ds_tile token;                        /* a tile of one row */
    size_t count;                         /* d */
    REAL *dx_in, *dcontext, *dbranch;     /* (d,d) */
    REAL *first, *second;                 /* (d,max(f,H*h)) */
    REAL *projections[DS_PROJECTIONS];    /* (d,H*h) */
    REAL *scores;                         /* (d,T) */
    REAL *mix;                            /* (d,H) */
    REAL *row[2], *gate_hidden, *weights; /* (H*h), (g), (T) */
    REAL *memory;
    double *dbeta, *dvalue, *u, *du; /* (d), (d,dv), (dv), (dv) */
} directions;

static void directions_release(directions *v) {
    free(v->memory);
    free(v->dbeta);
}

static ds_status directions_init(directions *v, const ds_backward_pass *b, size_t sequence, size_t position) {
    ds_status status = DS_OK;
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels, width = spec->heads * spec->head_dim, length = b->pass.batch->length;
    size_t wide = ds_max_size(spec->mlp_hidden, width);
    *v = (directions){.count = d};
    v->token = (ds_tile){.sequence = sequence,
                         .index = position / DS_TILE_ROWS,
                         .first = position,
                         .rows = 1,
                         .token = sequence * length + position};
    const size_t counts[] = {d * d,     d * d,      d * d,           d * wide, d * wide, d * width,         d * width,
                             d * width, d * length, d * spec->heads, width,    width,    spec->gate_hidden, length};
    REAL **const arrays[] = {&v->dx_in,          &v->dcontext,       &v->dbranch,        &v->first,  &v->second,
                             &v->projections[0], &v->projections[1], &v->projections[2], &v->scores, &v->mix,
                             &v->row[0],         &v->row[1],         &v->gate_hidden,    &v->weights};
    size_t total = 0;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) total += counts[i];
    DS_NEW_ARRAY(v->memory, total);
    DS_NEW_ARRAY(v->dbeta, d + d * dv + 2 * dv);
    v->dvalue = v->dbeta + d;
    v->u = v->dvalue + d * dv;
    v->du = v->u + dv;
    REAL *at = v->memory;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; at += counts[i++]) *arrays[i] = at;
done:
    if (status != DS_OK) directions_release(v);
    return status;
}

static void linear(REAL *y, const REAL *x, const ds_parameter *weight, size_t rows) {
    size_t out = weight->shape[0], in = weight->shape[1];
    REAL_NAME(ds_gemm_nt)(y, out, x, in, VALUES(weight), in, rows, out, in);
}

static void enter(const ds_backward_pass *b, const directions *v) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    size_t d = v->count;
    const REAL *x_in = REAL_NAME(ds_backward_x_in)(b, v->token), *norm = VALUES(b->half == 0 ? layer->ln_1 : layer->ln_2);
    memset(v->dx_in, 0, d * d * sizeof *v->dx_in);
    for (size_t i = 0; i < d; i++) {
        v->dx_in[i * d + i] = 1;
        REAL_NAME(ds_rmsnorm_tangent)(v->dcontext + i * d, v->dx_in + i * d, x_in, norm, 1, d, spec->norm_eps);
    }
    if (spec->rule != &ds_rule_delta) return;
    REAL_NAME(ds_tangent_gate)(b, v->dbeta, v->dcontext, v->token.token, true, d, v->gate_hidden);
    REAL_NAME(ds_tangent_value)(b, v->dvalue, v->dx_in, v->token.token, true, d);
}

static void through_mlp(const ds_backward_pass *b, const directions *v) {
    const ds_layer_weights *layer = ds_backward_layer(b);
    size_t f = b->pass.model->spec.mlp_hidden;
    const REAL *gate = ROWS(b->tape->mlp_gate, v->token, f), *up = ROWS(b->tape->mlp_up, v->token, f);
    linear(v->first, v->dcontext, layer->gate, v->count);
    linear(v->second, v->dcontext, layer->up, v->count);
    for (size_t i = 0; i < v->count; i++)
        REAL_NAME(ds_swiglu_tangent)(v->first + i * f, v->first + i * f, v->second + i * f, gate, up, f);
    linear(v->dbranch, v->first, layer->down, v->count);
}

/* y_t = a y_{t-1} + (1-a) y_t with the token before held: dy = (1-a) dx + da (x_{t-1} - x_t). */
static void shift_own(const ds_backward_pass *b, const directions *v, REAL *dx, const ds_projection *p,
                      const ds_parameter *weight) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t heads = spec->heads, width = heads * spec->head_dim;
    const REAL *mix = ROWS(p->mix, v->token, heads), *now = ROWS(p->raw, v->token, width);
    const REAL *then = v->token.first > 0 ? now - width : NULL;
    linear(v->mix, v->dcontext, weight, v->count);
    for (size_t row = 0; row < v->count; row++, dx += width) {
        for (size_t i = 0; i < width; i++) {
            size_t head = i / spec->head_dim;
            REAL a = mix[head], da = v->mix[row * heads + head] * a * (1 - a), before = then != NULL ? then[i] : 0;
            dx[i] = (1 - a) * dx[i] + da * (before - now[i]);
        }
    }
}

static void project(const ds_backward_pass *b, const directions *v) {
    const ds_layer_weights *layer = ds_backward_layer(b);
    const ds_parameter *weights[] = {layer->query, layer->key, layer->value},
                       *shifts[] = {NULL, layer->key_shift, layer->value_shift};
    size_t width = b->pass.model->spec.heads * b->pass.model->spec.head_dim;
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = REAL_NAME(ds_projection_of)(b, which);
        REAL *dx = v->projections[which];
        linear(dx, v->dcontext, weights[which], v->count);
        if (shifts[which] != NULL) shift_own(b, v, dx, &p, shifts[which]);
        REAL_NAME(ds_projection_shifted)(v->row[0], b, v->token, &p);
        for (size_t i = 0; i < v->count; i++)
            REAL_NAME(ds_tangent_shape)(dx + i * width, b, v->token, &p, v->row[0], v->row[1]);
    }
}

/* One head of the token's attention row; its own key and value move with it. */
static void attend(const ds_backward_pass *b, const directions *v, size_t head) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_workspace *w = b->gradient->workspace;
    size_t h = spec->head_dim, width = spec->heads * h, position = v->token.first, seen = position + 1, d = v->count;
    size_t keys = (v->token.token - position) * width + head * h;
    const REAL *key = (const REAL *)w->key + keys, *value = (const REAL *)w->value + keys;
    const REAL *query = (const REAL *)w->query + keys + position * width;
    const REAL *dquery = v->projections[DS_QUERY] + head * h, *dkey = v->projections[DS_KEY] + head * h;
    const REAL *dvalue = v->projections[DS_VALUE] + head * h;
    REAL *out = v->first + head * h, *p = v->weights, inverse;
    double scale = 1 / sqrt((double)h);
    REAL_NAME(ds_gemm_nt)(p, seen, query, width, key, width, 1, seen, h);
    REAL_NAME(ds_softmax_causal_forward)(p, &inverse, seen, 1, seen, position, scale);
    REAL_NAME(ds_scale_rows)(p, seen, &inverse, 1, seen);
    REAL_NAME(ds_gemm_nt)(v->scores, seen, dquery, width, key, width, d, seen, h);
    for (size_t i = 0; i < d; i++) {
        REAL *row = v->scores + i * seen;
        row[position] += (REAL)REAL_NAME(ds_dot)(query, dkey + i * width, h);
        REAL_NAME(ds_softmax_causal_backward)(row, p, seen, 1, seen, position, scale);
    }
    REAL_NAME(ds_gemm_nn)(out, width, v->scores, seen, value, width, d, h, seen);
    for (size_t i = 0; i < d; i++)
        for (size_t c = 0; c < h; c++) out[i * width + c] += p[position] * dvalue[i * width + c];
}

static void through_attention(const ds_backward_pass *b, const directions *v) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    size_t width = spec->heads * spec->head_dim;
    project(b, v);
    for (size_t head = 0; head < spec->heads; head++) attend(b, v, head);
    const REAL *gate = NULL;
    if (spec->output_gate) {
        gate = ROWS(b->tape->gate, v->token, width);
        linear(v->second, v->dcontext, layer->output_gate, v->count);
    }
    for (size_t i = 0; i < v->count; i++) REAL_NAME(ds_tangent_finish)
    (v->first + i * width, v->second + i * width, ROWS(b->tape->heads, v->token, width), gate, v->row[0], b, v->token);
    linear(v->dbranch, v->first, layer->attention, v->count);
}

/* ---- assembly: row i*dv+j of the published order ----------------------------------------------------------------------------- */

/* dX'[t] (dv,d) along feature `input` of x_in, into column input*dv + j of the Jacobian, times this channel's tap. */
static void put_branch(const ds_backward_pass *b, const directions *v, double *jacobian, const REAL *k, size_t input) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_taps *taps = &ds_backward_layer(b)->compress;
    size_t d = v->count, dv = spec->value_channels, size = d * dv;
    size_t kernel = spec->compressor == DS_COMPRESS_TC ? spec->state_kernel : 1;
    const REAL *along = v->dbranch + input * d;
    for (size_t column = 0; column < dv; column++) {
        double tap = 1;
        if (spec->compressor != DS_COMPRESS_NONE)
            tap = (double)((const REAL *)taps->taps)[(column * kernel + kernel - 1) * d + input];
        if (spec->compressor == DS_COMPRESS_TC) tap *= (double)VALUES(taps->read)[column];
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < dv; j++)
                jacobian[(i * dv + j) * size + input * dv + column] +=
                    tap * ((double)along[i] * v->u[j] + (k != NULL ? (double)k[i] * v->du[j] : 0));
    }
}

static void put_shortcut(double *jacobian, const REAL *k, double strength, size_t d, size_t dv) {
    size_t size = d * dv;
    memset(jacobian, 0, size * size * sizeof *jacobian);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < dv; j++) {
            double *row = jacobian + (i * dv + j) * size;
            row[i * dv + j] = 1;
            if (k == NULL || strength == 0) continue;
            for (size_t l = 0; l < d; l++) row[l * dv + j] -= strength * (double)k[i] * (double)k[l];
        }
    }
}

ds_status REAL_NAME(ds_tangent_token)(ds_backward_pass *b, double *jacobian, size_t sequence, size_t position) {
    ds_status status;
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels;
    directions v;
    DS_TRY(directions_init(&v, b, sequence, position));
    enter(b, &v);
    if (b->half == 0)
        through_attention(b, &v);
    else
        through_mlp(b, &v);
    const REAL *h = ROWS(b->tape->branch, v.token, d);
    bool delta = spec->rule == &ds_rule_delta;
    REAL *k = delta ? v.dcontext : NULL; /* no longer needed for the tangents of c */
    double strength = 0;
    if (delta) (void)REAL_NAME(ds_direction_forward)(k, h, d, spec->k_eps);
    if (delta && ds_delta_form_of(b->pass.force).erase)
        strength = spec->residual_mult * b->gradient->workspace->beta[v.token.token];
    put_shortcut(jacobian, k, strength, d, dv);
    v.u[0] = spec->residual_mult; /* additive: dX' = m dh */
    for (size_t i = 0; i < d; i++) {
        REAL *dk = v.dbranch + i * d;
        if (delta) {
            REAL_NAME(ds_direction_backward)(dk, dk, h, d, spec->k_eps);
            REAL_NAME(ds_tangent_edit)
            (b, v.u, v.du, v.token.token, k, dk, NULL, v.dbeta[i], v.dvalue + i * dv);
        }
        put_branch(b, &v, jacobian, k, i);
    }
    directions_release(&v);
done:
    return status;
}
