/* What a run will cost, from its specification and recipe. */
#include "trainer.h"

/* Checkpoints that a run writes, those before the first update included. */
static uint64_t count_saves(const ds_training_options *options, uint64_t steps) {
    uint64_t count = 0;
    if (!options->save_log2) return options->save == 0 ? 1 : (steps + options->save - 1) / options->save;
    for (uint64_t done = 0; done < steps && done <= 512; done = done == 0 ? 1 : 2 * done) count++;
    return count + (steps - 1) / 1000 + 1;
}

ds_status ds_training_estimate(ds_training_cost *cost, const ds_spec *spec, const ds_recipe *recipe, ds_precision precision,
                               const ds_training_options *options) {
    ds_status status = DS_OK;
    const ds_gradient_options gradient = {.parameters = true};
    size_t passes, validation;
    uint64_t reached;
    *cost = (ds_training_cost){.updates = recipe->steps};
    DS_TRY(ds_spec_parameter_count(&cost->parameters, spec));
    cost->tokens = recipe->steps * recipe->accumulation * recipe->batch * recipe->length;
    cost->operations = 3 * ds_spec_forward_flops_per_token(spec, recipe->length) * (double)cost->tokens;
    cost->checkpoints = count_saves(options, recipe->steps);
    if (options->keep > 0 && cost->checkpoints > options->keep + 1)
        cost->checkpoints = options->keep + 1; /* one being written */
    DS_TRY(ds_spec_reached_count(&reached, spec, recipe->length));
    cost->checkpoint_bytes = (cost->parameters + 2 * reached) * ds_precision_size(precision);
    cost->memory_bytes = (2 * (cost->parameters + reached) + (recipe->accumulation > 1 ? cost->parameters : 0)) *
                         ds_precision_size(precision);
    DS_TRY(ds_gradient_bytes(&passes, spec, precision, ds_windows_at_once(recipe), recipe->length, &gradient));
    DS_TRY(ds_workspace_bytes(&validation, spec, precision, recipe->val_windows, recipe->length));
    cost->activation_bytes = passes + validation;
done:
    return status;
}
