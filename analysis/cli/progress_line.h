/* Progress of long work on standard error, with the time left. */
#ifndef DELTASCOPE_CLI_PROGRESS_LINE_H
#define DELTASCOPE_CLI_PROGRESS_LINE_H

#include "deltascope/run.h"

/* Tells standard error how a run goes: a line that is drawn over again, on a terminal only, and notes as lines of their own.
 * With `quiet` it tells nothing. There is one line, so there is one of these. */
ds_listener ds_progress_line(bool quiet);

#endif
