#include <stdlib.h>

#include "fold.h"
#include "init.h"
#include "load.h"
#include "parameters.h"

/* ---- accessors -------------------------------------------------------------------------------------------------------- */

const ds_spec *ds_model_spec(const ds_model *model) { return &model->spec; }
ds_precision ds_model_precision(const ds_model *model) { return model->precision; }
size_t ds_model_parameters(const ds_model *model) { return model->parameter_count; }
const ds_parameter *ds_model_parameter(const ds_model *model, size_t index) { return &model->parameters[index]; }

uint64_t ds_model_parameter_count(const ds_model *model) {
    uint64_t count = 0;
    for (size_t i = 0; i < model->parameter_count; i++) count += model->parameters[i].count;
    return count;
}

const char *ds_group_name(ds_group group) {
    static const char *const names[DS_GROUP_COUNT] = {"embedding", "attention", "mlp", "delta", "compressor", "norms"};
    return group < DS_GROUP_COUNT ? names[group] : "";
}

void ds_model_free(ds_model **model) {
    if (*model == NULL) return;
    free((*model)->parameters);
    free((*model)->labels);
    free((*model)->layers);
    free((*model)->values);
    free((*model)->derived);
    free(*model);
    *model = NULL;
}

/* ---- memory: one block for all values, one for all taps --------------------------------------------------------------- */

/* Takes `count` elements from the block being measured or carved, rounded up to 64 bytes. */
static bool reserve(size_t *bytes, size_t count, size_t size) {
    size_t needed;
    return ds_mul_size(count, size, &needed) && ds_add_size(needed, 63, &needed) &&
           ds_add_size(*bytes, needed / 64 * 64, bytes);
}

static ds_status allocate_values(ds_model *model) {
    size_t size = ds_precision_size(model->precision), bytes = 0;
    for (size_t i = 0; i < model->parameter_count; i++) {
        if (!reserve(&bytes, model->parameters[i].count, size))
            return ds_fail(DS_ERR_SYSTEM, "out of memory: the parameters need more than 2^64 bytes");
    }
    model->values = ds_alloc_array(bytes, 1);
    if (model->values == NULL) return DS_ERR_SYSTEM;
    for (size_t i = 0, offset = 0; i < model->parameter_count; i++) {
        model->parameters[i].values = (char *)model->values + offset;
        (void)reserve(&offset, model->parameters[i].count, size); /* fits: measured above */
    }
    return DS_OK;
}

static size_t taps_count(const ds_model *model, const ds_taps *taps) {
    const ds_spec *spec = &model->spec;
    if (taps->weight == NULL) return 0;
    if (taps->read != NULL && spec->compressor == DS_COMPRESS_CC) return spec->value_channels * spec->hidden;
    return taps->weight->count;
}

/* The compressors of all layers, the readout, the input convolution. */
static ds_taps *taps_at(ds_model *model, size_t index) {
    if (index < model->spec.layers) return &model->layers[index].compress;
    return index == model->spec.layers ? &model->readout : &model->input;
}

static ds_status allocate_taps(ds_model *model) {
    size_t size = ds_precision_size(model->precision), bytes = 0, count = model->spec.layers + 2;
    for (size_t i = 0; i < count; i++) {
        if (!reserve(&bytes, taps_count(model, taps_at(model, i)), size))
            return ds_fail(DS_ERR_SYSTEM, "out of memory: the folded weights need more than 2^64 bytes");
    }
    if (bytes == 0) return DS_OK;
    model->derived = ds_alloc_array(bytes, 1);
    if (model->derived == NULL) return DS_ERR_SYSTEM;
    for (size_t i = 0, offset = 0; i < count; i++) {
        ds_taps *taps = taps_at(model, i);
        if (taps->weight == NULL) continue;
        taps->taps = (char *)model->derived + offset;
        (void)reserve(&offset, taps_count(model, taps), size);
    }
    return DS_OK;
}

