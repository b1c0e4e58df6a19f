/* spectrum: eigenvalues of the frozen shortcut operators, one at a time and accumulated over depth. */
#include <math.h>
#include <stdlib.h>

#include "spectrum.h"

typedef struct spectrum_options {
    const char *positions;
    ds_count samples;
    double regime_tol;
} spectrum_options;

static const ds_option options[] = {
    {"positions", "LIST", "tokens whose depth product is analysed: all, last, or S:P,S:P,... (last)", DS_OPTION_TEXT,
     offsetof(spectrum_options, positions), 0},
    {"samples", "N", "single operators solved densely and held against theory (16)", DS_OPTION_COUNT,
     offsetof(spectrum_options, samples), 1},
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_REAL,
     offsetof(spectrum_options, regime_tol), 0},
};
static const spectrum_options defaults = {.positions = "last", .samples = {16, false}, .regime_tol = 0.1};

typedef struct spectrum_result {
    ds_position_list positions;
    ds_directions directions;
    ds_operator_check operators;
    ds_accumulated *accumulated; /* (positions) */
    ds_direction_overlap overlap;
    json_t *sweep;
    double determinant_error, norm_excess; /* largest over the tokens, in units of their tolerances */
} spectrum_result;

static void release(spectrum_result *result) {
    ds_accumulated_release(result->accumulated, result->positions.count);
    ds_direction_overlap_release(&result->overlap);
    ds_directions_release(&result->directions);
    ds_position_list_release(&result->positions);
    json_decref(result->sweep);
}

/* error / tolerance; 0 where nothing was compared; NaN stays. */
static double relative_to(double error, double tolerance) { return tolerance == 0 && error == 0 ? 0 : error / tolerance; }

/* The identities that hold for every product: a breach is a fault of arithmetic, not a property of the checkpoint. */
static ds_status check_products(spectrum_result *result) {
    for (size_t i = 0; i < result->positions.count; i++) {
        const ds_product_summary *summary = &result->accumulated[i].summary;
        double determinant = relative_to(summary->determinant_error, summary->determinant_tolerance);
        double norm = relative_to(summary->norm_excess, summary->norm_tolerance);
        if (!(determinant <= 1) || !(norm <= 1))
            return ds_fail(DS_ERR_SYSTEM,
                           "the accumulated operator of window %zu, position %zu breaks an identity: log|det| is off by %g "
                           "(at most %g expected), its norm exceeds 1 by %g (at most %g expected)",
                           result->positions.at[i].sequence, result->positions.at[i].position, summary->determinant_error,
                           summary->determinant_tolerance, summary->norm_excess, summary->norm_tolerance);
        result->determinant_error = fmax(result->determinant_error, determinant);
        result->norm_excess = fmax(result->norm_excess, norm);
    }
    return DS_OK;
}

static ds_status measure(spectrum_result *result, ds_session *session, const spectrum_options *own) {
    ds_status status = DS_OK;
    const ds_spec *spec = &session->spec;
    DS_TRY(ds_directions_gather(&result->directions, session, &result->positions));
    DS_TRY(ds_operator_check_run(&result->operators, &result->directions, own->samples.value,
                                 session->invocation->common.seed.value));
    DS_TRY(ds_sweep_json(&result->sweep, result->directions.k, spec->residual_mult, spec->hidden, own->regime_tol));
    DS_NEW(result->accumulated, result->positions.count);
    DS_TRY(ds_accumulated_run(result->accumulated, &result->directions));
    DS_TRY(check_products(result));
    DS_TRY(ds_direction_overlap_run(&result->overlap, &result->directions));
done:
    return status;
}

static void put_complexes(ds_json_builder *b, const char *key, const ds_complex *values, size_t count) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) ds_json_put_reals(b, NULL, (const double[]){values[i].re, values[i].im}, 2);
    ds_json_end(b);
}

static void put_accumulated(ds_json_builder *b, ds_position at, const ds_accumulated *item) {
    const ds_product_summary *summary = &item->summary;
    ds_json_begin_object(b, NULL);
    ds_json_put_count(b, "sequence", at.sequence);
    ds_json_put_count(b, "position", at.position);
    put_complexes(b, "eigenvalues", item->eigenvalues, item->order);
    ds_json_put_reals(b, "eigenvalue_bounds", item->bounds, item->order);
    ds_json_put_reals(b, "singular_values", item->singular_values, item->order);
    ds_json_put_real(b, "singular_value_bound", item->singular_bound);
    ds_json_put_real(b, "norm2", summary->norm2);
    ds_json_put_real(b, "spectral_radius", summary->spectral_radius);
    ds_json_put_real(b, "frobenius_defect", summary->frobenius_defect);
    ds_json_put_real(b, "log_abs_det", summary->log_abs_det);
    ds_json_put_real(b, "departure_from_normality", summary->departure_from_normality);
    ds_json_end(b);
}

static void put_operator(ds_json_builder *b, const ds_operator_check *check) {
    ds_json_begin_object(b, "operator");
    ds_json_put_count(b, "samples", check->samples);
    ds_json_put_real(b, "max_eigenvalue_error", check->max_eigenvalue_error);
    ds_json_put_real(b, "max_determinant_error", check->max_determinant_error);
    ds_json_put_real(b, "max_orthogonality_error", check->max_orthogonality_error);
    ds_json_put_real(b, "tolerance", check->tolerance);
    ds_json_end(b);
}

