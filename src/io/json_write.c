/* Writing JSON so that every number reads back as the same double. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

enum { LINE = 100 }; /* columns of readable JSON */

static ds_status append(ds_text *text, const char *string) { return ds_text_append(text, string, strlen(string)); }

static ds_status append_real(ds_text *text, double value) {
    char number[32];
    bool whole = strpbrk(ds_format_real(number, value), ".e") == NULL;
    return ds_text_printf(text, whole ? "%s.0" : "%s", number); /* a real number reads back as one */
}

/* \u escapes, a pair of surrogates beyond the first plane. */
static ds_status append_point(ds_text *text, uint32_t point) {
    if (point < 0x10000) return ds_text_printf(text, "\\u%04x", point);
    return ds_text_printf(text, "\\u%04x\\u%04x", 0xD800 + ((point - 0x10000) >> 10), 0xDC00 + ((point - 0x10000) & 0x3FF));
}

/* READABLE goes to terminals too, and escapes what is hidden; CANONICAL is a form that others compute as well. */
static ds_status append_string(ds_text *text, const char *bytes, size_t length, ds_json_style style) {
    static const char controls[] = "\b\f\n\r\t";
    ds_status status = DS_OK;
    DS_TRY(append(text, "\""));
    for (size_t i = 0; i < length; i++) {
        uint32_t point = 0;
        size_t step = style == DS_JSON_READABLE ? ds_utf8_decode(&point, bytes + i, length - i) : 0;
        if (step > 0 && point >= 0x7F && ds_is_hidden(point)) {
            DS_TRY(append_point(text, point));
            i += step - 1;
            continue;
        }
        unsigned char c = (unsigned char)bytes[i];
        const char *named = c == '\0' ? NULL : strchr(controls, c);
        if (c == '"' || c == '\\')
            DS_TRY(ds_text_printf(text, "\\%c", c));
        else if (named != NULL)
            DS_TRY(ds_text_printf(text, "\\%c", "bfnrt"[named - controls]));
        else if (c < 0x20)
            DS_TRY(ds_text_printf(text, "\\u%04x", c));
        else
            DS_TRY(ds_text_append(text, bytes + i, 1));
    }
    status = append(text, "\"");
done:
    return status;
}

static ds_status append_scalar(ds_text *text, const json_t *value, ds_json_style style) {
    switch (json_typeof(value)) {
    case JSON_STRING:
        return append_string(text, json_string_value(value), json_string_length(value), style);
    case JSON_INTEGER:
        return ds_text_printf(text, "%lld", (long long)json_integer_value(value));
    case JSON_REAL:
        return append_real(text, json_real_value(value));
    case JSON_TRUE:
        return append(text, "true");
    case JSON_FALSE:
        return append(text, "false");
    default:
        return append(text, "null");
    }
}

static bool is_container(const json_t *value) { return json_is_object(value) || json_is_array(value); }

/* ---- members in their order -------------------------------------------------------------------------------------- */

typedef struct member {
    const char *key; /* NULL in an array */
    const json_t *value;
} member;

static int compare_keys(const void *left, const void *right) {
    return strcmp(((const member *)left)->key, ((const member *)right)->key);
}

static ds_status list_members(member **out, size_t *count, const json_t *container, bool sorted) {
    ds_status status = DS_OK;
    member *members = NULL;
    size_t n = json_is_array(container) ? json_array_size(container) : json_object_size(container), i = 0;
    json_t *object = (json_t *)(uintptr_t)container; /* jansson's iterators change nothing but lack the const */
    DS_NEW(members, n);
    if (json_is_array(container)) {
        for (; i < n; i++) members[i].value = json_array_get(container, i);
    } else {
        for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at))
            members[i++] = (member){json_object_iter_key(at), json_object_iter_value(at)};
        if (sorted) qsort(members, n, sizeof *members, compare_keys);
    }
    *count = n;
    *out = members;
done:
    return status;
}

static ds_status append_key(ds_text *text, const member *m, const char *colon, ds_json_style style) {
    if (m->key == NULL) return DS_OK;
    ds_status status = append_string(text, m->key, strlen(m->key), style);
    return status == DS_OK ? append(text, colon) : status;
}

