/* Text in HTML and SVG: whatever is not a literal of ours is escaped, where it is put in and by nobody else. */
#ifndef DELTASCOPE_REPORT_MARKUP_H
#define DELTASCOPE_REPORT_MARKUP_H

#include "deltascope/base.h"

/* Appends `format`, our own markup, with its %s and %.*s escaped for element content and for attributes in double quotes: marks
 * that mean something there as entities, hidden characters and broken UTF-8 as \xNN. Of numbers it knows %zu, %d and %g with a
 * precision. */
ds_status ds_markup(ds_text *text, const char *format, ...) DS_PRINTF(2, 3) DS_MUST_CHECK;

#endif
