#include "deltascope/io.h"
#include "deltascope/run.h"
#include "deltascope/spectra.h"

void ds_process_hooks(void) {
    ds_io_hooks();
    ds_spectra_hooks();
}
