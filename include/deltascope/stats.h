/* stats: sums, summaries, quantiles, histograms, correlation, power-law tails, paired differences, contrasts of seeds. The only
 * room that uses GSL.
 *
 * Everything here is deterministic: the same values in the same order give the same bits, whatever the number of threads. */
#ifndef DELTASCOPE_STATS_H
#define DELTASCOPE_STATS_H

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* A sum carried in twice the working precision: high + low, low at most half an ulp of high (Knuth's two-sum after every
 * addition). The rounding error of n additions is below u |sum| + 2 n u^2 sum|x_i|, u = 2^-53. Zero-initialise. */
typedef struct ds_sum {
    double high, low;
} ds_sum;

static inline void ds_sum_add(ds_sum *sum, double x) {
    double s = sum->high + x, b = s - sum->high;
    double tail = ((sum->high - (s - b)) + (x - b)) + sum->low;
    sum->high = s + tail;
    sum->low = tail - (sum->high - s);
}
static inline double ds_sum_value(const ds_sum *sum) { return sum->high + sum->low; }

/* Of values[count]; NaN when count is 0. */
double ds_mean(const double *values, size_t count);

/* ---- summary ----------------------------------------------------------------------------------------------------- */

enum { DS_QUANTILES = 7, DS_SUMMARY_CAPACITY = 1 << 17 };
/* 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99 and how CONTRACT spells them. */
extern const double ds_quantile_levels[DS_QUANTILES];
extern const char *const ds_quantile_names[DS_QUANTILES];

/* CONTRACT's statistics object. All NaN when count is 0. With an infinity among the values mean is infinite (or NaN when both
 * signs occur) and std NaN; min, max and quantiles stay meaningful. */
typedef struct ds_statistics {
    uint64_t count;
    double mean, std; /* population: divided by count */
    double min, max;
    double quantiles[DS_QUANTILES]; /* linear interpolation between order statistics x_(i), i = level * (count - 1) */
    double quantile_rank_error;     /* 0: exact. Otherwise each quantile is an element whose rank is off by at most this
                                       fraction of count, a proved worst case */
} ds_statistics;

/* Streaming statistics of one quantity. Mean and std come from twice-working-precision sums about the first value: correct
 * to a few ulp even when std is 1e-12 of the mean. Quantiles are exact while count <= capacity; beyond that the same memory
 * holds the buffers of Manku, Rajagopalan and Lindsay's deterministic sketch (SIGMOD 1998), whose rank error is tracked:
 * 0.0003 of count at 30 million values and the default capacity. Memory grows to 8 * capacity bytes and no further.
 * Fields are private; zero-initialised is a valid argument of ds_summary_release. */
typedef struct ds_summary {
    struct ds_summary_moments {
        uint64_t count;
        double origin;       /* the first value */
        ds_sum sum, squares; /* of x - origin and its square */
        uint64_t plus_infinities, minus_infinities;
        double min, max;
    } moments;
    struct ds_sketch *sketch;
} ds_summary;

/* `capacity`: how many values to hold before approximating (0: DS_SUMMARY_CAPACITY), rounded up to a power of two, at least
 * 256. */
ds_status ds_summary_init(ds_summary *summary, size_t capacity) DS_MUST_CHECK;
void ds_summary_release(ds_summary *summary);
/* Adds values[count] in order. A NaN is refused (DS_ERR_INPUT naming its index among all values added so far), nothing of
 * this call having been added. */
ds_status ds_summary_add(ds_summary *summary, const double *values, size_t count) DS_MUST_CHECK;
/* Adds all that `other` (same capacity) has seen. */
ds_status ds_summary_merge(ds_summary *summary, const ds_summary *other) DS_MUST_CHECK;
/* So far; more values may follow. Sorts in place, allocates nothing. */
ds_statistics ds_summary_statistics(ds_summary *summary);
/* One quantile, level in [0, 1]; NaN when empty. */
double ds_summary_quantile(ds_summary *summary, double level);
/* Of an array at once, exact, values unchanged. NaN is refused as by ds_summary_add. */
ds_status ds_statistics_compute(ds_statistics *out, const double *values, size_t count) DS_MUST_CHECK;

