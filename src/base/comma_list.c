#include "deltascope/base.h"

#include <string.h>

bool ds_next_word(const char **list, const char **word, size_t *length) {
    if (*list == NULL) return false;
    *word = *list;
    *length = strcspn(*list, ",");
    *list = (*list)[*length] == ',' ? *list + *length + 1 : NULL;
    return true;
}

bool ds_is_word(const char *name, const char *word, size_t length) {
    return strlen(name) == length && memcmp(name, word, length) == 0;
}
