/* Parallel streams: the arithmetic on states (rule_streams.h has the equations). What a token's streams mix by is made in
 * double, of numbers that matrix products give; v, pre, post and R of the sublayer in hand are kept for every token. */
#include <math.h>
#include <string.h>

#include "rule_streams.h"
#include "tiles.h"

static const REAL *planes_of(const ds_pass *pass, size_t token) {
    const ds_spec *spec = &pass->model->spec;
    return (const REAL *)pass->state + token * spec->streams.count * spec->hidden;
}

static bool is_readout(const ds_pass *pass) { return pass->sublayer == ds_spec_sublayers(&pass->model->spec); }

/* ---- static parts ----------------------------------------------------------------------------------------------------- */

static double number_of(const ds_parameter *parameter) { return parameter != NULL ? (double)VALUES(parameter)[0] : 0; }

static void widen(double *out, const REAL *values, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = (double)values[i];
}

/* The scratch of a tile with the sublayer's maps in it. */
static ds_stream_scratch *scratch_of(const ds_pass *pass, ds_tile tile) {
    ds_stream_scratch *scratch = ds_stream_scratch_of(pass, tile);
    const ds_stream_weights *w = ds_stream_weights_of(pass);
    ds_stream_maps *m = &scratch->maps;
    size_t n = m->shape.streams;
    bool off = m->force.mode == DS_FORCE_STATIC || !ds_streams_have_maps(&pass->model->spec);
    m->scale[0] = off ? 0 : number_of(w->pre_scale);
    m->scale[1] = off ? 0 : number_of(w->res_scale != NULL ? w->res_scale : w->pre_scale);
    m->scale[2] = off ? 0 : number_of(w->post_scale);
    if (m->kind != DS_STREAM_STATIC) {
        widen(m->alpha, VALUES(w->alpha), ds_stream_alphas(&m->shape));
        widen(m->beta, VALUES(w->beta), n);
        return scratch;
    }
    for (size_t s = 0; s < n; s++) {
        m->alpha[s * (n + 1)] = (double)VALUES(w->pre_logits)[s];
        widen(m->alpha + s * (n + 1) + 1, VALUES(w->res_logits) + s * n, n);
    }
    widen(m->beta, VALUES(w->post_logits), n);
    return scratch;
}

/* ---- z and v ---------------------------------------------------------------------------------------------------------- */

/* sqrt(width) / |x| and |x| of a group. */
static double factor_of(double *norm, const REAL *x, size_t width) {
    *norm = fmax(sqrt(REAL_NAME(ds_dot)(x, x, width)), 1e-12);
    return sqrt((double)width) / *norm;
}

/* z (rows,n,d) of tokens. */
static void normalise(REAL *z, const REAL *x, const REAL *gamma, const ds_stream_shape *shape, size_t rows) {
    for (size_t g = 0; g < rows * shape->groups; g++, x += shape->width, z += shape->width) {
        double norm;
        REAL factor = (REAL)factor_of(&norm, x, shape->width);
        for (size_t i = 0; i < shape->width; i++) z[i] = factor * x[i] * (1 + gamma[i]);
    }
}

/* alpha (rows,alphas), beta (rows,n) <- z times the maps; of a tangent of z those of v. */
static void multiply(REAL *alpha, REAL *beta, const REAL *z, const ds_stream_weights *w, const ds_stream_shape *shape,
                     size_t rows) {
    size_t groups = rows * shape->groups;
    REAL_NAME(ds_gemm_nn)
    (alpha, shape->alpha, z, shape->width, VALUES(w->alpha_map), shape->alpha, groups, shape->alpha, shape->width);
    REAL_NAME(ds_gemm_nn)
    (beta, shape->beta, z, shape->width, VALUES(w->beta_map), shape->beta, groups, shape->beta, shape->width);
}