/* ---- histogram --------------------------------------------------------------------------------------------------- */

/* Bin i counts edges[i] <= x < edges[i+1]; the last bin also counts x = edges[bins] (numpy's convention). */
typedef struct ds_histogram {
    size_t bins;
    double *edges;         /* (bins + 1), increasing; edges[i] = low + (high - low) * i / bins */
    uint64_t *counts;      /* (bins) */
    uint64_t below, above; /* values outside [low, high], infinities included */
} ds_histogram;

ds_status ds_histogram_init(ds_histogram *histogram, double low, double high, size_t bins) DS_MUST_CHECK;
void ds_histogram_release(ds_histogram *histogram);
/* A NaN is refused (DS_ERR_INPUT), nothing of this call having been counted. */
ds_status ds_histogram_add(ds_histogram *histogram, const double *values, size_t count) DS_MUST_CHECK;
/* Adds the counts of `other`, which has the same edges. */
ds_status ds_histogram_merge(ds_histogram *histogram, const ds_histogram *other) DS_MUST_CHECK;

/* ---- comparison of two conditions over sequences ----------------------------------------------------------------- */

enum {
    DS_BOOTSTRAP_RESAMPLES = 10000,
    DS_PAIRED_LEAST = 4,     /* sequences; fewer give neither an interval nor a p-value */
    DS_PAIRED_ENUMERATED = 8 /* up to so many sequences every resample is counted, none drawn */
};
/* A difference counts when its adjusted p-value is below. */
#define DS_SIGNIFICANCE 0.05

/* The mean of paired differences, where it may lie, and how surprising it would be if it were 0. */
typedef struct ds_paired {
    double mean;
    double low, high; /* 95% interval of the mean; NaN when there is none */
    double p_value;   /* two-sided, of mean 0; NaN for fewer than DS_PAIRED_LEAST sequences */
} ds_paired;

/* How results name it. */
extern const char ds_paired_method[];

/* Row c of differences (cases, n) holds case c's per-sequence differences; each row gives what it would give alone: the
 * sequences drawn are the same for all rows. Sequences are resampled with replacement, and t* = (mean* - mean) / (s* / sqrt(n))
 * of every resample says how (mean - truth) / (s / sqrt(n)) varies, skewness included (bootstrap-t; Efron 1981, Hall 1988). All
 * resamples are counted for n up to DS_PAIRED_ENUMERATED; beyond, `resamples` are drawn from `seed` (0: the default above), and
 * the sample itself counts as one more. Either tail is at least Student's, so that for normal differences nothing claims more
 * than the t test, however few they are.
 *   Interval: of width 0 when all differences are equal; none when more than 2.5% of the resamples are equal values on one side
 *   of the mean.
 *   p-value: twice the smaller tail. p <= 0.05 exactly where the interval does not hold 0, but for rounding.
 * How often the interval holds the truth is in src/stats/README.md. NaN or infinity among the differences is DS_ERR_INPUT
 * naming case and sequence. */
ds_status ds_paired_bootstrap(ds_paired *out, const double *differences, size_t cases, size_t n, size_t resamples,
                              uint64_t seed) DS_MUST_CHECK;

/* How many resamples let a p-value fall below DS_SIGNIFICANCE after Holm's adjustment over so many hypotheses, with hits to
 * spare. */
size_t ds_paired_resamples(size_t hypotheses);
/* The smallest p-value n sequences can give; NaN where they give none. */
double ds_paired_smallest_p(size_t n, size_t resamples);
/* The fewest sequences with which a p-value can fall below DS_SIGNIFICANCE after Holm's adjustment over so many hypotheses. */
size_t ds_paired_needed(size_t hypotheses);

/* Holm's step-down adjustment over the p_values that are not NaN (those stay NaN and are not counted as hypotheses). adjusted
 * may be p_values. */
ds_status ds_holm_adjust(double *adjusted, const double *p_values, size_t count) DS_MUST_CHECK;

/* ---- seeds as the sampling unit ---------------------------------------------------------------------------------- */

