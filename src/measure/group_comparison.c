#include "deltascope/measure/group_comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/published_losses.h"
#include "deltascope/measure/seed_contrasts.h"
#include "result_json.h"

/* ---- what may be one group --------------------------------------------------------------------------------------- */

static bool same_structure(const ds_spec *a, const ds_spec *b) {
    char of_a[48], of_b[48];
    return a->layers == b->layers && a->hidden == b->hidden && a->value_channels == b->value_channels &&
           strcmp(ds_spec_variant(a), ds_spec_variant(b)) == 0 &&
           strcmp(ds_spec_rule_name(of_a, a), ds_spec_rule_name(of_b, b)) == 0;
}

/* "ddl-scalar (write-only), 4 layers, state 128 x 1" */
static ds_status describe(ds_text *text, const ds_spec *spec) {
    char rule[48];
    return ds_text_printf(text, "%s (%s), %zu layers, state %zu x %zu", ds_spec_variant(spec), ds_spec_rule_name(rule, spec),
                          spec->layers, spec->hidden, spec->value_channels);
}

static ds_status refuse_mixture(const ds_checkpoint_group *group, const ds_compared *a, const ds_compared *b) {
    ds_status status = DS_OK;
    ds_text of_a = {0}, of_b = {0};
    DS_TRY(describe(&of_a, &a->spec));
    DS_TRY(describe(&of_b, &b->spec));
    status = ds_fail(DS_ERR_INPUT, "group \"%s\": %s is %s, but %s is %s: a group is one variant; put them in two groups",
                     DS_SHOW(group->name), DS_SHOW(a->path), of_a.bytes, DS_SHOW(b->path), of_b.bytes);
done:
    ds_text_release(&of_a);
    ds_text_release(&of_b);
    return status;
}

static ds_status check_structures(const ds_comparison *comparison, const ds_checkpoint_groups *groups) {
    for (size_t g = 0; g < groups->count; g++) {
        const ds_compared *members = comparison->entries + groups->groups[g].first;
        for (size_t i = 1; i < groups->groups[g].count; i++) {
            if (!same_structure(&members[0].spec, &members[i].spec))
                return refuse_mixture(&groups->groups[g], &members[0], &members[i]);
        }
    }
    return DS_OK;
}

static ds_status check_weights(const ds_comparison *comparison, size_t index) {
    const ds_compared *entry = &comparison->entries[index];
    for (const ds_compared *other = entry + 1; other < comparison->entries + comparison->count; other++) {
        if (strcmp(entry->sha256, other->sha256) == 0)
            return ds_fail(DS_ERR_INPUT,
                           "%s: the same bytes as %s (SHA-256 %.12s...), and one training is one seed of one group: leave out "
                           "one, or name the checkpoint that was meant",
                           DS_SHOW(entry->path), DS_SHOW(other->path), entry->sha256);
    }
    return DS_OK;
}

static ds_status accept(const void *context, const ds_comparison *comparison, size_t index) {
    return index == comparison->count ? check_structures(comparison, context) : check_weights(comparison, index);
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

/* A number of a checkpoint; `index`: of a sublayer, where it is one. */
typedef double (*ds_member_number)(const ds_compared *entry, size_t index, size_t windows);

static double loss_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)index;
    return ds_mean(entry->loss, windows);
}
static double beta_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)index, (void)windows;
    return ds_overall_gates_of(&entry->census).beta;
}
static double edit_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)index, (void)windows;
    return ds_overall_gates_of(&entry->census).edit;
}
static double share_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)windows;
    return ds_overall_gates_of(&entry->census).shares[index];
}
static double sublayer_beta_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)windows;
    return index < entry->census.sublayers ? ds_summary_statistics(&entry->census.usage[index].beta).mean : NAN;
}
static double before_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)windows;
    return index < entry->census.sublayers ? ds_gate_discrepancy(&entry->census, index, false) : NAN;
}
static double after_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)windows;
    return index < entry->census.sublayers ? ds_gate_discrepancy(&entry->census, index, true) : NAN;
}
/* `index`: of a sublayer and a regime, sublayer-major. */
static double sublayer_share_of(const ds_compared *entry, size_t index, size_t windows) {
    const size_t sublayer = index / DS_REGIME_COUNT;
    (void)windows;
    return sublayer < entry->census.sublayers ? ds_gate_share(&entry->census.usage[sublayer], index % DS_REGIME_COUNT) : NAN;
}
static double gradient_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)windows;
    return index <= entry->sublayers && entry->state_gradient != NULL ? entry->state_gradient[index] : NAN;
}
static double cost_of(const ds_compared *entry, size_t index, size_t windows) {
    (void)windows;
    return index < entry->cases.count ? entry->cost[index].mean : NAN;
}

typedef struct grouping {
    const ds_comparison *comparison;
    const ds_checkpoint_groups *groups;
    double *values; /* (all checkpoints): room for one number of each */
} grouping;

