#include <gsl/gsl_version.h>

#include "deltascope/stats.h"

ds_status ds_stats_libraries(ds_text *text) { return ds_text_printf(text, "GSL %s\n", gsl_version); }
