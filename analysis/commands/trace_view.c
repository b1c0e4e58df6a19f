#include "trace_view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"
#include "deltascope/report.h"

static const struct {
    const char *word, *title, *phrase;
} shown[] = {
    [DS_TRACE_BETA] = {"beta", "Gate β: 0 skips, 1 projects, 2 reflects", "Gate β"},
    [DS_TRACE_EIGENVALUE] = {"eigenvalue", "Eigenvalue 1 - m β |k|²: 1 skips, 0 projects, -1 reflects",
                             "Moved eigenvalue 1 - m β |k|² of the shortcut"},
    [DS_TRACE_EDIT] = {"edit", "Relative edit |ΔX| / |X|",
                       "Frobenius norm of the edit relative to that of the state before it"},
    [DS_TRACE_LOSS] = {"loss", "Change of the token's loss", "Change of the loss of the token itself, given those before it,"},
};
enum { SHOWN = sizeof shown / sizeof *shown };

size_t ds_trace_shown(const char *word) {
    size_t found = 0;
    while (found + 1 < SHOWN && strcmp(shown[found].word, word) != 0) found++;
    return found;
}

double ds_trace_mean_loss(const double *loss, size_t tokens) { return tokens < 2 ? NAN : ds_mean(loss + 1, tokens - 1); }

static ds_status make_labels(char ***out, const ds_trace_view *view, bool unicode) {
    ds_status status = DS_OK;
    ds_text label = {0};
    DS_NEW(*out, view->trace->tokens);
    for (size_t t = 0; t < view->trace->tokens && status == DS_OK; t++) {
        label.length = 0;
        DS_TRY(ds_token_label(&label, view->tokenizer, view->ids[t], unicode));
        (*out)[t] = ds_strdup(label.bytes);
        status = (*out)[t] != NULL ? DS_OK : DS_ERR_SYSTEM;
    }
done:
    ds_text_release(&label);
    return status;
}

static ds_status make_rows(ds_trace_view *view) {
    ds_status status = DS_OK;
    const ds_trace *trace = view->trace;
    bool loss = view->shown == DS_TRACE_LOSS;
    size_t tokens = trace->tokens;
    char name[32];
    view->rows = loss ? trace->count : trace->sublayers;
    DS_NEW(view->names, view->rows);
    DS_NEW(view->cells, view->rows * tokens);
    for (size_t r = 0; r < view->rows && status == DS_OK; r++) {
        view->names[r] = ds_strdup(loss ? trace->cases[r]->name : ds_sublayer_name(name, r));
        status = view->names[r] != NULL ? DS_OK : DS_ERR_SYSTEM;
    }
    for (size_t i = 0; i < view->rows * tokens; i++)
        view->cells[i] = loss ? trace->forced[i] - trace->loss[i % tokens] : trace->values[view->shown][i];
done:
    return status;
}

ds_status ds_trace_view_init(ds_trace_view *view, const ds_trace *trace, size_t what, const ds_tokenizer *tokenizer,
                             const uint32_t *ids) {
    ds_status status = DS_OK;
    *view = (ds_trace_view){.trace = trace, .tokenizer = tokenizer, .ids = ids, .shown = what};
    DS_TRY(make_labels(&view->labels, view, true));
    DS_TRY(make_labels(&view->plain, view, false));
    DS_TRY(make_rows(view));
done:
    if (status != DS_OK) ds_trace_view_release(view);
    return status;
}

static void free_all(char **words, size_t count) {
    for (size_t i = 0; words != NULL && i < count; i++) free(words[i]);
    free(words);
}

void ds_trace_view_release(ds_trace_view *view) {
    size_t tokens = view->trace == NULL ? 0 : view->trace->tokens;
    free_all(view->labels, tokens);
    free_all(view->plain, tokens);
    free_all(view->names, view->rows);
    free(view->cells);
    *view = (ds_trace_view){0};
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
                      .columns = view->trace->tokens,
                      .row_names = (const char *const *)view->names,
                      .column_names = (const char *const *)(unicode ? view->labels : view->plain),
                      .values = view->cells,
                      .diverging = view->shown != DS_TRACE_EDIT};
    if (view->shown >= DS_TRACE_EDIT) DS_TRY(usual_size(&size, view->cells, view->rows * view->trace->tokens));
    heat->low = view->shown == DS_TRACE_EIGENVALUE ? 1 : view->shown == DS_TRACE_LOSS ? -size : 0;
    heat->high = view->shown == DS_TRACE_EIGENVALUE ? -1 : view->shown == DS_TRACE_BETA ? 2 : size;
done:
    return status;
}

