/* Attention over depth: the arithmetic (rule_depth.h has the equations). A read is computed token by token, forward, and again
 * wherever its derivative is wanted; logits, weights and their derivatives are in double. */
#include <math.h>
#include <string.h>

#include "rule_depth.h"
#include "tiles.h"

/* v_0 ... v_S of a token. */
static const REAL *history_of(const ds_pass *pass, size_t token) {
    const ds_spec *spec = &pass->model->spec;
    return (const REAL *)pass->state + token * ds_spec_planes(spec) * spec->hidden;
}

/* ---- sums of the history ---------------------------------------------------------------------------------------------- */

static void add(REAL *to, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += x[i];
}

/* sum (d) <- base (NULL: nothing) + the open ones of v_first ... v_{end-1}. */
static void sum_parts(REAL *sum, const ds_depth_reading *r, const REAL *base, const REAL *history, size_t first, size_t end,
                      size_t d) {
    if (base != NULL)
        memcpy(sum, base, d * sizeof *sum);
    else
        memset(sum, 0, d * sizeof *sum);
    for (size_t i = first; i < end; i++)
        if (r->open[i]) add(sum, history + i * d, d);
}

/* values[j] <- source j of a history, or of the history's tangent; `room` (most,d) for those that are sums. The null source is
 * not looked at. */
static void gather(const void **values, REAL *room, const ds_depth_reading *r, const REAL *history, size_t d) {
    for (size_t j = 0; j < r->count; j++) {
        if (r->slot[j] == DS_NO_SOURCE) continue;
        const ds_depth_source *source = &r->plan[r->slot[j]];
        size_t base = source->base != DS_NO_SOURCE ? r->place[source->base] : DS_NO_SOURCE, alone = 0, parts = 0;
        for (size_t i = source->first; i < source->end; i++) {
            if (!r->open[i]) continue;
            alone = i;
            parts++;
        }
        values[j] = room + j * d;
        if (base == DS_NO_SOURCE && parts == 1)
            values[j] = history + alone * d;
        else
            sum_parts(room + j * d, r, base != DS_NO_SOURCE ? values[base] : NULL, history, source->first, source->end, d);
    }
}

/* dhistory gains what comes from the gradients of the sources, dsources (count,d), which it overwrites. */
static void scatter(REAL *dhistory, REAL *dsources, const ds_depth_reading *r, size_t d) {
    for (size_t j = r->count; j-- > 0;) {
        if (r->slot[j] == DS_NO_SOURCE) continue;
        const ds_depth_source *source = &r->plan[r->slot[j]];
        size_t base = source->base != DS_NO_SOURCE ? r->place[source->base] : DS_NO_SOURCE;
        if (base != DS_NO_SOURCE) add(dsources + base * d, dsources + j * d, d);
        for (size_t i = source->first; i < source->end; i++)
            if (r->open[i]) add(dhistory + i * d, dsources + j * d, d);
    }
}

/* ---- one token's read ------------------------------------------------------------------------------------------------- */

static void scale_query(const ds_depth_reading *r, size_t d) {
    REAL *scaled = r->scaled;
    const ds_depth_weights *weights = &r->weights;
    for (size_t i = 0; r->count > 0 && i < d; i++) scaled[i] = VALUES(weights->query)[i] * VALUES(weights->norm)[i];
}

static ds_depth_reading *reading_of(const ds_pass *pass, size_t token) {
    ds_depth_reading *r = ds_depth_reading_of(pass, token);
    scale_query(r, pass->model->spec.hidden);
    return r;
}

static void weigh(ds_depth_reading *r, const ds_pass *pass) {
    const ds_spec *spec = &pass->model->spec;
    size_t d = spec->hidden;
    for (size_t j = 0; j < r->count; j++) {
        const REAL *source = r->source[j];
        r->inverse[j] = 1 / sqrt(REAL_NAME(ds_dot)(source, source, d) / (double)d + spec->norm_eps);
        r->along[j] = REAL_NAME(ds_dot)(r->scaled, source, d);
        r->alpha[j] = r->along[j] * r->inverse[j];
    }
    if (r->count > 0 && r->weights.bias != NULL) r->alpha[r->count - 1] += (double)VALUES(r->weights.bias)[0];
    if (r->count > 0) ds_depth_weigh(r, ds_pass_force(pass));
}

