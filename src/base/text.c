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

bool ds_is_hidden(uint32_t point) {
    static const uint32_t ranges[][2] = {
        {0, 0x1F},        {0x7F, 0x9F},     {0xAD, 0xAD},     {0x34F, 0x34F},     {0x61C, 0x61C},     {0x115F, 0x1160},
        {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200F}, {0x2028, 0x202E},   {0x2060, 0x206F},   {0x3164, 0x3164},
        {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1D173, 0x1D17A}, {0xE0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (point >= ranges[i][0] && point <= ranges[i][1]) return true;
    }
    return false;
}

/* Of a sequence of `step` bytes, 0 where there is none. */
static bool is_control(const unsigned char *s, size_t step) {
    uint32_t point = 0;
    return step == 0 || ds_utf8_decode(&point, (const char *)s, step) == 0 || ds_is_hidden(point);
}

ds_status ds_text_append_visible(ds_text *text, const char *string) {
    ds_status status = DS_OK;
    const unsigned char *s = (const unsigned char *)string;
    for (size_t left = strlen(string); left > 0;) {
        size_t step = utf8_sequence(s, left), bytes = ds_max_size(step, 1);
        bool hidden = is_control(s, step) && strchr("\t\r\n", *s) == NULL;
        for (size_t i = 0; hidden && i < bytes; i++) DS_TRY(ds_text_printf(text, "\\x%02X", s[i]));
        if (!hidden) DS_TRY(ds_text_append(text, (const char *)s, bytes));
        s += bytes;
        left -= bytes;
    }
done:
    return status;
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
