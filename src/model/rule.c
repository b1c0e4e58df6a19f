/* The table of residual rules, and what model.h tells of one. */
#include "rule.h"

#include "depth_spec.h"
#include "streams_spec.h"

static const ds_rule *const rules[] = {&ds_rule_additive, &ds_rule_delta};
enum { ALONE = sizeof rules / sizeof rules[0] };

size_t ds_rule_count(void) { return ALONE + DS_DEPTH_RULES + DS_STREAM_RULES; }
const ds_rule *ds_rule_at(size_t index) {
    if (index < ALONE) return rules[index];
    index -= ALONE;
    return index < DS_DEPTH_RULES ? ds_depth_rule_at(index) : ds_stream_rule_at(index - DS_DEPTH_RULES);
}
const char *ds_rule_name(const ds_rule *rule) { return rule->name; }
const char *ds_rule_title(const ds_rule *rule) { return rule->title; }
const char *ds_rule_limits(const ds_rule *rule) { return rule->limits; }
ds_rule_kind ds_rule_kind_of(const ds_rule *rule) { return rule->kind; }
const char *ds_rule_kind_name(const ds_rule *rule) {
    static const char *const names[] = {
        [DS_KIND_ADDITIVE] = "additive", [DS_KIND_DELTA] = "delta", [DS_KIND_DEPTH] = "depth", [DS_KIND_STREAMS] = "streams"};
    return names[rule->kind];
}
bool ds_rule_has_gates(const ds_rule *rule) { return rule->has_gates; }
bool ds_rule_keeps_history(const ds_rule *rule) { return rule->keeps_history; }
bool ds_rule_has_operators(const ds_rule *rule) { return rule->has_operators; }

const ds_intervention *ds_rule_interventions(const ds_rule *rule, size_t *count) {
    *count = rule->intervention_count;
    return rule->interventions;
}

size_t ds_spec_planes(const ds_spec *spec) { return spec->rule->planes(spec); }
size_t ds_spec_forces(const ds_spec *spec) { return ds_spec_sublayers(spec) + (spec->rule->forces_readout ? 1 : 0); }