/* What a gate mixes r with: the last source, or nothing but P where that is added anyway. */
static const REAL *kept_by(const ds_depth_reading *r) { return r->additive ? r->total : r->source[r->count - 1]; }

static void gate(const ds_depth_reading *r, size_t d) {
    REAL *g = r->gate;
    const ds_depth_weights *weights = &r->weights;
    if (weights->gate_weight != NULL) {
        REAL_NAME(ds_linear)(g, kept_by(r), weights->gate_weight, 1);
        add(g, VALUES(weights->gate_bias), d);
        REAL_NAME(ds_sigmoid)(g, g, d);
        return;
    }
    REAL value = VALUES(weights->logit != NULL ? weights->logit : weights->alpha)[0];
    if (weights->logit != NULL) REAL_NAME(ds_sigmoid)(&value, &value, 1);
    for (size_t i = 0; i < d; i++) g[i] = value;
}

/* u (d), and in r all that leads to it. */
static void read_token(REAL *u, ds_depth_reading *r, const ds_pass *pass, const REAL *history) {
    size_t d = pass->model->spec.hidden;
    REAL *routed = r->routed, *g = r->gate;
    gather(r->source, r->sums, r, history, d);
    if (r->additive) sum_parts(r->total, r, NULL, history, 0, r->parts, d);
    weigh(r, pass);
    memset(routed, 0, d * sizeof *routed);
    for (size_t j = 0; j < r->count; j++) {
        const REAL *source = r->source[j];
        REAL alpha = (REAL)r->alpha[j];
        for (size_t i = 0; i < d; i++) routed[i] += alpha * source[i];
    }
    if (r->gated) gate(r, d);
    for (size_t i = 0; i < d; i++) {
        REAL part = r->gated ? g[i] * routed[i] : routed[i];
        if (r->additive)
            part += ((const REAL *)r->total)[i];
        else if (r->gated)
            part += (1 - g[i]) * kept_by(r)[i];
        u[i] = part;
    }
}

/* A_i of one token, r being read: what its sources weigh, down to what they are sums of. */
static void mix_token(double *a, const ds_depth_reading *r, size_t d) {
    double *weight = r->slope, share = r->gated ? 0 : 1;
    const REAL *g = r->gate;
    for (size_t i = 0; r->gated && i < d; i++) share += (double)g[i] / (double)d;
    for (size_t j = 0; j < r->count; j++) weight[j] = share * r->alpha[j];
    if (r->gated && !r->additive) weight[r->count - 1] += 1 - share;
    for (size_t i = 0; i < r->parts; i++) a[i] = r->additive && r->open[i] ? 1 : 0;
    for (size_t j = r->count; j-- > 0;) {
        if (r->slot[j] == DS_NO_SOURCE) continue;
        const ds_depth_source *source = &r->plan[r->slot[j]];
        size_t base = source->base != DS_NO_SOURCE ? r->place[source->base] : DS_NO_SOURCE;
        if (base != DS_NO_SOURCE) weight[base] += weight[j];
        for (size_t i = source->first; i < source->end; i++)
            if (r->open[i]) a[i] += weight[j];
    }
}

static void mix(const ds_pass *pass, ds_tile tile, double *weights) {
    ds_depth_reading *r = reading_of(pass, tile.token);
    for (size_t t = 0; t < tile.rows; t++) {
        read_token(r->read, r, pass, history_of(pass, tile.token + t));
        mix_token(weights + t * r->parts, r, pass->model->spec.hidden);
    }
}

/* One token's numbers of ds_route, r being read; `count` sources with those that are closed, which weigh nothing. */
static void route_token(double *numbers, const ds_depth_reading *r, size_t count, size_t d) {
    double *norm = numbers + count, *cosine = norm + count, *share = cosine + 1;
    const REAL *g = r->gate;
    size_t nulls = r->weights.null != NULL ? 1 : 0;
    memset(numbers, 0, (2 * count + 2) * sizeof *numbers);
    for (size_t j = 0; j < r->count; j++) {
        const REAL *source = r->source[j];
        size_t at = r->slot[j] == DS_NO_SOURCE ? 0 : r->slot[j] + nulls;
        numbers[at] = r->alpha[j];
        norm[at] = r->slope[j] = sqrt(REAL_NAME(ds_dot)(source, source, d));
        for (size_t k = 0; k < j; k++)
            if (r->slope[j] > 0 && r->slope[k] > 0)
                *cosine += REAL_NAME(ds_dot)(source, r->source[k], d) / (r->slope[j] * r->slope[k]);
    }
    *cosine = r->count > 1 ? *cosine / ((double)(r->count * (r->count - 1)) / 2) : (double)NAN;
    for (size_t i = 0; r->gated && i < d; i++) *share += (double)g[i] / (double)d;
    if (!r->gated) *share = (double)NAN;
}

