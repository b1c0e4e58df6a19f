/* A report's files: figures and tables, the page that shows them, the results they are made from. */
#include <stdlib.h>
#include <string.h>

#include "cli/columns.h"
#include "cli/version.h"
#include "deltascope/run.h"
#include "deltascope/train.h"
#include "report.h"

/* ---- sections ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *id, *title, *lead;
} chapters[] = {
    {"checkpoint", "Checkpoint", "What the file holds."},
    {"gates", "Gates", "How far each sublayer moves the state along its direction k, and what it overwrites."},
    {"spectrum", "Spectrum of the shortcut",
     "The frozen operator A = I − mβkkᵀ of a token has one eigenvalue that can differ from 1; over depth the operators "
     "multiply."},
    {"ablation", "What each gate is worth", "The loss when gates are forced, on the same windows as the intact model."},
    {"gradient", "Gradient flow", "How the gradient reaches each depth, and by which path."},
    {"weights", "Weights", "The weight matrices beside random ones."},
    {"checks", "Checks", "Statements of the paper and of the arithmetic, each measured against a derived tolerance."},
    {"more", "More figures", "What else the results allow."},
};
enum { CHAPTERS = sizeof chapters / sizeof *chapters, CHECKPOINT = 0, ABLATION = 3, MORE = CHAPTERS - 1 };

static size_t chapter_of(const char *figure) {
    static const struct {
        const char *figure, *chapter;
    } places[] = {{"gate-distribution", "gates"},  {"regime-shares", "gates"},       {"discrepancy", "gates"},
                  {"edit-sizes", "gates"},         {"eigenvalue-beta", "spectrum"},  {"accumulated-eigenvalues", "spectrum"},
                  {"singular-values", "spectrum"}, {"depth-spectrum", "spectrum"},   {"depth-gain", "spectrum"},
                  {"coherence", "spectrum"},       {"closed-gate-loss", "ablation"}, {"closed-gate-cumulative", "ablation"},
                  {"controls", "ablation"},        {"gradient-paths", "gradient"},   {"frozen-full", "gradient"},
                  {"weight-spectra", "weights"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(places[i].figure, figure) != 0) continue;
        for (size_t c = 0; c < CHAPTERS; c++) {
            if (strcmp(chapters[c].id, places[i].chapter) == 0) return c;
        }
    }
    return MORE;
}

/* ---- what a page is made of -------------------------------------------------------------------------------------- */

typedef struct document {
    const ds_folder *folder, *figure_folder;
    ds_manifest *files;
    const json_t *envelope, *results;
    const ds_signer *signer;
    ds_page_section sections[CHAPTERS];
    size_t figure_count;
    const ds_figure **figures; /* (figure_count): those that apply */
    ds_figure_outcome *outcome;
    ds_text *caption, *command, *missing; /* (figure_count); missing: why there is no picture */
    char **svg;
    ds_table *tables[DS_REPORT_TABLES + 1]; /* those of the results, then the findings */
    ds_text title, footer, checkpoint_lead, ablation_lead;
} document;

static void release(document *all) {
    for (size_t i = 0; i < all->figure_count; i++) {
        if (all->caption != NULL) ds_text_release(&all->caption[i]);
        if (all->command != NULL) ds_text_release(&all->command[i]);
        if (all->missing != NULL) ds_text_release(&all->missing[i]);
        if (all->svg != NULL) free(all->svg[i]);
    }
    free((void *)all->figures);
    free(all->outcome);
    free(all->caption);
    free(all->command);
    free(all->missing);
    free(all->svg);
    for (size_t i = 0; i <= DS_REPORT_TABLES; i++) ds_table_free(&all->tables[i]);
    ds_text_release(&all->title);
    ds_text_release(&all->footer);
    ds_text_release(&all->checkpoint_lead);
    ds_text_release(&all->ablation_lead);
}

