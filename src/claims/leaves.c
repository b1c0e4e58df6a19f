/* The table that says of every leaf of every result how far two honest runs may differ.
 *
 * Bounds are the results' own, of numbers that LAPACK makes: its kernels differ by processor. What follows from such numbers
 * and states no bound has an allowance here, far above what kernels were seen to differ by (a few 1e-15, 1e-9 where a
 * logarithm or a tiny singular value amplifies) and at most 1e-6 of its scale, unless its row says why. */
#include <math.h>
#include <string.h>

#include "deltascope/claims.h"

#define OWN(path)                                                                                                              \
    { path, DS_LEAF_EXACT, true, NULL, 0, NULL, NULL }
#define EXACT(path)                                                                                                            \
    { path, DS_LEAF_EXACT, false, NULL, 0, NULL, NULL }
#define BOUNDED(path, bound)                                                                                                   \
    { path, DS_LEAF_BOUNDED, false, bound, 0, NULL, NULL }
#define SET(path, bound)                                                                                                       \
    { path, DS_LEAF_SET, false, bound, 0, NULL, NULL }
#define SET_WITHIN(path, relative, scale, reason)                                                                              \
    { path, DS_LEAF_SET, false, NULL, relative, scale, reason }
#define DERIVED(path, relative, scale, reason)                                                                                 \
    { path, DS_LEAF_DERIVED, false, NULL, relative, scale, reason }
/* A bound is itself a measured rounding: two of them agree within a factor, so that none can be widened to hide a number. */
#define BOUND(path, factor) DERIVED(path, (factor)-1, "smaller", "an estimate of an error, of which the size counts")
/* Where a file lies does not count: its digest stands beside it. */
#define PLACE(path) DERIVED(path, INFINITY, NULL, "a place; the digest of what lies there is compared")
#define MACHINE(path) DERIVED(path, INFINITY, NULL, "says how the run went or on what, not what was measured")

static const char
    mean_of_bounded[] = "a mean, a share or a root of numbers known to a few 1e-15",
    tail_fit[] = "a fit to singular values known to a few 1e-15",
    small_matrix[] = "a singular value by LAPACK of an n x n matrix A: each run is off by at most 4 n u |A|, so two "
                     "differ by at most 8 n u |A|, below 1e-12 |A| for n up to 1125",
    small_radius[] =
        "an eigenvalue by LAPACK of n x n streams: where two meet it moves by the root of 8 n u, times |A|, below 1e-7 "
        "|A| for n up to 11; three that meet could move by 2e-5 |A|; of six checkpoints none "
        "used a thousandth of it",
    radius[] = "the modulus of an eigenvalue without a bound: one of a pair that meets moves by the root of a rounding",
    logarithm[] = "a logarithm: it amplifies the error of a singular value near 0",
    edge[] = "a pair of eigenvalues at the edge of the real axis may lie on either side",
    over_seeds[] = "a statistic over seeds, by functions of the mathematical library: lgamma of 10,000 seeds, 8e4 in size "
                   "and in an exponent, is known to 2e-11, the rest better",
    in_roundings[] = "a rounding error, in units of what it may be";