static void route(const ds_pass *pass, ds_tile tile, double *routing) {
    ds_depth_reading *r = reading_of(pass, tile.token);
    size_t count = ds_depth_source_count(pass), length = 2 * count + 2;
    for (size_t t = tile.token; t < tile.token + tile.rows; t++) {
        read_token(r->read, r, pass, history_of(pass, t));
        route_token(routing + t * length, r, count, pass->model->spec.hidden);
    }
}

static const void *read_forward(const ds_pass *pass, ds_tile tile, void *x_in) {
    size_t d = pass->model->spec.hidden;
    REAL *u = x_in;
    ds_depth_reading *r = reading_of(pass, tile.token);
    for (size_t t = 0; t < tile.rows; t++) read_token(u + t * d, r, pass, history_of(pass, tile.token + t));
    return x_in;
}

/* ---- backward --------------------------------------------------------------------------------------------------------- */

/* r->dgate <- the gradient of the gate, before the sigmoid where it has one; r->dtotal that of what it mixes r with, P or the
 * last source; r->drouted that of r. */
static void gate_backward(const ds_depth_reading *r, const REAL *du, size_t d) {
    REAL *dgate = r->dgate, *dtotal = r->dtotal, *drouted = r->drouted;
    const REAL *g = r->gate, *routed = r->routed;
    bool sigmoid = r->weights.alpha == NULL;
    memcpy(drouted, du, d * sizeof *du);
    if (r->additive)
        memcpy(dtotal, du, d * sizeof *du);
    else
        memset(dtotal, 0, d * sizeof *du);
    if (!r->gated) return;
    const REAL *kept = kept_by(r);
    for (size_t i = 0; i < d; i++) {
        dgate[i] = du[i] * (r->additive ? routed[i] : routed[i] - kept[i]);
        if (sigmoid) dgate[i] *= g[i] * (1 - g[i]);
        drouted[i] = g[i] * du[i];
        if (!r->additive) dtotal[i] = (1 - g[i]) * du[i];
    }
    if (r->weights.gate_weight != NULL) REAL_NAME(ds_linear_backward_add)(dtotal, dgate, r->weights.gate_weight, 1);
}

/* Of the logits: with p_j = <drouted, source_j>, slope_j = alpha_j (p_j - sum alpha p). */
static void logits_backward(const ds_depth_reading *r, size_t d) {
    double mean = 0;
    for (size_t j = 0; j < r->count; j++) {
        r->slope[j] = r->learned ? REAL_NAME(ds_dot)(r->drouted, r->source[j], d) : 0;
        mean += r->alpha[j] * r->slope[j];
    }
    for (size_t j = 0; j < r->count; j++) r->slope[j] = r->alpha[j] * (r->slope[j] - mean);
}

/* r->dsums <- gradients of the sources: alpha drouted, and slope (q w / rms - along source / (d rms^3)). */
static void sources_backward(const ds_depth_reading *r, size_t d) {
    const REAL *scaled = r->scaled, *drouted = r->drouted;
    for (size_t j = 0; j < r->count; j++) {
        const REAL *source = r->source[j];
        REAL *to = (REAL *)r->dsums + j * d;
        double inverse = r->inverse[j], cubed = inverse * inverse * inverse / (double)d;
        REAL alpha = (REAL)r->alpha[j], key = (REAL)(r->slope[j] * inverse), own = (REAL)(r->slope[j] * r->along[j] * cubed);
        for (size_t i = 0; i < d; i++) to[i] = alpha * drouted[i] + key * scaled[i] - own * source[i];
    }
    if (r->gated && !r->additive) add((REAL *)r->dsums + (r->count - 1) * d, r->dtotal, d);
}

/* From the gradient of u, all of the above. */
static void reading_backward(ds_depth_reading *r, const ds_pass *pass, const REAL *history, const REAL *du) {
    size_t d = pass->model->spec.hidden;
    read_token(r->read, r, pass, history);
    gate_backward(r, du, d);
    logits_backward(r, d);
    sources_backward(r, d);
}

