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
    if (mixing->mixing != NULL) ds_json_put_text(b, "last_row", "sum of the streams before the final norm");
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

/* ---- attention over depth --------------------------------------------------------------------------------------------- */

static void put_entries(ds_json_builder *b, const char *key, const ds_token_moments *entries, size_t count,
                        double (*of)(const ds_token_moments *m)) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) ds_json_put_real(b, NULL, of(&entries[i]));
    ds_json_end(b);
}

static void put_families(ds_json_builder *b, const ds_read_routing *read) {
    static const char *const keys[DS_SOURCE_FAMILIES] = {[DS_SOURCE_EMBEDDING] = "embedding",
                                                         [DS_SOURCE_CURRENT] = "current",
                                                         [DS_SOURCE_HISTORY] = "history",
                                                         [DS_SOURCE_NULL] = "null"};
    double mass[DS_SOURCE_FAMILIES] = {0};
    for (size_t j = 0; j < read->count; j++) mass[read->sources[j].family] += ds_token_moments_mean(&read->weights[j]);
    ds_json_begin_object(b, "families");
    for (size_t i = 0; i < DS_SOURCE_FAMILIES; i++) ds_json_put_real(b, keys[i], mass[i]);
    ds_json_end(b);
}

/* The mean; null where no token has the number. */
static void put_mean(ds_json_builder *b, const char *key, const ds_token_moments *m) {
    ds_json_put_real(b, key, ds_token_moments_mean(m));
}

static void put_choice(ds_json_builder *b, const ds_read_routing *read, double read_norm) {
    size_t n = read->count;
    put_entries(b, "weights", read->weights, n, ds_token_moments_mean);
    put_entries(b, "weights_token_std", read->weights, n, ds_token_moments_std);
    put_moments(b, "entropy", &read->entropy);
    ds_json_put_real(b, "normalized_entropy", n > 1 ? ds_token_moments_mean(&read->entropy) / log((double)n) : (double)NAN);
    put_moments(b, "effective_sources", &read->effective_sources);
    put_moments(b, "max_weight", &read->max_weight);
    ds_json_begin_array(b, "argmax_fraction");
    for (size_t j = 0; j < n; j++) ds_json_put_real(b, NULL, (double)read->largest[j] / (double)read->entropy.count);
    ds_json_end(b);
    put_families(b, read);
    ds_json_put_real(b, "query_norm", read->query_norm);
    put_entries(b, "source_norms", read->norms, n, ds_token_moments_mean);
    put_mean(b, "source_cosine", &read->source_cosine);
    ds_json_put_real(b, "read_norm", read_norm);
    put_mean(b, "gate", &read->gate);
}

/* Reads by which something is chosen, and those that could be: a readout that takes the sum alone is not among them. */
static void put_routing(ds_json_builder *b, const ds_depth_mixing *mixing) {
    ds_json_begin_array(b, "routing");
    for (size_t s = 0; s < mixing->reads; s++) {
        const ds_read_routing *read = &mixing->routing[s];
        char name[32];
        bool readout = s + 1 == mixing->reads;
        if (readout && read->count == 0) continue;
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "read", readout ? "final" : ds_sublayer_name(name, s));
        ds_json_begin_array(b, "sources");
        for (size_t j = 0; j < read->count; j++) ds_json_put_text(b, NULL, read->sources[j].name);
        ds_json_end(b);
        if (read->count > 0) put_choice(b, read, mixing->read_norm[s]);
        ds_json_end(b);
    }
    ds_json_end(b);
}

/* ---- parallel streams ------------------------------------------------------------------------------------------------- */

static void put_matrix_numbers(ds_json_builder *b, const ds_token_moments numbers[DS_MATRIX_NUMBERS]) {
    static const char *const keys[DS_MATRIX_NUMBERS] = {[DS_MATRIX_FORWARD_GAIN] = "forward_gain",
                                                        [DS_MATRIX_BACKWARD_GAIN] = "backward_gain",
                                                        [DS_MATRIX_INF_NORM] = "inf_norm",
                                                        [DS_MATRIX_ONE_NORM] = "one_norm",
                                                        [DS_MATRIX_SPECTRAL_NORM] = "spectral_norm",
                                                        [DS_MATRIX_IDENTITY_DISTANCE] = "identity_distance",
                                                        [DS_MATRIX_SPECTRAL_RADIUS] = "spectral_radius",
                                                        [DS_MATRIX_SMALLEST_SINGULAR] = "smallest_singular",
                                                        [DS_MATRIX_SECOND_SINGULAR] = "second_singular",
                                                        [DS_MATRIX_SECOND_EIGENVALUE] = "second_eigenvalue",
                                                        [DS_MATRIX_COLUMN_DEVIATION] = "column_deviation",
                                                        [DS_MATRIX_ROW_DEVIATION] = "row_deviation"};
    for (size_t i = 0; i < DS_MATRIX_NUMBERS; i++) put_moments(b, keys[i], &numbers[i]);
}

