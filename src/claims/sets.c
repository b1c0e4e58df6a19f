#include "sets.h"

#include <stdlib.h>

typedef struct matching {
    size_t n, *partner; /* of the first list */
    size_t *owner;      /* of the second: who has it */
    bool *seen;         /* of the second, on the way in hand */
    bool (*near)(const void *context, size_t i, size_t j);
    const void *context;
} matching;

/* Finds element i a partner, moving others to other partners where that makes room. */
static bool place(matching *m, size_t i) {
    for (size_t pass = 0; pass < 2; pass++) { /* free ones first */
        for (size_t k = 0; k < m->n; k++) {
            size_t j = (i + k) % m->n; /* equal orders match at once */
            bool taken = m->owner[j] != DS_SET_NONE;
            if (m->seen[j] || taken != (pass == 1) || !m->near(m->context, i, j)) continue;
            m->seen[j] = true;
            if (taken && !place(m, m->owner[j])) continue;
            m->owner[j] = i;
            m->partner[i] = j;
            return true;
        }
    }
    return false;
}

ds_status ds_sets_match(size_t *partner, size_t n, bool (*near)(const void *context, size_t i, size_t j), const void *context) {
    ds_status status = DS_OK;
    matching m = {.n = n, .partner = partner, .near = near, .context = context};
    DS_NEW(m.owner, n);
    DS_NEW(m.seen, n);
    for (size_t i = 0; i < n; i++) partner[i] = m.owner[i] = DS_SET_NONE;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) m.seen[j] = false;
        (void)place(&m, i);
    }
done:
    free(m.owner);
    free(m.seen);
    return status;
}
