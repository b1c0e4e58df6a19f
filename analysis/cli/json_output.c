#include "cli/json_output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

ds_status ds_json_output(const char *path, const json_t *value, ds_json_style style) {
    ds_status status = DS_OK;
    ds_text text = {0};
    if (strcmp(path, "-") != 0) return ds_json_write(path, value, style);
    DS_TRY(ds_json_print(&text, value, style));
    DS_TRY(ds_text_append(&text, "\n", 1));
    if (fwrite(text.bytes, 1, text.length, stdout) != text.length || fflush(stdout) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "standard output: could not be written in full: %s", strerror(errno));
done:
    ds_text_release(&text);
    return status;
}
