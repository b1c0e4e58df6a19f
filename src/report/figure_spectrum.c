/* Figures from `spectrum`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static const json_t *sweep_of(const json_t *results) { return json_object_get(json_object_get(results, "spectrum"), "sweep"); }

static const json_t *gates_of(const json_t *results) { return json_object_get(json_object_get(results, "gates"), "sublayers"); }

bool ds_eigenvalue_beta_applies(const json_t *results) { return json_array_size(sweep_of(results)) != 0; }

static ds_status draw_sweep(ds_data *data, const json_t *sweep) {
    static const char *const keys[] = {"beta", "eigenvalue", "eigenvalue_lapack", "determinant", "orthogonality_defect"};
    enum { KEYS = sizeof keys / sizeof *keys };
    ds_status status = DS_OK;
    DS_TRY(ds_data_block(data, "sweep", "beta\teigenvalue\teigenvalue_lapack\tdeterminant\torthogonality_defect"));
    for (size_t i = 0; i < json_array_size(sweep); i++) {
        double row[KEYS];
        for (size_t k = 0; k < KEYS; k++)
            DS_TRY(ds_result_number(&row[k], json_array_get(sweep, i), keys[k], "spectrum.sweep"));
        DS_TRY(ds_data_row(data, row, KEYS));
    }
done:
    return status;
}

/* totals[kind][bin] += counts of one sublayer, whose edges must be those of the first. */
static ds_status pool(double *totals, const json_t *sublayer, const json_t *first_edges, size_t bins) {
    ds_status status = DS_OK;
    const json_t *histogram, *edges, *counts;
    const char *name;
    ds_place place;
    DS_TRY(ds_result_text(&name, sublayer, "name", "gates.sublayers"));
    DS_TRY(ds_result_sublayer(&place, name));
    DS_TRY(ds_result_object(&histogram, sublayer, "histogram", "gates.sublayers"));
    DS_TRY(ds_result_array(&edges, histogram, "edges", "gates.sublayers.histogram"));
    DS_TRY(ds_result_array(&counts, histogram, "counts", "gates.sublayers.histogram"));
    if (!json_equal(edges, first_edges) || json_array_size(counts) != bins || json_array_size(edges) != bins + 1)
        return ds_fail(DS_ERR_INPUT, "results: gates.sublayers: the histogram of %s has other bins than the first",
                       DS_SHOW(name));
    for (size_t i = 0; i < bins; i++) totals[(place.mlp ? bins : 0) + i] += ds_result_element(counts, i);
done:
    return status;
}

/* Densities over beta of all attention and all MLP gates: each integrates to 1. */
static ds_status draw_density(ds_data *data, const json_t *gates) {
    ds_status status = DS_OK;
    const json_t *histogram, *edges;
    double *totals = NULL, sum[2] = {0, 0};
    DS_TRY(ds_result_object(&histogram, json_array_get(gates, 0), "histogram", "gates.sublayers"));
    DS_TRY(ds_result_array(&edges, histogram, "edges", "gates.sublayers.histogram"));
    size_t bins = json_array_size(json_object_get(histogram, "counts"));
    DS_NEW(totals, 2 * bins);
    for (size_t i = 0; i < json_array_size(gates); i++) DS_TRY(pool(totals, json_array_get(gates, i), edges, bins));
    for (size_t i = 0; i < 2 * bins; i++) sum[i / bins] += totals[i];
    DS_TRY(ds_data_block(data, "trained gates", "beta_from\tbeta_to\tdensity_attention\tdensity_mlp"));
    for (size_t i = 0; i < bins; i++) {
        double from = ds_result_element(edges, i), to = ds_result_element(edges, i + 1);
        const double row[] = {from, to, totals[i] / sum[0] / (to - from), totals[bins + i] / sum[1] / (to - from)};
        DS_TRY(ds_data_row(data, row, 4));
    }
done:
    free(totals);
    return status;
}

ds_status ds_eigenvalue_beta_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *gates = gates_of(results);
    bool trained = json_array_size(gates) != 0;
    DS_TRY(draw_sweep(&drawing->data, sweep_of(results)));
    if (trained) DS_TRY(draw_density(&drawing->data, gates));
    status = ds_text_printf(&drawing->settings, "points = %zu\ntrained = %d\n", json_array_size(sweep_of(results)), trained);
done:
    return status;
}

ds_status ds_eigenvalue_beta_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *sweep = sweep_of(results);
    double worst = 0;
    for (size_t i = 0; i < json_array_size(sweep); i++) {
        double theory, found;
        DS_TRY(ds_result_number(&theory, json_array_get(sweep, i), "eigenvalue", "spectrum.sweep"));
        DS_TRY(ds_result_number(&found, json_array_get(sweep, i), "eigenvalue_lapack", "spectrum.sweep"));
        double error = fabs(found - theory);
        if (!(error <= worst)) worst = error;
    }
    DS_TRY(ds_text_printf(caption,
                          "The moved eigenvalue of the shortcut operator I − mβkkᵀ along a learned direction: theory "
                          "1 − mβ‖k‖² (line) and LAPACK on the dense operator (circles), %zu gates, largest difference %.1e.",
                          json_array_size(sweep), worst));
    if (json_array_size(gates_of(results)) != 0)
        DS_TRY(ds_text_printf(caption, " Below: density of the trained gates over the tokens of %zu sublayers.",
                              json_array_size(gates_of(results))));
done:
    return status;
}
