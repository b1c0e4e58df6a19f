/* Another framework's tensors compared with the run's: the windows they are of, and the models that compute them again. */
#ifndef DELTASCOPE_MEASURE_EXTERNAL_REFERENCE_H
#define DELTASCOPE_MEASURE_EXTERNAL_REFERENCE_H

#include "deltascope/run.h"
#include "deltascope/verify.h"

DS_BEGIN_DECLARATIONS

/* A PyTorch script that writes such a file. */
extern const char ds_reference_recipe[];

/* Opens the file, computes its windows with `exact` (the checkpoint in double) and compares. The caller closes *reference and
 * frees *results, (count) of it. A file whose windows the run does not have is DS_ERR_INPUT. */
ds_status ds_reference_run(ds_reference **reference, ds_check_result **results, ds_run *run, const ds_model *exact,
                           const char *path) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
