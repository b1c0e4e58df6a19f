/* Figures from `train`: one run, or several on common axes. */
#include <math.h>
#include <string.h>

#include "figure.h"

/* As many points of a curve as are drawn: of more updates, each point stands for as many as it takes, with their mean, the
 * least and the greatest. */
enum { MOST_POINTS = 600 };

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static const json_t *training_of(const json_t *results) { return json_object_get(results, "train"); }

static size_t run_count(const json_t *results) {
    const json_t *runs = json_object_get(training_of(results), "runs");
    return runs != NULL ? json_array_size(runs) : training_of(results) != NULL;
}

static const json_t *run_at(const json_t *results, size_t index) {
    const json_t *runs = json_object_get(training_of(results), "runs");
    return runs != NULL ? json_array_get(runs, index) : training_of(results);
}

static const char *label_of(const json_t *run) {
    const char *label = json_string_value(json_object_get(run, "label"));
    return label == NULL ? "run" : label;
}

/* How many runs have rows under `key`. */
static size_t count_with(const json_t *results, const char *key) {
    size_t count = 0;
    for (size_t i = 0; i < run_count(results); i++) count += json_array_size(json_object_get(run_at(results, i), key)) > 0;
    return count;
}

/* What a run's updates are counted in: runs whose updates take different numbers of tokens are drawn over tokens. */
typedef struct ruler {
    bool tokens;
    double unit; /* tokens in one of the axis */
    const char *name;
} ruler;

static double tokens_per_update(const json_t *run) { return ds_json_real_at(run, "tokens_per_update"); }

static ruler ruler_of(const json_t *results) {
    static const ruler kinds[] = {{true, 1e9, "billion tokens"}, {true, 1e6, "million tokens"}, {true, 1e3, "thousand tokens"}};
    const double first = tokens_per_update(run_at(results, 0));
    double most = 0;
    bool differ = false, known = true;
    for (size_t i = 0; i < run_count(results); i++) {
        const json_t *run = run_at(results, i);
        const double tokens = tokens_per_update(run);
        known = known && tokens > 0;
        differ = differ || tokens != first;
        most = fmax(most, tokens * (double)json_array_size(json_object_get(run, "steps")));
    }
    if (!differ || !known) return (ruler){false, 1, "update"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (most >= kinds[i].unit) return kinds[i];
    }
    return (ruler){true, 1, "tokens"};
}

static double place_of(const ruler *along, const json_t *run, double step) {
    return along->tokens ? step * tokens_per_update(run) / along->unit : step;
}

/* ---- training curves --------------------------------------------------------------------------------------------- */

/* Numbers that come one after the other; those that are missing do not count. */
typedef struct spread {
    double mean, least, most;
    size_t count;
} spread;

static void add(spread *all, double value) {
    if (isnan(value)) return;
    all->count++;
    all->mean = all->count == 1 ? value : all->mean + (value - all->mean) / (double)all->count;
    all->least = all->count == 1 ? value : fmin(all->least, value);
    all->most = all->count == 1 ? value : fmax(all->most, value);
}

static double *put(double *row, const spread *all) {
    const bool any = all->count > 0;
    *row++ = any ? all->mean : NAN;
    *row++ = any ? all->least : NAN;
    *row++ = any ? all->most : NAN;
    return row;
}

