/* The memory of backward passes and tangents. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "rule.h"

/* ---- arrays of the batch ---------------------------------------------------------------------------------------------- */

/* Every array of one row per token. */
static ds_status allocate_batch(ds_gradient *g, size_t tokens) {
    ds_status status = DS_OK;
    const ds_spec *spec = &g->model->spec;
    const ds_rule_steps *rule = spec->rule->steps[g->precision];
    const size_t d = spec->hidden, f = spec->mlp_hidden, Hh = spec->heads * spec->head_dim;
    const size_t KV = ds_spec_kv_heads(spec), KVh = KV * spec->head_dim;
    const size_t size = ds_precision_size(g->precision), real = sizeof(double);
    const bool attention = ds_half_runs(spec, 0), mlp = ds_half_runs(spec, 1), any = attention || mlp;
    const struct {
        void *array; /* address of the pointer */
        size_t width, size;
        bool wanted, written;
    } all[] = {
        {&g->state, ds_spec_planes(spec) * d, size, true, true},
        {&g->x_in, d, size, true, any},
        {&g->context, d, size, true, any},
        {&g->dcontext, d, size, true, any},
        {&g->coefficient_hidden, g->coefficient_width, size, g->coefficient_width > 0, any},
        {&g->dbranch, d, size, true, any},
        {&g->dx_in, d, size, true, any},
        {&g->dx_paths[DS_PATH_BRANCH], d, size, g->paths, any},
        {&g->dx_paths[DS_PATH_CONTEXT], d, size, g->paths && rule->context_backward != NULL, any},
        {&g->dx_paths[DS_PATH_INPUT], d, size, g->paths && rule->input_backward != NULL, any},
        {&g->norm2, 1, real, true, any},
        {&g->squares, 1, sizeof *g->squares, g->paths, any},
        {&g->gated, f, size, true, mlp},
        {&g->dgate, f, size, spec->mlp == DS_MLP_SWIGLU, mlp},
        {&g->dup, f, size, true, mlp},
        {&g->heads, Hh, size, true, attention},
        {&g->dheads, Hh, size, true, attention},
        {&g->dquery, Hh, size, true, attention},
        {&g->dkey, KVh, size, true, attention},
        {&g->dvalue, KVh, size, true, attention},
        {&g->dkey_shifted, KVh, size, spec->k_shift, attention},
        {&g->dvalue_shifted, KVh, size, spec->v_shift, attention},
        {&g->dkey_mix, KV, size, spec->k_shift, attention},
        {&g->dvalue_mix, KV, size, spec->v_shift, attention},
        {&g->doutput_gate, Hh, size, spec->output_gate, attention},
        {&g->hidden, d, size, true, true},
        {&g->dhidden, d, size, true, true},
        {&g->embeddings, d, size, true, true},
        {&g->log_sum, 1, real, true, true},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        g->arrays.idle = !all[i].written;
        if (all[i].wanted) DS_TRY(ds_arrays_add(&g->arrays, all[i].array, tokens, all[i].width, all[i].size));
    }
    g->arrays.idle = !any;
    if (spec->rule->gradient_init != NULL) DS_TRY(spec->rule->gradient_init(g));
    g->arrays.idle = false;
done:
    return status;
}

/* ---- tape ------------------------------------------------------------------------------------------------------------- */

/* Lays a half's tape for `tokens` out from `memory` (NULL: only measures); returns the bytes. */
static size_t lay_out_tape(ds_tape *tape, char *memory, const ds_gradient *g, size_t half, size_t tokens) {
    const ds_spec *spec = &g->model->spec;
    size_t Hh = spec->heads * spec->head_dim, KV = ds_spec_kv_heads(spec), KVh = KV * spec->head_dim, bytes = 0;
    *tape = (ds_tape){0};
    const struct {
        void **array;
        size_t width;
        bool wanted;
    } arrays[] = {
        {&tape->branch, spec->hidden, true},
        {&tape->query, Hh, half == 0},
        {&tape->key, KVh, half == 0},
        {&tape->value, KVh, half == 0},
        {&tape->heads, Hh, half == 0},
        {&tape->key_mix, KV, half == 0 && spec->k_shift},
        {&tape->value_mix, KV, half == 0 && spec->v_shift},
        {&tape->gate, Hh, half == 0 && spec->output_gate},
        {&tape->mlp_gate, spec->mlp_hidden, half == 1 && spec->mlp == DS_MLP_SWIGLU},
        {&tape->mlp_up, spec->mlp_hidden, half == 1},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (!arrays[i].wanted) continue;
        if (memory != NULL) *arrays[i].array = memory + bytes;
        bytes += (tokens * arrays[i].width * ds_precision_size(g->precision) + 63) / 64 * 64;
    }
    return bytes;
}

