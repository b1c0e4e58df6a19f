/* Whole updates of a trainer: windows, both passes, norm, optimiser. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "bench/memory_files.h"
#include "deltascope/train.h"

enum { BATCH_TOKENS = 2048, FEWEST = 3, MOST = 21, PROFILED = 3 };
static const double most_seconds = 3; /* once the fewest are done */

static ds_recipe recipe_of(size_t length) {
    return (ds_recipe){.rule = "delta",
                       .length = length,
                       .batch = ds_max_size(1, BATCH_TOKENS / length),
                       .accumulation = 1,
                       .steps = MOST + PROFILED + 1,
                       .order = DS_ORDER_SPLITMIX64,
                       .learning_rate = 1e-4,
                       .min_learning_rate = 1e-4,
                       .decay_steps = MOST + PROFILED + 1,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .clip = 1,
                       .hidden_lr_multiplier = 1,
                       .embedding_lr_multiplier = 1,
                       .val_windows = 1};
}

/* Random ids, eight batches of them. */
static ds_status write_tokens(ds_bench_memory_file *file, const ds_recipe *recipe, size_t vocab) {
    ds_random random = ds_random_init(11);
    for (uint64_t i = 0; i <= 8 * recipe->batch * recipe->length; i++) {
        uint16_t id = (uint16_t)ds_random_below(&random, vocab);
        (void)fwrite(&id, sizeof id, 1, file->stream);
    }
    return ds_bench_memory_file_settle(file);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of all threads of this process: other programs do not lengthen it. */
static double processor_seconds(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The first update touches every page once, and does not count. */
static ds_status time_updates(ds_bench_training *out, ds_trainer *trainer) {
    ds_status status = DS_OK;
    ds_update done;
    double seconds[MOST], total = 0;
    size_t count = 0;
    DS_TRY(ds_trainer_update(&done, trainer));
    const ds_trainer_seconds before = ds_trainer_spent(trainer);
    double processor = processor_seconds();
    while (count < FEWEST || (count < MOST && total < most_seconds)) {
        double start = ds_seconds();
        DS_TRY(ds_trainer_update(&done, trainer));
        seconds[count] = ds_seconds() - start;
        total += seconds[count++];
    }
    const ds_trainer_seconds after = ds_trainer_spent(trainer);
    out->processor_seconds = (processor_seconds() - processor) / (double)count;
    qsort(seconds, count, sizeof *seconds, ascending);
    out->median_seconds = seconds[count / 2];
    out->fastest.seconds = seconds[0];
    out->updates = count;
    out->shares[DS_BENCH_WINDOWS] = (after.windows - before.windows) / total;
    out->shares[DS_BENCH_FORWARD] = (after.forward - before.forward) / total;
    out->shares[DS_BENCH_BACKWARD] = (after.backward - before.backward) / total;
    out->shares[DS_BENCH_NORM] = (after.norm - before.norm) / total;
    out->shares[DS_BENCH_OPTIMISER] = (after.optimiser - before.optimiser) / total;
done:
    return status;
}

static ds_status profile_updates(ds_bench_training *out, ds_trainer *trainer) {
    ds_status status = DS_OK;
    ds_update done;
    double waited = -ds_seconds();
    ds_activity_measure();
    for (size_t i = 0; i < PROFILED && status == DS_OK; i++) status = ds_trainer_update(&done, trainer);
    ds_activity_finish(out->profile);
    DS_TRY(status);
    waited = (waited + ds_seconds()) * (double)ds_threads();
    for (size_t i = 0; i < DS_ACTIVITIES; i++) waited -= out->profile[i];
    out->profile[DS_ACTIVITY_NONE] = waited > 0 ? waited : 0;
    for (size_t i = 0; i < DS_ACTIVITIES; i++) out->profile[i] /= PROFILED;
done:
    return status;
}

ds_status ds_bench_training_run(ds_bench_training *out, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(model);
    const ds_recipe recipe = recipe_of(length);
    ds_bench_memory_model files = {0};
    ds_bench_memory_file tokens = {0};
    ds_trainer *trainer = NULL;
    DS_TRY(ds_bench_memory_model_new(&files, model));
    DS_TRY(ds_bench_memory_file_new(&tokens, "tokens.bin"));
    DS_TRY(write_tokens(&tokens, &recipe, spec->vocab));
    const ds_trainer_options options = {.checkpoint = files.weights.path,
                                        .config = files.config.path,
                                        .train = tokens.path,
                                        .val = tokens.path,
                                        .precision = ds_model_precision(model),
                                        .recipe = recipe};
    DS_TRY(ds_trainer_new(&trainer, &options));
    DS_TRY(time_updates(out, trainer));
    DS_TRY(profile_updates(out, trainer));
    out->fastest.tokens = recipe.batch * recipe.length;
    out->fastest.operations = 3 * ds_spec_forward_flops_per_token(spec, length) * (double)out->fastest.tokens;
done:
    ds_trainer_free(&trainer);
    ds_bench_memory_file_release(&tokens);
    ds_bench_memory_model_release(&files);
    return status;
}
