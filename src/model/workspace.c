#include <math.h>
#include <stdlib.h>

#include "deltascope/base.h"
#include "deltascope/model.h"

#include "workspace.h"

/* One allocation of a * b * c elements; the caller's extents come from a file and may not fit together. */
static ds_status allocate(void **out, size_t a, size_t b, size_t c, size_t size) {
    size_t count;
    if (!ds_mul_size(a, b, &count) || !ds_mul_size(count, c, &count))
        return ds_fail(DS_ERR_SYSTEM, "out of memory: a buffer of %zu x %zu x %zu numbers cannot be addressed", a, b, c);
    *out = ds_alloc_array(count, size);
    return *out != NULL ? DS_OK : DS_ERR_SYSTEM;
}

/* cos and sin of t base^(-2i/r) (MODEL.md "Attention"), computed in double whatever the precision. */
static ds_status fill_rope(ds_workspace *workspace) {
    ds_status status;
    size_t half = workspace->spec.rotary_dim / 2;
    DS_TRY(allocate(&workspace->cosine, workspace->length, half, 1, ds_precision_size(workspace->precision)));
    DS_TRY(allocate(&workspace->sine, workspace->length, half, 1, ds_precision_size(workspace->precision)));
    for (size_t i = 0; i < half; i++) {
        double frequency = pow(workspace->spec.rope_base, -2.0 * (double)i / (double)workspace->spec.rotary_dim);
        for (size_t t = 0; t < workspace->length; t++) {
            double angle = (double)t * frequency;
            if (workspace->precision == DS_F32) {
                ((float *)workspace->cosine)[t * half + i] = (float)cos(angle);
                ((float *)workspace->sine)[t * half + i] = (float)sin(angle);
            } else {
                ((double *)workspace->cosine)[t * half + i] = cos(angle);
                ((double *)workspace->sine)[t * half + i] = sin(angle);
            }
        }
    }
done:
    return status;
}

/* Hands out `count` elements at a cache line's boundary; with memory NULL only adds up what is needed. */
static void *carve(const ds_scratch *scratch, size_t *used, size_t count, size_t size) {
    void *part = scratch->memory == NULL ? NULL : (char *)scratch->memory + *used;
    *used += (count * size + 63) / 64 * 64;
    return part;
}

/* Sets the pointers of a scratch whose memory is there; returns the bytes it takes. */
static size_t lay_out_scratch(ds_scratch *scratch, const ds_spec *spec, size_t length, size_t size) {
    size_t rows = ds_min_size(length, DS_TILE_ROWS), queries = ds_min_size(length, DS_QUERY_ROWS), block = 0, head = 0;
    scratch->x_in = carve(scratch, &block, rows * spec->hidden, size);
    scratch->context = carve(scratch, &block, rows * spec->hidden, size);
    scratch->branch = carve(scratch, &block, rows * spec->hidden, size);
    scratch->gate = carve(scratch, &block, rows * spec->mlp_hidden, size);
    scratch->up = carve(scratch, &block, rows * spec->mlp_hidden, size);
    scratch->gate_hidden = carve(scratch, &block, spec->gate_two_layer ? rows * spec->gate_hidden : 0, size);
    scratch->heads = carve(scratch, &block, rows * spec->heads * spec->head_dim, size);
    scratch->scores = carve(scratch, &block, queries * length, size);
    scratch->inverse = carve(scratch, &block, queries, size);
    size_t logits = rows * ds_min_size(spec->vocab, DS_VOCABULARY_BLOCK);
    scratch->intact = carve(scratch, &head, logits, size);
    scratch->weights = carve(scratch, &head, logits, size);
    scratch->other = carve(scratch, &head, logits, size);
    return ds_max_size(block, head);
}

static ds_status allocate_scratch(ds_workspace *workspace) {
    ds_status status = DS_OK;
    size_t size = ds_precision_size(workspace->precision);
    DS_NEW(workspace->scratch, workspace->workers);
    for (size_t i = 0; i < workspace->workers; i++) {
        ds_scratch *scratch = &workspace->scratch[i];
        DS_TRY(allocate(&scratch->memory, lay_out_scratch(scratch, &workspace->spec, workspace->length, size), 1, 1, 1));
        (void)lay_out_scratch(scratch, &workspace->spec, workspace->length, size);
    }
done:
    return status;
}

static ds_status allocate_attention(ds_workspace *workspace, size_t tokens, size_t edges) {
    ds_status status;
    const ds_spec *spec = &workspace->spec;
    size_t size = ds_precision_size(workspace->precision), heads = spec->heads, head_dim = spec->head_dim;
    DS_TRY(allocate(&workspace->query, tokens, heads, head_dim, size));
    DS_TRY(allocate(&workspace->key, tokens, heads, head_dim, size));
    DS_TRY(allocate(&workspace->value, tokens, heads, head_dim, size));
    if (spec->output_gate) DS_TRY(allocate(&workspace->gate, tokens, heads, head_dim, size));
    if (spec->k_shift) {
        DS_TRY(allocate(&workspace->key_mix, tokens, heads, 1, size));
        DS_TRY(allocate(&workspace->key_edge, edges, heads, head_dim, size));
    }
    if (spec->v_shift) {
        DS_TRY(allocate(&workspace->value_mix, tokens, heads, 1, size));
        DS_TRY(allocate(&workspace->value_edge, edges, heads, head_dim, size));
    }
done:
    return status;
}