/* v of a tile's token, in double. */
static const double *v_of(ds_stream_scratch *scratch, const ds_stream_workspace *own, size_t token) {
    const ds_stream_shape *shape = &scratch->maps.shape;
    size_t alphas = ds_stream_alphas(shape), n = shape->streams;
    widen(scratch->v, (const REAL *)own->alpha + token * alphas, alphas);
    widen(scratch->v + alphas, (const REAL *)own->beta + token * n, n);
    return scratch->v;
}

/* v of all tokens of a tile. */
static void make_v(const ds_pass *pass, ds_tile tile, ds_stream_scratch *scratch) {
    ds_stream_workspace *own = pass->workspace->rule;
    const ds_stream_shape *shape = &scratch->maps.shape;
    const ds_stream_weights *w = ds_stream_weights_of(pass);
    for (size_t t = 0; t < tile.rows; t += DS_STREAM_ROWS) {
        size_t rows = ds_min_size(tile.rows - t, DS_STREAM_ROWS), token = tile.token + t;
        normalise(scratch->z, planes_of(pass, token), VALUES(w->gamma), shape, rows);
        multiply((REAL *)own->alpha + token * ds_stream_alphas(shape), (REAL *)own->beta + token * shape->streams, scratch->z,
                 w, shape, rows);
    }
}

/* ---- read ------------------------------------------------------------------------------------------------------------- */

/* pre, post and R of all tokens of a tile. */
static void make_mixing(const ds_pass *pass, ds_tile tile) {
    ds_stream_workspace *own = pass->workspace->rule;
    ds_stream_scratch *scratch = scratch_of(pass, tile);
    bool maps = ds_streams_have_maps(&pass->model->spec), observed = own->logit_range != NULL;
    size_t length = ds_stream_mixing(scratch->maps.shape.streams);
    double *mixing = own->mixing + tile.token * length, range = 0;
    if (maps) make_v(pass, tile, scratch);
    for (size_t t = 0; t < tile.rows; t++) {
        if (maps || t == 0)
            range =
                ds_stream_maps_forward(mixing + t * length, &scratch->maps, maps ? v_of(scratch, own, tile.token + t) : NULL);
        else
            memcpy(mixing + t * length, mixing, length * sizeof *mixing);
        if (observed) own->logit_range[tile.token + t] = range;
    }
}

/* What the head multiplies: every stream normed, then their sum. */
static void read_out(const ds_pass *pass, ds_tile tile, REAL *hidden) {
    const ds_spec *spec = &pass->model->spec;
    const ds_stream_workspace *own = pass->workspace->rule;
    size_t n = spec->streams.count, d = spec->hidden;
    REAL *normed = own->scratch[tile.sequence * pass->tiles + tile.index].planes;
    for (size_t t = 0; t < tile.rows; t++, hidden += d) {
        BACKBONE(pass)->norm_forward(normed, planes_of(pass, tile.token + t), spec, pass->model->final_norm, n);
        memcpy(hidden, normed, d * sizeof *hidden);
        for (size_t s = 1; s < n; s++)
            for (size_t i = 0; i < d; i++) hidden[i] += normed[s * d + i];
    }
}

static const void *read_forward(const ds_pass *pass, ds_tile tile, void *x_in) {
    const ds_spec *spec = &pass->model->spec;
    const ds_stream_workspace *own = pass->workspace->rule;
    size_t n = spec->streams.count, d = spec->hidden;
    if (is_readout(pass)) {
        read_out(pass, tile, x_in);
        return x_in;
    }
    make_mixing(pass, tile);
    for (size_t t = 0; t < tile.rows; t++) {
        size_t token = tile.token + t;
        REAL_NAME(ds_mix_planes_forward)
        ((REAL *)x_in + t * d, planes_of(pass, token), own->mixing + token * ds_stream_mixing(n), 1, n, d);
    }
    return x_in;
}

static void readout_forward(const ds_pass *pass, ds_tile tile, void *hidden) { read_out(pass, tile, hidden); }

/* What is read is the head's input; from there straight to the state's gradient, which is 0: nothing else comes from the last
 * state. */
