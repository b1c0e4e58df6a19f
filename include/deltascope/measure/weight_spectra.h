/* Spectra of the weight matrices: CONTRACT "weights". */
#ifndef DELTASCOPE_MEASURE_WEIGHT_SPECTRA_H
#define DELTASCOPE_MEASURE_WEIGHT_SPECTRA_H

#include "deltascope/model.h"
#include "deltascope/stats.h"
#include "deltascope/spectra.h"

DS_BEGIN_DECLARATIONS

/* What the singular values sigma_i of one matrix say. The power law is fitted to the eigenvalues sigma_i^2 of W^T W, as in the
 * literature on heavy-tailed self-regularisation (Martin and Mahoney 2021). */
typedef struct ds_matrix_spectrum {
    double spectral_norm, frobenius, stable_rank, effective_rank;
    double bound; /* estimated error of every singular value */
    ds_power_law tail;
    double mp_edge;    /* s (sqrt(rows) + sqrt(columns)), s the root mean square entry: where the singular values of a matrix
                             of independent entries of that size end (Marchenko and Pastur 1967) */
    double edge_width; /* s/2 (1/sqrt(rows) + 1/sqrt(columns))^(1/3): how far the largest one strays from it (Tracy, Widom) */
    size_t above_mp_edge; /* singular values above the edge */
    size_t outliers;      /* more than `DS_EDGE_WIDTHS` widths above it */
    ds_statistics singular_values;
} ds_matrix_spectrum;

typedef enum ds_shape {
    DS_SHAPE_UNDETERMINED, /* fewer than DS_LEAST_VALUES singular values */
    DS_SHAPE_RANDOM,       /* no outlier: as independent entries would have it */
    DS_SHAPE_SPIKED,       /* a bulk and outliers, no power law as below */
    DS_SHAPE_HEAVY,        /* outliers, and a power law, not rejected, of at least half the values with 2 <= alpha <= 6 */
    DS_SHAPE_VERY_HEAVY,   /* the same with alpha < 2 */
    DS_SHAPE_COUNT
} ds_shape;
const char *ds_shape_name(ds_shape shape);
enum { DS_LEAST_VALUES = 16, DS_LEAST_TAIL = 10 };
#define DS_EDGE_WIDTHS 3.0
#define DS_ALPHA_HEAVY 6.0
#define DS_ALPHA_VERY_HEAVY 2.0
/* Independent entries pass for a power law of exponent 3 to 10 over up to a third of their values: alpha alone says little. */
#define DS_TAIL_SHARE 0.5

/* The verdict, and whether it stays when its thresholds (outlier widths, exponents, critical distance, tail share) are moved
 * by DS_SHAPE_SHARE. */
typedef struct ds_shape_verdict {
    ds_shape shape;
    bool alternatives[DS_SHAPE_COUNT]; /* reached when thresholds move; the verdict itself not marked */
    bool stable;                       /* none is */
} ds_shape_verdict;
#define DS_SHAPE_SHARE 0.1
ds_shape_verdict ds_shape_judge(const ds_matrix_spectrum *spectrum, const double *singular, size_t count);

/* singular (min(rows, columns)) ascending. values (rows, columns) row-major; svd of at least that size. */
ds_status ds_matrix_spectrum_compute(ds_matrix_spectrum *out, double *singular, const double *values, size_t rows,
                                     size_t columns, ds_svd *svd) DS_MUST_CHECK;

typedef struct ds_weight_spectrum {
    const ds_parameter *parameter;
    ds_matrix_spectrum learned;
    ds_matrix_spectrum shuffled; /* the same entries in random order: what is left is not structure */
    ds_shape_verdict verdict;
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
