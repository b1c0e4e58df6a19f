/* The JSON of `depth`. */
#include "deltascope/measure/depth_mixing.h"

#include <math.h>

static void put_moments(ds_json_builder *b, const char *key, const ds_token_moments *m) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "mean", ds_token_moments_mean(m));
    ds_json_put_real(b, "std", ds_token_moments_std(m));
    ds_json_put_real(b, "min", m->min);
    ds_json_put_real(b, "max", m->max);
    ds_json_end(b);
}

static void put_matrix(ds_json_builder *b, const char *key, const double *matrix, size_t reads) {
    ds_json_begin_array(b, key);
    for (size_t s = 0; s < reads; s++) ds_json_put_reals(b, NULL, matrix + s * reads, reads);
    ds_json_end(b);
}

static void put_depth_matrix(ds_json_builder *b, const ds_depth_mixing *mixing) {
    ds_json_begin_object(b, "depth_matrix");
    put_matrix(b, "mean", mixing->mean, mixing->reads);
    put_matrix(b, "token_std", mixing->token_std, mixing->reads);
    ds_json_put_reals(b, "singular_values_of_mean", mixing->singular_values, mixing->reads);
    put_moments(b, "forward_gain", &mixing->forward_gain);
    put_moments(b, "backward_gain", &mixing->backward_gain);
    put_moments(b, "inf_norm", &mixing->inf_norm);
    put_moments(b, "one_norm", &mixing->one_norm);
    ds_json_end(b);
}

static void put_rows(ds_json_builder *b, const ds_depth_mixing *mixing) {
    size_t reads = mixing->reads;
    ds_json_begin_array(b, "depth_rows");
    for (size_t s = 0; s < reads; s++) {
        const ds_mixing_row *row = &mixing->rows[s];
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "read", s + 1 < reads ? ds_sublayer_name(name, s) : "final");
        if (mixing->mean != NULL) {
            put_moments(b, "row_sum", &row->row_sum);
            ds_json_put_reals(b, "share", mixing->share + s * reads, s + 1);
            put_moments(b, "entropy", &row->entropy);
            put_moments(b, "effective_sources", &row->effective_sources);
            put_moments(b, "max_share", &row->max_share);
            put_moments(b, "mean_source_age", &row->mean_source_age);
        }
        ds_json_put_reals(b, "contribution", mixing->contribution + s * reads, s + 1);
        put_moments(b, "contribution_entropy", &row->contribution_entropy);
        put_moments(b, "contribution_sources", &row->contribution_sources);
        put_moments(b, "contribution_max", &row->contribution_max);
        ds_json_end(b);
    }
    ds_json_end(b);
}

ds_status ds_depth_mixing_json(json_t **results, const ds_depth_mixing *mixing) {
    ds_json_builder b = {0};
    char name[48];
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "rule", ds_spec_rule_name(name, mixing->spec));
    ds_json_put_text(&b, "kind", ds_rule_kind_name(mixing->spec->rule));
    ds_json_put_real(&b, "loss", mixing->loss);
    ds_json_put_reals(&b, "sequence_loss", mixing->sequence_loss, mixing->sequences);
    if (mixing->mean != NULL) put_depth_matrix(&b, mixing);
    put_rows(&b, mixing);
    ds_json_put_reals(&b, "source_norms", mixing->source_norm, mixing->reads);
    ds_json_put_reals(&b, "state_norms", mixing->state_norm, mixing->reads);
    ds_json_put_reals(&b, "read_norms", mixing->read_norm, mixing->reads);
    if (mixing->gain != NULL) {
        put_matrix(&b, "gain", mixing->gain, mixing->reads);
        put_matrix(&b, "contribution", mixing->contribution, mixing->reads);
        ds_json_put_real(&b, "sum_error", mixing->sum_error);
    }
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

static ds_status tell_options(json_t **out) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

ds_status ds_depth_mixing_results(json_t **options_json, json_t **results, ds_run *run) {
    ds_status status = DS_OK;
    ds_depth_mixing mixing = {.reads = 0};
    *options_json = *results = NULL;
    DS_TRY(tell_options(options_json));
    DS_TRY(ds_depth_mixing_measure(&mixing, run));
    DS_TRY(ds_depth_mixing_json(results, &mixing));
done:
    ds_depth_mixing_release(&mixing);
    return status;
}
