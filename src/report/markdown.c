/* A page as Markdown (CommonMark with tables), pictures beside it in figures/. */
#include <string.h>

#include "page.h"

const char *ds_page_evidence_title(const ds_page *page, const char *id) {
    for (size_t s = 0; s < page->section_count; s++) {
        const ds_page_section *section = &page->sections[s];
        if (strcmp(section->id, id) == 0) return section->title;
        for (size_t i = 0; i < section->figure_count; i++) {
            if (strcmp(section->figures[i].id, id) == 0) return section->figures[i].title;
        }
        for (size_t i = 0; i < section->table_count; i++) {
            if (strcmp(section->tables[i].id, id) == 0) return section->tables[i].title;
        }
    }
    return id;
}

static ds_status append_escaped(ds_text *text, const char *string) {
    ds_status status = DS_OK;
    for (; *string != '\0'; string++) {
        if (strchr("|\\`*_<>[]", *string) != NULL) DS_TRY(ds_text_append(text, "\\", 1));
        DS_TRY(ds_text_append(text, *string == '\n' ? " " : string, 1));
    }
done:
    return status;
}

/* A line between two strings of markup. */
static ds_status append_line(ds_text *text, const char *before, const char *string, const char *after) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_append(text, before, strlen(before)));
    DS_TRY(append_escaped(text, string));
    status = ds_text_append(text, after, strlen(after));
done:
    return status;
}

static ds_status append_findings(ds_text *text, const ds_page *page) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(text,
                          "## Findings\n\n| finding | threshold | count | where | evidence |\n|:---|:---|---:|:---|:---|\n"));
    for (size_t i = 0; i < page->finding_count; i++) {
        const ds_finding *finding = &page->findings[i];
        DS_TRY(append_line(text, finding->alarm ? "| **" : "| ", finding->kind, finding->alarm ? "** | " : " | "));
        DS_TRY(append_line(text, "", finding->threshold, " | "));
        DS_TRY(ds_text_printf(text, "%zu | ", finding->count));
        DS_TRY(append_line(text, "", finding->where, " | "));
        DS_TRY(ds_text_printf(text, "[%s](#%s) |\n", ds_page_evidence_title(page, finding->evidence), finding->evidence));
    }
    status = ds_text_printf(text, "\n");
done:
    return status;
}

static ds_status append_figure(ds_text *text, const ds_page_figure *figure) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(text, "<a id=\"%s\"></a>\n", figure->id));
    DS_TRY(append_line(text, "### ", figure->title, "\n\n"));
    if (figure->svg != NULL)
        DS_TRY(ds_text_printf(text, "![%s](figures/%s.svg)\n\n", figure->title, figure->id));
    else if (figure->missing != NULL)
        DS_TRY(append_line(text, "", figure->missing, "\n\n"));
    DS_TRY(append_line(text, "", figure->caption, "\n\n"));
    status = ds_text_printf(text, "Redraw: `%s`\n\n", figure->command);
done:
    return status;
}

static ds_status append_section(ds_text *text, const ds_page_section *section) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(text, "<a id=\"%s\"></a>\n", section->id));
    DS_TRY(append_line(text, "## ", section->title, "\n\n"));
    DS_TRY(append_line(text, "", section->lead, "\n\n"));
    for (size_t i = 0; i < section->figure_count; i++) DS_TRY(append_figure(text, &section->figures[i]));
    for (size_t i = 0; i < section->table_count; i++) {
        const ds_page_table *item = &section->tables[i];
        DS_TRY(ds_text_printf(text, "<a id=\"%s\"></a>\n", item->id));
        DS_TRY(append_line(text, "### ", item->title, "\n\n"));
        DS_TRY(ds_table_format_text(text, item->table, DS_TABLE_MARKDOWN, NULL));
        DS_TRY(ds_text_printf(text, "\n"));
        if (item->note != NULL) DS_TRY(append_line(text, "", item->note, "\n\n"));
    }
done:
    return status;
}

ds_status ds_page_markdown(ds_text *text, const ds_page *page) {
    ds_status status = DS_OK;
    DS_TRY(append_line(text, "# ", page->title, "\n\n"));
    DS_TRY(append_line(text, "", page->verdict, "\n\n"));
    DS_TRY(append_findings(text, page));
    for (size_t i = 0; i < page->section_count; i++) DS_TRY(append_section(text, &page->sections[i]));
    DS_TRY(ds_text_printf(text, "## How this was made\n\n"));
    status = append_line(text, "", page->footer, "\n");
done:
    return status;
}
