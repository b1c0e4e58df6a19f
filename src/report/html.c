/* A page as one HTML file: style, pictures and tables inside, and a few lines of script that sort tables. */
#include <math.h>
#include <string.h>

#include "markup.h"
#include "page.h"
#include "table.h"

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

/* What precedes a name in an SVG document: a definition or one of the ways to refer to it. */
static const char *const references[] = {" id=\"", " id='", "url(#", "href=\"#", "href='#"};

static size_t reference_length(const char *at) {
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        size_t length = strlen(references[i]);
        if (strncmp(at, references[i], length) == 0) return length;
    }
    return 0;
}

/* From <svg on, with every name prefixed by the figure's, so that pictures of one page do not draw each other's parts. What
 * gnuplot says of itself (title, desc) would show as a tooltip and is left out. */
static ds_status append_svg(ds_text *text, const ds_page_figure *figure) {
    ds_status status = DS_OK;
    const char *at = strstr(figure->svg, "<svg");
    if (at == NULL) return ds_fail(DS_ERR_INPUT, "figure %s: the picture is no SVG document", figure->id);
    DS_TRY(ds_markup(text, "<svg role=\"img\" aria-label=\""));
    DS_TRY(ds_markup(text, "%s", figure->title));
    DS_TRY(ds_markup(text, "\""));
    at += strlen("<svg");
    while (*at != '\0') {
        const char *end = strncmp(at, "<title>", 7) == 0 ? strstr(at, "</title>") : NULL;
        if (end == NULL && strncmp(at, "<desc>", 6) == 0) end = strstr(at, "</desc>");
        if (end != NULL) {
            at = strchr(end, '>') + 1;
            continue;
        }
        size_t length = reference_length(at);
        if (length > 0) {
            DS_TRY(ds_text_append(text, at, length));
            DS_TRY(ds_markup(text, "%s-", figure->id));
            at += length;
            continue;
        }
        length = 1 + strcspn(at + 1, " <uh");
        DS_TRY(ds_text_append(text, at, length));
        at += length;
    }
done:
    return status;
}

static ds_status append_figure(ds_text *text, const ds_page_figure *figure) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(text, "<figure id=\"%s\">\n", figure->id));
    if (figure->svg != NULL) {
        DS_TRY(ds_markup(text, "<div class=\"picture\">"));
        DS_TRY(append_svg(text, figure));
        DS_TRY(ds_markup(text, "</div>\n"));
    } else if (figure->missing != NULL) {
        DS_TRY(ds_markup(text, "<p class=\"missing\">%s</p>\n", figure->missing));
    }
    DS_TRY(ds_markup(text, "<figcaption>"));
    DS_TRY(ds_markup(text, "<b>%s</b>\n", figure->title));
    DS_TRY(ds_markup(text, "<p>%s</p>\n", figure->caption));
    DS_TRY(ds_markup(text, "<p class=\"redraw\">Redraw: <code>"));
    DS_TRY(ds_markup(text, "%s", figure->command));
    status = ds_markup(text, "</code></p>\n</figcaption>\n</figure>\n");
done:
    return status;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static ds_status append_head(ds_text *text, const ds_table *table) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(text, "<thead>\n<tr>"));
    for (size_t c = 0; c < table->count; c++) {
        const ds_column *column = &table->columns[c];
        const char *unit = ds_column_unit(column);
        if (column->kind == DS_COLUMN_BAR) continue;
        if (ds_column_is_number(column))
            DS_TRY(ds_markup(text, "<th scope=\"col\" class=\"n\">%s", column->title));
        else
            DS_TRY(ds_markup(text, "<th scope=\"col\">%s", column->title));
        if (unit != NULL) DS_TRY(ds_markup(text, " <small>%s</small>", unit));
        DS_TRY(ds_markup(text, "</th>"));
    }
    status = ds_markup(text, "</tr>\n</thead>\n");
done:
    return status;
}

