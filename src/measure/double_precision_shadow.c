#include "deltascope/measure/double_precision_shadow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One window in both precisions. */
typedef struct pair {
    ds_shadow *out;
    const ds_run *run;
    size_t length, hidden;
    void *state;              /* (T,dv,d) float */
    void *double_state;       /* (T,dv,d) double */
    float *k;                 /* (T,d): of the sublayer in float, as are the next two */
    double *beta, *k_norm2;   /* (T) */
    double *log_det;          /* (T): sum over sublayers of log|eigenvalue|, float minus double */
    double *product, *growth; /* (T): bound of |P_float - P_double|_2; product of |A_double|_2 */
    double *nll;              /* (T) */
} pair;

static ds_status pair_init(pair *two, ds_shadow *out, const ds_run *run) {
    ds_status status = DS_OK;
    size_t tokens = run->length, state = tokens * ds_spec_planes(&run->spec) * run->spec.hidden;
    *two = (pair){.out = out, .run = run, .length = tokens, .hidden = run->spec.hidden};
    two->state = ds_alloc_array(state, sizeof(float));
    two->double_state = ds_alloc_array(state, sizeof(double));
    if (two->state == NULL || two->double_state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_NEW(two->k, tokens * two->hidden);
    DS_NEW(two->beta, tokens);
    DS_NEW(two->k_norm2, tokens);
    DS_NEW(two->log_det, tokens);
    DS_NEW(two->product, tokens);
    DS_NEW(two->growth, tokens);
    DS_NEW(two->nll, tokens);
done:
    return status;
}

static void pair_release(pair *two) {
    free(two->state);
    free(two->double_state);
    free(two->k);
    free(two->beta);
    free(two->k_norm2);
    free(two->log_det);
    free(two->product);
    free(two->growth);
    free(two->nll);
}

static ds_status keep_float(void *context, const ds_observation *seen) {
    pair *two = context;
    ds_limits_add(&two->out->limits, seen);
    if (seen->delta == NULL) return DS_OK;
    memcpy(two->beta, seen->delta->beta, two->length * sizeof *two->beta);
    memcpy(two->k_norm2, seen->delta->k_norm2, two->length * sizeof *two->k_norm2);
    memcpy(two->k, seen->delta->k, two->length * two->hidden * sizeof *two->k);
    return DS_OK;
}

/* For A = I - c k k^T and its float A': |A' - A| <= |c' - c| |k'|^2 + |c| |k' - k| (|k'| + |k|), and
 * |A'P' - AP| <= |A'| |P' - P| + |A' - A| |P|, |A| = max(1, |1 - c |k|^2|). */
static ds_status compare_double(void *context, const ds_observation *seen) {
    pair *two = context;
    ds_shadow_errors *errors = &two->out->errors[seen->sublayer];
    double mult = two->run->spec.residual_mult;
    if (seen->delta == NULL) return DS_OK;
    for (size_t t = 0; t < two->length; t++) {
        const double *k = (const double *)seen->delta->k + t * two->hidden;
        const float *near = two->k + t * two->hidden;
        double distance = 0, c = mult * seen->delta->beta[t], c_near = mult * two->beta[t];
        for (size_t i = 0; i < two->hidden; i++) distance += ((double)near[i] - k[i]) * ((double)near[i] - k[i]);
        distance = sqrt(distance);
        double lambda = 1 - c * seen->delta->k_norm2[t], lambda_near = 1 - c_near * two->k_norm2[t];
        double lengths = sqrt(two->k_norm2[t]) + sqrt(seen->delta->k_norm2[t]);
        double change = fabs(c_near - c) * two->k_norm2[t] + fabs(c) * distance * lengths;
        two->product[t] = fmax(1, fabs(lambda_near)) * two->product[t] + change * two->growth[t];
        two->growth[t] *= fmax(1, fabs(lambda));
        two->log_det[t] += log(fabs(lambda_near)) - log(fabs(lambda));
        errors->beta = ds_max_real(errors->beta, fabs(two->beta[t] - seen->delta->beta[t]));
        errors->k_norm2 = ds_max_real(errors->k_norm2, fabs(two->k_norm2[t] - seen->delta->k_norm2[t]));
        errors->eigenvalue = ds_max_real(errors->eigenvalue, fabs(lambda_near - lambda));
        errors->direction = ds_max_real(errors->direction, distance);
    }
    return DS_OK;
}

static ds_status window_loss(double *loss, ds_workspace *workspace, const ds_model *model, const ds_batch *batch, void *state,
                             double *nll) {
    ds_status status = DS_OK;
    void *hidden = ds_alloc_array(batch->length * ds_model_spec(model)->hidden, ds_precision_size(ds_model_precision(model)));
    if (hidden == NULL) return DS_ERR_SYSTEM;
    DS_TRY(ds_readout(workspace, model, batch, NULL, state, hidden));
    DS_TRY(ds_head_loss(workspace, model, batch, hidden, nll));
    *loss = ds_mean(nll, batch->length);
done:
    free(hidden);
    return status;
}

static ds_status run_window(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    pair *two = context;
    ds_shadow *out = two->out;
    const ds_run *run = now->run;
    const ds_batch *batch = &now->batch;
    const ds_observer near = {DS_LIMITS_WANT | DS_OBSERVE_DIRECTIONS, keep_float, two};
    const ds_observer exact = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, compare_double, two};
    for (size_t t = 0; t < two->length; t++) {
        two->log_det[t] = two->product[t] = 0;
        two->growth[t] = 1;
    }
    DS_TRY(ds_embed(run->workspace, run->model, batch, two->state));
    DS_TRY(ds_embed(out->workspace, out->model, batch, two->double_state));
    for (size_t s = 0; s < out->sublayers; s++) {
        DS_TRY(ds_sublayers(run->workspace, run->model, batch, two->state, s, s + 1, NULL, &near));
        DS_TRY(ds_sublayers(out->workspace, out->model, batch, two->double_state, s, s + 1, NULL, &exact));
    }
    for (size_t t = 0; t < two->length; t++) {
        out->log_abs_det = ds_max_real(out->log_abs_det, fabs(two->log_det[t]));
        out->product = ds_max_real(out->product, two->product[t]);
    }
    DS_TRY(window_loss(&out->loss[now->place], run->workspace, run->model, batch, two->state, two->nll));
    DS_TRY(window_loss(&out->double_loss[now->place], out->workspace, out->model, batch, two->double_state, two->nll));
done:
    return status;
}

