#include "golden_run.h"

#include <stdio.h>

#include "support.h"

ds_run open_golden(const char *folder, const char *name, const char *file, ds_precision precision) {
    char path[64];
    ds_run run;
    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, file);
    const ds_run_options opening = {.checkpoint = path,
                                    .tokens = "fixtures/data/val.bin",
                                    .length = 32,
                                    .sequences = 2,
                                    .spread = DS_SPREAD_FROM_OFFSET,
                                    .precision = precision,
                                    .histories = true,
                                    .streams = true};
    expect_ok(ds_run_open(&run, &opening));
    return run;
}
