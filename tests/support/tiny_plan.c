#include "tiny_plan.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define CONFIG                                                                                                                 \
    "{\"model_type\": \"nanogpt-pro\", \"vocab_size\": 61, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "             \
    "\"hidden_size\": 16, \"head_dim\": 8, \"block_size\": 16}"

static const char text[] =
    "{\"name\": \"tiny\", \"variants\": {"
    "\"additive\": {\"config\": " CONFIG ", \"variant\": \"additive\"},"
    "\"ddl-scalar\": {\"config\": " CONFIG ", \"variant\": \"ddl-scalar\"},"
    "\"ddl-scalar-write-only\": {\"config\": " CONFIG ", \"variant\": \"ddl-scalar\", \"rule\": \"write-only\"}},"
    "\"seeds\": [1, 2, 3],"
    "\"recipe\": {\"rule\": \"delta\", \"seq_len\": 16, \"batch\": 4, \"accumulation\": 1, \"steps\": 20, \"order\": "
    "\"splitmix64\", \"data_seed\": 7, \"learning_rate\": 0.013, \"min_learning_rate\": 0.0013, \"warmup_steps\": 3, "
    "\"decay_steps\": 20, \"warmup\": \"t/w\", \"beta1\": 0.9, \"beta2\": 0.95, \"eps\": 1e-08, \"weight_decay\": 0.1, "
    "\"decay\": \"rank2\", \"clip\": 1.0, \"hidden_lr_multiplier\": 1.0, \"embedding_lr_multiplier\": 1.0, \"val_windows\": 1},"
    "\"data\": {\"train\": \"plan-train.bin\", \"val\": \"plan-val.bin\"},"
    "\"evaluations\": 4, \"saves\": 3}";

/* Ids that mostly go up by one, so that there is something to learn. */
static void write_tokens(const char *name, size_t count, uint64_t seed) {
    unsigned char bytes[2 * 1000];
    ds_random random = ds_random_init(seed);
    uint64_t id = 17;
    for (size_t i = 0; i < count; i++) {
        id = ds_random_below(&random, 4) == 0 ? ds_random_below(&random, 61) : (id + 1) % 61;
        bytes[2 * i] = (unsigned char)id;
        bytes[2 * i + 1] = 0;
    }
    (void)scratch_write(name, bytes, 2 * count);
}

json_t *tiny_plan(void) {
    json_t *plan = NULL;
    write_tokens("plan-train.bin", 1000, 0x7a1);
    write_tokens("plan-val.bin", 16 * 13 + 5, 0x7a2); /* 13 windows, and tokens that make no window */
    expect_ok(ds_json_parse(&plan, text, strlen(text), "tiny plan"));
    return plan;
}

const char *tiny_plan_write(const char *name, json_t *plan) {
    ds_text bytes = {0};
    expect_ok(ds_json_print(&bytes, plan, DS_JSON_READABLE));
    const char *path = scratch_write(name, bytes.bytes, bytes.length);
    ds_text_release(&bytes);
    json_decref(plan);
    return path;
}

json_t *tiny_plan_with(json_t *plan, const char *path, const char *value) {
    char key[64];
    json_t *object = plan, *new = NULL;
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        (void)snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
        object = json_object_get(object, key);
        assert_non_null(object);
    }
    if (value == NULL) {
        assert_int_equal(json_object_del(object, path), 0);
        return plan;
    }
    expect_ok(ds_json_parse(&new, value, strlen(value), path));
    assert_int_equal(json_object_set_new(object, path, new), 0);
    return plan;
}
