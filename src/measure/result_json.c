/* The statistics objects of results. */
#include "result_json.h"

#include <math.h>

void ds_json_put_stats(ds_json_builder *b, const char *key, const ds_statistics *s) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "mean", s->mean);
    ds_json_put_real(b, "std", s->std);
    ds_json_put_real(b, "min", s->min);
    ds_json_put_real(b, "max", s->max);
    ds_json_begin_object(b, "quantiles");
    for (size_t i = 0; i < DS_QUANTILES; i++) ds_json_put_real(b, ds_quantile_names[i], s->quantiles[i]);
    ds_json_end(b);
    ds_json_put_real(b, "quantile_rank_error", s->quantile_rank_error);
    ds_json_put_count(b, "count", s->count);
    ds_json_end(b);
}

void ds_json_put_summary(ds_json_builder *b, const char *key, ds_summary *summary) {
    ds_statistics statistics = ds_summary_statistics(summary);
    ds_json_put_stats(b, key, &statistics);
}

void ds_json_put_histogram(ds_json_builder *b, const char *key, const ds_histogram *h) {
    ds_json_begin_object(b, key);
    ds_json_put_reals(b, "edges", h->edges, h->bins + 1);
    ds_json_put_counts(b, "counts", h->counts, h->bins);
    ds_json_put_count(b, "below", h->below);
    ds_json_put_count(b, "above", h->above);
    ds_json_end(b);
}

void ds_json_put_interval(ds_json_builder *b, const char *key, double low, double high) {
    if (isnan(low) || isnan(high))
        ds_json_put(b, key, json_null());
    else
        ds_json_put_reals(b, key, (const double[]){low, high}, 2);
}

void ds_json_put_intervals(ds_json_builder *b, const char *key, size_t windows, size_t hypotheses) {
    size_t resamples = ds_paired_resamples(hypotheses);
    double smallest = hypotheses == 0 ? NAN : fmin(1, (double)hypotheses * ds_paired_smallest_p(windows, resamples));
    ds_json_begin_object(b, key);
    ds_json_put_text(b, "method", ds_paired_method);
    ds_json_put(b, "resamples", windows > DS_PAIRED_ENUMERATED ? json_integer((json_int_t)resamples) : json_null());
    ds_json_put_count(b, "hypotheses", hypotheses);
    ds_json_put_real(b, "smallest_p_holm", isnan(ds_paired_smallest_p(windows, resamples)) ? NAN : smallest);
    ds_json_put_count(b, "windows_needed", ds_paired_needed(hypotheses));
    ds_json_end(b);
}
