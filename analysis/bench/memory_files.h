/* A model as files that lie in memory alone. */
#ifndef DELTASCOPE_BENCH_MEMORY_FILES_H
#define DELTASCOPE_BENCH_MEMORY_FILES_H

#include <stdio.h>

#include "deltascope/model.h"

typedef struct ds_bench_memory_file {
    FILE *stream;
    char path[64]; /* by which this process opens it */
} ds_bench_memory_file;
ds_status ds_bench_memory_file_new(ds_bench_memory_file *file, const char *name) DS_MUST_CHECK;
ds_status ds_bench_memory_file_settle(ds_bench_memory_file *file) DS_MUST_CHECK; /* all that was written can be read */
void ds_bench_memory_file_release(ds_bench_memory_file *file);                   /* one that is zeroed is fine */

/* A checkpoint of a model. To be released, failed or not. */
typedef struct ds_bench_memory_model {
    ds_bench_memory_file weights, config;
} ds_bench_memory_model;
ds_status ds_bench_memory_model_new(ds_bench_memory_model *files, const ds_model *model) DS_MUST_CHECK;
void ds_bench_memory_model_release(ds_bench_memory_model *files);

#endif