/* Final losses of training runs, or other numbers of which lower is better, one a run; what a run that diverged has in its
 * place is NaN or an infinity, and it is never left out in silence. Intervals are 95%, by Student's t, and NaN where there are
 * fewer than two finite values. Deviations within the rounding of the values themselves are a standard deviation of 0: the
 * interval is then [mean, mean], and there is no p-value. How often all this errs is in src/stats/README.md. */

typedef struct ds_seed_summary {
    size_t n, diverged; /* finite values, and the others */
    double mean, sd;    /* of the finite ones, divided by n - 1: given no divergence */
    double low, high;   /* mean -+ t(n - 1, 0.975) sd / sqrt(n) */
    double median;      /* of all, a diverged run being the worst; an infinity where that is the median */
} ds_seed_summary;
ds_status ds_seed_summarise(ds_seed_summary *out, const double *values, size_t count) DS_MUST_CHECK;

enum { DS_SIGN_FLIP_ENUMERATED = 20, DS_SIGN_FLIP_DRAWS = 100000 };
/* How surprising the mean of differences is that are as likely to have the other sign. */
typedef struct ds_sign_flip {
    double p;          /* share of patterns of signs whose mean is as far from 0, either way */
    uint64_t patterns; /* 2^n, all of them, or so many drawn; these count the differences as they are as one more */
    double smallest_p; /* 2 / 2^n; of draws 1 / (patterns + 1) */
} ds_sign_flip;
/* Of finite differences; all NaN where n is 0. Means equal but for rounding are equally far. O(2^n). */
ds_sign_flip ds_sign_flip_test(const double *differences, size_t n, uint64_t seed);

typedef enum ds_contrast_verdict {
    DS_CONTRAST_UNRESOLVED,
    DS_CONTRAST_BETTER,
    DS_CONTRAST_WORSE,
    DS_CONTRAST_EQUIVALENT
} ds_contrast_verdict;
extern const char *const ds_contrast_verdict_names[];

/* mean -+ t(df, 0.975) error, and the test that the truth is 0. */
typedef struct ds_t_inference {
    double mean, error, df, low, high;
    double statistic, p; /* two-sided */
} ds_t_inference;

typedef struct ds_contrast {
    bool paired;
    size_t n_a, n_b; /* finite values of either side; paired: pairs of them */
    size_t diverged_a, diverged_b;
    double sd, dz, correlation; /* of the differences, mean / sd, of a with b; NaN unless paired */
    ds_t_inference t;           /* of a - b; unpaired: Welch's */
    ds_t_inference welch;       /* of all finite values, as if nothing were paired */
    ds_sign_flip sign_flip;     /* NaN unless paired and not crossed */
    ds_sign_flip ranks;         /* the same of the signed ranks, a diverged run being the worst: of all pairs */
    double divergence_p;        /* McNemar's, of one side diverging more often; NaN unless paired */
    struct {
        double margin, low, high, p; /* the 90% interval; the larger p of two one-sided t tests */
        bool equivalent;             /* both ends inside the margin */
    } equivalence;
    struct {
        double power, alpha, effect; /* the smallest true difference found so often, were errors as they are seen here */
    } detectable;
    double holm_p; /* by ds_contrasts_judge, as is the verdict */
    ds_contrast_verdict verdict;
} ds_contrast;

#define DS_DETECTABLE_POWER 0.8
/* Of nats: differences no larger are of no consequence, unless a plan says otherwise. */
#define DS_EQUIVALENCE_MARGIN 0.005

/* Of a[count] - b[count], pair by pair. `seed`: of drawn sign patterns. Holm's p is the contrast's own until judged. */
ds_status ds_contrast_paired(ds_contrast *out, const double *a, const double *b, size_t count, double margin,
                             uint64_t seed) DS_MUST_CHECK;
/* Of runs whose seeds are crossed: a, b (rows, columns), a row one seed of initial weights, a column one of data. Cells of one
 * row or column are not independent: the error of the mean is ds_two_way's, of the differences, and NaN where a run diverged.
 * One row or column: as ds_contrast_paired. */
ds_status ds_contrast_crossed(ds_contrast *out, const double *a, const double *b, size_t rows, size_t columns, double margin,
                              uint64_t seed) DS_MUST_CHECK;
