/* Figures of residual rules side by side, from `compare --rules`; most are of one checkpoint too, from `depth` or a report. */
#include <math.h>
#include <string.h>

#include "figure.h"

/* ---- checkpoints ------------------------------------------------------------------------------------------------------ */

/* One checkpoint's part of the results; members may be NULL. */
typedef struct subject {
    const char *label;
    const json_t *rules, *depth, *gradflow, *spectrum, *cases;
} subject;

static const json_t *checkpoints_of(const json_t *results) { return ds_json_at(results, "compare/checkpoints"); }

static size_t count_subjects(const json_t *results) {
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(checkpoints_of(results)); i++)
        count += json_object_get(json_array_get(checkpoints_of(results), i), "rules") != NULL;
    return count > 0 ? count : json_object_get(results, "depth") != NULL ? 1 : 0;
}

/* The checkpoints that have been compared as rules, in order; without a comparison the one there is. */
static subject subject_at(const json_t *results, size_t index) {
    for (size_t i = 0; i < json_array_size(checkpoints_of(results)); i++) {
        const json_t *checkpoint = json_array_get(checkpoints_of(results), i), *rules = json_object_get(checkpoint, "rules");
        if (rules == NULL || index-- > 0) continue;
        return (subject){json_string_value(json_object_get(checkpoint, "label")),
                         rules,
                         json_object_get(rules, "depth"),
                         json_object_get(rules, "gradflow"),
                         json_object_get(rules, "spectrum"),
                         json_object_get(checkpoint, "cases")};
    }
    const json_t *depth = json_object_get(results, "depth");
    return (subject){.label = json_string_value(json_object_get(depth, "rule")),
                     .depth = depth,
                     .gradflow = json_object_get(results, "gradflow"),
                     .spectrum = json_object_get(results, "spectrum")};
}

static const char *label_of(const subject *s) { return s->label != NULL ? s->label : "checkpoint"; }

/* What a page of several has to say beside its figures. */
static ds_status describe_backbones(ds_text *caption, const json_t *results) {
    const char *first = NULL;
    for (size_t i = 0; i < count_subjects(results); i++) {
        const char *own = json_string_value(json_object_get(subject_at(results, i).rules, "backbone"));
        if (own != NULL && first != NULL && strcmp(own, first) != 0)
            return ds_text_printf(caption, " The backbones differ (%s, %s): what is not alike need not come from the rules.",
                                  DS_SHOW(first), DS_SHOW(own));
        if (first == NULL) first = own;
    }
    return DS_OK;
}

/* ---- a course over depth ---------------------------------------------------------------------------------------------- */

/* One number of every row of an array, or the elements of an array of numbers (value NULL). */
typedef struct course {
    const json_t *(*of)(const subject *s);
    const char *rows, *value, *deviation; /* a band of one deviation; NULL: none */
    const char *suffix;                   /* of the label; NULL: none */
    bool relative;                        /* divided by the mean of the course */
    double first;                         /* what the first row stands at */
} course;

static const json_t *depth_of(const subject *s) { return s->depth; }
static const json_t *gradflow_of(const subject *s) { return s->gradflow; }
static const json_t *spectrum_of(const subject *s) { return s->spectrum; }

static size_t count_rows(const course *c, const subject *s) { return json_array_size(ds_json_at(c->of(s), c->rows)); }

static ds_status value_at(double *value, double *deviation, const course *c, const json_t *row) {
    ds_status status = DS_OK;
    *deviation = NAN;
    if (c->value == NULL) {
        *value = json_is_number(row) ? json_number_value(row) : NAN;
        return DS_OK;
    }
    DS_TRY(ds_result_number_at(value, row, c->value, c->rows));
    if (c->deviation != NULL) DS_TRY(ds_result_number_at(deviation, row, c->deviation, c->rows));
done:
    return status;
}

static ds_status draw_course(ds_drawing *drawing, ds_labels *names, const course *c, const subject *s) {
    ds_status status = DS_OK;
    ds_text label = {0};
    const json_t *rows = ds_json_at(c->of(s), c->rows);
    size_t count = json_array_size(rows);
    double value, deviation, mean = 0;
    if (count == 0) return DS_OK;
    DS_TRY(ds_text_printf(&label, "%s%s", label_of(s), c->suffix != NULL ? c->suffix : ""));
    DS_TRY(ds_labels_add(names, label.bytes));
    DS_TRY(ds_data_block(&drawing->data, c->rows, "depth\tvalue\tlow\thigh"));
    for (size_t i = 0; i < count; i++) {
        DS_TRY(value_at(&value, &deviation, c, json_array_get(rows, i)));
        mean += value / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        DS_TRY(value_at(&value, &deviation, c, json_array_get(rows, i)));
        if (c->relative && fabs(mean) > 0) value /= mean; /* all zero stays so */
        const double row[] = {c->first + (double)i, value, value - deviation, value + deviation};
        DS_TRY(ds_data_row(&drawing->data, row, 4));
    }
done:
    ds_text_release(&label);
    return status;
}

