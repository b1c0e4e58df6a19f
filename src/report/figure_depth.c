/* Figures from `spectrum` about the operator accumulated over depth. */
#include <math.h>

#include "figure.h"

static const json_t *accumulated_of(const json_t *results) { return ds_json_at(results, "spectrum/accumulated"); }
static const json_t *distribution_of(const json_t *results) { return ds_json_at(results, "spectrum/distribution"); }
static const json_t *coherence_of(const json_t *results) { return ds_json_at(results, "spectrum/directions/coherence"); }

/* ---- eigenvalues and singular values of chosen tokens ------------------------------------------------------------ */

static size_t count_eigenvalues(const json_t *results) {
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(accumulated_of(results)); i++)
        count += json_array_size(json_object_get(json_array_get(accumulated_of(results), i), "eigenvalues"));
    return count;
}

bool ds_accumulated_eigenvalues_applies(const json_t *results) { return count_eigenvalues(results) != 0; }

ds_status ds_accumulated_eigenvalues_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_data_block(&drawing->data, "eigenvalues of the product over depth", "token\treal\timaginary"));
    for (size_t i = 0; i < json_array_size(accumulated_of(results)); i++) {
        const json_t *eigenvalues;
        DS_TRY(
            ds_result_array(&eigenvalues, json_array_get(accumulated_of(results), i), "eigenvalues", "spectrum.accumulated"));
        for (size_t j = 0; j < json_array_size(eigenvalues); j++) {
            const json_t *pair = json_array_get(eigenvalues, j);
            const double row[] = {(double)i, ds_result_element(pair, 0), ds_result_element(pair, 1)};
            DS_TRY(ds_data_row(&drawing->data, row, 3));
        }
    }
    status = ds_text_printf(&drawing->settings, "tokens = %zu\n", json_array_size(accumulated_of(results)));
done:
    return status;
}

ds_status ds_accumulated_eigenvalues_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "The %zu eigenvalues that can differ from 1 of the shortcut accumulated over depth, P = A_{S−1}···A_0, "
        "of %zu tokens, inside the unit circle; all others are exactly 1 (square). Computed from a small core "
        "matrix in double precision; each one's error bound is in the results.",
        count_eigenvalues(results), json_array_size(accumulated_of(results)));
}

bool ds_singular_values_applies(const json_t *results) {
    return json_array_size(json_object_get(json_array_get(accumulated_of(results), 0), "singular_values")) != 0;
}

/* More lines than this run into one area: of more tokens, as many are drawn, evenly spaced. */
enum { MOST_LINES = 64 };
static size_t count_lines(const json_t *results) { return ds_min_size(json_array_size(accumulated_of(results)), MOST_LINES); }

ds_status ds_singular_values_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *tokens = accumulated_of(results), *values;
    size_t most = 0, lines = count_lines(results);
    for (size_t i = 0; i < lines; i++) {
        const json_t *token = json_array_get(tokens, i * json_array_size(tokens) / lines);
        DS_TRY(ds_result_array(&values, token, "singular_values", "spectrum.accumulated"));
        DS_TRY(ds_data_block(&drawing->data, "token", "index\tsingular_value"));
        for (size_t j = 0; j < json_array_size(values); j++) {
            const double row[] = {(double)(j + 1), ds_result_element(values, j)};
            DS_TRY(ds_data_row(&drawing->data, row, 2));
        }
        most = ds_max_size(most, json_array_size(values));
    }
    status = ds_text_printf(&drawing->settings, "tokens = %zu\norder = %zu\n", lines, most);
done:
    return status;
}

ds_status ds_singular_values_describe(ds_text *caption, const json_t *results) {
    return ds_text_printf(
        caption,
        "Singular values that can differ from 1, ascending, of the shortcut accumulated over depth, one line for "
        "each of %zu tokens; all others are exactly 1.",
        count_lines(results));
}

/* ---- every token, depth by depth --------------------------------------------------------------------------------- */

/* The whole product alone (--depths last) is one depth: there is no course to draw. */
static bool has_at_depth(const json_t *results, const char *path) {
    return json_array_size(distribution_of(results)) > 1 &&
           ds_json_at(json_array_get(distribution_of(results), 0), path) != NULL;
}

