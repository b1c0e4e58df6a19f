/* Learning rates: one grid for all variants, tried on seeds that the test does not use, then the test at each variant's best.
 *
 * What is trained at a rate is a plan of its own in a folder of its own, made from the study's: runs, resuming and reading are
 * those of any plan. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/seed_contrasts.h"
#include "plan.h"
#include "result.h"

/* Places on the grid: CENTRE is the plan's own rate, from one to the next is a factor of the root of 2. */
enum { CENTRE = 12, PLACES = 25, LEAST_POINTS = 5, MOST_POINTS = 15 };
static const double within = 0.01; /* nats */

typedef struct sweep {
    const ds_plan *plan;
    const ds_folder *folder;
    const ds_study_options *options; /* what is missing is run; NULL: it is missing */
    ds_study_progress *progress;     /* with options */
    size_t low, high;                /* places that were tried */
    bool complete, inside;           /* every run is finished; every variant's best has tried places on both sides */
    double *losses;                  /* (variants, seeds, PLACES): final; NaN of a run that diverged */
    double *initial;                 /* (variants, seeds) */
    size_t *best;                    /* (variants) places */
} sweep;

static double rate_at(const ds_plan *plan, size_t place) {
    const int steps = (int)place - CENTRE, whole = steps >= 0 ? steps / 2 : -((1 - steps) / 2);
    return plan->common.learning_rate * ldexp(steps - 2 * whole == 1 ? M_SQRT2 : 1, whole);
}

static double *loss_of(const sweep *s, size_t variant, size_t seed, size_t place) {
    return &s->losses[(variant * s->plan->sweep_seed_count + seed) * PLACES + place];
}

/* ---- as the plan has it ------------------------------------------------------------------------------------------ */

static ds_status check_seeds(const ds_plan *plan, const ds_plan_source *source) {
    for (size_t i = 0; i < plan->sweep_seed_count; i++) {
        const uint64_t seed = plan->sweep_seeds[i].init;
        for (size_t s = 0; s < plan->seed_count; s++) {
            if (plan->seeds[s].init != seed && plan->seeds[s].data != seed) continue;
            return ds_fail(
                DS_ERR_INPUT,
                "%s: sweep.seeds: seed %llu is one of the test's: tuned on it, a variant would be tested on what it was "
                "chosen by; take seeds that are not among \"seeds\"",
                DS_SHOW(source->path), (unsigned long long)seed);
        }
    }
    return DS_OK;
}

ds_status ds_plan_read_sweep(ds_plan *plan, const ds_plan_source *source) {
    static const char *const keys[] = {"seeds", "points"};
    ds_status status = DS_OK;
    const json_t *given = json_object_get(plan->given, "sweep"), *points = json_object_get(given, "points");
    plan->sweep_points = LEAST_POINTS;
    if (given == NULL || json_is_false(given)) return DS_OK;
    if (!json_is_object(given)) return ds_plan_refuse(source, "sweep", given, "{\"seeds\": [...], \"points\": 5}");
    DS_TRY(ds_plan_check_keys(source, given, keys, 2, "sweep"));
    DS_TRY(ds_plan_read_seed_list(&plan->sweep_seeds, &plan->sweep_seed_count, source, "sweep.seeds",
                                  json_object_get(given, "seeds")));
    if (plan->sweep_seed_count < 2)
        DS_TRY(ds_plan_refuse(source, "sweep.seeds", json_object_get(given, "seeds"), "at least 2 seeds, for bands"));
    DS_TRY(check_seeds(plan, source));
    if (points != NULL) plan->sweep_points = (uint64_t)json_integer_value(points);
    if (points != NULL &&
        (!json_is_integer(points) || json_integer_value(points) < LEAST_POINTS || json_integer_value(points) > MOST_POINTS))
        DS_TRY(ds_plan_refuse(source, "sweep.points", points, "a whole number from 5 to 15"));
    if (!(plan->common.learning_rate > 0))
        DS_TRY(ds_plan_refuse(source, "sweep", given, "a recipe with a learning rate above 0 to start from"));
done:
    return status;
}

