/* Runs whose every number is known (fixtures/training), followed update by update in double and in float. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "support.h"
#include "training_trace.h"

/* The traces come from another float64 implementation: what remains is rounding, amplified over twenty updates. The bars for
 * float are those of TRAINING.md section 7; a run without warm-up takes full steps on gradients as small as eps. */
static trace_bars bars(const training_trace *t, ds_precision precision) {
    if (precision == DS_F64) return (trace_bars){1e-12, 1e-11, 1e-12};
    return (trace_bars){5e-6, 5e-5, t->recipe.warmup_steps > 0 ? 2e-5 : 5e-4};
}

static ds_trainer *open_trainer(const training_trace *t, ds_precision precision) {
    ds_trainer *trainer = NULL;
    const ds_trainer_options options = {
        .checkpoint = t->initial, .train = t->train, .val = t->val, .precision = precision, .recipe = t->recipe};
    expect_ok(ds_trainer_new(&trainer, &options));
    return trainer;
}

static double expect_number(double found, const training_trace *t, uint64_t step, const char *name, double bar) {
    char at[64];
    (void)snprintf(at, sizeof at, "steps/%llu/%s", (unsigned long long)step, name);
    double expected = trace_number(t, at);
    expect_close(found, expected, bar);
    return fabs(found - expected);
}

static void expect_windows(const training_trace *t, uint64_t step, uint64_t tokens) {
    char at[64];
    for (uint64_t a = 0; a < t->recipe.accumulation; a++) {
        for (uint64_t b = 0; b < t->recipe.batch; b++) {
            (void)snprintf(at, sizeof at, "steps/%llu/window_starts/%llu/%llu", (unsigned long long)step, (unsigned long long)a,
                           (unsigned long long)b);
            expect_close((double)ds_recipe_window(&t->recipe, tokens, step, a, b), trace_number(t, at), 0);
        }
    }
}

static void write_weights(ds_trainer *trainer, const char *path) {
    const ds_model *model = ds_trainer_run(trainer)->model;
    size_t count = ds_model_parameters(model);
    ds_tensor_write *writes = ds_calloc(count, sizeof *writes);
    assert_non_null(writes);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        writes[i] = (ds_tensor_write){p->name, ds_model_precision(model), p->rank, p->shape, p->values};
    }
    expect_ok(ds_safetensors_write(path, writes, count));
    free(writes);
}

static void expect_untouched(const training_trace *t, const ds_trainer *trainer) {
    size_t count;
    const char *const *names = ds_trainer_untouched(trainer, &count);
    const json_t *expected = json_object_get(t->trace, "untouched");
    assert_int_equal(count, json_array_size(expected));
    for (size_t i = 0; i < count; i++) assert_string_equal(names[i], json_string_value(json_array_get(expected, i)));
}

static void follow(const training_trace *t, ds_precision precision) {
    const trace_bars bar = bars(t, precision);
    double loss, worst_loss = 0, worst_norm = 0, worst_weight;
    char config[320];
    ds_update done;
    ds_trainer *trainer = open_trainer(t, precision);
    ds_tokens *tokens = NULL;
    expect_ok(ds_tokens_open(&tokens, t->train, ds_trainer_run(trainer)->spec.vocab));
    expect_untouched(t, trainer);
    expect_ok(ds_trainer_evaluate(&loss, trainer));
    expect_close(loss, trace_number(t, "val_before"), bar.loss);
    for (uint64_t step = 0; step < t->recipe.steps; step++) {
        char micro[32];
        expect_windows(t, step, ds_tokens_count(tokens));
        expect_ok(ds_trainer_update(&done, trainer));
        assert_int_equal(done.step, step);
        (void)expect_number(done.learning_rate, t, step, "lr", 4 * 0x1p-53 * t->recipe.learning_rate); /* a cosine, a product */
        worst_loss = ds_max_real(worst_loss, expect_number(done.loss, t, step, "loss", bar.loss));
        for (uint64_t a = 0; a < t->recipe.accumulation; a++) {
            (void)snprintf(micro, sizeof micro, "micro_loss/%llu", (unsigned long long)a);
            (void)expect_number(done.micro_loss[a], t, step, micro, bar.loss);
        }
        worst_norm =
            ds_max_real(worst_norm, expect_number(done.gradient_norm, t, step, "gradient_norm", bar.norm * done.gradient_norm));
        (void)expect_number(done.clip_coefficient, t, step, "clip_coefficient", bar.norm);
    }
    expect_ok(ds_trainer_evaluate(&loss, trainer));
    expect_close(loss, trace_number(t, "val_after"), bar.loss);
    write_weights(trainer, scratch_path("final.safetensors"));
    (void)snprintf(config, sizeof config, "%s/config.json", t->initial);
    worst_weight = trace_expect_weights(t, scratch_path("final.safetensors"), config, bar.weight);
    (void)printf("%s, %s: loss %.2g, norm %.2g, weights %.2g from the trace\n", t->path,
                 precision == DS_F64 ? "double" : "float", worst_loss, worst_norm, worst_weight);
    ds_tokens_close(&tokens);
    ds_trainer_free(&trainer);
}

