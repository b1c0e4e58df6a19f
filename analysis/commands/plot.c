/* plot: figures from saved results. */
#include <limits.h>
#include <string.h>

#include "cli/command.h"
#include "deltascope/io.h"
#include "deltascope/report.h"
#include "model_command.h"

typedef struct plot_options {
    const char *figure, *preset, *format, *theme, *out;
    double width;
    bool list;
} plot_options;

static const ds_option options[] = {
    {"figure", "ID", "which figure (every one the results allow)", DS_OPTION_TEXT, offsetof(plot_options, figure), 0, NULL},
    {"preset", "NAME", "the figure that redraws a published one: ddl-spectrum, mhc-gain, ...", DS_OPTION_TEXT,
     offsetof(plot_options, preset), 0, NULL},
    {"format", "svg|pdf|png|tex", "kind of picture; tex is TikZ for the LaTeX package gnuplot-lua-tikz (svg)", DS_OPTION_CHOICE,
     offsetof(plot_options, format), 0, NULL},
    {"width", "CM", "width in centimetres (8.5, a single column)", DS_OPTION_REAL, offsetof(plot_options, width), 0, NULL},
    {"theme", "light|dark", "background (light)", DS_OPTION_CHOICE, offsetof(plot_options, theme), 0, NULL},
    {"out", "DIR", "a folder for picture, data and script (.)", DS_OPTION_TEXT, offsetof(plot_options, out), 0, NULL},
    {"list", NULL, "list the figures and presets, then end", DS_OPTION_FLAG, offsetof(plot_options, list), 0, NULL},
};
static const plot_options defaults = {.format = "svg", .theme = "light", .out = ".", .width = 8.5};

static const ds_column list_columns[] = {
    {"figure", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"preset", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"title", NULL, NULL, DS_COLUMN_TEXT, 0},
};

static ds_status list_figures(void) {
    ds_status status = DS_OK;
    ds_table *table = NULL;
    DS_TRY(ds_table_new(&table, "Figures", list_columns, sizeof list_columns / sizeof list_columns[0]));
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const ds_figure *figure = ds_figure_at(i);
        ds_table_text(table, ds_figure_id(figure));
        ds_table_text(table, ds_figure_preset(figure) == NULL ? "" : ds_figure_preset(figure));
        ds_table_text(table, ds_figure_title(figure));
    }
    DS_TRY(ds_table_print(stdout, table));
done:
    ds_table_free(&table);
    return status;
}

static ds_status choose(const ds_figure **figure, const plot_options *own) {
    const char *name = own->figure != NULL ? own->figure : own->preset;
    *figure = NULL;
    if (own->figure != NULL && own->preset != NULL)
        return ds_fail(DS_ERR_USAGE, "--figure and --preset both name a figure: give one of them");
    if (name == NULL) return DS_OK;
    *figure = ds_figure_find(name);
    if (*figure == NULL)
        return ds_fail(DS_ERR_USAGE, "there is no figure \"%s\"; \"deltascope plot --list\" lists them", DS_SHOW(name));
    return DS_OK;
}

static ds_status draw(const ds_folder *folder, const ds_figure *figure, const json_t *results, const json_t *envelope,
                      const plot_options *own) {
    static const struct {
        const char *name;
        unsigned flag;
    } formats[] = {{"svg", DS_FIGURE_SVG}, {"pdf", DS_FIGURE_PDF}, {"png", DS_FIGURE_PNG}, {"tex", DS_FIGURE_TEX}};
    ds_status status = DS_OK;
    ds_figure_options drawing = {.width_cm = own->width, .dark = strcmp(own->theme, "dark") == 0};
    ds_text caption = {0};
    bool drawn = false;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(own->format, formats[i].name) == 0) drawing.formats = formats[i].flag;
    }
    DS_TRY(ds_figure_write(&drawn, folder, figure, results, &drawing));
    if (!drawn) (void)fprintf(stderr, "deltascope: %s\n", ds_error_text());
    DS_TRY(ds_figure_caption(&caption, figure, results, envelope));
    (void)printf("%s/%s.%s\n    %s\n", own->out, ds_figure_id(figure), drawn ? own->format : "gp", caption.bytes);
done:
    ds_text_release(&caption);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const plot_options *own = invocation->own;
    const ds_figure *chosen = NULL;
    ds_folder *folder = NULL;
    json_t *results = NULL, *envelope = NULL;
    size_t drawn = 0;
    if (own->list) return list_figures();
    if (!(own->width >= 4 && own->width <= 60))
        return ds_fail(DS_ERR_USAGE, "--width takes 4 to 60 centimetres, not %g", own->width);
    if (invocation->operand_count == 0)
        return ds_fail(DS_ERR_USAGE, "plot needs RESULT.json...; see \"deltascope plot --help\"");
    DS_TRY(choose(&chosen, own));
    DS_TRY(ds_results_load(&results, &envelope, invocation->operands, invocation->operand_count, ds_command_warn_changed));
    DS_TRY(ds_folder_open(&folder, own->out));
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const ds_figure *figure = ds_figure_at(i);
        if (chosen != NULL ? figure != chosen : !ds_figure_applies(figure, results)) continue;
        status = draw(folder, figure, results, envelope, own);
        if (status == DS_ERR_INPUT)
            status = ds_fail_prefix(status, "%s%s", DS_SHOW(invocation->operands[0]),
                                    invocation->operand_count > 1 ? " and the other files" : "");
        if (status != DS_OK) goto done;
        drawn++;
    }
    if (drawn == 0) status = ds_fail(DS_ERR_INPUT, "%s: no figure can be drawn from it", DS_SHOW(invocation->operands[0]));
done:
    ds_folder_close(&folder);
    json_decref(results);
    json_decref(envelope);
    return status;
}

const ds_command ds_command_plot = {
    .name = "plot",
    .operands = "RESULT.json...",
    .least_operands = 0,
    .most_operands = INT_MAX,
    .summary = "Redraw any figure from saved results",
    .description =
        "Draws from files written by --json or --out, or from report.json, without model or data. Results of one "
        "checkpoint may be combined. Beside each picture stand its data (.tsv) and a gnuplot script (.gp) that redraws "
        "it by itself; equal results give equal bytes of data. Without gnuplot these two are written and the picture is "
        "not. A warning is given of a report whose digests do not hold.",
    .examples = "  deltascope plot --list\n"
                "  deltascope plot --figure gate-distribution --format pdf gates.json\n"
                "  deltascope plot --preset mhc-gain --width 17 --theme dark report/report.json\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run_command,
};
