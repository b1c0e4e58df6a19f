/* Speed of accumulated spectra beyond the forward pass: end of depth, every prefix depth, proved, and done densely. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "deltascope/measure/certified_spectra.h"
#include "deltascope/measure/depth_distribution.h"

enum { TOKENS = 256, CERTIFIED_TOKENS = 16, ALONE_TOKENS = 32, COMPARED_RUNS = 3 };

/* Random unit directions and gates in [0,2]; every token has those of the first, moved on by one sublayer. */
static ds_status make_directions(ds_directions *out, const ds_spec *spec, uint64_t seed) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(spec), d = spec->hidden;
    ds_random random = ds_random_init(seed);
    DS_TRY(ds_directions_init(out, TOKENS, sublayers, d));
    for (size_t s = 0; s < sublayers; s++) {
        double norm2 = 0, *k = out->k + s * d;
        for (size_t i = 0; i < d; i++) {
            k[i] = ds_random_normal(&random);
            norm2 += k[i] * k[i];
        }
        for (size_t i = 0; i < d; i++) k[i] /= sqrt(norm2);
        out->beta[s] = 2 * ds_random_uniform(&random);
    }
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t s = 0; s < sublayers; s++) {
            size_t cell = t * sublayers + s, from = (t + s) % sublayers;
            if (t > 0) memcpy(out->k + cell * d, out->k + from * d, d * sizeof *out->k);
            out->beta[cell] = out->beta[from];
            out->c[cell] = spec->residual_mult * out->beta[from];
        }
    }
done:
    return status;
}

static ds_status time_distribution(double *rate, const ds_directions *directions, bool every_depth) {
    ds_status status = DS_OK;
    ds_distribution distribution = {0};
    DS_TRY(ds_distribution_init(&distribution, directions->sublayers, directions->hidden, every_depth));
    double start = ds_seconds();
    DS_TRY(ds_distribution_add(&distribution, directions, 0));
    *rate = (double)directions->tokens / (ds_seconds() - start);
done:
    ds_distribution_release(&distribution);
    return status;
}

static ds_status time_certificates(double *rate, const ds_directions *directions, double residual_mult) {
    ds_status status = DS_OK;
    ds_directions few = *directions;
    ds_certifying certifying = {0};
    ds_certified *certified = NULL;
    few.tokens = CERTIFIED_TOKENS;
    DS_NEW(certified, few.tokens);
    DS_TRY(ds_certifying_init(&certifying, few.sublayers, few.hidden, residual_mult));
    double start = ds_seconds();
    DS_TRY(ds_certified_run(certified, &few, &certifying));
    *rate = (double)few.tokens / (ds_seconds() - start);
done:
    ds_certified_release(certified, CERTIFIED_TOKENS);
    ds_certifying_release(&certifying);
    return status;
}

/* One token both ways, each the best of COMPARED_RUNS. */
typedef struct comparison {
    size_t order;
    double seconds;           /* of the small problem, one thread */
    double dense, difference; /* of the d x d problem; largest difference of a value between the two */
    double *singular;         /* (order) */
    ds_complex *eigenvalues;  /* (order) */
    ds_product *product;
} comparison;

static ds_status solve_alone(comparison *task, const ds_directions *directions) {
    ds_status status = DS_OK;
    size_t sublayers = directions->sublayers;
    ds_product_solver *solver = NULL;
    DS_TRY(ds_product_new(&task->product, directions->hidden, sublayers));
    DS_TRY(ds_product_solver_new(&solver, directions->hidden, sublayers));
    task->seconds = INFINITY;
    for (size_t run = 0; run < COMPARED_RUNS; run++) {
        double start = ds_seconds();
        for (size_t t = ALONE_TOKENS; t-- > 0;) { /* the first token last: it is the one compared */
            const double *k = ds_directions_k(directions, t, 0);
            DS_TRY(ds_product_window(task->product, k, directions->c + t * sublayers, 0, sublayers));
            DS_TRY(ds_product_spectrum_estimate(task->eigenvalues, NULL, task->singular, NULL, NULL, task->product, solver));
        }
        task->seconds = fmin(task->seconds, (ds_seconds() - start) / ALONE_TOKENS);
    }
done:
    ds_product_solver_free(&solver);
    return status;
}

/* P built, then dgees and dgesdd: each small value is looked for among the d. */
static ds_status solve_dense(comparison *task, size_t d) {
    ds_status status = DS_OK;
    double *matrix = NULL, *sigma = NULL;
    ds_complex *lambda = NULL;
    ds_eigen *eigen = NULL;
    ds_svd *svd = NULL;
    DS_NEW_ARRAY(matrix, d * d);
    DS_NEW(sigma, d);
    DS_NEW(lambda, d);
    DS_TRY(ds_eigen_new(&eigen, d));
    DS_TRY(ds_svd_new(&svd, d, d));
    task->dense = INFINITY;
    for (size_t run = 0; run < COMPARED_RUNS; run++) {
        double start = ds_seconds();
        ds_product_matrix(matrix, task->product);
        DS_TRY(ds_eigenvalues_approx(lambda, NULL, matrix, d, eigen));
        DS_TRY(ds_singular_values_approx(sigma, matrix, d, d, svd));
        task->dense = fmin(task->dense, ds_seconds() - start);
    }
    for (size_t i = 0; i < task->order; i++) {
        double nearest_sigma = INFINITY, nearest_lambda = INFINITY;
        for (size_t j = 0; j < d; j++) {
            nearest_sigma = fmin(nearest_sigma, fabs(sigma[j] - task->singular[i]));
            nearest_lambda =
                fmin(nearest_lambda, hypot(lambda[j].re - task->eigenvalues[i].re, lambda[j].im - task->eigenvalues[i].im));
        }
        task->difference = fmax(task->difference, fmax(nearest_sigma, nearest_lambda));
    }
done:
    ds_eigen_free(&eigen);
    ds_svd_free(&svd);
    free(matrix);
    free(sigma);
    free(lambda);
    return status;
}

ds_status ds_bench_spectrum_run(ds_bench_spectrum *out, const ds_spec *spec, uint64_t seed) {
    ds_status status = DS_OK;
    ds_directions directions = {0};
    comparison task = {.order = ds_min_size(ds_spec_sublayers(spec), spec->hidden)};
    DS_TRY(make_directions(&directions, spec, seed));
    DS_TRY(time_distribution(&out->tokens_per_second, &directions, false));
    DS_TRY(time_distribution(&out->prefix_tokens_per_second, &directions, true));
    DS_TRY(time_certificates(&out->certified_tokens_per_second, &directions, spec->residual_mult));
    DS_NEW(task.singular, task.order);
    DS_NEW(task.eigenvalues, task.order);
    DS_TRY(solve_alone(&task, &directions));
    DS_TRY(solve_dense(&task, spec->hidden));
    out->speedup_over_dense = task.dense / task.seconds;
    out->max_difference = task.difference;
done:
    ds_product_free(&task.product);
    ds_directions_release(&directions);
    free(task.singular);
    free(task.eigenvalues);
    return status;
}