static void readout_backward(const ds_derivative *b, ds_tile tile) {
    const ds_model *model = b->pass.model;
    const ds_spec *spec = &model->spec;
    size_t n = spec->streams.count, d = spec->hidden;
    const REAL *dhidden = ROWS(b->gradient->dhidden, tile, d), *planes = planes_of(&b->pass, tile.token);
    REAL *dplanes = ROWS(b->state, tile, n * d);
    double *dnorm = ds_partial_at(b, tile, b->gradient->layout.norm);
    memcpy(ROWS(b->gradient->dx_in, tile, d), dhidden, tile.rows * d * sizeof *dhidden);
    for (size_t t = 0; t < tile.rows; t++, dhidden += d)
        for (size_t s = 0; s < n; s++, planes += d, dplanes += d)
            BACKBONE(&b->pass)->norm_backward(dplanes, dnorm, dhidden, planes, spec, model->final_norm, 1);
}

/* By u = pre^T X; the gradient of the readout is there already. */
static void read_backward(const ds_derivative *b, void *dstate, const void *dx_in, size_t token, size_t future) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_workspace *own = b->pass.workspace->rule;
    size_t n = spec->streams.count, d = spec->hidden;
    (void)future;
    if (is_readout(&b->pass)) return;
    REAL_NAME(ds_mix_planes_backward)
    (dstate, (const REAL *)dx_in + token * d, own->mixing + token * ds_stream_mixing(n), 1, n, d);
}

/* By pre, post and R. */
static void coefficients_backward(const ds_derivative *b, void *dstate, size_t token) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_memory *memory = b->gradient->rule;
    size_t count = spec->streams.count * spec->hidden;
    if (is_readout(&b->pass) || !ds_streams_have_maps(spec)) return;
    const REAL *through = (const REAL *)memory->dstate + token * count;
    REAL *to = dstate;
    for (size_t i = 0; i < count; i++) to[i] += through[i];
}

/* ---- what comes back through pre, post and R -------------------------------------------------------------------------- */

/* The maps with room for Sinkhorn's history. */
static ds_stream_scratch *derivative_scratch_of(const ds_derivative *b, ds_tile tile) {
    const ds_stream_memory *memory = b->gradient->rule;
    ds_stream_scratch *scratch = scratch_of(&b->pass, tile);
    if (memory->history_length > 0)
        scratch->maps.history = memory->history + (tile.sequence * b->pass.tiles + tile.index) * memory->history_length;
    return scratch;
}

/* The gradients of v, of one token or of them all. */
static void v_backward(const ds_derivative *b, ds_tile tile, ds_stream_scratch *scratch, double *sums) {
    const ds_stream_memory *memory = b->gradient->rule;
    const ds_stream_shape *shape = &scratch->maps.shape;
    size_t n = shape->streams, length = ds_stream_mixing(n), alphas = ds_stream_alphas(shape);
    if (!ds_streams_have_maps(&b->pass.model->spec)) {
        memset(scratch->mixing, 0, length * sizeof *scratch->mixing);
        for (size_t t = 0; t < tile.rows; t++)
            for (size_t i = 0; i < length; i++) scratch->mixing[i] += memory->dmixing[(tile.token + t) * length + i];
        if (sums != NULL) ds_stream_maps_backward(NULL, sums, scratch->mixing, &scratch->maps, NULL);
        return;
    }
    for (size_t token = tile.token; token < tile.token + tile.rows; token++) {
        ds_stream_maps_backward(scratch->dv, sums, memory->dmixing + token * length, &scratch->maps,
                                v_of(scratch, b->pass.workspace->rule, token));
        for (size_t i = 0; i < alphas; i++) ((REAL *)memory->dalpha)[token * alphas + i] = (REAL)scratch->dv[i];
        for (size_t s = 0; s < n; s++) ((REAL *)memory->dbeta)[token * n + s] = (REAL)scratch->dv[alphas + s];
    }
}

