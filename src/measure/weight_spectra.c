#include "deltascope/measure/weight_spectra.h"

#include "result_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

/* ---- all matrices of a model ---- */

typedef struct weight_task {
    ds_weight_spectrum *spectra;
    ds_precision precision;
    uint64_t seed;
} weight_task;

static void load(double *out, const ds_parameter *parameter, ds_precision precision) {
    ds_widen(out, parameter->values, 0, parameter->count, precision);
}

/* Float rounds what was stored in double. */
static ds_dtype stored_type(const ds_parameter *parameter, ds_precision precision) {
    return parameter->stored == DS_DTYPE_F64 && precision == DS_F32 ? DS_DTYPE_F32 : parameter->stored;
}

static ds_status solve_weight(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    const weight_task *task = context;
    ds_weight_spectrum *out = &task->spectra[index];
    const ds_parameter *parameter = out->parameter;
    const ds_weight_matrix matrix = {parameter->shape[0], parameter->shape[1], stored_type(parameter, task->precision)};
    ds_random seeds = ds_random_init(task->seed);
    seeds.state = ds_random_u64(&seeds) + index; /* seeds that follow one another do not share matrices */
    double *values = NULL;
    ds_svd *svd = NULL;
    (void)worker;
    DS_NEW_ARRAY(values, parameter->count);
    DS_TRY(ds_svd_new(&svd, matrix.rows, matrix.columns));
    load(values, parameter, task->precision);
    DS_TRY(ds_weight_shape_find(&out->shape, values, &matrix, ds_random_u64(&seeds), svd));
done:
    if (status != DS_OK) (void)ds_fail_prefix(status, "%s", parameter->name);
    free(values);
    ds_svd_free(&svd);
    return status;
}

ds_status ds_weight_survey_run(ds_weight_survey *out, const ds_model *model, uint64_t seed) {
    ds_status status = DS_OK;
    *out = (ds_weight_survey){0};
    DS_NEW(out->spectra, ds_model_parameters(model));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        if (parameter->rank == 2 && parameter->shape[0] > 1 && parameter->shape[1] > 1)
            out->spectra[out->count++].parameter = parameter;
    }
    weight_task task = {out->spectra, ds_model_precision(model), seed};
    DS_TRY(ds_parallel_for(out->count, solve_weight, &task));
done:
    if (status != DS_OK) ds_weight_survey_release(out);
    return status;
}

void ds_weight_survey_release(ds_weight_survey *survey) {
    free(survey->spectra);
    *survey = (ds_weight_survey){0};
}

/* ---- reporting ---- */

static void put_spectrum(ds_json_builder *b, const ds_matrix_spectrum *s) {
    ds_json_put_real(b, "spectral_norm", s->spectral_norm);
    ds_json_put_real(b, "singular_value_bound", s->bound);
    ds_json_put_real(b, "rounding_bound", s->rounding);
    ds_json_put_count(b, "rank", s->rank);
    ds_json_put_real(b, "frobenius", s->frobenius);
    ds_json_put_real(b, "stable_rank", s->stable_rank);
    ds_json_put_real(b, "effective_rank", s->effective_rank);
    ds_json_put_real(b, "alpha", s->tail.alpha);
    ds_json_put_real(b, "alpha_stderr", s->alpha_stderr);
    ds_json_put_real(b, "ks", s->tail.ks);
    ds_json_put_real(b, "xmin", s->tail.xmin);
    ds_json_put_count(b, "tail", s->tail.tail);
    ds_json_put_real(b, "alpha_weightwatcher", s->weightwatcher.alpha);
    ds_json_put_real(b, "ks_weightwatcher", s->weightwatcher.ks);
    ds_json_put_real(b, "xmin_weightwatcher", s->weightwatcher.xmin);
    ds_json_put_count(b, "tail_weightwatcher", s->weightwatcher.tail);
    ds_json_put_real(b, "mp_edge", s->mp_edge);
    ds_json_put_count(b, "above_mp_edge", s->above_mp_edge);
    ds_json_put_real(b, "bulk_edge", s->bulk.edge);
    ds_json_put_real(b, "bulk_distance", s->bulk.distance);
    ds_json_put_count(b, "outliers", s->bulk.outliers);
    ds_json_put_stats(b, "singular_values", &s->singular_values);
}

static void put_verdict(ds_json_builder *b, const ds_shape_verdict *verdict) {
    ds_json_put_text(b, "verdict", ds_shape_name(verdict->shape));
    ds_json_put_bool(b, "verdict_stable", verdict->stable);
    ds_json_begin_array(b, "verdict_alternatives");
    for (int i = 0; i < DS_SHAPE_COUNT; i++) {
        if (verdict->alternatives[i]) ds_json_put_text(b, NULL, ds_shape_name((ds_shape)i));
    }
    ds_json_end(b);
}

void ds_weight_survey_put(ds_json_builder *b, const ds_weight_survey *survey) {
    ds_json_begin_array(b, "weights");
    for (size_t i = 0; i < survey->count; i++) {
        const ds_weight_spectrum *item = &survey->spectra[i];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "tensor", item->parameter->name);
        ds_json_put_count(b, "rows", item->parameter->shape[0]);
        ds_json_put_count(b, "columns", item->parameter->shape[1]);
        put_spectrum(b, &item->shape.learned);
        put_verdict(b, &item->shape.verdict);
        ds_json_begin_object(b, "randomised");
        put_spectrum(b, &item->shape.shuffled);
        ds_json_end(b);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_object(b, "weights_thresholds");
    ds_json_put_text(b, "power_law_of", "squared singular values");
    ds_json_put_real(b, "outlier_widths", DS_EDGE_WIDTHS);
    ds_json_put_real(b, "outlier_share", DS_OUTLIER_SHARE);
    ds_json_put_real(b, "bulk_distance", DS_BULK_DISTANCE);
    ds_json_put_real(b, "low_rank_share", DS_LOW_RANK_SHARE);
    ds_json_put_real(b, "ks_critical", DS_POWER_LAW_CRITICAL);
    ds_json_put_real(b, "tail_share", DS_TAIL_SHARE);
    ds_json_put_real(b, "moved_by", DS_SHAPE_SHARE);
    ds_json_end(b);
}