ds_status ds_shadow_run(ds_shadow *out, ds_run *run, size_t wanted) {
    ds_status status = DS_OK;
    pair two = {.out = NULL};
    *out = (ds_shadow){.sublayers = ds_spec_sublayers(&run->spec)};
    if (wanted == 0) return DS_OK;
    size_t count = ds_min_size(wanted, run->sequences);
    out->count = count;
    DS_NEW(out->windows, count);
    DS_NEW(out->loss, count);
    DS_NEW(out->double_loss, count);
    DS_NEW(out->errors, out->sublayers);
    DS_TRY(ds_limits_init(&out->limits, &run->spec));
    DS_TRY(ds_model_load(&out->model, run->checkpoint, DS_F64));
    DS_TRY(ds_workspace_new(&out->workspace, out->model, 1, run->length));
    DS_TRY(pair_init(&two, out, run));
    for (size_t i = 0; i < count; i++) out->windows[i] = (size_t)((uint64_t)i * run->sequences / count);
    const ds_window_pass pass = {
        .label = "shadow", .most = 1, .selected = out->windows, .selected_count = count, .batch = run_window, .context = &two};
    DS_TRY(ds_run_windows(run, &pass));
done:
    pair_release(&two);
    if (status != DS_OK) ds_shadow_release(out);
    return status;
}

/* Forced gates of one window in double, beside what the float run found. */
typedef struct case_pair {
    ds_shadow *shadow;
    ds_ablation *ablation;
    const double *baseline, *loss, *kl; /* (sequences), (cases, sequences) twice: in float */
    double *exact_loss, *exact_kl;      /* (cases): in double */
} case_pair;

static ds_status compare_cases(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    const case_pair *two = context;
    ds_shadow *shadow = two->shadow;
    size_t sequences = now->run->sequences, window = now->windows[0];
    double exact_baseline;
    DS_TRY(ds_ablation_run(two->ablation, shadow->workspace, &now->batch, &exact_baseline, two->exact_loss, two->exact_kl, NULL,
                           NULL));
    for (size_t c = 0; c < shadow->list->count; c++) {
        ds_shadow_case *errors = &shadow->cases[c];
        double found = two->loss[c * sequences + window], delta = found - two->baseline[window];
        errors->loss = ds_max_real(errors->loss, fabs(found - two->exact_loss[c]));
        errors->delta_loss = ds_max_real(errors->delta_loss, fabs(delta - (two->exact_loss[c] - exact_baseline)));
        errors->kl = ds_max_real(errors->kl, fabs(two->kl[c * sequences + window] - two->exact_kl[c]));
    }
done:
    return status;
}