static void every_trace_is_followed(void **state) {
    (void)state;
    training_trace t;
    for (const char *const *name = trace_names(); *name != NULL; name++) {
        trace_open(&t, *name);
        follow(&t, DS_F64);
        follow(&t, DS_F32);
        trace_close(&t);
    }
}

/* ---- the same bits ---------------------------------------------------------------------------------------------------- */

/* CRC-32 of all weights after a few updates. */
static uint32_t weights_after(const training_trace *t, ds_precision precision, size_t threads, uint64_t updates) {
    ds_update done;
    uint32_t crc = 0;
    expect_ok(ds_threads_set(threads));
    ds_trainer *trainer = open_trainer(t, precision);
    const ds_model *model = ds_trainer_run(trainer)->model;
    for (uint64_t step = 0; step < updates; step++) expect_ok(ds_trainer_update(&done, trainer));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        crc = ds_crc32(crc, p->values, p->count * ds_precision_size(precision));
    }
    ds_trainer_free(&trainer);
    expect_ok(ds_threads_set(0));
    return crc;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    training_trace t;
    for (const char *const *name = trace_names(); *name != NULL; name++) {
        trace_open(&t, *name);
        for (int precision = DS_F32; precision <= DS_F64; precision++) {
            uint32_t one = weights_after(&t, (ds_precision)precision, 1, 4);
            assert_int_equal(weights_after(&t, (ds_precision)precision, 2, 4), one);
            assert_int_equal(weights_after(&t, (ds_precision)precision, 5, 4), one);
        }
        trace_close(&t);
    }
}

/* A batch that is too large to go through at once, and one window after another, are the same mean: only rounding differs. */
static void large_batches_are_passed_in_pieces(void **state) {
    (void)state;
    training_trace t;
    ds_update pieces, windows;
    trace_open(&t, trace_names()[0]);
    t.recipe.batch = 4096 / t.recipe.length + 3;
    t.recipe.accumulation = 1;
    ds_trainer *large = open_trainer(&t, DS_F64);
    expect_ok(ds_trainer_update(&pieces, large));
    t.recipe.accumulation = t.recipe.batch;
    t.recipe.batch = 1;
    ds_trainer *small = open_trainer(&t, DS_F64);
    expect_ok(ds_trainer_update(&windows, small));
    /* means of some 4,000 terms of order 4 in other orders: 4000 u * 4; norms alike */
    expect_close(pieces.loss, windows.loss, 16000 * 0x1p-53);
    expect_close(pieces.gradient_norm, windows.gradient_norm, 16000 * 0x1p-53);
    ds_trainer_free(&large);
    ds_trainer_free(&small);
    trace_close(&t);
}

/* ---- stopped and resumed ------------------------------------------------------------------------------------------------ */

static bool stop_when(void *context) {
    uint64_t *left = context;
    return --*left == 0;
}

