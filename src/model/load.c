#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

#include "backbone.h"
#include "fold.h"
#include "load.h"

ds_head_tie ds_head_stored(const ds_model *model, const ds_checkpoint *checkpoint, const ds_tensor **head) {
    const ds_tensor *wte = ds_checkpoint_find(checkpoint, model->embedding->name);
    *head = NULL;
    if (model->own_head != NULL) return DS_HEAD_OWN;
    *head = ds_checkpoint_find(checkpoint, "lm_head.weight");
    if (*head == NULL) return DS_HEAD_ABSENT;
    if (wte == NULL || (*head)->rank != 2 || wte->rank != 2 || (*head)->shape[0] != wte->shape[0] ||
        (*head)->shape[1] != wte->shape[1] || (*head)->dtype == DS_DTYPE_OTHER)
        return DS_HEAD_DIFFERENT;
    bool shared = (*head)->file_index == wte->file_index && (*head)->offset == wte->offset && (*head)->dtype == wte->dtype &&
                  (*head)->stride[0] == wte->stride[0] && (*head)->stride[1] == wte->stride[1];
    return shared ? DS_HEAD_SHARED : DS_HEAD_EQUAL;
}

static int by_address(const void *left, const void *right) {
    uintptr_t a = *(const uintptr_t *)left, b = *(const uintptr_t *)right;
    return (a > b) - (a < b);
}

ds_status ds_model_unused(const ds_tensor ***tensors, size_t *count, const ds_model *model, const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    const ds_tensor *head = ds_checkpoint_find(checkpoint, "lm_head.weight");
    size_t all = ds_checkpoint_count(checkpoint), used_count = model->parameter_count;
    uintptr_t *used = NULL;
    *tensors = NULL;
    *count = 0;
    DS_NEW(used, used_count + 1);
    DS_NEW(*tensors, all);
    for (size_t i = 0; i < used_count; i++) used[i] = (uintptr_t)ds_checkpoint_find(checkpoint, model->parameters[i].name);
    if (head != NULL) used[used_count++] = (uintptr_t)head;
    qsort(used, used_count, sizeof *used, by_address);
    for (size_t i = 0; i < all; i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        uintptr_t key = (uintptr_t)tensor;
        bool free_one = bsearch(&key, used, used_count, sizeof *used, by_address) == NULL;
        if (free_one && !ds_is_twin(&model->spec, checkpoint, tensor)) (*tensors)[(*count)++] = tensor;
    }
done:
    free(used);
    return status;
}

/* A chunk of one of the two: what the other has delivered already is compared, the rest is kept. */
static ds_status pair_chunk(ds_pair *pair, uint64_t *own, uint64_t other, const void *values, uint64_t first, size_t count) {
    const char *bytes = values;
    char *kept = (char *)pair->values + first * pair->size;
    uint64_t known = other > first ? other - first : 0;
    size_t compared = known < count ? (size_t)known : count;
    if (memcmp(kept, bytes, compared * pair->size) != 0) pair->different = true;
    memcpy(kept + compared * pair->size, bytes + compared * pair->size, (count - compared) * pair->size);
    *own = first + count;
    return DS_OK;
}

ds_status ds_pair_embedding(void *context, const void *values, uint64_t first, size_t count) {
    ds_pair *pair = context;
    return pair_chunk(pair, &pair->embedding, pair->head, values, first, count);
}

ds_status ds_pair_head(void *context, const void *values, uint64_t first, size_t count) {
    ds_pair *pair = context;
    return pair_chunk(pair, &pair->head, pair->embedding, values, first, count);
}

/* What a load reads: entry i < model->parameter_count of `reads` fills parameter i. */
typedef struct load_job {
    const ds_model *model;
    ds_tensor_read *reads;
} load_job;

static ds_status check_finite(void *context, size_t index, size_t worker) {
    const load_job *job = context;
    const ds_model *model = job->model;
    const ds_parameter *parameter = &model->parameters[index];
    (void)worker;
    size_t at = model->precision == DS_F32 ? ds_first_nonfinite_f32(parameter->values, parameter->count)
                                           : ds_first_nonfinite_f64(parameter->values, parameter->count);
    if (at == parameter->count) return DS_OK;
    double value = ds_real_at(parameter->values, model->precision, at);
    char place[DS_MAX_RANK * 22] = "";
    for (size_t axis = parameter->rank, rest = at; axis-- > 0; rest /= parameter->shape[axis]) {
        char before[sizeof place];
        memcpy(before, place, sizeof place);
        (void)snprintf(place, sizeof place, "%zu%s%s", rest % parameter->shape[axis], before[0] == '\0' ? "" : ", ", before);
    }
    return ds_fail(DS_ERR_INPUT, "%s: tensor %s is %g at index [%s], expected finite weights", job->reads[index].tensor->file,
                   parameter->name, value, place);
}

ds_status ds_model_read(ds_model *model, ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    ds_tensor_read *reads = NULL;
    const ds_tensor *head = NULL;
    size_t count = model->parameter_count;
    ds_head_tie tie = ds_head_stored(model, checkpoint, &head);
    if (tie == DS_HEAD_DIFFERENT)
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s has another shape or dtype (%s) than %s, to which the output head is tied",
                       head->file, head->name, head->dtype_name, model->embedding->name);
    ds_pair pair = {.values = model->embedding->values, .size = ds_precision_size(model->precision)};
    DS_NEW(reads, count + 1);
    for (size_t i = 0; i < count; i++) {
        reads[i] = (ds_tensor_read){.tensor = ds_checkpoint_find(checkpoint, model->parameters[i].name),
                                    .precision = model->precision,
                                    .destination = model->parameters[i].values};
        model->parameters[i].stored = reads[i].tensor->dtype;
    }
    load_job job = {model, reads};
    if (tie == DS_HEAD_EQUAL) {
        ds_tensor_read *embedding = &reads[model->embedding - model->parameters];
        embedding->destination = NULL;
        embedding->sink = ds_pair_embedding;
        embedding->context = &pair;
        reads[count++] =
            (ds_tensor_read){.tensor = head, .precision = model->precision, .sink = ds_pair_head, .context = &pair};
    }
    DS_TRY(ds_checkpoint_read(checkpoint, reads, count));
    if (pair.different) {
        status = ds_fail(DS_ERR_INPUT, "%s: tensor %s differs from %s, expected the same values (the output head is tied)",
                         head->file, head->name, model->embedding->name);
        goto done;
    }
    DS_TRY(ds_parallel_for(model->parameter_count, check_finite, &job));
done:
    free(reads);
    return status;
}