static ds_status make_results(json_t **results, spectrum_result *result) {
    ds_json_builder b = {0};
    size_t sublayers = result->overlap.sublayers;
    ds_json_begin_object(&b, NULL);
    put_operator(&b, &result->operators);
    ds_json_put(&b, "sweep", json_incref(result->sweep));
    ds_json_begin_array(&b, "accumulated");
    for (size_t i = 0; i < result->positions.count; i++) put_accumulated(&b, result->positions.at[i], &result->accumulated[i]);
    ds_json_end(&b);
    ds_json_begin_object(&b, "checks");
    ds_json_put_real(&b, "determinant_error_over_tolerance", result->determinant_error);
    ds_json_put_real(&b, "norm_excess_over_tolerance", result->norm_excess);
    ds_json_end(&b);
    ds_json_begin_object(&b, "directions");
    ds_json_begin_array(&b, "coherence");
    for (size_t a = 0; a < sublayers; a++) ds_json_put_reals(&b, NULL, result->overlap.coherence + a * sublayers, sublayers);
    ds_json_end(&b);
    ds_json_put_real(&b, "effective_rank", result->overlap.effective_rank);
    ds_json_end(&b);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

static const ds_column columns[] = {
    {"sequence", "window", NULL, DS_COLUMN_INTEGER, 0},
    {"position", NULL, NULL, DS_COLUMN_INTEGER, 0},
    {"spectral_radius", "|λ| max", NULL, DS_COLUMN_FIXED, 6},
    {"smallest", "σ min", NULL, DS_COLUMN_FIXED, 6},
    {"norm2", "σ max", NULL, DS_COLUMN_FIXED, 6},
    {"log_abs_det", "log|det|", NULL, DS_COLUMN_FIXED, 4},
    {"frobenius_defect", "‖P-I‖F", NULL, DS_COLUMN_FIXED, 4},
    {"largest_bound", "± (est.)", NULL, DS_COLUMN_REAL, 2},
};

static ds_status make_table(ds_table **table, const spectrum_result *result) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Shortcut accumulated over depth", columns, sizeof columns / sizeof columns[0]));
    for (size_t i = 0; i < result->positions.count; i++) {
        const ds_accumulated *item = &result->accumulated[i];
        double bound = item->singular_bound;
        for (size_t j = 0; j < item->order; j++) bound = fmax(bound, item->bounds[j]);
        ds_table_integer(*table, (int64_t)result->positions.at[i].sequence);
        ds_table_integer(*table, (int64_t)result->positions.at[i].position);
        ds_table_real(*table, item->summary.spectral_radius);
        ds_table_real(*table, item->summary.smallest);
        ds_table_real(*table, item->summary.norm2);
        ds_table_real(*table, item->summary.log_abs_det);
        ds_table_real(*table, item->summary.frobenius_defect);
        ds_table_real(*table, bound);
    }
done:
    return status;
}

static ds_status make_options(json_t **chosen, const ds_session *session, const spectrum_options *own) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "positions", own->positions);
    ds_json_put_count(&b, "samples", own->samples.value);
    ds_json_put_real(&b, "regime_tol", own->regime_tol);
    ds_json_put_count(&b, "seed", session->invocation->common.seed.value);
    ds_json_end(&b);
    return ds_json_finish(chosen, &b);
}

static ds_status publish(const ds_session *session, spectrum_result *result, const spectrum_options *own) {
    ds_status status = DS_OK;
    json_t *results = NULL, *chosen = NULL, *envelope = NULL;
    ds_table *table = NULL;
    DS_TRY(make_table(&table, result));
    DS_TRY(make_options(&chosen, session, own));
    DS_TRY(make_results(&results, result));
    status = ds_session_envelope(&envelope, session, chosen, results);
    chosen = results = NULL; /* taken over, also on failure */
    if (status != DS_OK) goto done;
    DS_TRY(ds_session_write(session, envelope, &table, 1));
    if (session->invocation->common.quiet) goto done;
    (void)printf("%zu operators against theory: eigenvalues within %.2g, determinants %.2g, orthogonality %.2g\n",
                 result->operators.samples, result->operators.max_eigenvalue_error, result->operators.max_determinant_error,
                 result->operators.max_orthogonality_error);
    DS_TRY(ds_table_print(stdout, table));
done:
    json_decref(chosen);
    json_decref(results);
    json_decref(envelope);
    ds_table_free(&table);
    return status;
}

static ds_status run(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const spectrum_options *own = invocation->own;
    ds_session session;
    spectrum_result result = {0};
    DS_TRY(ds_session_open(&session, invocation));
    if (!session.spec.delta) {
        status = ds_fail(DS_ERR_USAGE,
                         "an additive checkpoint has no shortcut operator but the identity: there is no spectrum to show");
        goto done;
    }
    DS_TRY(ds_position_list_parse(&result.positions, own->positions, session.sequences, session.length));
    DS_TRY(measure(&result, &session, own));
    DS_TRY(publish(&session, &result, own));
done:
    release(&result);
    ds_session_close(&session);
    return status;
}

const ds_command ds_command_spectrum = {
    .name = "spectrum",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "Eigenvalues of the shortcut operators, single and over depth",
    .description =
        "Frozen operators A = I - m beta k k^T of sampled tokens, built densely and solved by LAPACK, against theory; "
        "the moved eigenvalue over beta in [0, 2] along a learned direction; and, for chosen tokens, the operator "
        "accumulated over depth P = A_{S-1} ... A_0: the eigenvalues and singular values that can differ from 1, with "
        "an estimate of each one's error.",
    .examples = "  deltascope spectrum --tokens val.bin checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --positions 0:0,3:32 --json spectrum.json checkpoint/\n",
    .takes = DS_TAKES_MODEL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run,
};
