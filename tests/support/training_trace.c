#include "training_trace.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { MOST_TRACES = 64, TRACE_BYTES = 1 << 22 };

const char *trace_folder(void) {
    const char *given = getenv("TRAINING_TRACES");
    return given != NULL ? given : "fixtures/training";
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

const char *const *trace_names(void) {
    static char names[MOST_TRACES][64];
    static const char *list[MOST_TRACES + 1];
    size_t count = 0;
    DIR *folder = opendir(trace_folder());
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < MOST_TRACES;) {
        if (strchr(entry->d_name, '.') != NULL || strlen(entry->d_name) >= sizeof names[0]) continue;
        (void)snprintf(names[count], sizeof names[0], "%.63s", entry->d_name);
        list[count] = names[count];
        count++;
    }
    (void)closedir(folder);
    qsort(list, count, sizeof *list, by_name);
    list[count] = NULL;
    return list;
}

void trace_open(training_trace *t, const char *name) {
    char path[320], *bytes = NULL;
    size_t length;
    (void)snprintf(t->path, sizeof t->path, "%s/%s", trace_folder(), name);
    (void)snprintf(t->train, sizeof t->train, "%s/train-tokens.bin", trace_folder());
    (void)snprintf(t->val, sizeof t->val, "%s/val-tokens.bin", trace_folder());
    (void)snprintf(t->initial, sizeof t->initial, "%s/initial", t->path);
    (void)snprintf(t->final, sizeof t->final, "%s/final.safetensors", t->path);
    (void)snprintf(path, sizeof path, "%s/trace.json", t->path);
    expect_ok(ds_read_file(&bytes, &length, path, TRACE_BYTES));
    expect_ok(ds_json_parse(&t->trace, bytes, length, path));
    free(bytes);
    expect_ok(ds_recipe_parse(&t->recipe, json_object_get(t->trace, "recipe"), path));
}

void trace_close(training_trace *t) {
    json_decref(t->trace);
    t->trace = NULL;
}

double trace_number(const training_trace *t, const char *at) {
    double number = ds_json_real_at(t->trace, at);
    if (!isfinite(number)) fail_msg("%s: no number at %s", t->path, at);
    return number;
}

static double *read_tensor(ds_checkpoint *checkpoint, const ds_tensor *tensor) {
    double *values = ds_alloc_array(tensor->count, sizeof *values);
    const ds_tensor_read read = {.tensor = tensor, .precision = DS_F64, .destination = values};
    assert_non_null(values);
    expect_ok(ds_checkpoint_read(checkpoint, &read, 1));
    return values;
}

double trace_expect_weights(const training_trace *t, const char *path, const char *config, double bar) {
    ds_checkpoint *found = NULL, *expected = NULL;
    char own_config[320];
    double worst = 0;
    (void)snprintf(own_config, sizeof own_config, "%s/config.json", t->initial);
    expect_ok(ds_checkpoint_open(&found, path, config));
    expect_ok(ds_checkpoint_open(&expected, t->final, own_config));
    assert_int_equal(ds_checkpoint_count(found), ds_checkpoint_count(expected));
    for (size_t i = 0; i < ds_checkpoint_count(expected); i++) {
        const ds_tensor *theirs = ds_checkpoint_tensor(expected, i), *ours = ds_checkpoint_find(found, theirs->name);
        assert_non_null(ours);
        assert_int_equal(ours->count, theirs->count);
        double *a = read_tensor(found, ours), *b = read_tensor(expected, theirs), largest = 0;
        for (uint64_t n = 0; n < theirs->count; n++) largest = ds_max_real(largest, fabs(a[n] - b[n]));
        if (!(largest <= bar))
            fail_msg("%s: %s is %g from the trace, at most %g is allowed", t->path, theirs->name, largest, bar);
        worst = ds_max_real(worst, largest);
        free(a);
        free(b);
    }
    ds_checkpoint_close(&found);
    ds_checkpoint_close(&expected);
    return worst;
}
