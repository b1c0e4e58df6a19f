/* Spectra of the weight matrices: CONTRACT "weights". */
#ifndef DELTASCOPE_MEASURE_WEIGHT_SPECTRA_H
#define DELTASCOPE_MEASURE_WEIGHT_SPECTRA_H

#include "deltascope/model.h"
#include "deltascope/spectra.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* A matrix (rows, columns), row-major. */
typedef struct ds_weight_matrix {
    size_t rows, columns;
    ds_dtype stored; /* what its values were rounded to */
} ds_weight_matrix;

/* The singular values without those above the edge: as many of independent entries would follow the law of Marchenko and Pastur
 * (1967). Spikes, k of them, leave a bulk that is like a matrix with k rows and k columns fewer. */
typedef struct ds_bulk {
    size_t outliers;   /* singular values beyond edge + widths edge_width */
    double edge;       /* s (sqrt(rows) + sqrt(columns)), s the root mean square entry of the bulk: where it ends */
    double edge_width; /* s/2 (1/sqrt(rows) + 1/sqrt(columns))^(1/3): how far the largest one strays from it (Tracy, Widom) */
    double distance;   /* largest difference between how many values of the bulk are below one of them and how many the law
                          expects there. Neighbours repel: of n it is about sqrt(2)/pi ln n, not sqrt(n) */
} ds_bulk;
/* singular ascending. A value counts as an outlier beyond so many widths; at most half of them do. */
void ds_bulk_fit(ds_bulk *out, const double *singular, size_t rows, size_t columns, double widths);

/* What the singular values sigma_i of one matrix say. Power laws are fitted to the eigenvalues sigma_i^2 of W^T W, as in the
 * literature on heavy-tailed self-regularisation (Martin and Mahoney 2021), of the `rank` largest. */
typedef struct ds_matrix_spectrum {
    ds_weight_matrix matrix;
    double spectral_norm, frobenius, stable_rank, effective_rank;
    double bound;    /* estimated error of every singular value */
    double rounding; /* u ||W||_F + t sqrt(rows columns) + bound: with entries off by at most u |W_ij| + t (ds_dtype_rounding),
                        the matrix that was rounded is within it of W in the Frobenius norm, so is each singular value (Weyl) */
    size_t rank;     /* singular values above `rounding`: what rounds to W has no lower rank */
    ds_power_law tail, whole;   /* of the best tail, and of the best one of at least DS_TAIL_SHARE of the `rank` largest */
    double alpha_stderr;        /* of the tail's exponent, the search for xmin in it (ds_power_law_spread) */
    ds_power_law weightwatcher; /* of all sigma_i^2, by the rule of that program; rank at least DS_LEAST_TAIL */
    double mp_edge;             /* the edge were all of the matrix bulk */
    size_t above_mp_edge;       /* singular values above it */
    ds_bulk bulk;               /* at DS_EDGE_WIDTHS */
    ds_statistics singular_values;
} ds_matrix_spectrum;

/* singular (min(rows, columns)) ascending. `seed`: of the resamples for alpha_stderr. svd of at least that size. */
ds_status ds_matrix_spectrum_compute(ds_matrix_spectrum *out, double *singular, const double *values,
                                     const ds_weight_matrix *matrix, uint64_t seed, ds_svd *svd) DS_MUST_CHECK;

/* Words for a spectrum. How often each is wrong on matrices of known kind: src/stats/README.md. */
typedef enum ds_shape {
    DS_SHAPE_UNDECIDED, /* moving the thresholds by DS_SHAPE_SHARE leads to different words */
    DS_SHAPE_TOO_SMALL, /* fewer than DS_LEAST_VALUES singular values */
    DS_SHAPE_ZERO,
    DS_SHAPE_LOW_RANK,  /* rank at most DS_LOW_RANK_SHARE of the singular values */
    DS_SHAPE_ISOMETRY,  /* all singular values equal to rounding: a multiple of an identity, orthogonal matrix, ... */
    DS_SHAPE_RANDOM,    /* a bulk, no outlier: as independent entries would have it */
    DS_SHAPE_SPIKED,    /* a bulk and outliers, at most DS_OUTLIER_SHARE of the singular values */
    DS_SHAPE_POWER_LAW, /* no bulk; a power law of nearly all singular values is not rejected */
    DS_SHAPE_NO_FIT,    /* none of these */
    DS_SHAPE_COUNT
} ds_shape;
const char *ds_shape_name(ds_shape shape);
enum { DS_LEAST_VALUES = 16, DS_LEAST_TAIL = 10 };
#define DS_EDGE_WIDTHS 3.0
#define DS_LOW_RANK_SHARE 0.5
#define DS_OUTLIER_SHARE 0.25
#define DS_TAIL_SHARE 0.9 /* half the values of most matrices pass for a power law */
#define DS_SHAPE_SHARE 0.1

/* How far a bulk may be from the law: of n values by sqrt(2)/pi ln n + DS_BULK_DISTANCE, beyond the edge by DS_EDGE_WIDTHS
 * widths. Where independent entries of this kind (few, or heavy-tailed) go further, so may the bulk, but then it has to be like
 * theirs. */
#define DS_BULK_DISTANCE 1.25
typedef struct ds_bulk_limits {
    double distance, widths;
    const double *shuffled; /* (shuffles * singular values) those of all shuffles, ascending; NULL: the law is enough */
    size_t shuffles;
    double edge;   /* of the shuffled bulk */
    double spread; /* how far one of the shuffles is from the mean of the others, in values */
} ds_bulk_limits;
ds_bulk_limits ds_bulk_limits_of(size_t singular_values);

typedef struct ds_shape_verdict {
    ds_shape shape;
    bool stable;                       /* no threshold decides: the word is the same with each moved up or down */
    bool alternatives[DS_SHAPE_COUNT]; /* of an undecided spectrum: the words it lies between */
} ds_shape_verdict;
ds_shape_verdict ds_shape_judge(const ds_matrix_spectrum *spectrum, const double *singular, const ds_bulk_limits *limits);

/* One matrix, the same entries in random order (what is left is not structure), and the verdict. `values` are left in random
 * order. Where the shuffled entries leave the limits of a bulk, DS_MORE_SHUFFLES more say how far independent entries of this
 * kind go: as the entries of a matrix without structure are one order among them, it goes beyond all in any one respect with
 * probability at most 1 / (DS_MORE_SHUFFLES + 2). */
enum { DS_MORE_SHUFFLES = 19 };
typedef struct ds_weight_shape {
    ds_matrix_spectrum learned, shuffled;
    ds_shape_verdict verdict;
} ds_weight_shape;
ds_status ds_weight_shape_find(ds_weight_shape *out, double *values, const ds_weight_matrix *matrix, uint64_t seed,
                               ds_svd *svd) DS_MUST_CHECK;

typedef struct ds_weight_spectrum {
    const ds_parameter *parameter;
    ds_weight_shape shape;
} ds_weight_spectrum;

typedef struct ds_weight_survey {
    size_t count;
    ds_weight_spectrum *spectra; /* (count): every parameter of rank 2 with both extents above 1, in the model's order */
} ds_weight_survey;
ds_status ds_weight_survey_run(ds_weight_survey *out, const ds_model *model, uint64_t seed) DS_MUST_CHECK;
void ds_weight_survey_release(ds_weight_survey *survey);
/* The keys "weights" and "weights_thresholds" of an open object. */
void ds_weight_survey_put(ds_json_builder *b, const ds_weight_survey *survey);

DS_END_DECLARATIONS

#endif
