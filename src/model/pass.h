/* Private to the model room: a pass as forward.c directs it and the tile tasks carry it out, and the tape it may leave. */
#ifndef DELTASCOPE_MODEL_PASS_H
#define DELTASCOPE_MODEL_PASS_H

#include <math.h>

#include "deltascope/model.h"

#include "model_internal.h"
#include "workspace.h"

/* The results of the matrix products of one sublayer, of every token of the batch; whatever lies between them is computed again
 * when it is needed. NULL where this half, or this model, has none. */
typedef struct ds_tape {
    void *query;               /* (B,T,H*h) as projected: before shift, activation, rotation and norm */
    void *key, *value;         /* (B,T,KV*h) likewise */
    void *key_mix, *value_mix; /* (B,T,KV) shift weights */
    void *gate;                /* (B,T,H*h) output gate before its silu */
    void *heads;               /* (B,T,H*h) attention output before norm and gate */
    void *mlp_gate, *mlp_up;   /* (B,T,f) */
    void *branch;              /* (B,T,d) h */
    bool record_only;          /* leave the state as it is: the sublayer is run again for its tape alone */
} ds_tape;

/* One of attention's three projections on its way to the scores: of H heads, or of KV. */
typedef struct ds_projection {
    size_t heads;
    ds_linear_map map;
    const ds_parameter *shift; /* NULL: none, or none in a sequence this short */
    const ds_parameter *norm;  /* or NULL */
    ds_activation activation;
    bool rotate;
    void *final, *mix, *edge; /* in the workspace: (B,T,heads*h), (B,T,heads) and (B,tiles,heads*h) with shift */
} ds_projection;
enum { DS_QUERY, DS_KEY, DS_VALUE, DS_PROJECTIONS };

/* What the tasks of one parallel loop share. */
typedef struct ds_pass {
    ds_workspace *workspace;
    const ds_model *model;
    const ds_batch *batch;
    size_t tiles;           /* per window */
    void *state;            /* (B,T,planes,d) */
    void *hidden;           /* (B,T,d): written by readout */
    size_t sublayer;        /* being run; S stands for the readout */
    const ds_force *forces; /* (ds_spec_forces), or NULL: none */
    unsigned wants;         /* DS_OBSERVE_* */
    const ds_tape *tape;    /* where to record the sublayer, or NULL */
    /* output head: logits of `intact` (NULL: none) once, and of every case, against the targets */
    const void *intact;
    size_t cases;
    const void *const *case_hidden;
    ds_online *intact_online, *case_online; /* (B,T), (cases,B,T) */
} ds_pass;

static inline size_t ds_pass_half(const ds_pass *pass) { return pass->sublayer % 2; } /* 0 attention, 1 MLP */
static inline const ds_layer_weights *ds_pass_layer(const ds_pass *pass) { return &pass->model->layers[pass->sublayer / 2]; }
static inline ds_force ds_pass_force(const ds_pass *pass) {
    return pass->forces != NULL ? pass->forces[pass->sublayer] : (ds_force){.mode = DS_FORCE_NONE};
}
/* The compressor that the sublayer reads the state through, or the readout's. */
static inline const ds_taps *ds_pass_taps(const ds_pass *pass) {
    return pass->sublayer < ds_spec_sublayers(&pass->model->spec) ? &ds_pass_layer(pass)->compress : &pass->model->readout;
}
static inline size_t ds_pass_width(const ds_pass *pass) {
    return pass->model->spec.heads * pass->model->spec.head_dim;
} /* H*h */
static inline size_t ds_pass_kv_width(const ds_pass *pass) {
    return ds_spec_kv_heads(&pass->model->spec) * pass->model->spec.head_dim;
} /* KV*h */
/* What scores of a layer are multiplied by before the softmax. */
static inline double ds_score_scale(const ds_spec *spec, size_t layer) {
    double scale = spec->unscaled_scores ? 1 : 1 / sqrt((double)spec->head_dim);
    return spec->depth_scaled_scores ? scale / (double)(layer + 1) : scale;
}
static inline size_t ds_projection_width(const ds_pass *pass, const ds_projection *p) {
    return p->heads * pass->model->spec.head_dim;
}
/* A sequence of length 1 is not shifted (MODEL.md). */
static inline bool ds_pass_shifts(const ds_pass *pass, bool wanted) { return wanted && pass->batch->length > 1; }

/* The part of the batch that one task handles: `rows` tokens of one window from position `first`; `token` = its row in
 * (B,T). */
typedef struct ds_tile {
    size_t sequence, index, first, rows, token;
} ds_tile;

static inline ds_tile ds_tile_at(const ds_pass *pass, size_t sequence, size_t index) {
    size_t first = index * DS_TILE_ROWS, length = pass->batch->length;
    return (ds_tile){.sequence = sequence,
                     .index = index,
                     .first = first,
                     .rows = ds_min_size(length - first, DS_TILE_ROWS),
                     .token = sequence * length + first};
}
static inline ds_tile ds_tile_of(const ds_pass *pass, size_t task) {
    return ds_tile_at(pass, task / pass->tiles, task % pass->tiles);
}
/* Tiles with most keys first, within a window, so that threads finish together. */
static inline ds_tile ds_tile_longest_first(const ds_pass *pass, size_t task) {
    return ds_tile_at(pass, task / pass->tiles, pass->tiles - 1 - task % pass->tiles);
}

/* A pass over `batch`, or the reason why this workspace cannot hold it. */
ds_status ds_pass_begin(ds_pass *pass, ds_workspace *workspace, const ds_model *model, const ds_batch *batch) DS_MUST_CHECK;
/* A task for every tile of the batch. */
ds_status ds_pass_run(ds_pass *pass, ds_task step) DS_MUST_CHECK;
/* One sublayer of pass->state under its force, every new state finite or refused. */
ds_status ds_pass_sublayer(ds_pass *pass, size_t sublayer) DS_MUST_CHECK;
ds_status ds_check_tokens(const ds_batch *batch, size_t vocab) DS_MUST_CHECK; /* ids within the vocabulary */
ds_status ds_check_targets(const ds_batch *batch, size_t vocab) DS_MUST_CHECK;
/* nll (B,T) from the running sums of every token, each finite or refused. */
ds_status ds_pass_losses(const ds_pass *pass, double *nll, const ds_online *online) DS_MUST_CHECK;

#endif
