#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sketch.h"

enum { NONE = DS_SKETCH_BUFFERS };

ds_status ds_sketch_new(ds_sketch **out, size_t capacity) {
    ds_status status = DS_OK;
    ds_sketch *sketch = NULL;
    *out = NULL;
    DS_NEW(sketch, 1);
    sketch->k = DS_SKETCH_BUFFERS;
    while (sketch->k < capacity / DS_SKETCH_BUFFERS + (capacity % DS_SKETCH_BUFFERS != 0) && sketch->k < SIZE_MAX / 64)
        sketch->k *= 2;
    sketch->filling = NONE;
    *out = sketch;
done:
    return status;
}

void ds_sketch_free(ds_sketch **sketch) {
    if (*sketch == NULL) return;
    free((*sketch)->values);
    free((*sketch)->spare);
    free(*sketch);
    *sketch = NULL;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static bool is_full(const ds_sketch *sketch, size_t i) { return i != sketch->filling && sketch->buffers[i].fill != 0; }

/* ---- the merged sequence of several buffers -------------------------------------------------------------------------------
 */

typedef struct walk {
    const double *at[DS_SKETCH_BUFFERS], *end[DS_SKETCH_BUFFERS];
    uint64_t weight[DS_SKETCH_BUFFERS];
    size_t buffers;
} walk;

static void walk_include(walk *w, ds_sketch *sketch, size_t i) {
    double *first = sketch->values + i * sketch->k;
    size_t fill = sketch->buffers[i].fill;
    qsort(first, fill, sizeof *first, compare);
    w->at[w->buffers] = first;
    w->end[w->buffers] = first + fill;
    w->weight[w->buffers++] = sketch->buffers[i].weight;
}

/* The smallest value left and how many it stands for; there is one. */
static double walk_next(walk *w, uint64_t *weight) {
    size_t best = 0;
    for (size_t i = 1; i < w->buffers; i++) {
        if (*w->at[i] < *w->at[best]) best = i;
    }
    double value = *w->at[best]++;
    *weight = w->weight[best];
    if (w->at[best] == w->end[best]) {
        w->buffers--;
        w->at[best] = w->at[w->buffers];
        w->end[best] = w->end[w->buffers];
        w->weight[best] = w->weight[w->buffers];
    }
    return value;
}

/* ---- collapsing -------------------------------------------------------------------------------------------------------------
 */

/* The lowest level at which (with all below it) there are at least two full buffers. */
static unsigned level_to_collapse(const ds_sketch *sketch) {
    unsigned level = 0;
    for (;; level++) {
        size_t found = 0;
        for (size_t i = 0; i < DS_SKETCH_BUFFERS; i++) found += is_full(sketch, i) && sketch->buffers[i].level <= level;
        if (found >= 2) return level;
    }
}

static ds_status collapse(ds_sketch *sketch) {
    ds_status status = DS_OK;
    walk w = {.buffers = 0};
    unsigned level = level_to_collapse(sketch);
    size_t target = NONE;
    uint64_t total = 0;
    if (sketch->spare == NULL) DS_NEW_ARRAY(sketch->spare, sketch->k);
    for (size_t i = DS_SKETCH_BUFFERS; i-- > 0;) {
        if (!is_full(sketch, i) || sketch->buffers[i].level > level) continue;
        walk_include(&w, sketch, i);
        total += sketch->buffers[i].weight;
        if (target != NONE) sketch->buffers[target].fill = 0;
        target = i;
    }
    uint64_t wanted = total % 2 == 1 ? (total + 1) / 2 : total / 2 + (sketch->upper ? 1 : 0);
    if (total % 2 == 0) sketch->upper = !sketch->upper;
    uint64_t passed = 0;
    for (size_t taken = 0; taken < sketch->k;) {
        uint64_t weight;
        double value = walk_next(&w, &weight);
        passed += weight;
        for (; taken < sketch->k && wanted <= passed; wanted += total) sketch->spare[taken++] = value;
    }
    memcpy(sketch->values + target * sketch->k, sketch->spare, sketch->k * sizeof *sketch->spare);
    sketch->buffers[target] = (struct ds_sketch_buffer){sketch->k, total, level + 1};
    sketch->rank_error += total / 2;
done:
    return status;
}

/* *slot <- an empty buffer with memory up to `fill` values; collapses when there is none. *level <- where new values go: with
 * the others at the lowest level when this is the last empty buffer, so that the next collapse finds company (section 3.4 of
 * the paper). */
static ds_status take_empty(ds_sketch *sketch, size_t *slot, unsigned *level, size_t fill) {
    ds_status status = DS_OK;
    size_t empty = 0;
    do {
        unsigned lowest = UINT32_MAX;
        empty = 0;
        for (size_t i = DS_SKETCH_BUFFERS; i-- > 0;) {
            if (sketch->buffers[i].fill == 0) {
                *slot = i;
                empty++;
            } else if (i != sketch->filling && sketch->buffers[i].level < lowest) {
                lowest = sketch->buffers[i].level;
            }
        }
        *level = empty == 1 ? lowest : 0;
        if (empty == 0) DS_TRY(collapse(sketch));
    } while (empty == 0);
    void *values = sketch->values;
    status = ds_grow(&values, &sketch->reserved, *slot * sketch->k + fill, sizeof *sketch->values);
    sketch->values = values;
done:
    return status;
}

ds_status ds_sketch_add(ds_sketch *sketch, const double *values, size_t count) {
    ds_status status = DS_OK;
    while (count != 0) {
        size_t i = sketch->filling;
        if (i == NONE) {
            unsigned level;
            DS_TRY(take_empty(sketch, &i, &level, 1));
            sketch->buffers[i] = (struct ds_sketch_buffer){0, 1, level};
        }
        struct ds_sketch_buffer *buffer = &sketch->buffers[i];
        size_t taken = ds_min_size(count, sketch->k - buffer->fill);
        void *storage = sketch->values;
        status = ds_grow(&storage, &sketch->reserved, i * sketch->k + buffer->fill + taken, sizeof *sketch->values);
        sketch->values = storage;
        if (status != DS_OK) goto done;
        memcpy(sketch->values + i * sketch->k + buffer->fill, values, taken * sizeof *values);
        buffer->fill += taken;
        sketch->filling = buffer->fill < sketch->k ? i : NONE;
        values += taken;
        count -= taken;
    }
done:
    return status;
}

ds_status ds_sketch_merge(ds_sketch *sketch, const ds_sketch *other) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < DS_SKETCH_BUFFERS; i++) {
        const struct ds_sketch_buffer *buffer = &other->buffers[i];
        if (buffer->fill == 0) continue;
        const double *values = other->values + i * other->k;
        if (buffer->weight == 1) {
            DS_TRY(ds_sketch_add(sketch, values, buffer->fill));
            continue;
        }
        size_t slot;
        unsigned level;
        DS_TRY(take_empty(sketch, &slot, &level, sketch->k));
        memcpy(sketch->values + slot * sketch->k, values, buffer->fill * sizeof *values);
        sketch->buffers[slot] = *buffer;
    }
    sketch->rank_error += other->rank_error;
