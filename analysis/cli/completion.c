/* What the scripts of all shells need. */
#include "cli/completion.h"

#include <string.h>

ds_status ds_completion_words(ds_text *script, const char *alternatives) {
    ds_status status = DS_OK;
    for (const char *at = alternatives; *at != '\0'; at++) DS_TRY(ds_text_append(script, *at == '|' ? " " : at, 1));
done:
    return status;
}

ds_status ds_completion_quoted(ds_text *script, const char *bytes, const char *special) {
    ds_status status = DS_OK;
    for (const char *at = bytes; *at != '\0'; at++) {
        if (*at == '\'') {
            DS_TRY(ds_text_append(script, "'\\''", 4));
            continue;
        }
        if (strchr(special, *at) != NULL) DS_TRY(ds_text_append(script, "\\", 1));
        DS_TRY(ds_text_append(script, at, 1));
    }
done:
    return status;
}

bool ds_completion_takes_path(const ds_option *option) {
    if (option->kind != DS_OPTION_TEXT) return false;
    return strncmp(option->argument, "FILE", 4) == 0 || strcmp(option->argument, "PATH") == 0 ||
           strcmp(option->argument, "DIR") == 0;
}

bool ds_completion_has_values(const ds_option *option) { return option->kind == DS_OPTION_CHOICE || option->words != NULL; }

bool ds_completion_is_list(const ds_option *option) {
    return option->words != NULL && (strcmp(option->argument, "LIST") == 0 || strchr(option->argument, ',') != NULL);
}

ds_status ds_completion_values(ds_text *script, const ds_option *option) {
    return option->words != NULL ? option->words(script, " ", " ") : ds_completion_words(script, option->argument);
}
