/* How a token's directions relate over depth, and a sublayer's over the data: CONTRACT "directions" and beyond. */
#ifndef DELTASCOPE_MEASURE_DIRECTION_OVERLAP_H
#define DELTASCOPE_MEASURE_DIRECTION_OVERLAP_H

#include "deltascope/delta.h"
#include "deltascope/measure/directions.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* Sublayer b edits sublayer a's direction again when |cos(k_a, k_b)| is at least this: an angle of 60 degrees or less, which
 * random directions practically never reach (their cosine has standard deviation 1/sqrt(d)). It undoes a's write when of what a
 * wrote along k_a less than half is left by that one edit: 1 - b_b cos^2 < 1/2. */
#define DS_SAME_DIRECTION 0.5

typedef struct ds_overlap {
    size_t sublayers, hidden, threads;
    uint64_t tokens;
    ds_sum *coherence;               /* (S,S): sum of |k_a . k_b| */
    ds_sum effective_rank;           /* of a token's S directions side by side: exp(entropy of sigma_i / sum sigma) */
    ds_sum participation_ratio;      /* (sum sigma^2)^2 / sum sigma^4 */
    ds_summary *survival;            /* (S): k_a^T A_{S-1} ... A_{a+1} k_a / |k_a|^2 of what a wrote along its own direction */
    uint64_t *edited_again, *undone; /* (S): later edits of a's direction, and those that undo it, over all tokens */
    struct ds_overlap_row *rows;     /* (chunk): one token's share */
    double *storage, *column;
    ds_svd **solvers; /* (threads) */
} ds_overlap;

ds_status ds_overlap_init(ds_overlap *out, size_t sublayers, size_t hidden) DS_MUST_CHECK;
void ds_overlap_release(ds_overlap *overlap);
/* Adds tokens: worked out in parallel, added in order. */
ds_status ds_overlap_add(ds_overlap *overlap, const ds_directions *directions) DS_MUST_CHECK;
/* Appends keys to an open object: "coherence", "effective_rank", "participation_ratio", "random_coherence", "edited_again",
 * "undone" (a token's mean), "survival" per sublayer. */
void ds_overlap_put(ds_json_builder *b, ds_overlap *overlap, size_t first);
/* E|x . y| of independent uniform unit vectors in d dimensions: Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2)). */
double ds_random_coherence(size_t hidden);

/* The span of each sublayer's directions over the data: effective rank (S) and participation ratio (S) of the directions of at
 * most DS_RANK_TOKENS tokens, evenly spaced. Neither can exceed that number. */
enum { DS_RANK_TOKENS = 256 };
ds_status ds_sublayer_ranks(double *effective, double *participation, const ds_directions *directions) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
