/* Training by recipes drawn at random, of models and controls drawn over every option: each update of a run is computed again
 * from what its folder holds, its windows, schedule, groups and tensors left alone by the formulas as they are written down.
 * RANDOM_RECIPES and RANDOM_SEED choose others; a run that fails is printed with the seed that draws it alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random_model.h"
#include "scratch.h"
#include "support.h"
#include "verify/training_step.h"

static const double u64 = 0x1p-53;

/* ---- drawing ------------------------------------------------------------------------------------------------------------ */

static double real_of(ds_random *r, const double *values, size_t count) { return values[ds_random_below(r, count)]; }
#define REAL_OF(r, ...) real_of((r), (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void draw_recipe(ds_recipe *recipe, ds_random *r, const random_model *m) {
    const char *const rules[] = {"delta",      "closed:attn",    "closed:mlp",     "closed:all",     "write-only",
                                 "erase-only", "fixed-gate:0.3", "fixed-gate:1.0", "fixed-gate:1.9", "fixed-gate:0"};
    *recipe = (ds_recipe){.length = m->length,
                          .batch = 1 + ds_random_below(r, 3),
                          .accumulation = 1 + ds_random_below(r, 3),
                          .steps = 2 + ds_random_below(r, 4),
                          .order = (ds_window_order)ds_random_below(r, 2),
                          .data_seed = ds_random_u64(r) >> ds_random_below(r, 60),
                          .learning_rate = exp(-9 + 5 * ds_random_uniform(r)),
                          .warmup = (ds_warmup)ds_random_below(r, 2),
                          .beta1 = REAL_OF(r, 0, 0.5, 0.9, 0.9),
                          .beta2 = REAL_OF(r, 0, 0.95, 0.95, 0.999),
                          .eps = REAL_OF(r, 1e-8, 1e-8, 1e-6, 1e-3),
                          .weight_decay = REAL_OF(r, 0, 0.1, 0.1, 3),
                          .decay = (ds_decay)ds_random_below(r, 3),
                          .clip = REAL_OF(r, 0, 0.1, 1, 100),
                          .hidden_lr_multiplier = REAL_OF(r, 1, 4.0 / 3, 0.25, 0),
                          .embedding_lr_multiplier = REAL_OF(r, 1, 1, 0.5, 3),
                          .val_windows = 1 + ds_random_below(r, m->windows)};
    recipe->min_learning_rate = REAL_OF(r, 0, 0.1, 1) * recipe->learning_rate;
    recipe->decay_steps = ds_random_below(r, recipe->steps + 3);
    recipe->warmup_steps = ds_random_below(r, recipe->decay_steps + 1);
    (void)snprintf(recipe->rule, sizeof recipe->rule, "%s",
                   rules[ds_random_below(r, ds_rule_has_gates(m->spec.rule) ? sizeof rules / sizeof *rules : 4)]);
}

/* ---- as it is written down -------------------------------------------------------------------------------------------- */

static double plain_rate(const ds_recipe *r, uint64_t update) {
    const long double t = (long double)update, w = (long double)r->warmup_steps, end = (long double)r->decay_steps;
    const long double high = r->learning_rate, low = r->min_learning_rate;
    if (update < r->warmup_steps) return (double)(r->warmup == DS_WARMUP_FROM_ZERO ? high * t / w : high * (t + 1) / (w + 1));
    if (update >= r->decay_steps) return (double)low;
    return (double)(low + (high - low) * (1 + cosl(acosl(-1) * (t - w) / (end - w))) / 2);
}

static uint64_t plain_start(const ds_recipe *r, uint64_t tokens, uint64_t i) {
    uint64_t z = r->data_seed + (i + 1) * 0x9E3779B97F4A7C15u;
    if (r->order == DS_ORDER_CONSECUTIVE) return i % ((tokens - 1) / r->length) * r->length;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (uint64_t)floorl(ldexpl((long double)z, -64) * (long double)(tokens - r->length)); /* one rounding, of 2^-64 */
}

