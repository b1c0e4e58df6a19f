#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

#include "load.h"
#include "parameters.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the CRC is taken over little-endian floats as they lie in memory");

/* What the sink of one tensor carries from chunk to chunk. */
typedef struct survey_sink {
    ds_tensor_health *health;
    ds_precision precision;
    uint64_t row_length;
    bool row_is_zero; /* so far, of the row the next element belongs to */
    ds_pair *pair;    /* with the other of embedding and head, or NULL */
} survey_sink;

/* One element's part in the counts; `end_of_row` when it is the last of its row. */
static void count_element(survey_sink *sink, double value, bool end_of_row) {
    ds_tensor_health *health = sink->health;
    if (isnan(value)) health->nan++;
    if (isinf(value)) health->inf++;
    if (value != 0.0) sink->row_is_zero = false;
    if (!end_of_row) return;
    if (sink->row_is_zero) health->zero_rows++;
    sink->row_is_zero = true;
}

static ds_status survey_chunk(void *context, const void *values, uint64_t first, size_t count) {
    survey_sink *sink = context;
    ds_tensor_health *health = sink->health;
    uint64_t in_row = first % sink->row_length;
    for (size_t i = 0; i < count; i++) {
        double value = ds_real_at(values, sink->precision, i);
        bool end_of_row = ++in_row == sink->row_length;
        if (end_of_row) in_row = 0;
        count_element(sink, value, end_of_row);
    }
    if (sink->precision == DS_F32) {
        health->crc32 = ds_crc32(health->crc32, values, count * sizeof(float));
    } else {
        float block[1024];
        for (size_t start = 0; start < count; start += 1024) {
            size_t length = ds_min_size(count - start, 1024);
            for (size_t i = 0; i < length; i++) block[i] = (float)((const double *)values)[start + i];
            health->crc32 = ds_crc32(health->crc32, block, length * sizeof *block);
        }
    }
    if (sink->pair == NULL) return DS_OK;
    return health->head ? ds_pair_head(sink->pair, values, first, count) : ds_pair_embedding(sink->pair, values, first, count);
}

/* F64 is read as double, so that what would overflow a float is not reported as infinite. */
static ds_precision natural_precision(ds_dtype dtype) { return dtype == DS_DTYPE_F64 ? DS_F64 : DS_F32; }

static survey_sink sink_for(ds_tensor_health *health, ds_precision precision) {
    const ds_tensor *tensor = health->tensor;
    uint64_t row = tensor->rank < 2 || tensor->shape[0] == 0 ? tensor->count : tensor->count / tensor->shape[0];
    return (survey_sink){health, precision, row == 0 ? 1 : row, true, NULL};
}

/* ---- one pass --------------------------------------------------------------------------------------------------------- */

static ds_status read_all(ds_survey *survey, ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    ds_tensor_read *reads = NULL;
    survey_sink *sinks = NULL;
    void *kept = NULL;
    size_t count = 0;
    ds_pair pair = {0};
    DS_NEW(reads, survey->count);
    DS_NEW(sinks, survey->count);
    const ds_tensor *head = NULL;
    survey->head = ds_head_stored(survey->model, checkpoint, &head);
    const ds_tensor *embedding = survey->tensors[0].tensor;
    /* Bits of embedding and head are compared after conversion to one precision. */
    const bool wide = survey->head == DS_HEAD_EQUAL && (head->dtype == DS_DTYPE_F64 || embedding->dtype == DS_DTYPE_F64);
    for (size_t i = 0; i < survey->count; i++) {
        ds_tensor_health *health = &survey->tensors[i];
        if (!health->readable) continue;
        bool paired = survey->head == DS_HEAD_EQUAL && (health->head || health->tensor == embedding);
        sinks[i] = sink_for(health, paired && wide ? DS_F64 : natural_precision(health->tensor->dtype));
        if (paired) sinks[i].pair = &pair;
        reads[count++] = (ds_tensor_read){
            .tensor = health->tensor, .precision = sinks[i].precision, .sink = survey_chunk, .context = &sinks[i]};
    }
    if (survey->head == DS_HEAD_EQUAL) {
        pair.size = wide ? sizeof(double) : sizeof(float);
        kept = ds_alloc_array(survey->model->embedding->count, pair.size);
        if (kept == NULL) {
            status = DS_ERR_SYSTEM;
            goto done;
        }
        pair.values = kept;
    }
    DS_TRY(ds_checkpoint_read(checkpoint, reads, count));
    if (pair.different) survey->head = DS_HEAD_DIFFERENT;
done:
    free(kept);
    free(sinks);
    free(reads);
    return status;
}

static void add(ds_survey *survey, const ds_tensor *tensor, const ds_parameter *parameter, bool head) {
    survey->tensors[survey->count++] =
        (ds_tensor_health){.tensor = tensor, .parameter = parameter, .head = head, .readable = tensor->dtype != DS_DTYPE_OTHER};
}

/* Lists parameters in their order, the stored head, and what is left. */
static ds_status list(ds_survey *survey, const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    const ds_model *model = survey->model;
    const ds_tensor **unused = NULL;
    size_t unused_count;
    DS_NEW(survey->tensors, ds_checkpoint_count(checkpoint));
    for (size_t i = 0; i < model->parameter_count; i++) {
        const ds_parameter *parameter = &model->parameters[i];
        add(survey, ds_checkpoint_find(checkpoint, parameter->name), parameter, false);
        survey->groups[parameter->group] += parameter->count;
        survey->total += parameter->count;
    }
    const ds_tensor *head = NULL;
    (void)ds_head_stored(model, checkpoint, &head);
    if (head != NULL) add(survey, head, NULL, true);
    DS_TRY(ds_model_unused(&unused, &unused_count, model, checkpoint));
    /* A few bytes can name any number of elements (strides of 0, many views of one storage): tensors the model does not use are
     * looked at as long as their elements, of 2 bytes at least, could lie in the files side by side. */
    uint64_t room = ds_checkpoint_bytes(checkpoint) / 2;
    for (size_t i = 0; i < unused_count; i++) {
        add(survey, unused[i], NULL, false);
        ds_tensor_health *health = &survey->tensors[survey->count - 1];
        if (unused[i]->count > room) health->readable = false;
        if (health->readable) room -= unused[i]->count;
    }
done:
    free(unused);
    return status;
}

ds_status ds_survey_new(ds_survey **out, ds_checkpoint *checkpoint, ds_precision precision) {
    ds_status status = DS_OK;
    ds_survey *survey = NULL;
    DS_NEW(survey, 1);
    DS_TRY(ds_spec_detect(&survey->spec, checkpoint));
    DS_TRY(ds_model_frame(&survey->model, &survey->spec, precision, checkpoint));
    DS_TRY(list(survey, checkpoint));
    DS_TRY(read_all(survey, checkpoint));
    *out = survey;
    survey = NULL;
done:
    ds_survey_free(&survey);
    return status;
}

void ds_survey_free(ds_survey **survey) {
    if (*survey == NULL) return;
    ds_model_free(&(*survey)->model);
    free((*survey)->tensors);
    free(*survey);
    *survey = NULL;
}
