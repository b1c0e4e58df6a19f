/* Spectra of the frozen shortcut operators, one at a time and accumulated over depth, beside those of null models, of the
 * weights and of the full Jacobian: CONTRACT "spectrum". */
#ifndef DELTASCOPE_MEASURE_SPECTRUM_H
#define DELTASCOPE_MEASURE_SPECTRUM_H

#include <jansson.h>

#include "deltascope/measure/accumulated_spectra.h"
#include "deltascope/measure/double_precision_shadow.h"
#include "deltascope/measure/end_to_end_jacobian.h"
#include "deltascope/measure/weight_alignment.h"
#include "deltascope/measure/weight_spectra.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

enum { DS_SPECTRUM_SAMPLES = 1000000 }; /* single operators that may be asked for */
/* What is drawn at random follows the run's seed. */
typedef struct ds_spectrum_options {
    const char *positions;   /* tokens whose depth product is analysed, as ds_position_list_parse has them */
    const char *depths;      /* of DS_DEPTH_WORDS: with all positions, every prefix depth or the whole product only */
    const char *window;      /* sublayers "A:B"; NULL: all */
    const char *null;        /* null model beside the learned one, of DS_NULL_WORDS; NULL: none */
    const char *end_to_end;  /* "S" or "S:P": singular values of the full Jacobian of a window or of one token; NULL: none */
    bool certify;            /* proved radii and verdicts */
    bool weights;            /* spectra of the weight matrices; needs no data */
    bool by_depth;           /* of the full Jacobian, at every prefix depth; wants `end_to_end` */
    size_t count, steps;     /* of the full Jacobian: singular values, and most steps of the iteration that finds them */
    size_t samples;          /* single operators solved densely and held against theory, at most DS_SPECTRUM_SAMPLES */
    double regime_tolerance; /* how near 0, 1 and 2 a gate counts as identity, projection, reflection */
    size_t shadow;           /* windows repeated in double */
    const ds_journal_plan *journal; /* of solved tokens, with all positions; NULL: none */
} ds_spectrum_options;
#define DS_DEPTH_WORDS "every|last"
extern const ds_spectrum_options ds_spectrum_defaults;

typedef struct ds_spectrum {
    ds_spectrum_options options; /* as given; its strings are borrowed */
    bool operators;              /* there are operators and data to take them from; otherwise all up to `sweep` stays zero */
    size_t first, last;          /* sublayers first .. last-1 */
    ds_position_list positions;
    ds_depth_spectra_options spectra_options;
    ds_depth_spectra learned, null;
    ds_operator_check check;
    ds_alignment alignment;
    json_t *sweep; /* the moved eigenvalue over beta in [0,2] along one learned direction */
    ds_weight_survey weights;
    ds_end_to_end end_to_end;
    ds_shadow shadow;
} ds_spectrum;

/* DS_ERR_USAGE for options that the run has nothing for: no data, no operators, `by_depth` alone. */
ds_status ds_spectrum_measure(ds_spectrum *out, ds_run *run, const ds_spectrum_options *options) DS_MUST_CHECK;
void ds_spectrum_release(ds_spectrum *spectrum);
/* CONTRACT's results of `spectrum`; a new reference. */
ds_status ds_spectrum_json(json_t **results, ds_spectrum *spectrum) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_spectrum_results(json_t **options_json, json_t **results, ds_run *run,
                              const ds_spectrum_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
