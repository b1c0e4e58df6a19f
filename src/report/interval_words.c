/* What is said where windows are too few for intervals, or for p-values that decide. */
#include <math.h>

#include "deltascope/report.h"
#include "deltascope/stats.h"
#include "figure.h"

const char *ds_interval_words(const json_t *rows, const char *path) {
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (json_is_array(ds_json_at(json_array_get(rows, i), path)))
            return "Bars: 95% intervals of the mean paired difference over windows.";
    }
    return "There are no intervals: windows are too few.";
}

/* A family of hypotheses that are judged together, as results say it. */
typedef struct family {
    size_t hypotheses, needed;
    double smallest;
} family;

static size_t count_at(const json_t *value, const char *path) {
    json_int_t count = json_integer_value(ds_json_at(value, path));
    return count > 0 ? (size_t)count : 0;
}

/* The family that cannot be decided; false: there is none. */
static bool find_undecided(family *out, const json_t *results, size_t windows) {
    static const char *const keys[] = {"intervals", "cost_intervals"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const json_t *told = json_object_get(results, keys[k]);
        *out =
            (family){count_at(told, "hypotheses"), count_at(told, "windows_needed"), ds_json_real_at(told, "smallest_p_holm")};
        if (out->hypotheses > 0 && windows < out->needed) return true;
    }
    return false;
}

size_t ds_windows_needed(const json_t *results, size_t windows) {
    family undecided;
    return find_undecided(&undecided, results, windows) ? undecided.needed : 0;
}

ds_status ds_windows_note(ds_text *text, const json_t *results, size_t windows) {
    family f;
    if (!find_undecided(&f, results, windows)) return DS_OK;
    if (isnan(f.smallest) && f.needed == DS_PAIRED_LEAST)
        return ds_text_printf(text, "%zu window%s cannot tell a difference from chance: it takes at least %d.", windows,
                              ds_plural(windows), DS_PAIRED_LEAST);
    if (isnan(f.smallest))
        return ds_text_printf(
            text,
            "%zu window%s cannot tell a difference from chance: an interval takes at least %d, a decision about "
            "%zu difference%s at least %zu.",
            windows, ds_plural(windows), DS_PAIRED_LEAST, f.hypotheses, ds_plural(f.hypotheses), f.needed);
    return ds_text_printf(
        text,
        "%zu windows cannot decide about %zu differences, however large: the smallest p-value they can give is "
        "%.2g after Holm. It takes at least %zu.",
        windows, f.hypotheses, f.smallest, f.needed);
}
