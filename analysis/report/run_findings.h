/* What the page of a training run says first, each finding with the threshold from which it counts. */
#ifndef DELTASCOPE_REPORT_STEPS_RUN_FINDINGS_H
#define DELTASCOPE_REPORT_STEPS_RUN_FINDINGS_H

#include "deltascope/report.h"

/* Into a zeroed `all`, from the results of train; the verdict stays empty. */
ds_status ds_run_findings(ds_findings *all, const json_t *results, bool diverged) DS_MUST_CHECK;
/* In how many updates the gradient was clipped. */
size_t ds_run_clipped(const json_t *results);

#endif