static bool has_any(const char *name, const char *const *parts) {
    while (*parts != NULL && strstr(name, *parts) == NULL) parts++;
    return *parts != NULL;
}
#define HAS(name, ...) has_any((name), (const char *const[]){__VA_ARGS__, NULL})

static double plain_decay(const ds_recipe *r, const ds_parameter *p) {
    const bool norm = HAS(p->name, "ln_", "norm", "q_rms", "k_rms", "subln");
    const bool decays = r->decay == DS_DECAY_ALL || (r->decay == DS_DECAY_RANK2 ? p->rank >= 2 : !norm);
    return decays ? r->weight_decay : 0;
}

static double plain_multiplier(const ds_recipe *r, const char *name) {
    return HAS(name, "wte.", "wpe.", "embed_tokens.", "lm_head.") ? r->embedding_lr_multiplier : r->hidden_lr_multiplier;
}

/* Of the names of the published DDL files. */
static bool plain_left_alone(const ds_recipe *r, const char *name) {
    const bool attention = HAS(name, ".attn.", ".ddl_attn.", ".ln_1."), mlp = HAS(name, ".mlp.", ".ddl_mlp.", ".ln_2.");
    if (r->length == 1 && HAS(name, ".shift_proj.")) return true; /* one token is not shifted */
    if (strncmp(r->rule, "fixed-gate", 10) == 0) return HAS(name, ".beta");
    if (strcmp(r->rule, "erase-only") == 0) return HAS(name, ".v_proj.") && HAS(name, ".ddl_");
    if (strcmp(r->rule, "closed:attn") == 0) return attention;
    if (strcmp(r->rule, "closed:mlp") == 0) return mlp;
    return strcmp(r->rule, "closed:all") == 0 && (attention || mlp || HAS(name, ".compress."));
}

/* ---- a run, computed again -------------------------------------------------------------------------------------------- */

typedef struct run_again {
    const random_model *drawn;
    ds_recipe recipe;
    ds_tokens *tokens;
    ds_checkpoint *files[2], *moments[2]; /* before an update and after it */
    ds_model *model;                      /* before it */
    ds_gradient *gradient;
    json_t *results;
} run_again;

static const char *file_of(uint64_t step, const char *name) {
    char path[96];
    (void)snprintf(path, sizeof path, "random-run/checkpoint-%llu/%s", (unsigned long long)step, name);
    return scratch_path(path);
}

static void read_tensor(double *values, ds_checkpoint *checkpoint, const char *name, size_t count) {
    const ds_tensor *tensor = ds_checkpoint_find(checkpoint, name);
    if (tensor == NULL || tensor->count != count) fail_msg("%s: no %s of %zu", ds_checkpoint_path(checkpoint), name, count);
    const ds_tensor_read read = {.tensor = tensor, .precision = DS_F64, .destination = values};
    expect_ok(ds_checkpoint_read(checkpoint, &read, 1));
}

static void open_after(run_again *run, uint64_t step, size_t which) {
    char config[512];
    (void)snprintf(config, sizeof config, "%s", file_of(step, "config.json"));
    expect_ok(ds_checkpoint_open(&run->files[which], file_of(step, ""), NULL));
    expect_ok(ds_checkpoint_open(&run->moments[which], file_of(step, "optimizer.safetensors"), config));
}

/* The model that update `step` starts from: its file says its rule, but for the one the run itself started from. */
static void open_before(run_again *run, uint64_t step, const char *start) {
    const ds_gradient_options options = {.parameters = true};
    ds_force trained[2];
    char name[48], expected[48];
    if (step == 0)
        expect_ok(ds_checkpoint_open(&run->files[0], start, NULL));
    else
        open_after(run, step, 0);
    expect_ok(ds_model_load(&run->model, run->files[0], run->drawn->precision));
    ds_spec_rule_name(name, ds_model_spec(run->model));
    expect_ok(ds_control_parse(trained, run->drawn->spec.rule, run->recipe.rule, "here"));
    ds_model_set_control(run->model, trained);
    ds_spec_rule_name(expected, ds_model_spec(run->model));
    if (step > 0) assert_string_equal(name, expected);
    expect_ok(ds_gradient_new(&run->gradient, run->model, run->recipe.batch, run->recipe.length, &options));
}

