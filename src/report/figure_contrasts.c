/* Figures of contrasts and groups, the seed being the sampling unit: of a study and of compare. */
#include <string.h>

#include "deltascope/stats.h"
#include "figure.h"

/* Both sides of each contrast as two lists of labels. */
ds_status ds_contrast_labels(ds_text *settings, const json_t *contrasts, bool (*wanted)(const void *, const json_t *),
                             const void *context) {
    static const char *const sides[] = {"a", "b"};
    ds_status status = DS_OK;
    ds_labels names = {0};
    const json_t *contrast;
    const char *name;
    for (size_t s = 0; s < 2; s++) {
        size_t i;
        names.words.length = 0; /* both sides speak of the same variants */
        json_array_foreach(contrasts, i, contrast) {
            if (wanted != NULL && !wanted(context, contrast)) continue;
            DS_TRY(ds_result_text(&name, contrast, sides[s], "contrasts"));
            DS_TRY(ds_labels_add(&names, name));
        }
        DS_TRY(ds_text_printf(settings, "names_%s = '%s'\n", sides[s], ds_labels_words(&names)));
    }
done:
    ds_labels_release(&names);
    return status;
}

/* ---- contrasts --------------------------------------------------------------------------------------------------- */

/* A study's, or else those of compared groups. */
static const json_t *contrasts_of(const json_t *results) {
    const json_t *of_study = ds_json_at(results, "study/contrasts");
    return of_study != NULL ? of_study : ds_json_at(results, "compare/contrasts");
}

bool ds_contrasts_applies(const json_t *results) { return json_array_size(contrasts_of(results)) != 0; }

ds_status ds_contrasts_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {
        "mean", "interval/0", "interval/1", "equivalence/interval/0", "equivalence/interval/1", "equivalence/margin"};
    ds_status status = DS_OK;
    const json_t *all = contrasts_of(results), *contrast;
    const char *verdict;
    ds_labels verdicts = {0};
    size_t i;
    DS_TRY(ds_data_rows(&drawing->data, "contrasts", all, "contrasts", paths, 6));
    json_array_foreach(all, i, contrast) {
        DS_TRY(ds_result_text(&verdict, contrast, "verdict", "contrasts"));
        DS_TRY(ds_labels_add(&verdicts, verdict));
    }
    drawing->panels = json_array_size(all) + 2; /* of equal height, one for the axis and one for the legend */
    DS_TRY(ds_contrast_labels(&drawing->settings, all, NULL, NULL));
    status =
        ds_text_printf(&drawing->settings, "rows = %zu\nverdicts = '%s'\n", json_array_size(all), ds_labels_words(&verdicts));
done:
    ds_labels_release(&verdicts);
    return status;
}

ds_status ds_contrasts_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Differences of mean loss, lower being better, of %zu contrasts over seeds: point and thin line are mean "
        "and 95%% interval by Student's t, the thick line is the 90%% interval, which has to lie within the "
        "shaded margin for the word equivalent. Words are after Holm's adjustment over all contrasts.",
        json_array_size(contrasts_of(results)));
}

/* ---- groups, sublayer by sublayer -------------------------------------------------------------------------------- */

enum { GROUPS_IN_PANEL = 8, MOST_QUANTITIES = 5 };

/* What is drawn of groups: numbers of their sublayers or states, a panel each, with one axis for all. */
typedef struct group_profile {
    const char *rows;                  /* "sublayers" or "states" */
    const char *keys[MOST_QUANTITIES]; /* paths to summaries over seeds */
    const char *titles;                /* of the panels, one word each; "": there is one */
    const char *x, *y, *scale;         /* scale: "changes", "sizes", "shares" (drawn in per cent) or "powers" */
    const char *words;                 /* the caption, before " of N groups of seeds" */
} group_profile;

static const json_t *groups_of(const json_t *results) { return ds_json_at(results, "compare/groups"); }

static bool has_profile(const json_t *group, const group_profile *what) {
    return ds_json_at(json_array_get(json_object_get(group, what->rows), 0), what->keys[0]) != NULL;
}

static size_t count_groups(const json_t *results, const group_profile *what) {
    size_t i, count = 0;
    const json_t *group;
    json_array_foreach(groups_of(results), i, group) count += has_profile(group, what) ? 1 : 0;
    return count;
}

/* A block a group: where, mean and interval of what stands under `key`. *most <- the length of the longest. */
static ds_status draw_quantity(ds_data *data, size_t *most, const json_t *results, const group_profile *what, const char *key) {
    ds_status status = DS_OK;
    char paths[3][64];
    const char *wanted[] = {"index", paths[0], paths[1], paths[2]};
    size_t i;
    const json_t *group;
    (void)snprintf(paths[0], sizeof paths[0], "%s/mean", key);
    (void)snprintf(paths[1], sizeof paths[1], "%s/interval/0", key);
    (void)snprintf(paths[2], sizeof paths[2], "%s/interval/1", key);
    json_array_foreach(groups_of(results), i, group) {
        if (!has_profile(group, what)) continue;
        DS_TRY(ds_data_rows(data, key, json_object_get(group, what->rows), "compare.groups", wanted, 4));
        *most = ds_max_size(*most, json_array_size(json_object_get(group, what->rows)));
    }
done:
    return status;
}

