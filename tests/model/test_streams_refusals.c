/* Checkpoints of parallel streams that contradict themselves, drawn at random: each is refused in one sentence that names the
 * tensor, the key or the number. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "deltascope/model.h"

#include "scratch.h"
#include "support.h"
#include "torch_file.h"

static const struct {
    const char *name, *file;
} models[] = {{"hc", "/model.safetensors"},
              {"mhc", "/ckpt.pt"},
              {"mhc-lite", "/ckpt.pt"},
              {"mhc-static", "/ckpt.pt"},
              {"mhc-static-mixed", "/ckpt.pt"}};
enum { MODELS = sizeof models / sizeof *models, MOST_TENSORS = 256, MOST_NUMBERS = 1 << 16 };
static const uint64_t seed = 20261128;

/* A fixture's tensors, free to be changed, and its configuration. */
typedef struct twin {
    ds_checkpoint *source;
    ds_tensor_write tensors[MOST_TENSORS];
    size_t shapes[MOST_TENSORS][DS_MAX_RANK], count;
    double *values; /* more than any tensor has */
    json_t *config;
} twin;

static void twin_open(twin *t, size_t model) {
    char path[256];
    *t = (twin){.values = calloc(MOST_NUMBERS, sizeof(double))};
    assert_non_null(t->values);
    (void)snprintf(path, sizeof path, "fixtures/streams/%s%s", models[model].name, models[model].file);
    expect_ok(ds_checkpoint_open(&t->source, path, NULL));
    t->config = json_deep_copy(ds_checkpoint_config(t->source));
    assert_non_null(t->config);
    assert_true(ds_checkpoint_count(t->source) <= MOST_TENSORS);
    for (size_t i = 0; i < ds_checkpoint_count(t->source); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(t->source, i);
        if (strstr(tensor->name, ".branch.") != NULL || strstr(tensor->name, ".attn_branch.") != NULL) continue; /* copies */
        assert_true(tensor->count < MOST_NUMBERS);
        for (size_t r = 0; r < tensor->rank; r++) t->shapes[t->count][r] = (size_t)tensor->shape[r];
        t->tensors[t->count] = (ds_tensor_write){tensor->name, DS_F64, tensor->rank, t->shapes[t->count], t->values};
        t->count++;
    }
}

static void twin_close(twin *t) {
    ds_checkpoint_close(&t->source);
    json_decref(t->config);
    free(t->values);
}

/* Loaded as a file of weights beside a configuration. */
static ds_status load(const twin *t) {
    ds_checkpoint *checkpoint;
    ds_model *model = NULL;
    char *text = json_dumps(t->config, 0);
    assert_non_null(text);
    expect_ok(ds_safetensors_write(scratch_path("model.safetensors"), t->tensors, t->count));
    expect_ok(
        ds_checkpoint_open(&checkpoint, scratch_path("model.safetensors"), scratch_write("config.json", text, strlen(text))));
    ds_error_clear();
    ds_status status = ds_model_load(&model, checkpoint, DS_F32);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
    free(text);
    return status;
}

static bool is_of_streams(const char *name) { return strstr(name, ".hc_") != NULL; }

static size_t draw_tensor(const twin *t, ds_random *random) {
    for (;;) {
        size_t i = (size_t)ds_random_below(random, t->count);
        if (is_of_streams(t->tensors[i].name)) return i;
    }
}

static void expect_refused(const twin *t, const char *what, const char *words, size_t turn) {
    if (load(t) == DS_ERR_INPUT && strstr(ds_error_text(), words) != NULL) return;
    fail_msg("draw %zu of seed %llu: %s of %s: \"%s\" lacks \"%s\"", turn, (unsigned long long)seed, what,
             json_string_value(json_object_get(t->config, "hyper_conn_type")) != NULL
                 ? json_string_value(json_object_get(t->config, "hyper_conn_type"))
                 : "a static form",
             ds_error_text(), words);
}

static void sound_twins_load(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        twin t;
        twin_open(&t, m);
        expect_ok(load(&t));
        twin_close(&t);
    }
}

/* One axis of one tensor is longer or shorter by a little, or there is one more or less. */
static void shapes_that_contradict_streams(void **state) {
    (void)state;
    ds_random random = ds_random_init(seed);
    for (size_t turn = 0; turn < 120; turn++) {
        twin t;
        twin_open(&t, turn % MODELS);
        size_t i = draw_tensor(&t, &random), rank = t.tensors[i].rank,
               axis = rank > 0 ? (size_t)ds_random_below(&random, rank) : 0;
        if (rank == 0 || ds_random_below(&random, 4) == 0)
            t.shapes[i][t.tensors[i].rank++] = 2;
        else if (t.shapes[i][axis] > 1 && ds_random_below(&random, 2) == 0)
            t.shapes[i][axis]--;
        else
            t.shapes[i][axis]++;
        expect_refused(&t, t.tensors[i].name, ".hc_", turn); /* a tensor is named */
        twin_close(&t);
    }
}

