/* Attention over depth by plain loops, one token at a time: the published code followed from the first sublayer to the one that
 * reads, every source a row of whole numbers that say how often each v_i is in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plain_model.h"

/* ---- what there is to choose from ------------------------------------------------------------------------------------- */

enum { FULL = 1, BLOCK = 2, CUMULATIVE_FULL = 4, CUMULATIVE_BLOCK = 8, DELTA = 16, DELTA_BLOCK = 32, REPLACE = 64, SUMS = 128 };

static unsigned form_of(const ds_spec *spec) {
    static const struct {
        const char *rule;
        unsigned form;
    } forms[] = {{"attnres-full", FULL},
                 {"attnres-block", BLOCK},
                 {"attnres-cumulative-full", CUMULATIVE_FULL},
                 {"attnres-cumulative-block", CUMULATIVE_BLOCK},
                 {"delta-attnres", DELTA},
                 {"delta-attnres-block", DELTA_BLOCK},
                 {"delta-replace", REPLACE},
                 {"full-additive", SUMS}};
    size_t i = 0;
    while (strcmp(forms[i].rule, ds_rule_name(spec->rule)) != 0) i++;
    return forms[i].form;
}

ds_plain_depth_form ds_plain_depth_form_of(const ds_spec *spec) {
    unsigned form = form_of(spec);
    return (ds_plain_depth_form){.additive = (form & (DELTA | DELTA_BLOCK | SUMS)) != 0,
                                 .single = (form & (FULL | DELTA)) != 0,
                                 .partition = (form & (FULL | BLOCK | DELTA)) != 0};
}

size_t ds_plain_depth_rows(const ds_spec *spec) { return ds_rule_keeps_history(spec->rule) ? ds_spec_planes(spec) + 3 : 1; }

/* rows (ds_plain_depth_rows, planes) of a read; after them there is room for P and for the block at work. */
typedef struct listing {
    double *rows;
    size_t width, count;
} listing;

static void append(listing *list, const double *row) {
    memcpy(list->rows + list->count++ * list->width, row, list->width * sizeof *row);
}

static void append_one(listing *list, size_t i) {
    double *row = list->rows + list->count++ * list->width;
    memset(row, 0, list->width * sizeof *row);
    row[i] = 1;
}

/* What a block's first sublayer leaves behind once it has read: the block before, or P less the last source. */
static void begin_block(listing *list, unsigned form, const double *sum, double *block, bool *started) {
    if (form == BLOCK && *started) {
        append(list, block);
        memset(block, 0, list->width * sizeof *block);
        *started = false;
    }
    if (form == DELTA_BLOCK) {
        append(list, sum);
        if (list->count == 1) return;
        double *now = list->rows + (list->count - 1) * list->width, *before = now - list->width;
        for (size_t i = 0; i < list->width; i++) now[i] -= before[i];
    }
}

static void end_sublayer(listing *list, unsigned form, const double *sum, size_t sublayer, size_t sublayers_per_block) {
    bool ends = (sublayer + 1) % sublayers_per_block == 0;
    if ((form & (FULL | DELTA | REPLACE)) != 0) append_one(list, sublayer + 1);
    if ((form & (SUMS | CUMULATIVE_FULL)) != 0 || (form == CUMULATIVE_BLOCK && ends)) append(list, sum);
}

/* The sources of a read in the order of the softmax, and P behind them in `sum`. */
static void list_sources(listing *list, double *sum, double *block, const ds_spec *spec, size_t reads) {
    unsigned form = form_of(spec);
    size_t blocks = ds_max_size(spec->depth_blocks, 1), per_block = ds_max_size(1, (spec->layers + blocks - 1) / blocks);
    bool started = false, routed = reads < ds_spec_sublayers(spec) || (form & (FULL | BLOCK)) != 0;
    memset(sum, 0, list->width * sizeof *sum);
    memset(block, 0, list->width * sizeof *block);
    list->count = 0;
    sum[0] = 1;
    if ((form & (FULL | BLOCK | CUMULATIVE_FULL | CUMULATIVE_BLOCK)) != 0 || (form == DELTA && reads > 0)) append(list, sum);
    for (size_t s = 0; s < reads; s++) {
        if (s % (2 * per_block) == 0) begin_block(list, form, sum, block, &started);
        sum[s + 1] = block[s + 1] = 1;
        started = true;
        end_sublayer(list, form, sum, s, 2 * per_block);
    }
    if (form == BLOCK && started) append(list, block);
    if ((form & (CUMULATIVE_FULL | CUMULATIVE_BLOCK | REPLACE)) != 0) append(list, sum);
    if (!routed) list->count = 0;
}

/* v_{s+1} of a sublayer that is always closed is no part of anything. */
static bool is_open(const ds_spec *spec, size_t i) { return i == 0 || spec->trained[(i - 1) % 2].mode != DS_FORCE_CLOSED; }