/* ---- plans made from the plan ------------------------------------------------------------------------------------ */

/* The plan without noise floor and audit, its variants in an array of their own, which is all that is freed of it. */
static ds_status derive(ds_plan *out, const ds_plan *plan) {
    ds_status status = DS_OK;
    *out = *plan;
    out->has_noise_floor = false;
    out->audit_sequences = 0;
    out->sweep_seed_count = 0;
    DS_NEW(out->variants, plan->variant_count);
    memcpy(out->variants, plan->variants, plan->variant_count * sizeof *plan->variants);
done:
    return status;
}

static void set_rate(ds_study_variant *variant, double rate) {
    variant->recipe.min_learning_rate *= rate / variant->recipe.learning_rate;
    variant->recipe.learning_rate = rate;
}

static ds_status plan_at(ds_plan *out, const ds_plan *plan, size_t place) {
    ds_status status = DS_OK;
    DS_TRY(derive(out, plan));
    out->seeds = plan->sweep_seeds;
    out->seed_count = plan->sweep_seed_count;
    out->rows = out->columns = 0;
    for (size_t v = 0; v < out->variant_count; v++) set_rate(&out->variants[v], rate_at(plan, place));
done:
    return status;
}

/* The variants whose best rate is not the one they were tested at already. */
static ds_status plan_of_moved(ds_plan *out, const ds_plan *tuned, const ds_plan *plan) {
    ds_status status = DS_OK;
    DS_TRY(derive(out, tuned));
    out->variant_count = 0;
    for (size_t v = 0; v < plan->variant_count; v++) {
        const double rate = tuned->variants[v].recipe.learning_rate;
        if (rate < plan->variants[v].recipe.learning_rate || rate > plan->variants[v].recipe.learning_rate)
            out->variants[out->variant_count++] = tuned->variants[v];
    }
done:
    return status;
}

typedef struct folder_name {
    char text[64];
} folder_name;

static folder_name folder_at(const ds_plan *plan, size_t place) {
    char rate[32];
    folder_name out;
    (void)snprintf(out.text, sizeof out.text, "sweep/learning_rate-%s", ds_format_real(rate, rate_at(plan, place)));
    return out;
}
static const char tuned_folder[] = "tuned";

/* Runs a derived plan in its folder, and adds what it did. */
static ds_status run_plan(ds_study_progress *progress, const ds_plan *plan, const ds_study_options *options, const char *name) {
    ds_status status = DS_OK;
    ds_folder *folder = NULL;
    ds_study_options inside = *options;
    ds_study_progress done = {.stopped = false};
    if (progress->stopped || plan->variant_count == 0) return DS_OK;
    DS_TRY(ds_folder_open_in(&folder, options->folder, name));
    inside.folder = folder;
    inside.label = name;
    DS_TRY(ds_study_run(&done, plan, &inside));
    progress->cells += done.cells;
    progress->finished += done.finished;
    progress->diverged += done.diverged;
    progress->stopped = done.stopped;
done:
    ds_folder_close(&folder);
    return status;
}

/* *found: there is such a folder. */
static ds_status read_plan(ds_study_results *out, bool *found, const ds_plan *plan, const ds_folder *study, const char *name) {
    ds_status status = DS_OK;
    ds_folder *folder = NULL;
    *out = (ds_study_results){.plan = NULL};
    *found = ds_folder_holds(study, name);
    if (!*found || plan->variant_count == 0) return DS_OK;
    DS_TRY(ds_folder_open_in(&folder, study, name));
    DS_TRY(ds_study_results_read(out, plan, folder));
    out->folder = NULL;
done:
    ds_folder_close(&folder);
    return status;
}

/* ---- the grid ---------------------------------------------------------------------------------------------------- */

static void take_losses(sweep *s, size_t place, const ds_study_results *results) {
    for (size_t v = 0; v < s->plan->variant_count; v++) {
        for (size_t k = 0; k < s->plan->sweep_seed_count; k++) {
            const ds_cell_result *run = ds_study_result_of(results, v, k);
            *loss_of(s, v, k, place) = run->finished && !run->diverged ? run->final : NAN;
            s->complete = s->complete && run->finished;
            if (run->finished) s->initial[v * s->plan->sweep_seed_count + k] = run->initial;
        }
    }
}