/* All digits of a number that is shown with few, for the pointer and for sorting. */
static ds_status append_whole_number(ds_text *text, const ds_cell *cell, ds_column_kind kind) {
    char number[32];
    if (kind == DS_COLUMN_TEXT || kind == DS_COLUMN_INTEGER || isnan(cell->real)) return DS_OK;
    return ds_markup(text, " title=\"%s\"", ds_format_real(number, kind == DS_COLUMN_PERCENT ? 100 * cell->real : cell->real));
}

static ds_status append_cell(ds_text *text, const ds_table *table, size_t row, size_t c) {
    ds_status status = DS_OK;
    const ds_column *column = &table->columns[c];
    const char *tag = c == 0 ? "th" : "td", *class = ds_column_is_number(column) ? "n" : "t";
    if (column->kind == DS_COLUMN_BAR) return DS_OK;
    if (c == 0)
        DS_TRY(ds_markup(text, "<th scope=\"row\" class=\"%s\"", class));
    else
        DS_TRY(ds_markup(text, "<td class=\"%s\"", class));
    DS_TRY(append_whole_number(text, ds_table_cell(table, row, c), column->kind));
    DS_TRY(ds_markup(text, ">"));
    const bool lowest = ds_table_is_lowest(table, row, c);
    if (lowest) DS_TRY(ds_markup(text, "<b>"));
    if (column->kind == DS_COLUMN_TEXT)
        DS_TRY(ds_markup(text, "%s", ds_table_cell(table, row, c)->text));
    else
        DS_TRY(ds_table_append_number(text, table, row, c, ds_table_number_style(table, c)));
    if (lowest) DS_TRY(ds_markup(text, "</b>"));
    status = ds_markup(text, "</%s>", tag);
done:
    return status;
}

