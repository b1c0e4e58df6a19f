#include "deltascope/measure/sublayer_jacobians.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/delta.h"
#include "deltascope/gradient.h"

/* The operator of one token as the run used it. */
typedef struct frozen_operator {
    double *k; /* (d) */
    double c;  /* m beta */
    size_t position;
    double residual_mult;
} frozen_operator;

/* What solving one block needs, n = d dv. */
typedef struct jacobian_solver {
    ds_run *run;
    const ds_force *forces;
    ds_gradient *gradient;
    void *state, *linearised;      /* (1,T,dv,d): on its way through the depth; a copy moved through one sublayer */
    double *jacobian, *difference; /* (n, n) */
    frozen_operator frozen;
    ds_eigen *eigen;
    ds_svd *svd;
} jacobian_solver;

static ds_status solver_init(jacobian_solver *solver, ds_run *run, const ds_force *forces, size_t size) {
    ds_status status = DS_OK;
    const ds_gradient_options options = {0};
    size_t number = ds_precision_size(ds_model_precision(run->model));
    *solver = (jacobian_solver){.run = run, .forces = forces, .frozen = {.residual_mult = run->spec.residual_mult}};
    DS_NEW_ARRAY(solver->jacobian, size * size);
    DS_NEW_ARRAY(solver->difference, size * size);
    DS_TRY(ds_eigen_new(&solver->eigen, size));
    DS_TRY(ds_svd_new(&solver->svd, size, size));
    DS_NEW(solver->frozen.k, run->spec.hidden);
    DS_TRY(ds_gradient_new(&solver->gradient, run->model, 1, run->length, &options));
    solver->state = ds_alloc_array(run->length * size, number);
    solver->linearised = ds_alloc_array(run->length * size, number);
    if (solver->state == NULL || solver->linearised == NULL) status = DS_ERR_SYSTEM;
done:
    return status;
}

static void solver_release(jacobian_solver *solver) {
    ds_gradient_free(&solver->gradient);
    free(solver->state);
    free(solver->linearised);
    free(solver->jacobian);
    free(solver->difference);
    free(solver->frozen.k);
    ds_eigen_free(&solver->eigen);
    ds_svd_free(&solver->svd);
}

static ds_status keep_operator(void *context, const ds_observation *seen) {
    frozen_operator *frozen = context;
    for (size_t i = 0; i < seen->hidden; i++)
        frozen->k[i] = ds_real_at(seen->delta->k, seen->precision, frozen->position * seen->hidden + i);
    frozen->c = frozen->residual_mult * seen->delta->beta[frozen->position];
    return DS_OK;
}

/* difference <- J - A, A = I - c k k^T on every channel, rows i*dv + j. */
static void subtract_frozen(jacobian_solver *solver, size_t hidden, size_t channels, bool delta) {
    const frozen_operator *frozen = &solver->frozen;
    size_t n = hidden * channels;
    double *difference = solver->difference;
    memcpy(difference, solver->jacobian, n * n * sizeof *difference);
    for (size_t i = 0; i < n; i++) difference[i * n + i] -= 1;
    if (!delta) return;
    for (size_t a = 0; a < hidden; a++) {
        for (size_t b = 0; b < hidden; b++) {
            for (size_t j = 0; j < channels; j++)
                difference[(a * channels + j) * n + b * channels + j] += frozen->c * frozen->k[a] * frozen->k[b];
        }
    }
}

