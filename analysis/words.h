/* Lists of words on the command line, separated by commas. An empty word is a word: "a," has two. */
#ifndef DELTASCOPE_ANALYSIS_WORDS_H
#define DELTASCOPE_ANALYSIS_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Takes the next word off the front of *list, NULL when there are none; false at the end. */
bool ds_next_word(const char **list, const char **word, size_t *length);
bool ds_is_word(const char *name, const char *word, size_t length);

#endif
