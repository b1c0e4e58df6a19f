#include "depth_sources.h"

/* Sublayers of a block. */
static size_t block_of(const ds_spec *spec) {
    size_t blocks = ds_max_size(spec->depth_blocks, 1);
    return 2 * ds_max_size((spec->layers + blocks - 1) / blocks, 1);
}

/* list NULL: the sources are only counted. */
static void put(ds_depth_source *list, size_t at, ds_depth_source source) {
    if (list != NULL) list[at] = source;
}

/* v_first, ..., v_s, one by one. */
static size_t outputs(ds_depth_source *list, size_t first, size_t sublayer) {
    for (size_t i = first; i <= sublayer; i++) put(list, i - first, (ds_depth_source){DS_NO_SOURCE, i, i + 1});
    return sublayer + 1 - first;
}

static size_t full(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    (void)spec;
    return outputs(list, 0, sublayer);
}

/* The embedding, then what each block added so far. The first read of a block sees nothing of it yet. */
static size_t block(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    size_t count = 0;
    put(list, count++, (ds_depth_source){DS_NO_SOURCE, 0, 1});
    for (size_t first = 1; first <= sublayer; first += block_of(spec))
        put(list, count++, (ds_depth_source){DS_NO_SOURCE, first, ds_min_size(first + block_of(spec), sublayer + 1)});
    return count;
}

/* The embedding, P after every `step` sublayers, P. */
static size_t cumulative(ds_depth_source *list, size_t step, size_t sublayer) {
    size_t count = 1;
    put(list, 0, (ds_depth_source){DS_NO_SOURCE, 0, 1});
    for (size_t end = step; end <= sublayer; end += step, count++)
        put(list, count, (ds_depth_source){count - 1, end - step + 1, end + 1});
    put(list, count, (ds_depth_source){count - 1, (count - 1) * step + 1, sublayer + 1});
    return count + 1;
}

static size_t cumulative_full(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    (void)spec;
    return cumulative(list, 1, sublayer);
}

static size_t cumulative_block(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    return cumulative(list, block_of(spec), sublayer);
}

static size_t delta(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    return sublayer == 0 ? 0 : full(list, spec, sublayer);
}

/* B_0 = v_0, B_k = P - B_{k-1} at the first sublayer of block k, which is B_{k-2} and what block k-1 added: the published code
 * stores an alternating sum, and so do checkpoints. The first read of a block is before its source is there. */
static size_t delta_block(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    size_t step = block_of(spec), count = 0;
    for (size_t start = 0; start < sublayer; start += step, count++)
        put(list, count, (ds_depth_source){count < 2 ? DS_NO_SOURCE : count - 2, count == 0 ? 0 : start + 1 - step, start + 1});
    return count;
}

/* The outputs, P. */
static size_t delta_replace(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    size_t count = outputs(list, 1, sublayer);
    (void)spec;
    put(list, count, (ds_depth_source){DS_NO_SOURCE, 0, sublayer + 1});
    return count + 1;
}

/* P after every sublayer so far. */
static size_t full_additive(ds_depth_source *list, const ds_spec *spec, size_t sublayer) {
    (void)spec;
    for (size_t i = 0; i < sublayer; i++)
        put(list, i, i == 0 ? (ds_depth_source){DS_NO_SOURCE, 0, 2} : (ds_depth_source){i - 1, i + 1, i + 2});
    return sublayer;
}

bool ds_depth_is_embedding(const ds_depth_source *plan, size_t place) {
    while (plan[place].base != DS_NO_SOURCE && plan[place].first >= plan[place].end) place = plan[place].base;
    return plan[place].base == DS_NO_SOURCE && plan[place].first == 0 && plan[place].end == 1;
}

const ds_depth_form ds_depth_forms[DS_DEPTH_RULES] = {
    {.sources = full, .routes_readout = true},
    {.sources = block, .routes_readout = true, .of_blocks = true, .ends_growing = true},
    {.sources = cumulative_full, .takes_bias = true, .ends_growing = true},
    {.sources = cumulative_block, .takes_bias = true, .ends_growing = true},
    {.sources = delta, .additive = true, .keeps_sum = true, .takes_null = true},
    {.sources = delta_block, .additive = true, .takes_null = true, .of_blocks = true},
    {.sources = delta_replace, .keeps_sum = true, .ends_growing = true},
    {.sources = full_additive, .additive = true, .takes_null = true},
};