/* What is known of the Jacobian in hand. */
static ds_status describe(ds_sublayer_jacobian *out, jacobian_solver *solver, size_t n) {
    ds_status status = DS_OK;
    const ds_spec *spec = &solver->run->spec;
    const frozen_operator *frozen = &solver->frozen;
    bool delta = ds_spec_has_operators(spec);
    double norm2 = 0, bound;
    DS_NEW(out->singular_values, n);
    DS_NEW(out->eigenvalues, n);
    subtract_frozen(solver, spec->hidden, spec->value_channels, delta);
    DS_TRY(ds_eigenvalues_approx(out->eigenvalues, &out->departure_from_normality, solver->jacobian, n, solver->eigen));
    DS_TRY(ds_singular_values_approx(out->singular_values, solver->jacobian, n, n, solver->svd));
    out->frobenius = ds_frobenius_norm(solver->jacobian, n * n);
    out->spectral_radius = ds_spectral_radius(out->eigenvalues, n);
    for (size_t i = 0; i < n; i++) {
        out->trace += solver->jacobian[i * n + i];
        out->log_abs_det += log(out->singular_values[i]);
    }
    for (size_t i = 0; delta && i < spec->hidden; i++) norm2 += frozen->k[i] * frozen->k[i];
    out->distance_to_frozen = ds_frobenius_norm(solver->difference, n * n) / out->frobenius;
    out->frozen_b = delta ? frozen->c * norm2 : 0;
    if (delta) out->frozen_log_abs_det = ds_delta_log_abs_det_of(&bound, frozen->c, frozen->k, spec->hidden);
done:
    return status;
}

/* Moves the window's state through sublayer s. */
static ds_status pass_sublayer(jacobian_solver *solver, const ds_batch *batch, size_t s, const ds_observer *observer) {
    ds_run *run = solver->run;
    return ds_sublayers(run->workspace, run->model, batch, solver->state, s, s + 1, solver->forces, observer);
}

/* The same, keeping the token's k and beta, and solves the block. */
static ds_status solve_sublayer(ds_sublayer_jacobian *out, jacobian_solver *solver, const ds_batch *batch, size_t n) {
    ds_status status = DS_OK;
    const ds_run *run = solver->run;
    size_t s = out->sublayer;
    const ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, keep_operator, &solver->frozen};
    memcpy(solver->linearised, solver->state, run->length * n * ds_precision_size(ds_model_precision(run->model)));
    DS_TRY(ds_linearise(solver->gradient, batch, solver->linearised, s, s + 1, solver->forces));
    DS_TRY(pass_sublayer(solver, batch, s, ds_spec_has_operators(&run->spec) ? &observer : NULL));
    DS_TRY(ds_token_jacobian(solver->gradient, solver->jacobian, s, 0, out->at.position));
    DS_TRY(describe(out, solver, n));
done:
    return status;
}

static ds_status solve_token(ds_sublayer_jacobians *out, jacobian_solver *solver, ds_position at, const bool *wanted) {
    ds_status status = DS_OK;
    ds_run *run = solver->run;
    size_t last = ds_spec_sublayers(&run->spec);
    ds_batch batch;
    DS_TRY(ds_run_window(run, at.sequence, &batch));
    solver->frozen.position = at.position;
    while (last > 0 && !wanted[last - 1]) last--;
    DS_TRY(ds_embed(run->workspace, run->model, &batch, solver->state));
    for (size_t s = 0; s < last; s++) {
        if (!wanted[s]) {
            DS_TRY(pass_sublayer(solver, &batch, s, NULL));
            continue;
        }
        ds_sublayer_jacobian *jacobian = &out->of[out->count++];
        jacobian->sublayer = s;
        jacobian->at = at;
        DS_TRY(solve_sublayer(jacobian, solver, &batch, out->size));
    }
done:
    return status;
}

/* wanted (S) <- which sublayers a list of names or indices holds, all of them for NULL; *count <- how many. */
static ds_status parse_sublayers(bool *wanted, size_t *count, const char *words, size_t sublayers) {
    char name[32], number[32];
    const char *word;
    size_t length;
    for (size_t s = 0; s < sublayers; s++) wanted[s] = words == NULL;
    while (ds_next_word(&words, &word, &length)) {
        size_t found = sublayers;
        for (size_t s = 0; s < sublayers; s++) {
            (void)snprintf(number, sizeof number, "%zu", s);
            if (ds_is_word(ds_sublayer_name(name, s), word, length) || ds_is_word(number, word, length)) found = s;
        }
        if (found == sublayers)
            return ds_fail(DS_ERR_USAGE, "--jacobian-sublayers takes names (0.attn) or indices below %zu, not \"%s\"",
                           sublayers, ds_escape(word, length).text);
        wanted[found] = true;
    }
    *count = 0;
    for (size_t s = 0; s < sublayers; s++) *count += wanted[s];
    return DS_OK;
}

