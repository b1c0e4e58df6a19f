#include "deltascope/measure/end_to_end_jacobian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/depth_distribution.h"

/* ---- the Jacobian as a linear map ---- */

typedef struct jacobian {
    ds_gradient *gradient;
    ds_precision precision;
    size_t size, begin, whole; /* of the tokens' elements, where they begin, of the window's */
    void *vector;              /* (whole) of the model's precision */
} jacobian;

static ds_status multiply(jacobian *j, double *out, const double *in, ds_status (*product)(ds_gradient *, void *)) {
    ds_status status = DS_OK;
    float *narrow = (float *)j->vector + (j->precision == DS_F32 ? j->begin : 0);
    double *wide = (double *)j->vector + (j->precision == DS_F64 ? j->begin : 0);
    memset(j->vector, 0, j->whole * ds_precision_size(j->precision));
    for (size_t i = 0; i < j->size; i++) {
        if (j->precision == DS_F32) narrow[i] = (float)in[i];
        if (j->precision == DS_F64) wide[i] = in[i];
    }
    DS_TRY(product(j->gradient, j->vector));
    for (size_t i = 0; i < j->size; i++) out[i] = ds_real_at(j->vector, j->precision, j->begin + i);
done:
    return status;
}

static ds_status apply(void *context, double *y, const double *x) { return multiply(context, y, x, ds_tangent); }
static ds_status adjoint(void *context, double *x, const double *y) { return multiply(context, x, y, ds_adjoint); }

ds_status ds_jacobian_singular_values(ds_lanczos *out, ds_gradient *gradient, ds_workspace *workspace, const ds_model *model,
                                      const ds_batch *batch, size_t first, size_t count, size_t last,
                                      const ds_lanczos_options *options) {
    ds_status status = DS_OK;
    size_t token = ds_spec_planes(ds_model_spec(model)) * ds_model_spec(model)->hidden;
    jacobian j = {.gradient = gradient,
                  .precision = ds_model_precision(model),
                  .size = count * token,
                  .begin = first * token,
                  .whole = batch->length * token};
    ds_linear_map map = {j.size, j.size, apply, adjoint, &j};
    *out = (ds_lanczos){0};
    j.vector = ds_alloc_array(j.whole, ds_precision_size(j.precision));
    if (j.vector == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_TRY(ds_embed(workspace, model, batch, j.vector));
    DS_TRY(ds_linearise(gradient, batch, j.vector, 0, last, NULL));
    DS_TRY(ds_lanczos_run(out, &map, options));
done:
    free(j.vector);
    return status;
}

/* ---- one window ---- */

/* What the products themselves lose, S sublayers of about 10 roundings, in the precision they are done in. */
static double tolerance_of(const ds_model *model) {
    double roundings = 10 * (double)ds_spec_sublayers(ds_model_spec(model));
    return 16 * sqrt(roundings) * ds_unit_roundoff(ds_model_precision(model));
}

/* What the frozen operators of the tokens do at every prefix depth. */
static ds_status find_frozen(ds_depth_norm *out, ds_run *run, size_t sequence, size_t first, size_t count) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(&run->spec), hidden = run->spec.hidden;
    ds_direction_source source = {0};
    ds_directions directions = {0};
    ds_distribution distribution = {0};
    ds_position_list window = {0};
    DS_NEW(window.at, count);
    window.count = count;
    for (size_t t = 0; t < count; t++) window.at[t] = (ds_position){sequence, first + t};
    DS_TRY(ds_direction_source_init(&source, run, 0, sublayers, DS_NULL_NONE, 0));
    DS_TRY(ds_directions_gather(&directions, &source, &window));
    DS_TRY(ds_distribution_init(&distribution, sublayers, hidden, true));
    DS_TRY(ds_distribution_add(&distribution, &directions, 0));
    for (size_t s = 0; s < sublayers; s++) {
        ds_summary *depth = distribution.depths + s * DS_DEPTH_QUANTITIES;
        out[s].frozen_norm2 = ds_summary_statistics(&depth[DS_DEPTH_NORM2]).max;
        out[s].frozen_span_norm2 = ds_summary_statistics(&depth[DS_DEPTH_SPAN_NORM2]).max;
        out[s].frozen_smallest = ds_summary_statistics(&depth[DS_DEPTH_SMALLEST]).min;
    }
done:
    ds_distribution_release(&distribution);
    ds_directions_release(&directions);
    ds_direction_source_release(&source);
    ds_position_list_release(&window);
    return status;
}

