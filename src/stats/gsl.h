/* What GSL complains about becomes a failure of ours, where its error handler is ours (ds_stats_hooks). */
#ifndef DELTASCOPE_STATS_GSL_H
#define DELTASCOPE_STATS_GSL_H

#include "deltascope/base.h"

/* Before a piece of work: forgets what this thread heard. */
void ds_gsl_begin(void);
/* What GSL first complained about on this thread since, as a failure: DS_OK when nothing. Forgets it. */
ds_status ds_gsl_status(void) DS_MUST_CHECK;
/* The same where it is known that it failed. */
ds_status ds_gsl_failure(void) DS_MUST_CHECK;

#endif
