#include <arb.h>
#include <lapacke.h>

#include "deltascope/spectra.h"

ds_status ds_spectra_libraries(ds_text *text) {
    lapack_int major = 0, minor = 0, patch = 0;
    LAPACKE_ilaver(&major, &minor, &patch);
    return ds_text_printf(text, "LAPACK %d.%d.%d\nArb %s\n", major, minor, patch, arb_version);
}