static void close_update(run_again *run) {
    for (size_t i = 0; i < 2; i++) {
        ds_checkpoint_close(&run->files[i]);
        ds_checkpoint_close(&run->moments[i]);
    }
    ds_gradient_free(&run->gradient);
    ds_model_free(&run->model);
}

/* The gradient in hand += sum, and sum <- that, as numbers of the run's precision. */
static void add_up(run_again *run, void *sum) {
    size_t numbers;
    void *block = ds_gradient_block(run->gradient, &numbers);
    for (size_t k = 0; k < numbers; k++) {
        if (run->drawn->precision == DS_F32)
            ((float *)sum)[k] = ((float *)block)[k] += ((const float *)sum)[k];
        else
            ((double *)sum)[k] = ((double *)block)[k] += ((const double *)sum)[k];
    }
}

/* Numbers of the log, and the sum over micro-batches, each by itself, of the gradient of (1/A) times their mean loss. */
static void take_gradient(run_again *run, const json_t *logged, uint64_t step) {
    const ds_recipe *r = &run->recipe;
    const size_t count = r->batch * r->length;
    uint32_t *ids = malloc(2 * count * sizeof *ids);
    double *nll = malloc(count * sizeof *nll), loss = 0;
    size_t numbers;
    (void)ds_gradient_block(run->gradient, &numbers);
    void *sum = ds_calloc(numbers, ds_precision_size(run->drawn->precision));
    assert_true(ids != NULL && nll != NULL && sum != NULL);
    for (uint64_t a = 0; a < r->accumulation; a++) {
        const ds_batch batch = {ids, ids + count, r->batch, r->length};
        double mean = 0;
        for (uint64_t b = 0; b < r->batch; b++) {
            uint64_t start = plain_start(r, ds_tokens_count(run->tokens), (step * r->accumulation + a) * r->batch + b);
            expect_ok(ds_window_read(ids + b * r->length, ids + count + b * r->length, run->tokens, start, (size_t)r->length));
        }
        ds_gradient_zero(run->gradient);
        expect_ok(ds_backward(run->gradient, &batch, NULL, 1 / ((double)count * (double)r->accumulation), NULL, nll));
        add_up(run, sum);
        for (size_t i = 0; i < count; i++) mean += nll[i] / (double)count;
        double told = json_number_value(json_array_get(json_object_get(logged, "micro_loss"), a));
        expect_close(told, mean, 2 * (double)count * u64 * mean);
        loss += mean / (double)r->accumulation;
    }
    expect_close(ds_json_real_at(logged, "loss"), loss, 2 * (double)(count + r->accumulation) * u64 * loss);
    free(ids);
    free(nll);
    free(sum);
}

/* Norm, clipping and learning rate, of which the last two are then taken as logged. */
static void expect_scalars(const run_again *run, const json_t *logged, uint64_t step) {
    const double norm = ds_json_real_at(logged, "gradient_norm"), clip = ds_json_real_at(logged, "clip_coefficient");
    const double rate = plain_rate(&run->recipe, step);
    long double sum = 0;
    size_t numbers = 0;
    for (size_t i = 0; i < ds_model_parameters(run->model); i++) {
        const ds_parameter *p = ds_model_parameter(run->model, i);
        numbers += p->count;
        for (size_t k = 0; k < p->count; k++) {
            long double g = ds_real_at(ds_gradient_parameter(run->gradient, i), run->drawn->precision, k);
            sum += g * g;
        }
    }
    /* the square of a gradient below 2^-511 loses digits in double, as much as 2^-537 of the norm for each */
    expect_close(norm, (double)sqrtl(sum), (double)numbers * (u64 * norm + 0x1p-537));
    expect_close(clip, run->recipe.clip > 0 ? fmin(1, run->recipe.clip / (norm + 1e-6)) : 1, 4 * u64);
    expect_close(ds_json_real_at(logged, "lr"), rate, 16 * u64 * run->recipe.learning_rate);
}

