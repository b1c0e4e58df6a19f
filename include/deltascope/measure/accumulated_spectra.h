/* Everything `spectrum` measures of directions and gates from one source, learned or null. */
#ifndef DELTASCOPE_MEASURE_ACCUMULATED_SPECTRA_H
#define DELTASCOPE_MEASURE_ACCUMULATED_SPECTRA_H

#include "deltascope/measure/certified_spectra.h"
#include "deltascope/measure/depth_distribution.h"
#include "deltascope/measure/depth_gains.h"
#include "deltascope/measure/direction_overlap.h"
#include "deltascope/measure/shortcut_operators.h"
#include "deltascope/measure/weight_alignment.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_depth_spectra_options {
    const ds_position_list *positions;
    bool every_depth; /* of all tokens: every prefix depth, or the whole product only */
    bool certify;
    uint64_t seed;
    ds_journal *journal; /* of solved tokens when all are studied; NULL without one */
} ds_depth_spectra_options;

/* Of all tokens as many are listed one by one, evenly spaced: a result must not grow with the data. */
enum { DS_LISTED_TOKENS = 1024 };

typedef struct ds_depth_spectra {
    const ds_depth_spectra_options *options;
    size_t first;                          /* sublayer of index 0 */
    size_t length, tokens;                 /* of a window; of all windows */
    size_t listed;                         /* the positions asked for; of all tokens, at most DS_LISTED_TOKENS */
    ds_directions sample;                  /* the listed tokens; of all, DS_RANK_TOKENS evenly spaced */
    ds_accumulated *accumulated;           /* (listed) */
    ds_certified *certified;               /* (listed); NULL without `certify` */
    ds_distribution distribution;          /* of all tokens */
    ds_verdict_tally tally;                /* of all tokens, with `certify` */
    double determinant_error, norm_excess; /* largest, in units of their tolerances */
    ds_overlap overlap;
    double *rank, *participation; /* (S): of each sublayer's directions over the sample */
    ds_gain_survey gains;
} ds_depth_spectra;

ds_status ds_depth_spectra_run(ds_depth_spectra *out, ds_direction_source *source,
                               const ds_depth_spectra_options *options) DS_MUST_CHECK;
void ds_depth_spectra_release(ds_depth_spectra *spectra);
/* Appends the spectra's keys to an open object, "directions" left open for more. */
ds_status ds_depth_spectra_put(ds_json_builder *b, ds_depth_spectra *spectra) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
