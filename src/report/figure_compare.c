/* Figures from `compare`. */
#include <string.h>

#include "figure.h"

static const json_t *checkpoints_of(const json_t *results) { return ds_json_at(results, "compare/checkpoints"); }

/* What the checkpoints of a trajectory are placed by. */
static const char *x_name(const json_t *results) {
    const char *kind = json_string_value(ds_json_at(results, "compare/x"));
    return kind != NULL && strcmp(kind, "number") == 0 ? "training step" : "checkpoint";
}

static bool is_trajectory(const json_t *results) { return json_is_true(ds_json_at(results, "compare/trajectory")); }

/* How many checkpoints have something under `key`: additive ones have no gates, and gates need not have been shut. */
static size_t count_with(const json_t *results, const char *key) {
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(checkpoints_of(results)); i++)
        count += json_array_size(json_object_get(json_array_get(checkpoints_of(results), i), key)) != 0;
    return count;
}

/* One block a checkpoint that has something under `key`. */
static ds_status draw_checkpoints(ds_drawing *drawing, const json_t *results, const char *key, const char *const *paths,
                                  size_t count, const ds_series_axes *axes) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    for (size_t i = 0; i < json_array_size(checkpoints_of(results)); i++) {
        const json_t *checkpoint = json_array_get(checkpoints_of(results), i), *rows = json_object_get(checkpoint, key);
        const char *label;
        if (json_array_size(rows) == 0) continue;
        DS_TRY(ds_result_text(&label, checkpoint, "label", "compare.checkpoints"));
        DS_TRY(ds_labels_add(&names, label));
        DS_TRY(ds_data_rows(&drawing->data, key, rows, "compare.checkpoints", paths, count));
    }
    DS_TRY(ds_series_finish(drawing, &names, axes));
done:
    ds_labels_release(&names);
    return status;
}

bool ds_compare_gates_applies(const json_t *results) { return count_with(results, "sublayers") != 0; }

ds_status ds_compare_gates_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"index", "beta/mean", "beta/quantiles/0.05", "beta/quantiles/0.95"};
    return draw_checkpoints(drawing, results, "sublayers", paths, 4, &(ds_series_axes){"sublayer", "gate", "gates", false});
}

ds_status ds_compare_gates_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Mean gate β over tokens by sublayer (even: attention, odd: MLP) of %zu checkpoints on the same data; the "
        "vertical bars run from the 5th to the 95th percentile of the tokens.",
        count_with(results, "sublayers"));
}

bool ds_compare_costs_applies(const json_t *results) { return count_with(results, "cases") != 0; }

ds_status ds_compare_costs_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"index", "delta_loss", "delta_loss_ci95/0", "delta_loss_ci95/1"};
    return draw_checkpoints(drawing, results, "cases", paths, 4,
                            &(ds_series_axes){"sublayer", "rise of loss (nats)", "changes", false});
}

ds_status ds_compare_costs_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Rise of the loss when the gate of one sublayer (even: attention, odd: MLP) is shut, of %zu checkpoints on "
        "the same data. %s",
        count_with(results, "cases"), ds_interval_words(checkpoints_of(results), "cases/0/delta_loss_ci95"));
}

bool ds_trajectory_loss_applies(const json_t *results) { return is_trajectory(results); }

/* The interval is that of the difference from the first checkpoint, drawn about the loss. */
ds_status ds_trajectory_loss_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"x", "loss", "difference", "difference_ci95/0", "difference_ci95/1"};
    ds_status status = DS_OK;
    DS_TRY(ds_data_rows(&drawing->data, "loss", checkpoints_of(results), "compare.checkpoints", paths, 5));
    status = ds_text_printf(&drawing->settings, "x_name = '%s'\n", x_name(results));
done:
    return status;
}

ds_status ds_trajectory_loss_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption, "Loss of %zu checkpoints of a run on the same data, and the difference from the first drawn about it. %s",
        json_array_size(checkpoints_of(results)), ds_interval_words(checkpoints_of(results), "difference_ci95"));
}

bool ds_trajectory_gates_applies(const json_t *results) {
    return is_trajectory(results) && count_with(results, "sublayers") != 0;
}

/* One block a sublayer: its mean gate over the checkpoints that have it. */
ds_status ds_trajectory_gates_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *all = checkpoints_of(results);
    size_t sublayers = 0;
    for (size_t i = 0; i < json_array_size(all); i++)
        sublayers = ds_max_size(sublayers, json_array_size(json_object_get(json_array_get(all, i), "sublayers")));
    for (size_t s = 0; s < sublayers; s++) {
        DS_TRY(ds_data_block(&drawing->data, "sublayer", "x\tbeta_mean"));
        for (size_t i = 0; i < json_array_size(all); i++) {
            const json_t *checkpoint = json_array_get(all, i), *rows = json_object_get(checkpoint, "sublayers");
            double row[2];
            if (s >= json_array_size(rows)) continue;
            DS_TRY(ds_result_number(&row[0], checkpoint, "x", "compare.checkpoints"));
            DS_TRY(ds_result_number_at(&row[1], json_array_get(rows, s), "beta/mean", "compare.checkpoints.sublayers"));
            DS_TRY(ds_data_row(&drawing->data, row, 2));
        }
    }
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\nx_name = '%s'\n", sublayers, x_name(results));
done:
    return status;
}

ds_status ds_trajectory_gates_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Mean gate β over tokens of every sublayer along a run of %zu checkpoints on the same data. Solid: attention, "
        "dashed: MLP; the deeper the sublayer, the darker the line (in the dark, the brighter).",
        json_array_size(checkpoints_of(results)));
}