/* Of two groups that share nothing. */
ds_status ds_contrast_unpaired(ds_contrast *out, const double *a, size_t count_a, const double *b, size_t count_b,
                               double margin) DS_MUST_CHECK;
/* Holm's p over all contrasts, and verdicts. With a primary contrast (an index; SIZE_MAX: none) that one is tested alone first,
 * and the others count only if it does: their p is at least its p.
 *   better, worse: holm_p < DS_SIGNIFICANCE, a having the lower or the higher mean; also differences all equal and not 0.
 *   equivalent: none of these, and inside the margin; also differences all 0. Not adjusted for their number.
 *   unresolved: the rest; what could have been seen is `detectable`. */
ds_status ds_contrasts_judge(ds_contrast *contrasts, size_t count, size_t primary) DS_MUST_CHECK;

/* P(|t| > t(df, 1 - alpha/2)) of a statistic with mean `noncentrality`: (Z + noncentrality) / sqrt(chi^2_df / df). To 1e-10. */
double ds_t_power(double df, double noncentrality, double alpha);
/* What a true difference must be, over the standard error of its estimate, to be found with this power; NaN for df < 1. */
double ds_t_detectable(double df, double power, double alpha);
/* The fewest pairs that find a difference of `effect` standard deviations; at least 2, and 0 for more than a million. */
size_t ds_seeds_needed(double effect, double power, double alpha);

/* Whether the mean of runs is below a target: one-sided p of Student's t. */
typedef struct ds_target_test {
    ds_seed_summary runs;
    double target, statistic, df, p;
} ds_target_test;
ds_status ds_target_compare(ds_target_test *out, const double *values, size_t count, double target) DS_MUST_CHECK;

/* Ratios above 0, one a seed, such as tokens needed by two variants; others are censored: counted and left out. */
typedef struct ds_ratio_summary {
    size_t n, censored;
    double geometric_mean, low, high, p; /* interval and p of ratio 1 by Student's t of the logarithms */
} ds_ratio_summary;
ds_status ds_ratios_summarise(ds_ratio_summary *out, const double *ratios, size_t count) DS_MUST_CHECK;

/* McNemar's exact test: of seeds at which one side alone had an event, whether it is one side more often. Two-sided; 1 for
 * none. */
double ds_mcnemar(size_t only_a, size_t only_b);

/* values (rows, columns), one run a cell: row and column effects drawn at random, and what is left. Components by the method of
 * moments: they are unbiased, and where one is negative nothing is to be seen of it. */
typedef struct ds_two_way {
    double mean, rows, columns, rest; /* variances */
    double error, df; /* of the mean: by rows and columns (Satterthwaite's df), rows alone or columns alone, what is widest */
} ds_two_way;
/* All but the mean NaN with less than two rows or columns, or where a value is not finite. */
ds_two_way ds_two_way_split(const double *values, size_t rows, size_t columns);

/* The standard error that a finite validation set leaves in a mean difference: differences (seeds, windows), averaged over the
 * seeds; over the independent windows the series is worth (ds_serial_correlation), if it is worth fewer. NaN for less than
 * two. */
ds_status ds_window_error(double *error, const double *differences, size_t seeds, size_t windows) DS_MUST_CHECK;

/* ---- correlation ------------------------------------------------------------------------------------------------- */

enum { DS_CORRELATION_LEAST = 5 }; /* pairs; fewer give no interval */

typedef struct ds_correlation {
    double coefficient; /* NaN when n < 2 or one side is constant */
    double low, high;   /* 95%; NaN when there is none */
} ds_correlation;

/* How results name the intervals. */
extern const char ds_correlation_method[];

/* tanh(z -+ h), z = atanh(r). h is the larger of 1.96 standard errors as for normal pairs and of Student's quantile, n - 1
 * degrees of freedom, times the jackknife's standard error of z, which sees what tails and skewness do. How often the interval
 * holds the truth is in src/stats/README.md.
 *   Pearson: standard error for normal pairs 1 / sqrt(n - 3) (Fisher). No interval when all points lie on a line.
 *   Spearman, of midranks: sqrt((1 + r^2/2) / (n - 3)) (Bonett and Wright 2000). Next to r = 1 comes 1 - 12/(n^3 - n), two
 *   neighbours exchanged: half way there is as far out as n ranks can tell, z goes no further, and the interval then ends at 1.
 * NaN or infinity is DS_ERR_INPUT. O(n^2), Spearman O(n^2 log n). */