/* Files of one table; kind NULL: the findings. */
static ds_status write_table(const document *all, ds_table *table, const ds_result_table *kind) {
    ds_status status = DS_OK;
    ds_text label = {0}, path = {0};
    DS_TRY(ds_text_printf(&label, "report-%s", kind == NULL ? "findings" : kind->id + strlen("table-")));
    DS_TRY(ds_text_printf(&path, "tables/%s", label.bytes + strlen("report-")));
    ds_table_describe(table, label.bytes, kind == NULL ? NULL : kind->note);
    ds_table_attribute(table, json_string_value(ds_json_at(all->envelope, "checkpoint/path")));
    DS_TRY(ds_table_write_files(all->folder, path.bytes, table));
    DS_TRY(ds_manifest_add(all->files, "%s.csv", path.bytes));
    DS_TRY(ds_manifest_add(all->files, "%s.tex", path.bytes));
done:
    ds_text_release(&label);
    ds_text_release(&path);
    return status;
}

static ds_status make_tables(document *all, const ds_findings *findings, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    for (size_t i = 0; i <= DS_REPORT_TABLES; i++) {
        const ds_result_table *kind = i < DS_REPORT_TABLES ? ds_report_table_at(i) : NULL;
        if (kind == NULL)
            DS_TRY(ds_findings_table(&all->tables[i], findings));
        else
            DS_TRY(ds_result_table_new(&all->tables[i], kind, all->results));
        if (kind != NULL && all->tables[i] != NULL && ds_table_rows(all->tables[i]) == 0) ds_table_free(&all->tables[i]);
        DS_TRY(ds_columns_choose(invocation, all->tables[i]));
        if (all->tables[i] != NULL) DS_TRY(write_table(all, all->tables[i], kind));
    }
done:
    return status;
}

static const ds_figure_options every_format = {.formats = DS_FIGURE_SVG | DS_FIGURE_PDF | DS_FIGURE_PNG};

/* One figure: its files, its picture read back, its words. gnuplot takes its time, so this runs in parallel. */
static ds_status make_figure(void *context, size_t i, size_t worker) {
    enum { MOST_BYTES = 1 << 26 };
    ds_status status = DS_OK;
    document *all = context;
    const ds_figure *figure = all->figures[i];
    ds_text path = {0};
    size_t length;
    (void)worker;
    DS_TRY(ds_figure_write(&all->outcome[i], all->figure_folder, figure, all->results, &every_format));
    if (all->outcome[i].no_gnuplot) /* the page does not know in which folder it lies */
        DS_TRY(ds_text_printf(&all->missing[i], "gnuplot is not installed: figures/%s.gp will draw the figure once it is",
                              ds_figure_id(figure)));
    else if (all->outcome[i].pictures != every_format.formats)
        DS_TRY(ds_text_printf(&all->missing[i], "%s", ds_error_text()));
    DS_TRY(ds_text_printf(&path, "%s.svg", ds_figure_id(figure)));
    if ((all->outcome[i].pictures & DS_FIGURE_SVG) != 0)
        DS_TRY(ds_read_file_in(&all->svg[i], &length, all->figure_folder, path.bytes, MOST_BYTES));
    DS_TRY(ds_figure_caption(&all->caption[i], figure, all->results, all->envelope));
    DS_TRY(ds_text_printf(&all->command[i], "deltascope plot --figure %s report.json", ds_figure_id(figure)));
done:
    ds_text_release(&path);
    return status;
}

static ds_status list_figure(const document *all, size_t i) {
    static const struct {
        unsigned flag;
        const char *ending;
    } parts[] = {{0, "tsv"}, {0, "gp"}, {DS_FIGURE_SVG, "svg"}, {DS_FIGURE_PDF, "pdf"}, {DS_FIGURE_PNG, "png"}};
    ds_status status = DS_OK;
    const ds_figure_outcome outcome = all->outcome[i];
    for (size_t p = 0; p < sizeof parts / sizeof *parts && !outcome.empty; p++) {
        if ((parts[p].flag & ~outcome.pictures) != 0) continue;
        DS_TRY(ds_manifest_add(all->files, "figures/%s.%s", ds_figure_id(all->figures[i]), parts[p].ending));
    }
done:
    return status;
}

