#include <math.h>
#include <stdlib.h>

#include "deltascope/base.h"
#include "deltascope/model.h"

#include "control.h"
#include "rule.h"
#include "workspace.h"

/* An array of the workspace: rows x width numbers of the model's precision. */
static ds_status allocate(void *array, ds_workspace *workspace, size_t rows, size_t width) {
    return ds_arrays_add(&workspace->arrays, array, rows, width, ds_precision_size(workspace->precision));
}

/* cos and sin of t w_i (MODEL.md "Attention"), computed in double whatever the precision. */
static ds_status fill_rope(ds_workspace *workspace) {
    ds_status status;
    size_t half = workspace->spec.rotary_dim / 2;
    DS_TRY(allocate(&workspace->cosine, workspace, workspace->length, half));
    DS_TRY(allocate(&workspace->sine, workspace, workspace->length, half));
    for (size_t i = 0; i < half; i++) {
        double frequency = ds_spec_rope_frequency(&workspace->spec, i);
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
    scratch->coefficient_hidden = carve(scratch, &block, rows * ds_rule_coefficient_hidden(spec), size);
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
        size_t bytes = lay_out_scratch(scratch, &workspace->spec, workspace->length, size);
        DS_TRY(ds_arrays_add(&workspace->arrays, &scratch->memory, bytes, 1, 1));
        (void)lay_out_scratch(scratch, &workspace->spec, workspace->length, size);
    }
done:
    return status;
}

static ds_status allocate_attention(ds_workspace *w, size_t tokens, size_t edges) {
    ds_status status;
    const ds_spec *spec = &w->spec;
    size_t heads = ds_spec_kv_heads(spec), width = heads * spec->head_dim;
    DS_TRY(allocate(&w->query, w, tokens, spec->heads * spec->head_dim));
    DS_TRY(allocate(&w->key, w, tokens, width));
    DS_TRY(allocate(&w->value, w, tokens, width));
    if (spec->output_gate) DS_TRY(allocate(&w->gate, w, tokens, spec->heads * spec->head_dim));
    if (spec->k_shift) {
        DS_TRY(allocate(&w->key_mix, w, tokens, heads));
        DS_TRY(allocate(&w->key_edge, w, edges, width));
    }
    if (spec->v_shift) {
        DS_TRY(allocate(&w->value_mix, w, tokens, heads));
        DS_TRY(allocate(&w->value_edge, w, edges, width));
    }
done:
    return status;
}

static ds_status allocate_state(ds_workspace *w, size_t tokens, size_t edges) {
    ds_status status;
    const ds_spec *spec = &w->spec;
    DS_TRY(allocate(&w->state, w, tokens, ds_spec_planes(spec) * spec->hidden));
    DS_TRY(allocate(&w->hidden, w, tokens, spec->hidden));
    if (ds_rule_reads_other_tokens(spec)) DS_TRY(allocate(&w->x_in, w, tokens, spec->hidden));
    DS_TRY(ds_arrays_add(&w->arrays, &w->state_norm, tokens, 1, sizeof *w->state_norm));
    DS_TRY(ds_arrays_add(&w->arrays, &w->edit_norm, tokens, 1, sizeof *w->edit_norm));
    DS_TRY(ds_arrays_add(&w->arrays, &w->not_finite, edges, 1, sizeof *w->not_finite));
    DS_TRY(ds_arrays_add(&w->arrays, &w->online, tokens, 1, sizeof *w->online));
    if (spec->rule->workspace_init != NULL) DS_TRY(spec->rule->workspace_init(w));
done:
    return status;
}

ds_status ds_workspace_new(ds_workspace **out, const ds_model *model, size_t sequences, size_t length) {
    ds_status status = DS_OK;
    ds_workspace *workspace = NULL;
    size_t tokens, edges;
    if (sequences == 0 || length == 0 || !ds_mul_size(sequences, length, &tokens) ||
        !ds_mul_size(sequences, ds_tile_count(length), &edges))
        return ds_fail(DS_ERR_USAGE, "a workspace for %zu windows of %zu tokens asked for; at least one of each is needed",
                       sequences, length);
    if (ds_model_spec(model)->positions > 0 && length > ds_model_spec(model)->positions)
        return ds_fail(
            DS_ERR_USAGE,
            "windows of %zu tokens asked for; the model has learned positions for %zu: ask for windows (--seq-len) of "
            "at most that",
            length, ds_model_spec(model)->positions);
    DS_NEW(workspace, 1);
    workspace->spec = *ds_model_spec(model);
    workspace->precision = ds_model_precision(model);
    workspace->sequences = sequences;
    workspace->length = length;
    workspace->workers = ds_threads();
    DS_TRY(allocate_state(workspace, tokens, edges));
    workspace->arrays.idle = !ds_half_runs(&workspace->spec, 0);
    DS_TRY(allocate_attention(workspace, tokens, edges));
    workspace->arrays.idle = false;
    DS_TRY(fill_rope(workspace));
    DS_TRY(allocate_scratch(workspace));
    *out = workspace;
    workspace = NULL;
done:
    ds_workspace_free(&workspace);
    return status;
}

ds_status ds_workspace_observe(ds_workspace *w, unsigned wants) {
    ds_status status = DS_OK;
    const ds_spec *spec = &w->spec;
    size_t tokens = w->sequences * w->length;
    if ((wants & DS_OBSERVE_STATES) != 0 && w->before == NULL)
        DS_TRY(allocate(&w->before, w, tokens, ds_spec_planes(spec) * spec->hidden));
    if ((wants & DS_OBSERVE_ATTENTION) != 0 && w->zero_weights == NULL)
        DS_TRY(ds_arrays_add(&w->arrays, &w->zero_weights, tokens, 1, sizeof *w->zero_weights));
    if (spec->rule->observe_init != NULL) DS_TRY(spec->rule->observe_init(w, wants));
done:
    return status;
}

void ds_workspace_set_mean_mixing(ds_workspace *workspace, const double *mean) { workspace->mean_mixing = mean; }

ds_status ds_workspace_bytes(size_t *bytes, const ds_spec *spec, ds_precision precision, size_t sequences, size_t length) {
    ds_status status = DS_OK;
    const ds_model model = {.spec = *spec, .precision = precision}; /* all that memory depends on */
    ds_workspace *workspace = NULL;
    *bytes = 0;
    DS_TRY(ds_workspace_new(&workspace, &model, ds_min_size(sequences, ds_batch_sequences(&model, length)), length));
    *bytes = workspace->arrays.bytes;
done:
    ds_workspace_free(&workspace);
    return status;
}

void ds_workspace_free(ds_workspace **workspace) {
    ds_workspace *w = *workspace;
    if (w == NULL) return;
    ds_arrays_release(&w->arrays);
    free(w->rule);
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
        (double)spec->hidden * (double)(2 * ds_spec_planes(spec) + 3) + 4 * (double)spec->heads * (double)spec->head_dim;
    double fit = memory_limit / (token * (double)length * (double)ds_precision_size(ds_model_precision(model)));
    return fit < 1 ? 1 : fit < (double)wanted ? (size_t)fit : wanted;
}