static ds_status allocate_states(ds_gradient *g, size_t tokens) {
    ds_status status = DS_OK;
    DS_NEW(g->states, g->sublayers + 1);
    for (size_t s = 0; s <= g->sublayers; s++) {
        g->states[s] = g->states[0];
        if (s > 0 && g->model->spec.rule->keeps_history) continue; /* every state is the beginning of the next */
        DS_TRY(ds_arrays_add(&g->arrays, &g->states[s], tokens, ds_spec_planes(&g->model->spec) * g->model->spec.hidden,
                             ds_precision_size(g->precision)));
    }
done:
    return status;
}

/* The last sublayers, as many as fit, keep a tape each; the others share one per half and are run again. */
static ds_status allocate_tapes(ds_gradient *g, size_t tokens, size_t memory) {
    ds_status status = DS_OK;
    ds_tape measured;
    const size_t S = g->sublayers;
    const size_t bytes[2] = {lay_out_tape(&measured, NULL, g, 0, tokens), lay_out_tape(&measured, NULL, g, 1, tokens)};
    DS_NEW(g->tapes, S);
    DS_NEW(g->tape_memory, S + 2);
    DS_NEW(g->forces, ds_spec_forces(&g->model->spec));
    g->kept_from = S;
    while (g->kept_from > 0 && bytes[(g->kept_from - 1) % 2] <= memory) memory -= bytes[--g->kept_from % 2];
    for (size_t half = 0; half < 2 && g->kept_from > 0; half++) {
        g->arrays.idle = !ds_half_runs(&g->model->spec, half);
        DS_TRY(ds_arrays_add(&g->arrays, &g->tape_memory[S + half], bytes[half], 1, 1));
    }
    for (size_t s = 0; s < S; s++) {
        g->arrays.idle = !ds_half_runs(&g->model->spec, s % 2);
        if (s >= g->kept_from) DS_TRY(ds_arrays_add(&g->arrays, &g->tape_memory[s], bytes[s % 2], 1, 1));
        (void)lay_out_tape(&g->tapes[s], g->tape_memory[s >= g->kept_from ? s : S + s % 2], g, s % 2, tokens);
    }
    g->arrays.idle = false;
done:
    return status;
}

/* ---- parameters ------------------------------------------------------------------------------------------------------- */

static ds_status allocate_parameters(ds_gradient *g) {
    ds_status status = DS_OK;
    const ds_model *model = g->model;
    size_t size = ds_precision_size(g->precision), bytes = 0;
    DS_NEW(g->parameters, model->parameter_count);
    for (size_t i = 0; i < model->parameter_count; i++) bytes += (model->parameters[i].count * size + 63) / 64 * 64;
    DS_TRY(ds_arrays_add(&g->arrays, &g->parameter_memory, bytes, 1, 1));
    g->parameter_bytes = bytes;
    char *at = g->parameter_memory;
    for (size_t i = 0; i < model->parameter_count; i++) {
        g->parameters[i] = at;
        at += (model->parameters[i].count * size + 63) / 64 * 64;
    }
    ds_gradient_zero(g);
done:
    return status;
}

void ds_gradient_zero(ds_gradient *g) {
    if (g->parameters != NULL) memset(g->parameter_memory, 0, g->parameter_bytes);
}

void *ds_gradient_block(ds_gradient *g, size_t *count) {
    *count = g->parameter_bytes / ds_precision_size(g->precision);
    return g->parameter_memory;
}

const void *ds_gradient_parameter(const ds_gradient *g, size_t index) {
    return g->parameters != NULL ? g->parameters[index] : NULL;
}

const void *ds_gradient_embeddings(const ds_gradient *g) { return g->embeddings; }

static void lay_out_partial(ds_gradient *g) {
    const ds_spec *spec = &g->model->spec;
    ds_partial_layout *at = &g->layout;
    size_t d = spec->hidden, dv = spec->value_channels, state = spec->compressor == DS_COMPRESS_CC ? 1 : spec->state_kernel;
    size_t width = spec->heads * spec->head_dim, kv_width = ds_spec_kv_heads(spec) * spec->head_dim;
    size_t taps = ds_max_size(spec->compressor == DS_COMPRESS_NONE ? 0 : state, spec->input_conv ? spec->input_kernel : 0);
    at->taps = at->norm + 2 * d;
    at->query_norm = at->taps + dv * d * taps;
    at->key_norm = at->query_norm + spec->head_dim;
    at->head_norm = at->key_norm + spec->head_dim;
    at->query_bias = at->head_norm + spec->head_dim;
    at->key_bias = at->query_bias + (spec->qkv_bias ? width : 0);
    at->value_bias = at->key_bias + (spec->qkv_bias ? kv_width : 0);
    at->gate_bias = at->value_bias + (spec->qkv_bias ? kv_width : 0);
    at->up_bias = at->gate_bias + (spec->mlp_bias ? spec->mlp_hidden : 0);
    at->output_bias = at->up_bias + (spec->mlp_bias ? spec->mlp_hidden : 0);
    at->rule = at->output_bias + (spec->output_bias || spec->mlp_bias ? d : 0);
    at->count = at->rule + (spec->rule->partial_count != NULL ? spec->rule->partial_count(spec) : 0);
}

