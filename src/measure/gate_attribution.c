#include "deltascope/measure/gate_attribution.h"

#include <stdlib.h>

#include "deltascope/measure/ablation.h"
#include "result_json.h"

/* Closing one gate at a time, while the windows pass. */
typedef struct closing {
    ds_ablation *ablation;
    size_t cases, sequences;      /* windows of the run */
    double *baseline, *loss, *kl; /* (B), (cases, B), (cases, B): of the batch in hand */
    double *measured;             /* (cases) */
} closing;

static ds_status close_batch(void *context, const ds_window_batch *now) {
    const closing *all = context;
    return ds_ablation_run(all->ablation, now->run->workspace, &now->batch, all->baseline, all->loss, all->kl, NULL, NULL);
}

/* What closing each gate adds to the loss of the window. */
static void fill_record(void *context, double *record, size_t row, size_t rows) {
    const closing *all = context;
    for (size_t c = 0; c < all->cases; c++) record[c] = all->loss[c * rows + row] - all->baseline[row];
}

static ds_status take_record(void *context, size_t window, const double *record) {
    const closing *all = context;
    (void)window;
    for (size_t c = 0; c < all->cases; c++) all->measured[c] += record[c] / (double)all->sequences;
    return DS_OK;
}

/* measured (S), zero at first. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the pass adds to it */
static ds_status measure_closing(double *measured, ds_run *run) {
    ds_status status = DS_OK;
    ds_case_list list = {0};
    closing all = {.measured = measured, .sequences = run->sequences};
    DS_TRY(ds_case_list_parse(&list, &run->spec, "closed", "each"));
    size_t most = ds_min_size(run->batch, ds_ablation_sequences(run->model, &list, run->length));
    const ds_window_pass pass = {.label = "closing gates",
                                 .most = most,
                                 .batch = close_batch,
                                 .record_length = list.count,
                                 .fill = fill_record,
                                 .take = take_record,
                                 .context = &all};
    all.cases = list.count;
    DS_NEW(all.baseline, most);
    DS_NEW(all.loss, list.count * most);
    DS_NEW(all.kl, list.count * most);
    DS_TRY(ds_ablation_new(&all.ablation, run->model, &list, most, run->length));
    DS_TRY(ds_run_windows(run, &pass));
done:
    ds_ablation_free(&all.ablation);
    ds_case_list_release(&list);
    free(all.baseline);
    free(all.loss);
    free(all.kl);
    return status;
}

ds_status ds_gate_attribution_measure(ds_gate_attribution *out, ds_run *run, const double *gate_slope, bool measure) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(&run->spec);
    *out = (ds_gate_attribution){.sublayers = sublayers};
    DS_NEW(out->estimated, sublayers);
    for (size_t s = 0; s < sublayers; s++) out->estimated[s] = -gate_slope[s];
    if (!measure) goto done;
    DS_NEW(out->measured, sublayers);
    DS_TRY(measure_closing(out->measured, run));
    DS_TRY(ds_pearson(&out->pearson, out->estimated, out->measured, sublayers));
    DS_TRY(ds_spearman(&out->spearman, out->estimated, out->measured, sublayers));
done:
    if (status != DS_OK) ds_gate_attribution_release(out);
    return status;
}

void ds_gate_attribution_release(ds_gate_attribution *attribution) {
    free(attribution->estimated);
    free(attribution->measured);
    *attribution = (ds_gate_attribution){0};
}

static void put_correlation(ds_json_builder *b, const char *key, const ds_correlation *correlation) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "coefficient", correlation->coefficient);
    ds_json_put_interval(b, "ci95", correlation->low, correlation->high);
    ds_json_end(b);
}

void ds_gate_attribution_put(ds_json_builder *b, const ds_gate_attribution *attribution) {
    ds_json_begin_object(b, "attribution");
    ds_json_begin_array(b, "sublayers");
    for (size_t s = 0; s < attribution->sublayers; s++) {
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", ds_sublayer_name(name, s));
        ds_json_put_real(b, "estimated_delta_loss", attribution->estimated[s]);
        if (attribution->measured != NULL) ds_json_put_real(b, "measured_delta_loss", attribution->measured[s]);
        ds_json_end(b);
    }
    ds_json_end(b);
    if (attribution->measured != NULL) {
        ds_json_put_text(b, "interval_method", ds_correlation_method);
        put_correlation(b, "pearson", &attribution->pearson);
        put_correlation(b, "spearman", &attribution->spearman);
    }
    ds_json_end(b);
}
