/* One option's value, checked and stored. */
#ifndef DELTASCOPE_CLI_OPTION_VALUE_H
#define DELTASCOPE_CLI_OPTION_VALUE_H

#include "cli/command.h"

/* Stores what follows --NAME on a command line (NULL after a flag) into the structure that holds the option; strings are
 * borrowed. DS_ERR_USAGE for what the option does not take. */
ds_status ds_option_store(void *structure, const ds_option *option, const char *value) DS_MUST_CHECK;

#endif