static void drop_closed(listing *list, const ds_spec *spec) {
    size_t kept = 0;
    for (size_t j = 0; j < list->count; j++) {
        const double *row = list->rows + j * list->width;
        bool any = false;
        for (size_t i = 0; i < list->width; i++) any = any || (row[i] != 0 && is_open(spec, i));
        if (any) memmove(list->rows + kept++ * list->width, row, list->width * sizeof *row);
    }
    list->count = kept;
}

/* ---- one token -------------------------------------------------------------------------------------------------------- */

static ds_bounded row_of(ds_bounded rows, size_t row, size_t width) {
    return (ds_bounded){rows.x + row * width, rows.e + row * width};
}

/* out (d) <- what a row of numbers makes of a token's history, state (d,planes). */
static void sum_history(ds_bounded out, const double *terms, const ds_plain *plain, ds_bounded state) {
    const ds_spec *spec = plain->spec;
    size_t planes = ds_spec_planes(spec), parts = 0;
    for (size_t i = 0; i < planes; i++) parts += terms[i] != 0 && is_open(spec, i);
    double relative = ds_rounded(&plain->arithmetic, parts > 1 ? (double)(parts - 1) : 0, 0, 0);
    for (size_t k = 0; k < spec->hidden; k++) {
        double sum = 0, error = 0;
        for (size_t i = 0; i < planes; i++) {
            if (terms[i] == 0 || !is_open(spec, i)) continue;
            double x = state.x[k * planes + i], e = state.e[k * planes + i];
            sum += x;
            error += e + relative * (fabs(x) + e);
        }
        out.x[k] = ds_settled(sum, &error, &plain->arithmetic);
        out.e[k] = error;
    }
}

/* A weight of the read of sublayer `s`, S being the readout's. */
static const double *weight_of(const ds_plain *plain, size_t s, const char *name) {
    char full[64], other[64];
    bool readout = s == ds_spec_sublayers(plain->spec);
    (void)snprintf(full, sizeof full, "%s_%s", readout ? "model.final" : s % 2 == 0 ? "attn" : "mlp", name);
    (void)snprintf(other, sizeof other, "final_%s", name);
    return readout ? ds_plain_find(plain->model, full, other) : ds_plain_of(plain, s / 2, full, NULL);
}

/* logit_j = <query, norm(source_j)>, and a bias on the last. */
static ds_status score(ds_plain *plain, size_t s, size_t count) {
    ds_status status = DS_OK;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t d = plain->spec->hidden;
    const double *bias = weight_of(plain, s, "res_bias");
    for (size_t j = 0; j < count; j++) {
        ds_bounded_rmsnorm(plain->depth_key, row_of(plain->sources, j, d), weight_of(plain, s, "res_norm.weight"), 1, d,
                           plain->spec->norm_eps, a);
        DS_TRY(ds_bounded_linear(row_of(plain->slots, j, 1), plain->depth_key, weight_of(plain, s, "res_proj.weight"), 1, 1, d,
                                 true, a));
    }
    if (bias != NULL && count > 0) ds_bounded_add_bias(row_of(plain->slots, count - 1, 1), bias, 1, 1, a->sum, a);
done:
    return status;
}

/* routed (d) <- sum of softmax(slots)_j source_j. Weights move as in attention (plain_attention.c), in double; a weight and its
 * product with a source are kept, and so is every sum. */
static void route(ds_bounded routed, ds_plain *plain, size_t count) {
    const ds_arithmetic *a = &plain->arithmetic;
    size_t d = plain->spec->hidden;
    double highest = -INFINITY, total = 0, average = 0, worst = 0, n = (double)count;
    for (size_t j = 0; j < count; j++) {
        highest = fmax(highest, plain->slots.x[j]);
        worst = fmax(worst, plain->slots.e[j]);
    }
    for (size_t j = 0; j < count; j++) {
        plain->slots.e[j] = ds_rounded(a, 0, 3, 0) * (highest - plain->slots.x[j]);
        total += plain->slots.x[j] = exp(plain->slots.x[j] - highest);
        average += plain->slots.x[j] * plain->slots.e[j];
    }
    double factor = expm1(2 * worst) + (total > 0 ? average / total : 0), relative = ds_rounded(a, n + 2, n + 8, 0);
    for (size_t k = 0; k < d; k++) {
        double mean = 0, moved = 0, largest = 0, error = 2 * n * a->tiny;
        for (size_t j = 0; j < count; j++) mean += plain->slots.x[j] / total * plain->sources.x[j * d + k];
        for (size_t j = 0; j < count; j++) {
            double p = plain->slots.x[j] / total, v = plain->sources.x[j * d + k], e = plain->sources.e[j * d + k];
            moved += p * fabs(v - mean) * (factor + plain->slots.e[j]);
            error += p * (e + relative * (fabs(v) + e)) + a->tiny * fabs(v);
            largest = fmax(largest, 2 * (fabs(v) + e));
        }
        routed.e[k] = fmin(moved, largest) + error;
        routed.x[k] = ds_settled(mean, &routed.e[k], a);
    }
}

