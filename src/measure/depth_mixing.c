#include "deltascope/measure/depth_mixing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/spectra.h"

#include "depth_terms.h"
#include "routing_terms.h"
#include "stream_terms.h"

/* Tokens whose terms are computed at a time, each by one worker. */
enum { CHUNK = 64 };

/* What is filled while the windows pass. */
typedef struct collection {
    ds_depth_mixing *out;
    ds_depth_pass pass;
    ds_stream_pass streams;
    ds_run *run;
    ds_force *forces;          /* (ds_spec_forces) */
    double *nll, *mixing;      /* (B,T); (S+1,S+1) A of one token */
    double *routing;           /* (B,T,2N+2) of a read, N the sources of the read that has most */
    double *numbers, *scratch; /* of all terms; of all workers */
    size_t scratch_length;     /* of one worker */
    size_t from;               /* token of the batch that the chunk begins with */
    ds_depth_terms terms[CHUNK];
    ds_sum *contribution, *share, *gain; /* (S+1,S+1) */
    ds_token_moments *entries;           /* (S+1,S+1) of A */
    uint64_t *gains;                     /* (S+1,S+1) how many there were */
    ds_sum *source_norm, *state_norm, *read_norm;
    uint64_t tokens;
} collection;

static bool has_operators(const ds_spec *spec) { return ds_rule_has_operators(spec->rule); }
static bool has_streams(const ds_spec *spec) { return ds_rule_kind_of(spec->rule) == DS_KIND_STREAMS; }
/* Attention over depth: the state is what was written, plane by plane. */
static bool keeps_history(const ds_spec *spec) { return ds_rule_keeps_history(spec->rule); }

/* ---- what a pass leaves ----------------------------------------------------------------------------------------------- */

static double norm_at(const void *array, size_t token, size_t width, ds_precision precision) {
    double sum = 0;
    for (size_t i = 0; i < width; i++) {
        double x = ds_real_at(array, precision, token * width + i);
        sum += x * x;
    }
    return sqrt(sum);
}

/* m beta k (v - k^T X): what of it stands in the operator and what is written, for the rule as it was trained. */
static void keep_delta(ds_depth_pass *pass, const ds_spec *spec, const ds_observation *seen) {
    const ds_delta_observation *delta = seen->delta;
    size_t dv = spec->value_channels, at = seen->sublayer * pass->most,
           bytes = spec->hidden * ds_precision_size(seen->precision);
    unsigned trained = spec->trained[seen->sublayer % 2].mode;
    for (size_t t = 0; t < pass->tokens; t++) {
        double strength = spec->residual_mult * delta->beta[t];
        pass->strength[at + t] = trained == DS_FORCE_WRITE_ONLY ? 0 : strength;
        for (size_t j = 0; j < dv; j++)
            pass->written[(at + t) * dv + j] = trained == DS_FORCE_ERASE_ONLY ? 0 : strength * delta->target[t * dv + j];
    }
    memcpy(pass->k + at * bytes, delta->k, pass->tokens * bytes);
}

static ds_status observe(void *context, const ds_observation *seen) {
    collection *all = context;
    ds_depth_pass *pass = &all->pass;
    const ds_spec *spec = &all->run->spec;
    size_t here = seen->sublayer * pass->most, next = here + pass->most;
    if (!keeps_history(spec)) memcpy(pass->state_norm + here, seen->state_norm, pass->tokens * sizeof *pass->state_norm);
    const double *written = seen->streams != NULL ? seen->streams->output_norm : seen->edit_norm;
    memcpy(pass->source_norm + next, written, pass->tokens * sizeof *pass->source_norm);
    if (seen->streams != NULL) ds_stream_pass_keep(&all->streams, seen);
    if (seen->delta == NULL) return DS_OK;
    keep_delta(pass, spec, seen);
    for (size_t t = 0; t < pass->tokens; t++) /* |m beta k v^T| = |k| |m beta v| */
        pass->source_norm[next + t] =
            norm_at(pass->written, here + t, spec->value_channels, DS_F64) * sqrt(seen->delta->k_norm2[t]);
    return DS_OK;
}