static double tokens_of(const json_t *results) {
    const json_t *count = ds_json_at(json_array_get(distribution_of(results), 0), "norm2/count");
    return json_is_number(count) ? json_number_value(count) : NAN;
}

static ds_status append_tokens(ds_text *caption, const json_t *results) {
    double tokens = tokens_of(results);
    return isnan(tokens) ? ds_text_printf(caption, " All tokens of the run.")
                         : ds_text_printf(caption, " %.0f tokens.", tokens);
}

static ds_status draw_depths(ds_drawing *drawing, const json_t *results, const char *const *paths, size_t count) {
    ds_status status = DS_OK;
    DS_TRY(ds_data_rows(&drawing->data, "by depth", distribution_of(results), "spectrum.distribution", paths, count));
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\n", json_array_size(distribution_of(results)));
done:
    return status;
}

bool ds_depth_spectrum_applies(const json_t *results) { return has_at_depth(results, "smallest/quantiles/0.5"); }

ds_status ds_depth_spectrum_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"depth",
                                        "norm2/quantiles/0.05",
                                        "norm2/quantiles/0.5",
                                        "norm2/quantiles/0.95",
                                        "smallest/quantiles/0.05",
                                        "smallest/quantiles/0.5",
                                        "smallest/quantiles/0.95",
                                        "mean_squared_singular_value/quantiles/0.05",
                                        "mean_squared_singular_value/quantiles/0.5",
                                        "mean_squared_singular_value/quantiles/0.95"};
    return draw_depths(drawing, results, paths, sizeof paths / sizeof *paths);
}

ds_status ds_depth_spectrum_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(
        caption,
        "Singular values of the shortcut accumulated over the first t of %zu sublayers: the largest, the root of "
        "the mean square over all d, and the smallest. Lines: medians over tokens; bands: 5th to 95th percentile.",
        json_array_size(distribution_of(results))));
    status = append_tokens(caption, results);
done:
    return status;
}

bool ds_depth_gain_applies(const json_t *results) {
    return has_at_depth(results, "row_gain/mean") && has_at_depth(results, "column_gain/mean");
}

ds_status ds_depth_gain_draw(ds_drawing *drawing, const json_t *results) {
    static const char *const paths[] = {"depth",
                                        "row_gain/quantiles/0.05",
                                        "row_gain/mean",
                                        "row_gain/quantiles/0.95",
                                        "column_gain/quantiles/0.05",
                                        "column_gain/mean",
                                        "column_gain/quantiles/0.95",
                                        "norm2/mean"};
    return draw_depths(drawing, results, paths, sizeof paths / sizeof *paths);
}

ds_status ds_depth_gain_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(
        caption,
        "Gain of the shortcut accumulated over the first t of %zu sublayers: largest absolute row sum (forward), "
        "largest absolute column sum (backward) and spectral norm. Lines: means over tokens; bands: 5th to 95th "
        "percentile.",
        json_array_size(distribution_of(results))));
    status = append_tokens(caption, results);
done:
    return status;
}

/* ---- how directions of different sublayers meet ------------------------------------------------------------------ */

bool ds_coherence_applies(const json_t *results) { return json_array_size(coherence_of(results)) > 1; }

ds_status ds_coherence_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    size_t count = json_array_size(coherence_of(results));
    double largest = 0;
    DS_TRY(ds_data_block(&drawing->data, "coherence", "sublayer\tsublayer\tmean_absolute_cosine"));
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            const double row[] = {(double)a, (double)b, ds_result_element(json_array_get(coherence_of(results), a), b)};
            DS_TRY(ds_data_row(&drawing->data, row, 3));
            if (a != b) largest = fmax(largest, row[2]);
        }
    }
    status = ds_text_printf(&drawing->settings, "sublayers = %zu\nlargest = %.17g\n", count, largest);
done:
    return status;
}

ds_status ds_coherence_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *rank = ds_json_at(results, "spectrum/directions/effective_rank");
    DS_TRY(ds_text_printf(
        caption,
        "Mean over tokens of |k_a·k_b| between the directions of %zu sublayers; even ones are attention, odd ones "
        "MLP. The scale ends at the largest value off the diagonal.",
        json_array_size(coherence_of(results))));
    if (json_is_number(rank))
        status = ds_text_printf(caption, " Effective rank of a token's directions: %.2f.", json_number_value(rank));
done:
    return status;
}
