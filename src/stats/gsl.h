/* Every public function that calls GSL first calls ds_gsl_prepare, so that GSL returns errors instead of ending the process. */
#ifndef DELTASCOPE_STATS_GSL_H
#define DELTASCOPE_STATS_GSL_H

#include "deltascope/base.h"

void ds_gsl_prepare(void);
/* What GSL last complained about on this thread, as a failure: DS_OK when nothing. Forgets it. */
ds_status ds_gsl_status(void) DS_MUST_CHECK;

#endif
