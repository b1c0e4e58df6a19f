/* Distributions over tokens of what the accumulated operator does, prefix depth by prefix depth: CONTRACT "distribution". */
#ifndef DELTASCOPE_MEASURE_DEPTH_DISTRIBUTION_H
#define DELTASCOPE_MEASURE_DEPTH_DISTRIBUTION_H

#include <jansson.h>

#include "deltascope/delta.h"
#include "deltascope/measure/directions.h"
#include "deltascope/measure/product_pool.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* Per prefix depth t, of P = A_{t-1} ... A_0. "Span" restricts P to the span of its directions, where it is not the
 * identity. */
typedef enum ds_depth_quantity {
    DS_DEPTH_LOG_ABS_DET,
    DS_DEPTH_NORM2,
    DS_DEPTH_SMALLEST,
    DS_DEPTH_SPECTRAL_RADIUS,
    DS_DEPTH_DEPARTURE,
    DS_DEPTH_MEAN_SQUARE,
    DS_DEPTH_FROBENIUS_DEFECT,
    DS_DEPTH_COMPLEX_SHARE,
    DS_DEPTH_SPAN_NORM2,
    DS_DEPTH_SPAN_RADIUS,
    DS_DEPTH_ROW_GAIN,    /* max_i |sum_j P_ij| */
    DS_DEPTH_COLUMN_GAIN, /* max_j |sum_i P_ij| */
    DS_DEPTH_QUANTITIES
} ds_depth_quantity;
extern const char *const ds_depth_names[DS_DEPTH_QUANTITIES]; /* keys of the JSON */

typedef struct ds_distribution {
    size_t sublayers, hidden, order; /* order = min(S, d) */
    bool every_depth;                /* false: the whole product only */
    uint64_t tokens;
    ds_summary *depths;    /* (S, DS_DEPTH_QUANTITIES) */
    ds_summary *exponents; /* (order): log sigma_i / S of the whole product, i ascending: its finite-depth Lyapunov exponents */
    double *singular_bound;                /* (S): largest estimated error of a singular value over tokens */
    double determinant_error, norm_excess; /* largest, in units of their tolerances, over tokens and depths */
    /* work space */
    ds_product_pool pool;
    double *scratch;           /* (threads, d) */
    double *singular;          /* (threads, order) */
    struct ds_depth_row *rows; /* (chunk, S) */
    double *row_exponents;     /* (chunk, order) */
    double *column;            /* (chunk) */
    ds_journal *journal;       /* NULL without one */
    ds_ranks *ranks;           /* that solve tokens together; NULL: this process alone */
    const char *kind;          /* of its records: one for each token */
    double *records;           /* (chunk, record): rows, exponents; NULL where nobody wants them */
    bool *known;               /* (chunk): found in the journal, or come in; with `records` */
} ds_distribution;

ds_status ds_distribution_init(ds_distribution *out, size_t sublayers, size_t hidden, bool every_depth) DS_MUST_CHECK;
void ds_distribution_release(ds_distribution *distribution);
/* Call before adding: solved tokens are kept in `journal` as records `kind`, those found there are not solved again, and
 * `ranks` share the others; all add the same tokens. Both may be NULL. */
ds_status ds_distribution_keep(ds_distribution *distribution, ds_journal *journal, const char *kind,
                               ds_ranks *ranks) DS_MUST_CHECK;
/* Adds tokens; they are solved in parallel and added in order. DS_ERR_SYSTEM when an identity that holds for every product does
 * not: log|det| against singular values, norm at most 1 where every b is in [0,2]. `first` numbers the first token. */
ds_status ds_distribution_add(ds_distribution *distribution, const ds_directions *directions, size_t first) DS_MUST_CHECK;
/* Appends the keys "distribution" and "lyapunov" to an open object. */
void ds_distribution_put(ds_json_builder *b, ds_distribution *distribution);

/* error / tolerance; 0 where nothing was compared; a NaN stays. */
double ds_identity_breach(double error, double tolerance);
/* DS_OK when the identities of a product hold; otherwise DS_ERR_SYSTEM naming it. */
ds_status ds_identities_check(const ds_product_summary *summary, const char *what, size_t number) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
