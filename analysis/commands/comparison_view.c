#include "comparison_view.h"

#include <math.h>
#include <stdlib.h>

#include "deltascope/delta.h"
#include "deltascope/model.h"

#define LENGTH_OF(array) (sizeof(array) / sizeof(array)[0])

static const json_t *checkpoints_of(const json_t *results) { return json_object_get(results, "checkpoints"); }

/* Also where no gates are listed: an additive checkpoint's sublayers count too. */
static size_t sublayers_of(const json_t *checkpoint) {
    return 2 * (size_t)json_integer_value(json_object_get(checkpoint, "layers"));
}

static const json_t *gates_at(const json_t *checkpoint, size_t sublayer) {
    return json_array_get(json_object_get(checkpoint, "sublayers"), sublayer);
}

static const json_t *case_at(const json_t *checkpoint, size_t sublayer) {
    return json_array_get(json_object_get(checkpoint, "cases"), sublayer);
}

bool ds_comparison_has_gates(const json_t *results) {
    size_t i;
    const json_t *checkpoint;
    json_array_foreach(checkpoints_of(results), i, checkpoint) {
        if (gates_at(checkpoint, 0) != NULL) return true;
    }
    return false;
}

/* ---- a row for every checkpoint and sublayer --------------------------------------------------------------------- */

