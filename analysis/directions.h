/* Directions and gates of chosen tokens at every depth, gathered from a forward pass: what the frozen operators are made of. */
#ifndef DELTASCOPE_ANALYSIS_DIRECTIONS_H
#define DELTASCOPE_ANALYSIS_DIRECTIONS_H

#include "positions.h"
#include "session.h"

typedef struct ds_directions {
    size_t tokens, sublayers, hidden;
    double *k;    /* (tokens, S, d): as exact doubles of what the run used */
    double *beta; /* (tokens, S) */
    double *c;    /* (tokens, S): m beta, so that the operator is I - c k k^T */
} ds_directions;

/* Runs the windows that hold positions (in any order) and keeps their directions. */
ds_status ds_directions_gather(ds_directions *out, ds_session *session, const ds_position_list *positions) DS_MUST_CHECK;
void ds_directions_release(ds_directions *directions);
static inline const double *ds_directions_k(const ds_directions *d, size_t token, size_t sublayer) {
    return d->k + (token * d->sublayers + sublayer) * d->hidden;
}

#endif
