/* The delta rule: X <- X + m beta k (v^T - k^T X) (MODEL.md "Delta update"); what is known of it without arithmetic. */
#include <math.h>

#include "rule_delta.h"

static const ds_intervention interventions[] = {
    {"closed", "beta = 0: the state stays as it is", {DS_FORCE_CLOSED, 0}, false},
    {"open", "beta = 1", {DS_FORCE_GATE, 1}, false},
    {"reflect", "beta = 2", {DS_FORCE_GATE, 2}, false},
    {"mean-gate", "beta = that sublayer's mean over the data", {DS_FORCE_GATE, 1}, true},
    {"write-only", "the edit without the erase", {DS_FORCE_WRITE_ONLY, 0}, false},
    {"erase-only", "the edit without the write", {DS_FORCE_ERASE_ONLY, 0}, false},
};

ds_delta_form ds_delta_form_of(ds_force force) {
    bool fixed = force.mode == DS_FORCE_GATE || force.mode == DS_FORCE_CLOSED;
    return (ds_delta_form){.learned = !fixed,
                           .beta = force.mode == DS_FORCE_GATE ? force.value : 0,
                           .write = force.mode != DS_FORCE_ERASE_ONLY,
                           .erase = force.mode != DS_FORCE_WRITE_ONLY};
}

static size_t planes(const ds_spec *spec) { return spec->value_channels; }

static double flops(const ds_spec *spec) {
    double d = (double)spec->hidden, dv = (double)spec->value_channels, hidden = (double)spec->gate_hidden;
    double gate = spec->gate_two_layer ? hidden * d + hidden : d;
    double value = spec->value_constant ? 0.0 : dv * d;
    return 2.0 * (gate + value + 2.0 * dv * d); /* k^T X and k (v^T - k^T X) */
}

static ds_status check_force(ds_force force, size_t sublayer) {
    char name[32];
    if (force.mode == DS_FORCE_GATE && !isfinite(force.value))
        return ds_fail(DS_ERR_USAGE, "the gate of sublayer %s cannot be fixed at %g", ds_sublayer_name(name, sublayer),
                       force.value);
    return DS_OK;
}

static bool is_identity(ds_force force) {
    ds_delta_form form = ds_delta_form_of(force);
    return !form.learned && form.beta == 0;
}

const ds_rule ds_rule_delta = {
    .name = "ddl",
    .title = "delta rule",
    .has_gates = true,
    .has_operators = true,
    .interventions = interventions,
    .intervention_count = sizeof interventions / sizeof interventions[0],
    .planes = planes,
    .flops = flops,
    .check_force = check_force,
    .is_identity = is_identity,
};
