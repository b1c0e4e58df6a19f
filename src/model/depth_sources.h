/* What a read of attention over depth chooses from. v_0 is the embedding, v_{i+1} what sublayer i adds; every source of every
 * rule is a sum of some of them. Private to the rules of that kind. */
#ifndef DELTASCOPE_MODEL_DEPTH_SOURCES_H
#define DELTASCOPE_MODEL_DEPTH_SOURCES_H

#include "deltascope/model.h"

#define DS_NO_SOURCE SIZE_MAX
/* Source number `base` of the same read, or nothing, and v_first ... v_{end-1}, which may be none. */
typedef struct ds_depth_source {
    size_t base, first, end;
} ds_depth_source;

/* One of the rules: r = sum of alpha_j source_j, alpha being a softmax. */
typedef struct ds_depth_form {
    bool additive;       /* a sublayer reads u = P + r, P the sum of all v; otherwise u = r */
    bool routes_readout; /* and the readout likewise; otherwise it reads P */
    bool keeps_sum;      /* outputs are sources and P is beside them: both have gradients of their own */
    bool takes_bias;     /* a learned number is added to the last logit */
    bool takes_null;     /* a learned vector may stand before the sources */
    bool of_blocks;      /* sources beside the embedding are what whole blocks added */
    bool ends_growing;   /* the last source is a sum that later outputs join */
    /* list (at most 2S + 2; NULL: not wanted) <- the sources of sublayer s in the order of the softmax; returns how many. S is
     * the readout. */
    size_t (*sources)(ds_depth_source *list, const ds_spec *spec, size_t sublayer);
} ds_depth_form;

/* Whether plan[place] is the embedding alone, as a sum is before anything is added to it. */
bool ds_depth_is_embedding(const ds_depth_source *plan, size_t place);

enum { DS_DEPTH_RULES = 8 };
extern const ds_depth_form ds_depth_forms[DS_DEPTH_RULES]; /* in the order of the rules */

#endif
