/* What a result says of the machine and the libraries it was made with. Private to run. */
#ifndef DELTASCOPE_RUN_ENVIRONMENT_H
#define DELTASCOPE_RUN_ENVIRONMENT_H

#include "deltascope/io.h"

/* "arithmetic" and "environment" of an envelope. */
ds_status ds_environment_put(ds_json_builder *b) DS_MUST_CHECK;

#endif
