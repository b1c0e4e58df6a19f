/* Figures from `ablate`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const json_t *cases_of(const json_t *results) { return json_object_get(json_object_get(results, "ablate"), "cases"); }

/* Whether the case closes one sublayer alone, "closed:3.mlp", and which. ("closed:attn" of a single layer is not one of
 * these.) */
static bool closes_one(ds_place *place, const json_t *forced) {
    static const char prefix[] = "closed:";
    const char *name = json_string_value(json_object_get(forced, "name"));
    size_t length = sizeof prefix - 1;
    return name != NULL && strncmp(name, prefix, length) == 0 && name[length] >= '0' && name[length] <= '9' &&
           ds_result_sublayer(place, name + length) == DS_OK;
}

static size_t count_single(const json_t *results) {
    size_t count = 0;
    ds_place place;
    for (size_t i = 0; i < json_array_size(cases_of(results)); i++)
        count += closes_one(&place, json_array_get(cases_of(results), i));
    return count;
}

bool ds_closed_gate_loss_applies(const json_t *results) { return count_single(results) != 0; }

static const char *const change_paths[] = {"delta_loss", "delta_loss_ci95/0", "delta_loss_ci95/1", "kl"};

ds_status ds_closed_gate_loss_draw(ds_drawing *drawing, const json_t *results) {
    return ds_data_by_kind(drawing, &(ds_kind_rows){cases_of(results), "ablate.cases", closes_one},
                           "layer\tdelta_loss\tlow\thigh\tkl", change_paths, 4);
}

ds_status ds_closed_gate_loss_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *baseline;
    double loss;
    DS_TRY(ds_result_object(&baseline, json_object_get(results, "ablate"), "baseline", "ablate"));
    DS_TRY(ds_result_number(&loss, baseline, "loss", "ablate.baseline"));
    status =
        ds_text_printf(caption,
                       "Increase of the loss (intact: %.4f nats per token) when the gate of one sublayer is forced shut, for "
                       "%zu sublayers one at a time. %s",
                       loss, count_single(results), ds_interval_words(cases_of(results), "delta_loss_ci95"));
done:
    return status;
}

/* ---- cumulative, from either end --------------------------------------------------------------------------------- */

/* The sublayer index of "closed-from:4" under the prefix "closed-from:"; false for other cases. */
static bool is_cumulative(size_t *index, const json_t *forced, const char *prefix) {
    const char *name = json_string_value(json_object_get(forced, "name"));
    char *end;
    if (name == NULL || strncmp(name, prefix, strlen(prefix)) != 0) return false;
    *index = strtoul(name + strlen(prefix), &end, 10);
    return *end == '\0' && end != name + strlen(prefix);
}

static size_t count_cumulative(const json_t *results, const char *prefix) {
    size_t count = 0, index;
    for (size_t i = 0; i < json_array_size(cases_of(results)); i++)
        count += is_cumulative(&index, json_array_get(cases_of(results), i), prefix);
    return count;
}

static const char *const ends[] = {"closed-from:", "closed-upto:"};

bool ds_closed_gate_cumulative_applies(const json_t *results) {
    return count_cumulative(results, ends[0]) + count_cumulative(results, ends[1]) != 0;
}

static ds_status read_change(double row[3], const json_t *forced) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < 3; i++) DS_TRY(ds_result_number_at(&row[i], forced, change_paths[i], "ablate.cases"));
done:
    return status;
}

ds_status ds_closed_gate_cumulative_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *cases = cases_of(results);
    size_t sublayers = 0, index;
    for (int end = 0; end < 2; end++) {
        DS_TRY(ds_data_block(&drawing->data, end == 0 ? "closed from this sublayer on" : "closed up to this sublayer",
                             "sublayer\tdelta_loss\tlow\thigh"));
        for (size_t i = 0; i < json_array_size(cases); i++) {
            double row[4];
            if (!is_cumulative(&index, json_array_get(cases, i), ends[end])) continue;
            row[0] = (double)index;
            DS_TRY(read_change(&row[1], json_array_get(cases, i)));
            DS_TRY(ds_data_row(&drawing->data, row, 4));
            sublayers = ds_max_size(sublayers, index + 1);
        }
    }
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\n", sublayers);
done:
    return status;
}