ds_status ds_shadow_cases(ds_shadow *shadow, ds_run *run, const ds_case_list *list, const double *baseline, const double *loss,
                          const double *kl) {
    ds_status status = DS_OK;
    case_pair two = {.shadow = shadow, .baseline = baseline, .loss = loss, .kl = kl};
    const ds_window_pass pass = {.label = "shadow",
                                 .most = 1,
                                 .selected = shadow->windows,
                                 .selected_count = shadow->count,
                                 .batch = compare_cases,
                                 .context = &two};
    if (shadow->count == 0) return DS_OK;
    DS_NEW(two.exact_loss, list->count);
    DS_NEW(two.exact_kl, list->count);
    DS_NEW(shadow->cases, list->count);
    shadow->list = list;
    DS_TRY(ds_ablation_new(&two.ablation, shadow->model, list, 1, run->length));
    DS_TRY(ds_run_windows(run, &pass));
done:
    ds_ablation_free(&two.ablation);
    free(two.exact_loss);
    free(two.exact_kl);
    return status;
}

void ds_shadow_release(ds_shadow *shadow) {
    ds_workspace_free(&shadow->workspace);
    ds_model_free(&shadow->model);
    ds_limits_release(&shadow->limits);
    free(shadow->windows);
    free(shadow->loss);
    free(shadow->double_loss);
    free(shadow->errors);
    free(shadow->cases);
    *shadow = (ds_shadow){0};
}

/* ---- reporting ---------------------------------------------------------------------------------------------------- */

static double largest_loss_error(const ds_shadow *shadow) {
    double largest = 0;
    for (size_t i = 0; i < shadow->count; i++) largest = ds_max_real(largest, fabs(shadow->loss[i] - shadow->double_loss[i]));
    return largest;
}

static double largest_delta_error(const ds_shadow *shadow) {
    double largest = 0;
    for (size_t c = 0; c < shadow->list->count; c++) largest = ds_max_real(largest, shadow->cases[c].delta_loss);
    return largest;
}

static void put_sublayers(ds_json_builder *b, const ds_shadow *shadow) {
    char name[32];
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < shadow->sublayers; s++) {
        const ds_shadow_errors *errors = &shadow->errors[s];
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_real(b, "beta_error", errors->beta);
        ds_json_put_real(b, "k_norm2_error", errors->k_norm2);
        ds_json_put_real(b, "eigenvalue_error", errors->eigenvalue);
        ds_json_put_real(b, "direction_error", errors->direction);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_cases(ds_json_builder *b, const ds_shadow *shadow) {
    ds_json_put_real(b, "delta_loss_error", largest_delta_error(shadow));
    ds_json_begin_array(b, "cases");
    for (size_t c = 0; c < shadow->list->count; c++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", shadow->list->cases[c].name);
        ds_json_put_real(b, "loss_error", shadow->cases[c].loss);
        ds_json_put_real(b, "delta_loss_error", shadow->cases[c].delta_loss);
        ds_json_put_real(b, "kl_error", shadow->cases[c].kl);
        ds_json_end(b);
    }
    ds_json_end(b);
}

void ds_shadow_put(ds_json_builder *b, const ds_shadow *shadow) {
    if (shadow->count == 0) return;
    double mean = ds_mean(shadow->loss, shadow->count), exact = ds_mean(shadow->double_loss, shadow->count);
    ds_json_begin_object(b, "shadow");
    ds_json_begin_array(b, "windows");
    for (size_t i = 0; i < shadow->count; i++) ds_json_put_count(b, NULL, shadow->windows[i]);
    ds_json_end(b);
    ds_json_put_count(b, "tokens", shadow->limits.tokens);
    ds_json_put_real(b, "loss", mean);
    ds_json_put_real(b, "loss_double", exact);
    ds_json_put_real(b, "loss_error", fabs(mean - exact));
    ds_json_put_real(b, "largest_window_loss_error", largest_loss_error(shadow));
    if (ds_spec_has_operators(ds_model_spec(shadow->model))) {
        put_sublayers(b, shadow);
        ds_json_put_real(b, "log_abs_det_error", shadow->log_abs_det);
        ds_json_put_real(b, "accumulated_operator_bound", shadow->product);
    }
    if (shadow->list != NULL) put_cases(b, shadow);
    ds_limits_put(b, &shadow->limits);
    ds_json_end(b);
}
