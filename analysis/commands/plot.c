/* plot: figures from saved results. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/standard_streams.h"
#include "deltascope/io.h"
#include "deltascope/report.h"
#include "model_command.h"

enum { LEAST_WIDTH = 8, MOST_WIDTH = 60 }; /* centimetres; letters have 8 pt whatever the width */

typedef struct plot_options {
    const char *figure, *preset, *labels, *format, *theme, *out;
    double width;
    bool list;
} plot_options;

/* The ids or the presets of all figures. */
static ds_status append_names(ds_text *text, const char *(*name_of)(const ds_figure *), const char *between,
                              const char *before_last) {
    ds_status status = DS_OK;
    const char *held = NULL;
    size_t start = text->length;
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const char *name = name_of(ds_figure_at(i));
        if (name == NULL) continue;
        if (held != NULL) DS_TRY(ds_text_printf(text, "%s%s", text->length == start ? "" : between, held));
        held = name;
    }
    DS_TRY(ds_text_printf(text, "%s%s", text->length == start ? "" : before_last, held));
done:
    return status;
}

static ds_status figure_words(ds_text *text, const char *between, const char *before_last) {
    return append_names(text, ds_figure_id, between, before_last);
}

static ds_status preset_words(ds_text *text, const char *between, const char *before_last) {
    return append_names(text, ds_figure_preset, between, before_last);
}

static const ds_option options[] = {
    {"figure", "ID", "which figure (every one the results allow)", DS_OPTION_TEXT, offsetof(plot_options, figure), 0,
     figure_words},
    {"preset", "NAME", "the figure that redraws a published one: *", DS_OPTION_TEXT, offsetof(plot_options, preset), 0,
     preset_words},
    {"labels", "LIST",
     "the files are of several checkpoints or runs, one each, drawn as series of these names, comma separated (one "
     "checkpoint; runs by their folders)",
     DS_OPTION_TEXT, offsetof(plot_options, labels), 0, NULL},
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
    DS_TRY(ds_print_table(table));
done:
    ds_table_free(&table);
    return status;
}

static ds_status unknown_figure(const char *name) {
    ds_guess guess = {.word = name, .length = strlen(name)};
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const char *id = ds_figure_id(ds_figure_at(i)), *preset = ds_figure_preset(ds_figure_at(i));
        ds_guess_offer(&guess, id, strlen(id));
        if (preset != NULL) ds_guess_offer(&guess, preset, strlen(preset));
    }
    return ds_fail(DS_ERR_USAGE, "there is no figure \"%s\"%s; \"deltascope plot --list\" lists them", DS_SHOW(name),
                   ds_guess_hint(&guess, "").text);
}

/* The figure itself or, with labels, what it becomes of several checkpoints. */
static const ds_figure *version_of(const ds_figure *figure, const plot_options *own) {
    return own->labels == NULL ? figure : ds_figure_merged(figure);
}

/* The figures that several checkpoints have. */
static ds_status append_merged(ds_text *text) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < ds_figure_count(); i++) {
        if (ds_figure_merged(ds_figure_at(i)) != NULL)
            DS_TRY(ds_text_printf(text, "%s%s", text->length == 0 ? "" : ", ", ds_figure_id(ds_figure_at(i))));
    }
done:
    return status;
}

static ds_status refuse_merged(ds_status kind, const char *sentence, const char *name) {
    ds_status status = DS_OK;
    ds_text names = {0};
    DS_TRY(append_merged(&names));
    status = ds_fail(kind, "%s%s; those that do: %s", name, sentence, names.bytes);
done:
    ds_text_release(&names);
    return status;
}

static ds_status choose(const ds_figure **figure, const plot_options *own) {
    const char *name = own->figure != NULL ? own->figure : own->preset;
    *figure = NULL;
    if (own->figure != NULL && own->preset != NULL)
        return ds_fail(DS_ERR_USAGE, "--figure and --preset both name a figure: give one of them");
    if (name == NULL) return DS_OK;
    *figure = ds_figure_find(name);
    if (*figure == NULL) return unknown_figure(name);
    if (version_of(*figure, own) != NULL) return DS_OK;
    return refuse_merged(DS_ERR_USAGE, ": the figure does not show several checkpoints", ds_figure_id(*figure));
}

/* How far the figures of a run came. */
typedef struct tally {
    size_t drawn, failed;
} tally;

/* A figure that has nothing to show, or that gnuplot fails on, is an error where it was asked for by name; otherwise it is
 * said, and the others are drawn. */
static ds_status draw(tally *count, const ds_folder *folder, const ds_figure *figure, const json_t *results,
                      const json_t *envelope, const plot_options *own) {
    static const struct {
        const char *name;
        unsigned flag;
    } formats[] = {{"svg", DS_FIGURE_SVG}, {"pdf", DS_FIGURE_PDF}, {"png", DS_FIGURE_PNG}, {"tex", DS_FIGURE_TEX}};
    ds_status status = DS_OK;
    ds_figure_options drawing = {.width_cm = own->width, .dark = strcmp(own->theme, "dark") == 0};
    ds_text caption = {0};
    ds_figure_outcome outcome;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(own->format, formats[i].name) == 0) drawing.formats = formats[i].flag;
    }
    DS_TRY(ds_figure_write(&outcome, folder, figure, results, &drawing));
    const bool drawn = outcome.pictures != 0, named = own->figure != NULL || own->preset != NULL;
    if (!drawn && !outcome.no_gnuplot && named) return ds_fail_prefix(outcome.empty ? DS_ERR_INPUT : DS_ERR_SYSTEM, "figure");
    if (!drawn) (void)fprintf(stderr, "deltascope: %s\n", ds_error_text());
    count->drawn += drawn || outcome.no_gnuplot;
    count->failed += !drawn && !outcome.no_gnuplot && !outcome.empty;
    if (outcome.empty) goto done;
    DS_TRY(ds_figure_caption(&caption, figure, results, envelope));
    (void)printf("%s/%s.%s\n    %s\n", own->out, ds_figure_id(figure), drawn ? own->format : "gp", caption.bytes);
