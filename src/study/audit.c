/* The audit of a study: how the gates of every trained model are used, what each is worth closed, and how gradients flow. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/forced_gates.h"
#include "deltascope/measure/gates.h"
#include "deltascope/measure/gradient_flow.h"
#include "deltascope/measure/seed_contrasts.h"
#include "plan.h"
#include "result.h"
#include "shared_runs.h"

static const char audit_file[] = "audit.json";

/* What an audit measures are gates, forced gates and states of one place each. */
static ds_status check_rules(const ds_plan *plan, const ds_plan_source *source) {
    for (size_t i = 0; i < plan->variant_count; i++) {
        const ds_rule_kind kind = ds_rule_kind_of(plan->variants[i].spec.rule);
        if (kind == DS_KIND_ADDITIVE || kind == DS_KIND_DELTA) continue;
        return ds_fail(
            DS_ERR_INPUT,
            "%s: audit is of gates and of a state that is rewritten, which variant %s (%s) has not: leave audit out, "
            "and measure its runs by depth",
            DS_SHOW(source->path), plan->variants[i].name, ds_rule_name(plan->variants[i].spec.rule));
    }
    return DS_OK;
}

ds_status ds_plan_read_audit(ds_plan *plan, const ds_plan_source *source) {
    static const char *const keys[] = {"sequences"};
    ds_status status = DS_OK;
    const json_t *given = json_object_get(plan->given, "audit"), *sequences = json_object_get(given, "sequences");
    const uint64_t usual = 32, windows = plan->common.val_windows;
    plan->audit_sequences = 0;
    if (given == NULL || json_is_false(given)) return DS_OK;
    if (!json_is_object(given)) return ds_plan_refuse(source, "audit", given, "{\"sequences\": N}, or {} for 32 windows");
    DS_TRY(ds_plan_check_keys(source, given, keys, 1, "audit"));
    DS_TRY(check_rules(plan, source));
    plan->audit_sequences = windows < usual ? windows : usual;
    if (sequences == NULL) goto done;
    if (!json_is_integer(sequences) || json_integer_value(sequences) < 1 || (uint64_t)json_integer_value(sequences) > windows)
        DS_TRY(ds_plan_refuse(source, "audit", given, "at least one window, and no more than the validation tokens have"));
    plan->audit_sequences = (uint64_t)json_integer_value(sequences);
done:
    return status;
}

/* ---- measuring one run ------------------------------------------------------------------------------------------- */

static void put_named(ds_json_builder *b, const char *kind, const char *name, double value) {
    char key[128];
    (void)snprintf(key, sizeof key, "%s:%s", kind, name);
    ds_json_put_real(b, key, value);
}

/* Members `path` of the elements of a list, by the elements' names. */
static void put_list(ds_json_builder *b, const char *kind, const json_t *list, const char *path) {
    size_t i;
    const json_t *element;
    char number[32];
    json_array_foreach(list, i, element) {
        const char *name = json_string_value(json_object_get(element, "name"));
        (void)snprintf(number, sizeof number, "%zu", i);
        put_named(b, kind, name == NULL ? number : name, ds_json_real_at(element, path));
    }
}

static ds_status measure_gates(ds_json_builder *b, ds_run *run) {
    ds_status status = DS_OK;
    json_t *options = NULL, *results = NULL;
    DS_TRY(ds_gates_results(&options, &results, run, &ds_gates_defaults));
    const json_t *sublayers = json_object_get(results, "sublayers");
    put_list(b, "beta", sublayers, "beta/mean");
    put_list(b, "relative_edit", sublayers, "relative_edit");
done:
    json_decref(options);
    json_decref(results);
    return status;
}

static ds_status measure_forces(ds_json_builder *b, ds_run *run) {
    ds_status status = DS_OK;
    json_t *options = NULL, *results = NULL;
    ds_ablate_options ablate = ds_ablate_defaults;
    ablate.modes = ds_rule_has_gates(run->spec.rule) ? "closed,write-only,erase-only" : "closed";
    ablate.scopes = "each,all";
    DS_TRY(ds_ablate_results(&options, &results, run, &ablate));
    put_list(b, "delta_loss", json_object_get(results, "cases"), "delta_loss");
done:
    json_decref(options);
    json_decref(results);
    return status;
}

static ds_status measure_gradients(ds_json_builder *b, ds_run *run) {
    static const char *const paths[] = {"shortcut_norm", "direction_norm", "gate_norm", "value_norm"};
    ds_status status = DS_OK;
    json_t *options = NULL, *results = NULL;
    DS_TRY(ds_gradflow_results(&options, &results, run, &ds_gradflow_defaults));
    put_list(b, "grad_norm", json_object_get(results, "states"), "grad_norm");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        put_list(b, paths[i], json_object_get(results, "sublayers"), paths[i]);
done:
    json_decref(options);
    json_decref(results);
    return status;
}

