/* The page of a study, from study.json alone. */
#include <stdlib.h>
#include <string.h>

#include "study_page.h"

enum { CONTRASTS, CURVES, VARIANTS, MATCHING, AUDIT, COSTS, RULES, PLAN, SECTIONS, MOST_FIGURES = 16 };
static const char how_to_read[] =
    "The unit of inference is the seed: intervals are Student's t over seeds, and speak of other seeds of the same recipe on "
    "the "
    "same data. better and worse are words for a p below 0.05 after Holm's adjustment over the contrasts the plan named before "
    "anything ran; equivalent needs the 90% interval inside the margin; everything else is unresolved, which is no sign of "
    "equality. Sign flips assume no normality and cannot give a p below 2/2^n. Bands of curves are pointwise and nothing is "
    "tested "
    "on them. The error of the validation windows stands apart from the intervals. A diverged run is never dropped: means are "
    "given "
    "no divergence, and medians and signed ranks count it as the worst.";

static const ds_page_section outline[SECTIONS] = {
    [CONTRASTS] = {.id = "contrasts-section", .title = "Contrasts"},
    [CURVES] = {.id = "curves", .title = "Curves", .lead = "What is tested is the end; curves describe the way there."},
    [VARIANTS] = {.id = "variants", .title = "Variants", .lead = "What each variant is, costs and ends with."},
    [MATCHING] = {.id = "matching", .title = "What is equal, and the proof"},
    [AUDIT] = {.id = "audit", .title = "Audit", .lead = "What the trained models' gates do, the seed being the unit here too."},
    [COSTS] = {.id = "costs", .title = "Costs and tuning", .lead = "What a loss costs, and what was tuned."},
    [RULES] = {.id = "rules", .title = "How to read this page", .lead = how_to_read},
    [PLAN] = {.id = "plan", .title = "The plan"},
};

static const struct {
    const char *figure;
    size_t section;
} places[] = {{"contrasts", CONTRASTS},  {"study-differences", CURVES}, {"study-tokens", CURVES}, {"study-flops", CURVES},
              {"study-seconds", CURVES}, {"study-seeds", VARIANTS},     {"study-sweep", COSTS}};
static const size_t table_sections[DS_STUDY_TABLES] = {
    [DS_STUDY_VARIANTS] = VARIANTS,     [DS_STUDY_CONTRASTS] = CONTRASTS, [DS_STUDY_TARGETS] = COSTS,
    [DS_STUDY_SWEEPS] = COSTS,          [DS_STUDY_TUNED] = COSTS,         [DS_STUDY_AUDIT] = AUDIT,
    [DS_STUDY_AUDIT_CONTRASTS] = AUDIT, [DS_STUDY_REFERENCE] = VARIANTS};

typedef struct document {
    const ds_folder *folder, *figures;
    const json_t *study;
    json_t *results; /* {"study": ...} */
    ds_page_section sections[SECTIONS];
    ds_text title, contrasts, matching, plan, footer;
    ds_text caption[MOST_FIGURES], command[MOST_FIGURES], missing[MOST_FIGURES];
    char *svg[MOST_FIGURES];
    ds_table *tables[DS_STUDY_TABLES];
    ds_findings findings;
} document;

static void release(document *all) {
    ds_text *const texts[] = {&all->title, &all->contrasts, &all->matching, &all->plan, &all->footer};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) ds_text_release(texts[i]);
    for (size_t i = 0; i < MOST_FIGURES; i++) {
        ds_text_release(&all->caption[i]);
        ds_text_release(&all->command[i]);
        ds_text_release(&all->missing[i]);
        free(all->svg[i]);
    }
    for (size_t t = 0; t < DS_STUDY_TABLES; t++) ds_table_free(&all->tables[t]);
    ds_findings_release(&all->findings);
    json_decref(all->results);
}

/* ---- figures and tables ------------------------------------------------------------------------------------------ */

