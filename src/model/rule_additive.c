/* The additive rule: X <- X + m h, the plain residual network. The arithmetic is in rule_additive.real.c. */
#include "rule_additive.h"

static const ds_intervention interventions[] = {
    {"closed", "the sublayer's output is left out", {DS_FORCE_CLOSED, 0}, DS_SCOPE_ANY, false, false},
};

static size_t planes(const ds_spec *spec) {
    (void)spec;
    return 1;
}

static double flops(const ds_spec *spec) {
    (void)spec;
    return 0;
}

static ds_status check_force(ds_force force, size_t sublayer) {
    char name[32];
    if (force.mode == DS_FORCE_NONE || force.mode == DS_FORCE_CLOSED) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "sublayer %s of an additive model has no gate: its contribution can be dropped, nothing else",
                   ds_sublayer_name(name, sublayer));
}

static bool is_identity(ds_force trained, ds_force force) {
    return trained.mode == DS_FORCE_CLOSED || force.mode == DS_FORCE_CLOSED;
}

static bool reads_in_place(const ds_spec *spec) {
    (void)spec;
    return true;
}

const ds_rule ds_rule_additive = {
    .name = "additive",
    .title = "additive",
    .limits = "an additive checkpoint has no gate: only mode closed exists",
    .interventions = interventions,
    .intervention_count = sizeof interventions / sizeof interventions[0],
    .planes = planes,
    .flops = flops,
    .check_force = check_force,
    .is_identity = is_identity,
    .reads_in_place = reads_in_place,
    .steps = {&ds_rule_additive_steps_f32, &ds_rule_additive_steps_f64},
};