static ds_status describe(ds_json_builder *b, const ds_plan *plan, const ds_cell_result *run) {
    ds_json_begin_object(b, "of");
    ds_json_put_text(b, "weights_sha256", json_string_value(json_object_get(run->done, "weights_sha256")));
    ds_json_put_count(b, "sequences", plan->audit_sequences);
    ds_json_end(b);
    return b->status;
}

static ds_status measure(json_t **out, const ds_plan *plan, const ds_cell_result *cell, const ds_study_options *options) {
    ds_status status = DS_OK;
    ds_text path = {0}, inside = {0};
    ds_run run = {0};
    ds_json_builder b = {0};
    DS_TRY(ds_text_printf(&inside, "%s/checkpoint-%llu", cell->cell.folder, (unsigned long long)cell->updates));
    DS_TRY(ds_folder_show(&path, options->folder, inside.bytes));
    const ds_run_options how = {.checkpoint = path.bytes,
                                .tokens = plan->val,
                                .length = (size_t)plan->common.length,
                                .sequences = (size_t)plan->audit_sequences,
                                .precision = plan->precision,
                                .listener = options->listener};
    DS_TRY(ds_run_open(&run, &how));
    ds_json_begin_object(&b, NULL);
    DS_TRY(describe(&b, plan, cell));
    ds_json_begin_object(&b, "measures");
    DS_TRY(measure_gates(&b, &run));
    DS_TRY(measure_forces(&b, &run));
    DS_TRY(measure_gradients(&b, &run));
    ds_json_end(&b);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    ds_json_discard(&b);
    ds_run_close(&run);
    ds_text_release(&inside);
    ds_text_release(&path);
    return status;
}

/* ---- every run --------------------------------------------------------------------------------------------------- */

/* *measures <- what an earlier process measured of these weights on as many windows, a new reference; NULL: nothing. */
static ds_status find(json_t **measures, const ds_plan *plan, const ds_cell_result *run, const ds_folder *folder) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    json_t *ours = NULL, *theirs = NULL;
    *measures = NULL;
    DS_TRY(ds_cell_read_json(&theirs, folder, &run->cell, audit_file));
    if (theirs == NULL) goto done;
    ds_json_begin_object(&b, NULL);
    DS_TRY(describe(&b, plan, run));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&ours, &b));
    if (json_equal(json_object_get(ours, "of"), json_object_get(theirs, "of")))
        *measures = json_incref(json_object_get(theirs, "measures"));
done:
    ds_json_discard(&b);
    json_decref(ours);
    json_decref(theirs);
    return status;
}

static bool is_audited(const ds_cell_result *run) { return run->finished && !run->diverged && !run->cell.nudged; }

static ds_status audit_run(const ds_plan *plan, const ds_cell_result *run, const ds_study_options *options) {
    ds_status status = DS_OK;
    json_t *known = NULL, *measured = NULL;
    ds_text path = {0};
    DS_TRY(find(&known, plan, run, options->folder));
    if (known != NULL) goto done;
    DS_TRY(measure(&measured, plan, run, options));
    DS_TRY(ds_text_printf(&path, "%s/%s", run->cell.folder, audit_file));
    DS_TRY(ds_json_write_in(options->folder, path.bytes, measured, DS_JSON_READABLE));
done:
    ds_text_release(&path);
    json_decref(known);
    json_decref(measured);
    return status;
}

/* The runs to look at. */
typedef struct auditing {
    const ds_plan *plan;
    const ds_study_options *options;
    const ds_cell_result **runs;
} auditing;

static ds_status audit_number(void *context, size_t number, double *outcome) {
    const auditing *all = context;
    (void)outcome;
    return audit_run(all->plan, all->runs[number], all->options);
}