/* dx (groups,width), the gradient of z, becomes that of x; dgamma (width; NULL: not wanted) gains its part. */
static void normalise_backward(REAL *dx, double *dgamma, const REAL *x, const REAL *gamma, const ds_stream_shape *shape) {
    for (size_t g = 0; g < shape->groups; g++, x += shape->width, dx += shape->width) {
        double norm, factor = factor_of(&norm, x, shape->width);
        for (size_t i = 0; dgamma != NULL && i < shape->width; i++) dgamma[i] += factor * (double)dx[i] * (double)x[i];
        for (size_t i = 0; i < shape->width; i++) dx[i] *= (REAL)factor * (1 + gamma[i]);
        REAL along = (REAL)(REAL_NAME(ds_dot)(x, dx, shape->width) / (norm * norm));
        for (size_t i = 0; norm > 1e-12 && i < shape->width; i++) dx[i] -= along * x[i];
    }
}

/* z of the tile, and what comes to the state through it. */
static void z_backward(const ds_derivative *b, ds_tile tile, const ds_stream_shape *shape, double *dgamma) {
    const ds_stream_memory *memory = b->gradient->rule;
    const ds_stream_weights *w = ds_stream_weights_of(&b->pass);
    size_t count = shape->streams * shape->hidden, groups = tile.rows * shape->groups;
    REAL *dstate = ROWS(memory->dstate, tile, count);
    normalise(ROWS(memory->z, tile, count), planes_of(&b->pass, tile.token), VALUES(w->gamma), shape, tile.rows);
    REAL_NAME(ds_gemm_nt)
    (dstate, shape->width, ROWS(memory->dalpha, tile, ds_stream_alphas(shape)), shape->alpha, VALUES(w->alpha_map),
     shape->alpha, groups, shape->width, shape->alpha);
    REAL_NAME(ds_gemm_nt_add)
    (dstate, shape->width, ROWS(memory->dbeta, tile, shape->streams), shape->beta, VALUES(w->beta_map), shape->beta, groups,
     shape->width, shape->beta);
    for (size_t t = 0; t < tile.rows; t++, dstate += count)
        normalise_backward(dstate, dgamma, planes_of(&b->pass, tile.token + t), VALUES(w->gamma), shape);
}

/* dpre joins dpost and dR, which the write left. */
static void read_sums(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_memory *memory = b->gradient->rule;
    ds_stream_scratch *scratch = derivative_scratch_of(b, tile);
    const ds_stream_shape *shape = &scratch->maps.shape;
    size_t n = shape->streams, d = shape->hidden;
    double *sums = ds_partial_at(b, tile, b->gradient->layout.rule);
    for (size_t token = tile.token; token < tile.token + tile.rows; token++) REAL_NAME(ds_mix_planes_weights_backward)
    (memory->dmixing + token * ds_stream_mixing(n), (const REAL *)b->gradient->dx_in + token * d, planes_of(&b->pass, token), 1,
     n, d);
    v_backward(b, tile, scratch, sums);
    if (ds_streams_have_maps(spec)) z_backward(b, tile, shape, sums != NULL ? sums + ds_stream_sums(shape) : NULL);
}

/* Of the parameters that `sums` are of; the static form's logits stand where alpha and beta do. */
static void read_parameters(ds_derivative *b) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_weights *w = ds_stream_weights_of(&b->pass);
    ds_stream_shape shape = ds_stream_shape_of(spec);
    size_t first = b->gradient->layout.rule, n = shape.streams, alphas = ds_stream_alphas(&shape), scales = first + alphas + n;
    if (is_readout(&b->pass)) return;
    if (ds_stream_kind_of(spec) == DS_STREAM_STATIC) {
        const double *sums = REAL_NAME(ds_tile_sums)(b, first, alphas);
        REAL *dpre = REAL_NAME(ds_gradient_of)(b, w->pre_logits), *dres = REAL_NAME(ds_gradient_of)(b, w->res_logits);
        for (size_t s = 0; s < n; s++) {
            dpre[s] += (REAL)sums[s * (n + 1)];
            for (size_t t = 0; t < n; t++) dres[s * n + t] += (REAL)sums[s * (n + 1) + 1 + t];
        }
        REAL_NAME(ds_sum_tiles)(b, w->post_logits, first + alphas);
        return;
    }
    REAL_NAME(ds_sum_tiles)(b, w->alpha, first);
    REAL_NAME(ds_sum_tiles)(b, w->beta, first + alphas);
    if (!ds_streams_have_maps(spec)) return;
    REAL_NAME(ds_sum_tiles)(b, w->pre_scale, scales);
    REAL_NAME(ds_sum_tiles)(b, w->res_scale != NULL ? w->res_scale : w->pre_scale, scales + 1);
    REAL_NAME(ds_sum_tiles)(b, w->post_scale, scales + 2);
    REAL_NAME(ds_sum_tiles)(b, w->gamma, scales + 3);
}

