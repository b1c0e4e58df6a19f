/* Jacobians of single sublayers at single tokens, densely, beside the frozen operator the paper's Proposition 2.1 is about. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/delta.h"
#include "deltascope/num.h"
#include "gradflow.h"
#include "positions.h"
#include "words.h"

/* Workspaces and results for one d dv x d dv block. */
typedef struct block {
    size_t size, hidden, channels;
    double *jacobian, *difference; /* (size, size) */
    double *singular_values;       /* (size) ascending */
    ds_complex *eigenvalues;       /* (size) */
    ds_eigen *eigen;
    ds_svd *svd;
} block;

static ds_status block_init(block *work, const ds_spec *spec) {
    ds_status status = DS_OK;
    *work = (block){.size = spec->hidden * spec->value_channels, .hidden = spec->hidden, .channels = spec->value_channels};
    DS_NEW_ARRAY(work->jacobian, work->size * work->size);
    DS_NEW_ARRAY(work->difference, work->size * work->size);
    DS_NEW(work->singular_values, work->size);
    DS_NEW(work->eigenvalues, work->size);
    DS_TRY(ds_eigen_new(&work->eigen, work->size));
    DS_TRY(ds_svd_new(&work->svd, work->size, work->size));
done:
    return status;
}

static void block_release(block *work) {
    free(work->jacobian);
    free(work->difference);
    free(work->singular_values);
    free(work->eigenvalues);
    ds_eigen_free(&work->eigen);
    ds_svd_free(&work->svd);
}

/* k and beta of one token as the run used them. */
typedef struct frozen {
    double *k; /* (d) */
    double c;  /* m beta */
    size_t sequence, position;
    double residual_mult;
} frozen;

static ds_status keep_frozen(void *context, const ds_observation *seen) {
    frozen *token = context;
    size_t t = token->sequence * seen->length + token->position;
    ds_widen(token->k, seen->delta->k, t * seen->hidden, seen->hidden, seen->precision);
    token->c = token->residual_mult * seen->delta->beta[t];
    return DS_OK;
}

/* difference <- J - A, A = I - c k k^T on every channel, rows i*dv + j. */
static void subtract_frozen(block *work, const frozen *token, bool delta) {
    size_t dv = work->channels;
    memcpy(work->difference, work->jacobian, work->size * work->size * sizeof *work->jacobian);
    for (size_t i = 0; i < work->size; i++) work->difference[i * work->size + i] -= 1;
    if (!delta) return;
    for (size_t a = 0; a < work->hidden; a++) {
        for (size_t b = 0; b < work->hidden; b++) {
            for (size_t j = 0; j < dv; j++)
                work->difference[(a * dv + j) * work->size + b * dv + j] += token->c * token->k[a] * token->k[b];
        }
    }
}

