#include "cli/json_output.h"

#include <string.h>

#include "cli/standard_streams.h"

ds_status ds_json_output(const char *path, const json_t *value, ds_json_style style) {
    ds_status status = DS_OK;
    ds_text text = {0};
    if (strcmp(path, "-") != 0) return ds_json_write(path, value, style);
    DS_TRY(ds_json_print(&text, value, style));
    DS_TRY(ds_text_append(&text, "\n", 1));
    DS_TRY(ds_standard_output_write(text.bytes, text.length));
done:
    ds_text_release(&text);
    return status;
}