static ds_status take_place(sweep *s, size_t place) {
    ds_status status = DS_OK;
    ds_plan at = {.variants = NULL};
    ds_study_results results = {.plan = NULL};
    bool found;
    DS_TRY(plan_at(&at, s->plan, place));
    if (s->options != NULL) DS_TRY(run_plan(s->progress, &at, s->options, folder_at(s->plan, place).text));
    DS_TRY(read_plan(&results, &found, &at, s->folder, folder_at(s->plan, place).text));
    if (found) take_losses(s, place, &results);
    s->complete = s->complete && found;
done:
    ds_study_results_release(&results);
    free(at.variants);
    return status;
}

/* The mean over seeds of a loss, that of a run that diverged or rose being the loss it began with. */
static double capped_mean(const sweep *s, size_t variant, size_t place) {
    const size_t seeds = s->plan->sweep_seed_count;
    ds_sum sum = {0};
    for (size_t k = 0; k < seeds; k++) {
        const double initial = s->initial[variant * seeds + k], loss = *loss_of(s, variant, k, place);
        ds_sum_add(&sum, loss < initial ? loss : initial);
    }
    return ds_sum_value(&sum) / (double)seeds;
}

static void choose_best(sweep *s) {
    for (size_t v = 0; v < s->plan->variant_count; v++) {
        s->best[v] = s->low;
        for (size_t place = s->low; place <= s->high; place++) {
            if (capped_mean(s, v, place) < capped_mean(s, v, s->best[v])) s->best[v] = place;
        }
    }
}

/* Wider by one place on a side at which some variant is best, for all of them, until none is or the grid ends. */
static ds_status widen(sweep *s) {
    ds_status status = DS_OK;
    while (s->complete && !s->inside) {
        bool down = false, up = false;
        choose_best(s);
        for (size_t v = 0; v < s->plan->variant_count; v++) {
            down |= s->best[v] == s->low;
            up |= s->best[v] == s->high;
        }
        s->inside = !down && !up;
        if (s->inside || (down && s->low == 0) || (up && s->high == PLACES - 1)) break;
        if (down) DS_TRY(take_place(s, --s->low));
        if (up) DS_TRY(take_place(s, ++s->high));
    }
done:
    return status;
}

static void sweep_release(sweep *s) {
    free(s->losses);
    free(s->initial);
    free(s->best);
}

static ds_status sweep_walk(sweep *s) {
    ds_status status = DS_OK;
    const size_t runs = s->plan->variant_count * s->plan->sweep_seed_count;
    s->complete = true;
    s->low = CENTRE - (size_t)s->plan->sweep_points / 2;
    s->high = s->low + (size_t)s->plan->sweep_points - 1;
    DS_NEW(s->losses, runs * PLACES);
    DS_NEW(s->initial, runs);
    DS_NEW(s->best, s->plan->variant_count);
    for (size_t place = s->low; place <= s->high; place++) DS_TRY(take_place(s, place));
    DS_TRY(widen(s));
done:
    return status;
}

/* *out <- the plan with every variant at its best rate. */
static ds_status plan_tuned(ds_plan *out, const sweep *s) {
    ds_status status = DS_OK;
    DS_TRY(derive(out, s->plan));
    for (size_t v = 0; v < out->variant_count; v++) set_rate(&out->variants[v], rate_at(s->plan, s->best[v]));
done:
    return status;
}

ds_status ds_study_tune(ds_study_progress *progress, const ds_plan *plan, const ds_study_options *options) {
    ds_status status = DS_OK;
    sweep s = {.plan = plan, .folder = options->folder, .options = options, .progress = progress};
    ds_plan tuned = {.variants = NULL}, moved = {.variants = NULL};
    if (plan->sweep_seed_count == 0) return DS_OK;
    DS_TRY(sweep_walk(&s));
    if (progress->stopped) goto done;
    DS_TRY(plan_tuned(&tuned, &s));
    DS_TRY(plan_of_moved(&moved, &tuned, plan));
    DS_TRY(run_plan(progress, &moved, options, tuned_folder));
done:
    free(tuned.variants);
    free(moved.variants);
    sweep_release(&s);
    return status;
}