/* P is what an additive read adds to, and the last source of the others that keep it. The readout is the first to be seen. */
static void sum_backward(const ds_derivative *b, const ds_depth_reading *r, size_t token) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_depth_memory *own = b->gradient->rule;
    size_t d = spec->hidden;
    if (own->dsum == NULL) return;
    REAL *dsum = (REAL *)own->dsum + token * d;
    if (b->pass.sublayer == ds_spec_sublayers(spec)) memset(dsum, 0, d * sizeof *dsum);
    add(dsum, r->additive ? r->dtotal : (const REAL *)r->dsums + (r->count - 1) * d, d);
}

static void read_backward(const ds_derivative *b, void *dstate, const void *dx_in, size_t token, size_t future) {
    size_t d = b->pass.model->spec.hidden;
    REAL *dhistory = dstate;
    ds_depth_reading *r = reading_of(&b->pass, token);
    (void)future;
    reading_backward(r, &b->pass, history_of(&b->pass, token), (const REAL *)dx_in + token * d);
    sum_backward(b, r, token);
    scatter(dhistory, r->dsums, r, d);
    for (size_t i = 0; r->additive && i < r->parts; i++)
        if (r->open[i]) add(dhistory + i * d, r->dtotal, d);
}

/* One token's part in the sums for the weights of a read. */
static void add_sums(double *sums, const ds_depth_reading *r, const ds_spec *spec) {
    ds_depth_partial at = ds_depth_partial_of(spec);
    size_t d = spec->hidden;
    const REAL *dgate = r->dgate, *dnull = r->dsums;
    for (size_t j = 0; j < r->count; j++) {
        const REAL *source = r->source[j];
        double factor = r->slope[j] * r->inverse[j];
        for (size_t i = 0; i < d; i++) sums[at.scaled + i] += factor * (double)source[i];
    }
    for (size_t i = 0; r->count > 0 && r->weights.null != NULL && i < d; i++) sums[at.null + i] += (double)dnull[i];
    for (size_t i = 0; r->gated && i < d; i++) {
        if (r->weights.gate_weight != NULL)
            sums[at.gate_bias + i] += (double)dgate[i];
        else
            sums[at.gate] += (double)dgate[i];
    }
    if (r->count > 0 && r->weights.bias != NULL) sums[at.bias] += r->slope[r->count - 1];
}

static void read_sums(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_depth_memory *own = b->gradient->rule;
    double *sums = ds_partial_at(b, tile, b->gradient->layout.rule);
    size_t d = spec->hidden;
    if (sums == NULL) return;
    ds_depth_reading *r = reading_of(&b->pass, tile.token);
    for (size_t t = 0; t < tile.rows; t++) {
        size_t token = tile.token + t;
        reading_backward(r, &b->pass, history_of(&b->pass, token), (const REAL *)b->gradient->dx_in + token * d);
        add_sums(sums, r, spec);
        if (own->kept == NULL) continue;
        if (r->gated) memcpy((REAL *)own->kept + token * d, kept_by(r), d * sizeof(REAL));
        if (r->gated) memcpy((REAL *)own->dgate + token * d, r->dgate, d * sizeof(REAL));
        if (!r->gated) memset((REAL *)own->dgate + token * d, 0, d * sizeof(REAL));
        if (!r->gated) memset((REAL *)own->kept + token * d, 0, d * sizeof(REAL));
    }
}

/* logit = <q w, source> / rms: from the gradient of q w to those of q and w. */
static void query_parameters(ds_derivative *b, const ds_depth_weights *weights, const double *sums) {
    size_t d = b->pass.model->spec.hidden;
    REAL *dquery = REAL_NAME(ds_gradient_of)(b, weights->query), *dnorm = REAL_NAME(ds_gradient_of)(b, weights->norm);
    for (size_t i = 0; i < d; i++) {
        dquery[i] += (REAL)(sums[i] * (double)VALUES(weights->norm)[i]);
        dnorm[i] += (REAL)(sums[i] * (double)VALUES(weights->query)[i]);
    }
}