ds_status ds_pearson(ds_correlation *out, const double *x, const double *y, size_t n) DS_MUST_CHECK;
ds_status ds_spearman(ds_correlation *out, const double *x, const double *y, size_t n) DS_MUST_CHECK;

/* What neighbours in a series of values say about its mean. NaN for fewer than 8 values, and where all are equal. */
typedef struct ds_serial {
    double lag1;      /* r = sum_{i<n-1} (x_i - mean)(x_{i+1} - mean) / sum_i (x_i - mean)^2 */
    double effective; /* n (1 - r) / (1 + r), within [1, n]: independent values that say as much, were correlation r^lag */
} ds_serial;
ds_serial ds_serial_correlation(const double *values, size_t n);

/* The law of Marchenko and Pastur (1967): the share of eigenvalues at most x of G^T G / m, for a large matrix G (m,n) of
 * independent entries of variance 1, 0 < n / m = ratio <= 1. 0 below (1 - sqrt(ratio))^2, 1 above (1 + sqrt(ratio))^2. */
double ds_marchenko_pastur(double x, double ratio);

/* ---- power-law tails --------------------------------------------------------------------------------------------- */

/* The density x^-alpha for x >= xmin, fitted to the upper tail of some positive values (Clauset, Shalizi and Newman 2009). All
 * NaN and tail 0 when there are too few values. */
typedef struct ds_power_law {
    double alpha, alpha_stderr; /* maximum likelihood: 1 + n / sum ln(x_i / xmin); (alpha - 1) / sqrt(n), as if xmin were known
                                   and hence too small: ds_power_law_spread */
    double xmin;                /* the value whose tail has the smallest distance */
    double ks;                  /* Kolmogorov-Smirnov distance between the tail and the fit */
    size_t tail;                /* n: values >= xmin */
} ds_power_law;

/* Of values[count], unchanged; those not above 0 are left out. Only tails of at least `least` (> 1) values are considered. NaN
 * or infinity is DS_ERR_INPUT naming its index. O(count^2). */
ds_status ds_power_law_fit(ds_power_law *out, const double *values, size_t count, size_t least) DS_MUST_CHECK;
/* By the rule of WeightWatcher and of the program powerlaw behind it: values above DS_WEIGHTWATCHER_FLOOR, every tail of two or
 * more, and the distance |fit(x_i) - i/n| for i = 0, 1, ... before each step alone. A tail of a few values may win. */
#define DS_WEIGHTWATCHER_FLOOR 1e-5
ds_status ds_power_law_fit_weightwatcher(ds_power_law *out, const double *values, size_t count) DS_MUST_CHECK;
/* The standard error of ds_power_law_fit's alpha, the search for xmin in it: half the distance from the 15.9th to the 84.1st
 * percentile of the exponents of DS_POWER_LAW_DRAWS resamples of the values. NaN where nothing is fitted. It takes the values
 * for independent draws; coverage: src/stats/README.md. O(draws count^2) at most. */
enum { DS_POWER_LAW_DRAWS = 100 };
ds_status ds_power_law_spread(double *spread, const double *values, size_t count, size_t least, uint64_t seed) DS_MUST_CHECK;
/* Whether the tail's distance is larger than chance makes it at the 5% level: ln(x/xmin) is exponential with an estimated mean,
 * (D - 0.2/n)(sqrt n + 0.26 + 0.5/sqrt n) > critical, 1.094 (Stephens 1974). As xmin was searched for, this rejects too rarely.
 * True when nothing was fitted. */
#define DS_POWER_LAW_CRITICAL 1.094
bool ds_power_law_rejected(const ds_power_law *fit, double critical);

/* Appends "NAME VERSION" lines of the libraries this room runs with. */
ds_status ds_stats_libraries(ds_text *text) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
