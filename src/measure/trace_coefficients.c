#include "trace_coefficients.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "depth_terms.h"
#include "stream_terms.h"

static bool has_streams(const ds_spec *spec) { return ds_rule_kind_of(spec->rule) == DS_KIND_STREAMS; }

bool ds_trace_has_coefficients(const ds_spec *spec) { return ds_rule_keeps_history(spec->rule) || has_streams(spec); }

static ds_status row_init(ds_trace_row *row, const ds_spec *spec, size_t sublayer, size_t tokens) {
    ds_status status;
    DS_TRY(ds_read_sources(&row->sources, &row->count, spec, sublayer));
    row->width = has_streams(spec) ? spec->streams.count * (spec->streams.count + 2) : 2 * row->count + 2;
    DS_NEW(row->numbers, tokens * row->width);
done:
    return status;
}

ds_status ds_trace_coefficients_init(ds_trace_coefficients *out, const ds_spec *spec, size_t tokens) {
    ds_status status = DS_OK;
    size_t rows = ds_spec_forces(spec); /* a readout that is routed is a row */
    *out = (ds_trace_coefficients){.tokens = tokens, .sublayers = ds_spec_sublayers(spec)};
    out->streams = has_streams(spec) ? spec->streams.count : 0;
    DS_NEW(out->rows, rows);
    out->count = rows;
    for (size_t s = 0; s < rows; s++) DS_TRY(row_init(&out->rows[s], spec, s, tokens));
done:
    return status;
}

void ds_trace_coefficients_release(ds_trace_coefficients *coefficients) {
    for (size_t s = 0; coefficients->rows != NULL && s < coefficients->count; s++) {
        free(coefficients->rows[s].sources);
        free(coefficients->rows[s].numbers);
    }
    free(coefficients->rows);
    *coefficients = (ds_trace_coefficients){.count = 0};
}

void ds_trace_coefficients_keep(ds_trace_coefficients *coefficients, const ds_observation *seen) {
    const ds_trace_row *row = &coefficients->rows[seen->sublayer];
    memcpy(row->numbers, seen->streams->mixing, coefficients->tokens * row->width * sizeof *row->numbers);
}

ds_status ds_trace_coefficients_route(ds_trace_coefficients *out, ds_workspace *workspace, const ds_model *model,
                                      const ds_batch *batch) {
    ds_status status;
    const ds_spec *spec = ds_model_spec(model);
    void *history =
        ds_alloc_array(out->tokens * ds_spec_planes(spec) * spec->hidden, ds_precision_size(ds_model_precision(model)));
    if (history == NULL) return DS_ERR_SYSTEM;
    DS_TRY(ds_embed(workspace, model, batch, history));
    DS_TRY(ds_sublayers(workspace, model, batch, history, 0, out->sublayers, NULL, NULL));
    for (size_t s = 0; s < out->count; s++)
        if (out->rows[s].count > 0) DS_TRY(ds_route(workspace, model, batch, s, history, out->rows[s].numbers));
done:
    free(history);
    return status;
}

/* Number `at` of all tokens. */
static void put_column(ds_json_builder *b, const char *key, const ds_trace_coefficients *all, const ds_trace_row *row,
                       size_t at) {
    ds_json_begin_array(b, key);
    for (size_t t = 0; t < all->tokens; t++) ds_json_put_real(b, NULL, row->numbers[t * row->width + at]);
    ds_json_end(b);
}

static void put_columns(ds_json_builder *b, const char *key, const ds_trace_coefficients *all, const ds_trace_row *row,
                        size_t first, size_t count) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) put_column(b, NULL, all, row, first + i);
    ds_json_end(b);
}

static void put_read(ds_json_builder *b, const ds_trace_coefficients *all, const ds_trace_row *row) {
    ds_json_begin_array(b, "sources");
    for (size_t j = 0; j < row->count; j++) ds_json_put_text(b, NULL, row->sources[j].name);
    ds_json_end(b);
    put_columns(b, "weights", all, row, 0, row->count);
    ds_json_begin_array(b, "effective_sources");
    for (size_t t = 0; t < all->tokens && row->count > 0; t++)
        ds_json_put_real(b, NULL, exp(ds_share_entropy(row->numbers + t * row->width, row->count)));
    ds_json_end(b);
}

static void put_mixing(ds_json_builder *b, const ds_trace_coefficients *all, const ds_trace_row *row) {
    size_t n = all->streams;
    put_columns(b, "pre", all, row, 0, n);
    put_columns(b, "post", all, row, n, n);
    ds_json_begin_array(b, "res");
    for (size_t to = 0; to < n; to++) put_columns(b, NULL, all, row, (2 + to) * n, n);
    ds_json_end(b);
    ds_json_begin_array(b, "off_diagonal");
    for (size_t t = 0; t < all->tokens; t++)
        ds_json_put_real(b, NULL, ds_off_diagonal(row->numbers + t * row->width + 2 * n, n));
    ds_json_end(b);
}

void ds_trace_coefficients_put(ds_json_builder *b, const ds_trace_coefficients *coefficients) {
    for (size_t s = 0; s < coefficients->count; s++) {
        const ds_trace_row *row = &coefficients->rows[s];
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", s);
        ds_json_put_text(b, "name", s < coefficients->sublayers ? ds_sublayer_name(name, s) : "final");
        if (coefficients->streams == 0)
            put_read(b, coefficients, row);
        else
            put_mixing(b, coefficients, row);
        ds_json_end(b);
    }
}
