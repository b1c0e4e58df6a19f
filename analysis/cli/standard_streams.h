/* Standard input, output and error as the rest of the program may use them. */
#ifndef DELTASCOPE_CLI_STANDARD_STREAMS_H
#define DELTASCOPE_CLI_STANDARD_STREAMS_H

#include "cli/command.h"
#include "deltascope/report.h"

/* Where the locale is not UTF-8, what is printed to stdout and stderr from now on arrives in ASCII. */
ds_status ds_standard_streams_begin(void) DS_MUST_CHECK;
/* What standard output leads to. */
ds_terminal ds_output_terminal(void);
/* A table there, as that terminal wants it. */
ds_status ds_print_table(const ds_table *table) DS_MUST_CHECK;
/* Bytes to standard output as they are, behind what was printed before. */
ds_status ds_standard_output_write(const char *bytes, size_t length) DS_MUST_CHECK;
/* From now on what is printed to standard output and error goes nowhere, but for last words. */
ds_status ds_standard_output_silence(void) DS_MUST_CHECK;
/* Writes to what standard error was at first. Async-signal-safe. */
void ds_last_words(const char *bytes, size_t length);
/* A launcher passes on what is printed: whatever stands in front of it is not the terminal that people look at. */
void ds_standard_output_is_passed_on(void);
/* Whether nobody reads standard output any more. Async-signal-safe; errno stays. */
bool ds_standard_output_is_unread(void);
/* Where an option takes text and is given "-": takes all of standard input and gives the option a path under which that can be
 * read, as often as wanted. `own` is the command's own options. */
ds_status ds_standard_input_keep(ds_invocation *invocation, void *own) DS_MUST_CHECK;

#endif
