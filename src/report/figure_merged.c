/* Figures of the saved results of several checkpoints, {"merged": [{"label", COMMAND: results}...]}: one number of every row,
 * a series a checkpoint. */
#include <math.h>
#include <string.h>

#include "figure.h"

/* What one of them draws. */
typedef struct profile {
    const char *rows;                 /* path of an array in the results of one checkpoint */
    bool (*takes)(const json_t *row); /* NULL: every row */
    const char *x;                    /* path in a row; NULL: rows are numbered */
    const char *value, *low, *high;   /* paths; low and high NULL: no band */
    ds_series_axes axes;
    const char *words; /* the caption, up to whose it is */
    bool intervals;    /* low and high are an interval of the value */
} profile;

static const json_t *merged_of(const json_t *results) { return json_object_get(results, "merged"); }

static const json_t *rows_of(const profile *what, const json_t *checkpoint) { return ds_json_at(checkpoint, what->rows); }

static bool is_drawn(const profile *what, const json_t *row) {
    return (what->takes == NULL || what->takes(row)) && ds_json_at(row, what->value) != NULL;
}

static size_t count_rows(const profile *what, const json_t *checkpoint) {
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(rows_of(what, checkpoint)); i++)
        count += is_drawn(what, json_array_get(rows_of(what, checkpoint), i));
    return count;
}

static bool applies(const profile *what, const json_t *results) {
    for (size_t c = 0; c < json_array_size(merged_of(results)); c++) {
        if (count_rows(what, json_array_get(merged_of(results), c)) > 0) return true;
    }
    return false;
}

static ds_status draw_row(ds_drawing *drawing, const profile *what, const json_t *row, size_t number) {
    ds_status status = DS_OK;
    double values[4] = {(double)number, NAN, NAN, NAN};
    ds_place place;
    if (what->x != NULL && strcmp(what->x, "name") == 0) { /* "closed:3.mlp": the sublayer's index */
        DS_TRY(ds_result_sublayer(&place, strchr(json_string_value(json_object_get(row, "name")), ':') + 1));
        values[0] = 2 * (double)place.layer + place.mlp;
    } else if (what->x != NULL) {
        DS_TRY(ds_result_number_at(&values[0], row, what->x, what->rows));
    }
    DS_TRY(ds_result_number_at(&values[1], row, what->value, what->rows));
    if (what->low != NULL) DS_TRY(ds_result_number_at(&values[2], row, what->low, what->rows));
    if (what->high != NULL) DS_TRY(ds_result_number_at(&values[3], row, what->high, what->rows));
    DS_TRY(ds_data_row(&drawing->data, values, 4));
done:
    return status;
}

static ds_status draw(ds_drawing *drawing, const profile *what, const json_t *results) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    for (size_t c = 0; c < json_array_size(merged_of(results)); c++) {
        const json_t *checkpoint = json_array_get(merged_of(results), c), *rows = rows_of(what, checkpoint);
        const char *label, *word;
        DS_TRY(ds_result_text(&label, checkpoint, "label", "merged"));
        DS_TRY(ds_labels_note(&word, &names, label)); /* the same in every figure, whoever is drawn there */
        if (count_rows(what, checkpoint) == 0) continue;
        DS_TRY(ds_labels_add(&names, label));
        DS_TRY(ds_data_block(&drawing->data, "checkpoint", "x\tvalue\tlow\thigh"));
        for (size_t i = 0, number = 0; i < json_array_size(rows); i++) {
            if (is_drawn(what, json_array_get(rows, i))) DS_TRY(draw_row(drawing, what, json_array_get(rows, i), number++));
        }
    }
    DS_TRY(ds_series_finish(drawing, &names, &what->axes));
done:
    ds_labels_release(&names);
    return status;
}

/* An interval's words where the first series has it. */
static const char *interval_words(const profile *what, const json_t *results) {
    for (size_t c = 0; c < json_array_size(merged_of(results)) && what->intervals; c++) {
        const json_t *checkpoint = json_array_get(merged_of(results), c);
        if (count_rows(what, checkpoint) > 0) return ds_interval_words(rows_of(what, checkpoint), "delta_loss_ci95");
    }
    return "";
}