/* Maps are stored as (in,out): z and the gradient of v have changed places. */
static ds_status coefficient_parameters(ds_derivative *b) {
    ds_status status = DS_OK;
    const ds_stream_memory *memory = b->gradient->rule;
    const ds_stream_weights *w = ds_stream_weights_of(&b->pass);
    ds_stream_shape shape = ds_stream_shape_of(&b->pass.model->spec);
    if (!ds_streams_have_maps(&b->pass.model->spec)) return DS_OK;
    const ds_linear_map alpha = {.weight = w->alpha_map, .out = shape.alpha, .in = shape.width, .inputs_first = true};
    const ds_linear_map beta = {.weight = w->beta_map, .out = shape.beta, .in = shape.width, .inputs_first = true};
    DS_TRY(ds_grouped_job_add(b, &alpha, memory->dalpha, memory->z, shape.groups));
    DS_TRY(ds_grouped_job_add(b, &beta, memory->dbeta, memory->z, shape.groups));
done:
    return status;
}

/* ---- write ------------------------------------------------------------------------------------------------------------ */

/* m post (n) of a token. */
static const double *write_weights(double *weights, const double *mixing, const ds_spec *spec) {
    size_t n = spec->streams.count;
    for (size_t t = 0; t < n; t++) weights[t] = spec->residual_mult * mixing[n + t];
    return weights;
}

static void observe_write(const ds_pass *pass, size_t token, const REAL *planes, const REAL *next, const REAL *h) {
    const ds_spec *spec = &pass->model->spec;
    const ds_stream_workspace *own = pass->workspace->rule;
    size_t count = spec->streams.count * spec->hidden;
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += ((double)next[i] - (double)planes[i]) * ((double)next[i] - (double)planes[i]);
    pass->workspace->edit_norm[token] = sqrt(squares);
    pass->workspace->state_norm[token] = sqrt(REAL_NAME(ds_dot)(planes, planes, count));
    own->output_norm[token] = fabs(spec->residual_mult) * sqrt(REAL_NAME(ds_dot)(h, h, spec->hidden));
}

static size_t write_forward(const ds_pass *pass, ds_tile tile, void *h) {
    const ds_spec *spec = &pass->model->spec;
    const ds_stream_workspace *own = pass->workspace->rule;
    size_t n = spec->streams.count, d = spec->hidden, not_finite = tile.rows;
    bool leaves = ds_sublayer_is_identity(spec, pass->sublayer, ds_pass_force(pass));
    REAL *planes = ROWS(pass->state, tile, n * d), *next = own->scratch[tile.sequence * pass->tiles + tile.index].planes;
    const REAL *row = h;
    for (size_t t = 0; t < tile.rows; t++, row += d, planes += n * d) {
        const double *mixing = own->mixing + (tile.token + t) * ds_stream_mixing(n);
        double weights[DS_MOST_STREAMS];
        bool finite = true;
        if (leaves) {
            memcpy(next, planes, n * d * sizeof *next);
        } else {
            REAL_NAME(ds_mix_planes_forward)(next, planes, mixing + 2 * n, n, n, d);
            finite = REAL_NAME(ds_rank_one_update)(next, row, write_weights(weights, mixing, spec), d, n);
        }
        if ((pass->wants & DS_OBSERVE_GATES) != 0) observe_write(pass, tile.token + t, planes, next, row);
        memcpy(planes, next, n * d * sizeof *next);
        if (!finite && not_finite == tile.rows) not_finite = t;
    }
    return not_finite;
}