/* Trains in `folder` until it is done or stopped after `updates` more of them; 0: never. */
static void go_on(const training_trace *t, const char *folder, uint64_t updates) {
    ds_training_options options = {.resume = true, .save = 3, .keep = 2, .stop = updates > 0 ? stop_when : NULL};
    json_t *results = NULL;
    ds_folder *opened = NULL;
    ds_trainer *trainer = open_trainer(t, DS_F32);
    expect_ok(ds_folder_open(&opened, folder));
    options.folder = opened;
    options.context = &updates;
    expect_ok(ds_training_run(&results, trainer, &options));
    json_decref(results);
    ds_trainer_free(&trainer);
    ds_folder_close(&opened);
}

static ds_status note_checkpoint(void *context, const char *name) {
    if (strncmp(name, "checkpoint-", 11) == 0) *(uint64_t *)context |= 1ULL << strtoul(name + 11, NULL, 10);
    return DS_OK;
}

/* Which checkpoints lie in `folder`, a bit each. */
static uint64_t checkpoints_in(const char *folder) {
    uint64_t found = 0;
    ds_folder *opened = NULL;
    expect_ok(ds_folder_open(&opened, folder));
    expect_ok(ds_folder_each(opened, note_checkpoint, &found));
    ds_folder_close(&opened);
    return found;
}

/* After whichever two updates a run is stopped, it ends with the two checkpoints of an unbroken one: 9 and 12. */
static void no_stop_costs_a_checkpoint(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, trace_names()[0]);
    t.recipe.steps = 12;
    for (uint64_t first = 1; first < 12; first++) {
        for (uint64_t second = 1; first + second < 12; second++) {
            char name[32];
            (void)snprintf(name, sizeof name, "stopped-%d-%d", (int)first, (int)second);
            go_on(&t, scratch_path(name), first);
            go_on(&t, scratch_path(name), second);
            go_on(&t, scratch_path(name), 0);
            assert_int_equal(checkpoints_in(scratch_path(name)), 1ULL << 9 | 1ULL << 12);
        }
    }
    trace_close(&t);
}

/* ---- refused ---------------------------------------------------------------------------------------------------------- */

static void short_token_files_are_refused(void **state) {
    (void)state;
    training_trace t;
    ds_trainer *trainer = NULL;
    unsigned char ids[2 * 33] = {0};
    trace_open(&t, trace_names()[0]);
    ds_trainer_options options = {.checkpoint = t.initial, .train = t.train, .val = t.val, .recipe = t.recipe};
    options.train = scratch_write("short.bin", ids, 2 * t.recipe.length);
    expect_failure(ds_trainer_new(&trainer, &options), DS_ERR_INPUT, "too few tokens: 32, but a window of seq_len 32");
    options.train = scratch_write("enough.bin", ids, 2 * (t.recipe.length + 1));
    expect_ok(ds_trainer_new(&trainer, &options));
    ds_trainer_free(&trainer);
    options.val = options.train;
    expect_failure(ds_trainer_new(&trainer, &options), DS_ERR_INPUT, "8 windows of length 32 were asked for and 1 fit");
    options.val = t.val;
    (void)snprintf(options.recipe.rule, sizeof options.recipe.rule, "half-open");
    expect_failure(ds_trainer_new(&trainer, &options), DS_ERR_INPUT, "\"half-open\" is no rule");
    assert_null(trainer);
    trace_close(&t);
}

/* A learning rate that throws the weights to where no state is finite: the update is named. */
static void a_run_that_explodes_is_named(void **state) {
    (void)state;
    training_trace t;
    ds_update done;
    ds_status status = DS_OK;
    trace_open(&t, trace_names()[0]);
    t.recipe.learning_rate = 1e30;
    t.recipe.warmup_steps = 0;
    t.recipe.weight_decay = 1;
    ds_trainer *trainer = open_trainer(&t, DS_F32);
    for (uint64_t step = 0; step < t.recipe.steps && status == DS_OK; step++) status = ds_trainer_update(&done, trainer);
    assert_int_equal(status, DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "update "));
    ds_trainer_free(&trainer);
    trace_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_trace_is_followed),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(large_batches_are_passed_in_pieces),
        cmocka_unit_test(no_stop_costs_a_checkpoint),
        cmocka_unit_test(short_token_files_are_refused),
        cmocka_unit_test(a_run_that_explodes_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