static ds_status parse_tokens(ds_position_list *tokens, const char *positions, const ds_run *run) {
    ds_status status = DS_OK;
    DS_TRY(ds_position_list_parse(tokens, positions, run->sequences, run->length));
    if (tokens->all)
        status =
            ds_fail(DS_ERR_USAGE, "--jacobian takes SEQUENCE:POSITION or last: all would be a dense problem for every token");
done:
    return status;
}

ds_status ds_sublayer_jacobians_measure(ds_sublayer_jacobians *out, ds_run *run, const ds_force *forces, const char *positions,
                                        const char *sublayers) {
    ds_status status = DS_OK;
    const ds_spec *spec = &run->spec;
    ds_position_list tokens = {0};
    jacobian_solver solver = {.run = run};
    bool *wanted = NULL;
    size_t each = 0;
    *out = (ds_sublayer_jacobians){.size = spec->hidden * spec->value_channels, .channels = spec->value_channels};
    DS_NEW(wanted, ds_spec_sublayers(spec));
    DS_TRY(parse_sublayers(wanted, &each, sublayers, ds_spec_sublayers(spec)));
    DS_TRY(parse_tokens(&tokens, positions, run));
    DS_TRY(solver_init(&solver, run, forces, out->size));
    DS_NEW(out->of, tokens.count * each);
    for (size_t i = 0; i < tokens.count; i++) DS_TRY(solve_token(out, &solver, tokens.at[i], wanted));
done:
    solver_release(&solver);
    ds_position_list_release(&tokens);
    free(wanted);
    if (status != DS_OK) ds_sublayer_jacobians_release(out);
    return status;
}

void ds_sublayer_jacobians_release(ds_sublayer_jacobians *jacobians) {
    for (size_t i = 0; i < jacobians->count; i++) {
        free(jacobians->of[i].singular_values);
        free(jacobians->of[i].eigenvalues);
    }
    free(jacobians->of);
    *jacobians = (ds_sublayer_jacobians){0};
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void put_jacobian(ds_json_builder *b, const ds_sublayer_jacobian *jacobian, size_t n, size_t channels) {
    const double *sigma = jacobian->singular_values;
    char name[32];
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "index", jacobian->sublayer);
    ds_json_put_text(b, "name", ds_sublayer_name(name, jacobian->sublayer));
    ds_json_put_count(b, "sequence", jacobian->at.sequence);
    ds_json_put_count(b, "position", jacobian->at.position);
    ds_json_put_count(b, "size", n);
    ds_json_put_real(b, "norm2", sigma[n - 1]);
    ds_json_put_real(b, "smallest", sigma[0]);
    ds_json_put_real(b, "singular_value_bound", ds_singular_values_estimate(sigma[n - 1], n, n));
    ds_json_put_real(b, "frobenius", jacobian->frobenius);
    ds_json_put_real(b, "spectral_radius", jacobian->spectral_radius);
    ds_json_put_real(b, "log_abs_det", jacobian->log_abs_det);
    ds_json_put_real(b, "trace", jacobian->trace);
    ds_json_put_real(b, "departure_from_normality", jacobian->departure_from_normality);
    ds_json_put_real(b, "distance_to_frozen", jacobian->distance_to_frozen);
    ds_json_begin_object(b, "frozen");
    ds_json_put_real(b, "eigenvalue", 1 - jacobian->frozen_b); /* value_channels times; all others are 1 */
    ds_json_put_real(b, "log_abs_det", (double)channels * jacobian->frozen_log_abs_det);
    ds_json_end(b);
    ds_json_put_reals(b, "singular_values", sigma, n);
    ds_json_begin_array(b, "eigenvalues");
    for (size_t i = 0; i < n; i++)
        ds_json_put_reals(b, NULL, (const double[]){jacobian->eigenvalues[i].re, jacobian->eigenvalues[i].im}, 2);
    ds_json_end(b);
    ds_json_end(b);
}

void ds_sublayer_jacobians_put(ds_json_builder *b, const ds_sublayer_jacobians *jacobians) {
    ds_json_begin_array(b, "jacobians");
    for (size_t i = 0; i < jacobians->count; i++) put_jacobian(b, &jacobians->of[i], jacobians->size, jacobians->channels);
    ds_json_end(b);
}
