/* Questions asked of a study when it is reported: whether a target is met, and how many seeds another effect would need. */
#include <math.h>
#include <stdlib.h>

#include "result.h"

/* finals (seeds) of a variant's finished runs, NaN where one diverged; returns how many. */
static size_t finals_of(double *finals, const ds_study_results *results, size_t variant) {
    size_t n = 0;
    for (size_t s = 0; s < results->plan->seed_count; s++) {
        const ds_cell_result *run = ds_study_result_of(results, variant, s);
        if (run->finished) finals[n++] = run->diverged ? NAN : run->final;
    }
    return n;
}

void ds_study_put_target_test(ds_json_builder *b, const char *variant, const ds_target_test *test) {
    ds_json_begin_object(b, variant);
    ds_json_put_count(b, "n", test->runs.n);
    ds_json_put_count(b, "diverged", test->runs.diverged);
    ds_json_put_real(b, "mean", test->runs.mean);
    ds_json_put_real(b, "sd", test->runs.sd);
    ds_json_put_real(b, "statistic", test->statistic);
    ds_json_put_real(b, "p", test->p);
    ds_json_end(b);
}

ds_status ds_study_put_target(ds_json_builder *b, const ds_study_results *results, double loss) {
    ds_status status = DS_OK;
    const ds_plan *plan = results->plan;
    double *finals = NULL;
    if (!isfinite(loss)) return DS_OK;
    DS_NEW(finals, plan->seed_count);
    ds_json_begin_object(b, "target");
    ds_json_put_real(b, "loss", loss);
    ds_json_begin_object(b, "variants");
    for (size_t v = 0; v < plan->variant_count; v++) {
        ds_target_test test;
        DS_TRY(ds_target_compare(&test, finals, finals_of(finals, results, v), loss));
        ds_study_put_target_test(b, plan->variants[v].name, &test);
    }
    ds_json_end(b);
    ds_json_end(b);
done:
    free(finals);
    return status;
}

void ds_study_put_power(ds_json_builder *b, double sd, double effect) {
    if (!isfinite(effect)) return;
    size_t needed = sd > 0 ? ds_seeds_needed(effect / sd, DS_DETECTABLE_POWER, DS_SIGNIFICANCE) : 0;
    ds_json_begin_object(b, "planned");
    ds_json_put_real(b, "effect", effect);
    ds_json_put(b, "seeds_needed", needed == 0 ? json_null() : json_integer((json_int_t)needed));
    ds_json_end(b);
}