/* ---- what it will cost ------------------------------------------------------------------------------------------- */

ds_status ds_study_each_rate(const ds_plan *plan, const ds_folder *folder, ds_study_visit visit, void *context) {
    ds_status status = DS_OK;
    sweep s = {.plan = plan, .folder = folder};
    ds_plan at = {.variants = NULL}, tuned = {.variants = NULL};
    ds_folder *inside = NULL;
    if (plan->sweep_seed_count == 0) return DS_OK;
    if (folder != NULL) DS_TRY(sweep_walk(&s));
    const size_t low = s.high != 0 ? s.low : CENTRE - (size_t)plan->sweep_points / 2;
    const size_t high = s.high != 0 ? s.high : low + (size_t)plan->sweep_points - 1;
    for (size_t place = low; place <= high; place++) {
        DS_TRY(plan_at(&at, plan, place));
        if (folder != NULL && ds_folder_holds(folder, folder_at(plan, place).text))
            DS_TRY(ds_folder_open_in(&inside, folder, folder_at(plan, place).text));
        DS_TRY(visit(context, &at, inside));
        ds_folder_close(&inside);
        free(at.variants);
        at.variants = NULL;
    }
    if (s.complete && folder != NULL) {
        DS_TRY(plan_tuned(&tuned, &s));
        DS_TRY(plan_of_moved(&at, &tuned, plan));
        if (ds_folder_holds(folder, tuned_folder)) DS_TRY(ds_folder_open_in(&inside, folder, tuned_folder));
    } else {
        DS_TRY(derive(&at, plan)); /* every variant may turn out to be better elsewhere */
    }
    DS_TRY(visit(context, &at, inside));
done:
    ds_folder_close(&inside);
    free(at.variants);
    free(tuned.variants);
    sweep_release(&s);
    return status;
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

void ds_study_put_sweep(ds_json_builder *b, const ds_sweep_losses *of) {
    double best = NAN, low = NAN, high = NAN, sensitivity = NAN, rate = NAN;
    double *means = of->scratch;
    ds_sum sum = {0};
    for (size_t g = 0; g < of->points; g++) {
        ds_sum at = {0};
        for (size_t k = 0; k < of->seeds; k++) {
            const double loss = of->losses[k * of->stride + g];
            ds_sum_add(&at, loss < of->initial[k] ? loss : of->initial[k]);
        }
        means[g] = ds_sum_value(&at) / (double)of->seeds;
        if (means[g] >= best) continue;
        best = means[g];
        rate = of->grid[g];
    }
    for (size_t g = 0; g < of->points; g++) {
        ds_sum_add(&sum, means[g] - best);
        if (!(means[g] <= best + within)) continue;
        low = fmin(low, of->grid[g]);
        high = fmax(high, of->grid[g]);
    }
    if (of->points > 0) sensitivity = ds_sum_value(&sum) / (double)of->points;
    ds_json_put_real(b, "best", of->complete ? rate : NAN);
    ds_study_put_interval(b, "within_0_01", of->complete ? low : NAN, high);
    ds_json_put_real(b, "sensitivity", of->complete ? sensitivity : NAN);
}

static ds_status put_variant(ds_json_builder *b, const sweep *s, size_t v) {
    ds_status status = DS_OK;
    const ds_plan *plan = s->plan;
    const size_t seeds = plan->sweep_seed_count;
    double grid[PLACES], scratch[PLACES];
    const ds_sweep_losses of = {.grid = grid,
                                .losses = loss_of(s, v, 0, s->low),
                                .initial = &s->initial[v * seeds],
                                .points = s->high - s->low + 1,
                                .seeds = seeds,
                                .stride = PLACES,
                                .complete = s->complete,
                                .scratch = scratch};
    for (size_t g = 0; g < of.points; g++) grid[g] = rate_at(plan, s->low + g);
    ds_json_begin_object(b, plan->variants[v].name);
    ds_json_put_text(b, "key", "learning_rate");
    ds_json_put_reals(b, "grid", grid, of.points);
    ds_json_begin_array(b, "seeds");
    for (size_t k = 0; k < seeds; k++) ds_json_put_count(b, NULL, plan->sweep_seeds[k].init);
    ds_json_end(b);
    ds_json_begin_array(b, "loss");
    for (size_t k = 0; k < seeds; k++) ds_json_put_reals(b, NULL, &of.losses[k * PLACES], of.points);
    ds_json_end(b);
    ds_json_put_reals(b, "initial", of.initial, seeds);
    ds_study_put_sweep(b, &of);
    ds_json_put_bool(b, "inside", s->complete && s->inside);
    ds_json_end(b);
    return status;
}

/* Of a variant that stays where it was, the study's own runs. */
static ds_status put_tuned_variant(ds_json_builder *b, const ds_study_results *results, size_t v) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    double *finals = NULL;
    ds_seed_summary summary;
    size_t n = 0;
    DS_NEW(finals, plan->seed_count);
    ds_json_begin_object(b, plan->variants[v].name);
    ds_json_put_real(b, "learning_rate", plan->variants[v].recipe.learning_rate);
    ds_json_begin_array(b, "runs");
    for (size_t s = 0; s < plan->seed_count; s++) {
        const ds_cell_result *run = ds_study_result_of(results, v, s);
        ds_json_begin_object(b, NULL);
        ds_study_put_seed(b, "seed", plan->seeds[s]);
        ds_json_put_text(b, "status", !run->finished ? "stopped" : run->diverged ? "diverged" : "done");
        ds_json_put_real(b, "final", run->finished ? run->final : NAN);
        ds_json_end(b);
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

/* The test at every variant's best: runs of those that moved, and the study's own of the others. */
static ds_status put_tuned(ds_json_builder *b, const sweep *s, const ds_study_results *results) {
    ds_status status = DS_OK;
    ds_plan tuned = {.variants = NULL}, moved = {.variants = NULL};
    ds_study_results there = {.plan = NULL}, all = *results;
    bool found;
    const size_t seeds = s->plan->seed_count;
    all.runs = NULL;
    DS_TRY(plan_tuned(&tuned, s));
    DS_TRY(plan_of_moved(&moved, &tuned, s->plan));
    DS_TRY(read_plan(&there, &found, &moved, s->folder, tuned_folder));
    DS_NEW(all.runs, s->plan->variant_count * seeds);
    for (size_t v = 0, m = 0; v < s->plan->variant_count; v++) {
        const bool stays = m == moved.variant_count || moved.variants[m].name != tuned.variants[v].name;
        for (size_t k = 0; k < seeds; k++) {
            if (stays)
                all.runs[v * seeds + k] = *ds_study_result_of(results, v, k);
            else if (found)
                all.runs[v * seeds + k] = *ds_study_result_of(&there, m, k);
        }
        m += !stays;
    }
    all.plan = &tuned;
    ds_json_begin_object(b, "tuned");
    ds_json_begin_object(b, "variants");
    for (size_t v = 0; v < tuned.variant_count; v++) DS_TRY(put_tuned_variant(b, &all, v));
    ds_json_end(b);
    DS_TRY(ds_study_put_contrasts(b, &all));
    ds_json_end(b);
done:
    free(all.runs);
    free(tuned.variants);
    free(moved.variants);
    ds_study_results_release(&there);
    return status;
}

ds_status ds_study_put_sweeps(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    sweep s = {.plan = plan, .folder = results->folder};
    if (plan->sweep_seed_count == 0) return DS_OK;
    DS_TRY(sweep_walk(&s));
    ds_json_begin_object(b, "sweeps");
    for (size_t v = 0; v < plan->variant_count; v++) DS_TRY(put_variant(b, &s, v));
    ds_json_end(b);
    if (s.complete) DS_TRY(put_tuned(b, &s, results));
done:
    sweep_release(&s);
    return status;
}
