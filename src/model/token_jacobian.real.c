/* The own-token Jacobian of one sublayer: X[t] enters the new X'[t] through the shortcut and through x_in alone. The
 * tangents of c and h along every feature of x_in take d passes of forward mode, done together as the rows of matrices; the
 * rule makes the Jacobian of them. */
#include <math.h>
#include <stdlib.h>

#include "tiles.h"

/* Row i holds the tangent along feature i of x_in. */
typedef struct directions {
    ds_token_directions of;
    size_t count;                      /* d */
    REAL *first, *second;              /* (d,max(f,H*h)) */
    REAL *projections[DS_PROJECTIONS]; /* (d,H*h), (d,KV*h), (d,KV*h) */
    REAL *scores;                      /* (d,T) */
    REAL *mix;                         /* (d,KV) */
    REAL *row[2], *weights;            /* (H*h), (T) */
    REAL *dx_in, *dcontext, *dbranch;  /* (d,d): of.dx_in, ... */
    REAL *memory;
} directions;

static ds_status directions_init(directions *v, const ds_derivative *b, size_t sequence, size_t position) {
    ds_status status = DS_OK;
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, width = spec->heads * spec->head_dim, length = b->pass.batch->length;
    size_t wide = ds_max_size(spec->mlp_hidden, width), total = 0;
    *v = (directions){.count = d};
    const struct {
        REAL **array;
        size_t count;
    } arrays[] = {
        {&v->dx_in, d * d},
        {&v->dcontext, d * d},
        {&v->dbranch, d * d},
        {&v->first, d * wide},
        {&v->second, d * wide},
        {&v->projections[DS_QUERY], d * width},
        {&v->projections[DS_KEY], d * width},
        {&v->projections[DS_VALUE], d * width},
        {&v->scores, d * length},
        {&v->mix, d * spec->heads},
        {&v->row[0], width},
        {&v->row[1], width},
        {&v->weights, length},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) total += arrays[i].count;
    DS_NEW_ARRAY(v->memory, total);
    REAL *at = v->memory;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; at += arrays[i++].count) *arrays[i].array = at;
    v->of = (ds_token_directions){.token = {.sequence = sequence,
                                            .index = position / DS_TILE_ROWS,
                                            .first = position,
                                            .rows = 1,
                                            .token = sequence * length + position},
                                  .dx_in = v->dx_in,
                                  .dcontext = v->dcontext,
                                  .dbranch = v->dbranch};
done:
    return status;
}

/* dx_in = I, and dcontext. */
static void through_norm(const ds_derivative *b, const directions *v) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_pass_layer(&b->pass);
    size_t d = v->count;
    const REAL *x_in = REAL_NAME(ds_sublayer_x_in)(b, v->of.token);
    const ds_norm norm = ds_pass_half(&b->pass) == 0 ? layer->ln_1 : layer->ln_2;
    const ds_backbone_steps *backbone = BACKBONE(&b->pass);
    memset(v->dx_in, 0, d * d * sizeof *v->dx_in);
    for (size_t i = 0; i < d; i++) {
        v->dx_in[i * d + i] = 1;
        backbone->norm_tangent(v->dcontext + i * d, v->dx_in + i * d, x_in, spec, norm, 1);
    }
}

/* y_t = a y_{t-1} + (1-a) y_t with the token before held: dy = (1-a) dx + da (x_{t-1} - x_t). */
static void shift_own(const ds_derivative *b, const directions *v, REAL *dx, const ds_projection_derivative *p) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t heads = p->forward.heads, width = heads * spec->head_dim;
    const REAL *mix = ROWS(p->mix, v->of.token, heads), *now = ROWS(p->raw, v->of.token, width);
    const REAL *then = v->of.token.first > 0 ? now - width : NULL;
    REAL_NAME(ds_linear)(v->mix, v->dcontext, p->forward.shift, v->count);
    for (size_t row = 0; row < v->count; row++, dx += width) {
        for (size_t i = 0; i < width; i++) {
            size_t head = i / spec->head_dim;
            REAL a = mix[head], da = v->mix[row * heads + head] * a * (1 - a), before = then != NULL ? then[i] : 0;
            dx[i] = (1 - a) * dx[i] + da * (before - now[i]);
        }
    }
}