/* Labels of what is drawn, and its place among all groups, by which it has the same label and colour in every figure. */
static ds_status name_groups(ds_text *settings, const json_t *results, const group_profile *what) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    ds_text places = {0};
    size_t i;
    const json_t *group;
    const char *name, *word;
    json_array_foreach(groups_of(results), i, group) {
        DS_TRY(ds_result_text(&name, group, "name", "compare.groups"));
        DS_TRY(ds_labels_note(&word, &names, name));
        if (!has_profile(group, what)) continue;
        DS_TRY(ds_labels_add(&names, name));
        DS_TRY(ds_text_printf(&places, "%zu ", i));
    }
    status = ds_text_printf(settings, "names = '%s'\ncolours_of = '%s'\n", ds_labels_words(&names),
                            places.length == 0 ? "" : places.bytes);
done:
    ds_labels_release(&names);
    ds_text_release(&places);
    return status;
}

/* Blocks of the first quantity, a group after the other, then those of the next. */
static ds_status draw_groups(ds_drawing *drawing, const json_t *results, const group_profile *what) {
    ds_status status = DS_OK;
    size_t places = 0, quantities = 0;
    const size_t groups = count_groups(results, what), parts = (groups + GROUPS_IN_PANEL - 1) / GROUPS_IN_PANEL;
    DS_TRY(name_groups(&drawing->settings, results, what));
    for (; quantities < MOST_QUANTITIES && what->keys[quantities] != NULL; quantities++)
        DS_TRY(draw_quantity(&drawing->data, &places, results, what, what->keys[quantities]));
    drawing->panels = quantities * parts;
    status = ds_text_printf(&drawing->settings,
                            "places = %zu\ngroups = %zu\nquantities = %zu\ntitles = '%s'\nx_name = '%s'\n"
                            "y_name = '%s'\ny_scale = '%s'\n",
                            places, groups, quantities, what->titles, what->x, what->y, what->scale);
done:
    return status;
}

static ds_status describe_groups(ds_text *caption, const json_t *results, const group_profile *what) {
    return ds_text_printf(caption,
                          "%s of %zu groups of seeds on the same data: means over seeds, and bands of their 95%% t intervals, "
                          "each %s for itself.",
                          what->words, count_groups(results, what), what->x);
}

#define GROUP_FIGURE(name, ...)                                                                                                \
    static const group_profile name = {__VA_ARGS__};                                                                           \
    bool ds_group_##name##_applies(const json_t *results) { return count_groups(results, &name) != 0; }                        \
    ds_status ds_group_##name##_draw(ds_drawing *drawing, const json_t *results) {                                             \
        return draw_groups(drawing, results, &name);                                                                           \
    }                                                                                                                          \
    ds_status ds_group_##name##_describe(ds_text *caption, const json_t *results) {                                            \
        return describe_groups(caption, results, &name);                                                                       \
    }

GROUP_FIGURE(gates, "sublayers", {"beta_mean"}, "", "sublayer", "gate", "changes",
             "Mean gate β by sublayer (even: attention, odd: MLP)")
GROUP_FIGURE(discrepancy, "sublayers", {"discrepancy_before", "discrepancy_after"}, "before after", "sublayer", "discrepancy",
             "sizes",
             "Discrepancy kᵀX − vᵀ before the edit (above) and after it (below), root mean square over tokens and channels in "
             "units of the state, by sublayer (even: attention, odd: MLP)")
GROUP_FIGURE(
    regimes, "sublayers", {"regimes/0/share", "regimes/1/share", "regimes/2/share", "regimes/3/share", "regimes/4/share"},
    "identity damped projection over-relaxed reflection", "sublayer", "tokens", "shares",
    "Share of tokens in each regime of b = mβ‖k‖², by sublayer (even: attention, odd: MLP): identity (b near 0), damped, "
    "projection (b near 1), over-relaxed, reflection (b near 2),")
GROUP_FIGURE(costs, "sublayers", {"closed_cost"}, "", "sublayer", "rise of loss (nats)", "changes",
             "Rise of the loss when the gate of one sublayer (even: attention, odd: MLP) is shut,")
GROUP_FIGURE(gradients, "states", {"gradient"}, "", "state", "gradient norm (nats / state unit)", "powers",
             "Gradient of the mean loss reaching each state (Frobenius norm over all windows)")
