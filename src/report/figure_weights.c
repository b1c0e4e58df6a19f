/* Figures from the weight matrices (`spectrum --weights`). */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const json_t *weights_of(const json_t *results) { return ds_json_at(results, "spectrum/weights"); }

static bool starts(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

/* Behind "h." or "layers." at the beginning of one of the name's parts, where a number follows; NULL when it does nowhere. */
static const char *layer_number(const char *name) {
    for (const char *part = name; part != NULL; part = strchr(part, '.'), part = part == NULL ? NULL : part + 1) {
        const char *number = part + (starts(part, "h.") ? 2 : starts(part, "layers.") ? 7 : 0);
        if (number != part && *number >= '0' && *number <= '9') return number;
    }
    return NULL;
}

/* "transformer.h.3.mlp.c_fc1.weight" -> layer 3, MLP; false for matrices outside attention and MLP. */
static bool place_of(ds_place *place, const json_t *weight) {
    const char *name = json_string_value(json_object_get(weight, "tensor")), *at = name == NULL ? NULL : layer_number(name);
    char *end;
    if (at == NULL) return false;
    place->layer = strtoul(at, &end, 10);
    place->mlp = starts(end, ".mlp.") || starts(end, ".branch_mlp.");
    return place->layer < 100000 &&
           (place->mlp || starts(end, ".attn.") || starts(end, ".self_attn.") || starts(end, ".branch_attn."));
}

static size_t count_placed(const json_t *results) {
    size_t count = 0;
    ds_place place;
    for (size_t i = 0; i < json_array_size(weights_of(results)); i++)
        count += place_of(&place, json_array_get(weights_of(results), i));
    return count;
}

/* A tail can be fitted to some matrix: one with too few singular values has no exponent. */
bool ds_weight_spectra_applies(const json_t *results) {
    bool fitted = false;
    ds_place place;
    for (size_t i = 0; i < json_array_size(weights_of(results)); i++) {
        const json_t *weight = json_array_get(weights_of(results), i);
        fitted = fitted || (place_of(&place, weight) && json_is_number(json_object_get(weight, "alpha")));
    }
    return fitted;
}

/* The matrices of a sublayer stand side by side. */
typedef struct row_before {
    ds_place place;
    size_t slot;
} row_before;

static ds_status draw_weight(ds_data *data, const json_t *weight, ds_place place, void *context) {
    ds_status status = DS_OK;
    row_before *before = context;
    bool beside = place.layer == before->place.layer && place.mlp == before->place.mlp;
    *before = (row_before){place, beside ? before->slot + 1 : 0};
    double row[5] = {(double)place.layer, (double)before->slot};
    DS_TRY(ds_result_number(&row[2], weight, "alpha", "spectrum.weights"));
    DS_TRY(ds_result_number(&row[3], weight, "alpha_stderr", "spectrum.weights"));
    DS_TRY(ds_result_number(&row[4], weight, "stable_rank", "spectrum.weights"));
    DS_TRY(ds_data_row(data, row, 5));
done:
    return status;
}

ds_status ds_weight_spectra_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const ds_kind_rows weights = {weights_of(results), "spectrum.weights", place_of};
    row_before before = {.place = {SIZE_MAX, false}};
    size_t layers;
    DS_TRY(ds_data_kinds(&drawing->data, &layers, &weights, "layer\tslot\talpha\talpha_stderr\tstable_rank", draw_weight,
                         &before));
    status = ds_text_printf(&drawing->settings, "layers = %zu\n", layers);
done:
    return status;
}

ds_status ds_weight_spectra_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "%zu attention and MLP weight matrices by layer, side by side in the order of the checkpoint. Above: "
        "exponent α of the power law fitted to the tail of the squared singular values, with one standard error. "
        "Below: stable rank ‖W‖_F²/‖W‖₂².",
        count_placed(results));
}