static void tensors_that_are_missing_or_in_no_place(void **state) {
    (void)state;
    ds_random random = ds_random_init(seed + 1);
    for (size_t turn = 0; turn < 60; turn++) {
        twin t;
        char name[128];
        twin_open(&t, turn % MODELS);
        size_t i = draw_tensor(&t, &random);
        (void)snprintf(name, sizeof name, "%s", t.tensors[i].name);
        if (turn % 2 == 0) {
            memmove(t.tensors + i, t.tensors + i + 1, (t.count - i - 1) * sizeof *t.tensors);
            t.count--;
        } else {
            char *last = strrchr(name, '.');
            (void)snprintf(last, sizeof name - (size_t)(last - name), ".other_%u", (unsigned)ds_random_below(&random, 1000));
            t.tensors[t.count++] = (ds_tensor_write){name, DS_F64, t.tensors[i].rank, t.tensors[i].shape, t.values};
        }
        expect_refused(&t, turn % 2 == 0 ? "without" : "with", name, turn);
        twin_close(&t);
    }
}

/* n! columns: more than 6 streams are refused before anything of that size is looked at. */
static void too_many_orders(void **state) {
    (void)state;
    twin t;
    twin_open(&t, 2);
    json_object_set_new(t.config, "hyper_conn_n", json_integer(7));
    for (size_t i = 0; i < t.count; i++) {
        size_t length = strlen(t.tensors[i].name);
        bool beta = length > 12 && strcmp(t.tensors[i].name + length - 12, ".static_beta") == 0;
        bool alpha = length > 13 && strcmp(t.tensors[i].name + length - 13, ".static_alpha") == 0;
        if (is_of_streams(t.tensors[i].name) && (alpha || beta)) t.shapes[i][0] = beta ? 7 : 7 + 5040;
    }
    expect_refused(&t, "orders", "7 streams are out of range, expected 2 to 6 for rule mhc-lite, whose tensors have a column",
                   0);
    json_object_set_new(t.config, "hyper_conn_n", json_integer(70));
    expect_refused(&t, "orders", "hyper_conn_n is 70, but", 0);
    twin_close(&t);
}

/* A window has no position beyond the last learned one. */
static void windows_beyond_the_positions(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        twin t;
        ds_model *model;
        ds_workspace *workspace = NULL;
        char words[96];
        twin_open(&t, m);
        expect_ok(ds_model_load(&model, t.source, DS_F32));
        size_t positions = ds_model_spec(model)->positions;
        assert_true(positions > 0);
        expect_ok(ds_workspace_new(&workspace, model, 1, positions));
        ds_workspace_free(&workspace);
        (void)snprintf(words, sizeof words, "the model has learned positions for %zu", positions);
        expect_failure(ds_workspace_new(&workspace, model, 1, positions + 1), DS_ERR_USAGE, words);
        ds_model_free(&model);
        twin_close(&t);
    }
}

/* A configuration that is an object of some class is no data. */
static void configurations_of_a_class(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        twin t;
        torch_file file = {.count = 0};
        ds_checkpoint *checkpoint = NULL;
        ds_spec spec;
        twin_open(&t, m);
        torch_begin(&file);
        TORCH_OPCODES(&file, "}(");
        torch_string(&file, "model");
        torch_state(&file, "", t.tensors, t.count);
        torch_string(&file, "config");
        TORCH_OPCODES(&file, "c__main__\nGPTConfig\n)\x81}(");
        torch_string(&file, "hyper_conn_n");
        torch_int(&file, 4);
        TORCH_OPCODES(&file, "ubu");
        (void)scratch_write("class/note.txt", "", 0); /* no configuration lies beside it */
        torch_end(&file, scratch_path("class/ckpt.pt"));
        ds_error_clear();
        ds_status status = ds_checkpoint_open(&checkpoint, scratch_path("class/ckpt.pt"), NULL);
        if (status == DS_OK) status = ds_spec_detect(&spec, checkpoint);
        expect_failure(status, DS_ERR_INPUT, "no configuration: no config.json beside the file");
        ds_checkpoint_close(&checkpoint);
        twin_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_twins_load),
        cmocka_unit_test(shapes_that_contradict_streams),
        cmocka_unit_test(tensors_that_are_missing_or_in_no_place),
        cmocka_unit_test(too_many_orders),
        cmocka_unit_test(windows_beyond_the_positions),
        cmocka_unit_test(configurations_of_a_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
