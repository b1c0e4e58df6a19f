/* Which of several names somebody may have meant. Private to model. */
#ifndef DELTASCOPE_MODEL_NEAREST_H
#define DELTASCOPE_MODEL_NEAREST_H

#include "deltascope/base.h"

enum { DS_NEAREST_LONGEST = 128 }; /* a longer name is near to none */

/* Edits (a letter put in, left out, or another; two neighbours swapped) that turn one name into the other, in small letters and
 * without "_", "-" and "."; `most` + 1 when there are more than `most`, or a name is longer than DS_NEAREST_LONGEST. */
size_t ds_edits(const char *left, const char *right, size_t most);
/* How many edits a misspelling of a name of this length may have: none below 5 letters, 1 below 12, otherwise 2. */
size_t ds_likely_edits(const char *name);

#endif