static ds_status draw_updates(ds_data *data, const json_t *run, const ruler *along) {
    static const char where[] = "train.steps";
    ds_status status = DS_OK;
    const json_t *steps = json_object_get(run, "steps");
    const size_t count = json_array_size(steps), each = (count + MOST_POINTS - 1) / MOST_POINTS;
    DS_TRY(ds_data_block(data, "updates", "x\tloss\tleast\tgreatest\tgradient_norm\tleast\tgreatest\tlearning_rate"));
    for (size_t from = 0; from < count; from += each) {
        spread x = {.count = 0}, loss = x, norm = x, rate = x;
        double row[8], value, *at = row;
        for (size_t i = from; i < count && i < from + each; i++) {
            const json_t *step = json_array_get(steps, i);
            DS_TRY(ds_result_number(&value, step, "step", where));
            add(&x, place_of(along, run, value));
            DS_TRY(ds_result_number(&value, step, "loss", where));
            add(&loss, value);
            DS_TRY(ds_result_number(&value, step, "gradient_norm", where));
            add(&norm, value);
            DS_TRY(ds_result_number(&value, step, "lr", where));
            add(&rate, value);
        }
        *at++ = x.count > 0 ? x.mean : NAN;
        at = put(at, &loss);
        at = put(at, &norm);
        *at++ = rate.count > 0 ? rate.mean : NAN;
        DS_TRY(ds_data_row(data, row, (size_t)(at - row)));
    }
done:
    return status;
}

/* Points of a curve, or a row of nothing: gnuplot does not count a block without rows. */
static ds_status draw_points(ds_data *data, const json_t *run, const ruler *along, const char *list, const char *key) {
    ds_status status = DS_OK;
    const json_t *rows = json_object_get(run, list);
    double row[2] = {NAN, NAN};
    DS_TRY(ds_data_block(data, list, "x\tloss"));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        DS_TRY(ds_result_number(&row[0], json_array_get(rows, i), "step", "train"));
        DS_TRY(ds_result_number(&row[1], json_array_get(rows, i), key, "train"));
        row[0] = place_of(along, run, row[0]);
        DS_TRY(ds_data_row(data, row, 2));
    }
    if (json_array_size(rows) == 0) DS_TRY(ds_data_row(data, row, 2));
done:
    return status;
}

bool ds_training_curves_applies(const json_t *results) { return count_with(results, "steps") > 0; }

ds_status ds_training_curves_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const ruler along = ruler_of(results);
    ds_labels names = {0};
    ds_text clips = {0};
    size_t runs = 0, spikes = 0;
    for (size_t i = 0; i < run_count(results); i++) {
        const json_t *run = run_at(results, i);
        const double clip = ds_json_real_at(run, "clip");
        char number[32];
        if (json_array_size(json_object_get(run, "steps")) == 0) continue;
        DS_TRY(ds_labels_add(&names, label_of(run)));
        DS_TRY(
            ds_text_printf(&clips, "%s%s", runs == 0 ? "" : ",", ds_format_real(number, clip > 0 && clip < 1e290 ? clip : 0)));
        DS_TRY(draw_updates(&drawing->data, run, &along));
        DS_TRY(draw_points(&drawing->data, run, &along, "evaluations", "val_loss"));
        DS_TRY(draw_points(&drawing->data, run, &along, "spikes", "loss"));
        spikes += json_array_size(json_object_get(run, "spikes"));
        runs++;
    }
    drawing->panels = (runs + DS_FIGURE_SERIES - 1) / DS_FIGURE_SERIES;
    status =
        ds_text_printf(&drawing->settings, "runs = %zu\nspikes = %zu\nnames = '%s'\narray clips[%zu] = [%s]\nx_name = '%s'\n",
                       runs, spikes, ds_labels_words(&names), runs, clips.bytes, along.name);
done:
    ds_labels_release(&names);
    ds_text_release(&clips);
    return status;
}

ds_status ds_training_curves_describe(ds_text *caption, const json_t *results) {
    ds_status status = DS_OK;
    const size_t runs = count_with(results, "steps");
    size_t most = 0;
    for (size_t i = 0; i < run_count(results); i++)
        most = ds_max_size(most, json_array_size(json_object_get(run_at(results, i), "steps")));
    if (runs == 1)
        DS_TRY(ds_text_printf(caption, "Training and validation loss of a run of %zu update%s", most, ds_plural(most)));
    else
        DS_TRY(ds_text_printf(caption, "Training loss (thin) and validation loss (points) of %zu runs", runs));
    DS_TRY(ds_text_printf(caption, ", the norm of the gradient before clipping (dashed: where it is clipped), and the learning "
                                   "rate."));
    if (most > MOST_POINTS)
        DS_TRY(ds_text_printf(caption, " A point is the mean of %zu updates, the band %s their least to their greatest value.",
                              (most + MOST_POINTS - 1) / MOST_POINTS, runs == 1 ? "from" : "of a single run"));
    if (runs == 1 && json_array_size(json_object_get(run_at(results, 0), "spikes")) > 0)
        DS_TRY(ds_text_printf(caption, " Circles: spikes, losses above the median of the 100 updates before by 8 scaled median "
                                       "deviations."));
done:
    return status;
}

