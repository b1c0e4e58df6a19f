/* study.json: everything a study says, made from its folder alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/claims.h"
#include "deltascope/measure/published_losses.h"
#include "deltascope/measure/seed_contrasts.h"
#include "result.h"

void ds_study_put_seed(ds_json_builder *b, const char *key, ds_study_seed seed) {
    ds_json_begin_object(b, key);
    ds_json_put_count(b, "init", seed.init);
    ds_json_put_count(b, "data", seed.data);
    ds_json_end(b);
}

void ds_study_put_interval(ds_json_builder *b, const char *key, double low, double high) {
    if (isfinite(low) && isfinite(high))
        ds_json_put_reals(b, key, (const double[]){low, high}, 2);
    else
        ds_json_put(b, key, json_null());
}

/* ---- cost of a variant ------------------------------------------------------------------------------------------- */

const char ds_study_flops_formula[] =
    "3 (F + C): F, a forward pass: 2 m n k for a matrix product, attention at half the square, 4 d dv an edit of the state, "
    "6 d a source of a read over depth, 2 d (n n + 2 n) a sublayer of n streams and their maps; C, the delta rule's traffic "
    "where its state is wider than the stream: 2 d dv read and 2 d dv written for each of 2 L + 1 compressions";

double ds_study_flops_per_token(const ds_study_variant *variant) {
    const ds_spec *spec = &variant->spec;
    const double channels = (double)spec->value_channels, d = (double)spec->hidden;
    const double traffic = channels > 1 ? (2 * (double)spec->layers + 1) * 4 * d * channels : 0;
    return 3 * (ds_spec_forward_flops_per_token(spec, (size_t)variant->recipe.length) + traffic);
}

/* Learned numbers that the loss depends on. */
static ds_status count_trained(uint64_t *count, const ds_plan *plan, const ds_study_variant *variant) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    bool *reached = NULL;
    *count = 0;
    DS_TRY(ds_model_initial(&model, &variant->spec, plan->precision, plan->which, 0));
    ds_model_set_control(model, variant->spec.trained);
    DS_NEW(reached, ds_model_parameters(model));
    ds_model_reached(reached, model, (size_t)variant->recipe.length);
    for (size_t i = 0; i < ds_model_parameters(model); i++)
        if (reached[i]) *count += ds_model_parameter(model, i)->count;
done:
    free(reached);
    ds_model_free(&model);
    return status;
}

/* ---- variants ---------------------------------------------------------------------------------------------------- */

void ds_study_put_end(ds_json_builder *b, const ds_cell_result *run) {
    ds_json_put_text(b, "status", run->diverged ? "diverged" : "done");
    ds_json_put_count(b, "updates", run->updates);
    ds_json_put_real(b, "final", run->final);
    ds_json_put_real(b, "tail", run->tail);
    ds_json_begin_object(b, "best");
    ds_json_put_real(b, "value", run->best);
    ds_json_put_count(b, "update", run->best_update);
    ds_json_end(b);
    ds_json_put_real(b, "initial", run->initial);
    ds_json_put(b, "spikes", json_incref(run->spikes));
    ds_json_put(b, "diverged_at", run->diverged ? json_integer((json_int_t)run->diverged_at) : json_null());
    ds_json_put_text(b, "reason", run->diverged ? run->reason : NULL);
    ds_json_put_text(b, "initial_sha256", json_string_value(json_object_get(run->done, "initial_sha256")));
    ds_json_put_text(b, "weights_sha256", json_string_value(json_object_get(run->done, "weights_sha256")));
}

static void put_costs(ds_json_builder *b, const ds_plan *plan, const ds_cell_result *run) {
    const ds_study_variant *variant = &plan->variants[run->cell.variant];
    const ds_recipe *recipe = &variant->recipe;
    const uint64_t tokens = run->updates * recipe->accumulation * recipe->batch * recipe->length;
    ds_json_put_count(b, "tokens", tokens);
    ds_json_put_real(b, "flops", (double)tokens * ds_study_flops_per_token(variant));
    ds_json_put_real(b, "train_seconds", run->update_seconds);
    ds_json_put_real(b, "eval_seconds", run->evaluation_seconds);
    ds_json_put_real(b, "save_seconds", run->saving_seconds);
}