/* ---- scratch ---------------------------------------------------------------------------------------------------------- */

static size_t lay_out_scratch(ds_derivative_scratch *scratch, const ds_gradient *g) {
    const ds_spec *spec = &g->model->spec;
    size_t rows = ds_min_size(g->length, DS_TILE_ROWS), queries = ds_min_size(g->length, DS_BACKWARD_QUERY_ROWS), bytes = 0;
    size_t width = spec->heads * spec->head_dim;
    const struct {
        void **array;
        size_t count;
    } arrays[] = {
        {&scratch->scores, queries * g->length},
        {&scratch->weights, queries * g->length},
        {&scratch->inverse, queries},
        {&scratch->context, rows * spec->hidden},
        {&scratch->narrow[0], rows * width},
        {&scratch->narrow[1], rows * width},
        {&scratch->token, (DS_PATHS + 2) * ds_spec_planes(spec) * spec->hidden},
        {&scratch->logits, DS_VOCABULARY_BLOCK},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (scratch->memory != NULL) *arrays[i].array = (char *)scratch->memory + bytes;
        bytes += (arrays[i].count * ds_precision_size(g->precision) + 63) / 64 * 64;
    }
    return bytes;
}

static ds_status allocate_scratch(ds_gradient *g) {
    ds_status status = DS_OK;
    DS_NEW(g->scratch, g->workspace->workers);
    for (size_t i = 0; i < g->workspace->workers; i++) {
        DS_TRY(ds_arrays_add(&g->arrays, &g->scratch[i].memory, lay_out_scratch(&g->scratch[i], g), 1, 1));
        (void)lay_out_scratch(&g->scratch[i], g);
    }
done:
    return status;
}

/* ---- making ----------------------------------------------------------------------------------------------------------- */

ds_status ds_gradient_new(ds_gradient **out, const ds_model *model, size_t sequences, size_t length,
                          const ds_gradient_options *options) {
    ds_status status = DS_OK;
    const size_t default_memory = (size_t)2 << 30;
    ds_gradient *g = NULL;
    DS_NEW(g, 1);
    g->model = model;
    g->precision = model->precision;
    g->sequences = sequences;
    g->length = length;
    g->sublayers = ds_spec_sublayers(&model->spec);
    g->paths = options->paths && !model->spec.rule->keeps_history;
    g->coefficient_width = ds_rule_coefficient_hidden(&model->spec);
    DS_TRY(ds_workspace_new(&g->workspace, model, sequences, length));
    size_t tokens = sequences * length, memory = options->memory != 0 ? options->memory : default_memory;
    size_t vocab_blocks = (model->spec.vocab + DS_VOCABULARY_BLOCK - 1) / DS_VOCABULARY_BLOCK;
    /* Sixteen more than a block has columns: rows a power of two apart would share the sets of a cache. */
    g->logit_stride = (ds_min_size(model->spec.vocab, DS_VOCABULARY_BLOCK) + 15) / 16 * 16 + 16;
    size_t block_bytes = tokens * g->logit_stride * ds_precision_size(g->precision);
    g->blocks_held = ds_max_size(1, ds_min_size(vocab_blocks, memory / 2 / block_bytes)); /* half of it at most */
    memory -= ds_min_size(memory, g->blocks_held * block_bytes);
    lay_out_partial(g);
    DS_TRY(allocate_batch(g, tokens));
    DS_TRY(allocate_states(g, tokens));
    DS_TRY(allocate_tapes(g, tokens, memory));
    DS_TRY(ds_arrays_add(&g->arrays, &g->logits, g->blocks_held, block_bytes, 1));
    DS_TRY(allocate_scratch(g));
    if (options->parameters) {
        DS_TRY(allocate_parameters(g));
        DS_TRY(ds_arrays_add(&g->arrays, &g->partial, sequences * ds_tile_count(length), g->layout.count, sizeof *g->partial));
    }
    *out = g;
    g = NULL;
done:
    ds_gradient_free(&g);
    return status;
}

ds_status ds_gradient_bytes(size_t *bytes, const ds_spec *spec, ds_precision precision, size_t sequences, size_t length,
                            const ds_gradient_options *options) {
    ds_status status = DS_OK;
    const ds_model model = {.spec = *spec, .precision = precision}; /* without parameters: theirs are not counted */
    ds_gradient *g = NULL;
    *bytes = 0;
    DS_TRY(ds_gradient_new(&g, &model, sequences, length, options)); /* memory that is not written to takes no room */
    *bytes = g->arrays.bytes + g->workspace->arrays.bytes;
done:
    ds_gradient_free(&g);
    return status;
}

void ds_gradient_free(ds_gradient **gradient) {
    ds_gradient *g = *gradient;
    if (g == NULL) return;
    ds_arrays_release(&g->arrays);
    void *owned[] = {g->states, g->tapes, g->tape_memory, g->forces, g->scratch, g->parameters, g->jobs, g->rule};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
    ds_workspace_free(&g->workspace);
    free(g);
    *gradient = NULL;
}
