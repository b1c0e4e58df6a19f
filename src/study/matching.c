/* What is equal among the runs of a study, and the proof that it is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

/* ---- initial weights --------------------------------------------------------------------------------------------- */

/* One tensor of checkpoint-0 of one run. */
typedef struct found_tensor {
    char *name;
    size_t rank;
    uint64_t shape[DS_MAX_RANK];
    size_t variant, seed;
    char sha256[65]; /* of its numbers as little-endian of the study's precision */
} found_tensor;

typedef struct tensor_list {
    found_tensor *at;
    size_t count, capacity;
} tensor_list;

static ds_status digest(char digits[65], ds_checkpoint *checkpoint, const ds_tensor *tensor, ds_precision precision) {
    ds_status status = DS_OK;
    void *values = ds_alloc_array(tensor->count, ds_precision_size(precision));
    if (values == NULL) return DS_ERR_SYSTEM;
    const ds_tensor_read read = {.tensor = tensor, .precision = precision, .destination = values};
    DS_TRY(ds_checkpoint_read(checkpoint, &read, 1));
    DS_TRY(ds_sha256(digits, values, tensor->count * ds_precision_size(precision)));
done:
    free(values);
    return status;
}

static ds_status list_tensors(tensor_list *list, const ds_study_results *results, size_t variant, size_t seed) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    ds_text path = {0}, inside = {0};
    DS_TRY(
        ds_text_printf(&inside, "%s/checkpoint-0/model.safetensors", ds_study_result_of(results, variant, seed)->cell.folder));
    DS_TRY(ds_folder_show(&path, results->folder, inside.bytes));
    DS_TRY(ds_tensors_open(&checkpoint, path.bytes));
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        void *storage = list->at;
        DS_TRY(ds_grow(&storage, &list->capacity, list->count + 1, sizeof *list->at));
        list->at = storage;
        found_tensor *found = &list->at[list->count];
        *found = (found_tensor){.name = ds_strdup(tensor->name), .rank = tensor->rank, .variant = variant, .seed = seed};
        if (found->name == NULL) DS_TRY(DS_ERR_SYSTEM);
        list->count++;
        memcpy(found->shape, tensor->shape, sizeof found->shape);
        DS_TRY(digest(found->sha256, checkpoint, tensor, results->plan->precision));
    }
done:
    ds_checkpoint_close(&checkpoint);
    ds_text_release(&inside);
    ds_text_release(&path);
    return status;
}

static int compare(uint64_t a, uint64_t b) { return (a > b) - (a < b); }

/* Tensors of equal name and shape stand together, by seed, then variant. */
static int by_tensor(const void *a, const void *b) {
    const found_tensor *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order == 0) order = compare(x->rank, y->rank);
    for (size_t i = 0; order == 0 && i < x->rank; i++) order = compare(x->shape[i], y->shape[i]);
    if (order == 0) order = compare(x->seed, y->seed);
    return order != 0 ? order : compare(x->variant, y->variant);
}

static bool same_tensor(const found_tensor *x, const found_tensor *y) {
    return strcmp(x->name, y->name) == 0 && x->rank == y->rank && memcmp(x->shape, y->shape, x->rank * sizeof *x->shape) == 0;
}

/* Whether the group's tensors of equal seed of weights are equal. */
static bool all_equal(const ds_plan *plan, const found_tensor *group, size_t count) {
    bool equal = true;
    for (size_t i = 0; i < count; i++) {
        size_t first = 0; /* of the same seed */
        while (plan->seeds[group[first].seed].init != plan->seeds[group[i].seed].init) first++;
        equal = equal && strcmp(group[i].sha256, group[first].sha256) == 0;
    }
    return equal;
}

