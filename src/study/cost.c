/* What a plan will cost. */
#include <stdlib.h>

#include "cell.h"

/* Evaluations of a run, both ends among them. */
static double count_evaluations(const ds_plan *plan, const ds_recipe *recipe) {
    uint64_t every = ds_plan_evaluate_every(plan, recipe);
    return (double)((recipe->steps + every - 1) / every + 1);
}

static ds_status estimate_cell(ds_study_cost *cost, const ds_plan *plan, const ds_cell *cell, const ds_folder *folder) {
    ds_status status = DS_OK;
    const ds_study_variant *variant = &plan->variants[cell->variant];
    const ds_recipe recipe = ds_cell_recipe(plan, cell);
    const ds_training_options once = {.save = 0};
    const double windows = (double)recipe.val_windows * (double)recipe.length;
    ds_cell_state state = DS_CELL_ABSENT;
    ds_training_cost one;
    bool diverged;
    if (folder != NULL) DS_TRY(ds_cell_look(&state, &diverged, plan, cell, folder));
    DS_TRY(ds_training_estimate(&one, &variant->spec, &recipe, plan->precision, &once));
    cost->bytes += 4 * (double)one.checkpoint_bytes / 3; /* initial weights, and the last checkpoint with its moments */
    if ((double)one.memory_bytes > cost->memory) cost->memory = (double)one.memory_bytes;
    if (state == DS_CELL_FINISHED) goto done;
    cost->left++;
    cost->operations += one.operations + count_evaluations(plan, &recipe) * windows *
                                             ds_spec_forward_flops_per_token(&variant->spec, recipe.length);
done:
    return status;
}

ds_status ds_study_estimate(ds_study_cost *cost, const ds_plan *plan, const ds_folder *folder) {
    ds_status status = DS_OK;
    ds_cell *cells = NULL;
    *cost = (ds_study_cost){.runs = 0};
    DS_TRY(ds_plan_cells(&cells, &cost->runs, plan));
    for (size_t i = 0; i < cost->runs; i++) DS_TRY(estimate_cell(cost, plan, &cells[i], folder));
done:
    free(cells);
    return status;
}
