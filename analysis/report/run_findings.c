/* What the page of a training run says first. */
#include "run_findings.h"

#include <math.h>
#include <string.h>

#include "deltascope/io.h"

static const double moved_by = 0.25; /* of a mean gate, which lies between 0 and 2 */

static ds_finding *begin(ds_findings *all, const char *kind, const char *threshold, const char *evidence) {
    ds_finding *finding = &all->rows[all->count++];
    *finding = (ds_finding){.kind = kind, .threshold = threshold, .evidence = evidence};
    return finding;
}

/* Adds to where the last finding was made, at most so often that a row stays one. */
static ds_status add(ds_findings *all, const char *what) {
    enum { MOST = 8 };
    ds_text *where = &all->where[all->count - 1];
    const size_t count = ++all->rows[all->count - 1].count;
    if (count > MOST) return count == MOST + 1 ? ds_text_printf(where, ", ...") : DS_OK;
    return ds_text_printf(where, "%s%s", count > 1 ? ", " : "", what);
}

static ds_status find_spikes(ds_findings *all, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *spikes = json_object_get(results, "spikes");
    (void)begin(all, "spike", "loss above the median of the 100 updates before by 8 scaled median deviations",
                "training-curves");
    for (size_t i = 0; i < json_array_size(spikes); i++) {
        char what[64];
        (void)snprintf(what, sizeof what, "update %.0f (%.3f nats)", ds_json_real_at(json_array_get(spikes, i), "step"),
                       ds_json_real_at(json_array_get(spikes, i), "loss"));
        DS_TRY(add(all, what));
    }
done:
    return status;
}

size_t ds_run_clipped(const json_t *results) {
    const json_t *steps = json_object_get(results, "steps");
    size_t clipped = 0;
    for (size_t i = 0; i < json_array_size(steps); i++)
        clipped += ds_json_real_at(json_array_get(steps, i), "clip_coefficient") < 1;
    return clipped;
}

static ds_status find_clipping(ds_findings *all, const json_t *results) {
    const size_t updates = json_array_size(json_object_get(results, "steps"));
    ds_finding *finding = begin(all, "gradient clipped", "its norm is above the recipe's clip", "training-curves");
    finding->count = ds_run_clipped(results);
    if (finding->count == 0) return DS_OK;
    return ds_text_printf(&all->where[all->count - 1], "%.0f%% of the updates", 100 * (double)finding->count / (double)updates);
}

static ds_status find_best(ds_findings *all, const json_t *results) {
    char what[96];
    const double best = ds_json_real_at(results, "best/val_loss"), last = ds_json_real_at(results, "val_after");
    (void)begin(all, "better before the end", "an evaluation below the last one", "training-curves");
    if (!(best < last)) return DS_OK;
    (void)snprintf(what, sizeof what, "%.4f nats after update %.0f, %.4f at the end", best,
                   ds_json_real_at(results, "best/step"), last);
    return add(all, what);
}

static ds_status find_movement(ds_findings *all, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *audits = json_object_get(results, "audits");
    const json_t *first = json_object_get(json_array_get(audits, 0), "gates");
    const json_t *last = json_object_get(json_array_get(audits, json_array_size(audits) - 1), "gates");
    if (json_array_size(audits) < 2) return DS_OK;
    (void)begin(all, "gate moved", "its mean changes by more than 0.25 from the first audit to the last",
                "gates-over-training");
    for (size_t s = 0; s < json_array_size(last); s++) {
        const double before = ds_json_real_at(json_array_get(first, s), "beta_mean");
        const double after = ds_json_real_at(json_array_get(last, s), "beta_mean");
        const char *name = json_string_value(json_object_get(json_array_get(last, s), "name"));
        char what[96];
        if (!(fabs(after - before) > moved_by)) continue;
        (void)snprintf(what, sizeof what, "%.32s (%.2f to %.2f)", name == NULL ? "" : name, before, after);
        DS_TRY(add(all, what));
    }
done:
    return status;
}

static ds_status find_untouched(ds_findings *all, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *names = json_object_get(results, "untouched");
    (void)begin(all, "tensor untouched", "the loss does not depend on it, or the model does not use it", "table-recipe");
    for (size_t i = 0; i < json_array_size(names); i++) DS_TRY(add(all, DS_SHOW(json_string_value(json_array_get(names, i)))));
done:
    return status;
}

static ds_status find_divergence(ds_findings *all, const json_t *results, bool diverged) {
    char what[64];
    ds_finding *finding =
        begin(all, "diverged",
              "loss or gradient not finite, loss above 10 times a uniform guess's, or median of 21 staying 0.5 nats above its "
              "least",
              "training-curves");
    if (!diverged) return DS_OK;
    finding->alarm = true;
    (void)snprintf(what, sizeof what, "after %zu updates", json_array_size(json_object_get(results, "steps")));
    return add(all, what);
}

ds_status ds_run_findings(ds_findings *all, const json_t *results, bool diverged) {
    ds_status status = DS_OK;
    DS_TRY(find_divergence(all, results, diverged));
    DS_TRY(find_best(all, results));
    DS_TRY(find_spikes(all, results));
    DS_TRY(find_clipping(all, results));
    DS_TRY(find_movement(all, results));
    DS_TRY(find_untouched(all, results));
    for (size_t i = 0; i < all->count; i++) {
        if (all->where[i].length == 0) DS_TRY(ds_text_printf(&all->where[i], "none"));
        all->rows[i].where = all->where[i].bytes;
    }
done:
    return status;
}