/* norms (B,T) of what the readout reads, or a sublayer, from the state before it. */
static ds_status measure_norms(double *norms, collection *all, const ds_batch *batch, const ds_force *forces, size_t sublayer,
                               void *read) {
    ds_status status;
    const ds_depth_pass *pass = &all->pass;
    DS_TRY(ds_read(all->run->workspace, all->run->model, batch, forces, sublayer, pass->state, read));
    for (size_t t = 0; t < pass->tokens; t++) norms[t] = norm_at(read, t, all->run->spec.hidden, pass->precision);
done:
    return status;
}

/* What read `sublayer` leaves: norms, weights, and of a history what stands for the state: the last source where the readout is
 * routed like all reads, the running sum otherwise. Both are what such a read can be forced to. */
static ds_status measure_read(collection *all, const ds_batch *batch, size_t sublayer, void *read) {
    ds_status status = DS_OK;
    ds_depth_pass *pass = &all->pass;
    const ds_spec *spec = &all->run->spec;
    size_t at = sublayer * pass->most;
    bool routed = ds_spec_forces(spec) > pass->sublayers;
    DS_TRY(measure_norms(pass->read_norm + at, all, batch, NULL, sublayer, read));
    if (has_streams(spec) && sublayer < pass->sublayers)
        ds_stream_pass_state(&all->streams, sublayer, pass->tokens, pass->state, pass->precision);
    if (pass->mix != NULL && !has_streams(spec))
        DS_TRY(
            ds_mix(all->run->workspace, all->run->model, batch, NULL, sublayer, pass->state, pass->mix + at * all->out->reads));
    if (!keeps_history(spec)) return DS_OK;
    if (all->out->routing[sublayer].count > 0) {
        DS_TRY(ds_route(all->run->workspace, all->run->model, batch, sublayer, pass->state, all->routing));
        ds_read_routing_add(&all->out->routing[sublayer], all->routing, pass->tokens);
    }
    for (size_t s = 0; s < ds_spec_forces(spec); s++) all->forces[s].mode = routed ? DS_FORCE_RECENT : DS_FORCE_RESIDUAL;
    DS_TRY(measure_norms(pass->state_norm + at, all, batch, all->forces, sublayer, read));
done:
    return status;
}

static ds_status run_pass(collection *all, const ds_batch *batch) {
    ds_status status = DS_OK;
    ds_depth_pass *pass = &all->pass;
    ds_run *run = all->run;
    const ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, observe, all};
    size_t sublayers = pass->sublayers, width = ds_spec_planes(&run->spec) * run->spec.hidden;
    void *read = ds_alloc_array(batch->sequences * batch->length * run->spec.hidden, ds_precision_size(pass->precision));
    if (read == NULL) return DS_ERR_SYSTEM;
    pass->tokens = batch->sequences * batch->length;
    DS_TRY(ds_embed(run->workspace, run->model, batch, pass->state));
    memcpy(pass->first, pass->state, pass->tokens * width * ds_precision_size(pass->precision));
    for (size_t s = 0; s < sublayers; s++) {
        DS_TRY(measure_read(all, batch, s, read));
        DS_TRY(ds_sublayers(run->workspace, run->model, batch, pass->state, s, s + 1, NULL, &observer));
    }
    DS_TRY(measure_read(all, batch, sublayers, read));
    size_t copies = has_streams(&run->spec) ? run->spec.streams.count : 1; /* v_0 is in every stream */
    for (size_t t = 0; t < pass->tokens; t++) {
        pass->source_norm[t] = norm_at(pass->first, t * copies, width / copies, pass->precision);
        if (keeps_history(&run->spec)) continue;
        pass->state_norm[sublayers * pass->most + t] = norm_at(pass->state, t, width, pass->precision);
    }
    DS_TRY(ds_readout(run->workspace, run->model, batch, NULL, pass->state, read));
    DS_TRY(ds_head_loss(run->workspace, run->model, batch, read, all->nll));