/* dh = m post^T G, and with f = m h the gradients dpost = G f, dR = G X^T. */
static void write_backward(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_workspace *own = b->pass.workspace->rule;
    const ds_stream_memory *memory = b->gradient->rule;
    size_t n = spec->streams.count, d = spec->hidden;
    const REAL *h = ROWS(b->tape->branch, tile, d), *dnext = ROWS(b->state, tile, n * d);
    REAL *dh = ROWS(b->gradient->dbranch, tile, d);
    for (size_t t = 0; t < tile.rows; t++, h += d, dh += d, dnext += n * d) {
        size_t token = tile.token + t;
        double weights[DS_MOST_STREAMS], *dmixing = memory->dmixing + token * ds_stream_mixing(n);
        (void)write_weights(weights, own->mixing + token * ds_stream_mixing(n), spec);
        REAL_NAME(ds_mix_planes_forward)(dh, dnext, weights, 1, n, d);
        REAL_NAME(ds_dot_rows)(dmixing + n, h, dnext, n, d);
        for (size_t s = 0; s < n; s++) dmixing[n + s] *= spec->residual_mult;
        REAL_NAME(ds_mix_planes_weights_backward)(dmixing + 2 * n, dnext, planes_of(&b->pass, token), n, n, d);
    }
}

/* R^T G. */
static void shortcut_backward(const ds_derivative *b, void *dstate, size_t token) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_workspace *own = b->pass.workspace->rule;
    size_t n = spec->streams.count, d = spec->hidden, length = b->pass.batch->length;
    REAL *through = own->scratch[token / length * b->pass.tiles + token % length / DS_TILE_ROWS].planes;
    memset(through, 0, n * d * sizeof *through);
    REAL_NAME(ds_mix_planes_backward)(through, dstate, own->mixing + token * ds_stream_mixing(n) + 2 * n, n, n, d);
    memcpy(dstate, through, n * d * sizeof *through);
}

/* ---- tangent ---------------------------------------------------------------------------------------------------------- */

/* dz (groups,width) of a token along dx: factor (1 + gamma) (dx - x <x,dx> / |x|^2). */
static void normalise_tangent(REAL *dz, const REAL *dx, const REAL *x, const REAL *gamma, const ds_stream_shape *shape) {
    for (size_t g = 0; g < shape->groups; g++, x += shape->width, dx += shape->width, dz += shape->width) {
        double norm, factor = factor_of(&norm, x, shape->width);
        REAL along = norm > 1e-12 ? (REAL)(REAL_NAME(ds_dot)(x, dx, shape->width) / (norm * norm)) : 0;
        for (size_t i = 0; i < shape->width; i++) dz[i] = (REAL)factor * (1 + gamma[i]) * (dx[i] - along * x[i]);
    }
}

/* memory->dmixing of the tile. */
static void mixing_tangent(const ds_derivative *b, ds_tile tile) {
    const ds_stream_memory *memory = b->gradient->rule;
    const ds_stream_weights *w = ds_stream_weights_of(&b->pass);
    ds_stream_scratch *scratch = derivative_scratch_of(b, tile);
    const ds_stream_shape *shape = &scratch->maps.shape;
    size_t n = shape->streams, count = n * shape->hidden, alphas = ds_stream_alphas(shape), length = ds_stream_mixing(n);
    const REAL *dx = ROWS(b->state, tile, count);
    if (!ds_streams_have_maps(&b->pass.model->spec)) {
        memset(memory->dmixing + tile.token * length, 0, tile.rows * length * sizeof(double));
        return;
    }
    for (size_t t = 0; t < tile.rows; t++, dx += count) {
        size_t token = tile.token + t;
        REAL *dalpha = (REAL *)memory->dalpha + token * alphas, *dbeta = (REAL *)memory->dbeta + token * n;
        normalise_tangent(scratch->z, dx, planes_of(&b->pass, token), VALUES(w->gamma), shape);
        multiply(dalpha, dbeta, scratch->z, w, shape, 1);
        widen(scratch->dv, dalpha, alphas);
        widen(scratch->dv + alphas, dbeta, n);
        ds_stream_maps_tangent(memory->dmixing + token * length, scratch->dv, &scratch->maps,
                               v_of(scratch, b->pass.workspace->rule, token));
    }
}