static ds_adamw_plain plain_of(const run_again *run, const ds_parameter *p, const json_t *logged, uint64_t step) {
    const ds_recipe *r = &run->recipe;
    return (ds_adamw_plain){.count = (double)(step + 1),
                            .eta = plain_multiplier(r, p->name) * plain_rate(r, step),
                            .decay = plain_decay(r, p),
                            .clip = ds_json_real_at(logged, "clip_coefficient"),
                            .beta1 = r->beta1,
                            .beta2 = r->beta2,
                            .eps = r->eps};
}

static void expect_still(const ds_parameter *p, const double *before, const double *after, const run_again *run) {
    char name[128];
    for (size_t k = 0; k < p->count; k++) expect_close(after[k], before[k], 0);
    (void)snprintf(name, sizeof name, "exp_avg.%s", p->name);
    assert_null(ds_checkpoint_find(run->moments[1], name));
}

/* rows: weights, means, squares; before and after */
static void expect_parameter(ds_worst *worst, run_again *run, size_t index, const json_t *logged, uint64_t step) {
    const ds_parameter *p = ds_model_parameter(run->model, index);
    const ds_adamw_plain plain = plain_of(run, p, logged, step);
    const double stored = run->drawn->precision == DS_F64 ? 0 : 0x1p-24;
    static const char *const prefixes[] = {"", "exp_avg.", "exp_avg_sq."};
    const void *gradient = ds_gradient_parameter(run->gradient, index);
    const bool still = plain_left_alone(&run->recipe, p->name);
    double *rows[2][3];
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < 3; i++) {
            char name[128];
            (void)snprintf(name, sizeof name, "%s%s", prefixes[i], p->name);
            rows[side][i] = ds_calloc(p->count, sizeof(double));
            assert_non_null(rows[side][i]);
            bool first = side == 0 && step == 0;
            if (i == 0 || !(still || first))
                read_tensor(rows[side][i], i == 0 ? run->files[side] : run->moments[side], name, p->count);
        }
    }
    for (size_t k = 0; step == 0 && k < p->count; k++) rows[0][0][k] = ds_real_at(p->values, run->drawn->precision, k);
    if (still) expect_still(p, rows[0][0], rows[1][0], run);
    for (size_t k = 0; k < p->count; k++) {
        const ds_adamw_number before = {rows[0][0][k], rows[0][1][k], rows[0][2][k]};
        const ds_adamw_number after = {rows[1][0][k], rows[1][1][k], rows[1][2][k]};
        double g = ds_real_at(gradient, run->drawn->precision, k);
        if (still)
            expect_close(g, 0, 0);
        else
            ds_adamw_compare(worst, &before, &after, g, &plain, stored);
    }
    for (size_t i = 0; i < 6; i++) free(rows[i / 3][i % 3]);
}

/* The head that a file stores beside the embedding stays the embedding. */
static void expect_head(run_again *run) {
    const ds_parameter *embedding = ds_model_parameter(run->model, 0);
    if (!run->drawn->with_head) return;
    double *values = malloc(2 * embedding->count * sizeof *values);
    assert_non_null(values);
    read_tensor(values, run->files[1], embedding->name, embedding->count);
    read_tensor(values + embedding->count, run->files[1], "lm_head.weight", embedding->count);
    assert_memory_equal(values, values + embedding->count, embedding->count * sizeof *values);
    free(values);
}

