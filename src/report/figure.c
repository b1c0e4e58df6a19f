/* Figures: the table of those there are, and how one becomes files. */
#include <string.h>

#include "deltascope/run.h"
#include "figure.h"

#define FUNCTIONS(name) ds_##name##_applies, ds_##name##_draw, ds_##name##_describe

/* Of one run or several. */
#define TRAINING_CURVES                                                                                                        \
    {                                                                                                                          \
        "training-curves", "Loss, gradient, learning rate of a run", NULL, NULL, 1.3, 1, ds_plot_training_curves,              \
            FUNCTIONS(training_curves)                                                                                         \
    }
#define GATES_OVER_TRAINING                                                                                                    \
    {                                                                                                                          \
        "gates-over-training", "Gates over training", NULL, NULL, 0.6, 4, ds_plot_gates_over_training,                         \
            FUNCTIONS(gates_over_training)                                                                                     \
    }

static const struct ds_figure figures[] = {
    {"gate-distribution", "Gate distribution by depth", NULL, NULL, 0.95, 1, ds_plot_gate_distribution,
     FUNCTIONS(gate_distribution)},
    {"regime-shares", "Regime shares by depth", NULL, NULL, 0.95, 1, ds_plot_regime_shares, FUNCTIONS(regime_shares)},
    {"eigenvalue-beta", "Eigenvalue against gate", "ddl-spectrum",
     "After the spectral analysis of Deep Delta Learning (arXiv:2601.00417), which takes k to be of unit length; here the "
     "trained k with |k| < 1 enters, so that the eigenvalue is 1 − mβ‖k‖², not 1 − β.",
     0.95, 1, ds_plot_eigenvalue_beta, FUNCTIONS(eigenvalue_beta)},
    {"discrepancy", "Discrepancy before and after the edit", NULL, NULL, 0.95, 1, ds_plot_discrepancy, FUNCTIONS(discrepancy)},
    {"edit-sizes", "Readout, target and edit by depth", NULL, NULL, 0.95, 1, ds_plot_edit_sizes, FUNCTIONS(edit_sizes)},
    {"closed-gate-loss", "Loss with one gate forced shut", "lesion",
     "After the lesion study of Veit, Wilber and Belongie (arXiv:1605.06431), which removes a residual block and counts "
     "classification errors; here the gate is shut, the block still runs, and the loss is compared.",
     0.7, 1, ds_plot_closed_gate_loss, FUNCTIONS(closed_gate_loss)},
    {"closed-gate-cumulative", "Loss with gates shut from either end", NULL, NULL, 0.7, 1, ds_plot_closed_gate_cumulative,
     FUNCTIONS(closed_gate_cumulative)},
    {"controls", "Ways of forcing the gates", NULL, NULL, 0.7, 1, ds_plot_controls, FUNCTIONS(controls)},
    {"accumulated-eigenvalues", "Eigenvalues accumulated over depth", NULL, NULL, 1.0, 1, ds_plot_accumulated_eigenvalues,
     FUNCTIONS(accumulated_eigenvalues)},
    {"singular-values", "Singular values accumulated over depth", NULL, NULL, 0.7, 1, ds_plot_singular_values,
     FUNCTIONS(singular_values)},
    {"depth-spectrum", "Singular values by depth", "isometry",
     "After the singular values of Jacobians studied for dynamical isometry (Pennington, Schoenholz and Ganguli, "
     "arXiv:1711.04735); here those of the frozen shortcut alone, not of the whole Jacobian.",
     0.8, 1, ds_plot_depth_spectrum, FUNCTIONS(depth_spectrum)},
    {"depth-gain", "Gain by depth", "mhc-gain",
     "After the gain magnitude of mHC (arXiv:2512.24880), which takes the composite of its learned n × n residual maps and "
     "averages over the tokens of one sequence; here it is the d × d composite of frozen delta operators, over all tokens of "
     "the run.",
     0.7, 1, ds_plot_depth_gain, FUNCTIONS(depth_gain)},
    {"coherence", "Coherence of directions", NULL, NULL, 0.95, 2, ds_plot_coherence, FUNCTIONS(coherence)},
    {"gradient-paths", "Gradient by depth, split by path", "gradient-norms",
     "After the back-propagated gradients by layer of Glorot and Bengio (AISTATS 2010), who show histograms; here norms over "
     "the batch, and their split by path.",
     0.85, 1, ds_plot_gradient_paths, FUNCTIONS(gradient_paths)},
    {"frozen-full", "Frozen against full Jacobian", NULL, NULL, 0.8, 1, ds_plot_frozen_full, FUNCTIONS(frozen_full)},
    {"weight-spectra", "Weight spectra", "htsr-alpha",
     "After the layer-wise power-law exponents of Martin and Mahoney (arXiv:1810.01075); how the tail starts and is fitted may "
     "differ from their program in single matrices.",
     1.0, 2, ds_plot_weight_spectra, FUNCTIONS(weight_spectra)},
    {"compare-gates", "Mean gates of several checkpoints", NULL, NULL, 0.75, 1, ds_plot_checkpoints, FUNCTIONS(compare_gates)},
    {"compare-costs", "Gate costs of several checkpoints", NULL, NULL, 0.75, 1, ds_plot_checkpoints, FUNCTIONS(compare_costs)},
    {"contribution-maps", "Contributions by read", "2603.15031",
     "After the layer-dependency maps of Attention Residuals (arXiv:2603.15031), which show mean weights of the softmax over "
     "sources; here a weight counts with the norm of what it weighs, and block sums are taken apart.",
     0.95, 2, ds_plot_contribution_maps, FUNCTIONS(contribution_maps)},
    {"effective-sources", "Effective sources by depth", NULL, NULL, 0.75, 1, ds_plot_checkpoints, FUNCTIONS(effective_sources)},
    {"largest-share", "Largest share by depth", "2605.18855",
     "After the largest routing weight by which Delta Attention Residuals (arXiv:2605.18855) tells collapse from choice; there "
     "weights of the softmax over its own sources, here shares of the weights that these give to single outputs, the running "
     "sum's included.",
     0.75, 1, ds_plot_checkpoints, FUNCTIONS(largest_share)},
    {"mass-cause", "Mass against cause", NULL, NULL, 0.85, 1, ds_plot_mass_cause, FUNCTIONS(mass_cause)},
    {"rule-gains", "Gain of mixing by depth", "2512.24880",
     "After the gain magnitude of mHC (arXiv:2512.24880), which averages over the tokens of one sequence; here over all tokens "
     "of the run.",
     0.75, 1, ds_plot_checkpoints, FUNCTIONS(rule_gains)},
    {"source-gradients", "Gradients by source", NULL, NULL, 0.75, 1, ds_plot_checkpoints, FUNCTIONS(source_gradients)},
    {"source-sizes", "Sizes of what is written", NULL, NULL, 0.75, 1, ds_plot_checkpoints, FUNCTIONS(source_sizes)},
    {"trajectory-loss", "Loss along a run", NULL, NULL, 0.7, 1, ds_plot_trajectory_loss, FUNCTIONS(trajectory_loss)},
    {"trajectory-gates", "Gates along a run", NULL, NULL, 0.7, 1, ds_plot_trajectory_gates, FUNCTIONS(trajectory_gates)},
    TRAINING_CURVES,
    GATES_OVER_TRAINING,
    {"contrasts", "Contrasts of seeds", NULL, NULL, 0.1, 1, ds_plot_contrasts, FUNCTIONS(contrasts)},
    {"group-gates", "Mean gates of groups", NULL, NULL, 0.75, 1, ds_plot_groups, FUNCTIONS(group_gates)},
    {"group-discrepancy", "Discrepancy of groups", NULL, NULL, 0.55, 1, ds_plot_groups, FUNCTIONS(group_discrepancy)},
    {"group-regimes", "Regime shares of groups", NULL, NULL, 0.36, 1, ds_plot_groups, FUNCTIONS(group_regimes)},
    {"group-costs", "Gate costs of groups", NULL, NULL, 0.75, 1, ds_plot_groups, FUNCTIONS(group_costs)},
    {"group-gradients", "Gradient of groups, state by state", NULL, NULL, 0.75, 1, ds_plot_groups, FUNCTIONS(group_gradients)},
    {"study-tokens", "Validation loss by tokens", NULL, NULL, 0.8, 1, ds_plot_study_curves, FUNCTIONS(study_tokens)},
    {"study-flops", "Validation loss by operations", NULL, NULL, 0.8, 1, ds_plot_study_curves, FUNCTIONS(study_flops)},
    {"study-seconds", "Validation loss by seconds", NULL, NULL, 0.8, 1, ds_plot_study_curves, FUNCTIONS(study_seconds)},
    {"study-differences", "Differences in training, seed by seed", NULL, NULL, 0.35, 1, ds_plot_study_differences,
     FUNCTIONS(study_differences)},
    {"study-seeds", "Final loss of every seed", NULL, NULL, 0.9, 1, ds_plot_study_seeds, FUNCTIONS(study_seeds)},
    {"study-sweep", "Loss against the swept key", NULL, NULL, 0.8, 1, ds_plot_study_sweep, FUNCTIONS(study_sweep)},
};

