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

static const json_t *groups_of(const json_t *results) { return ds_json_at(results, "compare/groups"); }

static bool has_sublayers(const json_t *group, const char *key) {
    return json_object_get(json_array_get(json_object_get(group, "sublayers"), 0), key) != NULL;
}

static size_t count_groups(const json_t *results, const char *key) {
    size_t i, count = 0;
    const json_t *group;
    json_array_foreach(groups_of(results), i, group) count += has_sublayers(group, key) ? 1 : 0;
    return count;
}

/* One block a group: sublayer, mean and interval of what stands under `key`. */
static ds_status draw_groups(ds_drawing *drawing, const json_t *results, const char *key, bool gates) {
    ds_status status = DS_OK;
    char paths[3][32];
    const char *wanted[] = {"index", paths[0], paths[1], paths[2]}, *name;
    ds_labels names = {0};
    size_t i, sublayers = 0, blocks = 0;
    const json_t *group;
    (void)snprintf(paths[0], sizeof paths[0], "%s/mean", key);
    (void)snprintf(paths[1], sizeof paths[1], "%s/interval/0", key);
    (void)snprintf(paths[2], sizeof paths[2], "%s/interval/1", key);
    json_array_foreach(groups_of(results), i, group) {
        if (!has_sublayers(group, key)) continue;
        const json_t *rows = json_object_get(group, "sublayers");
        DS_TRY(ds_result_text(&name, group, "name", "compare.groups"));
        DS_TRY(ds_labels_add(&names, name));
        DS_TRY(ds_data_rows(&drawing->data, key, rows, "compare.groups", wanted, 4));
        sublayers = ds_max_size(sublayers, json_array_size(rows));
        blocks++;
    }
    drawing->panels = (blocks + DS_FIGURE_SERIES - 1) / DS_FIGURE_SERIES;
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\ngroups = %zu\nnames = '%s'\ngates = %d\n", sublayers, blocks,
                            ds_labels_words(&names), gates);
done:
    ds_labels_release(&names);
    return status;
}

bool ds_group_gates_applies(const json_t *results) { return count_groups(results, "beta_mean") != 0; }

ds_status ds_group_gates_draw(ds_drawing *drawing, const json_t *results) {
    return draw_groups(drawing, results, "beta_mean", true);
}

ds_status ds_group_gates_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Mean gate β by sublayer (even: attention, odd: MLP) of %zu groups of seeds on the same data: means over "
        "seeds, and bands of their 95%% t intervals, each sublayer for itself.",
        count_groups(results, "beta_mean"));
}

bool ds_group_costs_applies(const json_t *results) { return count_groups(results, "closed_cost") != 0; }

ds_status ds_group_costs_draw(ds_drawing *drawing, const json_t *results) {
    return draw_groups(drawing, results, "closed_cost", false);
}

ds_status ds_group_costs_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Rise of the loss when the gate of one sublayer (even: attention, odd: MLP) is shut, of %zu groups of "
        "seeds on the same data: means over seeds, and bands of their 95%% t intervals, each sublayer for itself.",
        count_groups(results, "closed_cost"));
}
