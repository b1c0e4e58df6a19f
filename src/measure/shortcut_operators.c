#include "deltascope/measure/shortcut_operators.h"

#include <math.h>
#include <stdlib.h>

#include "deltascope/measure/product_pool.h"

/* ---- a dense solver for each thread ---- */

static void free_dense(ds_dense **solvers, size_t threads) {
    for (size_t i = 0; solvers != NULL && i < threads; i++) ds_dense_free(&solvers[i]);
    free(solvers);
}

static ds_status new_dense(ds_dense ***solvers, size_t threads, size_t hidden) {
    ds_status status = DS_OK;
    DS_NEW(*solvers, threads);
    for (size_t i = 0; i < threads; i++) DS_TRY(ds_dense_new(&(*solvers)[i], hidden));
done:
    return status;
}

/* ---- single operators against theory ---- */

double ds_operator_tolerance(size_t hidden, double norm) {
    return 6 * ((double)hidden + 2) * ds_unit_roundoff(DS_F64) * norm * norm;
}

typedef struct operator_task {
    const ds_directions *directions;
    const size_t *cells;   /* (samples): token * S + sublayer */
    ds_dense **workspaces; /* (threads) */
    double *errors;        /* (samples, 4): eigenvalue, determinant, orthogonality, |A| */
} operator_task;

static ds_status check_one(void *context, size_t index, size_t worker) {
    operator_task *task = context;
    const ds_directions *all = task->directions;
    size_t cell = task->cells[index];
    const double *k = all->k + cell * all->hidden;
    ds_dense_operator solved;
    ds_status status = ds_dense_solve(&solved, k, all->c[cell], all->hidden, task->workspaces[worker]);
    if (status != DS_OK) return status;
    double norm2 = 0;
    for (size_t i = 0; i < all->hidden; i++) norm2 += k[i] * k[i];
    double b = all->c[cell] * norm2;
    double *errors = task->errors + 4 * index;
    errors[0] = solved.max_eigenvalue_error;
    errors[1] = fabs(solved.determinant - ds_delta_determinant(b));
    errors[2] = fabs(solved.orthogonality_defect - ds_delta_orthogonality_defect(b));
    errors[3] = fmax(1, fabs(ds_delta_eigenvalue(b)));
    return DS_OK;
}

ds_status ds_operator_check_run(ds_operator_check *out, const ds_directions *directions, size_t samples, uint64_t seed) {
    ds_status status = DS_OK;
    size_t threads = ds_threads(), cells = directions->tokens * directions->sublayers, *chosen = NULL;
    ds_random random = ds_random_init(seed);
    operator_task task = {.directions = directions};
    DS_NEW(chosen, samples);
    DS_NEW(task.errors, 4 * samples);
    DS_TRY(new_dense(&task.workspaces, threads, directions->hidden));
    for (size_t i = 0; i < samples; i++) chosen[i] = ds_random_below(&random, cells);
    task.cells = chosen;
    DS_TRY(ds_parallel_for_within(threads, samples, check_one, &task));
    double norm = 1;
    *out = (ds_operator_check){.samples = samples};
    for (size_t i = 0; i < samples; i++) {
        const double *errors = task.errors + 4 * i;
        out->max_eigenvalue_error = ds_max_real(out->max_eigenvalue_error, errors[0]);
        out->max_determinant_error = ds_max_real(out->max_determinant_error, errors[1]);
        out->max_orthogonality_error = ds_max_real(out->max_orthogonality_error, errors[2]);
        norm = ds_max_real(norm, errors[3]);
    }
    out->tolerance = ds_operator_tolerance(directions->hidden, norm);
    DS_TRY(ds_operator_check_hold(out));
done:
    free_dense(task.workspaces, threads);
    free(task.errors);
    free(chosen);
    return status;
}

ds_status ds_operator_check_hold(const ds_operator_check *check) {
    if (check->max_eigenvalue_error <= check->tolerance && check->max_determinant_error <= check->tolerance &&
        check->max_orthogonality_error <= check->tolerance)
        return DS_OK;
    return ds_fail(DS_ERR_SYSTEM,
                   "%zu single operators solved densely break theory: an eigenvalue is off by %g, a determinant by %g, an "
                   "orthogonality defect by %g (at most %g expected of each)",
                   check->samples, check->max_eigenvalue_error, check->max_determinant_error, check->max_orthogonality_error,
                   check->tolerance);
}