ds_status ds_closed_gate_cumulative_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Increase of the loss when the gates of all sublayers from one on (%zu cases), or up to and including "
        "one (%zu cases), are forced shut. Even sublayers are attention, odd ones MLP. %s",
        count_cumulative(results, ends[0]), count_cumulative(results, ends[1]),
        ds_interval_words(cases_of(results), "delta_loss_ci95"));
}

/* ---- the ways of forcing a gate side by side --------------------------------------------------------------------- */

static const char *const modes[] = {"closed", "mean-gate", "open", "reflect", "write-only", "erase-only"};
static const char *const mode_labels[] = {"closed", "mean", "open", "reflect", "write\\nonly", "erase\\nonly"};
static const char *const scopes[] = {"attn", "mlp", "all"};
enum { MODES = sizeof modes / sizeof *modes, SCOPES = sizeof scopes / sizeof *scopes };

/* A report keeps the controls, which are a family of hypotheses of their own, apart from the closed gates. */
static const json_t *find_control(const json_t *results, size_t mode, size_t scope) {
    const json_t *const lists[] = {ds_json_at(results, "controls/cases"), cases_of(results)};
    char wanted[32];
    (void)snprintf(wanted, sizeof wanted, "%s:%s", modes[mode], scopes[scope]);
    for (size_t list = 0; list < 2; list++) {
        for (size_t i = 0; i < json_array_size(lists[list]); i++) {
            const char *name = json_string_value(json_object_get(json_array_get(lists[list], i), "name"));
            if (name != NULL && strcmp(name, wanted) == 0) return json_array_get(lists[list], i);
        }
    }
    return NULL;
}

static bool has_mode(const json_t *results, size_t mode) {
    for (size_t scope = 0; scope < SCOPES; scope++) {
        if (find_control(results, mode, scope) != NULL) return true;
    }
    return false;
}

static size_t count_modes(const json_t *results) {
    size_t count = 0;
    for (size_t mode = 0; mode < MODES; mode++) count += has_mode(results, mode);
    return count;
}

bool ds_controls_applies(const json_t *results) { return count_modes(results) > 1; } /* one alone has nothing beside it */

ds_status ds_controls_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    for (size_t scope = 0; scope < SCOPES; scope++) {
        size_t place = 0;
        DS_TRY(ds_data_block(&drawing->data, scopes[scope], "mode\tdelta_loss\tlow\thigh"));
        for (size_t mode = 0; mode < MODES; mode++) {
            const json_t *forced = find_control(results, mode, scope);
            double row[4] = {(double)place, NAN, NAN, NAN};
            if (!has_mode(results, mode)) continue;
            if (forced != NULL) DS_TRY(read_change(&row[1], forced));
            DS_TRY(ds_data_row(&drawing->data, row, 4));
            place++;
        }
    }
    DS_TRY(ds_text_printf(&drawing->settings, "modes = %zu\nset xtics (", count_modes(results)));
    for (size_t mode = 0, place = 0; mode < MODES; mode++) {
        if (!has_mode(results, mode)) continue;
        DS_TRY(ds_text_printf(&drawing->settings, "%s\"%s\" %zu", place == 0 ? "" : ", ", mode_labels[mode], place));
        place++;
    }
    status = ds_text_printf(&drawing->settings, ")\n");
done:
    return status;
}

ds_status ds_controls_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Increase of the loss under %zu ways of forcing the gates of all attention sublayers, all MLP sublayers, "
        "or all: closed (β = 0), mean (each sublayer's mean gate), open (β = 1), reflect (β = 2), the write "
        "without the erase, the erase without the write. %s",
        count_modes(results), ds_interval_words(cases_of(results), "delta_loss_ci95"));
}