const ds_column ds_comparison_columns[DS_COMPARISON_COLUMNS] = {
    {"checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0},       {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"beta_mean", NULL, NULL, DS_COLUMN_FIXED, 3},       {"identity", NULL, NULL, DS_COLUMN_PERCENT, 1},
    {"damped", NULL, NULL, DS_COLUMN_PERCENT, 1},        {"projection", NULL, NULL, DS_COLUMN_PERCENT, 1},
    {"over_relaxed", NULL, NULL, DS_COLUMN_PERCENT, 1},  {"reflection", NULL, NULL, DS_COLUMN_PERCENT, 1},
    {"relative_edit", NULL, NULL, DS_COLUMN_FIXED, 3},   {"cost", NULL, "nats", DS_COLUMN_FIXED, 4},
    {"cost_low", NULL, NULL, DS_COLUMN_FIXED, 4},        {"cost_high", NULL, NULL, DS_COLUMN_FIXED, 4},
    {"difference", NULL, "nats", DS_COLUMN_FIXED, 4},    {"difference_low", NULL, NULL, DS_COLUMN_FIXED, 4},
    {"difference_high", NULL, NULL, DS_COLUMN_FIXED, 4}, {"p_value_holm", NULL, NULL, DS_COLUMN_REAL, 2},
};

static void add_cells(ds_table *table, const json_t *row, const char *const *paths, size_t count) {
    for (size_t i = 0; i < count; i++) ds_table_real(table, ds_json_real_at(row, paths[i]));
}

static const char *const difference_paths[] = {"difference", "difference_ci95/0", "difference_ci95/1", "p_value_holm"};

static void add_sublayer(ds_table *table, const json_t *checkpoint, size_t sublayer) {
    static const char *const cost_paths[] = {"delta_loss", "delta_loss_ci95/0", "delta_loss_ci95/1"};
    const json_t *gates = gates_at(checkpoint, sublayer), *shut = case_at(checkpoint, sublayer);
    const json_t *regimes = json_object_get(gates, "regimes");
    char name[32];
    ds_table_text(table, json_string_value(json_object_get(checkpoint, "label")));
    ds_table_text(table, ds_sublayer_name(name, sublayer));
    ds_table_real(table, ds_json_real_at(gates, "beta/mean"));
    for (size_t r = 0; r < DS_REGIME_COUNT; r++) ds_table_real(table, ds_json_real_at(regimes, ds_regime_name((ds_regime)r)));
    ds_table_real(table, ds_json_real_at(gates, "relative_edit"));
    add_cells(table, shut, cost_paths, LENGTH_OF(cost_paths));
    add_cells(table, shut, difference_paths, LENGTH_OF(difference_paths));
}

ds_status ds_comparison_long_table(ds_table **table, const json_t *results) {
    ds_status status = DS_OK;
    size_t i;
    const json_t *checkpoint;
    DS_TRY(ds_table_new(table, "Sublayers", ds_comparison_columns, DS_COMPARISON_COLUMNS));
    ds_table_describe(*table, "compare-sublayers", NULL);
    json_array_foreach(checkpoints_of(results), i, checkpoint) {
        for (size_t s = 0; s < sublayers_of(checkpoint); s++) add_sublayer(*table, checkpoint, s);
    }
done:
    return status;
}

/* ---- a row for every sublayer, a column for every checkpoint ----------------------------------------------------- */

typedef double (*sublayer_value)(const json_t *checkpoint, size_t sublayer);

static double mean_gate(const json_t *checkpoint, size_t sublayer) {
    return ds_json_real_at(gates_at(checkpoint, sublayer), "beta/mean");
}

static double cost_of(const json_t *checkpoint, size_t sublayer) {
    return ds_json_real_at(case_at(checkpoint, sublayer), "delta_loss");
}

/* A mark of the curve: the mean of the checkpoints from..to-1 that have a value. */
static double mark_of(const json_t *checkpoints, sublayer_value value, size_t sublayer, size_t from, size_t to) {
    double sum = 0;
    size_t count = 0;
    for (size_t i = from; i < to; i++) {
        const double v = value(json_array_get(checkpoints, i), sublayer);
        if (isnan(v)) continue;
        sum += v;
        count++;
    }
    return count == 0 ? NAN : sum / (double)count;
}

/* A curve over the checkpoints, between the row's smallest and largest mark; of more checkpoints than a column of texts is
 * sure to show, a mark stands for neighbours. */
static ds_status append_curve(ds_text *curve, const json_t *checkpoints, sublayer_value value, size_t sublayer) {
    enum { MARKS = 12 };
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    ds_status status = DS_OK;
    const size_t count = json_array_size(checkpoints), marks = ds_min_size(count, MARKS);
    double drawn[MARKS], low = INFINITY, high = -INFINITY;
    for (size_t m = 0; m < marks; m++) {
        drawn[m] = mark_of(checkpoints, value, sublayer, m * count / marks, (m + 1) * count / marks);
        low = fmin(low, drawn[m]);
        high = fmax(high, drawn[m]);
    }
    DS_TRY(ds_text_append(curve, "", 0));
    for (size_t m = 0; m < marks; m++) {
        const size_t level = high > low && !isnan(drawn[m]) ? (size_t)lround(7 * (drawn[m] - low) / (high - low)) : 0;
        DS_TRY(ds_text_printf(curve, "%s", isnan(drawn[m]) ? " " : blocks[level]));
    }
done:
    return status;
}

/* What one of these tables shows. */
typedef struct side_by_side {
    const char *title, *unit;
    int digits;
    sublayer_value value;
    bool differences, curves; /* columns for the second checkpoint's difference from the first, and for a curve */
} side_by_side;

enum { EXTRA_COLUMNS = 6 }; /* sublayer, curve, and four of the difference */

/* columns (checkpoints + EXTRA_COLUMNS); the count is returned. */
static size_t name_columns(ds_column *columns, const side_by_side *what, const json_t *checkpoints) {
    size_t count = 0;
    columns[count++] = (ds_column){"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0};
    if (what->curves) columns[count++] = (ds_column){"curve", NULL, NULL, DS_COLUMN_TEXT, 0};
    for (size_t i = 0; i < json_array_size(checkpoints); i++) {
        const char *label = json_string_value(json_object_get(json_array_get(checkpoints, i), "label"));
        columns[count++] = (ds_column){label, NULL, what->unit, DS_COLUMN_FIXED, what->digits};
    }
    if (what->differences) {
        columns[count++] = (ds_column){"difference", NULL, what->unit, DS_COLUMN_FIXED, what->digits};
        columns[count++] = (ds_column){"low", "95% low", NULL, DS_COLUMN_FIXED, what->digits};
        columns[count++] = (ds_column){"high", "95% high", NULL, DS_COLUMN_FIXED, what->digits};
        columns[count++] = (ds_column){"p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2};
    }
    return count;
}

static ds_status add_row(ds_table *table, const side_by_side *what, const json_t *checkpoints, size_t sublayer) {
    ds_status status = DS_OK;
    ds_text curve = {0};
    char name[32];
    ds_table_text(table, ds_sublayer_name(name, sublayer));
    if (what->curves) {
        DS_TRY(append_curve(&curve, checkpoints, what->value, sublayer));
        ds_table_text(table, curve.bytes);
    }
    for (size_t i = 0; i < json_array_size(checkpoints); i++)
        ds_table_real(table, what->value(json_array_get(checkpoints, i), sublayer));
    if (what->differences)
        add_cells(table, case_at(json_array_get(checkpoints, 1), sublayer), difference_paths, LENGTH_OF(difference_paths));
done:
    ds_text_release(&curve);
    return status;
}

static ds_status make_table(ds_table **table, const side_by_side *what, const json_t *checkpoints) {
    ds_status status = DS_OK;
    ds_column *columns = NULL;
    size_t rows = 0;
    DS_NEW(columns, json_array_size(checkpoints) + EXTRA_COLUMNS);
    DS_TRY(ds_table_new(table, what->title, columns, name_columns(columns, what, checkpoints)));
    for (size_t i = 0; i < json_array_size(checkpoints); i++)
        rows = ds_max_size(rows, sublayers_of(json_array_get(checkpoints, i)));
    for (size_t s = 0; s < rows; s++) DS_TRY(add_row(*table, what, checkpoints, s));
done:
    free(columns);
    return status;
}

ds_status ds_comparison_mean_gates(ds_table **table, const json_t *results, bool curves) {
    const side_by_side what = {"Mean gate β", NULL, 3, mean_gate, false, curves};
    return make_table(table, &what, checkpoints_of(results));
}

ds_status ds_comparison_costs(ds_table **table, const json_t *results, bool curves) {
    const json_t *all = checkpoints_of(results);
    bool pairs = json_array_size(all) == 2 && sublayers_of(json_array_get(all, 0)) == sublayers_of(json_array_get(all, 1));
    const side_by_side what = {"Rise of the loss when a gate is shut", "nats", 4, cost_of, pairs, curves};
    return make_table(table, &what, all);
}