static void read_parameters(ds_derivative *b) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_depth_memory *own = b->gradient->rule;
    ds_depth_weights weights = ds_depth_weights_of(b->pass.model, b->pass.sublayer);
    ds_depth_partial at = ds_depth_partial_of(spec);
    size_t first = b->gradient->layout.rule, d = spec->hidden, tokens = b->pass.batch->sequences * b->pass.batch->length;
    if (weights.query == NULL) return;
    query_parameters(b, &weights, REAL_NAME(ds_tile_sums)(b, first + at.scaled, d));
    REAL_NAME(ds_sum_tiles)(b, weights.null, first + at.null);
    REAL_NAME(ds_sum_tiles)(b, weights.logit != NULL ? weights.logit : weights.alpha, first + at.gate);
    REAL_NAME(ds_sum_tiles)(b, weights.bias, first + at.bias);
    REAL_NAME(ds_sum_tiles)(b, weights.gate_bias, first + at.gate_bias);
    if (weights.gate_weight != NULL) REAL_NAME(ds_gemm_tn_add)
    (REAL_NAME(ds_gradient_of)(b, weights.gate_weight), d, own->dgate, d, own->kept, d, d, d, tokens);
}

/* ---- tangent ---------------------------------------------------------------------------------------------------------- */

/* r->slope <- tangents of alpha: alpha_j (l_j - sum alpha l), the logit's tangent l being
 * <q w, dsource> / rms - along <source, dsource> / (d rms^3). */
static void alpha_tangent(const ds_depth_reading *r, size_t d) {
    double mean = 0;
    for (size_t j = 0; j < r->count; j++) {
        double inverse = r->inverse[j], cubed = inverse * inverse * inverse / (double)d;
        r->slope[j] = REAL_NAME(ds_dot)(r->scaled, r->dsource[j], d) * inverse -
                      r->along[j] * cubed * REAL_NAME(ds_dot)(r->source[j], r->dsource[j], d);
        mean += r->alpha[j] * r->slope[j];
    }
    for (size_t j = 0; j < r->count; j++) r->slope[j] = r->learned ? r->alpha[j] * (r->slope[j] - mean) : 0;
}

/* r->dgate <- the gate's tangent, from that of what it looks at. */
static void gate_tangent(const ds_depth_reading *r, const REAL *dkept, size_t d) {
    REAL *dgate = r->dgate;
    const REAL *g = r->gate;
    memset(dgate, 0, d * sizeof *dgate);
    if (r->weights.gate_weight == NULL) return;
    REAL_NAME(ds_linear)(dgate, dkept, r->weights.gate_weight, 1);
    for (size_t i = 0; i < d; i++) dgate[i] *= g[i] * (1 - g[i]);
}

/* du (d) along dhistory, r being read already. */
static void reading_tangent(REAL *du, const ds_depth_reading *r, const REAL *dhistory, size_t d) {
    REAL *drouted = r->drouted, *dsums = r->dsums;
    const REAL *g = r->gate, *routed = r->routed, *dgate = r->dgate;
    if (r->count > 0 && r->slot[0] == DS_NO_SOURCE) { /* a parameter */
        memset(dsums, 0, d * sizeof *dsums);
        r->dsource[0] = dsums;
    }
    gather(r->dsource, dsums, r, dhistory, d);
    if (r->additive) sum_parts(r->dtotal, r, NULL, dhistory, 0, r->parts, d);
    alpha_tangent(r, d);
    memset(drouted, 0, d * sizeof *drouted);
    for (size_t j = 0; j < r->count; j++) {
        const REAL *source = r->source[j], *dsource = r->dsource[j];
        REAL alpha = (REAL)r->alpha[j], dalpha = (REAL)r->slope[j];
        for (size_t i = 0; i < d; i++) drouted[i] += alpha * dsource[i] + dalpha * source[i];
    }
    const REAL *dkept = r->additive ? r->dtotal : r->dsource[r->count - 1], *kept = kept_by(r);
    if (r->gated) gate_tangent(r, dkept, d);
    for (size_t i = 0; i < d; i++) {
        du[i] = r->gated ? g[i] * drouted[i] + dgate[i] * routed[i] : drouted[i];
        if (r->additive)
            du[i] += dkept[i];
        else if (r->gated)
            du[i] += (1 - g[i]) * dkept[i] - dgate[i] * kept[i];
    }
}

