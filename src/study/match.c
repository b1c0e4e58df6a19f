/* Equal numbers of parameters: the MLPs of larger variants are made narrower until all totals are near that of the smallest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

const double ds_match_within = 0.005; /* of the smallest total: how far two of them may be apart */

static ds_status count(double *total, const ds_spec *spec, size_t width) {
    ds_spec other = *spec;
    uint64_t parameters;
    other.mlp_hidden = width;
    ds_status status = ds_spec_parameter_count(&parameters, &other);
    *total = (double)parameters;
    return status;
}

/* *width <- that of the MLP whose total is nearest to `wanted`, which is at most that of the given width: the total is linear
 * in the width. */
static ds_status find_width(size_t *width, const ds_spec *spec, double wanted) {
    ds_status status = DS_OK;
    double total, wider;
    DS_TRY(count(&total, spec, spec->mlp_hidden));
    DS_TRY(count(&wider, spec, spec->mlp_hidden + 1));
    const double narrower = (double)spec->mlp_hidden - round((total - wanted) / (wider - total));
    *width = narrower >= 1 ? (size_t)narrower : 1;
done:
    return status;
}

/* The variant's configuration <- with an MLP of that width, under the key by which its family is told of it. */
static ds_status set_width(ds_study_variant *variant, const ds_plan *plan, size_t width, const char *where) {
    static const char *const keys[] = {"intermediate_size", "n_inner"};
    ds_status status = DS_OK;
    bool taken = false;
    json_t *config = NULL;
    ds_spec spec;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !taken; i++) {
        json_decref(config);
        config = ds_json_copy(variant->config);
        if (config == NULL || json_object_set_new(config, keys[i], json_integer((json_int_t)width)) != 0)
            DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for a configuration"));
        DS_TRY(ds_spec_from_config(&spec, config, where, variant->kind, plan->which == DS_INIT_NEWER));
        taken = spec.mlp_hidden == width;
    }
    if (!taken)
        DS_TRY(ds_fail(DS_ERR_INPUT,
                       "%s: \"match\" would make its MLP narrower, and no key of its configuration says how wide "
                       "it is; leave the variant or \"match\" out",
                       where));
    if (variant->config_is_own) json_decref(variant->config);
    variant->config = json_incref(config);
    variant->config_is_own = true;
    variant->spec.mlp_hidden = width;
done:
    json_decref(config);
    return status;
}

static ds_status match_all(ds_plan *plan, const ds_plan_source *source, double *totals) {
    ds_status status = DS_OK;
    double least = HUGE_VAL, low = HUGE_VAL, high = 0;
    for (size_t v = 0; v < plan->variant_count; v++) {
        DS_TRY(count(&totals[v], &plan->variants[v].spec, plan->variants[v].spec.mlp_hidden));
        least = fmin(least, totals[v]);
    }
    for (size_t v = 0; v < plan->variant_count; v++) {
        ds_study_variant *variant = &plan->variants[v];
        char where[2 * DS_NAME_CAPACITY];
        size_t width;
        (void)snprintf(where, sizeof where, "%s: variant %s", DS_SHOW(source->path), variant->name);
        DS_TRY(find_width(&width, &variant->spec, least));
        if (width != variant->spec.mlp_hidden) DS_TRY(set_width(variant, plan, width, where));
        DS_TRY(count(&totals[v], &variant->spec, width));
        low = fmin(low, totals[v]);
        high = fmax(high, totals[v]);
    }
    if (high - low > ds_match_within * low)
        status = ds_fail(DS_ERR_INPUT,
                         "%s: match: totals of parameters lie from %.0f to %.0f whatever the widths of MLPs, expected within "
                         "%g%% of each other; give the variants more equal configurations, or leave \"match\" out",
                         DS_SHOW(source->path), low, high, 100 * ds_match_within);
done:
    return status;
}

ds_status ds_plan_read_match(ds_plan *plan, const ds_plan_source *source) {
    ds_status status = DS_OK;
    const json_t *given = json_object_get(plan->given, "match");
    double *totals = NULL;
    for (size_t v = 0; v < plan->variant_count; v++) plan->variants[v].given_width = plan->variants[v].spec.mlp_hidden;
    if (given == NULL || json_is_false(given)) return DS_OK;
    if (!json_is_string(given) || strcmp(json_string_value(given), "parameters") != 0)
        return ds_plan_refuse(source, "match", given, "\"parameters\", or false for configurations as they are");
    plan->matched = true;
    DS_NEW(totals, plan->variant_count);
    DS_TRY(match_all(plan, source, totals));
done:
    free(totals);
    return status;
}
