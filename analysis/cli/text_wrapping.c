#include "cli/text_wrapping.h"
#include "cli/standard_streams.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "deltascope/report.h"

enum { WIDTH = 79 };

size_t ds_text_columns(const char *word, size_t length) {
    size_t columns = 0;
    for (size_t i = 0; i < length; i++) columns += ((unsigned char)word[i] & 0xC0) != 0x80;
    return columns;
}

void ds_print_wrapped(const char *words, size_t indent, size_t column) {
    ds_text ascii = {0}; /* of other widths, so that it is made before lines are */
    if (!ds_output_terminal().unicode && ds_text_append_ascii(&ascii, words, strlen(words)) == DS_OK) words = ascii.bytes;
    for (bool first = true; *words != '\0'; first = false) {
        size_t length = strcspn(words, " "), columns = ds_text_columns(words, length);
        bool fits = first || column + 1 + columns <= WIDTH;
        column = (fits ? column + !first : indent) + columns;
        if (!fits) (void)printf("\n%*s", (int)indent, "");
        (void)printf("%s%.*s", fits && !first ? " " : "", (int)length, words);
        words += length + (words[length] == ' ');
    }
    (void)printf("\n");
    ds_text_release(&ascii);
}
