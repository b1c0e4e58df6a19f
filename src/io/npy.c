/* numpy's .npy: magic, version, header length, a Python dict literal, then the array (FORMATS: numpy.lib.format). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "token_layout.h"

enum { MAX_HEADER = 10000 }; /* numpy's own limit, kept before anything is allocated */

/* The literal being parsed, and what has been understood of it. */
typedef struct npy_header {
    const ds_source *source;
    ds_cursor text;
    size_t length;
    bool fortran_order;
    size_t rank, large_extents; /* extents greater than 1 */
    uint64_t count;             /* product of the extents */
    ds_token_layout *layout;
} npy_header;

static ds_status bad_header(const npy_header *h, const char *expected) {
    ds_name rest = ds_escape((const char *)h->text.at, ds_min_size(h->text.left, 40));
    return ds_fail(DS_ERR_INPUT, "%s: bad npy header: %s expected at byte %zu of the header, found \"%s\"",
                   DS_SHOW(h->source->path), expected, h->length - h->text.left, rest.text);
}

static void skip_spaces(npy_header *h) {
    while (h->text.left > 0 && h->text.at[0] == ' ') h->text.at++, h->text.left--;
}

/* Takes `literal` if it comes next. */
static bool take(npy_header *h, const char *literal) {
    const uint8_t *bytes;
    size_t length = strlen(literal);
    skip_spaces(h);
    if (h->text.left < length || memcmp(h->text.at, literal, length) != 0) return false;
    return ds_take_bytes(&h->text, length, &bytes);
}

/* A string in either kind of quotes; no escapes, which no numpy header of numbers has. */
static ds_status take_string(npy_header *h, const char **bytes, size_t *length, const char *expected) {
    skip_spaces(h);
    if (h->text.left == 0 || (h->text.at[0] != '\'' && h->text.at[0] != '"')) return bad_header(h, expected);
    const uint8_t *first = h->text.at + 1;
    const uint8_t *end = memchr(first, h->text.at[0], h->text.left - 1);
    if (end == NULL || memchr(first, '\\', (size_t)(end - first)) != NULL) return bad_header(h, expected);
    *bytes = (const char *)first;
    *length = (size_t)(end - first);
    h->text.left -= *length + 2;
    h->text.at = end + 1;
    return DS_OK;
}

static ds_status parse_descr(npy_header *h) {
    const char *path = h->source->path, *descr;
    size_t length;
    skip_spaces(h);
    if (h->text.left > 0 && (h->text.at[0] == '[' || h->text.at[0] == '('))
        return ds_fail(DS_ERR_INPUT, "%s: npy dtype not supported: a structured dtype, expected one integer per token",
                       DS_SHOW(path));
    ds_status status = take_string(h, &descr, &length, "the dtype, a string");
    if (status != DS_OK) return status;
    ds_name name = ds_escape(descr, length);
    if (length >= 2 && descr[1] == 'O')
        return ds_fail(DS_ERR_INPUT, "%s: npy object arrays are not supported (dtype \"%s\"): they hold a pickle, not integers",
                       DS_SHOW(path), name.text);
    bool order = length == 3 && (descr[0] == '<' || descr[0] == '>' || (descr[0] == '|' && descr[2] == '1'));
    bool kind = length == 3 && (descr[1] == 'u' || descr[1] == 'i');
    bool width = length == 3 && descr[2] != '\0' && strchr("1248", descr[2]) != NULL;
    if (!order || !kind || !width)
        return ds_fail(DS_ERR_INPUT, "%s: npy dtype not supported: \"%s\", expected an integer of 1, 2, 4 or 8 bytes",
                       DS_SHOW(path), name.text);
    h->layout->width = (size_t)(descr[2] - '0');
    h->layout->is_signed = descr[1] == 'i';
    h->layout->big_endian = descr[0] == '>';
    return DS_OK;
}

static ds_status parse_extent(npy_header *h) {
    uint64_t extent = 0;
    size_t digits = 0;
    bool fits = true;
    bool leading_zero = h->text.left > 1 && h->text.at[0] == '0' && h->text.at[1] >= '0' && h->text.at[1] <= '9';
    if (h->text.left > 0 && h->text.at[0] == '-') return bad_header(h, "bad npy shape: an extent of 0 or more");
    for (; h->text.left > 0 && h->text.at[0] >= '0' && h->text.at[0] <= '9'; digits++) {
        uint64_t digit = (uint64_t)(h->text.at[0] - '0');
        fits = fits && ds_mul_u64(extent, 10, &extent) && ds_add_u64(extent, digit, &extent);
        h->text.at++, h->text.left--;
    }
    if (digits == 0 || leading_zero) return bad_header(h, "bad npy shape: a decimal integer");
    if (!fits || !ds_mul_u64(h->count, extent, &h->count))
        return ds_fail(DS_ERR_INPUT, "%s: npy shape overflow: the product of its extents is not below 2^64",
                       DS_SHOW(h->source->path));
    h->rank++;
    h->large_extents += extent > 1;
    return DS_OK;
}