/* du = dpre^T X + pre^T dX. */
static const void *read_tangent(const ds_derivative *b, ds_tile tile, void *dx_in) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_workspace *own = b->pass.workspace->rule;
    const ds_stream_memory *memory = b->gradient->rule;
    size_t n = spec->streams.count, d = spec->hidden, length = ds_stream_mixing(n);
    const REAL *dplanes = ROWS(b->state, tile, n * d);
    REAL *du = dx_in;
    mixing_tangent(b, tile);
    for (size_t t = 0; t < tile.rows; t++, du += d, dplanes += n * d) {
        size_t token = tile.token + t;
        const REAL *planes = planes_of(&b->pass, token);
        REAL_NAME(ds_mix_planes_forward)(du, dplanes, own->mixing + token * length, 1, n, d);
        for (size_t s = 0; s < n; s++)
            for (size_t i = 0; i < d; i++) du[i] += (REAL)memory->dmixing[token * length + s] * planes[s * d + i];
    }
    return dx_in;
}

/* dX' = dR X + R dX + dpost f + post df. */
static void write_tangent(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_workspace *own = b->pass.workspace->rule;
    const ds_stream_memory *memory = b->gradient->rule;
    size_t n = spec->streams.count, d = spec->hidden, length = ds_stream_mixing(n);
    REAL *dplanes = ROWS(b->state, tile, n * d), *next = own->scratch[tile.sequence * b->pass.tiles + tile.index].planes;
    const REAL *h = ROWS(b->tape->branch, tile, d), *dh = ROWS(b->gradient->dbranch, tile, d);
    for (size_t t = 0; t < tile.rows; t++, h += d, dh += d, dplanes += n * d) {
        size_t token = tile.token + t;
        const double *mixing = own->mixing + token * length, *dmixing = memory->dmixing + token * length;
        double weights[DS_MOST_STREAMS];
        const REAL *planes = planes_of(&b->pass, token);
        REAL_NAME(ds_mix_planes_forward)(next, dplanes, mixing + 2 * n, n, n, d);
        for (size_t to = 0; to < n; to++)
            for (size_t s = 0; s < n; s++)
                for (size_t i = 0; i < d; i++) next[to * d + i] += (REAL)dmixing[(2 + to) * n + s] * planes[s * d + i];
        (void)REAL_NAME(ds_rank_one_update)(next, dh, write_weights(weights, mixing, spec), d, n);
        (void)REAL_NAME(ds_rank_one_update)(next, h, write_weights(weights, dmixing, spec), d, n);
        memcpy(dplanes, next, n * d * sizeof *next);
    }
}

/* ---- one token's Jacobian --------------------------------------------------------------------------------------------- */

