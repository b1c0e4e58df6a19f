/* Lists whose order rounding decides, matched element by element. Private to claims. */
#ifndef DELTASCOPE_CLAIMS_SETS_H
#define DELTASCOPE_CLAIMS_SETS_H

#include "deltascope/base.h"

enum { DS_SET_MOST = 4096, DS_SET_NONE = DS_SET_MOST }; /* elements; no partner */

/* partner (n) <- for each element of the first list the number of one of the second's n, no two the same, or DS_SET_NONE: so
 * that as many as can be have a partner that is near (Kuhn's augmenting paths). n <= DS_SET_MOST. */
ds_status ds_sets_match(size_t *partner, size_t n, bool (*near)(const void *context, size_t i, size_t j),
                        const void *context) DS_MUST_CHECK;

#endif