done:
    free(read);
    return status;
}

/* ---- token by token --------------------------------------------------------------------------------------------------- */

/* Shares of `sizes` (count), all of them 0 where their sum is. */
static void shares_of(double *shares, const double *sizes, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += fabs(sizes[i]);
    for (size_t i = 0; i < count; i++) shares[i] = sum > 0 ? fabs(sizes[i]) / sum : 0;
}

/* Row `s` of one token's sizes, which become shares. */
static void add_contribution(collection *all, double *sizes, size_t s) {
    ds_mixing_row *row = &all->out->rows[s];
    shares_of(sizes, sizes, s + 1);
    double entropy = ds_share_entropy(sizes, s + 1);
    for (size_t i = 0; i <= s; i++) ds_sum_add(&all->contribution[s * all->out->reads + i], sizes[i]);
    ds_token_moments_add(&row->contribution_entropy, entropy);
    ds_token_moments_add(&row->contribution_sources, exp(entropy));
    ds_token_moments_add(&row->contribution_max, ds_largest_share(sizes, s + 1));
}

/* Row `s` of one token's A, which becomes shares. */
static void add_weights(collection *all, double *a, size_t s) {
    ds_mixing_row *row = &all->out->rows[s];
    double sum = 0, age = 0;
    for (size_t i = 0; i <= s; i++) {
        sum += a[i];
        ds_token_moments_add(&all->entries[s * all->out->reads + i], a[i]);
    }
    ds_token_moments_add(&row->row_sum, sum);
    shares_of(a, a, s + 1);
    for (size_t i = 0; i <= s; i++) {
        age += a[i] * (double)(s - i);
        ds_sum_add(&all->share[s * all->out->reads + i], a[i]);
    }
    double entropy = ds_share_entropy(a, s + 1);
    ds_token_moments_add(&row->entropy, entropy);
    ds_token_moments_add(&row->effective_sources, exp(entropy));
    ds_token_moments_add(&row->max_share, ds_largest_share(a, s + 1));
    ds_token_moments_add(&row->mean_source_age, age);
}

/* Largest sums of rows and columns, with signs and without. */
static void add_gains(ds_depth_mixing *out, const double *a) {
    double forward = 0, backward = 0, inf = 0, one = 0;
    for (size_t s = 0; s < out->reads; s++) {
        double row = 0, column = 0, absolute_row = 0, absolute_column = 0;
        for (size_t i = 0; i < out->reads; i++) {
            row += a[s * out->reads + i];
            column += a[i * out->reads + s];
            absolute_row += fabs(a[s * out->reads + i]);
            absolute_column += fabs(a[i * out->reads + s]);
        }
        forward = fmax(forward, fabs(row));
        backward = fmax(backward, fabs(column));
        inf = fmax(inf, absolute_row);
        one = fmax(one, absolute_column);
    }
    ds_token_moments_add(&out->forward_gain, forward);
    ds_token_moments_add(&out->backward_gain, backward);
    ds_token_moments_add(&out->inf_norm, inf);
    ds_token_moments_add(&out->one_norm, one);
}

static void add_mixing(collection *all, size_t token) {
    ds_depth_mixing *out = all->out;
    size_t reads = out->reads;
    double *a = all->mixing;
    for (size_t s = 0; s < reads; s++)
        for (size_t i = 0; i < reads; i++)
            a[s * reads + i] = i <= s ? all->pass.mix[s * all->pass.most * reads + token * (s + 1) + i] : 0;
    add_gains(out, a);
    for (size_t s = 0; s < reads; s++) {
        double *sizes = all->numbers;
        for (size_t i = 0; i <= s; i++) sizes[i] = a[s * reads + i] * all->pass.source_norm[i * all->pass.most + token];
        add_contribution(all, sizes, s);
        add_weights(all, a + s * reads, s);
    }
}

