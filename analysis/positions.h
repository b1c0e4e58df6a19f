/* Which tokens a measurement looks at: CONTRACT's --positions. */
#ifndef DELTASCOPE_ANALYSIS_POSITIONS_H
#define DELTASCOPE_ANALYSIS_POSITIONS_H

#include "deltascope/base.h"

typedef struct ds_position {
    size_t sequence, position;
} ds_position;

typedef struct ds_position_list {
    ds_position *at;
    size_t count, capacity;
    bool all; /* every token: `at` is empty */
} ds_position_list;

/* "all", "last" (the last token of every window) or "S:P,S:P,...": sequence:position, within the data, no repeats needed to be
 * sorted. DS_ERR_USAGE names the word that does not fit. */
ds_status ds_position_list_parse(ds_position_list *list, const char *words, size_t sequences, size_t length) DS_MUST_CHECK;
/* A window, "S", or one token of it, "S:P"; *token tells which, *at is S:0 for a window. DS_ERR_USAGE otherwise, naming `option`. */
ds_status ds_place_parse(ds_position *at, bool *token, const char *text, const char *option, size_t sequences,
                         size_t length) DS_MUST_CHECK;
/* Sublayers *first .. *last - 1 of "A:B", 0 <= A <= B < sublayers; NULL means all of them. DS_ERR_USAGE otherwise. */
ds_status ds_window_parse(size_t *first, size_t *last, const char *text, size_t sublayers) DS_MUST_CHECK;
void ds_position_list_release(ds_position_list *list);

#endif