static void put_digests(ds_json_builder *b, const ds_plan *plan, const found_tensor *group, size_t count) {
    ds_json_begin_object(b, "sha256");
    for (size_t i = 0; i < count; i++) {
        char seed[32];
        bool first = true;
        for (size_t k = 0; k < i; k++) first &= plan->seeds[group[k].seed].init != plan->seeds[group[i].seed].init;
        (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)plan->seeds[group[i].seed].init);
        if (first) ds_json_put_text(b, seed, group[i].sha256);
    }
    ds_json_end(b);
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* The variants that have it, in bytewise order; returns how many. */
static size_t put_owners(ds_json_builder *b, const ds_plan *plan, const found_tensor *group, size_t count) {
    const char *names[DS_PLAN_VARIANTS];
    size_t owners = 0;
    for (size_t v = 0; v < plan->variant_count; v++) {
        bool has = false;
        for (size_t i = 0; i < count; i++) has |= group[i].variant == v;
        if (has) names[owners++] = plan->variants[v].name;
    }
    qsort(names, owners, sizeof *names, by_name);
    ds_json_begin_array(b, "variants");
    for (size_t i = 0; i < owners; i++) ds_json_put_text(b, NULL, names[i]);
    ds_json_end(b);
    return owners;
}

/* *shared <- whether more than one variant has it. */
static bool put_tensor(ds_json_builder *b, bool *shared, const ds_plan *plan, const found_tensor *group, size_t count) {
    const bool equal = all_equal(plan, group, count);
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", group->name);
    ds_json_put_counts(b, "shape", group->shape, group->rank);
    *shared = put_owners(b, plan, group, count) > 1;
    ds_json_put_bool(b, "equal", equal);
    put_digests(b, plan, group, count);
    ds_json_end(b);
    return equal;
}

