#include "coverage.h"

#include <math.h>
#include <stdlib.h>

#include "deltascope/measure/forced_gates.h"
#include "deltascope/stats.h"
#include "run/windows.h"
#include "support.h"

/* Many resamples more change a bound by less than a tenth of its distance from the mean. */
enum { RESAMPLES = 1000 };

/* picked (taken) <- those windows of losses (windows), as a run of that spread has them. */
static void pick(double *picked, size_t taken, const double *losses, size_t windows, ds_spread spread, ds_random *random) {
    uint64_t *numbers = malloc(taken * sizeof *numbers);
    assert_non_null(numbers);
    const ds_run_options options = {.spread = spread, .seed = ds_random_u64(random)};
    ds_window_numbers(numbers, taken, windows, &options);
    size_t begin = spread == DS_SPREAD_CONSECUTIVE ? (size_t)ds_random_below(random, windows - taken + 1) : 0;
    for (size_t i = 0; i < taken; i++) picked[i] = losses[begin + numbers[i]];
    free(numbers);
}

/* Whether each row's interval holds its file's mean. */
static double share_of_hits(const double *picked, const double *means, size_t count, size_t taken, uint64_t seed) {
    ds_paired *paired = calloc(count, sizeof *paired);
    size_t hits = 0;
    assert_non_null(paired);
    expect_ok(ds_paired_bootstrap(paired, picked, count, taken, RESAMPLES, seed));
    for (size_t i = 0; i < count; i++) hits += paired[i].low <= means[i] && means[i] <= paired[i].high;
    free(paired);
    return (double)hits / (double)count;
}

coverage coverage_of_file(const double *losses, size_t cases, size_t windows, size_t taken, size_t draws, uint64_t seed) {
    coverage found = {.intervals = cases * draws};
    double *picked = malloc(found.intervals * taken * sizeof *picked), *means = malloc(found.intervals * sizeof *means);
    assert_true(picked != NULL && means != NULL);
    for (int spread = 0; spread < COVERAGE_SPREADS; spread++) {
        ds_random random = ds_random_init(seed);
        for (size_t i = 0; i < found.intervals; i++) {
            size_t length = windows - (size_t)ds_random_below(&random, windows / 2);
            const double *piece = losses + i % cases * windows + ds_random_below(&random, windows - length + 1);
            pick(picked + i * taken, taken, piece, length, (ds_spread)spread, &random);
            means[i] = ds_mean(piece, length);
        }
        found.share[spread] = share_of_hits(picked, means, found.intervals, taken, seed);
    }
    free(picked);
    free(means);
    return found;
}

/* Stationary from the first value on, of variance 1 but for the drift. */
static void simulate(double *losses, size_t windows, double rho, double drift, ds_random *random) {
    const double turn = 6.283185307179586 * ds_random_uniform(random);
    double x = ds_random_normal(random);
    for (size_t w = 0; w < windows; w++) {
        losses[w] = x + drift * sqrt(2) * sin(turn + 6.283185307179586 * (double)w / (double)windows);
        x = rho * x + sqrt(1 - rho * rho) * ds_random_normal(random);
    }
}

coverage coverage_of_simulation(double rho, double drift, size_t windows, size_t taken, size_t files, uint64_t seed) {
    coverage found = {.intervals = files};
    double *losses = malloc(windows * sizeof *losses), *means = malloc(files * sizeof *means);
    double *picked = malloc(COVERAGE_SPREADS * files * taken * sizeof *picked);
    ds_random random = ds_random_init(seed);
    assert_true(losses != NULL && means != NULL && picked != NULL);
    for (size_t f = 0; f < files; f++) {
        simulate(losses, windows, rho, drift, &random);
        means[f] = ds_mean(losses, windows);
        for (size_t spread = 0; spread < COVERAGE_SPREADS; spread++)
            pick(picked + (spread * files + f) * taken, taken, losses, windows, (ds_spread)spread, &random);
    }
    for (size_t spread = 0; spread < COVERAGE_SPREADS; spread++)
        found.share[spread] = share_of_hits(picked + spread * files * taken, means, files, taken, seed);
    free(losses);
    free(means);
    free(picked);
    return found;
}

coverage coverage_of_gates(size_t *cases, const char *scopes, size_t windows, size_t taken, size_t draws, uint64_t seed) {
    const ds_run_options options = {.checkpoint = "fixtures/models/ddl-cc-ec",
                                    .tokens = "fixtures/data/val.bin",
                                    .spread = DS_SPREAD_CONSECUTIVE,
                                    .sequences = windows};
    ds_ablate_options own = ds_ablate_defaults;
    ds_ablate_result result;
    ds_run run;
    own.scopes = scopes;
    expect_ok(ds_run_open(&run, &options));
    expect_ok(ds_ablate_measure(&result, &run, &own));
    for (size_t i = 0; i < result.list.count * windows; i++) result.loss[i] -= result.baseline[i % windows];
    coverage found = coverage_of_file(result.loss, result.list.count, windows, taken, draws, seed);
    *cases = result.list.count;
    ds_ablate_release(&result);
    ds_run_close(&run);
    return found;
}

double coverage_error(size_t independent) { return 4 * sqrt(0.95 * 0.05 / (double)independent); }

void expect_nominal(const char *what, const coverage *found, size_t random, size_t even) {
    /* The wider of two intervals on each side: 1.5% more at 64 windows of skewed differences (src/stats/README.md). */
    const double wider = 0.015, error = coverage_error(random);
    (void)printf("%-40s even %5.1f%%  random %5.1f%%  consecutive %5.1f%%  (%zu intervals each)\n", what,
                 100 * found->share[DS_SPREAD_EVEN], 100 * found->share[DS_SPREAD_RANDOM],
                 100 * found->share[DS_SPREAD_CONSECUTIVE], found->intervals);
    assert_true(found->share[DS_SPREAD_RANDOM] > 0.95 - error && found->share[DS_SPREAD_RANDOM] < 0.95 + wider + error);
    assert_true(found->share[DS_SPREAD_EVEN] > 0.95 - coverage_error(even));
}
