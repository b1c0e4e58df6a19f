#include "deltascope/measure/precision_limits.h"

#include <math.h>
#include <stdlib.h>

/* 1 - |k|^2 = eps^2 / (|h|^2 + eps^2): above 1/1000 where |h| is below 32 ddl_k_eps. */
static const double noticeable_defect = 1e-3;

static const char *const limit_names[DS_LIMITS] = {
    [DS_LIMIT_SHORT_DIRECTION] = "short_direction",
    [DS_LIMIT_GATE_CLOSED] = "gate_closed",
    [DS_LIMIT_GATE_REFLECTING] = "gate_reflecting",
    [DS_LIMIT_SOFTMAX] = "softmax_underflow",
};

ds_status ds_limits_init(ds_limits *limits, const ds_spec *spec) {
    ds_status status = DS_OK;
    *limits = (ds_limits){.sublayers = ds_spec_sublayers(spec)};
    DS_NEW(limits->affected, limits->sublayers);
    DS_NEW(limits->smallest_k_norm2, limits->sublayers);
    DS_NEW(limits->zero_weights, limits->sublayers);
    for (size_t s = 0; s < limits->sublayers; s++) limits->smallest_k_norm2[s] = 1;
done:
    if (status != DS_OK) ds_limits_release(limits);
    return status;
}

void ds_limits_release(ds_limits *limits) {
    free(limits->affected);
    free(limits->smallest_k_norm2);
    free(limits->zero_weights);
    *limits = (ds_limits){0};
}

void ds_limits_add(ds_limits *limits, const ds_observation *seen) {
    size_t tokens = seen->sequences * seen->length, s = seen->sublayer;
    uint64_t *affected = limits->affected[s];
    for (size_t t = 0; t < tokens && seen->delta != NULL; t++) {
        affected[DS_LIMIT_SHORT_DIRECTION] +=
            seen->delta->k_norm2[t] < 1 - noticeable_defect; /* never NaN: states are checked */
        affected[DS_LIMIT_GATE_CLOSED] += seen->delta->beta[t] == 0;
        affected[DS_LIMIT_GATE_REFLECTING] += seen->delta->beta[t] == 2;
        limits->smallest_k_norm2[s] = fmin(limits->smallest_k_norm2[s], seen->delta->k_norm2[t]);
    }
    for (size_t t = 0; t < tokens && seen->zero_weights != NULL; t++) {
        affected[DS_LIMIT_SOFTMAX] += seen->zero_weights[t] > 0;
        limits->zero_weights[s] += seen->zero_weights[t];
    }
    if (s == 0) limits->tokens += tokens;
}

/* The number that belongs to the note; NaN when there is none. */
static double detail(const ds_limits *limits, size_t s, ds_limit limit) {
    return limit == DS_LIMIT_SHORT_DIRECTION ? limits->smallest_k_norm2[s]
           : limit == DS_LIMIT_SOFTMAX       ? limits->zero_weights[s]
                                             : NAN;
}

void ds_limits_put(ds_json_builder *b, const ds_limits *limits) {
    char name[32];
    ds_json_begin_array(b, "limits");
    for (size_t s = 0; s < limits->sublayers; s++) {
        for (ds_limit l = 0; l < DS_LIMITS; l++) {
            if (limits->affected[s][l] == 0) continue;
            ds_json_begin_object(b, NULL);
            ds_json_put_count(b, "index", s);
            ds_json_put_text(b, "name", ds_sublayer_name(name, s));
            ds_json_put_text(b, "limit", limit_names[l]);
            ds_json_put_count(b, "tokens", limits->affected[s][l]);
            ds_json_put_real(b, "share", (double)limits->affected[s][l] / (double)limits->tokens);
            if (l == DS_LIMIT_SHORT_DIRECTION) ds_json_put_real(b, "smallest_k_norm2", detail(limits, s, l));
            if (l == DS_LIMIT_SOFTMAX) ds_json_put_real(b, "zero_weights", detail(limits, s, l));
            ds_json_end(b);
        }
    }
    ds_json_end(b);
}