/* v's tangent along feature `at` of all planes: factor (1 + gamma) F - x v / |x|^2, of the group that holds it. */
static void unit_tangent(double *dv, const ds_pass *pass, const ds_stream_shape *shape, size_t token, size_t at) {
    const ds_stream_workspace *own = pass->workspace->rule;
    const ds_stream_weights *w = ds_stream_weights_of(pass);
    size_t g = at / shape->width, i = at % shape->width, n = shape->streams, alphas = ds_stream_alphas(shape);
    const REAL *x = planes_of(pass, token) + g * shape->width;
    const REAL *alpha = (const REAL *)own->alpha + token * alphas + g * shape->alpha;
    const REAL *beta = (const REAL *)own->beta + token * n + g * shape->beta;
    double norm, factor = factor_of(&norm, x, shape->width), along = norm > 1e-12 ? (double)x[i] / (norm * norm) : 0;
    double slope = factor * (1 + (double)VALUES(w->gamma)[i]);
    memset(dv, 0, (alphas + n) * sizeof *dv);
    for (size_t k = 0; k < shape->alpha; k++)
        dv[g * shape->alpha + k] = slope * (double)VALUES(w->alpha_map)[i * shape->alpha + k] - along * (double)alpha[k];
    for (size_t k = 0; k < shape->beta; k++)
        dv[alphas + g * shape->beta + k] = slope * (double)VALUES(w->beta_map)[i * shape->beta + k] - along * (double)beta[k];
}

/* One column: X' along feature `at` of all planes. */
static void jacobian_column(const ds_derivative *b, double *jacobian, const ds_token_directions *v, ds_stream_scratch *scratch,
                            size_t at) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_stream_workspace *own = b->pass.workspace->rule;
    size_t n = spec->streams.count, d = spec->hidden, plane = at / d, feature = at % d, token = v->token.token;
    const double *mixing = own->mixing + token * ds_stream_mixing(n), *dmixing = scratch->mixing;
    const REAL *planes = planes_of(&b->pass, token), *h = ROWS(b->tape->branch, v->token, d);
    double *du = ((const ds_stream_memory *)b->gradient->rule)->row, *dh = du + d;
    memset(scratch->mixing, 0, ds_stream_mixing(n) * sizeof *scratch->mixing);
    if (ds_streams_have_maps(spec)) {
        unit_tangent(scratch->dv, &b->pass, &scratch->maps.shape, token, at);
        ds_stream_maps_tangent(scratch->mixing, scratch->dv, &scratch->maps, v_of(scratch, own, token));
    }
    for (size_t i = 0; i < d; i++) du[i] = i == feature ? mixing[plane] : 0;
    for (size_t s = 0; s < n; s++)
        for (size_t i = 0; i < d; i++) du[i] += dmixing[s] * (double)planes[s * d + i];
    memset(dh, 0, d * sizeof *dh);
    for (size_t i = 0; i < d; i++)
        for (size_t k = 0; k < d; k++) dh[k] += du[i] * (double)((const REAL *)v->dbranch)[i * d + k];
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < d; k++) {
            double sum = k == feature ? mixing[(2 + t) * n + plane] : 0;
            for (size_t s = 0; s < n; s++) sum += dmixing[(2 + t) * n + s] * (double)planes[s * d + k];
            sum += spec->residual_mult * (dmixing[n + t] * (double)h[k] + mixing[n + t] * dh[k]);
            jacobian[(k * n + t) * n * d + feature * n + plane] = sum;
        }
}

static ds_status token_jacobian(const ds_derivative *b, double *jacobian, const ds_token_directions *v) {
    const ds_spec *spec = &b->pass.model->spec;
    ds_stream_scratch *scratch = derivative_scratch_of(b, v->token);
    for (size_t at = 0; at < spec->streams.count * spec->hidden; at++) jacobian_column(b, jacobian, v, scratch, at);
    return DS_OK;
}

const ds_rule_steps REAL_NAME(ds_rule_streams_steps) = {
    .embed_forward = REAL_NAME(ds_embed_tile_forward),
    .embed_backward = REAL_NAME(ds_embed_tile_backward),
    .readout_forward = readout_forward,
    .readout_backward = readout_backward,
    .read_forward = read_forward,
    .read_backward = read_backward,
    .state_coefficients_backward = coefficients_backward,
    .read_sums = read_sums,
    .read_parameters = read_parameters,
    .coefficient_parameters = coefficient_parameters,
    .read_tangent = read_tangent,
    .write_forward = write_forward,
    .write_backward = write_backward,
    .shortcut_backward = shortcut_backward,
    .write_tangent = write_tangent,
    .token_jacobian = token_jacobian,
};
