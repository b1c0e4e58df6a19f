#include "bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* Files in memory: nothing is left behind, however the program ends. */
typedef struct memory_file {
    FILE *stream;
    char path[64]; /* by which this process opens it */
} memory_file;

static ds_status memory_file_new(memory_file *file, const char *name) {
    int descriptor = memfd_create(name, MFD_CLOEXEC);
    if (descriptor >= 0) file->stream = fdopen(descriptor, "w+");
    if (file->stream == NULL) {
        if (descriptor >= 0) (void)close(descriptor);
        return ds_fail(DS_ERR_SYSTEM, "a file in memory cannot be made: %s", strerror(errno));
    }
    (void)snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", descriptor);
    return DS_OK;
}

static ds_status memory_file_settle(memory_file *file) {
    if (fflush(file->stream) == 0 && ferror(file->stream) == 0) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "a file in memory could not be written in full: %s", strerror(errno));
}

static void memory_file_release(memory_file *file) {
    if (file->stream != NULL) (void)fclose(file->stream);
}

static ds_status write_weights(memory_file *file, const ds_model *model) {
    ds_status status = DS_OK;
    size_t count = ds_model_parameters(model);
    ds_tensor_write *tensors = NULL;
    DS_NEW(tensors, count);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        tensors[i] =
            (ds_tensor_write){parameter->name, ds_model_precision(model), parameter->rank, parameter->shape, parameter->values};
    }
    DS_TRY(ds_safetensors_write_to(file->stream, tensors, count));
    DS_TRY(memory_file_settle(file));
done:
    free(tensors);
    return status;
}

ds_status ds_bench_load_run(ds_bench_load *out, const ds_model *model) {
    ds_status status = DS_OK;
    memory_file weights = {0}, config = {0};
    ds_checkpoint *checkpoint = NULL;
    ds_model *loaded = NULL;
    DS_TRY(memory_file_new(&weights, "model.safetensors"));
    DS_TRY(memory_file_new(&config, "config.json"));
    ds_bench_config(config.stream, ds_model_spec(model));
    DS_TRY(memory_file_settle(&config));
    DS_TRY(write_weights(&weights, model));
    double start = ds_seconds();
    DS_TRY(ds_checkpoint_open(&checkpoint, weights.path, config.path));
    DS_TRY(ds_model_load(&loaded, checkpoint, ds_model_precision(model)));
    out->seconds = ds_seconds() - start;
    out->bytes = (double)ds_model_parameter_count(model) * (double)ds_precision_size(ds_model_precision(model));
done:
    ds_model_free(&loaded);
    ds_checkpoint_close(&checkpoint);
    memory_file_release(&weights);
    memory_file_release(&config);
    return status;
}
