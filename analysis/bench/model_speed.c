#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/memory_files.h"
#include "deltascope/delta.h"
#include "deltascope/gradient.h"
#include "deltascope/measure/ablation.h"

enum { FORWARD_RUNS = 5, BACKWARD_RUNS = 3 };

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Random token ids: (windows, length) inputs and targets, freed by the caller. */
static ds_status random_batch(ds_batch *batch, uint32_t **ids, const ds_model *model, size_t windows, size_t length) {
    ds_status status = DS_OK;
    ds_random random = ds_random_init(7);
    *ids = NULL;
    DS_NEW(*ids, 2 * windows * length);
    for (size_t i = 0; i < 2 * windows * length; i++)
        (*ids)[i] = (uint32_t)ds_random_below(&random, ds_model_spec(model)->vocab);
    *batch = (ds_batch){*ids, *ids + windows * length, windows, length};
done:
    return status;
}

ds_status ds_bench_forward_run(ds_bench_forward *out, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    ds_workspace *workspace = NULL;
    double *nll = NULL, seconds[FORWARD_RUNS];
    uint32_t *ids = NULL;
    ds_batch batch;
    size_t windows = ds_batch_sequences(model, length);
    DS_TRY(random_batch(&batch, &ids, model, windows, length));
    DS_TRY(ds_workspace_new(&workspace, model, windows, length));
    DS_NEW(nll, windows * length);
    DS_TRY(ds_forward(workspace, model, &batch, NULL, NULL, nll)); /* touches every page once */
    for (size_t run = 0; run < FORWARD_RUNS; run++) {
        double start = ds_seconds();
        DS_TRY(ds_forward(workspace, model, &batch, NULL, NULL, nll));
        seconds[run] = ds_seconds() - start;
    }
    qsort(seconds, FORWARD_RUNS, sizeof *seconds, ascending);
    double tokens = (double)(windows * length);
    *out = (ds_bench_forward){seconds[FORWARD_RUNS / 2], windows * length,
                              tokens * ds_spec_forward_flops_per_token(ds_model_spec(model), length)};
done:
    ds_workspace_free(&workspace);
    free(nll);
    free(ids);
    return status;
}

ds_status ds_bench_backward_run(ds_bench_forward *out, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    ds_gradient *gradient = NULL;
    double *nll = NULL, seconds[BACKWARD_RUNS];
    uint32_t *ids = NULL;
    ds_batch batch;
    const ds_gradient_options options = {.parameters = true};
    size_t windows =
        ds_min_size(2, ds_batch_sequences(model, length)); /* what they leave for the backward pass fits in memory */
    double tokens = (double)(windows * length);
    DS_TRY(random_batch(&batch, &ids, model, windows, length));
    DS_TRY(ds_gradient_new(&gradient, model, windows, length, &options));
    DS_NEW(nll, windows * length);
    DS_TRY(ds_backward(gradient, &batch, NULL, 1 / tokens, NULL, nll));
    for (size_t run = 0; run < BACKWARD_RUNS; run++) {
        double start = ds_seconds();
        DS_TRY(ds_backward(gradient, &batch, NULL, 1 / tokens, NULL, nll));
        seconds[run] = ds_seconds() - start;
    }
    qsort(seconds, BACKWARD_RUNS, sizeof *seconds, ascending);
    *out = (ds_bench_forward){seconds[BACKWARD_RUNS / 2], windows * length,
                              3 * tokens * ds_spec_forward_flops_per_token(ds_model_spec(model), length)};
done:
    ds_gradient_free(&gradient);
    free(nll);
    free(ids);
    return status;
}

ds_status ds_bench_sweep_run(ds_bench_sweep *out, const ds_model *model, size_t length, double forward_seconds_per_token) {
    ds_status status = DS_OK;
    ds_case_list list = {0};
    ds_ablation *ablation = NULL;
    ds_workspace *workspace = NULL;
    uint32_t *ids = NULL;
    double *baseline = NULL, *loss = NULL, *kl = NULL;
    const ds_spec *spec = ds_model_spec(model);
    ds_batch batch;
    DS_TRY(ds_case_list_parse(&list, spec, "closed", "each"));
    size_t windows = ds_ablation_sequences(model, &list, length);
    DS_TRY(random_batch(&batch, &ids, model, windows, length));
    DS_NEW(baseline, windows);
    DS_NEW(loss, windows * list.count);
    DS_NEW(kl, windows * list.count);
    DS_TRY(ds_workspace_new(&workspace, model, windows, length));
    DS_TRY(ds_ablation_new(&ablation, model, &list, windows, length));
    double start = ds_seconds();
    DS_TRY(ds_ablation_run(ablation, workspace, &batch, baseline, loss, kl, NULL, NULL));
    double seconds = ds_seconds() - start, forward = forward_seconds_per_token * (double)(windows * length);
    double head_share = ds_spec_head_flops_per_token(spec) / ds_spec_forward_flops_per_token(spec, length);
    *out = (ds_bench_sweep){
        .cases = list.count,
        .forward_equivalents = seconds / forward,
        .operation_equivalents = ds_ablation_forward_equivalents(ablation),
        .naive_equivalents = (double)list.count * (1 + head_share),
    };
done:
    ds_ablation_free(&ablation);
    ds_workspace_free(&workspace);
    ds_case_list_release(&list);
    free(baseline);
    free(loss);
    free(kl);
    free(ids);
    return status;
}

/* ---- loading ---- */

ds_status ds_bench_load_run(ds_bench_load *out, const ds_model *model) {
    ds_status status = DS_OK;
    ds_bench_memory_model in_memory = {0};
    ds_checkpoint *checkpoint = NULL;
    ds_model *loaded = NULL;
    DS_TRY(ds_bench_memory_model_new(&in_memory, model));
    double start = ds_seconds();
    DS_TRY(ds_checkpoint_open(&checkpoint, in_memory.weights.path, in_memory.config.path));
    DS_TRY(ds_model_load(&loaded, checkpoint, ds_model_precision(model)));
    out->seconds = ds_seconds() - start;
    out->bytes = (double)ds_model_parameter_count(model) * (double)ds_precision_size(ds_model_precision(model));
done:
    ds_model_free(&loaded);
    ds_checkpoint_close(&checkpoint);
    ds_bench_memory_model_release(&in_memory);
    return status;
}
