#include "deltascope/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static ds_status add(ds_position_list *list, size_t sequence, size_t position) {
    void *storage = list->at;
    ds_status status = ds_grow(&storage, &list->capacity, list->count + 1, sizeof *list->at);
    list->at = storage;
    if (status == DS_OK) list->at[list->count++] = (ds_position){sequence, position};
    return status;
}

/* A whole number below `bound` at the front of *text, which moves past it. */
static bool take_number(const char **text, size_t bound, size_t *number) {
    char *end;
    if (**text < '0' || **text > '9') return false; /* strtoull would take a sign or white space */
    errno = 0;
    unsigned long long value = strtoull(*text, &end, 10);
    *text = end;
    *number = value;
    return errno == 0 && value < bound;
}

ds_status ds_position_list_parse(ds_position_list *list, const char *words, size_t sequences, size_t length) {
    ds_status status = DS_OK;
    *list = (ds_position_list){.all = strcmp(words, "all") == 0};
    if (list->all) return DS_OK;
    if (strcmp(words, "last") == 0) {
        for (size_t s = 0; s < sequences; s++) DS_TRY(add(list, s, length - 1));
        goto done;
    }
    for (const char *at = words;;) {
        size_t sequence, position, word = strcspn(at, ",");
        const char *end = at;
        bool fits = take_number(&end, sequences, &sequence) && *end++ == ':' && take_number(&end, length, &position);
        if (!fits || (*end != ',' && *end != '\0')) {
            status = ds_fail(DS_ERR_USAGE, "\"%s\" is not all, last or SEQUENCE:POSITION below %zu:%zu",
                             ds_escape(at, word).text, sequences, length);
            goto done;
        }
        DS_TRY(add(list, sequence, position));
        if (*end == '\0') break;
        at = end + 1;
    }
done:
    if (status != DS_OK) ds_position_list_release(list);
    return status;
}

ds_status ds_place_parse(ds_position *at, bool *token, const char *text, const char *option, size_t sequences, size_t length) {
    const char *end = text;
    *at = (ds_position){0, 0};
    bool fits = take_number(&end, sequences, &at->sequence);
    *token = fits && *end == ':';
    if (*token) {
        end++;
        fits = take_number(&end, length, &at->position);
    }
    if (fits && *end == '\0') return DS_OK;
    return ds_fail(DS_ERR_USAGE, "--%s takes SEQUENCE or SEQUENCE:POSITION below %zu:%zu, not \"%s\"", option, sequences,
                   length, DS_SHOW(text));
}

ds_status ds_window_parse(size_t *first, size_t *last, const char *text, size_t sublayers) {
    const char *at = text;
    size_t a, b;
    *first = 0;
    *last = sublayers;
    if (text == NULL) return DS_OK;
    if (!take_number(&at, sublayers, &a) || *at++ != ':' || !take_number(&at, sublayers, &b) || *at != '\0' || a > b)
        return ds_fail(DS_ERR_USAGE, "--window takes A:B with 0 <= A <= B <= %zu, not \"%s\"", sublayers - 1, DS_SHOW(text));
    *first = a;
    *last = b + 1;
    return DS_OK;
}

void ds_position_list_release(ds_position_list *list) {
    free(list->at);
    *list = (ds_position_list){0};
}
