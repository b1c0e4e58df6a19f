/* What ends a run: so many updates that a budget of tokens, operations or seconds is met, with a schedule that ends there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "result.h"

const char *const ds_budget_names[] = {"tokens", "tokens", "flops", "seconds"};

double ds_recipe_tokens(const ds_recipe *recipe) { return (double)(recipe->accumulation * recipe->batch * recipe->length); }

/* The variant's run has so many updates as the budget pays for, `each` being what one costs. */
static ds_status fix_steps(ds_study_variant *variant, const ds_plan *plan, double each, const char *where) {
    const double steps = floor(plan->budget_amount / each), most = 0x1p53;
    const ds_recipe *recipe = &variant->recipe;
    const char *kind = ds_budget_names[plan->budget];
    if (!(steps >= 1) || steps > most || steps < (double)recipe->warmup_steps) {
        char amount[32], cost[32];
        return ds_fail(
            DS_ERR_INPUT,
            "%s: variant %s: a budget of %s %s is %.0f updates of %s each, and the warm-up alone has %llu: no schedule "
            "can meet it; give more, or a shorter warm-up",
            DS_SHOW(where), variant->name, ds_format_real(amount, plan->budget_amount), kind, steps, ds_format_real(cost, each),
            (unsigned long long)recipe->warmup_steps);
    }
    variant->recipe.steps = variant->recipe.decay_steps = (uint64_t)steps;
    return DS_OK;
}

ds_status ds_plan_fix_steps(ds_plan *plan, const double *each, const char *where) {
    ds_status status = DS_OK;
    for (size_t v = 0; v < plan->variant_count; v++) DS_TRY(fix_steps(&plan->variants[v], plan, each[v], where));
done:
    return status;
}

static ds_status fix_by_cost(ds_plan *plan, const char *where) {
    ds_status status = DS_OK;
    double *each = NULL;
    if (plan->budget != DS_BUDGET_TOKENS && plan->budget != DS_BUDGET_FLOPS) return DS_OK;
    DS_NEW(each, plan->variant_count);
    for (size_t v = 0; v < plan->variant_count; v++) {
        const ds_study_variant *variant = &plan->variants[v];
        each[v] = ds_recipe_tokens(&variant->recipe);
        if (plan->budget == DS_BUDGET_FLOPS) each[v] *= ds_study_flops_per_token(variant);
    }
    DS_TRY(ds_plan_fix_steps(plan, each, where));
done:
    free(each);
    return status;
}

ds_status ds_plan_read_budget(ds_plan *plan, const ds_plan_source *source) {
    static const char *const keys[] = {"tokens", "flops", "seconds"};
    ds_status status = DS_OK;
    const json_t *given = json_object_get(plan->given, "budget");
    plan->budget = DS_BUDGET_RECIPE;
    if (given == NULL) return DS_OK;
    if (json_object_size(given) != 1)
        return ds_plan_refuse(source, "budget", given, "one of {\"tokens\": N}, {\"flops\": N} and {\"seconds\": N}");
    DS_TRY(ds_plan_check_keys(source, given, keys, 3, "budget"));
    for (size_t i = 0; i < 3; i++) {
        const json_t *amount = json_object_get(given, keys[i]);
        if (amount == NULL) continue;
        plan->budget = (ds_budget)(DS_BUDGET_TOKENS + i);
        plan->budget_amount = json_number_value(amount);
        if (!json_is_number(amount) || !(plan->budget_amount > 0))
            DS_TRY(ds_plan_refuse(source, "budget", given, "a number above 0"));
    }
    DS_TRY(fix_by_cost(plan, source->path));
done:
    return status;
}
