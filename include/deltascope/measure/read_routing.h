/* What reads of attention over depth choose from and how: the part of depth_mixing.h that only they have. */
#ifndef DELTASCOPE_MEASURE_READ_ROUTING_H
#define DELTASCOPE_MEASURE_READ_ROUTING_H

#include "deltascope/measure/token_moments.h"
#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

/* One read, over tokens; a token's weights alpha (N) add up to 1. Entropies are in nats. */
typedef struct ds_read_routing {
    size_t count; /* N sources; 0: nothing is chosen, and all below is empty */
    ds_read_source *sources;
    ds_token_moments *weights, *norms;                       /* (N) of alpha, of |source| */
    uint64_t *largest;                                       /* (N) tokens of which it is the first with the largest weight */
    ds_token_moments entropy, effective_sources, max_weight; /* H = -sum alpha ln alpha, e^H */
    ds_token_moments source_cosine;                          /* mean over pairs of sources; none of fewer than two */
    ds_token_moments gate;                                   /* mean over features; none where there is no gate */
    double query_norm;
} ds_read_routing;

DS_END_DECLARATIONS

#endif
