/* A saved result, as plot and report read it: every figure, caption, table and finding that can be made of it is text fit for
 * people, and what cannot is refused in a sentence. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/report.h"
#include "fuzz.h"

static void is_fit_for_people(const char *text, size_t length) {
    MUST(ds_is_utf8(text, length));
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t point = 0;
        step = ds_utf8_decode(&point, text + at, length - at);
        bool layout = point == '\t' || point == '\n' || point == '\r'; /* lines of CSV end in both */
        MUST(layout || !ds_is_hidden(point));
    }
}

static void is_done_or_refused(ds_status status) {
    MUST(status == DS_OK || (status == DS_ERR_INPUT && strlen(ds_error_text()) > 10));
}

static void written_is_fit(const ds_folder *folder, const char *id, const char *ending) {
    char name[128], *bytes;
    size_t length;
    (void)snprintf(name, sizeof name, "%s.%s", id, ending);
    MUST(ds_read_file_in(&bytes, &length, folder, name, 1 << 28) == DS_OK);
    is_fit_for_people(bytes, length);
    free(bytes);
}

static void draw(const ds_folder *folder, const ds_figure *figure, const json_t *results, const json_t *envelope) {
    const ds_figure_options options = {.width_cm = 8.5};
    ds_text caption = {0};
    ds_figure_outcome outcome;
    ds_status status = ds_figure_write(&outcome, folder, figure, results, &options);
    is_done_or_refused(status);
    if (status == DS_OK && !outcome.empty) {
        written_is_fit(folder, ds_figure_id(figure), "tsv");
        written_is_fit(folder, ds_figure_id(figure), "gp");
    }
    status = ds_figure_caption(&caption, figure, results, envelope);
    is_done_or_refused(status);
    if (status == DS_OK) is_fit_for_people(caption.bytes, caption.length);
    ds_text_release(&caption);
}

static void make_tables(const json_t *results) {
    for (size_t i = 0; i < DS_REPORT_TABLES; i++) {
        ds_table *table = NULL;
        ds_status status = ds_result_table_new(&table, ds_report_table_at(i), results);
        is_done_or_refused(status);
        for (ds_table_format format = DS_TABLE_TERMINAL; table != NULL && format <= DS_TABLE_LATEX; format++) {
            ds_text text = {0};
            MUST(ds_table_format_text(&text, table, format, NULL) == DS_OK);
            is_fit_for_people(text.bytes, text.length);
            ds_text_release(&text);
        }
        ds_table_free(&table);
    }
}

static void find(const json_t *envelope) {
    ds_findings findings = {.count = 0};
    json_t *rows = NULL;
    ds_status status = ds_findings_find(&findings, envelope);
    is_done_or_refused(status);
    if (status == DS_OK) {
        is_fit_for_people(findings.verdict.bytes, findings.verdict.length);
        MUST(ds_findings_json(&rows, &findings) == DS_OK);
    }
    json_decref(rows);
    ds_findings_release(&findings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = relation_file("result.json", data, size);
    json_t *results, *envelope;
    ds_folder *folder;
    ds_status status = ds_results_load(&results, &envelope, &path, 1, NULL);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    MUST(ds_folder_open(&folder, relation_path("figures")) == DS_OK);
    for (size_t i = 0; i < ds_figure_count(); i++) {
        if (ds_figure_applies(ds_figure_at(i), results)) draw(folder, ds_figure_at(i), results, envelope);
    }
    make_tables(results);
    find(envelope);
    ds_folder_close(&folder);
    json_decref(results);
    json_decref(envelope);
    return 0;
}
