/* Figures from `gradflow`. */
#include <math.h>
#include <string.h>

#include "figure.h"

static const json_t *states_of(const json_t *results) { return ds_json_at(results, "gradflow/states"); }
static const json_t *sublayers_of(const json_t *results) { return ds_json_at(results, "gradflow/sublayers"); }
static const json_t *jacobians_of(const json_t *results) { return ds_json_at(results, "gradflow/jacobians"); }

bool ds_gradient_paths_applies(const json_t *results) {
    return json_array_size(states_of(results)) != 0 && json_array_size(sublayers_of(results)) != 0;
}

bool ds_gradient_has_gates(const json_t *results) {
    size_t index;
    const json_t *sublayer;
    json_array_foreach(sublayers_of(results), index, sublayer) {
        if (json_number_value(json_object_get(sublayer, "gate_norm")) != 0 ||
            json_number_value(json_object_get(sublayer, "value_norm")) != 0)
            return true;
    }
    return false;
}

ds_status ds_gradient_paths_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const state_paths[] = {"index", "grad_norm"};
    static const char *const split[] = {"index", "shortcut_norm", "direction_norm", "gate_norm", "value_norm"};
    ds_status status = DS_OK;
    DS_TRY(ds_data_rows(&drawing->data, "states", states_of(results), "gradflow.states", state_paths, 2));
    DS_TRY(ds_data_rows(&drawing->data, "paths", sublayers_of(results), "gradflow.sublayers", split, 5));
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\ngates = %d\n", json_array_size(sublayers_of(results)),
                            ds_gradient_has_gates(results));
done:
    return status;
}

ds_status ds_gradient_paths_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Gradient of the mean loss reaching each of %zu states (Frobenius norm over the whole batch, in nats per unit of the "
        "state), split by the path it took through the sublayer after that state: %s. The parts are vectors: their norms need "
        "not add up. Exact derivatives: no interval.",
        json_array_size(states_of(results)),
        ds_gradient_has_gates(results) ? "the shortcut (k, β, v held), the direction k, the gate β, the value v"
                                       : "the shortcut, which is the identity, and the branch");
}

bool ds_frozen_full_applies(const json_t *results) { return json_array_size(jacobians_of(results)) != 0; }

static const char at_token[] = "frozen/eigenvalue";

/* The frozen operator's moved eigenvalue: of the same token when the result tells it, otherwise its quantiles over the tokens
 * of this sublayer, when the gates were measured too. */
static void frozen_eigenvalue(double quantiles[3], const json_t *results, const json_t *jacobian, double index) {
    static const char *const paths[] = {"eigenvalue/quantiles/0.05", "eigenvalue/quantiles/0.5", "eigenvalue/quantiles/0.95"};
    const json_t *sublayer = json_array_get(ds_json_at(results, "gates/sublayers"), index >= 0 ? (size_t)index : 0);
    const json_t *own = ds_json_at(jacobian, at_token);
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_is_number(own) ? own : ds_json_at(sublayer, paths[i]);
        quantiles[i] = json_is_number(value) ? json_number_value(value) : NAN;
    }
}

ds_status ds_frozen_full_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"index", "norm2", "smallest", "spectral_radius"};
    ds_status status = DS_OK;
    size_t sublayers = json_array_size(sublayers_of(results));
    bool frozen = false;
    DS_TRY(ds_data_rows(&drawing->data, "full", jacobians_of(results), "gradflow.jacobians", paths, 4));
    DS_TRY(ds_data_block(&drawing->data, "frozen", "index\teigenvalue_q05\teigenvalue_q50\teigenvalue_q95"));
    for (size_t i = 0; i < json_array_size(jacobians_of(results)); i++) {
        double row[4];
        const json_t *jacobian = json_array_get(jacobians_of(results), i);
        DS_TRY(ds_result_number_at(&row[0], jacobian, "index", "gradflow.jacobians"));
        frozen_eigenvalue(&row[1], results, jacobian, row[0]);
        frozen = frozen || !isnan(row[2]);
        DS_TRY(ds_data_row(&drawing->data, row, 4));
        if (row[0] >= 0 && row[0] < 100000) sublayers = ds_max_size(sublayers, (size_t)row[0] + 1);
    }
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\nfrozen = %d\n", sublayers, frozen);
done:
    return status;
}

ds_status ds_frozen_full_describe(ds_text *caption, const json_t *results) {
    const json_t *first = json_array_get(jacobians_of(results), 0);
    long long size = json_integer_value(ds_json_at(first, "size"));
    bool own = json_is_number(ds_json_at(first, at_token));
    return ds_text_printf(
        caption,
        "The full non-linear sublayer, %zu Jacobians: largest and smallest singular value of the token's own block "
        "(%lld × %lld). Beside it the frozen shortcut's smallest singular value |1 − mβ‖k‖²| %s; its largest is 1 "
        "whenever mβ‖k‖² is at most 2.",
        json_array_size(jacobians_of(results)), size, size,
        own ? "at the same token" : "over all tokens, 5th to 95th percentile and median, where the gates were measured too");
}
