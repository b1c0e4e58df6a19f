/* The use of gates, summed while the windows pass. */
#include "deltascope/measure/gates.h"

#include "result_json.h"
#include <math.h>
#include <stdlib.h>

enum { HISTOGRAM_BINS = 40 };

ds_status ds_gate_census_init(ds_gate_census *census, const ds_spec *spec, double tolerance) {
    ds_status status = DS_OK;
    *census = (ds_gate_census){.sublayers = ds_rule_has_gates(spec->rule) ? ds_spec_sublayers(spec) : 0,
                               .channels = spec->value_channels,
                               .residual_mult = ds_spec_shortcut_mult(spec),
                               .tolerance = tolerance};
    DS_NEW(census->usage, census->sublayers);
    for (size_t s = 0; s < census->sublayers; s++) {
        ds_gate_usage *usage = &census->usage[s];
        DS_TRY(ds_summary_init(&usage->beta, 0));
        DS_TRY(ds_summary_init(&usage->k_norm2, 0));
        DS_TRY(ds_summary_init(&usage->eigenvalue, 0));
        DS_TRY(ds_histogram_init(&usage->histogram, 0, 2, HISTOGRAM_BINS));
    }
done:
    if (status != DS_OK) ds_gate_census_release(census);
    return status;
}

void ds_gate_census_release(ds_gate_census *census) {
    for (size_t s = 0; census->usage != NULL && s < census->sublayers; s++) {
        ds_summary_release(&census->usage[s].beta);
        ds_summary_release(&census->usage[s].k_norm2);
        ds_summary_release(&census->usage[s].eigenvalue);
        ds_histogram_release(&census->usage[s].histogram);
    }
    free(census->usage);
    *census = (ds_gate_census){0};
}

ds_status ds_gate_census_add(ds_gate_census *census, const ds_observation *seen) {
    ds_status status = DS_OK;
    ds_gate_usage *usage = &census->usage[seen->sublayer];
    const ds_delta_observation *own = seen->delta;
    size_t tokens = seen->sequences * seen->length, channels = own->value_channels;
    for (size_t t = 0; t < tokens; t++) {
        double b = census->residual_mult * own->beta[t] * own->k_norm2[t], eigenvalue = 1 - b;
        DS_TRY(ds_summary_add(&usage->eigenvalue, &eigenvalue, 1));
        usage->regimes[ds_regime_of(b, census->tolerance)]++;
        for (size_t j = t * channels; j < (t + 1) * channels; j++) {
            double before = own->readout[j] - own->target[j], after = own->readout_after[j] - own->target[j];
            ds_sum_add(&usage->pre2, before * before);
            ds_sum_add(&usage->post2, after * after);
            ds_sum_add(&usage->readout2, own->readout[j] * own->readout[j]);
            ds_sum_add(&usage->target2, own->target[j] * own->target[j]);
        }
        ds_sum_add(&usage->edit, seen->edit_norm[t]);
        ds_sum_add(&usage->relative_edit, seen->state_norm[t] > 0 ? seen->edit_norm[t] / seen->state_norm[t] : 0);
    }
    DS_TRY(ds_summary_add(&usage->beta, own->beta, tokens));
    DS_TRY(ds_summary_add(&usage->k_norm2, own->k_norm2, tokens));
    DS_TRY(ds_histogram_add(&usage->histogram, own->beta, tokens));
    usage->tokens += tokens;
done:
    return status;
}

double ds_gate_share(const ds_gate_usage *usage, size_t regime) {
    return (double)usage->regimes[regime] / (double)usage->tokens;
}

static double root_mean(const ds_sum *sum, double count) { return sqrt(ds_sum_value(sum) / count); }

double ds_gate_discrepancy(const ds_gate_census *census, size_t sublayer, bool after) {
    const ds_gate_usage *usage = &census->usage[sublayer];
    return root_mean(after ? &usage->post2 : &usage->pre2, (double)usage->tokens * (double)census->channels);
}

static void put_sublayer(ds_json_builder *b, const ds_gate_census *census, size_t sublayer) {
    ds_gate_usage *usage = &census->usage[sublayer];
    double tokens = (double)usage->tokens, values = tokens * (double)census->channels;
    char name[32];
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "index", sublayer);
    ds_json_put_text(b, "name", ds_sublayer_name(name, sublayer));
    ds_json_put_summary(b, "beta", &usage->beta);
    ds_json_put_summary(b, "k_norm2", &usage->k_norm2);
    ds_json_put_summary(b, "eigenvalue", &usage->eigenvalue);
    ds_json_begin_object(b, "regimes");
    for (size_t r = 0; r < DS_REGIME_COUNT; r++) ds_json_put_real(b, ds_regime_name((ds_regime)r), ds_gate_share(usage, r));
    ds_json_end(b);
    ds_json_begin_object(b, "discrepancy");
    ds_json_put_real(b, "pre_rms", ds_gate_discrepancy(census, sublayer, false));
    ds_json_put_real(b, "post_rms", ds_gate_discrepancy(census, sublayer, true));
    ds_json_end(b);
    ds_json_put_real(b, "readout_rms", root_mean(&usage->readout2, values));
    ds_json_put_real(b, "target_rms", root_mean(&usage->target2, values));
    ds_json_put_real(b, "edit_norm", ds_sum_value(&usage->edit) / tokens);
    ds_json_put_real(b, "relative_edit", ds_sum_value(&usage->relative_edit) / tokens);
    ds_json_put_histogram(b, "histogram", &usage->histogram);
    ds_json_end(b);
}

ds_status ds_gate_census_json(json_t **out, ds_gate_census *census) {
    ds_json_builder b = {0};
    ds_json_begin_array(&b, NULL);
    for (size_t s = 0; s < census->sublayers; s++) put_sublayer(&b, census, s);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}
