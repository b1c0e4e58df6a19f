/* gates --per-token: an .npz with one row a token, for notebooks. */
#ifndef DELTASCOPE_MEASURE_PER_TOKEN_ARRAYS_H
#define DELTASCOPE_MEASURE_PER_TOKEN_ARRAYS_H

#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

/* Arrays, all float64, N tokens in order of windows, S sublayers, dv channels: beta, k_norm2, eigenvalue (N, S); readout,
 * target (N, S, dv). */
typedef struct ds_per_token ds_per_token;
ds_status ds_per_token_open(ds_per_token **out, const char *path, const ds_spec *spec, size_t sequences,
                            size_t length) DS_MUST_CHECK;
ds_status ds_per_token_add(ds_per_token *file, const ds_observation *observation) DS_MUST_CHECK; /* sublayers in order */
ds_status ds_per_token_commit(ds_per_token **file) DS_MUST_CHECK;                                /* sets NULL */
void ds_per_token_discard(ds_per_token **file);                                                  /* sets NULL; NULL is fine */

DS_END_DECLARATIONS

#endif