static void put_block(ds_json_builder *b, const block *work, size_t sublayer, ds_position at, double departure,
                      const frozen *token, bool delta) {
    size_t n = work->size;
    double trace = 0, log_abs_det = 0, frobenius = ds_frobenius_norm(work->jacobian, n * n), norm2 = 0;
    char name[32];
    for (size_t i = 0; i < n; i++) {
        trace += work->jacobian[i * n + i];
        log_abs_det += log(work->singular_values[i]);
    }
    for (size_t i = 0; delta && i < work->hidden; i++) norm2 += token->k[i] * token->k[i];
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "index", sublayer);
    ds_json_put_text(b, "name", ds_sublayer_name(name, sublayer));
    ds_json_put_count(b, "sequence", at.sequence);
    ds_json_put_count(b, "position", at.position);
    ds_json_put_count(b, "size", n);
    ds_json_put_real(b, "norm2", work->singular_values[n - 1]);
    ds_json_put_real(b, "smallest", work->singular_values[0]);
    ds_json_put_real(b, "singular_value_bound", ds_singular_values_estimate(work->singular_values[n - 1], n, n));
    ds_json_put_real(b, "frobenius", frobenius);
    ds_json_put_real(b, "spectral_radius", ds_spectral_radius(work->eigenvalues, n));
    ds_json_put_real(b, "log_abs_det", log_abs_det);
    ds_json_put_real(b, "trace", trace);
    ds_json_put_real(b, "departure_from_normality", departure);
    ds_json_put_real(b, "distance_to_frozen",
                     ds_frobenius_norm(work->difference, n * n) / frobenius); /* ||J - A||_F / ||J||_F */
    ds_json_begin_object(b, "frozen");
    ds_json_put_real(b, "eigenvalue", 1 - (delta ? token->c * norm2 : 0)); /* value_channels times; all others are 1 */
    ds_json_put_real(b, "log_abs_det", (double)work->channels * ds_delta_log_abs_det(delta ? token->c * norm2 : 0));
    ds_json_end(b);
    ds_json_put_reals(b, "singular_values", work->singular_values, n);
    ds_json_begin_array(b, "eigenvalues");
    for (size_t i = 0; i < n; i++)
        ds_json_put_reals(b, NULL, (const double[]){work->eigenvalues[i].re, work->eigenvalues[i].im}, 2);
    ds_json_end(b);
    ds_json_end(b);
}

/* One run: which window is in hand and what is solved there. */
typedef struct jacobian_task {
    ds_session *session;
    ds_gradient *gradient;
    const ds_force *gates;
    void *state; /* (1,T,dv,d) */
    block work;
    frozen token;
    ds_json_builder builder;
} jacobian_task;

/* Moves the window's state through sublayer s, keeping its linearisation and the token's k and beta, and solves the block. */
static ds_status solve_sublayer(jacobian_task *task, const ds_batch *batch, size_t sublayer, ds_position at, bool wanted) {
    ds_status status = DS_OK;
    ds_session *session = task->session;
    block *work = &task->work;
    bool delta = ds_rule_has_operators(session->spec.rule);
    double departure;
    size_t width = session->spec.hidden * session->spec.value_channels * session->length;
    ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, keep_frozen, &task->token};
    void *copy = NULL;
    if (!wanted)
        return ds_sublayers(session->workspace, session->model, batch, task->state, sublayer, sublayer + 1, task->gates, NULL);
    copy = ds_alloc_array(width, ds_precision_size(ds_model_precision(session->model)));
    if (copy == NULL) return DS_ERR_SYSTEM;
    memcpy(copy, task->state, width * ds_precision_size(ds_model_precision(session->model)));
    DS_TRY(ds_linearise(task->gradient, batch, copy, sublayer, sublayer + 1, task->gates));
    DS_TRY(ds_sublayers(session->workspace, session->model, batch, task->state, sublayer, sublayer + 1, task->gates,
                        delta ? &observer : NULL));
    DS_TRY(ds_token_jacobian(task->gradient, work->jacobian, sublayer, 0, at.position));
    subtract_frozen(work, &task->token, delta);
    DS_TRY(ds_eigenvalues_approx(work->eigenvalues, &departure, work->jacobian, work->size, work->eigen));
    DS_TRY(ds_singular_values_approx(work->singular_values, work->jacobian, work->size, work->size, work->svd));
    put_block(&task->builder, work, sublayer, at, departure, &task->token, delta);
done:
    free(copy);
    return status;
}

/* wanted (S) <- which sublayers a list of names or indices holds; all of them for NULL. */
static ds_status parse_sublayers(bool *wanted, const char *words, size_t sublayers) {
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
    return DS_OK;
}