static ds_status put_tensors(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    tensor_list list = {.at = NULL};
    size_t tensors = 0, shared = 0;
    bool equal = true;
    for (size_t v = 0; v < plan->variant_count; v++) {
        for (size_t s = 0; s < plan->seed_count; s++)
            if (ds_study_result_of(results, v, s)->finished) DS_TRY(list_tensors(&list, results, v, s));
    }
    if (list.count > 0) qsort(list.at, list.count, sizeof *list.at, by_tensor);
    ds_json_begin_array(b, "tensors");
    for (size_t i = 0, end; i < list.count; i = end) {
        bool by_several;
        for (end = i + 1; end < list.count && same_tensor(&list.at[i], &list.at[end]);) end++;
        equal &= put_tensor(b, &by_several, plan, &list.at[i], end - i);
        tensors++;
        shared += by_several;
    }
    ds_json_end(b);
    ds_json_put_count(b, "tensor_count", tensors);
    ds_json_put_count(b, "tensors_shared", shared);
    ds_json_put_bool(b, "tensors_equal", equal);
done:
    for (size_t i = 0; i < list.count; i++) free(list.at[i].name);
    free(list.at);
    return status;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

/* digits <- the running digest after `steps` updates; `all`, where it is an open array, gets every one on the way. */
static ds_status digest_batches(char digits[65], ds_json_builder *all, const ds_plan *plan, const ds_cell *cell, uint64_t steps,
                                uint64_t every) {
    ds_status status = DS_OK;
    const ds_recipe recipe = ds_cell_recipe(plan, cell);
    ds_text bytes = {0};
    digits[0] = '\0';
    for (uint64_t t = 0; t < steps; t++) {
        for (uint64_t row = 0; row < recipe.accumulation * recipe.batch; row++) {
            char start[8];
            uint64_t at = ds_recipe_window(&recipe, plan->train_tokens, t, row / recipe.batch, row % recipe.batch);
            for (size_t k = 0; k < 8; k++) start[k] = (char)(at >> (8 * k) & 0xff);
            DS_TRY(ds_text_append(&bytes, start, 8));
        }
        if (t + 1 != steps && (t + 1) % every != 0) continue;
        DS_TRY(ds_sha256(digits, bytes.bytes, bytes.length));
        if (all != NULL) ds_json_put_text(all, NULL, digits);
        bytes.length = 0;
        DS_TRY(ds_text_append(&bytes, digits, 64));
    }
done:
    ds_text_release(&bytes);
    return status;
}

ds_status ds_study_put_batches(ds_json_builder *b, const ds_plan *plan, const ds_cell *cell, uint64_t steps) {
    ds_status status = DS_OK;
    const ds_recipe recipe = ds_cell_recipe(plan, cell);
    char digits[65];
    ds_json_begin_array(b, "batch_digests");
    DS_TRY(digest_batches(digits, b, plan, cell, steps, ds_plan_evaluate_every(plan, &recipe)));
    ds_json_end(b);
    ds_json_put_text(b, "batch_digest", digits);
done:
    return status;
}

/* Over the updates that all variants have. */
static ds_status put_batches(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    uint64_t steps = UINT64_MAX;
    bool equal = true;
    for (size_t v = 0; v < plan->variant_count; v++) {
        const uint64_t own = plan->variants[v].recipe.steps;
        steps = own < steps ? own : steps;
    }
    for (size_t s = 0; s < plan->seed_count; s++) {
        char first[65] = "", other[65];
        for (size_t v = 0; v < plan->variant_count; v++) {
            const ds_cell *cell = &ds_study_result_of(results, v, s)->cell;
            DS_TRY(digest_batches(other, NULL, plan, cell, steps, steps));
            if (v == 0) memcpy(first, other, sizeof first);
            equal &= strcmp(first, other) == 0;
        }
    }
    ds_json_put_bool(b, "batches_equal", equal);
done:
    return status;
}

/* ---- overrides, noise floor -------------------------------------------------------------------------------------- */

static void put_overrides(ds_json_builder *b, const ds_plan *plan) {
    const json_t *variants = json_object_get(plan->given, "variants");
    ds_json_begin_object(b, "overrides");
    for (size_t v = 0; v < plan->variant_count; v++) {
        const json_t *given = json_object_get(json_object_get(variants, plan->variants[v].name), "recipe");
        ds_json_put(b, plan->variants[v].name, given == NULL ? json_object() : ds_json_copy(given));
    }
    ds_json_end(b);
}

/* Where totals of parameters were matched: how near they are, and the widths of MLPs as given and as they are. */
static ds_status put_widths(ds_json_builder *b, const ds_plan *plan) {
    ds_status status = DS_OK;
    uint64_t low = UINT64_MAX, high = 0;
    if (!plan->matched) return DS_OK;
    ds_json_begin_object(b, "parameters");
    ds_json_begin_object(b, "mlp_widths");
    for (size_t v = 0; v < plan->variant_count; v++) {
        const ds_study_variant *variant = &plan->variants[v];
        uint64_t total;
        DS_TRY(ds_spec_parameter_count(&total, &variant->spec));
        low = total < low ? total : low;
        high = total > high ? total : high;
        ds_json_begin_object(b, variant->name);
        ds_json_put_count(b, "given", variant->given_width);
        ds_json_put_count(b, "trained", variant->spec.mlp_hidden);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_put_count(b, "least", low);
    ds_json_put_count(b, "greatest", high);
    ds_json_end(b);
done:
    return status;
}

static ds_status put_noise(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    const ds_cell_result *nudged = &results->runs[plan->variant_count * plan->seed_count], *plain = NULL;
    ds_seed_summary summary;
    double *finals = NULL;
    if (!plan->has_noise_floor) {
        ds_json_put(b, "noise_floor", json_null());
        return DS_OK;
    }
    DS_NEW(finals, plan->seed_count);
    for (size_t s = 0; s < plan->seed_count; s++) {
        const ds_cell_result *run = ds_study_result_of(results, plan->noise_variant, s);
        finals[s] = run->diverged ? NAN : run->final;
        if (run->cell.seed.init == plan->noise_seed.init && run->cell.seed.data == plan->noise_seed.data) plain = run;
    }
    DS_TRY(ds_seed_summarise(&summary, finals, plan->seed_count));
    ds_json_begin_object(b, "noise_floor");
    ds_json_put_text(b, "variant", plan->variants[plan->noise_variant].name);
    ds_study_put_seed(b, "seed", plan->noise_seed);
    ds_json_put_real(b, "final_a", plain->final);
    ds_json_put_real(b, "final_b", nudged->final);
    ds_json_put_real(b, "difference", nudged->final - plain->final);
    ds_json_put_real(b, "seed_sd", summary.sd);
    ds_json_end(b);
done:
    free(finals);
    return status;
}

ds_status ds_study_put_matching(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    ds_json_begin_object(b, "matching");
    DS_TRY(put_tensors(b, results));
    DS_TRY(put_batches(b, results));
    put_overrides(b, results->plan);
    DS_TRY(put_widths(b, results->plan));
    DS_TRY(put_noise(b, results));
    ds_json_end(b);
done:
    return status;
}
