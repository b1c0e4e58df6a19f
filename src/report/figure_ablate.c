/* Figures from `ablate`. */
#include <math.h>
#include <string.h>

#include "figure.h"

static const json_t *cases_of(const json_t *results) { return json_object_get(json_object_get(results, "ablate"), "cases"); }

/* Whether the case closes one sublayer alone, "closed:3.mlp", and which. ("closed:attn" of a single layer is not one of these.) */
static bool closes_one(size_t *layer, bool *mlp, const json_t *forced) {
    static const char prefix[] = "closed:";
    const char *name = json_string_value(json_object_get(forced, "name"));
    size_t length = sizeof prefix - 1;
    return name != NULL && strncmp(name, prefix, length) == 0 && name[length] >= '0' && name[length] <= '9' &&
           ds_result_sublayer(layer, mlp, name + length) == DS_OK;
}

static size_t count_single(const json_t *results) {
    size_t count = 0, layer;
    bool mlp;
    for (size_t i = 0; i < json_array_size(cases_of(results)); i++)
        count += closes_one(&layer, &mlp, json_array_get(cases_of(results), i));
    return count;
}

bool ds_closed_gate_loss_applies(const json_t *results) { return count_single(results) != 0; }

static ds_status draw_kind(ds_text *data, size_t *layers, const json_t *cases, bool wants_mlp) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(data, "%s# %s\n# layer\tdelta_loss\tlow\thigh\tkl\n", data->length == 0 ? "" : "\n\n",
                          wants_mlp ? "MLP" : "attention"));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *forced = json_array_get(cases, i), *interval;
        size_t layer;
        bool mlp;
        double delta, kl;
        if (!closes_one(&layer, &mlp, forced) || mlp != wants_mlp) continue;
        DS_TRY(ds_result_number(&delta, forced, "delta_loss", "ablate.cases"));
        DS_TRY(ds_result_number(&kl, forced, "kl", "ablate.cases"));
        DS_TRY(ds_result_array(&interval, forced, "delta_loss_ci95", "ablate.cases"));
        const double row[] = {(double)layer, delta, ds_result_element(interval, 0), ds_result_element(interval, 1), kl};
        DS_TRY(ds_data_row(data, row, 5));
        *layers = ds_max_size(*layers, layer + 1);
    }
done:
    return status;
}

ds_status ds_closed_gate_loss_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    size_t layers = 0;
    for (int mlp = 0; mlp < 2; mlp++) DS_TRY(draw_kind(&drawing->data, &layers, cases_of(results), mlp));
    status = ds_text_printf(&drawing->settings, "layers = %zu\n", layers);
done:
    return status;
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
                       "%zu sublayers one at a time. Bars: 95%% intervals of the mean paired difference, bootstrapped over "
                       "sequences.",
                       loss, count_single(results));
done:
    return status;
}