void ds_operator_check_put(ds_json_builder *b, const ds_operator_check *check) {
    ds_json_begin_object(b, "operator");
    ds_json_put_count(b, "samples", check->samples);
    ds_json_put_real(b, "max_eigenvalue_error", check->max_eigenvalue_error);
    ds_json_put_real(b, "max_determinant_error", check->max_determinant_error);
    ds_json_put_real(b, "max_orthogonality_error", check->max_orthogonality_error);
    ds_json_put_real(b, "tolerance", check->tolerance);
    ds_json_end(b);
}

typedef struct sweep_task {
    const double *k;
    double residual_mult;
    size_t hidden;
    ds_dense **workspaces; /* (threads) */
    ds_dense_operator solved[DS_SWEEP_POINTS];
} sweep_task;

static double sweep_beta(size_t point) { return 2.0 * (double)point / (DS_SWEEP_POINTS - 1); }

static ds_status sweep_one(void *context, size_t index, size_t worker) {
    sweep_task *task = context;
    return ds_dense_solve(&task->solved[index], task->k, task->residual_mult * sweep_beta(index), task->hidden,
                          task->workspaces[worker]);
}

ds_status ds_sweep_json(json_t **out, const double *k, double residual_mult, size_t hidden, double tolerance) {
    ds_status status = DS_OK;
    size_t threads = ds_threads();
    ds_json_builder b = {0};
    sweep_task task = {.k = k, .residual_mult = residual_mult, .hidden = hidden};
    double norm2 = 0;
    for (size_t i = 0; i < hidden; i++) norm2 += k[i] * k[i];
    DS_TRY(new_dense(&task.workspaces, threads, hidden));
    DS_TRY(ds_parallel_for_within(threads, DS_SWEEP_POINTS, sweep_one, &task));
    ds_json_begin_array(&b, NULL);
    for (size_t i = 0; i < DS_SWEEP_POINTS; i++) {
        double beta = sweep_beta(i), rate = residual_mult * beta * norm2;
        ds_json_begin_object(&b, NULL);
        ds_json_put_real(&b, "beta", beta);
        ds_json_put_real(&b, "eigenvalue", ds_delta_eigenvalue(rate));
        ds_json_put_real(&b, "eigenvalue_lapack", task.solved[i].eigenvalue);
        ds_json_put_real(&b, "determinant", task.solved[i].determinant);
        ds_json_put_real(&b, "orthogonality_defect", task.solved[i].orthogonality_defect);
        ds_json_put_text(&b, "regime", ds_regime_name(ds_regime_of(rate, tolerance)));
        ds_json_end(&b);
    }
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    free_dense(task.workspaces, threads);
    ds_json_discard(&b);
    return status;
}

/* ---- accumulated over depth ---- */

typedef struct accumulated_task {
    const ds_directions *directions;
    ds_accumulated *out;
    ds_product_pool pool;
} accumulated_task;

static ds_status accumulate_one(void *context, size_t index, size_t worker) {
    accumulated_task *task = context;
    const ds_directions *all = task->directions;
    ds_accumulated *out = &task->out[index];
    ds_product *product = task->pool.products[worker];
    ds_status status = DS_OK;
    DS_TRY(ds_product_window(product, ds_directions_k(all, index, 0), all->c + index * all->sublayers, 0, all->sublayers));
    DS_TRY(ds_product_spectrum_estimate(out->eigenvalues, out->bounds, out->singular_values, &out->singular_bound,
                                        &out->summary, product, task->pool.solvers[worker]));
done:
    return status;
}

ds_status ds_accumulated_run(ds_accumulated *out, const ds_directions *directions) {
    ds_status status = DS_OK;
    size_t order = ds_min_size(directions->sublayers, directions->hidden);
    accumulated_task task = {.directions = directions, .out = out};
    DS_TRY(ds_product_pool_init(&task.pool, directions->hidden, directions->sublayers));
    for (size_t i = 0; i < directions->tokens; i++) {
        out[i].order = order;
        DS_NEW(out[i].eigenvalues, order);
        DS_NEW(out[i].bounds, order);
        DS_NEW(out[i].singular_values, order);
    }
    DS_TRY(ds_parallel_for_within(task.pool.threads, directions->tokens, accumulate_one, &task));
done:
    ds_product_pool_release(&task.pool);
    return status;
}

void ds_accumulated_release(ds_accumulated *results, size_t count) {
    for (size_t i = 0; results != NULL && i < count; i++) {
        free(results[i].eigenvalues);
        free(results[i].bounds);
        free(results[i].singular_values);
    }
    free(results);
}
