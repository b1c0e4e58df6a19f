/* Private to the run room: what else reads the windows. */
#ifndef DELTASCOPE_RUN_WINDOWS_H
#define DELTASCOPE_RUN_WINDOWS_H

#include "deltascope/run.h"

/* run->ids (count) <- the tokens from the run's offset on. */
ds_status ds_run_read_tokens(ds_run *run, size_t count) DS_MUST_CHECK;
/* CRC-32 of the ids of all windows, each with its last target. */
ds_status ds_run_crc32(uint32_t *crc, ds_run *run) DS_MUST_CHECK;

#endif
