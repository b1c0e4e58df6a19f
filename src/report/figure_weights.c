/* Figures from the weight matrices (`spectrum --weights`). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const json_t *weights_of(const json_t *results) { return ds_result_at(results, "spectrum/weights"); }

/* "transformer.h.3.mlp.c_fc1.weight" -> layer 3, MLP; false for matrices outside attention and MLP. */
static bool place_of(size_t *layer, bool *mlp, const json_t *weight) {
    static const char marker[] = "transformer.h.";
    const char *name = json_string_value(json_object_get(weight, "tensor")), *at = name == NULL ? NULL : strstr(name, marker);
    char *end;
    if (at == NULL) return false;
    *layer = strtoul(at + sizeof marker - 1, &end, 10);
    *mlp = strncmp(end, ".mlp.", 5) == 0;
    return *layer < 100000 && (*mlp || strncmp(end, ".attn.", 6) == 0);
}

static size_t count_placed(const json_t *results) {
    size_t count = 0, layer;
    bool mlp;
    for (size_t i = 0; i < json_array_size(weights_of(results)); i++)
        count += place_of(&layer, &mlp, json_array_get(weights_of(results), i));
    return count;
}

bool ds_weight_spectra_applies(const json_t *results) { return count_placed(results) != 0; }

static ds_status draw_kind(ds_text *data, size_t *layers, const json_t *weights, bool wants_mlp) {
    ds_status status = DS_OK;
    size_t slot = 0, before = SIZE_MAX;
    DS_TRY(ds_data_block(data, wants_mlp ? "MLP" : "attention", "layer\tslot\talpha\talpha_stderr\tstable_rank"));
    for (size_t i = 0; i < json_array_size(weights); i++) {
        const json_t *weight = json_array_get(weights, i);
        size_t layer;
        bool mlp;
        double row[5];
        if (!place_of(&layer, &mlp, weight) || mlp != wants_mlp) continue;
        slot = layer == before ? slot + 1 : 0;
        before = layer;
        row[0] = (double)layer;
        row[1] = (double)slot;
        DS_TRY(ds_result_number(&row[2], weight, "alpha", "spectrum.weights"));
        DS_TRY(ds_result_number(&row[3], weight, "alpha_stderr", "spectrum.weights"));
        DS_TRY(ds_result_number(&row[4], weight, "stable_rank", "spectrum.weights"));
        DS_TRY(ds_data_row(data, row, 5));
        *layers = ds_max_size(*layers, layer + 1);
    }
done:
    return status;
}

ds_status ds_weight_spectra_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    size_t layers = 0;
    for (int mlp = 0; mlp < 2; mlp++) DS_TRY(draw_kind(&drawing->data, &layers, weights_of(results), mlp));
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