static ds_status describe(ds_text *caption, const profile *what, const json_t *results) {
    ds_status status = DS_OK;
    const size_t all = json_array_size(merged_of(results));
    const char *before = " of ", *intervals = interval_words(what, results);
    DS_TRY(ds_text_printf(caption, "%s", what->words));
    for (size_t c = 0; c < all; c++) {
        const json_t *checkpoint = json_array_get(merged_of(results), c);
        if (count_rows(what, checkpoint) == 0) continue;
        DS_TRY(ds_text_printf(caption, "%s%s", before, DS_SHOW(json_string_value(json_object_get(checkpoint, "label")))));
        before = ", ";
    }
    DS_TRY(ds_text_printf(
        caption, ", a series each%s.",
        json_is_true(json_object_get(results, "same_data")) ? "" : ", not all of them measured on the same windows"));
    if (*intervals != '\0') status = ds_text_printf(caption, " %s", intervals);
done:
    return status;
}

/* ---- which there are --------------------------------------------------------------------------------------------- */

/* "closed:3.mlp" */
static bool closes_one(const json_t *row) {
    const char *name = json_string_value(json_object_get(row, "name"));
    ds_place place;
    return name != NULL && strncmp(name, "closed:", 7) == 0 && name[7] >= '0' && name[7] <= '9' &&
           ds_result_sublayer(&place, name + 7) == DS_OK;
}

static bool has_exponent(const json_t *row) { return json_is_number(json_object_get(row, "alpha")); }

#define BAND(of) of "/quantiles/0.5", of "/quantiles/0.05", of "/quantiles/0.95"
#define MERGED(name, ...)                                                                                                      \
    static const profile name = {__VA_ARGS__};                                                                                 \
    bool ds_merged_##name##_applies(const json_t *results) { return applies(&name, results); }                                 \
    ds_status ds_merged_##name##_draw(ds_drawing *drawing, const json_t *results) { return draw(drawing, &name, results); }    \
    ds_status ds_merged_##name##_describe(ds_text *caption, const json_t *results) { return describe(caption, &name, results); }

MERGED(gates, "gates/sublayers", NULL, "index", "beta/mean", "beta/quantiles/0.05", "beta/quantiles/0.95",
       {"sublayer", "gate", "gates", false},
       "Mean gate β over tokens by sublayer (even: attention, odd: MLP), with bars from the 5th to the 95th percentile,", false)
MERGED(
    eigenvalues, "gates/sublayers", NULL, "index", "eigenvalue/mean", "eigenvalue/quantiles/0.05", "eigenvalue/quantiles/0.95",
    {"sublayer", "moved eigenvalue", "changes", false},
    "Mean moved eigenvalue 1 − mβ‖k‖² over tokens by sublayer (even: attention, odd: MLP), with bars from the 5th to the 95th "
    "percentile,",
    false)
MERGED(edits, "gates/sublayers", NULL, "index", "relative_edit", NULL, NULL, {"sublayer", "relative edit", "sizes", true},
       "Size of the edit relative to the state, mean over tokens, by sublayer (even: attention, odd: MLP),", false)
MERGED(costs, "ablate/cases", closes_one, "name", "delta_loss", "delta_loss_ci95/0", "delta_loss_ci95/1",
       {"sublayer", "change of loss (nats)", "changes", false},
       "Increase of the loss when the gate of one sublayer (even: attention, odd: MLP) is forced shut,", true)
MERGED(smallest, "spectrum/distribution", NULL, "depth", BAND("smallest"),
       {"sublayers accumulated", "smallest singular value", "powers", true},
       "Smallest singular value of the shortcut accumulated over the first sublayers: median over tokens, with bars from the "
       "5th to "
       "the 95th percentile,",
       false)
MERGED(gains, "spectrum/distribution", NULL, "depth", "row_gain/mean", "row_gain/quantiles/0.05", "row_gain/quantiles/0.95",
       {"sublayers accumulated", "row gain", "sizes", true},
       "Largest absolute row sum of the shortcut accumulated over the first sublayers: mean over tokens, with bars from the "
       "5th to "
       "the 95th percentile,",
       false)
MERGED(gradients, "gradflow/states", NULL, "index", "grad_norm", NULL, NULL,
       {"state", "gradient norm (nats / state unit)", "powers", true},
       "Gradient of the mean loss reaching each state (Frobenius norm over the batch)", false)
MERGED(
    exponents, "spectrum/weights", has_exponent, NULL, "alpha", NULL, NULL, {"matrix", "exponent", "sizes", false},
    "Exponent α of the power law fitted to the tail of the squared singular values of every weight matrix, in the order of the "
    "checkpoint,",
    false)
