/* What a study says of its contrasts: differences seed by seed, and what follows from them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/seed_contrasts.h"
#include "result.h"

/* One contrast's numbers over the seeds at which all its runs are finished. */
typedef struct sides {
    size_t *seeds; /* (n) */
    double *a, *b; /* (n): of a contrast of contrasts, differences; NaN where a run diverged */
    size_t n;
} sides;

static void release(sides *s) {
    free(s->seeds);
    free(s->a);
    free(s->b);
}

static double final_of(const ds_cell_result *run) { return run->diverged ? NAN : run->final; }

static bool is_interaction(const ds_study_contrast *contrast) { return contrast->c != SIZE_MAX; }

/* The runs behind a contrast under a seed: two, or four. */
static size_t runs_of(const ds_cell_result *runs[4], const ds_study_results *results, const ds_study_contrast *contrast,
                      size_t seed) {
    const size_t variants[] = {contrast->a, contrast->b, contrast->c, contrast->d};
    const size_t count = is_interaction(contrast) ? 4 : 2;
    for (size_t i = 0; i < count; i++) runs[i] = ds_study_result_of(results, variants[i], seed);
    return count;
}

static ds_status gather(sides *out, const ds_study_results *results, const ds_study_contrast *contrast) {
    ds_status status = DS_OK;
    const size_t count = results->plan->seed_count;
    *out = (sides){.n = 0};
    DS_NEW(out->seeds, count);
    DS_NEW(out->a, count);
    DS_NEW(out->b, count);
    for (size_t s = 0; s < count; s++) {
        const ds_cell_result *runs[4];
        bool finished = true;
        size_t used = runs_of(runs, results, contrast, s);
        for (size_t i = 0; i < used; i++) finished &= runs[i]->finished;
        if (!finished) continue;
        out->seeds[out->n] = s;
        out->a[out->n] = used == 4 ? final_of(runs[0]) - final_of(runs[1]) : final_of(runs[0]);
        out->b[out->n] = used == 4 ? final_of(runs[2]) - final_of(runs[3]) : final_of(runs[1]);
        out->n++;
    }
done:
    return status;
}

/* How far the finite number of validation windows leaves the mean difference uncertain. */
static ds_status window_error(double *error, const ds_study_results *results, const ds_study_contrast *contrast,
                              const sides *s) {
    ds_status status = DS_OK;
    const size_t windows = (size_t)results->plan->variants[contrast->a].recipe.val_windows;
    double *differences = NULL;
    size_t rows = 0;
    *error = NAN;
    DS_NEW(differences, s->n * windows);
    for (size_t i = 0; i < s->n; i++) {
        const ds_cell_result *runs[4];
        size_t used = runs_of(runs, results, contrast, s->seeds[i]);
        bool all = true;
        for (size_t k = 0; k < used; k++) all &= runs[k]->windows != NULL && !runs[k]->diverged;
        if (!all) continue;
        for (size_t w = 0; w < windows; w++) {
            double d = runs[0]->windows[w] - runs[1]->windows[w];
            differences[rows * windows + w] = used == 4 ? d - (runs[2]->windows[w] - runs[3]->windows[w]) : d;
        }
        rows++;
    }
    if (rows > 0) DS_TRY(ds_window_error(error, differences, rows, windows));
done:
    free(differences);
    return status;
}

/* ---- judged ------------------------------------------------------------------------------------------------------ */

ds_status ds_study_compare(ds_contrast *out, const double *a, const double *b, size_t n, const ds_study_judging *how) {
    const bool crossed = how->rows > 1 && how->columns > 1 && n == how->rows * how->columns;
    return crossed ? ds_contrast_crossed(out, a, b, how->rows, how->columns, how->margin, how->seed)
                   : ds_contrast_paired(out, a, b, n, how->margin, how->seed);
}

typedef struct side_name {
    char text[300];
} side_name;

/* "A", or of a contrast of contrasts "A - B". */
static side_name name_side(const ds_plan *plan, size_t first, size_t second) {
    side_name out;
    if (second == SIZE_MAX)
        (void)snprintf(out.text, sizeof out.text, "%s", plan->variants[first].name);
    else
        (void)snprintf(out.text, sizeof out.text, "%s - %s", plan->variants[first].name, plan->variants[second].name);
    return out;
}

static void put_names(ds_json_builder *b, const ds_plan *plan, const ds_study_contrast *contrast) {
    const bool two = is_interaction(contrast);
    side_name a = two ? name_side(plan, contrast->a, contrast->b) : name_side(plan, contrast->a, SIZE_MAX);
    side_name c = two ? name_side(plan, contrast->c, contrast->d) : name_side(plan, contrast->b, SIZE_MAX);
    char name[640];
    (void)snprintf(name, sizeof name, two ? "(%s) - (%s)" : "%s - %s", a.text, c.text);
    ds_json_put_text(b, "name", name);
    ds_json_put_text(b, "a", a.text);
    ds_json_put_text(b, "b", c.text);
}

static ds_status put_one(ds_json_builder *b, const ds_study_results *results, size_t index, const ds_contrast *judged,
                         const sides *s) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    double error;
    DS_TRY(window_error(&error, results, &plan->contrasts[index], s));
    ds_json_begin_object(b, NULL);
    put_names(b, plan, &plan->contrasts[index]);
    ds_json_put_bool(b, "primary", index == plan->primary);
    ds_json_put_text(b, "measure", "final");
    ds_json_put_text(b, "budget", ds_budget_names[plan->budget]);
    ds_json_begin_array(b, "seeds");
    for (size_t i = 0; i < s->n; i++) ds_study_put_seed(b, NULL, plan->seeds[s->seeds[i]]);
    ds_json_end(b);
    ds_json_begin_array(b, "differences");
    for (size_t i = 0; i < s->n; i++) ds_json_put_real(b, NULL, s->a[i] - s->b[i]);
    ds_json_end(b);
    ds_json_put_contrast(b, judged);
    ds_json_put_real(b, "window_se", error);
    ds_study_put_power(b, judged->sd, results->questions.effect);
    ds_json_end(b);
done:
    return status;
}

ds_status ds_study_put_contrasts(ds_json_builder *b, const ds_study_results *results) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    const ds_study_judging how = {plan->rows, plan->columns, plan->margin, plan->order_seed};
    sides *all = NULL;
    ds_contrast *judged = NULL;
    DS_NEW(all, plan->contrast_count);
    DS_NEW(judged, plan->contrast_count);
    for (size_t i = 0; i < plan->contrast_count; i++) {
        DS_TRY(gather(&all[i], results, &plan->contrasts[i]));
        DS_TRY(ds_study_compare(&judged[i], all[i].a, all[i].b, all[i].n, &how));
    }
    DS_TRY(ds_contrasts_judge(judged, plan->contrast_count, plan->primary));
    ds_json_begin_array(b, "contrasts");
    for (size_t i = 0; i < plan->contrast_count; i++) DS_TRY(put_one(b, results, i, &judged[i], &all[i]));
    ds_json_end(b);
done:
    for (size_t i = 0; all != NULL && i < plan->contrast_count; i++) release(&all[i]);
    free(all);
    free(judged);
    return status;
}
