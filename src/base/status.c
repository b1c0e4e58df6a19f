#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"

#define ERROR_CAPACITY 2048

static _Thread_local char error_text[ERROR_CAPACITY];

ds_status(ds_fail)(ds_status code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char sentence[ERROR_CAPACITY]; /* the arguments may point into error_text */
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    memcpy(error_text, sentence, sizeof sentence);
    return code;
}

ds_status(ds_fail_prefix)(ds_status code, const char *format, ...) {
    char sentence[ERROR_CAPACITY];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    size_t used = written < 0 ? 0 : ds_min_size((size_t)written, sizeof sentence - 1);
    (void)snprintf(sentence + used, sizeof sentence - used, ": %s", error_text);
    memcpy(error_text, sentence, sizeof sentence);
    return code;
}

const char *ds_error_text(void) { return error_text; }

void ds_error_clear(void) { error_text[0] = '\0'; }

static void (*last_handler)(void);

void ds_give_up_handler(void (*handler)(void)) { last_handler = handler; }

void ds_give_up(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error_text, sizeof error_text, format, arguments);
    va_end(arguments);
    if (last_handler != NULL) last_handler();
    ds_outfile_discard_all();
    ds_helper_discard_all();
    abort();
}
