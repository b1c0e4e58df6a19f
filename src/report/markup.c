#include "markup.h"

#include <stdarg.h>
#include <string.h>

static const char *entity_of(char byte) {
    switch (byte) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static ds_status append_escaped(ds_text *text, const char *words, size_t length) {
    ds_status status = DS_OK;
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t point = 0;
        size_t decoded = ds_utf8_decode(&point, words + at, length - at);
        const char *entity = entity_of(words[at]);
        bool hidden = decoded == 0 || (ds_is_hidden(point) && strchr("\t\r\n", words[at]) == NULL);
        step = ds_max_size(decoded, 1);
        for (size_t i = 0; hidden && i < step; i++) DS_TRY(ds_text_printf(text, "\\x%02X", (unsigned char)words[at + i]));
        if (entity != NULL)
            DS_TRY(ds_text_append(text, entity, strlen(entity)));
        else if (!hidden)
            DS_TRY(ds_text_append(text, words + at, step));
    }
done:
    return status;
}

ds_status ds_markup(ds_text *text, const char *format, ...) {
    static const char *const known[] = {"%s", "%.*s", "%zu", "%d", "%.3g", "%%"};
    enum { WORDS, COUNTED, SIZE, INT, REAL, PERCENT, KNOWN };
    ds_status status = DS_OK;
    va_list arguments;
    va_start(arguments, format);
    while (*format != '\0') {
        size_t literal = strcspn(format, "%"), kind = 0;
        DS_TRY(ds_text_append(text, format, literal));
        format += literal;
        if (*format == '\0') break;
        while (kind < KNOWN && strncmp(format, known[kind], strlen(known[kind])) != 0) kind++;
        if (kind == KNOWN) {
            status = ds_fail(DS_ERR_SYSTEM, "markup with \"%s\" cannot be made", format);
            goto done;
        }
        format += strlen(known[kind]);
        int most = kind == COUNTED ? va_arg(arguments, int) : 0;
        const char *words = kind <= COUNTED ? va_arg(arguments, const char *) : NULL;
        if (words != NULL) DS_TRY(append_escaped(text, words, kind == COUNTED ? strnlen(words, (size_t)most) : strlen(words)));
        if (kind == SIZE) DS_TRY(ds_text_printf(text, "%zu", va_arg(arguments, size_t)));
        if (kind == INT) DS_TRY(ds_text_printf(text, "%d", va_arg(arguments, int)));
        if (kind == REAL) DS_TRY(ds_text_printf(text, "%.3g", va_arg(arguments, double)));
        if (kind == PERCENT) DS_TRY(ds_text_append(text, "%", 1));
    }
done:
    va_end(arguments);
    return status;
}
