/* How much of the learned directions lies where weights are strongest. */
#ifndef DELTASCOPE_MEASURE_WEIGHT_ALIGNMENT_H
#define DELTASCOPE_MEASURE_WEIGHT_ALIGNMENT_H

#include "deltascope/measure/directions.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

enum { DS_ALIGNMENT_DIRECTIONS = 8 };

/* Mean over tokens of sum_{i < q} (k . u_i)^2 / |k|^2, the share of a direction's square in the span of the q = `count`
 * singular directions with the largest values; a random direction has q / d there. */
typedef struct ds_alignment {
    size_t count, sublayers;
    double *head;    /* (S): of diag(ln_f) times the output head, on the side of the features */
    double *branch;  /* (S): of the branch's own output projection (d, .), on the side of its output */
    double residual; /* largest over all singular triplets, relative to the matrix's largest singular value */
} ds_alignment;
ds_status ds_alignment_run(ds_alignment *out, const ds_directions *directions, const ds_model *model, size_t first,
                           uint64_t seed) DS_MUST_CHECK;
void ds_alignment_release(ds_alignment *alignment);
void ds_alignment_put(ds_json_builder *b, const ds_alignment *alignment); /* appends the key "alignment" to an open object */

DS_END_DECLARATIONS

#endif
