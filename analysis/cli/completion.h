/* The completion scripts of each shell, made from the command table. */
#ifndef DELTASCOPE_CLI_COMPLETION_H
#define DELTASCOPE_CLI_COMPLETION_H

#include "cli/command.h"

ds_status ds_completion_bash(ds_text *script) DS_MUST_CHECK;
ds_status ds_completion_zsh(ds_text *script) DS_MUST_CHECK;
ds_status ds_completion_fish(ds_text *script) DS_MUST_CHECK;

/* Whether the words the option takes are known: those of a choice or of a list. Appends them, separated by spaces. */
bool ds_completion_has_values(const ds_option *option);
/* Whether it takes several of them, with commas between. */
bool ds_completion_is_list(const ds_option *option);
ds_status ds_completion_values(ds_text *script, const ds_option *option) DS_MUST_CHECK;
/* Appends "a|b|c" as "a b c". */
ds_status ds_completion_words(ds_text *script, const char *alternatives) DS_MUST_CHECK;
/* Appends the bytes, a backslash in front of each that is one of `special`; a single quote as '\'' closes and reopens the
 * word. */
ds_status ds_completion_quoted(ds_text *script, const char *bytes, const char *special) DS_MUST_CHECK;
/* Whether the option's value names a file or folder. */
bool ds_completion_takes_path(const ds_option *option);

#endif