static ds_status find_depths(ds_end_to_end *out, ds_run *run, ds_gradient *gradient, const ds_batch *batch,
                             const ds_lanczos_options *options) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(&run->spec);
    ds_progress progress = ds_progress_start(run, "Jacobian by depth", (double)sublayers);
    ds_lanczos found = {0};
    size_t first = out->at.position, count = out->token ? 1 : run->length;
    DS_NEW(out->by_depth, sublayers);
    out->depths = sublayers;
    for (size_t s = 0; s < sublayers; s++) {
        out->by_depth[s] = (ds_depth_norm){0, 0, 1, 1, 1}; /* an additive shortcut is the identity */
        DS_TRY(ds_jacobian_singular_values(&found, gradient, run->workspace, run->model, batch, first, count, s + 1,
                                           options));
        out->by_depth[s].full = found.values[0];
        out->by_depth[s].residual = found.residuals[0];
        ds_lanczos_release(&found);
        ds_progress_update(&progress, (double)(s + 1));
    }
    if (ds_spec_has_operators(&run->spec)) DS_TRY(find_frozen(out->by_depth, run, out->at.sequence, first, count));
done:
    ds_progress_finish(&progress);
    ds_lanczos_release(&found);
    return status;
}

ds_status ds_end_to_end_run(ds_end_to_end *out, ds_run *run, const ds_end_to_end_options *options) {
    ds_status status = DS_OK;
    const ds_spec *spec = &run->spec;
    const size_t budget = (size_t)1 << 30; /* of bytes, for the bases of the iteration */
    ds_gradient *gradient = NULL;
    ds_batch batch;
    *out = (ds_end_to_end){.tolerance = tolerance_of(run->model)};
    DS_TRY(ds_place_parse(&out->at, &out->token, options->place, "end-to-end", run->sequences, run->length));
    size_t tokens = out->token ? 1 : run->length;
    out->size = tokens * ds_spec_planes(spec) * spec->hidden;
    size_t steps = ds_min_size(options->steps, ds_max_size(2 * options->count, budget / (2 * sizeof(double) * out->size)));
    ds_lanczos_options lanczos = {options->count, steps, out->tolerance, options->seed};
    DS_TRY(ds_run_window(run, out->at.sequence, &batch));
    DS_TRY(ds_gradient_new(&gradient, run->model, 1, run->length, &(ds_gradient_options){.memory = 0}));
    DS_TRY(ds_jacobian_singular_values(&out->found, gradient, run->workspace, run->model, &batch, out->at.position,
                                       tokens, ds_spec_sublayers(spec), &lanczos));
    lanczos.count = 1;
    if (options->by_depth) DS_TRY(find_depths(out, run, gradient, &batch, &lanczos));
done:
    ds_gradient_free(&gradient);
    if (status != DS_OK) ds_end_to_end_release(out);
    return status;
}

void ds_end_to_end_release(ds_end_to_end *result) {
    ds_lanczos_release(&result->found);
    free(result->by_depth);
    *result = (ds_end_to_end){0};
}

/* ---- reporting ---- */

void ds_end_to_end_put(ds_json_builder *b, const ds_end_to_end *result) {
    ds_json_begin_object(b, "end_to_end");
    ds_json_put_count(b, "sequence", result->at.sequence);
    if (result->token) ds_json_put_count(b, "position", result->at.position);
    ds_json_put_count(b, "size", result->size);
    ds_json_begin_array(b, "singular_values");
    for (size_t i = 0; i < result->found.count; i++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_real(b, "value", result->found.values[i]);
        ds_json_put_real(b, "residual", result->found.residuals[i]);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_put_count(b, "converged", result->found.converged);
    ds_json_put_real(b, "relative_tolerance", result->tolerance);
    ds_json_put_count(b, "steps", result->found.steps);
    ds_json_begin_object(b, "density");
    ds_json_put_count(b, "probes", 1);
    ds_json_put_reals(b, "singular_values", result->found.nodes, result->found.steps);
    ds_json_put_reals(b, "weights", result->found.weights, result->found.steps);
    ds_json_put_real(b, "relative_error", sqrt(2 / (double)result->size));
    ds_json_end(b);
    if (result->depths > 0) ds_json_begin_array(b, "by_depth");
    for (size_t s = 0; s < result->depths; s++) {
        const ds_depth_norm *depth = &result->by_depth[s];
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "depth", s + 1);
        ds_json_put_real(b, "norm2", depth->full);
        ds_json_put_real(b, "residual", depth->residual);
        ds_json_put_real(b, "frozen_norm2", depth->frozen_norm2);
        ds_json_put_real(b, "frozen_span_norm2", depth->frozen_span_norm2);
        ds_json_put_real(b, "frozen_smallest", depth->frozen_smallest);
        ds_json_end(b);
    }
    if (result->depths > 0) ds_json_end(b);
    ds_json_end(b);
}