done:
    return status;
}

/* ---- quantiles --------------------------------------------------------------------------------------------------- */

/* t of the way from a to b; neither an infinity nor rounding takes it outside [a, b]. */
static double between(double a, double b, double t) {
    if (t <= 0 || a == b) return a;
    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

void ds_sketch_quantiles(double *quantiles, ds_sketch *sketch, const double *levels, size_t levels_count, uint64_t count) {
    walk w = {.buffers = 0};
    for (size_t i = 0; i < DS_SKETCH_BUFFERS; i++) {
        if (sketch->buffers[i].fill != 0) walk_include(&w, sketch, i);
    }
    /* `value` has the ranks [passed - weight, passed), counted from 0; `previous` is the value of the rank before them. */
    uint64_t weight, passed = 0;
    double value = walk_next(&w, &weight), previous = value;
    passed = weight;
    for (size_t i = 0; i < levels_count; i++) {
        double position = levels[i] * (double)(count - 1), whole = floor(position);
        uint64_t lower = (uint64_t)whole, upper = lower + 1 < count ? lower + 1 : lower;
        while (passed <= upper) {
            previous = value;
            value = walk_next(&w, &weight);
            passed += weight;
        }
        quantiles[i] = between(lower < passed - weight ? previous : value, value, position - whole);
    }
}
