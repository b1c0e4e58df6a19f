/* What intervals over windows speak of: the file, or the stretch of it that consecutive windows cover. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/run.h"

/* Where the results of the commands keep the mean loss of each window of the intact model. */
static const json_t *losses_of(const json_t *results) {
    static const char *const places[] = {"sequence_loss",       "baseline/sequence_loss",        "checkpoints/0/sequence_loss",
                                         "gates/sequence_loss", "ablate/baseline/sequence_loss", "gradflow/sequence_loss"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const json_t *losses = ds_json_at(results, places[i]);
        if (json_is_array(losses)) return losses;
    }
    return NULL;
}

ds_status ds_run_inference(ds_inference *out, const ds_run *run, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *losses = losses_of(results);
    double *values = NULL;
    *out = (ds_inference){run->sequences, run->stretch, {NAN, NAN}};
    if (json_array_size(losses) != run->sequences) return DS_OK;
    DS_NEW(values, run->sequences);
    for (size_t i = 0; i < run->sequences; i++) {
        const json_t *loss = json_array_get(losses, i);
        values[i] = json_is_number(loss) ? json_number_value(loss) : NAN;
    }
    out->losses = ds_serial_correlation(values, run->sequences);
done:
    free(values);
    return status;
}

ds_inference ds_inference_of(const json_t *data) {
    const char *of = json_string_value(json_object_get(data, "inference"));
    json_int_t windows = json_integer_value(json_object_get(data, "sequences"));
    return (ds_inference){.windows = windows > 0 ? (size_t)windows : 0,
                          .stretch = of != NULL && strcmp(of, "stretch") == 0,
                          .losses = {ds_json_real_at(data, "lag1_correlation"), ds_json_real_at(data, "n_eff")}};
}

/* Beyond what chance gives independent windows once in twenty times, and by more than a tenth. */
static bool neighbours_correlate(const ds_inference *inference) {
    double n = (double)inference->windows;
    return inference->losses.lag1 > 1.645 / sqrt(n) && inference->losses.effective < 0.9 * n;
}

ds_status ds_inference_note(ds_text *text, const ds_inference *inference) {
    ds_status status = DS_OK;
    if (!inference->stretch || inference->windows < 2) return DS_OK;
    DS_TRY(ds_text_printf(text, "Intervals speak of this stretch of %zu consecutive windows, not of the whole file.",
                          inference->windows));
    if (!neighbours_correlate(inference)) return DS_OK;
    DS_TRY(ds_text_printf(text, " Losses of neighbouring windows correlate (%.2f): they are worth about %.0f independent ones.",
                          inference->losses.lag1, inference->losses.effective));
done:
    return status;
}