static const void *read_tangent(const ds_derivative *b, ds_tile tile, void *dx_in) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, width = ds_spec_planes(spec) * d;
    REAL *du = dx_in;
    ds_depth_reading *r = reading_of(&b->pass, tile.token);
    for (size_t t = 0; t < tile.rows; t++) {
        read_token(r->read, r, &b->pass, history_of(&b->pass, tile.token + t));
        reading_tangent(du + t * d, r, (const REAL *)b->state + (tile.token + t) * width, d);
    }
    return dx_in;
}

/* ---- write: v_{s+1} = m h --------------------------------------------------------------------------------------------- */

static size_t write_forward(const ds_pass *pass, ds_tile tile, void *h) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    size_t d = spec->hidden, width = ds_spec_planes(spec) * d, not_finite = tile.rows;
    bool leaves = ds_sublayer_is_identity(spec, pass->sublayer, ds_pass_force(pass));
    REAL *history = ROWS(pass->state, tile, width);
    const REAL *row = h;
    for (size_t t = 0; t < tile.rows; t++, row += d, history += width) {
        REAL *own = history + (pass->sublayer + 1) * d;
        memset(own, 0, d * sizeof *own);
        bool finite = leaves || REAL_NAME(ds_rank_one_update)(own, row, &spec->residual_mult, d, 1);
        if ((pass->wants & DS_OBSERVE_GATES) != 0) {
            w->state_norm[tile.token + t] = sqrt(REAL_NAME(ds_dot)(history, history, (pass->sublayer + 1) * d));
            w->edit_norm[tile.token + t] = sqrt(REAL_NAME(ds_dot)(own, own, d));
        }
        if (!finite && not_finite == tile.rows) not_finite = t;
    }
    return not_finite;
}

static void write_backward(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, width = ds_spec_planes(spec) * d, own = (b->pass.sublayer + 1) * d;
    REAL mult = (REAL)spec->residual_mult, *dh = ROWS(b->gradient->dbranch, tile, d);
    const REAL *dhistory = ROWS(b->state, tile, width);
    for (size_t t = 0; t < tile.rows; t++, dh += d, dhistory += width)
        for (size_t i = 0; i < d; i++) dh[i] = mult * dhistory[own + i];
}

/* What was in the sublayer's own plane before does not matter. */
static void shortcut_backward(const ds_derivative *b, void *dstate, size_t token) {
    size_t d = b->pass.model->spec.hidden;
    (void)token;
    memset((REAL *)dstate + (b->pass.sublayer + 1) * d, 0, d * sizeof(REAL));
}

static void write_tangent(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, width = ds_spec_planes(spec) * d, own = (b->pass.sublayer + 1) * d;
    REAL mult = (REAL)spec->residual_mult, *dhistory = ROWS(b->state, tile, width);
    const REAL *dh = ROWS(b->gradient->dbranch, tile, d);
    for (size_t t = 0; t < tile.rows; t++, dh += d, dhistory += width)
        for (size_t i = 0; i < d; i++) dhistory[own + i] = mult * dh[i];
}

/* ---- the two ends ----------------------------------------------------------------------------------------------------- */

/* All planes but v_0 of a tile. */
static void clear_outputs(void *state, const ds_spec *spec, ds_tile tile) {
    size_t d = spec->hidden, width = ds_spec_planes(spec) * d;
    REAL *history = ROWS(state, tile, width);
    for (size_t t = 0; t < tile.rows; t++, history += width) memset(history + d, 0, (width - d) * sizeof *history);
}

static void embed_forward(const ds_pass *pass, ds_tile tile) {
    REAL_NAME(ds_embed_tile_forward)(pass, tile);
    clear_outputs(pass->state, &pass->model->spec, tile);
}

static void embed_backward(const ds_derivative *b, ds_tile tile) {
    clear_outputs(b->state, &b->pass.model->spec, tile);
    REAL_NAME(ds_embed_tile_backward)(b, tile);
}

const ds_rule_steps REAL_NAME(ds_rule_depth_steps) = {
    .embed_forward = embed_forward,
    .embed_backward = embed_backward,
    .readout_forward = REAL_NAME(ds_readout_tile_forward),
    .readout_backward = REAL_NAME(ds_readout_tile_backward),
    .read_forward = read_forward,
    .read_backward = read_backward,
    .read_sums = read_sums,
    .read_parameters = read_parameters,
    .read_tangent = read_tangent,
    .mix = mix,
    .route = route,
    .write_forward = write_forward,
    .write_backward = write_backward,
    .shortcut_backward = shortcut_backward,
    .write_tangent = write_tangent,
};
