/* The runs of a plan: which, where, and in what order. */
#include <stdlib.h>
#include <string.h>

#include "cell.h"

typedef struct listed {
    const char *name; /* of the variant */
    ds_cell cell;
} listed;

static int compare(uint64_t a, uint64_t b) { return (a > b) - (a < b); }

static int by_name_and_seed(const void *a, const void *b) {
    const listed *x = a, *y = b;
    int order = (int)x->cell.nudged - (int)y->cell.nudged;
    if (order == 0) order = strcmp(x->name, y->name);
    if (order == 0) order = compare(x->cell.seed.init, y->cell.seed.init);
    return order != 0 ? order : compare(x->cell.seed.data, y->cell.seed.data);
}

void ds_cell_place(ds_cell *cell, const char *variant) {
    int length = snprintf(cell->folder, sizeof cell->folder, "%s%.64s/seed-%llu", cell->nudged ? "noise-floor/" : "", variant,
                          (unsigned long long)cell->seed.init);
    if (cell->seed.data != cell->seed.init)
        (void)snprintf(cell->folder + length, sizeof cell->folder - (size_t)length, "-%llu",
                       (unsigned long long)cell->seed.data);
}

static listed make(const ds_plan *plan, size_t variant, ds_study_seed seed, bool nudged) {
    listed out = {plan->variants[variant].name, {.variant = variant, .seed = seed, .nudged = nudged}};
    ds_cell_place(&out.cell, out.name);
    return out;
}

/* Fisher and Yates. */
static void shuffle(listed *all, size_t count, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    for (size_t i = count; i > 1; i--) {
        size_t k = (size_t)ds_random_below(&random, i);
        listed other = all[k];
        all[k] = all[i - 1];
        all[i - 1] = other;
    }
}

ds_status ds_plan_cells(ds_cell **cells, size_t *count, const ds_plan *plan) {
    ds_status status = DS_OK;
    listed *all = NULL;
    *cells = NULL;
    *count = 0;
    DS_NEW(all, plan->variant_count * plan->seed_count + 1);
    DS_NEW(*cells, plan->variant_count * plan->seed_count + 1);
    for (size_t v = 0; v < plan->variant_count; v++) {
        for (size_t s = 0; s < plan->seed_count; s++) all[(*count)++] = make(plan, v, plan->seeds[s], false);
    }
    if (plan->has_noise_floor) all[(*count)++] = make(plan, plan->noise_variant, plan->noise_seed, true);
    qsort(all, *count, sizeof *all, by_name_and_seed);
    shuffle(all, *count, plan->order_seed);
    for (size_t i = 0; i < *count; i++) (*cells)[i] = all[i].cell;
done:
    free(all);
    return status;
}

ds_recipe ds_cell_recipe(const ds_plan *plan, const ds_cell *cell) {
    ds_recipe recipe = plan->variants[cell->variant].recipe;
    recipe.data_seed = cell->seed.data;
    return recipe;
}

/* At least `parts` of them, the last at the end of the run whether or not it is a multiple. */
static uint64_t divide(uint64_t steps, uint64_t parts) { return steps < parts ? 1 : steps / parts; }

uint64_t ds_plan_evaluate_every(const ds_plan *plan, const ds_recipe *recipe) {
    return divide(recipe->steps, plan->evaluations);
}

uint64_t ds_plan_save_every(const ds_plan *plan, const ds_recipe *recipe) { return divide(recipe->steps, plan->saves); }