/* pre, post and R. */
static void put_mixing(ds_json_builder *b, const char *const keys[3], const ds_token_moments *entries, size_t n,
                       double (*of)(const ds_token_moments *m)) {
    put_entries(b, keys[0], entries, n, of);
    put_entries(b, keys[1], entries + n, n, of);
    ds_json_begin_array(b, keys[2]);
    for (size_t t = 0; t < n; t++) put_entries(b, NULL, entries + (2 + t) * n, n, of);
    ds_json_end(b);
}

static void put_logit_range(ds_json_builder *b, const ds_stream_sublayer *sublayer) {
    const ds_token_moments *range = &sublayer->logit_range;
    ds_json_begin_object(b, "logit_range");
    ds_json_put_real(b, "mean", ds_token_moments_mean(range));
    ds_json_put_real(b, "std", ds_token_moments_std(range));
    ds_json_put_real(b, "min", range->min);
    ds_json_put_real(b, "max", range->max);
    ds_json_put_real(b, "fraction_over_30", sublayer->over_30);
    ds_json_end(b);
}

static void put_sublayers(ds_json_builder *b, const ds_depth_mixing *mixing) {
    static const char *const means[3] = {"pre", "post", "res"}, *const deviations[3] = {"pre_token_std", "post_token_std",
                                                                                        "res_token_std"};
    ds_json_begin_array(b, "mixing");
    for (size_t s = 0; s + 1 < mixing->reads; s++) {
        const ds_stream_sublayer *sublayer = &mixing->mixing[s];
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "sublayer", ds_sublayer_name(name, s));
        put_mixing(b, means, sublayer->entries, mixing->streams, ds_token_moments_mean);
        put_mixing(b, deviations, sublayer->entries, mixing->streams, ds_token_moments_std);
        put_matrix_numbers(b, sublayer->own);
        ds_json_put_real(b, "min_entry", sublayer->min_entry);
        put_moments(b, "off_diagonal", &sublayer->off_diagonal);
        put_moments(b, "pre_post", &sublayer->pre_post);
        ds_json_put_real(b, "stream_cosine", ds_token_moments_mean(&sublayer->stream_cosine));
        if (sublayer->min_entry >= 0) put_moments(b, "row_entropy", &sublayer->row_entropy);
        if (sublayer->logit_range.count > 0) put_logit_range(b, sublayer);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_composites(ds_json_builder *b, const ds_depth_mixing *mixing) {
    ds_json_begin_object(b, "composite");
    for (size_t which = 0; which < 2; which++) {
        ds_json_begin_array(b, which == 0 ? "prefix" : "suffix");
        for (size_t s = 0; s + 1 < mixing->reads; s++) {
            ds_json_begin_object(b, NULL);
            put_matrix_numbers(b, which == 0 ? mixing->mixing[s].prefix : mixing->mixing[s].suffix);
            ds_json_end(b);
        }
        ds_json_end(b);
    }
    ds_json_end(b);
}

/* ---- the whole -------------------------------------------------------------------------------------------------------- */

ds_status ds_depth_mixing_json(json_t **results, const ds_depth_mixing *mixing) {
    ds_json_builder b = {0};
    char name[48];
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "rule", ds_spec_rule_name(name, mixing->spec));
    ds_json_put_text(&b, "kind", ds_rule_kind_name(mixing->spec->rule));
    if (mixing->mixing != NULL) ds_json_put_count(&b, "streams", mixing->streams);
    ds_json_put_real(&b, "loss", mixing->loss);
    ds_json_put_reals(&b, "sequence_loss", mixing->sequence_loss, mixing->sequences);
    if (mixing->mean != NULL) put_depth_matrix(&b, mixing);
    put_rows(&b, mixing);
    ds_json_put_reals(&b, "source_norms", mixing->source_norm, mixing->reads);
    ds_json_put_reals(&b, "state_norms", mixing->state_norm, mixing->reads);
    ds_json_put_reals(&b, "read_norms", mixing->read_norm, mixing->reads);
    if (mixing->routing != NULL) put_routing(&b, mixing);
    if (mixing->mixing != NULL) {
        put_sublayers(&b, mixing);
        put_composites(&b, mixing);
    }
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