static ds_status allocate_delta(ds_workspace *workspace, size_t tokens, size_t edges) {
    ds_status status = DS_OK;
    size_t values = 0;
    if (!ds_mul_size(tokens, workspace->spec.value_channels, &values))
        DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory: %zu tokens of %zu value channels cannot be addressed", tokens,
                       workspace->spec.value_channels));
    DS_NEW_ARRAY(workspace->beta, tokens);
    DS_NEW_ARRAY(workspace->k_norm2, tokens);
    DS_NEW_ARRAY(workspace->state_norm, tokens);
    DS_NEW_ARRAY(workspace->edit_norm, tokens);
    DS_NEW_ARRAY(workspace->target, values);
    DS_NEW_ARRAY(workspace->readout, values);
    DS_NEW_ARRAY(workspace->readout_after, values);
    DS_NEW_ARRAY(workspace->not_finite, edges);
    DS_NEW_ARRAY(workspace->online, tokens);
done:
    return status;
}

ds_status ds_workspace_new(ds_workspace **out, const ds_model *model, size_t sequences, size_t length) {
    ds_status status = DS_OK;
    ds_workspace *workspace = NULL;
    size_t tokens, edges, size = ds_precision_size(ds_model_precision(model));
    if (sequences == 0 || length == 0 || !ds_mul_size(sequences, length, &tokens) ||
        !ds_mul_size(sequences, ds_tile_count(length), &edges))
        return ds_fail(DS_ERR_USAGE, "a workspace for %zu windows of %zu tokens asked for; at least one of each is needed",
                       sequences, length);
    DS_NEW(workspace, 1);
    const ds_spec *spec = ds_model_spec(model);
    workspace->spec = *spec;
    workspace->precision = ds_model_precision(model);
    workspace->sequences = sequences;
    workspace->length = length;
    workspace->workers = ds_threads();
    DS_TRY(allocate(&workspace->state, tokens, spec->value_channels, spec->hidden, size));
    DS_TRY(allocate(&workspace->hidden, tokens, spec->hidden, 1, size));
    if (spec->compressor == DS_COMPRESS_TC) DS_TRY(allocate(&workspace->x_in, tokens, spec->hidden, 1, size));
    DS_TRY(allocate_attention(workspace, tokens, edges));
    DS_TRY(allocate_delta(workspace, tokens, edges));
    DS_TRY(fill_rope(workspace));
    DS_TRY(allocate_scratch(workspace));
    *out = workspace;
    workspace = NULL;
done:
    ds_workspace_free(&workspace);
    return status;
}

ds_status ds_workspace_observe(ds_workspace *workspace, unsigned wants) {
    ds_status status = DS_OK;
    const ds_spec *spec = &workspace->spec;
    size_t tokens = workspace->sequences * workspace->length, size = ds_precision_size(workspace->precision);
    if ((wants & DS_OBSERVE_DIRECTIONS) != 0 && workspace->directions == NULL)
        DS_TRY(allocate(&workspace->directions, tokens, spec->hidden, 1, size));
    if ((wants & DS_OBSERVE_STATES) != 0 && workspace->before == NULL)
        DS_TRY(allocate(&workspace->before, tokens, spec->value_channels, spec->hidden, size));
    if ((wants & DS_OBSERVE_ATTENTION) != 0 && workspace->zero_weights == NULL) DS_NEW(workspace->zero_weights, tokens);
done:
    return status;
}

void ds_workspace_free(ds_workspace **workspace) {
    ds_workspace *w = *workspace;
    if (w == NULL) return;
    void *owned[] = {w->state,   w->hidden,     w->x_in,       w->query,       w->key,      w->value,         w->gate,
                     w->key_mix, w->value_mix,  w->cosine,     w->sine,        w->key_edge, w->value_edge,    w->beta,
                     w->k_norm2, w->state_norm, w->edit_norm,  w->target,      w->readout,  w->readout_after, w->not_finite,
                     w->online,  w->before,     w->directions, w->zero_weights};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
    for (size_t i = 0; w->scratch != NULL && i < w->workers; i++) free(w->scratch[i].memory);
    free(w->scratch);
    free(w);
    *workspace = NULL;
}

size_t ds_batch_sequences(const ds_model *model, size_t length) {
    /* Small enough that the state of a batch tends to stay in cache between sublayers, large enough for every thread. */
    enum { TOKENS_WANTED = 1024, TILES_PER_THREAD = 2 };
    const double memory_limit = 256.0 * 1024 * 1024;
    const ds_spec *spec = ds_model_spec(model);
    length = ds_max_size(length, 1);
    size_t tiles = ds_tile_count(length), wanted = (TILES_PER_THREAD * ds_threads() + tiles - 1) / tiles;
    wanted = ds_max_size(wanted, (TOKENS_WANTED + length - 1) / length);
    double token =
        (double)spec->hidden * (double)(2 * spec->value_channels + 3) + 4 * (double)spec->heads * (double)spec->head_dim;
    double fit = memory_limit / (token * (double)length * (double)ds_precision_size(ds_model_precision(model)));
    return fit < 1 ? 1 : fit < (double)wanted ? (size_t)fit : wanted;
}
