/* Signals that end a long command with what it has, instead of at once. */
#ifndef DELTASCOPE_COMMANDS_STOP_SIGNALS_H
#define DELTASCOPE_COMMANDS_STOP_SIGNALS_H

#include "deltascope/base.h"

/* From now on SIGINT and SIGTERM are noted for ds_stop_asked; what the caller ignores stays ignored. */
void ds_stop_watch(void);
/* Whether one came. `context` is not used. */
bool ds_stop_asked(void *context);
/* Ends as the signal does, so that the caller sees why. */
ds_status ds_stop_end(void) DS_MUST_CHECK;

#endif
