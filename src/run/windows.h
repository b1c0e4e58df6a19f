/* Private to the run room: what else reads the windows. */
#ifndef DELTASCOPE_RUN_WINDOWS_H
#define DELTASCOPE_RUN_WINDOWS_H

#include "deltascope/run.h"

/* numbers (count) <- which of the `fitting` windows a run has, ascending: by the options' spread and seed. */
void ds_window_numbers(uint64_t *numbers, uint64_t count, uint64_t fitting, const ds_run_options *options);
/* run->ids (count) <- the tokens from the run's first window on. */
ds_status ds_run_read_tokens(ds_run *run, size_t count) DS_MUST_CHECK;
/* CRC-32 of the ids of all windows, each with its last target. */
ds_status ds_run_crc32(uint32_t *crc, ds_run *run) DS_MUST_CHECK;

#endif
