#include <zip.h>

#include "deltascope/report.h"

ds_status ds_report_libraries(ds_text *text) { return ds_text_printf(text, "libzip %s\n", zip_libzip_version()); }