static void expect_update(ds_worst *worst, run_again *run, uint64_t step, const char *start) {
    const json_t *logged = json_array_get(json_object_get(run->results, "steps"), step);
    open_before(run, step, start);
    open_after(run, step + 1, 1);
    take_gradient(run, logged, step);
    expect_scalars(run, logged, step);
    for (size_t i = 0; i < ds_model_parameters(run->model); i++) expect_parameter(worst, run, i, logged, step);
    expect_head(run);
    close_update(run);
}

static void expect_untouched(const run_again *run) {
    const json_t *untouched = json_object_get(run->results, "untouched");
    ds_model *model = NULL;
    size_t count = 0;
    expect_ok(ds_model_random(&model, &run->drawn->spec, DS_F32, 1));
    for (size_t i = 0; i < ds_model_parameters(model); i++)
        count += plain_left_alone(&run->recipe, ds_model_parameter(model, i)->name);
    assert_int_equal(json_array_size(untouched), count);
    for (size_t i = 0; i < count; i++)
        assert_true(plain_left_alone(&run->recipe, json_string_value(json_array_get(untouched, i))));
    ds_model_free(&model);
}

/* Trains; whether the run came to its end: what is drawn may be thrown about until it diverges. */
static bool train(run_again *run, const char *start, const char *tokens) {
    const ds_trainer_options options = {
        .checkpoint = start, .train = tokens, .val = tokens, .precision = run->drawn->precision, .recipe = run->recipe};
    ds_training_options training = {.save = 1};
    ds_trainer *trainer = NULL;
    ds_folder *folder = NULL;
    expect_ok(ds_trainer_new(&trainer, &options));
    expect_ok(ds_folder_open(&folder, scratch_path("random-run")));
    training.folder = folder;
    training.resume = false;
    ds_status status = ds_training_run(&run->results, trainer, &training);
    if (status != DS_OK && !ds_trainer_diverged(trainer)) fail_msg("%s", ds_error_text());
    ds_trainer_free(&trainer);
    ds_folder_close(&folder);
    return status == DS_OK;
}

static void remove_run(uint64_t steps) {
    static const char *const files[] = {"trainer_state.json", "config.json", "model.safetensors", "optimizer.safetensors", ""};
    for (uint64_t step = 1; step <= steps; step++)
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) (void)remove(file_of(step, files[i]));
}

/* Whether the run came to its end and could be computed again. */
static bool compute_again(uint64_t seed) {
    random_model m;
    ds_random r = ds_random_init(seed);
    ds_worst worst = {0};
    random_model_draw(&m, seed);
    run_again run = {.drawn = &m};
    draw_recipe(&run.recipe, &r, &m);
    const char *start = random_model_write(&m, "random-model"), *tokens = scratch_path("random-model/tokens.bin");
    expect_ok(ds_tokens_open(&run.tokens, tokens, m.spec.vocab));
    const bool finished = train(&run, start, tokens);
    if (finished) expect_untouched(&run);
    for (uint64_t step = 0; finished && step < run.recipe.steps; step++) expect_update(&worst, &run, step, start);
    remove_run(run.recipe.steps);
    if (!(worst.measured <= worst.tolerance))
        fail_msg("%s: rule %s: %g from the formulas, at most %g is rounding", random_model_describe(&m), run.recipe.rule,
                 worst.measured, worst.tolerance);
    ds_tokens_close(&run.tokens);
    json_decref(run.results);
    return finished;
}

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void every_update_is_the_formulas(void **state) {
    (void)state;
    const uint64_t seed = number("RANDOM_SEED", 20261129), count = number("RANDOM_RECIPES", 40);
    uint64_t finished = 0;
    for (uint64_t i = 0; i < count; i++) finished += compute_again(seed + i);
    print_message("%llu runs from seed %llu on, %llu came to their end\n", (unsigned long long)count, (unsigned long long)seed,
                  (unsigned long long)finished);
    assert_true(2 * finished >= count);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_update_is_the_formulas)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
