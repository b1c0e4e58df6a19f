/* What each gate is worth when it is forced: CONTRACT "ablate". */
#ifndef DELTASCOPE_MEASURE_FORCED_GATES_H
#define DELTASCOPE_MEASURE_FORCED_GATES_H

#include <jansson.h>

#include "deltascope/measure/ablation.h"
#include "deltascope/measure/double_precision_shadow.h"
#include "deltascope/run.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_ablate_options {
    const char *modes;              /* comma separated: interventions of the checkpoint's rule */
    const char *scopes;             /* comma separated: which sublayers a case forces; NULL: every scope */
    size_t shadow;                  /* windows repeated in double */
    const ds_journal_plan *journal; /* where finished windows are kept; NULL: nowhere */
    const char *only;               /* without `shadow`: of all these cases, comma separated, those to run; NULL: all */
    const json_t *others; /* with `only`: results of cases, whose p-values Holm's adjustment counts for those not run */
} ds_ablate_options;
extern const ds_ablate_options ds_ablate_defaults;

/* Losses and divergences in nats; rows of cases that were left out hold nothing but, in `paired`, the p-value of others.
 * `shadow` borrows `list`: the struct stays where it was measured. */
typedef struct ds_ablate_result {
    ds_case_list list;
    size_t sequences;
    const ds_spec *spec; /* of the run */
    double *baseline;    /* (sequences): mean loss of each window, intact */
    double *loss, *kl;   /* (cases, sequences), row-major: mean loss; mean KL(intact || case) */
    ds_paired *paired;   /* (cases): change of the loss, its interval over windows, and its p-value */
    double *holm;        /* (cases): p-values adjusted over all distinct cases (Holm) */
    size_t hypotheses;   /* distinct cases */
    ds_shadow shadow;
} ds_ablate_result;

/* Unknown modes and scopes are DS_ERR_USAGE. Windows are resampled by the run's seed. */
ds_status ds_ablate_measure(ds_ablate_result *out, ds_run *run, const ds_ablate_options *options) DS_MUST_CHECK;
void ds_ablate_release(ds_ablate_result *result);
/* CONTRACT's results of `ablate`; a new reference. */
ds_status ds_ablate_json(json_t **results, const ds_ablate_result *result) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_ablate_results(json_t **options_json, json_t **results, ds_run *run,
                            const ds_ablate_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
