/* Directions and gates of tokens at every depth, from a forward pass or from a null model of one: what the frozen operators are
 * made of. */
#ifndef DELTASCOPE_MEASURE_DIRECTIONS_H
#define DELTASCOPE_MEASURE_DIRECTIONS_H

#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_directions {
    size_t tokens, sublayers, hidden;
    double *k;    /* (tokens, S, d): as exact doubles of what the run used */
    double *beta; /* (tokens, S) */
    double *c;    /* (tokens, S): m beta, so that the operator is I - c k k^T */
} ds_directions;

ds_status ds_directions_init(ds_directions *out, size_t tokens, size_t sublayers, size_t hidden) DS_MUST_CHECK;
void ds_directions_release(ds_directions *directions);
/* out's token `to` <- token `from` of other, which has the same extents. */
void ds_directions_copy(ds_directions *out, size_t to, const ds_directions *other, size_t from);
static inline const double *ds_directions_k(const ds_directions *d, size_t token, size_t sublayer) {
    return d->k + (token * d->sublayers + sublayer) * d->hidden;
}

/* What a figure must be compared with before it says anything about learning. */
typedef enum ds_null {
    DS_NULL_NONE,
    DS_NULL_SHUFFLED_GATES,    /* each sublayer's gates permuted over the tokens of a set */
    DS_NULL_RANDOM_DIRECTIONS, /* directions uniform on the sphere, each of the length it had; gates as learned */
    DS_NULL_CONSTANT_GATES,    /* each sublayer's gate its mean over all the data; directions as learned */
    DS_NULL_RANDOM_INIT,       /* the architecture with the weights training starts from, on the same tokens */
} ds_null;
/* Their words, in that order. */
#define DS_NULL_WORDS "shuffled-gates|random-directions|constant-gates|random-init"
/* NULL is DS_NULL_NONE; other words are those of DS_NULL_WORDS. */
ds_null ds_null_of(const char *word);

/* Where directions come from. The set within which gates are shuffled, and from which random directions are drawn, is a window
 * when all tokens are streamed and the whole list when tokens are listed: it does not depend on batches or threads. */
typedef struct ds_direction_source {
    ds_run *run;
    ds_null null;
    uint64_t seed;
    size_t first, last;      /* sublayers first .. last-1 */
    ds_model *model;         /* DS_NULL_RANDOM_INIT: owned; otherwise NULL */
    ds_workspace *workspace; /* belongs to it */
    double *means;           /* DS_NULL_CONSTANT_GATES: (last - first) */
    size_t most;             /* windows in a batch, at most */
    void *state;             /* (most, T, dv, d) */
} ds_direction_source;

/* Makes what the null needs (for constant gates by a pass over the data), and chooses batches small enough to stream. */
ds_status ds_direction_source_init(ds_direction_source *source, ds_run *run, size_t first, size_t last, ds_null null,
                                   uint64_t seed) DS_MUST_CHECK;
void ds_direction_source_release(ds_direction_source *source);

/* Runs the windows that hold positions (in any order) and keeps their directions. */
ds_status ds_directions_gather(ds_directions *out, ds_direction_source *source,
                               const ds_position_list *positions) DS_MUST_CHECK;
/* Visits every token, batch by batch in order of windows; memory does not grow with the data. `directions` is valid during the
 * call; `first` is its first token, counted from the beginning of the data. */
typedef ds_status (*ds_direction_visit)(void *context, const ds_directions *directions, size_t first);
ds_status ds_directions_stream(ds_direction_source *source, ds_direction_visit visit, void *context) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