static ds_status put_summary(ds_json_builder *b, const char *key, const grouping *all, const ds_checkpoint_group *group,
                             ds_member_number number, size_t index) {
    ds_status status = DS_OK;
    ds_seed_summary summary;
    for (size_t i = 0; i < group->count; i++)
        all->values[i] = number(&all->comparison->entries[group->first + i], index, all->comparison->windows);
    DS_TRY(ds_seed_summarise(&summary, all->values, group->count));
    ds_json_put_seed_summary(b, key, &summary);
done:
    return status;
}

/* `first`: the index of the first regime's share. */
static ds_status put_regimes(ds_json_builder *b, const grouping *all, const ds_checkpoint_group *group, ds_member_number share,
                             size_t first) {
    ds_status status = DS_OK;
    ds_json_begin_array(b, "regimes");
    for (size_t r = 0; r < DS_REGIME_COUNT; r++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", ds_regime_name((ds_regime)r));
        DS_TRY(put_summary(b, "share", all, group, share, first + r));
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

static ds_status put_gates(ds_json_builder *b, const grouping *all, const ds_checkpoint_group *group) {
    ds_status status = DS_OK;
    ds_json_begin_object(b, "gates");
    DS_TRY(put_summary(b, "beta_mean", all, group, beta_of, 0));
    DS_TRY(put_summary(b, "relative_edit", all, group, edit_of, 0));
    DS_TRY(put_regimes(b, all, group, share_of, 0));
    ds_json_end(b);
done:
    return status;
}

static ds_status put_sublayer_gates(ds_json_builder *b, const grouping *all, const ds_checkpoint_group *group, size_t s) {
    ds_status status = DS_OK;
    DS_TRY(put_summary(b, "beta_mean", all, group, sublayer_beta_of, s));
    DS_TRY(put_summary(b, "discrepancy_before", all, group, before_of, s));
    DS_TRY(put_summary(b, "discrepancy_after", all, group, after_of, s));
    DS_TRY(put_regimes(b, all, group, sublayer_share_of, s * DS_REGIME_COUNT));
done:
    return status;
}

/* States, one more than sublayers. */
static ds_status put_states(ds_json_builder *b, const grouping *all, const ds_checkpoint_group *group) {
    ds_status status = DS_OK;
    const ds_compared *first = &all->comparison->entries[group->first];
    if (first->state_gradient == NULL) return DS_OK;
    ds_json_begin_array(b, "states");
    for (size_t s = 0; s <= first->sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        DS_TRY(put_summary(b, "gradient", all, group, gradient_of, s));
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

static ds_status put_sublayers(ds_json_builder *b, const grouping *all, const ds_checkpoint_group *group) {
    ds_status status = DS_OK;
    const ds_compared *first = &all->comparison->entries[group->first];
    char name[32];
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < first->sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        if (first->census.sublayers != 0) DS_TRY(put_sublayer_gates(b, all, group, s));
        if (first->cases.count != 0) DS_TRY(put_summary(b, "closed_cost", all, group, cost_of, s));
        ds_json_end(b);
    }
    ds_json_end(b);
done:
    return status;
}

static ds_status put_group(ds_json_builder *b, const grouping *all, const ds_checkpoint_group *group) {
    ds_status status = DS_OK;
    const ds_compared *members = all->comparison->entries + group->first;
    char rule[48];
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", group->name);
    ds_json_put_text(b, "variant", ds_spec_variant(&members[0].spec));
    ds_json_put_text(b, "rule", ds_spec_rule_name(rule, &members[0].spec));
    ds_json_put_count(b, "parameters", members[0].parameters);
    ds_json_put_published(b, &members[0].spec);
    ds_json_begin_array(b, "members");
    for (size_t i = 0; i < group->count; i++) ds_json_put_text(b, NULL, members[i].label);
    ds_json_end(b);
    DS_TRY(put_summary(b, "loss", all, group, loss_of, 0));
    if (members[0].census.sublayers != 0) DS_TRY(put_gates(b, all, group));
    DS_TRY(put_sublayers(b, all, group));
    DS_TRY(put_states(b, all, group));
    ds_json_end(b);
done:
    return status;
}

/* ---- contrasts: every group against the first -------------------------------------------------------------------- */

/* Mean losses of a group's members. */
static void take_losses(double *losses, const grouping *all, const ds_checkpoint_group *group) {
    for (size_t i = 0; i < group->count; i++)
        losses[i] = loss_of(&all->comparison->entries[group->first + i], 0, all->comparison->windows);
}

/* Means over the group's members, window by window. */
static void take_windows(double *windows, const grouping *all, const ds_checkpoint_group *group) {
    for (size_t w = 0; w < all->comparison->windows; w++) {
        for (size_t i = 0; i < group->count; i++) all->values[i] = all->comparison->entries[group->first + i].loss[w];
        windows[w] = ds_mean(all->values, group->count);
    }
}

static ds_status window_error(double *error, const grouping *all, const ds_checkpoint_group *a, const ds_checkpoint_group *b) {
    ds_status status = DS_OK;
    size_t windows = all->comparison->windows;
    double *of_a, *of_b = NULL;
    DS_NEW(of_a, windows);
    DS_NEW(of_b, windows);
    take_windows(of_a, all, a);
    take_windows(of_b, all, b);
    for (size_t w = 0; w < windows; w++) of_a[w] -= of_b[w];
    DS_TRY(ds_window_error(error, of_a, 1, windows));
done:
    free(of_a);
    free(of_b);
    return status;
}

static ds_status contrast_with_first(ds_contrast *out, const double *losses, const ds_checkpoint_group *a,
                                     const ds_checkpoint_group *b, double margin, uint64_t seed) {
    const double *of_a = losses + a->first, *of_b = losses + b->first;
    if (a->count == b->count) return ds_contrast_paired(out, of_a, of_b, a->count, margin, seed);
    return ds_contrast_unpaired(out, of_a, a->count, of_b, b->count, margin);
}

static ds_status put_contrast(ds_json_builder *b, const grouping *all, const double *losses, const ds_checkpoint_group *group,
                              const ds_contrast *contrast) {
    ds_status status = DS_OK;
    const ds_checkpoint_group *first = &all->groups->groups[0];
    ds_text name = {0};
    double error;
    DS_TRY(ds_text_printf(&name, "%s - %s", group->name, first->name));
    DS_TRY(window_error(&error, all, group, first));
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "name", name.bytes);
    ds_json_put_text(b, "a", group->name);
    ds_json_put_text(b, "b", first->name);
    ds_json_put_text(b, "measure", "loss");
    ds_json_begin_array(b, "differences");
    for (size_t i = 0; contrast->paired && i < group->count; i++)
        ds_json_put_real(b, NULL, losses[group->first + i] - losses[first->first + i]);
    ds_json_end(b);
    ds_json_put_contrast(b, contrast);
    ds_json_put_real(b, "window_se", error);
    ds_json_end(b);
done:
    ds_text_release(&name);
    return status;
}

static ds_status put_contrasts(ds_json_builder *b, const grouping *all, double margin, uint64_t seed) {
    ds_status status = DS_OK;
    size_t count = all->groups->count;
    const ds_checkpoint_group *groups = all->groups->groups;
    ds_contrast *contrasts = NULL;
    double *losses;
    DS_NEW(losses, all->groups->path_count);
    DS_NEW(contrasts, count);
    for (size_t g = 0; g < count; g++) take_losses(losses + groups[g].first, all, &groups[g]);
    for (size_t g = 1; g < count; g++)
        DS_TRY(contrast_with_first(&contrasts[g - 1], losses, &groups[g], &groups[0], margin, seed));
    DS_TRY(ds_contrasts_judge(contrasts, count - 1, SIZE_MAX));
    ds_json_begin_array(b, "contrasts");
    for (size_t g = 1; g < count; g++) DS_TRY(put_contrast(b, all, losses, &groups[g], &contrasts[g - 1]));
    ds_json_end(b);
done:
    free(losses);
    free(contrasts);
    return status;
}

/* {"groups", "contrasts"} */
static ds_status tell_groups(json_t **out, const ds_comparison *comparison, const ds_checkpoint_groups *groups, double margin,
                             uint64_t seed) {
    ds_status status = DS_OK;
    grouping all = {comparison, groups, NULL};
    ds_json_builder b = {0};
    DS_NEW(all.values, comparison->count);
    ds_json_begin_object(&b, NULL);
    ds_json_begin_array(&b, "groups");
    for (size_t g = 0; g < groups->count; g++) DS_TRY(put_group(&b, &all, &groups->groups[g]));
    ds_json_end(&b);
    DS_TRY(put_contrasts(&b, &all, margin, seed));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    ds_json_discard(&b);
    free(all.values);
    return status;
}

ds_status ds_compare_groups_results(json_t **options_json, json_t **results, ds_run *first, const ds_run_options *base,
                                    const ds_compare_options *options, const ds_checkpoint_groups *groups, double margin) {
    ds_status status = DS_OK;
    ds_comparison comparison = {.count = 0};
    ds_compare_options own = *options;
    json_t *told = NULL;
    own.checkpoints = groups->paths;
    own.count = groups->path_count;
    own.accept = accept;
    own.accept_context = groups;
    *options_json = *results = NULL;
    *first = (ds_run){.checkpoint = NULL};
    DS_TRY(ds_compare_options_json(options_json, base, &own));
    DS_TRY(ds_compare_measure(&comparison, first, base, &own));
    DS_TRY(ds_compare_json(results, &comparison));
    DS_TRY(tell_groups(&told, &comparison, groups, margin, base->seed));
    if (json_object_set_new(*options_json, "margin", ds_json_number(margin)) != 0 || json_object_update(*results, told) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "out of memory for the results of %zu groups", groups->count);
done:
    json_decref(told);
    ds_compare_release(&comparison);
    return status;
}
