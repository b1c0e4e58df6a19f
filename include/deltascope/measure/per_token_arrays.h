/* gates --per-token: an .npz with one row a token, for notebooks. */
#ifndef DELTASCOPE_MEASURE_PER_TOKEN_ARRAYS_H
#define DELTASCOPE_MEASURE_PER_TOKEN_ARRAYS_H

#include <jansson.h>

#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* Arrays, N tokens in order of windows, S sublayers, dv channels. int32: ids, targets (N); position (N) in the window. int64:
 * window (N), the first token of it. float64: loss (N), of the target, nats; beta, k_norm2, eigenvalue (N, S); readout, target
 * (N, S, dv). Text: sublayers (S). uint8: meta, the envelope of the result in UTF-8. */
typedef struct ds_per_token ds_per_token;
/* DS_ERR_USAGE for a name that does not end in .npz: numpy would not know the file. */
ds_status ds_per_token_check(const char *path) DS_MUST_CHECK;
ds_status ds_per_token_open(ds_per_token **out, const char *path, const ds_run *run) DS_MUST_CHECK;
/* Of a batch: what each sublayer did, in order, then its tokens with their losses (windows, T). */
ds_status ds_per_token_add(ds_per_token *file, const ds_observation *observation) DS_MUST_CHECK;
ds_status ds_per_token_end_batch(ds_per_token *file, const ds_window_batch *batch, const double *loss) DS_MUST_CHECK;
ds_status ds_per_token_commit(ds_per_token **file, const json_t *envelope) DS_MUST_CHECK; /* sets NULL */
void ds_per_token_discard(ds_per_token **file);                                           /* sets NULL; NULL is fine */

DS_END_DECLARATIONS

#endif
