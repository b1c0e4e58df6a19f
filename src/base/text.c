#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"

ds_status ds_text_append(ds_text *text, const char *bytes, size_t length) {
    size_t needed;
    if (!ds_add_size(text->length, length, &needed) || !ds_add_size(needed, 1, &needed))
        return ds_fail(DS_ERR_SYSTEM, "out of memory: a text of more than 2^64 bytes");
    void *storage = text->bytes;
    ds_status status = ds_grow(&storage, &text->capacity, needed, 1);
    text->bytes = storage;
    if (status != DS_OK) return status;
    if (length != 0) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    return DS_OK;
}

ds_status ds_text_printf(ds_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    char small[512];
    int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    ds_status status;
    if (length < 0) {
        status = ds_fail(DS_ERR_SYSTEM, "text could not be formatted with \"%s\"", format);
    } else if ((size_t)length < sizeof small) {
        status = ds_text_append(text, small, (size_t)length);
    } else {
        char *large = ds_calloc((size_t)length + 1, 1);
        status = large == NULL ? DS_ERR_SYSTEM : DS_OK;
        if (status == DS_OK) {
            (void)vsnprintf(large, (size_t)length + 1, format, again);
            status = ds_text_append(text, large, (size_t)length);
        }
        free(large);
    }
    va_end(again);
    return status;
}

void ds_text_release(ds_text *text) {
    free(text->bytes);
    *text = (ds_text){0};
}

/* Length of the well-formed UTF-8 sequence at the front (Unicode 15, table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *s, size_t left) {
    if (left == 0) return 0;
    if (s[0] < 0x80) return 1;
    size_t length = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : s[0] >= 0xE0 && s[0] <= 0xEF ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    if (length == 0 || left < length) return 0;
    unsigned char lowest = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char highest = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < lowest || s[1] > highest) return 0;
    for (size_t i = 2; i < length; i++) {
        if (s[i] < 0x80 || s[i] > 0xBF) return 0;
    }
    return length;
}

bool ds_is_utf8(const char *bytes, size_t length) {
    const unsigned char *s = (const unsigned char *)bytes;
    while (length > 0) {
        size_t step = utf8_sequence(s, length);
        if (step == 0) return false;
        s += step;
        length -= step;
    }
    return true;
}

size_t ds_utf8_decode(uint32_t *point, const char *bytes, size_t left) {
    const unsigned char *s = (const unsigned char *)bytes;
    size_t length = utf8_sequence(s, left);
    if (length == 0) return 0;
    *point = length == 1 ? s[0] : s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) *point = *point << 6 | (s[i] & 0x3Fu);
    return length;
}

/* A sequence that a terminal obeys or that makes a line read as another: C0 and C1 controls (U+0080 to U+009F drive some
 * terminals as well), marks and overrides of the writing direction, line and paragraph separators. */
static bool is_control(const unsigned char *s, size_t step) {
    uint32_t point = 0;
    if (step == 0 || ds_utf8_decode(&point, (const char *)s, step) == 0) return true;
    return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x61C || point == 0x200E || point == 0x200F ||
           (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}

ds_name ds_escape(const char *bytes, size_t length) {
    enum { NAME_BYTES = 200 };
    ds_name name;
    size_t used = 0, at = 0;
    const unsigned char *s = (const unsigned char *)bytes;
    while (at < length) {
        size_t step = utf8_sequence(s + at, length - at);
        if (at + ds_max_size(step, 1) > NAME_BYTES) break;
        if (is_control(s + at, step)) {
            used += (size_t)snprintf(name.text + used, sizeof name.text - used, "\\x%02X", s[at]);
            at++;
        } else {
            memcpy(name.text + used, s + at, step);
            used += step;
            at += step;
        }
    }
    (void)snprintf(name.text + used, sizeof name.text - used, "%s", at < length ? "..." : "");
    return name;
}