/* Every course that a checkpoint has is a series; `first` takes the place of those after it. */
static ds_status draw_courses(ds_drawing *drawing, const json_t *results, const course *courses, size_t count, bool first,
                              const ds_series_axes *axes) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        bool drawn = false;
        for (size_t c = 0; c < count && !(first && drawn); c++) {
            DS_TRY(draw_course(drawing, &names, &courses[c], &s));
            drawn = drawn || count_rows(&courses[c], &s) > 0;
        }
    }
    DS_TRY(ds_series_finish(drawing, &names, axes));
done:
    ds_labels_release(&names);
    return status;
}

static bool has_course(const json_t *results, const course *courses, size_t count) {
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        for (size_t c = 0; c < count; c++)
            if (count_rows(&courses[c], &s) > 0) return true;
    }
    return false;
}

#define COUNT(courses) (sizeof(courses) / sizeof *(courses))

static const course sources[] = {
    {depth_of, "depth_rows", "contribution_sources/mean", "contribution_sources/std", NULL, false, 0}};
bool ds_effective_sources_applies(const json_t *results) { return has_course(results, sources, COUNT(sources)); }
ds_status ds_effective_sources_draw(ds_drawing *drawing, const json_t *results) {
    return draw_courses(drawing, results, sources, COUNT(sources), false,
                        &(ds_series_axes){"read", "effective sources", "sizes", true});
}
ds_status ds_effective_sources_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(
        caption,
        "Effective sources of every read (even: attention, odd: MLP, the last: readout), e to the entropy of what the "
        "embedding "
        "and each output before it contribute to it: 1 where one is all there is, s + 1 at read s where all weigh the same. "
        "Points: means over tokens; bars: one standard deviation of tokens."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}

static const course largest[] = {{depth_of, "depth_rows", "max_share/mean", "max_share/std", NULL, false, 0},
                                 {depth_of, "depth_rows", "contribution_max/mean", "contribution_max/std", NULL, false, 0}};
/* Without weights A, as under the delta rule, contributions. */
static size_t largest_of(const subject *s) {
    return json_object_get(json_array_get(ds_json_at(s->depth, "depth_rows"), 0), "max_share") != NULL ? 0 : 1;
}
bool ds_largest_share_applies(const json_t *results) { return has_course(results, largest, 1); }
ds_status ds_largest_share_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        DS_TRY(draw_course(drawing, &names, &largest[largest_of(&s)], &s));
    }
    DS_TRY(ds_series_finish(drawing, &names, &(ds_series_axes){"read", "largest share", "sizes", true}));
done:
    ds_labels_release(&names);
    return status;
}
ds_status ds_largest_share_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(caption,
                          "Largest share that one output or the embedding has in a read, of weights |A|, under the delta "
                          "rule of contributions; towards 1/N it chooses nothing. Points: means over tokens; bars: one "
                          "standard deviation of tokens."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}

static const course gains[] = {{depth_of, "composite/prefix", "forward_gain/mean", "forward_gain/std", "/forward", false, 1},
                               {depth_of, "composite/prefix", "backward_gain/mean", "backward_gain/std", "/backward", false, 1},
                               {spectrum_of, "distribution", "norm2/mean", NULL, "/largest", false, 1},
                               {spectrum_of, "distribution", "smallest/mean", NULL, "/smallest", false, 1}};
bool ds_rule_gains_applies(const json_t *results) { return has_course(results, gains, 2); }
ds_status ds_rule_gains_draw(ds_drawing *drawing, const json_t *results) {
    return draw_courses(drawing, results, gains, COUNT(gains), false,
                        &(ds_series_axes){"sublayers accumulated", "gain", "powers", true});
}
ds_status ds_rule_gains_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(
        caption,
        "Gain over depth. Of streams, of the product R_s ... R_0: the largest absolute sum of a row (forward) and of a column "
        "(backward); on the side that Sinkhorn ends on it is 1 by construction, and the other one measures the defect. Of the "
        "delta rule, of the product of frozen operators: the largest and the smallest singular value. The additive rule has 1 "
        "in both, attention over depth has no product. Points: means over tokens; bars: one standard deviation of tokens."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}

/* A history and streams have gradients of every output; where a state is rewritten, that of the state it is written to. */
static const course gradients[] = {{gradflow_of, "sources", NULL, NULL, NULL, true, 0},
                                   {gradflow_of, "states", "grad_norm", NULL, NULL, true, 0}};
bool ds_source_gradients_applies(const json_t *results) {
    return has_course(results, gradients, COUNT(gradients)) && count_subjects(results) > 0;
}
ds_status ds_source_gradients_draw(ds_drawing *drawing, const json_t *results) {
    return draw_courses(drawing, results, gradients, COUNT(gradients), true,
                        &(ds_series_axes){"source", "gradient over its mean", "sizes", true});
}
ds_status ds_source_gradients_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(caption,
                          "Norm of the loss's gradient by the embedding (0) and by every output, over its mean: 1 "
                          "throughout is a gradient that reaches all depths alike. Where the state is rewritten, that by "
                          "the state. Exact derivatives: no interval."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}

