/* What a reader sees of a token. */
#ifndef DELTASCOPE_ANALYSIS_TOKEN_LABEL_H
#define DELTASCOPE_ANALYSIS_TOKEN_LABEL_H

#include "deltascope/io.h"

/* Appends one token as a word without white space or control characters. Spaces, line ends and tabs are visible (as symbols, or
 * with `unicode` false as _, \n, \t); bytes that are not whole characters (a byte-pair piece may end within one), control
 * and direction characters, and without `unicode` everything beyond ASCII are \xNN. An id the tokenizer does not know, and
 * every id without a tokenizer (NULL), is "#ID". */
ds_status ds_token_label(ds_text *text, const ds_tokenizer *tokenizer, uint32_t id, bool unicode) DS_MUST_CHECK;

#endif