static ds_status terms_task(void *context, size_t index, size_t worker) {
    collection *all = context;
    ds_depth_terms_of(&all->terms[index], &all->pass, &all->run->spec, all->from + index,
                      all->scratch + worker * all->scratch_length);
    return DS_OK;
}

/* An entry is carried through at most S operators and written once, every number of the state being rounded each time. */
static ds_status check_terms(ds_depth_mixing *out, const collection *all, const ds_depth_terms *terms) {
    double rounding = 16 * (double)(out->reads + 1) * ds_unit_roundoff(all->pass.precision) * (terms->largest + terms->state);
    if (terms->state > 0) out->sum_error = fmax(out->sum_error, terms->error / terms->state);
    if (terms->error <= rounding) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM,
                   "what was written at each depth does not add up to the last state: off by %g, at most %g expected",
                   terms->error, rounding);
}

static ds_status add_terms(collection *all, size_t count) {
    ds_status status;
    ds_depth_mixing *out = all->out;
    size_t reads = out->reads;
    DS_TRY(ds_parallel_for(count, terms_task, all));
    for (size_t t = 0; t < count; t++) {
        ds_depth_terms *terms = &all->terms[t];
        DS_TRY(check_terms(out, all, terms));
        for (size_t s = 0; s < reads; s++) {
            add_contribution(all, terms->size + s * reads, s);
            for (size_t at = s * reads; at <= s * reads + s; at++) {
                if (isnan(terms->gain[at])) continue;
                ds_sum_add(&all->gain[at], terms->gain[at]);
                all->gains[at]++;
            }
        }
    }
done:
    return status;
}

static ds_status measure_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    collection *all = context;
    const ds_depth_pass *pass = &all->pass;
    size_t length = now->batch.length;
    DS_TRY(run_pass(all, &now->batch));
    if (has_streams(&all->run->spec)) DS_TRY(ds_stream_pass_tokens(&all->streams, pass->tokens));
    if (has_streams(&all->run->spec)) ds_stream_sublayers_add(all->out->mixing, &all->streams, pass->tokens);
    for (size_t b = 0; b < now->batch.sequences; b++)
        all->out->sequence_loss[now->windows[b]] = ds_mean(all->nll + b * length, length);
    for (size_t t = 0; t < pass->tokens; t++, all->tokens++) {
        for (size_t s = 0; s < all->out->reads; s++) {
            ds_sum_add(&all->source_norm[s], pass->source_norm[s * pass->most + t]);
            ds_sum_add(&all->state_norm[s], pass->state_norm[s * pass->most + t]);
            ds_sum_add(&all->read_norm[s], pass->read_norm[s * pass->most + t]);
        }
        if (!has_operators(&all->run->spec)) add_mixing(all, t);
    }
    for (all->from = 0; has_operators(&all->run->spec) && all->from < pass->tokens; all->from += CHUNK)
        DS_TRY(add_terms(all, ds_min_size(pass->tokens - all->from, CHUNK)));
done:
    return status;
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

