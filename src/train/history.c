#include "history.h"

#include <math.h>
#include <stdlib.h>

/* ---- spikes ------------------------------------------------------------------------------------------------------ */

enum { BEFORE = 100, DEVIATIONS = 8 };
static const double normal_consistent = 1.4826; /* times the median deviation: the standard deviation of a normal law */

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Sorts `values`. */
static double median(double values[BEFORE]) {
    qsort(values, BEFORE, sizeof *values, by_value);
    return (values[BEFORE / 2 - 1] + values[BEFORE / 2]) / 2;
}

ds_status ds_training_spikes(json_t **out, const json_t *steps) {
    ds_json_builder b = {0};
    ds_json_begin_array(&b, NULL);
    for (size_t i = BEFORE; i < json_array_size(steps); i++) {
        const json_t *now = json_array_get(steps, i);
        const double loss = ds_json_real_at(now, "loss");
        double values[BEFORE];
        for (size_t j = 0; j < BEFORE; j++) values[j] = ds_json_real_at(json_array_get(steps, i - BEFORE + j), "loss");
        const double middle = median(values);
        if (!(loss > middle)) continue;
        for (size_t j = 0; j < BEFORE; j++) values[j] = fabs(values[j] - middle);
        const double deviation = normal_consistent * median(values);
        if (!(loss > middle + DEVIATIONS * deviation)) continue;
        ds_json_begin_object(&b, NULL);
        ds_json_put(&b, "step", json_incref(json_object_get(now, "step")));
        ds_json_put_real(&b, "loss", loss);
        ds_json_put_real(&b, "median", middle);
        ds_json_put_real(&b, "deviation", deviation);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

/* ---- what a state tells ------------------------------------------------------------------------------------------ */

const json_t *ds_history_best(const json_t *evaluations) {
    const json_t *best = json_array_get(evaluations, 0);
    for (size_t i = 1; i < json_array_size(evaluations); i++) {
        const json_t *other = json_array_get(evaluations, i);
        if (ds_json_real_at(other, "val_loss") < ds_json_real_at(best, "val_loss")) best = other;
    }
    return best;
}

static uint64_t count_at(const json_t *entry) { return (uint64_t)json_integer_value(json_object_get(entry, "step")); }

/* Every how many of `total` entries, so that a state stays small and the states of a long run do not grow with its square. */
static uint64_t stride(uint64_t total) {
    const uint64_t most = 1000;
    return total <= most ? 1 : (total + most - 1) / most;
}

/* The update numbered `last`, for those of the `over` that end with it. */
static void put_update(ds_json_builder *b, const json_t *steps, size_t last, size_t over) {
    const json_t *entry = json_array_get(steps, last);
    double sum = 0;
    for (size_t i = 0; i < over; i++) sum += ds_json_real_at(json_array_get(steps, last - i), "loss");
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "step", last + 1);
    ds_json_put_real(b, "loss", sum / (double)over);
    ds_json_put_real(b, "grad_norm", ds_json_real_at(entry, "gradient_norm"));
    ds_json_put_real(b, "learning_rate", ds_json_real_at(entry, "lr"));
    ds_json_end(b);
}

static void put_evaluation(ds_json_builder *b, const json_t *entry) {
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "step", count_at(entry));
    ds_json_put_real(b, "eval_loss", ds_json_real_at(entry, "val_loss"));
    ds_json_end(b);
}

void ds_history_put(ds_json_builder *b, const json_t *steps, const json_t *evaluations, uint64_t total, uint64_t evaluate) {
    const uint64_t every = stride(total), every_evaluation = stride(evaluate == 0 ? 2 : total / evaluate + 2);
    const json_t *best = ds_history_best(evaluations);
    const size_t done = json_array_size(steps), tested = json_array_size(evaluations);
    size_t e = 0;
    ds_json_put_real(b, "best_metric", best == NULL ? NAN : ds_json_real_at(best, "val_loss"));
    ds_json_put(b, "best_global_step", best == NULL ? json_null() : json_incref(json_object_get(best, "step")));
    ds_json_put_count(b, "max_steps", total);
    ds_json_put_count(b, "logging_steps", every);
    ds_json_begin_array(b, "log_history");
    for (size_t after = 0; after <= done; after++) {
        const uint64_t over = after == total && total % every != 0 ? total % every : every;
        if (after > 0 && (after % every == 0 || after == total)) put_update(b, steps, after - 1, (size_t)over);
        for (; e < tested && count_at(json_array_get(evaluations, e)) <= after; e++) {
            if (e % every_evaluation == 0 || after == total) put_evaluation(b, json_array_get(evaluations, e));
        }
    }
    ds_json_end(b);
}
