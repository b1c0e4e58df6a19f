#include "version.h"

ds_status ds_version_text(ds_text *text) { return ds_text_printf(text, "deltascope %s\n", DS_VERSION); }
