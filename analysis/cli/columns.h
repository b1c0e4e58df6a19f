/* --columns: which columns of a command's tables are shown, and in which order. */
#ifndef DELTASCOPE_CLI_COLUMNS_H
#define DELTASCOPE_CLI_COLUMNS_H

#include "cli/command.h"

/* DS_ERR_USAGE where --columns names one that no table of the command has, or one twice. */
ds_status ds_columns_check(const ds_invocation *invocation) DS_MUST_CHECK;
/* Leaves a table the columns that --columns names; all of them where it was not given or names none of them. */
ds_status ds_columns_choose(const ds_invocation *invocation, ds_table *table) DS_MUST_CHECK;

#endif