static ds_status make_figure(document *all, size_t i, const ds_figure *figure) {
    enum { MOST_BYTES = 1 << 26 };
    static const ds_figure_options options = {.formats = DS_FIGURE_SVG | DS_FIGURE_PDF | DS_FIGURE_PNG};
    ds_status status = DS_OK;
    ds_page_section *section = &all->sections[places[i].section];
    ds_figure_outcome outcome;
    ds_text path = {0};
    size_t length;
    DS_TRY(ds_figure_write(&outcome, all->figures, figure, all->results, &options));
    if (outcome.no_gnuplot)
        DS_TRY(ds_text_printf(&all->missing[i], "gnuplot is not installed: figures/%s.gp will draw the figure once it is",
                              places[i].figure));
    else if (outcome.pictures != options.formats)
        DS_TRY(ds_text_printf(&all->missing[i], "%s", ds_error_text()));
    DS_TRY(ds_text_printf(&path, "%s.svg", places[i].figure));
    if ((outcome.pictures & DS_FIGURE_SVG) != 0)
        DS_TRY(ds_read_file_in(&all->svg[i], &length, all->figures, path.bytes, MOST_BYTES));
    DS_TRY(ds_figure_caption(&all->caption[i], figure, all->results, NULL));
    DS_TRY(ds_text_printf(&all->command[i], "deltascope plot --figure %s study.json", places[i].figure));
    section->figures[section->figure_count++] = (ds_page_figure){.id = places[i].figure,
                                                                 .title = ds_figure_title(figure),
                                                                 .caption = all->caption[i].bytes,
                                                                 .command = all->command[i].bytes,
                                                                 .missing = all->missing[i].bytes,
                                                                 .svg = all->svg[i]};
done:
    ds_text_release(&path);
    return status;
}

static ds_status make_figures(document *all) {
    ds_status status = DS_OK;
    ds_folder *figures = NULL;
    DS_TRY(ds_folder_open_in(&figures, all->folder, "figures"));
    all->figures = figures;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const ds_figure *figure = ds_figure_find(places[i].figure);
        if (ds_figure_applies(figure, all->results)) DS_TRY(make_figure(all, i, figure));
    }
done:
    ds_folder_close(&figures);
    return status;
}

static ds_status make_tables(document *all) {
    static const struct {
        ds_table_format format;
        const char *ending;
    } formats[] = {{DS_TABLE_CSV, "csv"}, {DS_TABLE_LATEX, "tex"}, {DS_TABLE_MARKDOWN, "md"}};
    ds_status status = DS_OK;
    ds_text path = {0};
    for (size_t t = 0; t < DS_STUDY_TABLES; t++) {
        const ds_study_table *kind = &ds_study_tables[t];
        ds_page_section *section = &all->sections[table_sections[t]];
        DS_TRY(ds_study_table_new(&all->tables[t], t, all->study));
        if (all->tables[t] == NULL) continue;
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
            path.length = 0;
            DS_TRY(ds_text_printf(&path, "tables/%s.%s", kind->file, formats[f].ending));
            DS_TRY(ds_table_write(all->folder, path.bytes, all->tables[t], formats[f].format));
        }
        section->tables[section->table_count++] = (ds_page_table){kind->id, kind->title, kind->note, all->tables[t]};
    }
done:
    ds_text_release(&path);
    return status;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static const char *text_at(const json_t *study, const char *path) {
    const char *found = json_string_value(ds_json_at(study, path));
    return found == NULL ? "unknown" : found;
}

static ds_status tell_contrasts(document *all) {
    ds_status status = DS_OK;
    size_t i;
    const json_t *contrast;
    json_array_foreach(json_object_get(all->study, "contrasts"), i, contrast) {
        DS_TRY(ds_text_append(&all->contrasts, " ", i == 0 ? 0 : 1));
        DS_TRY(ds_contrast_sentence(&all->contrasts, contrast));
    }
    if (all->contrasts.length == 0) DS_TRY(ds_text_printf(&all->contrasts, "The plan names none."));
done:
    return status;
}

