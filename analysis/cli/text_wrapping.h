/* Sentences on a terminal. */
#ifndef DELTASCOPE_CLI_TEXT_WRAPPING_H
#define DELTASCOPE_CLI_TEXT_WRAPPING_H

#include <stddef.h>

/* Columns on the screen: characters, not bytes. */
size_t ds_text_columns(const char *words, size_t length);

/* Prints words separated by single spaces, in lines of at most 79 columns, and ends the last one. `column` columns of the first
 * line are filled already; later ones begin with `indent` spaces. A word longer than a line stays whole. */
void ds_print_wrapped(const char *words, size_t indent, size_t column);

#endif
