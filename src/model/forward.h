/* Private to the model room: a pass as forward.c directs it and the tile tasks carry it out. */
#ifndef DELTASCOPE_MODEL_FORWARD_H
#define DELTASCOPE_MODEL_FORWARD_H

#include "deltascope/model.h"

#include "model_internal.h"
#include "tape.h"
#include "workspace.h"

/* What the tasks of one parallel loop share. */
typedef struct ds_pass {
    ds_workspace *workspace;
    const ds_model *model;
    const ds_batch *batch;
    size_t tiles; /* per window */
    void *state;  /* (B,T,dv,d) */
    void *hidden; /* (B,T,d): written by readout */
    size_t layer;
    ds_force force;      /* of the sublayer being run */
    unsigned wants;      /* DS_OBSERVE_* */
    const ds_tape *tape; /* where to record the sublayer, or NULL */
    /* output head: logits of `intact` (NULL: none) once, and of every case, against the targets */
    const void *intact;
    size_t cases;
    const void *const *case_hidden;
    ds_online *intact_online, *case_online; /* (B,T), (cases,B,T) */
} ds_pass;

/* The part of the batch that one task handles: `rows` tokens of one window from position `first`; `token` = its row in (B,T).
 */
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

/* The steps of a pass, each a task per tile with a ds_pass as context. Between two steps every tile has finished the first:
 * attention reads other tiles' keys, TC compressors and shifts read the tokens before their tile. */
typedef struct ds_forward_tasks {
    ds_task embed;
    ds_task project;  /* attention, first half: compress, norm, gate, value, query, key, value projections */
    ds_task shift;    /* with k_shift or v_shift: shifts and what follows them in the projections */
    ds_task attend;   /* attention, second half: scores, output projection, delta update */
    ds_task compress; /* TC, before mlp */
    ds_task mlp;      /* the whole MLP sublayer */
    ds_task readout;
    ds_task head;
    void (*logits)(const ds_pass *pass, const void *hidden, size_t rows, void *logits);
} ds_forward_tasks;
extern const ds_forward_tasks ds_forward_tasks_f32, ds_forward_tasks_f64;

/* A pass over `batch`, or the reason why this workspace cannot hold it. */
ds_status ds_pass_begin(ds_pass *pass, ds_workspace *workspace, const ds_model *model, const ds_batch *batch) DS_MUST_CHECK;
/* A task for every tile of the batch. */
ds_status ds_pass_run(ds_pass *pass, ds_task step) DS_MUST_CHECK;
/* One sublayer of pass->state under pass->force, every new state finite or refused. */
ds_status ds_pass_sublayer(ds_pass *pass, size_t sublayer) DS_MUST_CHECK;
ds_status ds_check_tokens(const ds_batch *batch, size_t vocab) DS_MUST_CHECK; /* ids within the vocabulary */
ds_status ds_check_targets(const ds_batch *batch, size_t vocab) DS_MUST_CHECK;
/* nll (B,T) from the running sums of every token, each finite or refused. */
ds_status ds_pass_losses(const ds_pass *pass, double *nll, const ds_online *online) DS_MUST_CHECK;

#endif