void ds_model_refresh(ds_model *model) {
    const ds_spec *spec = &model->spec;
    const size_t dv = spec->value_channels, d = spec->hidden;
    const size_t left = spec->state_kernel_causal ? spec->state_kernel - 1 : (spec->state_kernel - 1) / 2;
    for (size_t i = 0; i < spec->layers + 2; i++) {
        ds_taps *taps = taps_at(model, i);
        if (taps->weight == NULL) continue;
        const void *weight = taps->weight->values;
        bool fold = taps->read != NULL && spec->compressor == DS_COMPRESS_CC;
        size_t kernel = taps->read != NULL ? spec->state_kernel : spec->input_kernel;
        if (model->precision == DS_F32) {
            if (fold) ds_fold_channels_f32(taps->taps, weight, taps->read->values, dv, kernel, d, left);
            if (!fold) ds_unfold_taps_f32(taps->taps, weight, dv, kernel, d);
        } else {
            if (fold) ds_fold_channels_f64(taps->taps, weight, taps->read->values, dv, kernel, d, left);
            if (!fold) ds_unfold_taps_f64(taps->taps, weight, dv, kernel, d);
        }
    }
}

void ds_model_set_direction_eps(ds_model *model, double eps) { model->spec.k_eps = eps; }

/* ---- making ----------------------------------------------------------------------------------------------------------- */

ds_status ds_model_load(ds_model **out, ds_checkpoint *checkpoint, ds_precision precision) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    ds_spec spec;
    DS_TRY(ds_spec_detect(&spec, checkpoint));
    DS_TRY(ds_model_frame(&model, &spec, precision, checkpoint));
    DS_TRY(allocate_values(model));
    DS_TRY(allocate_taps(model));
    DS_TRY(ds_model_read(model, checkpoint));
    ds_model_refresh(model);
    *out = model;
    model = NULL;
done:
    ds_model_free(&model);
    return status;
}

ds_status ds_spec_parameter_count(uint64_t *count, const ds_spec *spec) {
    ds_status status = DS_OK;
    ds_model *frame = NULL;
    DS_TRY(ds_model_frame(&frame, spec, DS_F32, NULL));
    *count = ds_model_parameter_count(frame);
done:
    ds_model_free(&frame);
    return status;
}

ds_status ds_spec_reached_count(uint64_t *count, const ds_spec *spec, size_t length) {
    ds_status status = DS_OK;
    ds_model *frame = NULL;
    bool *reached = NULL;
    *count = 0;
    DS_TRY(ds_model_frame(&frame, spec, DS_F32, NULL));
    DS_NEW(reached, frame->parameter_count);
    ds_model_reached(reached, frame, length);
    for (size_t i = 0; i < frame->parameter_count; i++) *count += reached[i] ? frame->parameters[i].count : 0;
done:
    free(reached);
    ds_model_free(&frame);
    return status;
}

/* A model with room for its values. */
static ds_status new_model(ds_model **out, const ds_spec *spec, ds_precision precision) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    DS_TRY(ds_model_frame(&model, spec, precision, NULL));
    DS_TRY(allocate_values(model));
    DS_TRY(allocate_taps(model));
    *out = model;
    model = NULL;
done:
    ds_model_free(&model);
    return status;
}

ds_status ds_model_random(ds_model **out, const ds_spec *spec, ds_precision precision, uint64_t seed) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    DS_TRY(new_model(&model, spec, precision));
    DS_TRY(ds_model_initialise(model, seed));
    ds_model_refresh(model);
    *out = model;
    model = NULL;
done:
    ds_model_free(&model);
    return status;
}

ds_status ds_model_initial(ds_model **out, const ds_spec *spec, ds_precision precision, ds_initialisation which,
                           uint64_t seed) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    DS_TRY(new_model(&model, spec, precision));
    DS_TRY(ds_model_start(model, which, seed));
    ds_model_refresh(model);
    *out = model;
    model = NULL;
done:
    ds_model_free(&model);
    return status;
}