/* ---- gates over training ----------------------------------------------------------------------------------------- */

static double audit_place(const ruler *along, const json_t *run, size_t index) {
    return place_of(along, run, ds_json_real_at(json_array_get(json_object_get(run, "audits"), index), "step"));
}

/* A cell an audit and sublayer, halfway to the audits before and after. */
static ds_status draw_audits(ds_data *data, size_t *sublayers, const json_t *run, const ruler *along) {
    ds_status status = DS_OK;
    const json_t *audits = json_object_get(run, "audits");
    const size_t count = json_array_size(audits);
    double row[5] = {NAN, NAN, NAN, NAN, NAN};
    size_t rows = 0;
    DS_TRY(ds_data_block(data, "audits", "x\tsublayer\tfrom\tto\tbeta_mean"));
    for (size_t i = 0; i < count; i++) {
        const json_t *gates = json_object_get(json_array_get(audits, i), "gates");
        const double x = audit_place(along, run, i);
        const double left = i > 0 ? (x - audit_place(along, run, i - 1)) / 2 : NAN;
        const double right = i + 1 < count ? (audit_place(along, run, i + 1) - x) / 2 : NAN;
        row[0] = x;
        row[2] = x - (isnan(left) ? isnan(right) ? 0.5 : right : left);
        row[3] = x + (isnan(right) ? isnan(left) ? 0.5 : left : right);
        for (size_t s = 0; s < json_array_size(gates); s++, rows++) {
            row[1] = (double)s;
            DS_TRY(ds_result_number(&row[4], json_array_get(gates, s), "beta_mean", "train.audits.gates"));
            DS_TRY(ds_data_row(data, row, 5));
        }
        *sublayers = ds_max_size(*sublayers, json_array_size(gates));
    }
    if (rows == 0) DS_TRY(ds_data_row(data, (const double[]){NAN, NAN, NAN, NAN, NAN}, 5));
done:
    return status;
}

bool ds_gates_over_training_applies(const json_t *results) { return count_with(results, "audits") > 0; }

ds_status ds_gates_over_training_draw(ds_drawing *drawing, const json_t *results) {
    ds_status status = DS_OK;
    const ruler along = ruler_of(results);
    ds_labels names = {0};
    size_t sublayers = 1;
    for (size_t i = 0; i < run_count(results); i++) {
        const json_t *run = run_at(results, i);
        if (json_array_size(json_object_get(run, "audits")) == 0) continue;
        DS_TRY(ds_labels_add(&names, label_of(run)));
        DS_TRY(draw_audits(&drawing->data, &sublayers, run, &along));
        drawing->panels++;
    }
    status = ds_text_printf(&drawing->settings, "runs = %zu\nsublayers = %zu\nnames = '%s'\nx_name = '%s'\n", drawing->panels,
                            sublayers, ds_labels_words(&names), along.name);
done:
    ds_labels_release(&names);
    return status;
}

ds_status ds_gates_over_training_describe(ds_text *caption, const json_t *results) {
    const size_t runs = count_with(results, "audits");
    return ds_text_printf(
        caption,
        "Mean gate β over the tokens of the validation windows, by sublayer (even: attention, odd: MLP), as it "
        "changes with training%s.",
        runs > 1 ? "; a panel a run, one scale" : "");
}