static const ds_leaf leaves[] = {
    /* the envelope */
    MACHINE("envelope/seconds"),
    MACHINE("envelope/threads"),
    MACHINE("envelope/ranks"),
    MACHINE("envelope/arithmetic"),
    MACHINE("envelope/environment/**"),
    PLACE("envelope/checkpoint/path"),
    OWN("envelope/checkpoint/sha256"),
    OWN("envelope/checkpoint/variant"),
    OWN("envelope/checkpoint/parameters"),
    EXACT("envelope/checkpoint/**"),
    PLACE("envelope/data/path"),
    PLACE("envelope/data/tokenizer/path"),
    OWN("envelope/data/sha256"),
    OWN("envelope/data/seq_len"),
    OWN("envelope/data/starts/**"),
    PLACE("envelope/data/train/path"),
    PLACE("envelope/data/validation/path"),
    OWN("envelope/data/train/sha256"),
    OWN("envelope/data/validation/sha256"),
    EXACT("envelope/data/**"),
    OWN("envelope/precision"),
    PLACE("envelope/options/reference"),
    EXACT("envelope/options/**"),
    EXACT("envelope/schema"),
    EXACT("envelope/command"),
    EXACT("envelope/version"),
    EXACT("envelope/warnings/**"),
    EXACT("envelope/verdict"),
    EXACT("envelope/findings/**"),
    {"envelope/signature/**", DS_LEAF_DERIVED, false, NULL, INFINITY, NULL, "who says it, which is checked by itself"},

    PLACE("inspect/files/*/path"),
    OWN("inspect/files/*/sha256"),
    OWN("inspect/tensors/**"),
    OWN("inspect/unused/**"),
    OWN("inspect/health/**"),
    OWN("inspect/parameters/**"),
    OWN("inspect/specification/**"),
    OWN("inspect/cost/**"),
    EXACT("inspect/format"),
    EXACT("inspect/tied_head"),
    EXACT("inspect/notes/**"),

    OWN("gates/**"),
    OWN("ablate/**"),
    DERIVED("depth/depth_matrix/singular_values_of_mean/*", 1e-12, "../singular_values_of_mean", small_matrix),
    DERIVED("depth/mixing/*/spectral_norm/*", 1e-12, "max", small_matrix),
    DERIVED("depth/mixing/*/smallest_singular/*", 1e-12, "../spectral_norm/max", small_matrix),
    DERIVED("depth/mixing/*/second_singular/*", 1e-12, "../spectral_norm/max", small_matrix),
    DERIVED("depth/mixing/*/spectral_radius/*", 1e-7, "../spectral_norm/max", small_radius),
    DERIVED("depth/mixing/*/second_eigenvalue/*", 1e-7, "../spectral_norm/max", small_radius),
    DERIVED("depth/composite/*/*/spectral_norm/*", 1e-12, "max", small_matrix),
    DERIVED("depth/composite/*/*/smallest_singular/*", 1e-12, "../spectral_norm/max", small_matrix),
    DERIVED("depth/composite/*/*/second_singular/*", 1e-12, "../spectral_norm/max", small_matrix),
    DERIVED("depth/composite/*/*/spectral_radius/*", 1e-7, "../spectral_norm/max", small_radius),
    DERIVED("depth/composite/*/*/second_eigenvalue/*", 1e-7, "../spectral_norm/max", small_radius),
    OWN("depth/**"),
    EXACT("trace/**"),
    PLACE("compare/checkpoints/*/path"),
    EXACT("compare/**"),
    EXACT("train/**"),
    MACHINE("bench/**"),

    PLACE("study/data/train/path"),
    PLACE("study/data/validation/path"),
    MACHINE("study/tool/**"),
    MACHINE("study/machine/**"),
    MACHINE("study/variants/*/runs/*/train_seconds"),
    MACHINE("study/variants/*/runs/*/eval_seconds"),
    MACHINE("study/variants/*/runs/*/save_seconds"),
    MACHINE("study/variants/*/runs/*/load/**"),
    MACHINE("study/curves/seconds/**"),
    DERIVED(
        "study/to_target/**", INFINITY, NULL,
        "follows from the curves, which are compared, and is derived from them again by check; on the axis of seconds it says "
        "how the run went"),
    OWN("study/plan_sha256"),
    OWN("study/order/**"),
    OWN("study/matching/tensors/**"),
    OWN("study/matching/noise_floor/**"),
    OWN("study/contrasts/*/differences/**"),
    DERIVED("study/contrasts/**", 1e-9, NULL, over_seeds),
    DERIVED("study/variants/*/summary/**", 1e-9, NULL, over_seeds),
    DERIVED("study/variants/*/seed_variance/**", 1e-9, NULL, over_seeds),
    DERIVED("study/target/**", 1e-9, NULL, over_seeds),
    EXACT("study/curves/*/*/seeds/**"),
    DERIVED("study/sweeps/*/sensitivity", 1e-9, "1", over_seeds),
    DERIVED("study/tuned/contrasts/**", 1e-9, NULL, over_seeds),
    DERIVED("study/tuned/variants/*/summary/**", 1e-9, NULL, over_seeds),
    DERIVED("study/curves/**", 1e-9, NULL, over_seeds),
    EXACT("study/audit/variants/*/*/values/**"),
    DERIVED("study/audit/**", 1e-9, NULL, over_seeds),
    EXACT("study/**"),
    DERIVED("derived/**", 1e-9, NULL, over_seeds),

    OWN("gradflow/loss"),
    OWN("gradflow/sequence_loss/**"),
    OWN("gradflow/states/**"),
    OWN("gradflow/sources/**"),
    OWN("gradflow/reads/**"),
    OWN("gradflow/sublayers/**"),
    OWN("gradflow/parameters/**"),
    OWN("gradflow/groups/**"),
    OWN("gradflow/attribution/**"),
    SET_WITHIN("gradflow/jacobians/*/eigenvalues", 1e-7, "frobenius", radius),
    BOUNDED("gradflow/jacobians/*/singular_values/*", "../singular_value_bound"),
    BOUNDED("gradflow/jacobians/*/norm2", "singular_value_bound"),
    BOUNDED("gradflow/jacobians/*/smallest", "singular_value_bound"),
    BOUND("gradflow/jacobians/*/singular_value_bound", 4),
    DERIVED("gradflow/jacobians/*/spectral_radius", 1e-7, "frobenius", radius),
    DERIVED("gradflow/jacobians/*/departure_from_normality", 1e-9, "frobenius", mean_of_bounded),
    DERIVED("gradflow/jacobians/*/log_abs_det", 1e-6, NULL, logarithm),
    EXACT("gradflow/jacobians/*/frozen/**"),
    EXACT("gradflow/jacobians/*/*"),

    EXACT("spectrum/window/**"),
    EXACT("spectrum/kind"),
    EXACT("spectrum/operator/samples"),
    EXACT("spectrum/operator/tolerance"),
    BOUNDED("spectrum/operator/*", "tolerance"),
    OWN("spectrum/sweep/*/beta"),
    OWN("spectrum/sweep/*/eigenvalue"),
    OWN("spectrum/sweep/*/regime"),
    DERIVED("spectrum/sweep/*/*", 1e-12, "1", "a number of an operator of norm about 1 that may pass through 0"),
    EXACT("spectrum/accumulated/*/certified/**"),
    SET("spectrum/accumulated/*/eigenvalues", "eigenvalue_bounds"),
    SET_WITHIN("spectrum/accumulated/*/eigenvalue_bounds", 3, "smaller", "an estimate of an error, of which the size counts"),
    BOUNDED("spectrum/accumulated/*/singular_values/*", "../singular_value_bound"),
    BOUNDED("spectrum/accumulated/*/norm2", "singular_value_bound"),
    BOUND("spectrum/accumulated/*/singular_value_bound", 4),
    BOUNDED("spectrum/accumulated/*/spectral_radius", "eigenvalue_bounds"),
    DERIVED("spectrum/accumulated/*/departure_from_normality", 1e-9, "norm2", mean_of_bounded),
    DERIVED("spectrum/accumulated/*/complex_share", 0.01, "1", edge),
    OWN("spectrum/accumulated/*/sequence"),
    OWN("spectrum/accumulated/*/position"),
    OWN("spectrum/accumulated/*/frobenius_defect"),
    OWN("spectrum/accumulated/*/log_abs_det"),
    OWN("spectrum/accumulated/*/log_abs_det_bound"),
    OWN("spectrum/accumulated/*/mean_squared_singular_value"),
    OWN("spectrum/distribution/*/depth"),
    OWN("spectrum/distribution/*/log_abs_det/**"),
    OWN("spectrum/distribution/*/mean_squared_singular_value/**"),
    OWN("spectrum/distribution/*/frobenius_defect/**"),
    OWN("spectrum/distribution/*/row_gain/**"),
    OWN("spectrum/distribution/*/column_gain/**"),
    EXACT("spectrum/distribution/*/*/count"),
    EXACT("spectrum/distribution/*/*/quantile_rank_error"),
    BOUND("spectrum/distribution/*/singular_value_bound", 4),
    BOUNDED("spectrum/distribution/*/smallest/quantiles/*", "../../singular_value_bound"),
    BOUNDED("spectrum/distribution/*/smallest/*", "../singular_value_bound"),
    BOUNDED("spectrum/distribution/*/norm2/quantiles/*", "../../singular_value_bound"),
    BOUNDED("spectrum/distribution/*/norm2/*", "../singular_value_bound"),
    BOUNDED("spectrum/distribution/*/span_norm2/quantiles/*", "../../singular_value_bound"),
    BOUNDED("spectrum/distribution/*/span_norm2/*", "../singular_value_bound"),
    DERIVED("spectrum/distribution/*/spectral_radius/**", 1e-7, "1", radius),
    DERIVED("spectrum/distribution/*/span_radius/**", 1e-7, "1", radius),
    DERIVED("spectrum/distribution/*/departure_from_normality/**", 1e-9, "1", mean_of_bounded),
    DERIVED("spectrum/distribution/*/complex_share/**", 0.01, "1", edge),
    OWN("spectrum/lyapunov/depth"),
    EXACT("spectrum/lyapunov/exponents/*/count"),
    EXACT("spectrum/lyapunov/exponents/*/quantile_rank_error"),
    DERIVED("spectrum/lyapunov/exponents/**", 1e-6, "1", logarithm),
    DERIVED("spectrum/checks/*", 1, "1", in_roundings),
    DERIVED("spectrum/gains/norm2/**", 1e-9, NULL, mean_of_bounded),
    OWN("spectrum/gains/**"),
    OWN("spectrum/directions/coherence/**"),
    OWN("spectrum/directions/sublayers/**"),
    DERIVED("spectrum/directions/effective_rank", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/directions/participation_ratio", 1e-9, NULL, mean_of_bounded),
    EXACT("spectrum/directions/over_data/tokens"),
    DERIVED("spectrum/directions/over_data/**", 1e-9, NULL, mean_of_bounded),
    EXACT("spectrum/directions/alignment/directions"),
    BOUND("spectrum/directions/alignment/residual", 4),
    DERIVED("spectrum/directions/alignment/**", 1e-9, "1", mean_of_bounded),
    EXACT("spectrum/directions/*"),
    EXACT("spectrum/shadow/**"),
    EXACT("spectrum/certified/**"),
    OWN("spectrum/weights/*/tensor"),
    OWN("spectrum/weights/*/rows"),
    OWN("spectrum/weights/*/columns"),
    BOUNDED("spectrum/weights/*/spectral_norm", "singular_value_bound"),
    BOUND("spectrum/weights/*/singular_value_bound", 4),
    EXACT("spectrum/weights/*/singular_values/count"),
    EXACT("spectrum/weights/*/singular_values/quantile_rank_error"),
    BOUNDED("spectrum/weights/*/singular_values/quantiles/*", "../../singular_value_bound"),
    BOUNDED("spectrum/weights/*/singular_values/*", "../singular_value_bound"),
    DERIVED("spectrum/weights/*/frobenius", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/weights/*/stable_rank", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/weights/*/effective_rank", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/weights/*/mp_edge", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/weights/*/alpha", 1e-9, NULL, tail_fit),
    DERIVED("spectrum/weights/*/alpha_stderr", 1e-9, NULL, tail_fit),
    DERIVED("spectrum/weights/*/ks", 1e-9, "1", tail_fit),
    DERIVED("spectrum/weights/*/xmin", 1e-9, NULL, tail_fit),
    DERIVED("spectrum/weights/*/alpha_weightwatcher", 1e-9, NULL, tail_fit),
    DERIVED("spectrum/weights/*/ks_weightwatcher", 1e-9, "1", tail_fit),
    DERIVED("spectrum/weights/*/xmin_weightwatcher", 1e-9, NULL, tail_fit),
    DERIVED("spectrum/weights/*/rounding_bound", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/weights/*/bulk_edge", 1e-9, NULL, mean_of_bounded),
    DERIVED("spectrum/weights/*/bulk_distance", 1e-9, "1", tail_fit),
    EXACT("spectrum/weights/*/verdict_alternatives/*"),
    EXACT("spectrum/weights/*/*"),
    EXACT("spectrum/weights_thresholds/*"),
    BOUNDED("spectrum/end_to_end/singular_values/*/value", "residual"),
    BOUND("spectrum/end_to_end/singular_values/*/residual", 4),
    DERIVED("spectrum/end_to_end/density/**", 1e-9, "1", mean_of_bounded),
    BOUNDED("spectrum/end_to_end/by_depth/*/norm2", "residual"),
    BOUND("spectrum/end_to_end/by_depth/*/residual", 4),
    EXACT("spectrum/end_to_end/by_depth/*/depth"),
    DERIVED("spectrum/end_to_end/by_depth/*/*", 1e-9, "1", mean_of_bounded),
    EXACT("spectrum/end_to_end/*"),

    BOUNDED("verify/checks/*/measured", "tolerance"),
    BOUND("verify/checks/*/tolerance", 4),
    EXACT("verify/checks/*/*"),
};
enum { LEAVES = sizeof leaves / sizeof *leaves };

size_t ds_leaf_count(void) { return LEAVES; }

const ds_leaf *ds_leaf_at(size_t index) { return &leaves[index]; }

const char *ds_leaf_kind_name(ds_leaf_kind kind) {
    static const char *const names[] = {"exact", "bounded", "set", "derived"};
    return names[kind];
}

/* The end of the part of a path that begins at `at`. */
static size_t part_length(const char *at) { return strcspn(at, "/"); }

static bool is_part(const char *at, const char *name) {
    return part_length(at) == strlen(name) && strncmp(at, name, strlen(name)) == 0;
}

/* spectrum/null/X is as spectrum/X, and spectrum/weights/N/randomised/X as spectrum/weights/N/X. */
static const char *skip_control(const char *path, const char *at, size_t part) {
    bool spectrum = is_part(path, "spectrum");
    if (spectrum && part == 1 && is_part(at, "null") && at[4] == '/') return at + 5;
    if (spectrum && part >= 3 && is_part(at, "randomised") && at[10] == '/') return at + 11;
    return at;
}

static bool fits(const char *pattern, const char *path) {
    const char *at = path;
    for (size_t part = 0;; part++) {
        at = skip_control(path, at, part);
        if (strcmp(pattern, "**") == 0) return true;
        size_t wanted = part_length(pattern), found = part_length(at);
        if (strncmp(pattern, "*", wanted) != 0 && (wanted != found || strncmp(pattern, at, wanted) != 0)) return false;
        if (at[found] == '\0') return pattern[wanted] == '\0' || strcmp(pattern + wanted, "/**") == 0;
        if (pattern[wanted] == '\0') return false;
        pattern += wanted + 1;
        at += found + 1;
    }
}

const ds_leaf *ds_leaf_find(const char *path) {
    for (size_t i = 0; i < LEAVES; i++) {
        if (fits(leaves[i].path, path)) return &leaves[i];
    }
    return NULL;
}