/* What some of them become of several checkpoints. */
#define MERGED(id, title, preset, name)                                                                                        \
    { id, title, preset, NULL, 0.75, 1, ds_plot_checkpoints, FUNCTIONS(merged_##name) }
static const struct ds_figure merged[] = {
    MERGED("gate-distribution", "Mean gates by depth", NULL, gates),
    MERGED("eigenvalue-beta", "Mean eigenvalues by depth", "ddl-spectrum", eigenvalues),
    MERGED("edit-sizes", "Relative edit by depth", NULL, edits),
    MERGED("closed-gate-loss", "Loss with one gate forced shut", "lesion", costs),
    MERGED("depth-spectrum", "Smallest singular value by depth", "isometry", smallest),
    MERGED("depth-gain", "Gain by depth", "mhc-gain", gains),
    MERGED("gradient-paths", "Gradient by depth", "gradient-norms", gradients),
    MERGED("weight-spectra", "Weight exponents", "htsr-alpha", exponents),
    TRAINING_CURVES,
    GATES_OVER_TRAINING,
};

static const double single_column_cm = 8.5;

size_t ds_figure_count(void) { return sizeof figures / sizeof *figures; }

const ds_figure *ds_figure_at(size_t index) { return &figures[index]; }

const ds_figure *ds_figure_find(const char *id) {
    for (size_t i = 0; i < ds_figure_count(); i++) {
        bool preset = figures[i].preset != NULL && strcmp(figures[i].preset, id) == 0;
        if (preset || strcmp(figures[i].id, id) == 0) return &figures[i];
    }
    return NULL;
}

const ds_figure *ds_figure_merged(const ds_figure *figure) {
    for (size_t i = 0; i < sizeof merged / sizeof *merged; i++) {
        if (strcmp(merged[i].id, figure->id) == 0) return &merged[i];
    }
    return NULL;
}

const char *ds_figure_id(const ds_figure *figure) { return figure->id; }

const char *ds_figure_title(const ds_figure *figure) { return figure->title; }

const char *ds_figure_preset(const ds_figure *figure) { return figure->preset; }

/* A study.json has no "results": they stand beside what the envelope says. */
static json_t *results_of(const json_t *envelope, const char *command) {
    static const char *const said[] = {"schema",      "command", "version", "checkpoint", "options", "arithmetic",
                                       "environment", "threads", "ranks",   "seconds",    "digests", "signature"};
    if (strcmp(command, "study") != 0) return json_incref(json_object_get(envelope, "results"));
    json_t *results = json_copy((json_t *)(uintptr_t)envelope); /* its members are shared */
    for (size_t i = 0; results != NULL && i < sizeof said / sizeof *said; i++) (void)json_object_del(results, said[i]);
    return results;
}

ds_status ds_figure_results(json_t **out, const json_t *envelope) {
    const char *command = json_string_value(json_object_get(envelope, "command"));
    json_t *results = command == NULL ? NULL : results_of(envelope, command);
    *out = NULL;
    if (!json_is_object(results)) {
        json_decref(results);
        return ds_fail(DS_ERR_INPUT, "the result has no \"command\" or no \"results\", expected an envelope of deltascope/1");
    }
    *out = strcmp(command, "report") == 0 ? ds_json_copy(results) : json_pack("{s:O}", command, results);
    json_decref(results);
    return *out != NULL ? DS_OK : ds_fail(DS_ERR_SYSTEM, "out of memory while results are put together");
}

bool ds_figure_applies(const ds_figure *figure, const json_t *results) { return figure->applies(results); }

static size_t count_of(const json_t *object, const char *key) {
    json_int_t count = json_integer_value(json_object_get(object, key));
    return count > 0 ? (size_t)count : 0;
}

/* Of several checkpoints compared, no caption speaks of one. */
static ds_status describe_data(ds_text *caption, const json_t *envelope) {
    const json_t *data = json_object_get(envelope, "data");
    const char *command = json_string_value(json_object_get(envelope, "command"));
    ds_status status = DS_OK;
    size_t sequences = count_of(data, "sequences"), length = count_of(data, "seq_len");
    const ds_inference inference = ds_inference_of(data);
    if (command == NULL || strcmp(command, "compare") != 0)
        DS_TRY(ds_checkpoint_words(caption, json_object_get(envelope, "checkpoint")));
    if (sequences > 0)
        DS_TRY(ds_text_printf(caption, " Data: %zu %swindow%s of %zu token%s%s.", sequences,
                              inference.stretch && sequences > 1 ? "consecutive " : "", ds_plural(sequences), length,
                              ds_plural(length), inference.stretch ? ", a stretch of the file" : ""));
done:
    return status;
}

ds_status ds_figure_caption(ds_text *caption, const ds_figure *figure, const json_t *results, const json_t *envelope) {
    ds_status status = DS_OK;
    DS_TRY(figure->describe(caption, results));
    if (figure->source != NULL) DS_TRY(ds_text_printf(caption, " %s", figure->source));
    if (envelope != NULL) DS_TRY(describe_data(caption, envelope));
done:
    return status;
}

/* The script stands by itself: settings, the shared style, the template. */
static ds_status make_script(ds_text *script, const ds_figure *figure, const ds_figure_options *options,
                             const ds_drawing *drawing) {
    ds_status status = DS_OK;
    double width = options->width_cm > 0 ? options->width_cm : single_column_cm;
    DS_TRY(ds_text_printf(script,
                          "# %s\n# Redraw with: gnuplot -e \"format='pdf'\" %s.gp   (svg, png, pdf or tex; writes %s.pdf)\n\n"
                          "id = '%s'\ndata = '%s.tsv'\nwidth_cm = %g\naspect = %g\ndark = %d\n%s\n",
                          figure->title, figure->id, figure->id, figure->id, figure->id, width,
                          figure->aspect * (double)ds_max_size(drawing->panels, 1), options->dark, drawing->settings.bytes));
    DS_TRY(ds_text_printf(script, "%s\n%s", ds_plot_style, figure->template));
done:
    return status;
}

static ds_status write_part(const ds_folder *folder, const ds_figure *figure, const char *ending, const ds_text *content) {
    ds_status status = DS_OK;
    ds_text name = {0};
    DS_TRY(ds_text_printf(&name, "%s.%s", figure->id, ending));
    DS_TRY(ds_write_file_in(folder, name.bytes, content->bytes, content->length));
done:
    ds_text_release(&name);
    return status;
}

static const struct {
    unsigned flag;
    const char *name;
} formats[] = {{DS_FIGURE_SVG, "svg"}, {DS_FIGURE_PNG, "png"}, {DS_FIGURE_PDF, "pdf"}, {DS_FIGURE_TEX, "tex"}};

static ds_status remove_part(const ds_folder *folder, const ds_figure *figure, const char *ending) {
    ds_status status = DS_OK;
    ds_text name = {0};
    DS_TRY(ds_text_printf(&name, "%s.%s", figure->id, ending));
    status = ds_folder_remove(folder, name.bytes);
done:
    ds_text_release(&name);
    return status;
}

/* A picture that was not drawn is not there: one of another result, or a stranger's, would be taken for it, and a page would
 * take it in. */
static ds_status remove_stale(const ds_figure_outcome *outcome, const ds_folder *folder, const ds_figure *figure,
                              unsigned wanted) {
    ds_status status = DS_OK;
    if (outcome->empty) {
        DS_TRY(remove_part(folder, figure, "tsv"));
        DS_TRY(remove_part(folder, figure, "gp"));
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if ((wanted & ~outcome->pictures & formats[i].flag) != 0) DS_TRY(remove_part(folder, figure, formats[i].name));
    }
done:
    return status;
}

/* What gnuplot runs is what we have in memory, not what lies in the folder meanwhile. */
static ds_status draw_pictures(ds_figure_outcome *outcome, const ds_folder *folder, const ds_figure *figure, unsigned wanted,
                               const ds_text *script, const ds_text *data) {
    ds_status status = DS_OK;
    ds_helper *gnuplot = NULL;
    DS_TRY(ds_gnuplot_open(&gnuplot, figure->id, script, data));
    if (gnuplot == NULL) {
        outcome->no_gnuplot = true;
        (void)ds_fail(DS_OK, "gnuplot is not installed: %s/%s.gp will draw the figure once it is",
                      DS_SHOW(ds_folder_path(folder)), figure->id);
        goto done;
    }
    status = ds_gnuplot_draw(&outcome->pictures, gnuplot, folder, figure->id, wanted);
done:
    ds_helper_close(&gnuplot);
    return status;
}

ds_status ds_figure_write(ds_figure_outcome *outcome, const ds_folder *folder, const ds_figure *figure, const json_t *results,
                          const ds_figure_options *options) {
    ds_status status = DS_OK;
    ds_drawing drawing = {0};
    ds_text script = {0};
    *outcome = (ds_figure_outcome){.empty = false};
    if (!figure->applies(results)) return ds_fail(DS_ERR_INPUT, "results: nothing to draw for figure \"%s\"", figure->id);
    DS_TRY(figure->draw(&drawing, results));
    if (!ds_data_shows_something(&drawing.data, figure->coordinates)) {
        outcome->empty = true;
        DS_TRY(remove_stale(outcome, folder, figure, options->formats));
        (void)ds_fail(DS_OK, "%s: nothing to draw: the result has no finite number for it", figure->id);
        goto done;
    }
    DS_TRY(ds_data_extents(&drawing.settings, &drawing.data));
    DS_TRY(make_script(&script, figure, options, &drawing));
    DS_TRY(write_part(folder, figure, "tsv", &drawing.data.text));
    DS_TRY(write_part(folder, figure, "gp", &script));
    if (options->formats != 0) DS_TRY(draw_pictures(outcome, folder, figure, options->formats, &script, &drawing.data.text));
    DS_TRY(remove_stale(outcome, folder, figure, options->formats));
done:
    ds_data_release(&drawing.data);
    ds_text_release(&drawing.settings);
    ds_text_release(&script);
    return status;
}