static ds_status put_run(ds_json_builder *b, const ds_plan *plan, const ds_cell_result *run) {
    ds_status status = DS_OK;
    char path[DS_CELL_FOLDER + 16];
    ds_json_begin_object(b, NULL);
    ds_study_put_seed(b, "seed", run->cell.seed);
    if (!run->finished) {
        ds_json_put_text(b, "status", "stopped");
        ds_json_end(b);
        return b->status;
    }
    ds_study_put_end(b, run);
    put_costs(b, plan, run);
    DS_TRY(ds_study_put_batches(b, plan, &run->cell, run->updates));
    (void)snprintf(path, sizeof path, "%s/log.jsonl", run->cell.folder);
    ds_json_put_text(b, "curve", path);
    (void)snprintf(path, sizeof path, "%s/windows.f32", run->cell.folder);
    ds_json_put_text(b, "windows", run->windows == NULL ? NULL : path);
    ds_json_put_reals(b, "load", run->loads, 3);
    ds_json_end(b);
done:
    return status;
}

void ds_study_put_split(ds_json_builder *b, size_t rows, size_t columns, const double *finals, size_t n) {
    if (rows == 0) return;
    if (rows < 2 || columns < 2 || n != rows * columns) {
        ds_json_put(b, "seed_variance", json_null());
        return;
    }
    const ds_two_way split = ds_two_way_split(finals, rows, columns);
    ds_json_begin_object(b, "seed_variance");
    ds_json_put_real(b, "init", split.rows);
    ds_json_put_real(b, "data", split.columns);
    ds_json_put_real(b, "rest", split.rest);
    ds_json_put_real(b, "error", split.error);
    ds_json_put_real(b, "df", split.df);
    ds_json_end(b);
}

/* What a variant is and what a token costs. */
static ds_status put_structure(ds_json_builder *b, const ds_plan *plan, const ds_study_variant *variant) {
    ds_status status = DS_OK;
    uint64_t parameters, trained;
    DS_TRY(ds_spec_parameter_count(&parameters, &variant->spec));
    DS_TRY(count_trained(&trained, plan, variant));
    ds_json_put_text(b, "variant", variant->kind);
    ds_json_put_text(b, "rule", variant->recipe.rule);
    ds_json_put_text(b, "backbone", ds_spec_backbone_name(&variant->spec));
    ds_json_put_bool(b, "published", ds_spec_is_published(&variant->spec));
    ds_json_put_count(b, "parameters", parameters);
    ds_json_put_count(b, "trained_parameters", trained);
    ds_json_put_count(b, "state_floats_per_token", ds_spec_planes(&variant->spec) * variant->spec.hidden);
    ds_json_put_real(b, "flops_per_token", ds_study_flops_per_token(variant));
    ds_json_put_published(b, &variant->spec);
done:
    return status;
}

static ds_status put_variant(ds_json_builder *b, const ds_study_results *results, size_t v) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    const ds_study_variant *variant = &plan->variants[v];
    double *finals = NULL;
    size_t n = 0;
    ds_seed_summary summary;
    DS_NEW(finals, plan->seed_count);
    ds_json_begin_object(b, variant->name);
    DS_TRY(put_structure(b, plan, variant));
    ds_json_begin_array(b, "runs");
    for (size_t s = 0; s < plan->seed_count; s++) {
        const ds_cell_result *run = ds_study_result_of(results, v, s);
        DS_TRY(put_run(b, plan, run));
        if (run->finished) finals[n++] = run->diverged ? NAN : run->final;
    }
    ds_json_end(b);
    DS_TRY(ds_seed_summarise(&summary, finals, n));
    ds_json_put_seed_summary(b, "summary", &summary);
    ds_study_put_split(b, plan->rows, plan->columns, finals, n);
    ds_json_end(b);
done:
    free(finals);
    return status;
}

#ifdef __clang__
static const char compiler[] = __VERSION__; /* "Clang 14.0.6" */
#else
static const char compiler[] = "gcc " __VERSION__;
#endif

/* ---- what was run, and with what --------------------------------------------------------------------------------- */

/* What every result says of itself, and what program, libraries and machine these are. Threads and seconds are null: runs tell
 * their own. */