done:
    ds_text_release(&caption);
    return status;
}

/* labels (count) <- the words of the list, freed by the caller: as many as there are files, no two alike. */
static ds_status take_labels(char **labels, size_t count, const char *list) {
    const char *word;
    size_t found = 0, length;
    for (; ds_next_word(&list, &word, &length); found++) {
        if (length == 0) return ds_fail(DS_ERR_USAGE, "--labels: a label is empty");
        for (size_t i = 0; i < ds_min_size(found, count); i++) {
            if (ds_is_word(labels[i], word, length))
                return ds_fail(DS_ERR_USAGE, "--labels: \"%s\" names two results, the figure could not tell them apart",
                               DS_SHOW(labels[i]));
        }
        if (found >= count) continue;
        if ((labels[found] = ds_calloc(length + 1, 1)) == NULL) return DS_ERR_SYSTEM;
        memcpy(labels[found], word, length);
    }
    if (found == count) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "--labels: %zu label%s for %zu result%s, one is needed for each", found, ds_plural(found),
                   count, ds_plural(count));
}

/* The results of one checkpoint together, or one of each of several. */
static ds_status load(json_t **results, json_t **envelope, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const plot_options *own = invocation->own;
    const size_t count = invocation->operand_count;
    char **labels = NULL;
    if (own->labels == NULL) return ds_results_load(results, envelope, invocation->operands, count, ds_command_warn_changed);
    DS_NEW(labels, count);
    DS_TRY(take_labels(labels, count, own->labels));
    DS_TRY(
        ds_results_merge(results, envelope, invocation->operands, (const char *const *)labels, count, ds_command_warn_changed));
done:
    for (size_t i = 0; labels != NULL && i < count; i++) free(labels[i]);
    free(labels);
    return status;
}

static ds_status draw_all(tally *count, const ds_folder *folder, const ds_figure *chosen, const json_t *results,
                          const json_t *envelope, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const plot_options *own = invocation->own;
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const ds_figure *figure = version_of(ds_figure_at(i), own);
        if (figure == NULL || (chosen != NULL ? ds_figure_at(i) != chosen : !ds_figure_applies(figure, results))) continue;
        status = draw(count, folder, figure, results, envelope, own);
        if (status == DS_ERR_INPUT)
            status = ds_fail_prefix(status, "%s%s", DS_SHOW(invocation->operands[0]),
                                    invocation->operand_count > 1 ? " and the other files" : "");
        if (status != DS_OK) goto done;
    }
done:
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const plot_options *own = invocation->own;
    const ds_figure *chosen = NULL;
    ds_folder *folder = NULL;
    json_t *results = NULL, *envelope = NULL;
    tally count = {0};
    if (own->list) return list_figures();
    if (!(own->width >= LEAST_WIDTH && own->width <= MOST_WIDTH))
        return ds_fail(DS_ERR_USAGE, "--width takes %d to %d centimetres, not %g: in less, letters of print size would overlap",
                       LEAST_WIDTH, MOST_WIDTH, own->width);
    if (invocation->operand_count == 0)
        return ds_fail(DS_ERR_USAGE, "plot needs RESULT.json...; see \"deltascope plot --help\"");
    DS_TRY(choose(&chosen, own));
    DS_TRY(load(&results, &envelope, invocation));
    if (ds_json_at(results, "train/runs") != NULL) { /* whose checkpoints differ: no caption speaks of one */
        json_decref(envelope);
        envelope = NULL;
    }
    DS_TRY(ds_folder_open(&folder, own->out));
    DS_TRY(ds_folder_lock(folder));
    DS_TRY(draw_all(&count, folder, chosen, results, envelope, invocation));
    if (count.failed > 0)
        status = ds_fail(DS_ERR_SYSTEM, "%zu figure%s could not be drawn", count.failed, ds_plural(count.failed));
    else if (count.drawn == 0 && own->labels != NULL)
        status = refuse_merged(DS_ERR_INPUT, ": the results hold nothing for any figure that shows several checkpoints",
                               invocation->operands[0]);
    else if (count.drawn == 0)
        status = ds_fail(DS_ERR_INPUT, "%s: no figure can be drawn from it", DS_SHOW(invocation->operands[0]));
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
        "Draws from files written by --json or --out, from report.json or study.json, without model or data. Results of one "
        "checkpoint may be combined, and runs of train be laid over each other, whatever they started from; the log.jsonl of a "
        "run at work is read too. With --labels each file is of a checkpoint of its own, and figures that show several have a "
        "series for each: gates, eigenvalues, edits, costs, depth, gradient, exponents, training. Beside each picture stand "
        "its data (.tsv) and a gnuplot script (.gp) that redraws it by itself; equal "
        "results give equal bytes of data. Without gnuplot these two are written and the picture is "
        "not. A warning is given of a report whose digests do not hold.",
    .examples = "  deltascope plot --list\n"
                "  deltascope plot --figure gate-distribution --format pdf gates.json\n"
                "  deltascope plot --labels delta,write-only run/train.json control/train.json\n"
                "  deltascope plot --labels a,b --figure closed-gate-loss a/ablate.json b/ablate.json\n"
                "  deltascope plot --preset mhc-gain --width 17 --theme dark report/report.json\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run_command,
};