static ds_status solve_position(jacobian_task *task, ds_position at, const bool *wanted) {
    ds_status status = DS_OK;
    ds_session *session = task->session;
    size_t sublayers = ds_spec_sublayers(&session->spec), last = sublayers;
    ds_batch batch;
    DS_TRY(ds_session_batch(session, at.sequence, &batch));
    batch.sequences = 1;
    task->token.sequence = 0;
    task->token.position = at.position;
    while (last > 0 && !wanted[last - 1]) last--;
    DS_TRY(ds_embed(session->workspace, session->model, &batch, task->state));
    for (size_t s = 0; s < last; s++) DS_TRY(solve_sublayer(task, &batch, s, at, wanted[s]));
done:
    return status;
}

ds_status ds_jacobians_json(json_t **out, ds_session *session, const ds_force *gates, const char *positions,
                            const char *sublayers) {
    ds_status status = DS_OK;
    const ds_spec *spec = &session->spec;
    ds_position_list list = {0};
    bool *wanted = NULL;
    jacobian_task task = {.session = session, .gates = gates, .token = {.residual_mult = spec->residual_mult}};
    const ds_gradient_options options = {0};
    DS_NEW(wanted, ds_spec_sublayers(spec));
    DS_TRY(parse_sublayers(wanted, sublayers, ds_spec_sublayers(spec)));
    DS_TRY(ds_position_list_parse(&list, positions, session->sequences, session->length));
    if (list.all) {
        status =
            ds_fail(DS_ERR_USAGE, "--jacobian takes SEQUENCE:POSITION or last: all would be a dense problem for every token");
        goto done;
    }
    DS_TRY(block_init(&task.work, spec));
    DS_NEW(task.token.k, spec->hidden);
    DS_TRY(ds_gradient_new(&task.gradient, session->model, 1, session->length, &options));
    task.state = ds_alloc_array(session->length * task.work.size, ds_precision_size(ds_model_precision(session->model)));
    if (task.state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    ds_json_begin_array(&task.builder, NULL);
    for (size_t i = 0; i < list.count; i++) DS_TRY(solve_position(&task, list.at[i], wanted));
    ds_json_end(&task.builder);
    DS_TRY(ds_json_finish(out, &task.builder));
done:
    ds_json_discard(&task.builder);
    ds_gradient_free(&task.gradient);
    ds_position_list_release(&list);
    block_release(&task.work);
    free(task.token.k);
    free(task.state);
    free(wanted);
    return status;
}

/* ---- for people ---- */

static const ds_column columns[] = {
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"sequence", "window", NULL, DS_COLUMN_INTEGER, 0},
    {"position", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"norm2", "σ max", NULL, DS_COLUMN_REAL, 4},
    {"smallest", "σ min", NULL, DS_COLUMN_REAL, 3},
    {"spectral_radius", "|λ| max", NULL, DS_COLUMN_REAL, 4},
    {"log_abs_det", "log|det|", NULL, DS_COLUMN_FIXED, 3},
    {"distance_to_frozen", "|J-A|/|J|", NULL, DS_COLUMN_FIXED, 3},
    {"frozen_eigenvalue", "1-b of A", NULL, DS_COLUMN_FIXED, 3},
};

ds_status ds_jacobians_table(ds_table **table, const json_t *jacobians) {
    static const char *const reals[] = {"norm2",       "smallest",           "spectral_radius",
                                        "log_abs_det", "distance_to_frozen", "frozen/eigenvalue"};
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Jacobians J of full sublayers, beside the frozen shortcut A", columns,
                        sizeof columns / sizeof columns[0]));
    for (size_t i = 0; i < json_array_size(jacobians); i++) {
        const json_t *item = json_array_get(jacobians, i);
        ds_table_text(*table, json_string_value(json_object_get(item, "name")));
        ds_table_integer(*table, json_integer_value(json_object_get(item, "sequence")));
        ds_table_integer(*table, json_integer_value(json_object_get(item, "position")));
        for (size_t r = 0; r < sizeof reals / sizeof reals[0]; r++) {
            const json_t *value = ds_result_at(item, reals[r]);
            ds_table_real(*table, json_is_number(value) ? json_number_value(value) : NAN); /* null is not finite */
        }
    }
done:
    return status;
}
