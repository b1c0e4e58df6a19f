/* Figures from `gates`. */
#include <math.h>

#include "deltascope/stats.h"

#include "figure.h"

enum { MOST_BINS = 50 }; /* neighbouring bins are drawn together beyond this many: finer cells are thinner than a printed dot */

static const json_t *sublayers_of(const json_t *results) {
    return json_object_get(json_object_get(results, "gates"), "sublayers");
}

bool ds_gate_distribution_applies(const json_t *results) { return json_array_size(sublayers_of(results)) != 0; }

/* One row per sublayer: layer, the quantiles of beta, the mean. */
static ds_status draw_quantiles(ds_data *data, const json_t *sublayer, ds_place place, void *context) {
    ds_status status = DS_OK;
    const json_t *beta, *quantiles;
    double row[DS_QUANTILES + 2] = {(double)place.layer};
    (void)context;
    DS_TRY(ds_result_object(&beta, sublayer, "beta", "gates.sublayers"));
    DS_TRY(ds_result_object(&quantiles, beta, "quantiles", "gates.sublayers.beta"));
    for (size_t i = 0; i < DS_QUANTILES; i++)
        DS_TRY(ds_result_number(&row[i + 1], quantiles, ds_quantile_names[i], "gates.sublayers.beta.quantiles"));
    DS_TRY(ds_result_number(&row[DS_QUANTILES + 1], beta, "mean", "gates.sublayers.beta"));
    status = ds_data_row(data, row, DS_QUANTILES + 2);
done:
    return status;
}

static double sum_of(const json_t *counts, size_t first, size_t last) {
    double sum = 0;
    for (size_t i = first; i < last; i++) sum += ds_result_element(counts, i);
    return sum;
}

/* One row per filled bin: layer, its edges, its share relative to the sublayer's fullest bin. */
static ds_status draw_cells(ds_data *data, const json_t *sublayer, ds_place place, void *context) {
    ds_status status = DS_OK;
    const json_t *histogram, *edges, *counts;
    (void)context;
    DS_TRY(ds_result_object(&histogram, sublayer, "histogram", "gates.sublayers"));
    DS_TRY(ds_result_array(&edges, histogram, "edges", "gates.sublayers.histogram"));
    DS_TRY(ds_result_array(&counts, histogram, "counts", "gates.sublayers.histogram"));
    size_t bins = json_array_size(counts), step = (bins + MOST_BINS - 1) / MOST_BINS;
    double fullest = 0;
    if (json_array_size(edges) != bins + 1)
        return ds_fail(DS_ERR_INPUT, "results: gates.sublayers.histogram: %zu edges and %zu counts, expected one edge more",
                       json_array_size(edges), bins);
    for (size_t i = 0; i < bins; i += step) fullest = fmax(fullest, sum_of(counts, i, ds_min_size(i + step, bins)));
    for (size_t i = 0; i < bins; i += step) {
        size_t end = ds_min_size(i + step, bins);
        double share = sum_of(counts, i, end) / fullest;
        const double row[] = {(double)place.layer, ds_result_element(edges, i), ds_result_element(edges, end), share};
        if (share > 0) DS_TRY(ds_data_row(data, row, 4));
    }
done:
    return status;
}

ds_status ds_gate_distribution_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const ds_kind_rows sublayers = {sublayers_of(results), "gates.sublayers", NULL};
    DS_TRY(ds_data_kinds(&drawing->data, NULL, &sublayers, "layer\tq01\tq05\tq25\tq50\tq75\tq95\tq99\tmean", draw_quantiles,
                         NULL));
    DS_TRY(ds_data_kinds(&drawing->data, NULL, &sublayers, "layer\tbeta_from\tbeta_to\trelative_share", draw_cells, NULL));
    status = ds_text_printf(&drawing->settings, "layers = %zu\n", (json_array_size(sublayers.rows) + 1) / 2);
done:
    return status;
}

ds_status ds_gate_distribution_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(caption,
                          "Distribution of the gate β over tokens in each of %zu sublayers, attention above, MLP below. Shade: "
                          "share of tokens in a bin relative to the sublayer's fullest bin; thick bar: median; thin bars: 5th "
                          "and 95th percentile.",
                          json_array_size(sublayers_of(results)));
}

/* ---- regimes, discrepancy, sizes --------------------------------------------------------------------------------- */

/* Of numbers, not null: a single token has no spread, but it has these. */
static bool has_numbers(const json_t *results, const char *path) {
    return json_is_number(ds_json_at(json_array_get(sublayers_of(results), 0), path));
}

bool ds_regime_shares_applies(const json_t *results) { return has_numbers(results, "regimes/identity"); }

ds_status ds_regime_shares_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"regimes/identity", "regimes/damped", "regimes/projection", "regimes/over_relaxed",
                                        "regimes/reflection"};
    return ds_data_by_kind(drawing, &(ds_kind_rows){sublayers_of(results), "gates.sublayers", NULL}, NULL, paths,
                           sizeof paths / sizeof *paths);
}

ds_status ds_regime_shares_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(caption,
                          "Share of tokens in each regime of b = mβ‖k‖², in %zu sublayers: identity (b near 0), damped, "
                          "projection (b near 1), over-relaxed, reflection (b near 2); near: within the tolerance of the run, "
                          "0.1 unless chosen otherwise. Shares of all tokens, not estimates: no interval.",
                          json_array_size(sublayers_of(results)));
}

bool ds_discrepancy_applies(const json_t *results) { return has_numbers(results, "discrepancy/pre_rms"); }

ds_status ds_discrepancy_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"discrepancy/pre_rms", "discrepancy/post_rms"};
    return ds_data_by_kind(drawing, &(ds_kind_rows){sublayers_of(results), "gates.sublayers", NULL}, NULL, paths, 2);
}

ds_status ds_discrepancy_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Discrepancy kᵀX − vᵀ between what a sublayer reads along its direction and the value it writes, before "
        "(open) and after (filled) the edit, in %zu sublayers: root mean square over all tokens and channels, "
        "in units of the state. An exact delta update multiplies it by 1 − mβ‖k‖².",
        json_array_size(sublayers_of(results)));
}

bool ds_edit_sizes_applies(const json_t *results) { return has_numbers(results, "edit_norm"); }

ds_status ds_edit_sizes_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"readout_rms", "target_rms", "edit_norm", "relative_edit"};
    return ds_data_by_kind(drawing, &(ds_kind_rows){sublayers_of(results), "gates.sublayers", NULL}, NULL, paths,
                           sizeof paths / sizeof *paths);
}

ds_status ds_edit_sizes_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(caption,
                          "Sizes by depth in %zu sublayers, in units of the state: readout kᵀX and target v (root mean square "
                          "over tokens and channels), and the edit (mean over tokens of its Frobenius norm).",
                          json_array_size(sublayers_of(results)));
}