static ds_status append_table(ds_text *text, const ds_page_table *item) {
    ds_status status = DS_OK;
    const ds_table *table = item->table;
    DS_TRY(ds_markup(text, "<div class=\"table\" id=\"%s\" role=\"region\" tabindex=\"0\" aria-label=\"", item->id));
    DS_TRY(ds_markup(text, "%s", item->title));
    DS_TRY(ds_markup(text, "\">\n<table>\n"));
    DS_TRY(ds_markup(text, "<caption>%s</caption>\n", item->title));
    DS_TRY(append_head(text, table));
    DS_TRY(ds_markup(text, "<tbody>\n"));
    for (size_t row = 0; row < ds_table_rows(table); row++) {
        DS_TRY(ds_markup(text, "<tr>"));
        for (size_t c = 0; c < table->count; c++) DS_TRY(append_cell(text, table, row, c));
        DS_TRY(ds_markup(text, "</tr>\n"));
    }
    DS_TRY(ds_markup(text, "</tbody>\n</table>\n</div>\n"));
    if (item->note != NULL) DS_TRY(ds_markup(text, "<p class=\"note\">%s</p>\n", item->note));
done:
    return status;
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--soft:#55606b;--line:#d9dde1;--card:#f7f8f9;--link:#0072b2;"
    "--alarm:#b3261e}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 Helvetica,Arial,sans-serif;overflow-wrap:break-word}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 1rem}\n"
    "h2{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:.6rem;border-top:1px solid var(--line)}\n"
    "a{color:var(--link)}\ncode{font:.86em 'DejaVu Sans Mono',Menlo,Consolas,monospace;overflow-wrap:anywhere}\n"
    ".verdict{font-size:1.12rem;padding:1rem 1.2rem;background:var(--card);border-left:4px solid var(--link)}\n"
    "nav ol{padding-left:1.4rem;columns:2 16rem}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,23rem),1fr));gap:1.2rem;align-items:start}\n"
    "figure{margin:0;padding:.9rem;border:1px solid var(--line);border-radius:6px;min-width:0}\n"
    ".picture{overflow-x:auto}\n"
    ".picture svg{display:block;width:100%;max-width:30rem;height:auto;margin:0 auto .6rem}\n"
    "figcaption{font-size:.88rem;line-height:1.45}\nfigcaption p{margin:.3rem 0 0}\n"
    ".redraw,.note,footer{color:var(--soft);font-size:.85rem}\n"
    ".table{overflow-x:auto;margin:1.2rem 0 .4rem}\n"
    "table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;min-width:min(100%,24rem)}\n"
    "caption{text-align:left;font-weight:bold;padding:.3rem 0}\n"
    "th,td{padding:.28rem .7rem .28rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}\n"
    "th.n,td.n{text-align:right;white-space:nowrap}\ntbody th{font-weight:normal;white-space:nowrap}\n"
    "thead th{border-bottom:1.5px solid var(--soft);vertical-align:bottom}\n"
    "thead small{font-weight:normal;color:var(--soft)}\n"
    "th[aria-sort]{text-decoration:underline}th[aria-sort=ascending]::after{content:' ↑'}"
    "th[aria-sort=descending]::after{content:' ↓'}\n"
    ".missing{padding:1rem;background:var(--card);color:var(--soft)}footer p{overflow-wrap:anywhere}\n"
    ".findings td{min-width:8rem}.findings td.n{min-width:0;padding-right:1.2rem}\n.findings "
    "th{white-space:normal;min-width:7rem}\n"
    "/* On a telephone a finding is a small block: its name, then what belongs to it, one below the other. */\n"
    "@media(max-width:40rem){.findings thead{display:none}.findings tr{display:block;padding:.4rem 0;border-bottom:1px solid "
    "var(--line)}.findings tbody th,.findings td{display:block;border:0;padding:.1rem 0;text-align:left;white-space:normal}"
    ".findings tbody th{font-weight:bold}.findings td[data-of]::before{content:attr(data-of) ': ';color:var(--soft)}}\n"
    ".alarm th,.alarm td{color:var(--alarm);font-weight:bold}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#16191d;--soft:#a7b0b8;--line:#3a4048;"
    "--card:#1f2429;--link:#6cbdf0;--alarm:#ff8a80}\n"
    "/* The pictures are drawn for white paper: turn lightness round and keep the hues. */\n"
    ".picture svg{filter:invert(.92) hue-rotate(180deg)}}\n"
    "@media print{body{max-width:none;padding:0;font-size:10pt}.table{overflow:visible}"
    "figure,tr{break-inside:avoid}h2{break-after:avoid}nav{display:none}a{color:inherit;text-decoration:none}}\n";

/* Clicking a heading sorts by its column, again the other way; numbers by all their digits, what is missing last. */
static const char script[] =
    "document.querySelectorAll('.table table').forEach(t=>{const heads=[...t.tHead.rows[0].cells],body=t.tBodies[0];\n"
    "heads.forEach((h,i)=>{const number=h.classList.contains('n');\n"
    "const key=r=>{const c=r.cells[i],s=c.title||c.textContent;return number?parseFloat(s):s};\n"
    "const sort=()=>{const up=h.getAttribute('aria-sort')!='ascending';\n"
    "[...body.rows].sort((p,q)=>{const x=key(p),y=key(q);if(x!==x||y!==y)return(x!==x)-(y!==y);\n"
    "return(number?x-y:x.localeCompare(y,'en',{numeric:true}))*(up?1:-1)}).forEach(r=>body.append(r));\n"
    "heads.forEach(o=>o.removeAttribute('aria-sort'));h.setAttribute('aria-sort',up?'ascending':'descending')};\n"
    "h.tabIndex=0;h.style.cursor='pointer';h.onclick=sort;\n"
    "h.onkeydown=e=>{if(e.key=='Enter'||e.key==' '){e.preventDefault();sort()}}})})";

static ds_status append_contents(ds_text *text, const ds_page *page) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(text,
                     "<nav aria-label=\"Contents\">\n<h2>Contents</h2>\n<ol>\n<li><a href=\"#findings\">Findings</a></li>\n"));
    for (size_t i = 0; i < page->section_count; i++) {
        DS_TRY(ds_markup(text, "<li><a href=\"#%s\">", page->sections[i].id));
        DS_TRY(ds_markup(text, "%s", page->sections[i].title));
        DS_TRY(ds_markup(text, "</a></li>\n"));
    }
    status = ds_markup(text, "</ol>\n</nav>\n");
