/* What a plan will cost. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cell.h"
#include "plan.h"
#include "result.h"

/* Evaluations of a run, both ends among them. */
static double count_evaluations(const ds_plan *plan, const ds_recipe *recipe) {
    uint64_t every = ds_plan_evaluate_every(plan, recipe);
    return (double)((recipe->steps + every - 1) / every + 1);
}

/* Tokens that pass through the model forward when it is audited: once for its gates, once for each forced case, and as much as
 * three times for a gradient. The noise floor's is not. */
static double count_audited(const ds_plan *plan, const ds_cell *cell) {
    const ds_spec *spec = &plan->variants[cell->variant].spec;
    const double modes = ds_rule_has_gates(spec->rule) ? 3 : 1, cases = modes * (double)(ds_spec_sublayers(spec) + 1);
    return cell->nudged ? 0 : (double)(plan->audit_sequences * plan->common.length) * (1 + cases + 3);
}

static ds_status estimate_cell(ds_study_cost *cost, const ds_plan *plan, const ds_cell *cell, const ds_folder *folder,
                               double speed) {
    ds_status status = DS_OK;
    const ds_study_variant *variant = &plan->variants[cell->variant];
    const ds_recipe recipe = ds_cell_recipe(plan, cell);
    const ds_training_options once = {.save = 0};
    const double tokens =
        count_evaluations(plan, &recipe) * (double)recipe.val_windows * (double)recipe.length + count_audited(plan, cell);
    const double passes = tokens / ds_recipe_tokens(&recipe) / 3; /* forward ones, in updates: those are three passes */
    ds_cell_state state = DS_CELL_ABSENT;
    ds_training_cost one;
    bool diverged;
    if (folder != NULL) DS_TRY(ds_cell_look(&state, &diverged, plan, cell, folder));
    DS_TRY(ds_training_estimate(&one, &variant->spec, &recipe, plan->precision, &once));
    cost->memory = fmax(cost->memory, (double)one.memory_bytes);
    if (state == DS_CELL_FINISHED) goto done;
    cost->bytes += 4 * (double)one.checkpoint_bytes / 3; /* initial weights, and the last checkpoint with its moments */
    cost->left++;
    cost->operations += one.operations + tokens * ds_spec_forward_flops_per_token(&variant->spec, recipe.length);
    cost->seconds += speed * ((double)recipe.steps + passes);
    cost->longest = fmax(cost->longest, speed * ((double)recipe.steps + passes));
done:
    return status;
}

/* What the machine has. */
static void look_at_machine(ds_study_cost *cost, const ds_folder *folder) {
    struct statvfs disk;
    cost->total_memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    cost->free_bytes = HUGE_VAL;
    if (folder != NULL && statvfs(ds_folder_path(folder), &disk) == 0)
        cost->free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
}

/* A study's cost while it is added up. */
typedef struct adding {
    ds_study_cost *cost;
    const ds_plan *plan;
    const double *speeds; /* (variants of the plan); NULL: not known */
} adding;

static double speed_of(const adding *all, const char *variant) {
    for (size_t v = 0; all->speeds != NULL && v < all->plan->variant_count; v++) {
        if (strcmp(all->plan->variants[v].name, variant) == 0) return all->speeds[v];
    }
    return NAN;
}

/* The runs of the study's plan, or of one made from it. */
static ds_status add_plan(void *context, const ds_plan *plan, const ds_folder *folder) {
    ds_status status = DS_OK;
    adding *all = context;
    ds_cell *cells = NULL;
    size_t count;
    DS_TRY(ds_plan_cells(&cells, &count, plan));
    all->cost->runs += count;
    for (size_t i = 0; i < count; i++)
        DS_TRY(estimate_cell(all->cost, plan, &cells[i], folder, speed_of(all, plan->variants[cells[i].variant].name)));
done:
    free(cells);
    return status;
}

ds_status ds_study_estimate(ds_study_cost *cost, const ds_plan *plan, const ds_folder *folder, const double *speeds) {
    ds_status status = DS_OK;
    adding all = {cost, plan, speeds};
    *cost = (ds_study_cost){.runs = 0};
    look_at_machine(cost, folder);
    DS_TRY(add_plan(&all, plan, folder));
    DS_TRY(ds_study_each_rate(plan, folder, add_plan, &all));
    if (speeds == NULL) cost->longest = NAN;
done:
    return status;
}
