/* Groups of runs that differ in their seed, and contrasts between them, as the results of a study or a comparison tell them. */
#ifndef DELTASCOPE_MEASURE_SEED_CONTRASTS_H
#define DELTASCOPE_MEASURE_SEED_CONTRASTS_H

#include "deltascope/io.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* An object: n, mean, sd, interval, median, diverged. */
void ds_json_put_seed_summary(ds_json_builder *b, const char *key, const ds_seed_summary *summary);
/* What a contrast says, as members of the object that is open: paired, n (null unless paired), n_a, n_b, mean, sd, interval,
 * dz, correlation, t, sign_flip, signed_ranks, welch, diverged, holm_p, equivalence, detectable_effect, verdict. */
void ds_json_put_contrast(ds_json_builder *b, const ds_contrast *contrast);

DS_END_DECLARATIONS

#endif
