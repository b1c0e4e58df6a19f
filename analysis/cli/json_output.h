/* JSON to where the person at the command line wants it. */
#ifndef DELTASCOPE_CLI_JSON_OUTPUT_H
#define DELTASCOPE_CLI_JSON_OUTPUT_H

#include "deltascope/io.h"

/* As ds_json_write; the path "-" is standard output. */
ds_status ds_json_output(const char *path, const json_t *value, ds_json_style style) DS_MUST_CHECK;

#endif