static ds_status pass_init(ds_depth_pass *pass, const ds_run *run, size_t batch) {
    ds_status status = DS_OK;
    const ds_spec *spec = &run->spec;
    size_t sublayers = ds_spec_sublayers(spec), tokens = batch * run->length, size = ds_precision_size(run->options.precision);
    size_t width = ds_spec_planes(spec) * spec->hidden * size;
    *pass = (ds_depth_pass){.sublayers = sublayers, .most = tokens, .precision = run->options.precision};
    DS_NEW_ARRAY(pass->source_norm, (sublayers + 1) * tokens);
    DS_NEW_ARRAY(pass->state_norm, (sublayers + 1) * tokens);
    DS_NEW_ARRAY(pass->read_norm, (sublayers + 1) * tokens);
    DS_NEW_ARRAY(pass->state, tokens * width);
    DS_NEW_ARRAY(pass->first, tokens * width);
    if (!has_operators(spec)) {
        DS_NEW_ARRAY(pass->mix, (sublayers + 1) * tokens * (sublayers + 1));
        return DS_OK;
    }
    DS_NEW_ARRAY(pass->strength, sublayers * tokens);
    DS_NEW_ARRAY(pass->written, sublayers * tokens * spec->value_channels);
    DS_NEW_ARRAY(pass->k, sublayers * tokens * spec->hidden * size);
done:
    return status;
}

static ds_status delta_init(collection *all, size_t reads) {
    ds_status status = DS_OK;
    const ds_spec *spec = &all->run->spec;
    size_t square = reads * reads;
    all->scratch_length = (2 * reads + 2) * spec->value_channels * spec->hidden;
    DS_NEW_ARRAY(all->scratch, ds_threads() * all->scratch_length);
    DS_NEW_ARRAY(all->numbers, 2 * CHUNK * square);
    for (size_t i = 0; i < CHUNK; i++)
        all->terms[i] = (ds_depth_terms){.size = all->numbers + 2 * i * square, .gain = all->numbers + (2 * i + 1) * square};
    DS_NEW(all->gain, square);
    DS_NEW(all->gains, square);
    DS_NEW(all->out->gain, square);
done:
    return status;
}

static ds_status mixing_init(collection *all, size_t reads) {
    ds_status status = DS_OK;
    ds_depth_mixing *out = all->out;
    size_t square = reads * reads;
    DS_NEW(all->mixing, square);
    DS_NEW(all->numbers, reads);
    DS_NEW(all->share, square);
    DS_NEW(all->entries, square);
    DS_NEW(out->mean, square);
    DS_NEW(out->token_std, square);
    DS_NEW(out->share, square);
    DS_NEW(out->singular_values, reads);
done:
    return status;
}

static ds_status collection_init(collection *all, ds_depth_mixing *out, ds_run *run, size_t batch) {
    ds_status status = DS_OK;
    size_t reads = ds_spec_sublayers(&run->spec) + 1;
    *all = (collection){.out = out, .run = run};
    *out = (ds_depth_mixing){.spec = &run->spec, .reads = reads, .sequences = run->sequences};
    DS_TRY(pass_init(&all->pass, run, batch));
    DS_NEW_ARRAY(all->nll, batch * run->length);
    DS_NEW(all->forces, ds_spec_forces(&run->spec));
    DS_NEW(all->contribution, reads * reads);
    DS_NEW(all->source_norm, reads);
    DS_NEW(all->state_norm, reads);
    DS_NEW(all->read_norm, reads);
    DS_NEW(out->sequence_loss, run->sequences);
    DS_NEW(out->source_norm, reads);
    DS_NEW(out->state_norm, reads);
    DS_NEW(out->read_norm, reads);
    DS_NEW(out->rows, reads);
    DS_NEW(out->contribution, reads * reads);
    DS_TRY(has_operators(&run->spec) ? delta_init(all, reads) : mixing_init(all, reads));
    if (!has_operators(&run->spec) && !has_streams(&run->spec)) {
        DS_TRY(ds_read_routing_new(&out->routing, run->model));
        DS_NEW_ARRAY(all->routing, batch * run->length * ds_read_routing_length(out->routing, reads));
    }
    if (!has_streams(&run->spec)) goto done;
    DS_TRY(ds_stream_pass_init(&all->streams, &run->spec, batch * run->length));
    all->streams.mix = all->pass.mix;
    out->streams = run->spec.streams.count;
    DS_TRY(ds_stream_sublayers_init(&out->mixing, &run->spec));
done:
    return status;
}

