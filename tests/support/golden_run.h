/* Models with golden values, opened on the data those are of. */
#ifndef DELTASCOPE_TESTS_GOLDEN_RUN_H
#define DELTASCOPE_TESTS_GOLDEN_RUN_H

#include "deltascope/run.h"

/* FOLDER/NAME, or a file in it ("/ckpt.pt"; "" for none), on the first two windows of 32 tokens of val.bin. */
ds_run open_golden(const char *folder, const char *name, const char *file, ds_precision precision);

#endif