static const course sizes[] = {{depth_of, "source_norms", NULL, NULL, NULL, true, 0}};
bool ds_source_sizes_applies(const json_t *results) { return has_course(results, sizes, COUNT(sizes)); }
ds_status ds_source_sizes_draw(ds_drawing *drawing, const json_t *results) {
    return draw_courses(drawing, results, sizes, COUNT(sizes), false,
                        &(ds_series_axes){"source", "size over its mean", "sizes", true});
}
ds_status ds_source_sizes_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(caption, "Norm of the embedding (0) and of every output, mean over tokens, over its mean: what grows "
                                   "with depth drowns what came before in a plain sum (dilution)."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}

/* ---- contributions ---------------------------------------------------------------------------------------------------- */

bool ds_contribution_maps_applies(const json_t *results) { return ds_effective_sources_applies(results); }

ds_status ds_contribution_maps_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    size_t most = 0;
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        const json_t *rows = ds_json_at(s.depth, "depth_rows"), *shares;
        DS_TRY(ds_labels_add(&names, label_of(&s)));
        DS_TRY(ds_data_block(&drawing->data, "contributions", "source\tread\tshare"));
        for (size_t read = 0; read < json_array_size(rows); read++) {
            DS_TRY(ds_result_array(&shares, json_array_get(rows, read), "contribution", "depth_rows"));
            for (size_t k = 0; k < json_array_size(shares); k++) {
                const double row[] = {(double)k, (double)read, ds_result_element(shares, k)};
                DS_TRY(ds_data_row(&drawing->data, row, 3));
            }
        }
        most = ds_max_size(most, json_array_size(rows));
    }
    drawing->panels = drawing->data.blocks;
    status = ds_text_printf(&drawing->settings, "checkpoints = %zu\nnames = '%s'\nreads = %zu\n", drawing->data.blocks,
                            ds_labels_words(&names), most);
done:
    ds_labels_release(&names);
    return status;
}

ds_status ds_contribution_maps_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(
        caption,
        "What the embedding (source 0) and every output (source s + 1 of sublayer s) contribute to each read, down the side, "
        "the "
        "last being the readout: weight times norm, as a share of the read, mean over tokens; under the delta rule the norm of "
        "what the operators since have left of it. A panel a rule. The norm after a read takes its scale away, so shares are "
        "compared, not sums of weights."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}

/* ---- mass and cause --------------------------------------------------------------------------------------------------- */

bool ds_mass_cause_applies(const json_t *results) {
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        if (json_array_size(s.cases) > 0 && json_array_size(json_object_get(s.rules, "mass")) > 0) return true;
    }
    return false;
}

ds_status ds_mass_cause_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    ds_labels names = {0};
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        const json_t *mass = json_object_get(s.rules, "mass");
        if (json_array_size(s.cases) == 0) continue;
        DS_TRY(ds_labels_add(&names, label_of(&s)));
        DS_TRY(ds_data_block(&drawing->data, "sublayers", "mass\tdelta_loss"));
        for (size_t c = 0; c < json_array_size(s.cases); c++) {
            double row[] = {ds_result_element(mass, c), NAN};
            DS_TRY(ds_result_number(&row[1], json_array_get(s.cases, c), "delta_loss", "compare.checkpoints.cases"));
            DS_TRY(ds_data_row(&drawing->data, row, 2));
        }
    }
    drawing->panels = (drawing->data.blocks + DS_FIGURE_SERIES - 1) / DS_FIGURE_SERIES;
    status =
        ds_text_printf(&drawing->settings, "checkpoints = %zu\nnames = '%s'\n", drawing->data.blocks, ds_labels_words(&names));
done:
    ds_labels_release(&names);
    return status;
}

ds_status ds_mass_cause_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    const char *before = " Rank correlation: ";
    DS_TRY(ds_text_printf(
        caption, "Mass against cause: for every sublayer the mean share of its output in all later reads, and the rise of "
                 "the loss when it is closed. Mass is not cause: what is read much may be worth nothing, and the "
                 "reverse."));
    for (size_t i = 0; i < count_subjects(results); i++) {
        const subject s = subject_at(results, i);
        const json_t *rank = json_object_get(s.rules, "mass_cost_rank_correlation");
        if (!json_is_number(rank)) continue;
        DS_TRY(ds_text_printf(caption, "%s%s %.2f", before, DS_SHOW(label_of(&s)), json_number_value(rank)));
        before = ", ";
    }
    if (before[0] == ',') DS_TRY(ds_text_printf(caption, "."));
    DS_TRY(describe_backbones(caption, results));
done:
    return status;
}
