#include "cli/version.h"

#include "deltascope/io.h"
#include "deltascope/num.h"
#include "deltascope/report.h"
#include "deltascope/spectra.h"
#include "deltascope/stats.h"

ds_status ds_version_text(ds_text *text) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(text, "deltascope %s\n%s\n", DS_VERSION, ds_blas_name()));
    DS_TRY(ds_spectra_libraries(text));
    DS_TRY(ds_stats_libraries(text));
    DS_TRY(ds_io_libraries(text));
    DS_TRY(ds_report_libraries(text));
done:
    return status;
}