static ds_status make_figures(document *all) {
    ds_status status = DS_OK;
    ds_folder *figures = NULL;
    size_t most = ds_figure_count();
    DS_NEW(all->figures, most);
    DS_NEW(all->outcome, most);
    DS_NEW(all->caption, most);
    DS_NEW(all->command, most);
    DS_NEW(all->missing, most);
    DS_NEW(all->svg, most);
    DS_TRY(ds_folder_open_in(&figures, all->folder, "figures"));
    all->figure_folder = figures;
    for (size_t i = 0; i < most; i++) {
        if (ds_figure_applies(ds_figure_at(i), all->results)) all->figures[all->figure_count++] = ds_figure_at(i);
    }
    DS_TRY(ds_parallel_for(all->figure_count, make_figure, all));
    for (size_t i = 0; i < all->figure_count; i++) DS_TRY(list_figure(all, i));
done:
    ds_folder_close(&figures);
    return status;
}

static ds_status add_figures(document *all) {
    for (size_t i = 0; i < all->figure_count; i++) {
        ds_page_section *section = &all->sections[chapter_of(ds_figure_id(all->figures[i]))];
        if (section->figure_count == DS_PAGE_FIGURES) return ds_fail(DS_ERR_SYSTEM, "report: too many figures in one section");
        section->figures[section->figure_count++] = (ds_page_figure){.id = ds_figure_id(all->figures[i]),
                                                                     .title = ds_figure_title(all->figures[i]),
                                                                     .caption = all->caption[i].bytes,
                                                                     .command = all->command[i].bytes,
                                                                     .missing = all->missing[i].bytes,
                                                                     .svg = all->svg[i]};
    }
    return DS_OK;
}

static ds_status add_tables(document *all) {
    for (size_t t = 0; t < DS_REPORT_TABLES; t++) {
        const ds_result_table *kind = ds_report_table_at(t);
        for (size_t c = 0; c < CHAPTERS && all->tables[t] != NULL; c++) {
            ds_page_section *section = &all->sections[c];
            if (strcmp(chapters[c].id, kind->section) != 0) continue;
            if (section->table_count == DS_PAGE_TABLES) return ds_fail(DS_ERR_SYSTEM, "report: too many tables in one section");
            section->tables[section->table_count++] = (ds_page_table){kind->id, kind->title, kind->note, all->tables[t]};
        }
    }
    return DS_OK;
}

static const char *text_at(const json_t *value, const char *path) {
    const char *found = json_string_value(ds_json_at(value, path));
    return found == NULL ? "none" : found;
}

/* The first chapter says which run the checkpoint comes from, the one with intervals what they speak of. */
static ds_status make_leads(document *all) {
    ds_status status = DS_OK;
    const ds_inference inference = ds_inference_of(json_object_get(all->envelope, "data"));
    for (size_t c = 0; c < CHAPTERS; c++)
        all->sections[c] = (ds_page_section){.id = chapters[c].id, .title = chapters[c].title, .lead = chapters[c].lead};
    DS_TRY(ds_text_printf(&all->checkpoint_lead, "%s ", chapters[CHECKPOINT].lead));
    const size_t bare = all->checkpoint_lead.length;
    DS_TRY(ds_training_origin(&all->checkpoint_lead, text_at(all->envelope, "checkpoint/path")));
    if (all->checkpoint_lead.length > bare) all->sections[CHECKPOINT].lead = all->checkpoint_lead.bytes;
    DS_TRY(ds_text_printf(&all->ablation_lead, "%s ", chapters[ABLATION].lead));
    const size_t before = all->ablation_lead.length;
    DS_TRY(ds_inference_note(&all->ablation_lead, &inference));
    if (ds_windows_needed(json_object_get(all->results, "ablate"), inference.windows) > 0) {
        DS_TRY(ds_text_printf(&all->ablation_lead, "%s", all->ablation_lead.length > before ? " " : ""));
        DS_TRY(ds_windows_note(&all->ablation_lead, json_object_get(all->results, "ablate"), inference.windows));
    }
    if (all->ablation_lead.length > before) all->sections[ABLATION].lead = all->ablation_lead.bytes;
done:
    return status;
}

