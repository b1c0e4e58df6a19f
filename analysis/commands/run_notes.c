#include "run_notes.h"

#include <math.h>
#include <string.h>

#include "cli/text_wrapping.h"
#include "deltascope/report.h"

void ds_print_windows(const ds_run *run) {
    (void)printf("%zu window%s of %zu token%s", run->sequences, ds_plural(run->sequences), run->length, ds_plural(run->length));
}

ds_status ds_print_inference(const ds_run *run, const json_t *results) {
    ds_status status = DS_OK;
    ds_inference inference;
    ds_text note = {0};
    DS_TRY(ds_run_inference(&inference, run, results));
    DS_TRY(ds_inference_note(&note, &inference));
    if (note.length > 0) ds_print_wrapped(note.bytes, 0, 0);
    ds_text_release(&note);
    DS_TRY(ds_windows_note(&note, results, run->sequences));
    if (note.length > 0) ds_print_wrapped(note.bytes, 0, 0);
done:
    ds_text_release(&note);
    return status;
}

static double real_at(const json_t *value, const char *path) { return json_number_value(ds_json_at(value, path)); }

void ds_print_limits(const json_t *results, uint64_t tokens) {
    static const struct {
        const char *limit, *note, *detail;
    } words[] = {
        {"short_direction", "|h| is near ddl_k_eps, |k|^2 falls to", "smallest_k_norm2"},
        {"gate_closed", "the gate rounds to 0", NULL},
        {"gate_reflecting", "the gate rounds to 2", NULL},
        {"softmax_underflow", "attention weights underflow to 0; of them there are", "zero_weights"},
    };
    const json_t *limits = json_object_get(results, "limits");
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *met = json_array_get(limits, i);
        size_t w = 0, last = sizeof words / sizeof words[0] - 1;
        while (w < last && strcmp(words[w].limit, json_string_value(json_object_get(met, "limit"))) != 0) w++;
        (void)printf("note: %s, %llu of %llu tokens: %s", json_string_value(json_object_get(met, "name")),
                     (unsigned long long)json_integer_value(json_object_get(met, "tokens")), (unsigned long long)tokens,
                     words[w].note);
        if (words[w].detail != NULL) (void)printf(" %.4g", real_at(met, words[w].detail));
        (void)printf("\n");
    }
}

/* The largest of a key over the rows of an array. A NaN, null in results, wins and stays. */
static double largest(const json_t *rows, const char *key) {
    double most = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *value = json_object_get(json_array_get(rows, i), key);
        most = ds_max_real(most, json_is_number(value) ? json_number_value(value) : NAN);
    }
    return most;
}

void ds_print_shadow(const json_t *results) {
    const json_t *shadow = json_object_get(results, "shadow"), *sublayers = json_object_get(shadow, "sublayers");
    size_t windows = json_array_size(json_object_get(shadow, "windows"));
    if (windows == 0) return;
    (void)printf("float against double on %zu window%s: a window's loss within %.2g", windows, ds_plural(windows),
                 real_at(shadow, "largest_window_loss_error"));
    if (sublayers != NULL)
        (void)printf(",\ngates %.2g, eigenvalues %.2g, log|det| %.2g", largest(sublayers, "beta_error"),
                     largest(sublayers, "eigenvalue_error"), real_at(shadow, "log_abs_det_error"));
    if (json_object_get(shadow, "cases") != NULL) (void)printf(", loss changes %.2g", real_at(shadow, "delta_loss_error"));
    (void)printf("\n");
    ds_print_limits(shadow, (uint64_t)json_integer_value(json_object_get(shadow, "tokens")));
}