static void through_projections(const ds_derivative *b, const directions *v) {
    const ds_backbone_steps *backbone = BACKBONE(&b->pass);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative p = REAL_NAME(ds_projection_of)(b, which);
        size_t width = ds_projection_width(&b->pass, &p.forward);
        REAL *dx = v->projections[which];
        REAL_NAME(ds_map_linear)(dx, v->dcontext, &p.forward.map, v->count);
        if (p.forward.shift != NULL) shift_own(b, v, dx, &p);
        REAL_NAME(ds_projection_shifted)(v->row[0], b, v->of.token, &p);
        for (size_t i = 0; i < v->count; i++)
            backbone->transform_tangent(dx + i * width, b, v->of.token, &p, v->row[0], v->row[1]);
    }
}

/* One head of the token's attention row; its own key and value move with it. */
static void through_head(const ds_derivative *b, const directions *v, size_t head) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_workspace *w = b->gradient->workspace;
    size_t h = spec->head_dim, width = ds_pass_width(&b->pass), kv_width = ds_pass_kv_width(&b->pass), d = v->count;
    size_t position = v->of.token.first, seen = position + 1, shared = head / (spec->heads / ds_spec_kv_heads(spec)) * h;
    size_t keys = (v->of.token.token - position) * kv_width + shared;
    const REAL *key = (const REAL *)w->key + keys, *value = (const REAL *)w->value + keys;
    const REAL *query = (const REAL *)w->query + v->of.token.token * width + head * h;
    const REAL *dquery = v->projections[DS_QUERY] + head * h, *dkey = v->projections[DS_KEY] + shared;
    const REAL *dvalue = v->projections[DS_VALUE] + shared;
    REAL *out = v->first + head * h, *p = v->weights, inverse;
    double scale = ds_score_scale(spec, b->pass.sublayer / 2);
    REAL_NAME(ds_gemm_nt)(p, seen, query, width, key, kv_width, 1, seen, h);
    REAL_NAME(ds_softmax_causal_forward)(p, &inverse, seen, 1, seen, position, scale);
    REAL_NAME(ds_scale_rows)(p, seen, &inverse, 1, seen);
    REAL_NAME(ds_gemm_nt)(v->scores, seen, dquery, width, key, kv_width, d, seen, h);
    for (size_t i = 0; i < d; i++) {
        REAL *row = v->scores + i * seen;
        row[position] += (REAL)REAL_NAME(ds_dot)(query, dkey + i * kv_width, h);
        REAL_NAME(ds_softmax_causal_backward)(row, p, seen, 1, seen, position, scale);
    }
    REAL_NAME(ds_gemm_nn)(out, width, v->scores, seen, value, kv_width, d, h, seen);
    for (size_t i = 0; i < d; i++)
        for (size_t c = 0; c < h; c++) out[i * width + c] += p[position] * dvalue[i * kv_width + c];
}

static void through_attention(const ds_derivative *b, const directions *v) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_pass_layer(&b->pass);
    size_t width = spec->heads * spec->head_dim;
    through_projections(b, v);
    for (size_t head = 0; head < spec->heads; head++) through_head(b, v, head);
    const REAL *gate = NULL;
    if (spec->output_gate) {
        gate = ROWS(b->tape->gate, v->of.token, width);
        REAL_NAME(ds_linear)(v->second, v->dcontext, layer->output_gate, v->count);
    }
    for (size_t i = 0; i < v->count; i++) REAL_NAME(ds_heads_tangent)
    (v->first + i * width, v->second + i * width, ROWS(b->tape->heads, v->of.token, width), gate, v->row[0], b, v->of.token);
    const ds_linear_map output = ds_map_of(b->pass.model, layer->attention, NULL);
    REAL_NAME(ds_map_linear)(v->dbranch, v->first, &output, v->count);
}

ds_status REAL_NAME(ds_token_jacobian)(ds_derivative *b, double *jacobian, size_t sequence, size_t position) {
    ds_status status;
    const ds_backbone_steps *backbone = BACKBONE(&b->pass);
    directions v;
    DS_TRY(directions_init(&v, b, sequence, position));
    through_norm(b, &v);
    if (ds_pass_half(&b->pass) == 0)
        through_attention(b, &v);
    else
        backbone->mlp_directions(b, v.of.token, v.dbranch, v.dcontext, v.count, v.first, v.second);
    status = RULE(&b->pass)->token_jacobian(b, jacobian, &v.of);
    free(v.memory);
done:
    return status;
}