static ds_status make_words(document *all) {
    ds_status status = DS_OK;
    const json_t *envelope = all->envelope;
    DS_TRY(ds_text_printf(&all->title, "Deltascope report: "));
    DS_TRY(ds_short_path(&all->title, text_at(envelope, "checkpoint/path"), 60));
    DS_TRY(ds_text_printf(&all->footer,
                          "deltascope %s report, arithmetic in %s precision. Checkpoint SHA-256 %s. Data: %s, SHA-256 %s. "
                          "Digests of report.json: all %s; own %s, of the numbers that do not depend on the kernels of LAPACK. "
                          "Whoever has checkpoint and data can hold every number against them: "
                          "deltascope check report.json CHECKPOINT --tokens FILE.",
                          DS_VERSION, text_at(envelope, "precision"), text_at(envelope, "checkpoint/sha256"),
                          DS_SHOW(text_at(envelope, "data/path")), text_at(envelope, "data/sha256"),
                          text_at(envelope, "digests/all"), text_at(envelope, "digests/own")));
    if (all->signer != NULL)
        DS_TRY(ds_text_printf(&all->footer,
                              " report.json is signed with the Ed25519 key of SHA-256 %s; whoever has its public part from a "
                              "place to trust can check that: deltascope check --signer PUB.pem report.json.",
                              ds_signer_sha256(all->signer)));
done:
    return status;
}

static ds_status write_page(const document *all, const ds_page *page, const char *name,
                            ds_status (*format)(ds_text *, const ds_page *)) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(format(&text, page));
    DS_TRY(ds_write_file_in(all->folder, name, text.bytes, text.length));
    DS_TRY(ds_manifest_add(all->files, "%s", name));
done:
    ds_text_release(&text);
    return status;
}

/* Equal inputs give equal bytes: how the run went is null here, as in every result under --out, and so the signature is another
 * than that of the file that --json writes. */
static ds_status write_results(const document *all) {
    ds_status status = DS_OK;
    json_t *kept = ds_json_copy(all->envelope);
    DS_TRY(ds_run_envelope_lasting(kept));
    if (all->signer != NULL) DS_TRY(ds_signature_add(kept, all->signer));
    DS_TRY(ds_json_write_in(all->folder, "report.json", kept, DS_JSON_CANONICAL));
    DS_TRY(ds_manifest_add(all->files, "report.json"));
done:
    json_decref(kept);
    return status;
}

/* What is missing among the pictures, once where it is gnuplot itself. */
static void tell_missing(const document *all) {
    for (size_t i = 0; i < all->figure_count; i++) {
        if (all->missing[i].length == 0) continue;
        if (!all->outcome[i].no_gnuplot) {
            (void)fprintf(stderr, "deltascope: figure %s\n", all->missing[i].bytes);
            continue;
        }
        (void)fprintf(stderr, "deltascope: gnuplot is not installed: %s/figures holds data and scripts, no pictures\n",
                      DS_SHOW(ds_folder_path(all->folder)));
        return;
    }
}

ds_status ds_report_write(const ds_folder *folder, ds_manifest *files, const json_t *envelope, const ds_findings *findings,
                          const ds_invocation *invocation) {
    ds_status status = DS_OK;
    document all = {.folder = folder,
                    .files = files,
                    .envelope = envelope,
                    .results = json_object_get(envelope, "results"),
                    .signer = invocation->signer};
    ds_page page = {.findings = findings->rows, .finding_count = findings->count, .verdict = findings->verdict.bytes};
    ds_page_section shown[CHAPTERS];
    DS_TRY(make_leads(&all));
    DS_TRY(write_results(&all));
    DS_TRY(make_tables(&all, findings, invocation));
    DS_TRY(make_figures(&all));
    if (!invocation->common.quiet) tell_missing(&all);
    DS_TRY(add_figures(&all));
    DS_TRY(add_tables(&all));
    DS_TRY(make_words(&all));
    for (size_t c = 0; c < CHAPTERS; c++) {
        if (all.sections[c].figure_count + all.sections[c].table_count > 0) shown[page.section_count++] = all.sections[c];
    }
    page.title = all.title.bytes;
    page.footer = all.footer.bytes;
    page.sections = shown;
    DS_TRY(write_page(&all, &page, "report.md", ds_page_markdown));
    DS_TRY(write_page(&all, &page, "report.html", ds_page_html));
done:
    release(&all);
    return status;
}
