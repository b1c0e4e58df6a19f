#include "deltascope/measure/weight_spectra.h"

#include "result_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

const char *ds_shape_name(ds_shape shape) {
    static const char *const names[DS_SHAPE_COUNT] = {"undetermined", "random-like", "spiked", "heavy-tailed",
                                                      "very heavy-tailed"};
    return names[shape];
}

ds_status ds_matrix_spectrum_compute(ds_matrix_spectrum *out, double *singular, const double *values, size_t rows,
                                     size_t columns, ds_svd *svd) {
    ds_status status = DS_OK;
    size_t count = ds_min_size(rows, columns);
    double *squares = NULL, r = sqrt((double)rows), c = sqrt((double)columns);
    DS_NEW_ARRAY(squares, count);
    DS_TRY(ds_singular_values_approx(singular, values, rows, columns, svd));
    for (size_t i = 0; i < count; i++) squares[i] = singular[i] * singular[i];
    double frobenius = ds_frobenius_norm(values, rows * columns), size = frobenius / (r * c);
    *out = (ds_matrix_spectrum){.spectral_norm = singular[count - 1],
                                .frobenius = frobenius,
                                .stable_rank = ds_stable_rank(singular, count),
                                .effective_rank = ds_effective_rank(singular, count),
                                .bound = ds_singular_values_estimate(singular[count - 1], rows, columns),
                                .mp_edge = size * (r + c),
                                .edge_width = 0.5 * size * cbrt(1 / r + 1 / c)};
    for (size_t i = 0; i < count; i++) {
        out->above_mp_edge += singular[i] > out->mp_edge;
        out->outliers += singular[i] > out->mp_edge + DS_EDGE_WIDTHS * out->edge_width;
    }
    DS_TRY(ds_power_law_fit(&out->tail, squares, count, DS_LEAST_TAIL));
    DS_TRY(ds_statistics_compute(&out->singular_values, singular, count));
done:
    free(squares);
    return status;
}

typedef struct thresholds {
    double widths, heavy, very_heavy, critical, share;
} thresholds;

static ds_shape shape_at(const ds_matrix_spectrum *spectrum, const double *singular, size_t count, const thresholds *at) {
    size_t outliers = 0;
    for (size_t i = 0; i < count; i++) outliers += singular[i] > spectrum->mp_edge + at->widths * spectrum->edge_width;
    const ds_power_law *tail = &spectrum->tail;
    if (count < DS_LEAST_VALUES) return DS_SHAPE_UNDETERMINED;
    if (outliers == 0) return DS_SHAPE_RANDOM;
    if (ds_power_law_rejected(tail, at->critical) || !(tail->alpha <= at->heavy) ||
        (double)tail->tail < at->share * (double)count)
        return DS_SHAPE_SPIKED;
    return tail->alpha < at->very_heavy ? DS_SHAPE_VERY_HEAVY : DS_SHAPE_HEAVY;
}

ds_shape_verdict ds_shape_judge(const ds_matrix_spectrum *spectrum, const double *singular, size_t count) {
    const thresholds stated = {DS_EDGE_WIDTHS, DS_ALPHA_HEAVY, DS_ALPHA_VERY_HEAVY, DS_POWER_LAW_CRITICAL, DS_TAIL_SHARE};
    ds_shape_verdict out = {.shape = shape_at(spectrum, singular, count, &stated), .stable = true};
    for (unsigned moved = 0; moved < 16; moved++) { /* each threshold up or down */
        double factors[4];
        for (unsigned i = 0; i < 4; i++) factors[i] = 1 + (moved >> i & 1 ? DS_SHAPE_SHARE : -DS_SHAPE_SHARE);
        const thresholds at = {stated.widths * factors[0], stated.heavy * factors[1], stated.very_heavy * factors[1],
                               stated.critical * factors[2], stated.share * factors[3]};
        ds_shape shape = shape_at(spectrum, singular, count, &at);
        if (shape == out.shape) continue;
        out.alternatives[shape] = true;
        out.stable = false;
    }
    return out;
}

/* ---- all matrices of a model ---- */

typedef struct weight_task {
    ds_weight_spectrum *spectra;
    ds_precision precision;
    uint64_t seed;
} weight_task;

static void load(double *out, const ds_parameter *parameter, ds_precision precision) {
    ds_widen(out, parameter->values, 0, parameter->count, precision);
}

static void shuffle(double *values, size_t count, ds_random *random) {
    for (size_t i = count; i-- > 1;) {
        size_t other = ds_random_below(random, i + 1);
        double kept = values[i];
        values[i] = values[other];
        values[other] = kept;
    }
}

static ds_status solve_weight(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    const weight_task *task = context;
    ds_weight_spectrum *out = &task->spectra[index];
    const ds_parameter *parameter = out->parameter;
    size_t rows = parameter->shape[0], columns = parameter->shape[1], count = ds_min_size(rows, columns);
    ds_random seeds = ds_random_init(task->seed);
    seeds.state = ds_random_u64(&seeds) + index; /* seeds that follow one another do not share matrices */
    ds_random random = ds_random_init(ds_random_u64(&seeds));
    double *values = NULL, *singular = NULL;
    ds_svd *svd = NULL;
    (void)worker;
    DS_NEW_ARRAY(values, parameter->count);
    DS_NEW_ARRAY(singular, count);
    DS_TRY(ds_svd_new(&svd, rows, columns));
    load(values, parameter, task->precision);
    DS_TRY(ds_matrix_spectrum_compute(&out->learned, singular, values, rows, columns, svd));
    out->verdict = ds_shape_judge(&out->learned, singular, count);
    shuffle(values, parameter->count, &random);
    DS_TRY(ds_matrix_spectrum_compute(&out->shuffled, singular, values, rows, columns, svd));
done:
    if (status != DS_OK) (void)ds_fail_prefix(status, "%s", parameter->name);
    free(values);
    free(singular);
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
    ds_json_put_real(b, "frobenius", s->frobenius);
    ds_json_put_real(b, "stable_rank", s->stable_rank);
    ds_json_put_real(b, "effective_rank", s->effective_rank);
    ds_json_put_real(b, "alpha", s->tail.alpha);
    ds_json_put_real(b, "alpha_stderr", s->tail.alpha_stderr);
    ds_json_put_real(b, "ks", s->tail.ks);
    ds_json_put_real(b, "xmin", s->tail.xmin);
    ds_json_put_count(b, "tail", s->tail.tail);
    ds_json_put_real(b, "mp_edge", s->mp_edge);
    ds_json_put_count(b, "above_mp_edge", s->above_mp_edge);
    ds_json_put_count(b, "outliers", s->outliers);
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
        put_spectrum(b, &item->learned);
        put_verdict(b, &item->verdict);
        ds_json_begin_object(b, "randomised");
        put_spectrum(b, &item->shuffled);
        ds_json_end(b);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_object(b, "weights_thresholds");
    ds_json_put_text(b, "power_law_of", "squared singular values");
    ds_json_put_real(b, "outlier_widths", DS_EDGE_WIDTHS);
    ds_json_put_real(b, "alpha_heavy", DS_ALPHA_HEAVY);
    ds_json_put_real(b, "alpha_very_heavy", DS_ALPHA_VERY_HEAVY);
    ds_json_put_real(b, "ks_critical", DS_POWER_LAW_CRITICAL);
    ds_json_put_real(b, "tail_share", DS_TAIL_SHARE);
    ds_json_put_real(b, "moved_by", DS_SHAPE_SHARE);
    ds_json_end(b);
}
