#include "observed_windows.h"

#include <stdlib.h>
#include <string.h>

/* Of one sublayer: columns of a number for each token, then of one for each token and channel. A rule without gates leaves
 * zeros in those that are the gates'. */
enum { STATE_NORM, EDIT_NORM, ZERO_WEIGHTS, BETA, K_NORM2, COLUMNS };
enum { READOUT, READOUT_AFTER, TARGET, WIDE_COLUMNS };

static size_t sublayer_length(const ds_observed *observed) {
    return observed->tokens * (COLUMNS + WIDE_COLUMNS * observed->channels);
}

ds_status ds_observed_init(ds_observed *observed, const ds_run *run, size_t sequences) {
    ds_status status = DS_OK;
    bool gates = ds_rule_has_gates(run->spec.rule);
    *observed = (ds_observed){.sublayers = ds_spec_sublayers(&run->spec),
                              .tokens = run->length,
                              .channels = gates ? run->spec.value_channels : 0,
                              .sequences = sequences};
    observed->length = observed->sublayers * sublayer_length(observed);
    DS_NEW_ARRAY(observed->windows, sequences * observed->length);
done:
    return status;
}

void ds_observed_release(ds_observed *observed) {
    free(observed->windows);
    *observed = (ds_observed){0};
}

/* An MLP has no attention weights, so none that are 0. */
static void copy(double *to, const double *from, size_t count) {
    if (from != NULL)
        memcpy(to, from, count * sizeof *to);
    else
        memset(to, 0, count * sizeof *to);
}

ds_status ds_observed_take(void *context, const ds_observation *seen) {
    const ds_observed *observed = context;
    const ds_delta_observation *own = seen->delta;
    size_t tokens = observed->tokens, channels = observed->channels;
    for (size_t b = 0; b < seen->sequences; b++) {
        double *at = observed->windows + b * observed->length + seen->sublayer * sublayer_length(observed);
        const double *columns[COLUMNS] = {seen->state_norm, seen->edit_norm, seen->zero_weights, own != NULL ? own->beta : NULL,
                                          own != NULL ? own->k_norm2 : NULL};
        for (size_t c = 0; c < COLUMNS; c++, at += tokens)
            copy(at, columns[c] == NULL ? NULL : columns[c] + b * tokens, tokens);
        if (own == NULL) continue;
        const double *wide[WIDE_COLUMNS] = {own->readout, own->readout_after, own->target};
        for (size_t c = 0; c < WIDE_COLUMNS; c++, at += tokens * channels)
            copy(at, wide[c] + b * tokens * channels, tokens * channels);
    }
    return DS_OK;
}

ds_status ds_observed_show(const ds_observed *observed, const double *window, const ds_observer *observer) {
    ds_status status = DS_OK;
    size_t tokens = observed->tokens, channels = observed->channels;
    for (size_t s = 0; s < observed->sublayers; s++) {
        const double *at = window + s * sublayer_length(observed), *wide = at + COLUMNS * tokens;
        const ds_delta_observation own = {.value_channels = channels,
                                          .beta = at + BETA * tokens,
                                          .k_norm2 = at + K_NORM2 * tokens,
                                          .readout = wide + READOUT * tokens * channels,
                                          .readout_after = wide + READOUT_AFTER * tokens * channels,
                                          .target = wide + TARGET * tokens * channels};
        const ds_observation seen = {.sublayer = s,
                                     .sequences = 1,
                                     .length = tokens,
                                     .state_norm = at + STATE_NORM * tokens,
                                     .edit_norm = at + EDIT_NORM * tokens,
                                     .zero_weights = at + ZERO_WEIGHTS * tokens,
                                     .delta = channels == 0 ? NULL : &own};
        DS_TRY(observer->sublayer(observer->context, &seen));
    }
done:
    return status;
}