static void collection_release(collection *all) {
    ds_stream_pass_release(&all->streams);
    ds_depth_pass *pass = &all->pass;
    void *owned[] = {pass->source_norm, pass->state_norm, pass->read_norm, pass->strength, pass->written, pass->k,
                     pass->state,       pass->first,      all->nll,        all->mixing,    all->numbers,  all->scratch,
                     all->contribution, all->share,       all->gain,       all->entries,   all->gains,    all->source_norm,
                     all->state_norm,   all->read_norm,   pass->mix,       all->forces,    all->routing};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

void ds_depth_mixing_release(ds_depth_mixing *mixing) {
    for (size_t s = 0; mixing->mixing != NULL && s + 1 < mixing->reads; s++) free(mixing->mixing[s].entries);
    ds_read_routing_free(mixing->routing, mixing->reads);
    void *owned[] = {mixing->sequence_loss,   mixing->source_norm, mixing->state_norm, mixing->read_norm, mixing->rows,
                     mixing->contribution,    mixing->mean,        mixing->token_std,  mixing->share,     mixing->gain,
                     mixing->singular_values, mixing->mixing};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    *mixing = (ds_depth_mixing){0};
}

/* ---- the whole -------------------------------------------------------------------------------------------------------- */

static ds_status take_matrix(ds_depth_mixing *out, const collection *all) {
    ds_status status;
    size_t reads = out->reads;
    ds_svd *svd = NULL;
    double *ascending = NULL;
    for (size_t at = 0; at < reads * reads; at++) {
        bool below = at % reads <= at / reads;
        out->mean[at] = below ? ds_token_moments_mean(&all->entries[at]) : 0;
        out->token_std[at] = below ? ds_token_moments_std(&all->entries[at]) : 0;
        out->share[at] = ds_sum_value(&all->share[at]) / (double)all->tokens;
    }
    DS_NEW_ARRAY(ascending, reads);
    DS_TRY(ds_svd_new(&svd, reads, reads));
    DS_TRY(ds_singular_values_approx(ascending, out->mean, reads, reads, svd));
    for (size_t i = 0; i < reads; i++) out->singular_values[i] = ascending[reads - 1 - i];
done:
    ds_svd_free(&svd);
    free(ascending);
    return status;
}

static ds_status take(ds_depth_mixing *out, const collection *all) {
    ds_status status = DS_OK;
    double tokens = (double)all->tokens;
    out->loss = ds_mean(out->sequence_loss, out->sequences);
    for (size_t s = 0; s < out->reads; s++) {
        out->source_norm[s] = ds_sum_value(&all->source_norm[s]) / tokens;
        out->state_norm[s] = ds_sum_value(&all->state_norm[s]) / tokens;
        out->read_norm[s] = ds_sum_value(&all->read_norm[s]) / tokens;
    }
    for (size_t at = 0; at < out->reads * out->reads; at++) {
        bool below = at % out->reads <= at / out->reads;
        out->contribution[at] = ds_sum_value(&all->contribution[at]) / tokens;
        if (out->gain == NULL || !below) continue;
        out->gain[at] = all->gains[at] > 0 ? ds_sum_value(&all->gain[at]) / (double)all->gains[at] : NAN;
    }
    if (out->mean != NULL) DS_TRY(take_matrix(out, all));
    if (out->mixing != NULL) ds_stream_sublayers_take(out->mixing, out->reads - 1);
done:
    return status;
}

ds_status ds_depth_mixing_measure(ds_depth_mixing *out, ds_run *run) {
    ds_status status = DS_OK;
    collection all;
    const ds_window_pass pass = {.label = "depth", .batch = measure_batch, .context = &all};
    DS_TRY(collection_init(&all, out, run, run->batch));
    DS_TRY(ds_run_windows(run, &pass));
    DS_TRY(take(out, &all));
done:
    collection_release(&all);
    if (status != DS_OK) ds_depth_mixing_release(out);
    return status;
}