ds_status ds_trace_view_caption(ds_text *caption, const ds_trace_view *view) {
    ds_status status = DS_OK;
    const ds_trace *trace = view->trace;
    bool loss = view->shown == DS_TRACE_LOSS;
    DS_TRY(ds_text_printf(caption, "%s for %zu tokens (columns, as read) and %zu %s (rows%s).", shown[view->shown].phrase,
                          trace->tokens, view->rows, loss ? "forced gates" : "sublayers", loss ? "" : ", first to last"));
    if (!loss && trace->count != 0) DS_TRY(ds_text_printf(caption, " Measured with a gate forced: %s.", trace->cases[0]->name));
    if (trace->tokens > 1)
        DS_TRY(ds_text_printf(caption,
                              " Loss of the intact model: %.4f nats per token over the %zu that have a token before them.",
                              ds_trace_mean_loss(trace->loss, trace->tokens), trace->tokens - 1));
done:
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------ */

static void put_tokens(ds_json_builder *b, const ds_trace_view *view) {
    ds_json_begin_array(b, "tokens");
    for (size_t t = 0; t < view->trace->tokens; t++) {
        size_t length = 0;
        const char *piece = view->tokenizer == NULL ? NULL : ds_tokenizer_piece(view->tokenizer, view->ids[t], &length);
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "position", t);
        ds_json_put_count(b, "id", view->ids[t]);
        ds_json_put(b, "text", piece != NULL && ds_is_utf8(piece, length) ? json_stringn(piece, length) : json_null());
        ds_json_put_text(b, "label", view->labels[t]);
        ds_json_put_real(b, "loss", view->trace->loss[t]);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_sublayers(ds_json_builder *b, const ds_trace *trace) {
    char name[32];
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < trace->sublayers && trace->values[0] != NULL; s++) {
        size_t row = s * trace->tokens;
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_reals(b, "beta", trace->values[DS_TRACE_BETA] + row, trace->tokens);
        ds_json_put_reals(b, "eigenvalue", trace->values[DS_TRACE_EIGENVALUE] + row, trace->tokens);
        ds_json_put_reals(b, "relative_edit", trace->values[DS_TRACE_EDIT] + row, trace->tokens);
        ds_json_end(b);
    }
    ds_json_end(b);
}

ds_status ds_trace_view_json(json_t **results, const ds_trace_view *view) {
    ds_json_builder b = {0};
    const ds_trace *trace = view->trace;
    double intact = ds_trace_mean_loss(trace->loss, trace->tokens);
    ds_json_begin_object(&b, NULL);
    ds_json_put_real(&b, "loss", intact);
    put_tokens(&b, view);
    ds_json_put_text(&b, "forced", view->shown != DS_TRACE_LOSS && trace->count != 0 ? trace->cases[0]->name : NULL);
    put_sublayers(&b, trace);
    ds_json_begin_array(&b, "cases");
    for (size_t c = 0; c < trace->count; c++) {
        const double *loss = trace->forced + c * trace->tokens;
        ds_json_begin_object(&b, NULL);
        ds_json_put_text(&b, "name", trace->cases[c]->name);
        ds_json_put_real(&b, "loss", ds_trace_mean_loss(loss, trace->tokens));
        ds_json_put_real(&b, "delta_loss", ds_trace_mean_loss(loss, trace->tokens) - intact);
        ds_json_put_reals(&b, "token_loss", loss, trace->tokens);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

static const ds_column gate_columns[] = {
    {"position", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"id", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"token", NULL, NULL, DS_COLUMN_TEXT, 0},       {"loss", NULL, "nats", DS_COLUMN_FIXED, 4},
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},    {"beta", "β", NULL, DS_COLUMN_FIXED, 3},
    {"eigenvalue", NULL, NULL, DS_COLUMN_FIXED, 3}, {"relative_edit", "edit/|X|", NULL, DS_COLUMN_FIXED, 3},
};
static const ds_column case_columns[] = {
    {"position", NULL, NULL, DS_COLUMN_INTEGER, 0}, {"id", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"token", NULL, NULL, DS_COLUMN_TEXT, 0},       {"case", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"loss", NULL, "nats", DS_COLUMN_FIXED, 4},     {"delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4},
};

static void begin_row(ds_table *table, const ds_trace_view *view, size_t token) {
    ds_table_integer(table, (int64_t)token);
    ds_table_integer(table, view->ids[token]);
    ds_table_text(table, view->labels[token]);
}

ds_status ds_trace_view_gate_table(ds_table **table, const ds_trace_view *view) {
    ds_status status = DS_OK;
    const ds_trace *trace = view->trace;
    char name[32];
    DS_TRY(ds_table_new(table, "Gates by token", gate_columns, sizeof gate_columns / sizeof *gate_columns));
    for (size_t t = 0; t < trace->tokens && trace->values[0] != NULL; t++) {
        for (size_t s = 0; s < trace->sublayers; s++) {
            begin_row(*table, view, t);
            ds_table_real(*table, trace->loss[t]);
            ds_table_text(*table, ds_sublayer_name(name, s));
            for (size_t q = 0; q < DS_TRACE_QUANTITIES; q++) ds_table_real(*table, trace->values[q][s * trace->tokens + t]);
        }
    }
done:
    return status;
}

ds_status ds_trace_view_case_table(ds_table **table, const ds_trace_view *view) {
    ds_status status = DS_OK;
    const ds_trace *trace = view->trace;
    DS_TRY(ds_table_new(table, "Loss by token under forced gates", case_columns, sizeof case_columns / sizeof *case_columns));
    for (size_t t = 0; t < trace->tokens; t++) {
        for (size_t c = 0; c < trace->count; c++) {
            double loss = trace->forced[c * trace->tokens + t];
            begin_row(*table, view, t);
            ds_table_text(*table, trace->cases[c]->name);
            ds_table_real(*table, loss);
            ds_table_real(*table, loss - trace->loss[t]);
        }
    }
done:
    return status;
}