ds_status ds_study_audit(bool *stopped, const ds_plan *plan, const ds_study_options *options) {
    ds_status status = DS_OK;
    ds_study_results results = {.plan = NULL};
    auditing all = {.plan = plan, .options = options};
    ds_shared_runs runs = {.run = audit_number, .context = &all};
    *stopped = false;
    if (plan->audit_sequences == 0) return DS_OK;
    DS_TRY(ds_study_results_read(&results, plan, options->folder));
    DS_NEW(all.runs, results.count);
    for (size_t i = 0; i < results.count; i++)
        if (is_audited(&results.runs[i])) all.runs[runs.count++] = &results.runs[i];
    DS_TRY(ds_shared_runs_do(stopped, &runs, options));
done:
    free(all.runs);
    ds_study_results_release(&results);
    return status;
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

/* measures (runs): of every run, NULL where there is none. */
typedef struct audit {
    const ds_study_results *results;
    json_t **measures;
} audit;

/* The first run of a variant that was measured tells which measures it has; NULL: none was. */
static const json_t *names_of(const audit *all, size_t variant) {
    const size_t seeds = all->results->plan->seed_count;
    for (size_t s = 0; s < seeds; s++)
        if (all->measures[variant * seeds + s] != NULL) return all->measures[variant * seeds + s];
    return NULL;
}

static double value_of(const audit *all, size_t variant, size_t seed, const char *measure) {
    const json_t *value = json_object_get(all->measures[variant * all->results->plan->seed_count + seed], measure);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* x, y (seeds) <- one measure of two variants under the seeds at which both runs are finished; NaN where one diverged. Returns
 * how many. */
static size_t gather(double *x, double *y, const audit *all, size_t a, size_t b, const char *measure) {
    size_t n = 0;
    for (size_t s = 0; s < all->results->plan->seed_count; s++) {
        if (!ds_study_result_of(all->results, a, s)->finished || !ds_study_result_of(all->results, b, s)->finished) continue;
        x[n] = value_of(all, a, s, measure);
        y[n++] = value_of(all, b, s, measure);
    }
    return n;
}

static ds_status put_variant(ds_json_builder *b, const audit *all, size_t variant, double *x, double *y) {
    ds_status status = DS_OK;
    const char *name;
    json_t *unused;
    ds_seed_summary summary;
    ds_json_begin_object(b, all->results->plan->variants[variant].name);
    json_object_foreach((json_t *)(uintptr_t)names_of(all, variant), name, unused) {
        size_t n = gather(x, y, all, variant, variant, name);
        DS_TRY(ds_seed_summarise(&summary, x, n));
        ds_json_begin_object(b, name);
        ds_json_put_reals(b, "values", x, n);
        ds_json_put_seed_summary(b, "summary", &summary);
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

void ds_study_put_audit_contrast(ds_json_builder *b, const char *measure, const ds_contrast *judged) {
    ds_json_begin_object(b, measure);
    ds_json_put_count(b, "n", judged->n_a);
    ds_json_put_real(b, "mean", judged->t.mean);
    ds_study_put_interval(b, "interval", judged->t.low, judged->t.high);
    ds_json_put_real(b, "p", judged->t.p);
    ds_json_end(b);
}

/* Of the measures that both sides have; each stands alone, none is adjusted for their number. */
static ds_status put_contrast(ds_json_builder *b, const audit *all, const ds_study_contrast *contrast, double *x, double *y) {
    ds_status status = DS_OK;
    const ds_plan *plan = all->results->plan;
    const json_t *theirs = names_of(all, contrast->b);
    const char *name;
    json_t *unused;
    ds_contrast judged;
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "a", plan->variants[contrast->a].name);
    ds_json_put_text(b, "b", plan->variants[contrast->b].name);
    ds_json_begin_object(b, "measures");
    json_object_foreach((json_t *)(uintptr_t)names_of(all, contrast->a), name, unused) {
        if (json_object_get(theirs, name) == NULL) continue;
        size_t n = gather(x, y, all, contrast->a, contrast->b, name);
        DS_TRY(ds_contrast_paired(&judged, x, y, n, plan->margin, plan->order_seed));
        ds_study_put_audit_contrast(b, name, &judged);
    }
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

static ds_status put_all(ds_json_builder *b, const audit *all) {
    ds_status status = DS_OK;
    const ds_plan *plan = all->results->plan;
    double *x = NULL, *y = NULL;
    DS_NEW(x, plan->seed_count);
    DS_NEW(y, plan->seed_count);
    ds_json_begin_object(b, "audit");
    ds_json_put_count(b, "sequences", plan->audit_sequences);
    ds_json_begin_object(b, "variants");
    for (size_t v = 0; v < plan->variant_count; v++) DS_TRY(put_variant(b, all, v, x, y));
    ds_json_end(b);
    ds_json_begin_array(b, "contrasts");
    for (size_t i = 0; i < plan->contrast_count; i++)
        if (plan->contrasts[i].c == SIZE_MAX) DS_TRY(put_contrast(b, all, &plan->contrasts[i], x, y));
    ds_json_end(b);
    ds_json_end(b);
done:
    free(x);
    free(y);
    return status;
}

ds_status ds_study_put_audit(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    audit all = {.results = results};
    if (results->plan->audit_sequences == 0) {
        ds_json_put(b, "audit", json_null());
        return DS_OK;
    }
    DS_NEW(all.measures, results->count);
    for (size_t i = 0; i < results->count; i++) {
        if (is_audited(&results->runs[i])) DS_TRY(find(&all.measures[i], results->plan, &results->runs[i], results->folder));
    }
    DS_TRY(put_all(b, &all));
done:
    for (size_t i = 0; all.measures != NULL && i < results->count; i++) json_decref(all.measures[i]);
    free(all.measures);
    return status;
}