/* Whom the shared recipe was found for decides whom a comparison at that recipe favours. */
static ds_status tell_recipe_source(ds_text *text, const json_t *plan) {
    const char *words = json_string_value(json_object_get(plan, "recipe_source"));
    if (words == NULL) return ds_text_printf(text, "The plan does not say for which variant its recipe was found. ");
    return ds_text_printf(text, "Source of the recipe: %s. ", DS_SHOW(words));
}

static ds_status tell_words(document *all, const char *command) {
    ds_status status = DS_OK;
    const json_t *study = all->study, *plan = json_object_get(study, "plan");
    DS_TRY(ds_text_printf(&all->title, "Study: %s", text_at(study, "plan/name")));
    DS_TRY(tell_contrasts(all));
    DS_TRY(ds_study_matching_words(&all->matching, study));
    DS_TRY(ds_text_printf(&all->plan, "Made again by: %s. SHA-256 of the plan: %s. Operations: %s. ", command,
                          text_at(study, "plan_sha256"), text_at(study, "flops_formula")));
    DS_TRY(tell_recipe_source(&all->plan, plan));
    DS_TRY(ds_text_printf(&all->plan, "As given: "));
    if (plan != NULL) DS_TRY(ds_json_print(&all->plan, plan, DS_JSON_CANONICAL));
    DS_TRY(ds_text_printf(
        &all->footer, "deltascope %s on %s, %.0f cores. Training tokens: %.0f; validation: %.0f windows of %.0f tokens.",
        text_at(study, "tool/version"), text_at(study, "machine/cpu"), ds_json_real_at(study, "machine/cores"),
        ds_json_real_at(study, "data/train/tokens"), ds_json_real_at(study, "data/validation/windows"),
        ds_json_real_at(study, "data/validation/seq_len")));
    all->sections[CONTRASTS].lead = all->contrasts.bytes;
    all->sections[MATCHING].lead = all->matching.bytes;
    all->sections[PLAN].lead = all->plan.bytes;
done:
    return status;
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

/* Moves what is shown to the front: a section of figures and tables needs some. Returns how many there are. */
static size_t leave_out_empty(ds_page_section sections[SECTIONS]) {
    size_t kept = 0;
    for (size_t i = 0; i < SECTIONS; i++) {
        const bool shows = i == CURVES || i == AUDIT || i == COSTS;
        if (!shows || sections[i].figure_count + sections[i].table_count > 0) sections[kept++] = sections[i];
    }
    return kept;
}

static ds_status write_pages(document *all) {
    ds_status status = DS_OK;
    ds_text html = {0}, markdown = {0};
    const size_t shown = leave_out_empty(all->sections);
    const ds_page page = {.title = all->title.bytes,
                          .verdict = all->findings.verdict.bytes,
                          .findings = all->findings.rows,
                          .finding_count = all->findings.count,
                          .sections = all->sections,
                          .section_count = shown,
                          .footer = all->footer.bytes};
    DS_TRY(ds_page_html(&html, &page));
    DS_TRY(ds_page_markdown(&markdown, &page));
    DS_TRY(ds_write_file_in(all->folder, "report.html", html.bytes, html.length));
    DS_TRY(ds_write_file_in(all->folder, "report.md", markdown.bytes, markdown.length));
done:
    ds_text_release(&html);
    ds_text_release(&markdown);
    return status;
}

ds_status ds_study_page(const ds_folder *folder, const json_t *study, const char *command) {
    ds_status status = DS_OK;
    document all = {.folder = folder, .study = study};
    memcpy(all.sections, outline, sizeof outline);
    all.results = json_pack("{s:O}", "study", study);
    if (all.results == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for the page of a study");
    DS_TRY(tell_words(&all, command));
    DS_TRY(ds_study_findings(&all.findings, study));
    DS_TRY(make_tables(&all));
    DS_TRY(make_figures(&all));
    DS_TRY(write_pages(&all));
done:
    release(&all);
    return status;
}