/* A tuple of integers: (), (600,), (20, 30) or (20, 30,). One extent needs its comma, or it would be no tuple. */
static ds_status parse_shape(npy_header *h) {
    h->count = 1;
    if (!take(h, "(")) return bad_header(h, "bad npy shape: a tuple");
    bool comma = true;
    while (!take(h, ")")) {
        if (!comma) return bad_header(h, "bad npy shape: a comma or ')'");
        ds_status status = parse_extent(h);
        if (status != DS_OK) return status;
        comma = take(h, ",");
    }
    if (h->rank == 1 && !comma) return bad_header(h, "bad npy shape: a tuple (its comma is missing), not one number,");
    return DS_OK;
}

static ds_status parse_value(npy_header *h, size_t key) {
    if (key == 0) return parse_descr(h);
    if (key == 2) return parse_shape(h);
    h->fortran_order = take(h, "True");
    return h->fortran_order || take(h, "False") ? DS_OK : bad_header(h, "fortran_order as True or False");
}

static ds_status parse_header(npy_header *h) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    bool seen[3] = {false, false, false};
    bool comma = true;
    ds_status status = DS_OK;
    if (!take(h, "{")) return bad_header(h, "a dict");
    while (!take(h, "}")) {
        const char *name;
        size_t length, key = 0;
        if (!comma) return bad_header(h, "a comma or '}'");
        DS_TRY(take_string(h, &name, &length, "a key"));
        while (key < 3 && (strlen(keys[key]) != length || memcmp(keys[key], name, length) != 0)) key++;
        if (key == 3 || seen[key])
            return ds_fail(DS_ERR_INPUT, "%s: bad npy header: key \"%s\" is %s; descr, fortran_order and shape are expected",
                           DS_SHOW(h->source->path), ds_escape(name, length).text, key == 3 ? "unknown" : "repeated");
        seen[key] = true;
        if (!take(h, ":")) return bad_header(h, "a colon");
        DS_TRY(parse_value(h, key));
        comma = take(h, ",");
    }
    for (size_t key = 0; key < 3; key++) {
        if (!seen[key])
            return ds_fail(DS_ERR_INPUT, "%s: bad npy header: key \"%s\" is missing", DS_SHOW(h->source->path), keys[key]);
    }
    skip_spaces(h);
    if (h->text.left > 0 && h->text.at[0] == '\n') h->text.at++, h->text.left--;
    if (h->text.left > 0) status = bad_header(h, "nothing after the dict");
done:
    return status;
}

/* The parsed numbers against each other and against the size of the file. */
static ds_status check_extent(const npy_header *h) {
    const char *path = h->source->path;
    uint64_t bytes, stored = h->source->size - h->layout->offset;
    if (h->rank == 0)
        return ds_fail(DS_ERR_INPUT, "%s: too few tokens: npy shape () is a single value, expected a list", DS_SHOW(path));
    if (h->fortran_order && h->large_extents > 1)
        return ds_fail(DS_ERR_INPUT, "%s: npy Fortran order of %zu dimensions is not supported, expected C order",
                       DS_SHOW(path), h->rank);
    if (!ds_mul_u64(h->count, h->layout->width, &bytes))
        return ds_fail(DS_ERR_INPUT, "%s: npy shape overflow: %" PRIu64 " tokens of %zu bytes", DS_SHOW(path), h->count,
                       h->layout->width);
    if (bytes != stored)
        return ds_fail(
            DS_ERR_INPUT, "%s: npy data %s: %" PRIu64 " tokens of %zu bytes need %" PRIu64 " bytes, the file has %" PRIu64,
            DS_SHOW(path), stored < bytes ? "truncated" : "followed by other bytes", h->count, h->layout->width, bytes, stored);
    h->layout->count = h->count;
    return DS_OK;
}

ds_status ds_npy_layout(ds_token_layout *layout, const ds_source *source) {
    ds_status status = DS_OK;
    uint8_t front[12], *text = NULL; /* magic (6), version (2), length (2 or 4) */
    *layout = (ds_token_layout){0};
    size_t available = source->size < sizeof front ? (size_t)source->size : sizeof front;
    DS_TRY(ds_source_read(source, front, 0, available));
    size_t prefix = available > 6 && front[6] == 1 ? 10 : 12;
    if (available < prefix)
        return ds_fail(DS_ERR_INPUT, "%s: truncated npy header: %zu bytes found, at least %zu expected", DS_SHOW(source->path),
                       available, prefix);
    if (front[6] < 1 || front[6] > 3 || front[7] != 0)
        return ds_fail(DS_ERR_INPUT, "%s: unsupported npy version %u.%u, expected 1.0, 2.0 or 3.0", DS_SHOW(source->path),
                       front[6], front[7]);
    size_t length = prefix == 10 ? ds_load_u16le(front + 8) : ds_load_u32le(front + 8);
    if (length > MAX_HEADER)
        return ds_fail(DS_ERR_INPUT, "%s: npy header too large: %zu bytes, at most %d are accepted", DS_SHOW(source->path),
                       length, MAX_HEADER);
    if (length > source->size - prefix)
        return ds_fail(DS_ERR_INPUT, "%s: truncated npy header: %zu bytes announced, %" PRIu64 " left in the file",
                       DS_SHOW(source->path), length, source->size - prefix);
    DS_NEW(text, length);
    DS_TRY(ds_source_read(source, text, prefix, length));
    layout->offset = prefix + length;
    npy_header header = {.source = source, .text = {text, length}, .length = length, .layout = layout};
    DS_TRY(parse_header(&header));
    DS_TRY(check_extent(&header));
done:
    free(text);
    return status;
}
