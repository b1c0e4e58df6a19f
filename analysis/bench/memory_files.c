/* A model as files that lie in memory alone: nothing is left behind, however the program ends. */
#include "bench/memory_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench.h"
#include "deltascope/io.h"

ds_status ds_bench_memory_file_new(ds_bench_memory_file *file, const char *name) {
    int descriptor = memfd_create(name, MFD_CLOEXEC);
    if (descriptor >= 0) file->stream = fdopen(descriptor, "w+");
    if (file->stream == NULL) {
        if (descriptor >= 0) (void)close(descriptor);
        return ds_fail(DS_ERR_SYSTEM, "a file in memory cannot be made: %s", strerror(errno));
    }
    (void)snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", descriptor);
    return DS_OK;
}

ds_status ds_bench_memory_file_settle(ds_bench_memory_file *file) {
    if (fflush(file->stream) == 0 && ferror(file->stream) == 0) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "a file in memory could not be written in full: %s", strerror(errno));
}

void ds_bench_memory_file_release(ds_bench_memory_file *file) {
    if (file->stream != NULL) (void)fclose(file->stream);
}

static ds_status write_weights(ds_bench_memory_file *file, const ds_model *model) {
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
    DS_TRY(ds_bench_memory_file_settle(file));
done:
    free(tensors);
    return status;
}

ds_status ds_bench_memory_model_new(ds_bench_memory_model *files, const ds_model *model) {
    ds_status status = DS_OK;
    *files = (ds_bench_memory_model){0};
    DS_TRY(ds_bench_memory_file_new(&files->weights, "model.safetensors"));
    DS_TRY(ds_bench_memory_file_new(&files->config, "config.json"));
    ds_bench_config(files->config.stream, ds_model_spec(model));
    DS_TRY(ds_bench_memory_file_settle(&files->config));
    DS_TRY(write_weights(&files->weights, model));
done:
    return status;
}

void ds_bench_memory_model_release(ds_bench_memory_model *files) {
    ds_bench_memory_file_release(&files->weights);
    ds_bench_memory_file_release(&files->config);
}