/* g (d), from what it mixes r with. Returns false where the model has no gate. */
static ds_status gate(bool *gated, ds_bounded g, ds_plain *plain, size_t s, ds_bounded kept) {
    ds_status status = DS_OK;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t d = plain->spec->hidden;
    const double *logit = weight_of(plain, s, "res_gate_logit"), *alpha = weight_of(plain, s, "res_alpha");
    const double *vector = weight_of(plain, s, "res_gate_proj.weight"), *one = logit != NULL ? logit : alpha;
    *gated = one != NULL || vector != NULL;
    for (size_t k = 0; k < d && one != NULL; k++) {
        g.x[k] = *one;
        g.e[k] = a->stored * fabs(*one);
    }
    if (vector != NULL) {
        DS_TRY(ds_bounded_linear(g, kept, vector, 1, d, d, false, a));
        ds_bounded_add_bias(g, weight_of(plain, s, "res_gate_proj.bias"), 1, d, a->u, a);
    }
    if (logit != NULL || vector != NULL) ds_bounded_sigmoid(g, d, false, a);
done:
    return status;
}

/* u <- (1-g) kept + g r, or P + g r; g NULL for 1. */
static void join(ds_bounded u, const ds_plain *plain, const ds_bounded *g, ds_bounded r, ds_bounded kept, bool additive) {
    const ds_arithmetic *a = &plain->arithmetic;
    for (size_t k = 0; k < plain->spec->hidden; k++) {
        double open = g != NULL ? g->x[k] : 1, off = g != NULL ? g->e[k] : 0, rest = additive ? 1 : 1 - open;
        double part = open * r.x[k], other = rest * kept.x[k];
        double error = fabs(open) * r.e[k] + off * (fabs(r.x[k]) + r.e[k]);
        error += fabs(rest) * kept.e[k] + (additive ? 0 : off * (fabs(kept.x[k]) + kept.e[k]));
        if (g != NULL || additive) error += ds_rounded(a, 3, 0, 0) * (fabs(part) + fabs(other) + error) + a->tiny;
        u.x[k] = ds_settled(part + other, &error, a);
        u.e[k] = error;
    }
}

static ds_status read_token(ds_bounded u, ds_plain *plain, listing *list, const double *sum, ds_bounded state, size_t s) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t d = spec->hidden, rows = ds_plain_depth_rows(spec), count = 0;
    bool additive = ds_plain_depth_form_of(spec).additive, gated = false;
    const double *null = s < ds_spec_sublayers(spec) ? weight_of(plain, s, "null_source") : NULL;
    ds_bounded total = row_of(plain->sources, rows, d), routed = row_of(plain->sources, rows + 1, d);
    sum_history(total, sum, plain, state);
    if (null != NULL) {
        memcpy(plain->sources.x, null, d * sizeof *null);
        for (size_t k = 0; k < d; k++) plain->sources.e[k] = plain->arithmetic.stored * fabs(null[k]);
        count++;
    }
    for (size_t j = 0; j < list->count; j++)
        sum_history(row_of(plain->sources, count++, d), list->rows + j * list->width, plain, state);
    if (count == 0) {
        memcpy(u.x, total.x, d * sizeof *u.x);
        memcpy(u.e, total.e, d * sizeof *u.e);
        return DS_OK;
    }
    ds_bounded kept = additive ? total : row_of(plain->sources, count - 1, d);
    DS_TRY(score(plain, s, count));
    route(routed, plain, count);
    DS_TRY(gate(&gated, plain->depth_key, plain, s, kept));
    join(u, plain, gated ? &plain->depth_key : NULL, routed, kept, additive);
done:
    return status;
}

ds_status ds_plain_depth_read(ds_plain *plain, ds_bounded state, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t d = spec->hidden, planes = ds_spec_planes(spec), rows = ds_plain_depth_rows(spec);
    listing list = {plain->terms.x, planes, 0};
    double *sum = plain->terms.x + rows * planes, *block = sum + planes;
    list_sources(&list, sum, block, spec, sublayer);
    drop_closed(&list, spec);
    for (size_t t = 0; t < plain->length; t++)
        DS_TRY(read_token(row_of(plain->x_in, t, d), plain, &list, sum, row_of(state, t, d * planes), sublayer));
done:
    return status;
}

void ds_plain_depth_write(ds_plain *plain, ds_bounded state, size_t sublayer) {
    const ds_arithmetic *a = &plain->arithmetic;
    size_t planes = ds_spec_planes(plain->spec);
    double m = plain->spec->residual_mult;
    if (plain->spec->trained[sublayer % 2].mode == DS_FORCE_CLOSED) return;
    for (size_t i = 0; i < plain->length * plain->spec->hidden; i++) {
        double value = m * plain->branch.x[i], error = fabs(m) * plain->branch.e[i];
        error += ds_rounded(a, 2, 0, 0) * (fabs(value) + error) + a->tiny;
        state.x[i * planes + sublayer + 1] = ds_settled(value, &error, a);
        state.e[i * planes + sublayer + 1] = error;
    }
}