static ds_status put_envelope(ds_json_builder *b, const ds_study_results *results) {
    static const char *const keys[] = {"schema", "command", "version", "checkpoint", "options", "arithmetic", "environment"};
    ds_status status = DS_OK;
    json_t *envelope = NULL, *options = NULL;
    const ds_run none = {.checkpoint = NULL};
    ds_json_builder o = {0};
    ds_json_begin_object(&o, NULL);
    ds_json_put_real(&o, "target", results->questions.target);
    ds_json_put_real(&o, "plan_power", results->questions.effect);
    ds_json_end(&o);
    DS_TRY(ds_json_finish(&options, &o));
    DS_TRY(ds_run_envelope(&envelope, &none, "study", options, NULL));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        ds_json_put(b, keys[i], ds_json_copy(json_object_get(envelope, keys[i])));
    ds_json_put(b, "threads", json_null());
    ds_json_put(b, "seconds", json_null());
    const json_t *environment = json_object_get(envelope, "environment");
    ds_json_begin_object(b, "tool");
    ds_json_put_text(b, "version", DS_VERSION);
    ds_json_put_text(b, "build", compiler);
    ds_json_put_text(b, "arithmetic", json_string_value(json_object_get(envelope, "arithmetic")));
    ds_json_put_text(b, "blas", json_string_value(json_object_get(environment, "blas")));
    ds_json_put(b, "libraries", ds_json_copy(json_object_get(environment, "libraries")));
    ds_json_put_count(b, "threads", ds_threads());
    ds_json_end(b);
    ds_json_begin_object(b, "machine");
    ds_json_put_text(b, "cpu", json_string_value(json_object_get(environment, "processor")));
    ds_json_put_count(b, "cores", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    ds_json_end(b);
done:
    json_decref(envelope);
    json_decref(options);
    return status;
}

static ds_status put_recipe(ds_json_builder *b, const ds_plan *plan) {
    ds_status status = DS_OK;
    json_t *recipe = NULL;
    DS_TRY(ds_recipe_json(&recipe, &plan->common));
    ds_json_put(b, "recipe", recipe);
done:
    return status;
}

static void put_data(ds_json_builder *b, const ds_plan *plan) {
    ds_json_begin_object(b, "data");
    ds_json_begin_object(b, "train");
    ds_json_put_text(b, "path", plan->train);
    ds_json_put_count(b, "tokens", plan->train_tokens);
    ds_json_put_text(b, "sha256", plan->train_sha256);
    ds_json_end(b);
    ds_json_begin_object(b, "validation");
    ds_json_put_text(b, "path", plan->val);
    ds_json_put_count(b, "tokens", plan->val_tokens);
    ds_json_put_text(b, "sha256", plan->val_sha256);
    ds_json_put_count(b, "windows", plan->common.val_windows);
    ds_json_put_count(b, "seq_len", plan->common.length);
    ds_json_end(b);
    ds_json_end(b);
}

/* The runs in the order they were started. */
static ds_status put_order(ds_json_builder *b, const ds_plan *plan) {
    ds_status status = DS_OK;
    ds_cell *cells = NULL;
    size_t count;
    DS_TRY(ds_plan_cells(&cells, &count, plan));
    ds_json_begin_object(b, "order");
    ds_json_put_count(b, "seed", plan->order_seed);
    ds_json_begin_array(b, "runs");
    for (size_t i = 0; i < count; i++) ds_json_put_text(b, NULL, cells[i].folder);
    ds_json_end(b);
    ds_json_end(b);
done:
    free(cells);
    return status;
}

static ds_status put_all(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "format", "study-1");
    DS_TRY(put_envelope(b, results));
    ds_json_put(b, "plan", ds_json_copy(plan->given));
    ds_json_put_text(b, "plan_sha256", plan->sha256);
    ds_json_put_text(b, "precision", plan->precision == DS_F64 ? "double" : "float");
    DS_TRY(put_recipe(b, plan));
    put_data(b, plan);
    DS_TRY(put_order(b, plan));
    ds_json_put_text(b, "flops_formula", ds_study_flops_formula);
    DS_TRY(ds_study_put_matching(b, results));
    ds_json_begin_object(b, "variants");
    for (size_t v = 0; v < plan->variant_count; v++) DS_TRY(put_variant(b, results, v));
    ds_json_end(b);
    DS_TRY(ds_study_put_contrasts(b, results));
    DS_TRY(ds_study_put_target(b, results, results->questions.target));
    DS_TRY(ds_study_put_to_target(b, results));
    DS_TRY(ds_study_put_sweeps(b, results));
    DS_TRY(ds_study_put_curves(b, results));
    DS_TRY(ds_study_put_audit(b, results));
    ds_json_put_reference(b);
    ds_json_end(b);
done:
    return status;
}

ds_status ds_study_report(json_t **out, const ds_plan *plan, const ds_folder *folder, const ds_study_questions *questions) {
    ds_status status = DS_OK;
    ds_study_results results = {.plan = NULL};
    ds_json_builder b = {0};
    json_t *told = NULL, *digests = NULL;
    *out = NULL;
    DS_TRY(ds_study_results_read(&results, plan, folder));
    results.questions = *questions;
    DS_TRY(put_all(&b, &results));
    DS_TRY(ds_json_finish(&told, &b));
    DS_TRY(ds_digests_make(&digests, told));
    if (json_object_set(told, "digests", digests) != 0) DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for a study"));
    *out = json_incref(told);
done:
    json_decref(told);
    json_decref(digests);
    ds_json_discard(&b);
    ds_study_results_release(&results);
    return status;
}
