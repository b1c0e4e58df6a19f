/* What can be said of a run's outputs before it computes anything. */
#ifndef DELTASCOPE_CLI_OUTPUTS_H
#define DELTASCOPE_CLI_OUTPUTS_H

#include "cli/command.h"

/* DS_ERR_USAGE for an output that is an input of the run, by whatever name or link, and for an output folder whose finished
 * report the command would change; DS_ERR_SYSTEM for a place that cannot take the result. */
ds_status ds_outputs_check(const ds_invocation *invocation) DS_MUST_CHECK;

#endif
