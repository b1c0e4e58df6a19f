#include "trace_view.h"

#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

static const struct {
    const char *title, *phrase, *key; /* key: of a sublayer's numbers in results */
} shown[DS_TRACE_SHOWN] = {
    [DS_TRACE_BETA] = {"Gate β: 0 skips, 1 projects, 2 reflects", "Gate β", "beta"},
    [DS_TRACE_EIGENVALUE] = {"Eigenvalue 1 - m β |k|²: 1 skips, 0 projects, -1 reflects",
                             "Moved eigenvalue 1 - m β |k|² of the shortcut", "eigenvalue"},
    [DS_TRACE_EDIT] = {"Relative edit |ΔX| / |X|", "Frobenius norm of the edit relative to that of the state before it",
                       "relative_edit"},
    [DS_TRACE_SOURCES] = {"Effective sources e^H of a read: 1 takes one alone", "Effective sources e^H of a read's weights",
                          "effective_sources"},
    [DS_TRACE_MIXING] = {"Share of |R| beside its diagonal: 0 keeps the streams apart",
                         "Share of the mixing matrix |R| beside its diagonal", "off_diagonal"},
    [DS_TRACE_LOSS] = {"Change of the token's loss", "Change of the loss of the token itself, given those before it,", NULL},
};

static double real_in(const json_t *numbers, size_t index) {
    const json_t *value = json_array_get(numbers, index);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const json_t *token_at(const json_t *results, size_t token) {
    return json_array_get(json_object_get(results, "tokens"), token);
}

static const char *text_in(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }

/* ---- the picture ------------------------------------------------------------------------------------------------- */

static ds_status make_labels(ds_trace_view *view, const ds_tokenizer *tokenizer) {
    ds_status status = DS_OK;
    ds_text label = {0};
    DS_NEW(view->labels, view->tokens);
    DS_NEW(view->plain, view->tokens);
    for (size_t t = 0; t < view->tokens; t++) {
        const json_t *token = token_at(view->results, t);
        view->labels[t] = text_in(token, "label");
        label.length = 0;
        DS_TRY(ds_text_append(&label, "", 0)); /* a token of no bytes has an empty label */
        DS_TRY(ds_token_label(&label, tokenizer, (uint32_t)json_integer_value(json_object_get(token, "id")), false));
        if ((view->plain[t] = ds_strdup(label.bytes)) == NULL) {
            status = DS_ERR_SYSTEM;
            goto done;
        }
    }
done:
    ds_text_release(&label);
    return status;
}

static ds_status make_rows(ds_trace_view *view) {
    ds_status status = DS_OK;
    bool loss = view->shown == DS_TRACE_LOSS;
    const json_t *rows = json_object_get(view->results, loss ? "cases" : "sublayers");
    view->rows = json_array_size(rows);
    DS_NEW(view->names, view->rows);
    DS_NEW(view->cells, view->rows * view->tokens);
    for (size_t r = 0; r < view->rows; r++) {
        const json_t *row = json_array_get(rows, r),
                     *numbers = json_object_get(row, loss ? "token_loss" : shown[view->shown].key);
        view->names[r] = text_in(row, "name");
        for (size_t t = 0; t < view->tokens; t++) {
            double intact = loss ? ds_json_real_at(token_at(view->results, t), "loss") : 0;
            view->cells[r * view->tokens + t] = real_in(numbers, t) - intact;
        }
    }
done:
    return status;
}

ds_status ds_trace_view_init(ds_trace_view *view, const json_t *options, const json_t *results, const ds_tokenizer *tokenizer) {
    ds_status status = DS_OK;
    *view = (ds_trace_view){.results = results,
                            .shown = ds_trace_find(text_in(options, "show")),
                            .tokens = json_array_size(json_object_get(results, "tokens"))};
    DS_TRY(make_labels(view, tokenizer));
    DS_TRY(make_rows(view));
done:
    if (status != DS_OK) ds_trace_view_release(view);
    return status;
}

void ds_trace_view_release(ds_trace_view *view) {
    for (size_t t = 0; view->plain != NULL && t < view->tokens; t++) free(view->plain[t]);
    free(view->plain);
    free((void *)view->labels);
    free((void *)view->names);
    free(view->cells);
    *view = (ds_trace_view){.tokens = 0};
}

/* A few tokens lie far out and would leave the rest without contrast. */
static ds_status usual_size(double *size, const double *cells, size_t count) {
    ds_status status = DS_OK;
    ds_summary summary = {0};
    DS_TRY(ds_summary_init(&summary, 0));
    for (size_t i = 0; i < count; i++) {
        double magnitude = fabs(cells[i]);
        if (!isnan(magnitude)) DS_TRY(ds_summary_add(&summary, &magnitude, 1));
    }
    ds_statistics statistics = ds_summary_statistics(&summary);
    *size = statistics.quantiles[5] > 0 ? statistics.quantiles[5] : statistics.max;
    if (!(*size > 0)) *size = 1; /* nothing changed, or nothing to see: any scale will do */
done:
    ds_summary_release(&summary);
    return status;
}

ds_status ds_trace_view_heat(ds_heat *heat, const ds_trace_view *view, bool unicode) {
    ds_status status = DS_OK;
    double size = 1;
    *heat = (ds_heat){.title = shown[view->shown].title,
                      .unit = view->shown == DS_TRACE_LOSS ? "nats" : NULL,
                      .rows = view->rows,
                      .columns = view->tokens,
                      .row_names = view->names,
                      .column_names = unicode ? view->labels : (const char *const *)view->plain,
                      .values = view->cells,
                      .diverging = view->shown < DS_TRACE_EDIT || view->shown == DS_TRACE_LOSS};
    if (view->shown >= DS_TRACE_EDIT) DS_TRY(usual_size(&size, view->cells, view->rows * view->tokens));
    heat->low = view->shown == DS_TRACE_EIGENVALUE ? 1 : view->shown == DS_TRACE_LOSS ? -size : 0;
    heat->high = view->shown == DS_TRACE_EIGENVALUE ? -1 : view->shown == DS_TRACE_BETA ? 2 : size;
done:
    return status;
}

ds_status ds_trace_view_caption(ds_text *caption, const ds_trace_view *view) {
    ds_status status = DS_OK;
    const char *forced = text_in(view->results, "forced");
    bool loss = view->shown == DS_TRACE_LOSS;
    DS_TRY(ds_text_printf(caption, "%s for %zu tokens (columns, as read) and %zu %s (rows%s).", shown[view->shown].phrase,
                          view->tokens, view->rows,
                          loss                              ? "forced cases"
                          : view->shown == DS_TRACE_SOURCES ? "reads"
                                                            : "sublayers",
                          loss ? "" : ", first to last"));
    if (forced != NULL) DS_TRY(ds_text_printf(caption, " Measured with a gate forced: %s.", forced));
    if (view->tokens > 1)
        DS_TRY(ds_text_printf(caption,
                              " Loss of the intact model: %.4f nats per token over the %zu that have a token before them.",
                              ds_json_real_at(view->results, "loss"), view->tokens - 1));
done:
    return status;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

const ds_column ds_trace_gate_columns[DS_TRACE_GATE_COLUMNS] = {
    {"position", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"id", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"token", NULL, NULL, DS_COLUMN_TEXT, 0},       {"loss", NULL, "nats", DS_COLUMN_FIXED, 4},
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},    {"beta", "β", NULL, DS_COLUMN_FIXED, 3},
    {"eigenvalue", NULL, NULL, DS_COLUMN_FIXED, 3}, {"relative_edit", "edit/|X|", NULL, DS_COLUMN_FIXED, 3},
};
const ds_column ds_trace_case_columns[DS_TRACE_CASE_COLUMNS] = {
    {"position", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"id", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"token", NULL, NULL, DS_COLUMN_TEXT, 0},       {"case", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"loss", NULL, "nats", DS_COLUMN_FIXED, 4},     {"delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4},
};

static void begin_row(ds_table *table, const json_t *token) {
    ds_table_integer(table, (int64_t)json_integer_value(json_object_get(token, "position")));
    ds_table_integer(table, (int64_t)json_integer_value(json_object_get(token, "id")));
    ds_table_text(table, text_in(token, "label"));
}

ds_status ds_trace_gate_table(ds_table **table, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *token, *sublayer;
    size_t t, s;
    DS_TRY(ds_table_new(table, "Gates by token", ds_trace_gate_columns, DS_TRACE_GATE_COLUMNS));
    ds_table_describe(*table, "trace-gates", NULL);
    json_array_foreach(json_object_get(results, "tokens"), t, token) {
        json_array_foreach(json_object_get(results, "sublayers"), s, sublayer) {
            if (json_object_get(sublayer, shown[0].key) == NULL) continue; /* of a rule without gates */
            begin_row(*table, token);
            ds_table_real(*table, ds_json_real_at(token, "loss"));
            ds_table_text(*table, text_in(sublayer, "name"));
            for (size_t q = 0; q < DS_TRACE_QUANTITIES; q++)
                ds_table_real(*table, real_in(json_object_get(sublayer, shown[q].key), t));
        }
    }
done:
    return status;
}

ds_status ds_trace_case_table(ds_table **table, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *token, *item;
    size_t t, c;
    DS_TRY(ds_table_new(table, "Loss by token under forced gates", ds_trace_case_columns, DS_TRACE_CASE_COLUMNS));
    ds_table_describe(*table, "trace-cases", NULL);
    json_array_foreach(json_object_get(results, "tokens"), t, token) {
        json_array_foreach(json_object_get(results, "cases"), c, item) {
            double loss = real_in(json_object_get(item, "token_loss"), t);
            begin_row(*table, token);
            ds_table_text(*table, text_in(item, "name"));
            ds_table_real(*table, loss);
            ds_table_real(*table, loss - ds_json_real_at(token, "loss"));
        }
    }
done:
    return status;
}