done:
    return status;
}

static ds_status append_findings(ds_text *text, const ds_page *page) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(
        text, "<section id=\"findings\">\n<h2>Findings</h2>\n<div class=\"table findings\" role=\"region\" tabindex=\"0\" "
              "aria-label=\"Findings\">\n<table>\n<thead>\n<tr><th scope=\"col\">finding</th>"
              "<th scope=\"col\">threshold</th><th scope=\"col\" class=\"n\">count</th><th scope=\"col\">where</th>"
              "<th scope=\"col\">evidence</th></tr>\n</thead>\n<tbody>\n"));
    for (size_t i = 0; i < page->finding_count; i++) {
        const ds_finding *finding = &page->findings[i];
        DS_TRY(ds_markup(text, "<tr class=\"%s\"><th scope=\"row\">", finding->alarm ? "alarm" : "usual"));
        DS_TRY(ds_markup(text, "%s", finding->kind));
        DS_TRY(ds_markup(text, "</th><td data-of=\"counts when\">"));
        DS_TRY(ds_markup(text, "%s", finding->threshold));
        DS_TRY(ds_markup(text, "</td><td class=\"n\" data-of=\"count\">%zu</td><td data-of=\"where\">", finding->count));
        DS_TRY(ds_markup(text, "%s", finding->where));
        DS_TRY(ds_markup(text, "</td><td data-of=\"evidence\"><a href=\"#%s\">%s</a></td></tr>\n", finding->evidence,
                         ds_page_evidence_title(page, finding->evidence)));
    }
    status = ds_markup(text, "</tbody>\n</table>\n</div>\n</section>\n");
done:
    return status;
}

static ds_status append_section(ds_text *text, const ds_page_section *section) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(text, "<section id=\"%s\">\n", section->id));
    DS_TRY(ds_markup(text, "<h2>%s</h2>\n", section->title));
    DS_TRY(ds_markup(text, "<p>%s</p>\n", section->lead));
    if (section->figure_count > 0) DS_TRY(ds_markup(text, "<div class=\"figures\">\n"));
    for (size_t i = 0; i < section->figure_count; i++) DS_TRY(append_figure(text, &section->figures[i]));
    if (section->figure_count > 0) DS_TRY(ds_markup(text, "</div>\n"));
    for (size_t i = 0; i < section->table_count; i++) DS_TRY(append_table(text, &section->tables[i]));
    status = ds_markup(text, "</section>\n");
done:
    return status;
}

ds_status ds_page_html(ds_text *text, const ds_page *page) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(text, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"));
    DS_TRY(ds_markup(text, "<title>%s</title>\n", page->title));
    DS_TRY(ds_markup(text, "<style>\n"));
    DS_TRY(ds_text_append(text, style, sizeof style - 1));
    DS_TRY(ds_markup(text, "</style>\n</head>\n<body>\n<header>\n"));
    DS_TRY(ds_markup(text, "<h1>%s</h1>\n", page->title));
    DS_TRY(ds_markup(text, "<p class=\"verdict\">%s</p>\n", page->verdict));
    DS_TRY(ds_markup(text, "</header>\n<main>\n"));
    DS_TRY(append_findings(text, page));
    DS_TRY(append_contents(text, page));
    for (size_t i = 0; i < page->section_count; i++) DS_TRY(append_section(text, &page->sections[i]));
    DS_TRY(ds_markup(text, "</main>\n<footer>\n<h2>How this was made</h2>\n"));
    DS_TRY(ds_markup(text, "<p>%s</p>\n", page->footer));
    DS_TRY(ds_markup(text, "</footer>\n<script>\n"));
    DS_TRY(ds_text_append(text, script, sizeof script - 1));
    status = ds_markup(text, "\n</script>\n</body>\n</html>\n");
done:
    return status;
}