/* ---- on one line ------------------------------------------------------------------------------------------------- */

/* Appends `value` without a line break. With a limit on the text's length (SIZE_MAX: none) gives up beyond it, *fits false. */
static ds_status append_flat(ds_text *text, bool *fits, const json_t *value, ds_json_style style, size_t limit) {
    ds_status status = DS_OK;
    member *members = NULL;
    size_t count = 0;
    bool spaces = style == DS_JSON_READABLE;
    if (!is_container(value)) {
        DS_TRY(append_scalar(text, value, style));
    } else if (limit != SIZE_MAX && json_array_size(value) > LINE / 2) {
        *fits = false; /* even digits and commas would be too long */
    } else {
        DS_TRY(append(text, json_is_array(value) ? "[" : "{"));
        DS_TRY(list_members(&members, &count, value, style == DS_JSON_CANONICAL));
        for (size_t i = 0; i < count && *fits; i++) {
            if (i != 0) DS_TRY(append(text, spaces ? ", " : ","));
            DS_TRY(append_key(text, &members[i], spaces ? ": " : ":", style));
            DS_TRY(append_flat(text, fits, members[i].value, style, limit));
        }
        DS_TRY(append(text, json_is_array(value) ? "]" : "}"));
    }
    *fits = *fits && text->length <= limit;
done:
    free(members);
    return status;
}

/* ---- on several lines -------------------------------------------------------------------------------------------- */

static ds_status new_line(ds_text *text, size_t *line, size_t indent) {
    *line = text->length + 1;
    return ds_text_printf(text, "\n%*s", (int)indent, "");
}

/* A line break, or a space when the next scalar of a list still fits in the line. */
static ds_status separate(ds_text *text, size_t *line, const json_t *next, size_t indent) {
    size_t mark = text->length;
    ds_status status = append_scalar(text, next, DS_JSON_READABLE);
    bool fits = text->length - *line + 2 <= LINE;
    text->length = mark;
    if (status != DS_OK) return status;
    return fits ? append(text, " ") : new_line(text, line, indent);
}

/* Appends `value`; the current line begins at *line in the text. Lists of scalars fill their lines. */
static ds_status append_readable(ds_text *text, size_t *line, const json_t *value, size_t indent) {
    ds_status status = DS_OK;
    member *members = NULL;
    size_t count = 0, mark = text->length;
    bool fits = true, scalars = json_is_array(value);
    DS_TRY(append_flat(text, &fits, value, DS_JSON_READABLE, *line + LINE - 1));
    if (fits || !is_container(value)) goto done;
    text->length = mark;
    DS_TRY(list_members(&members, &count, value, false));
    for (size_t i = 0; i < count; i++) scalars = scalars && !is_container(members[i].value);
    DS_TRY(append(text, json_is_array(value) ? "[" : "{"));
    for (size_t i = 0; i < count; i++) {
        if (i != 0) DS_TRY(append(text, ","));
        if (scalars && i != 0)
            DS_TRY(separate(text, line, members[i].value, indent + 2));
        else
            DS_TRY(new_line(text, line, indent + 2));
        DS_TRY(append_key(text, &members[i], ": ", DS_JSON_READABLE));
        DS_TRY(append_readable(text, line, members[i].value, indent + 2));
    }
    DS_TRY(new_line(text, line, indent));
    status = append(text, json_is_array(value) ? "]" : "}");
done:
    free(members);
    return status;
}

ds_status ds_json_print(ds_text *text, const json_t *value, ds_json_style style) {
    bool fits = true;
    size_t line = text->length;
    if (style == DS_JSON_CANONICAL) return append_flat(text, &fits, value, style, SIZE_MAX);
    return append_readable(text, &line, value, 0);
}

ds_status ds_json_write_in(const ds_folder *folder, const char *path, const json_t *value, ds_json_style style) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(ds_json_print(&text, value, style));
    DS_TRY(append(&text, "\n"));
    status = ds_write_file_in(folder, path, text.bytes, text.length);
done:
    ds_text_release(&text);
    return status;
}

ds_status ds_json_write(const char *path, const json_t *value, ds_json_style style) {
    return ds_json_write_in(NULL, path, value, style);
}
