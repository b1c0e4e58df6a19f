/* Jacobians of sublayers: forward mode against differences and against the adjoint, own-token blocks against both and gold. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/gradient.h"
#include "deltascope/spectra.h"

#include "forward_case.h"
#include "support.h"

static ds_gradient *open_gradient(const forward_case *c, size_t memory) {
    ds_gradient *gradient;
    const ds_gradient_options options = {.memory = memory};
    expect_ok(ds_gradient_new(&gradient, c->model, c->batch.sequences, c->batch.length, &options));
    return gradient;
}

static double *random_state(const forward_case *c, ds_random *random) {
    size_t count = forward_case_state_bytes(c) / sizeof(double);
    double *x = calloc(count, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) x[i] = ds_random_normal(random);
    return x;
}

static double dot(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* The state before sublayer `first`, learned gates. */
static double *state_before(const forward_case *c, size_t first) {
    double *state = forward_case_embed(c);
    expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, state, 0, first, NULL, NULL));
    return state;
}

static const ds_force forced[] = {
    {DS_FORCE_NONE, 0}, {DS_FORCE_WRITE_ONLY, 0}, {DS_FORCE_ERASE_ONLY, 0}, {DS_FORCE_GATE, 1.3}, {DS_FORCE_CLOSED, 0}};
enum { FORCED = sizeof forced / sizeof forced[0] };

/* ---- adjoint identity -------------------------------------------------------------------------------------------- */

/* <J v, w> = <v, J^T w>: both sides are sums over the whole window of products through the same matrices in another order. */
static void expect_adjoint(const forward_case *c, size_t first, size_t last, const ds_force *gates, size_t memory,
                           ds_random *random) {
    ds_gradient *gradient = open_gradient(c, memory);
    size_t count = forward_case_state_bytes(c) / sizeof(double);
    double *state = state_before(c, first), *v = random_state(c, random), *w = random_state(c, random);
    double *jv = malloc(count * sizeof *jv), *jtw = malloc(count * sizeof *jtw);
    assert_true(jv != NULL && jtw != NULL);
    memcpy(jv, v, count * sizeof *v);
    memcpy(jtw, w, count * sizeof *w);
    expect_ok(ds_linearise(gradient, &c->batch, state, first, last, gates));
    expect_ok(ds_tangent(gradient, jv));
    expect_ok(ds_adjoint(gradient, jtw));
    double left = dot(jv, w, count), right = dot(v, jtw, count);
    double scale = sqrt(dot(jv, jv, count) * dot(w, w, count)) + sqrt(dot(v, v, count) * dot(jtw, jtw, count));
    expect_close(left, right, 64 * (double)(last - first + 1) * ds_unit_roundoff(DS_F64) * scale);
    free(state);
    free(v);
    free(w);
    free(jv);
    free(jtw);
    ds_gradient_free(&gradient);
}

static void adjoint_identity_holds(void **state) {
    (void)state;
    ds_random random = ds_random_init(41);
    print_message("seed 41\n");
    for (size_t i = 0; i < forward_model_count; i++) {
        for (size_t turn = 0; turn < FORCED + 2; turn++) {
            forward_case c = forward_case_open(forward_models[i], DS_F64, 2, turn == 0 ? 1 : 11);
            size_t sublayers = ds_spec_sublayers(c.spec);
            ds_force *gates = calloc(sublayers, sizeof *gates);
            assert_non_null(gates);
            for (size_t s = 0; s < sublayers && ds_rule_has_gates(c.spec->rule) && turn > 1; s++)
                gates[s] = forced[(s + turn) % FORCED];
            expect_adjoint(&c, turn % 2, sublayers, gates, turn % 3 == 0 ? 1 : 0, &random);
            free(gates);
            forward_case_close(&c);
        }
    }
}

/* A window longer than one tile: shifts, TC taps and attention reach across its edge. */
static void tiles_join(void **state) {
    (void)state;
    static const char *const names[] = {"scalar-kvshift", "tc-ec-sharded"};
    ds_random random = ds_random_init(42);
    print_message("seed 42\n");
    for (size_t i = 0; i < 2; i++) {
        forward_case c = forward_case_open(names[i], DS_F64, 1, 700);
        expect_adjoint(&c, 0, 2, NULL, 0, &random);
        forward_case_close(&c);
    }
}

/* ---- differences ------------------------------------------------------------------------------------------------- */

/* Richardson's (4 D(h/2) - D(h)) / 3 with D central; truncation h^4 and cancellation 2^-52 / h are below the tolerance unless
 * a relu's kink is crossed, so that a relu gets the smaller step. */
static void tangents_agree_with_differences(void **unused) {
    (void)unused;
    ds_random random = ds_random_init(43);
    print_message("seed 43\n");
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], DS_F64, 2, 9);
        bool kink =
            c.spec->q_activation == DS_ACT_RELU || c.spec->k_activation == DS_ACT_RELU || c.spec->v_activation == DS_ACT_RELU;
        size_t count = forward_case_state_bytes(&c) / sizeof(double), sublayers = ds_spec_sublayers(c.spec);
        ds_gradient *gradient = open_gradient(&c, 0);
        double *origin = forward_case_embed(&c), *v = random_state(&c, &random), *jv = calloc(count, sizeof *jv);
        double *difference = calloc(count, sizeof *difference), *moved = calloc(count, sizeof *moved);
        assert_true(jv != NULL && difference != NULL && moved != NULL);
        double h = (kink ? 1e-6 : 1e-4) * sqrt(dot(origin, origin, count) / dot(v, v, count));
        const double steps[] = {h / 2, -h / 2, h, -h}, factors[] = {4 / (3 * h), -4 / (3 * h), -1 / (6 * h), 1 / (6 * h)};
        for (size_t k = 0; k < 4; k++) {
            for (size_t t = 0; t < count; t++) moved[t] = origin[t] + steps[k] * v[t];
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, moved, 0, sublayers, NULL, NULL));
            for (size_t t = 0; t < count; t++) difference[t] += factors[k] * moved[t];
        }
        memcpy(jv, v, count * sizeof *v);
        expect_ok(ds_linearise(gradient, &c.batch, origin, 0, sublayers, NULL));
        expect_ok(ds_tangent(gradient, jv));
        for (size_t t = 0; t < count; t++) difference[t] -= jv[t];
        expect_close(sqrt(dot(difference, difference, count) / dot(jv, jv, count)), 0, 1e-6);
        free(origin);
        free(v);
        free(jv);
        free(difference);
        free(moved);
        ds_gradient_free(&gradient);
        forward_case_close(&c);
    }
}

/* ---- own-token Jacobians ----------------------------------------------------------------------------------------- */

/* Where published element row = i*dv + j of one token stands in (dv,d). */
static size_t place(size_t row, size_t d, size_t dv) { return row % dv * d + row / dv; }

/* Every column by a tangent and every row by an adjoint, one sublayer, one token. */
static void expect_dense(ds_gradient *gradient, const forward_case *c, const double *jacobian, size_t sequence,
                         size_t position) {
    size_t d = c->spec->hidden, dv = c->spec->value_channels, size = d * dv,
           count = forward_case_state_bytes(c) / sizeof(double);
    size_t token = (sequence * c->batch.length + position) * size;
    double *x = malloc(count * sizeof *x), largest = 0;
    assert_non_null(x);
    for (size_t i = 0; i < size * size; i++) largest = fmax(largest, fabs(jacobian[i]));
    double tolerance = 256 * ds_unit_roundoff(DS_F64) * largest * sqrt((double)size); /* dot products of d or more terms */
    for (size_t one = 0; one < size; one++) {
        memset(x, 0, count * sizeof *x);
        x[token + place(one, d, dv)] = 1;
        expect_ok(ds_tangent(gradient, x));
        for (size_t row = 0; row < size; row++)
            expect_close(jacobian[row * size + one], x[token + place(row, d, dv)], tolerance);
        memset(x, 0, count * sizeof *x);
        x[token + place(one, d, dv)] = 1;
        expect_ok(ds_adjoint(gradient, x));
        for (size_t column = 0; column < size; column++)
            expect_close(jacobian[one * size + column], x[token + place(column, d, dv)], tolerance);
    }
    free(x);
}

static void token_jacobians_equal_tangents_and_adjoints(void **unused) {
    (void)unused;
    for (size_t i = 0; i + 1 < forward_mild_count; i++) {
        for (size_t half = 0; half < 2; half++) {
            forward_case c = forward_case_open(forward_models[i], DS_F64, 2, 5);
            size_t size = c.spec->hidden * c.spec->value_channels, sublayer = half;
            ds_force *gates = calloc(ds_spec_sublayers(c.spec), sizeof *gates);
            double *jacobian = malloc(size * size * sizeof *jacobian), *state = state_before(&c, sublayer);
            assert_true(gates != NULL && jacobian != NULL);
            if (ds_rule_has_gates(c.spec->rule)) gates[sublayer] = forced[(i + half) % FORCED];
            ds_gradient *gradient = open_gradient(&c, i % 2);
            expect_ok(ds_linearise(gradient, &c.batch, state, sublayer, sublayer + 1, gates));
            expect_ok(ds_token_jacobian(gradient, jacobian, sublayer, 1, 3));
            expect_dense(gradient, &c, jacobian, 1, 3);
            expect_ok(ds_token_jacobian(gradient, jacobian, sublayer, 0, 0));
            expect_dense(gradient, &c, jacobian, 0, 0);
            expect_failure(ds_token_jacobian(gradient, jacobian, sublayer, 2, 0), DS_ERR_USAGE, "linearised are");
            expect_failure(ds_token_jacobian(gradient, jacobian, sublayer + 1, 0, 0), DS_ERR_USAGE, "linearised are");
            ds_gradient_free(&gradient);
            free(gates);
            free(jacobian);
            free(state);
            forward_case_close(&c);
        }
    }
}

/* The golden figures are promised to 1e-6. */
static void golden_jacobians(void **unused) {
    (void)unused;
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], DS_F64, 0, 0);
        const json_t *blocks = json_object_get(c.golden, "block_jacobians");
        size_t size = c.spec->hidden * c.spec->value_channels;
        double *jacobian = malloc(size * size * sizeof *jacobian), *singular = malloc(size * sizeof *singular);
        ds_complex *values = malloc(size * sizeof *values);
        ds_svd *svd;
        ds_eigen *eigen;
        bool promised = ds_rule_has_operators(c.spec->rule) &&
                        strncmp(c.name, "option-", 7) != 0; /* those carry gradients, no singular values */
        assert_true(jacobian != NULL && singular != NULL && values != NULL && (blocks != NULL || !promised));
        expect_ok(ds_svd_new(&svd, size, size));
        expect_ok(ds_eigen_new(&eigen, size));
        ds_gradient *gradient = open_gradient(&c, 0);
        double *state = forward_case_embed(&c), departure;
        expect_ok(ds_linearise(gradient, &c.batch, state, 0, ds_spec_sublayers(c.spec), NULL));
        for (size_t b = 0; b < json_array_size(blocks); b++) {
            const json_t *block = json_array_get(blocks, b);
            expect_ok(ds_token_jacobian(gradient, jacobian, (size_t)golden_number(block, "index"),
                                        (size_t)golden_number(block, "sequence"), (size_t)golden_number(block, "position")));
            double trace = 0, log_abs_det = 0, frobenius = golden_number(block, "frobenius");
            for (size_t k = 0; k < size; k++) trace += jacobian[k * size + k];
            expect_ok(ds_singular_values_approx(singular, jacobian, size, size, svd));
            expect_ok(ds_eigenvalues_approx(values, &departure, jacobian, size, eigen));
            double largest = fmax(singular[0], singular[size - 1]), smallest = fmin(singular[0], singular[size - 1]);
            for (size_t k = 0; k < size; k++) log_abs_det += log(singular[k]);
            expect_close(ds_frobenius_norm(jacobian, size * size), frobenius, 1e-6 * frobenius);
            expect_close(trace, golden_number(block, "trace"), 1e-6 * (double)size);
            expect_close(largest, golden_number(block, "norm2"), 1e-6 * largest);
            expect_close(smallest, golden_number(block, "smallest"), 1e-6 * smallest);
            expect_close(log_abs_det, golden_number(block, "log_abs_det"), 1e-6 * (double)size);
            double radius = ds_spectral_radius(values, size);
            expect_close(radius, golden_number(block, "spectral_radius"), 1e-6 * radius);
        }
        ds_svd_free(&svd);
        ds_eigen_free(&eigen);
        ds_gradient_free(&gradient);
        free(jacobian);
        free(singular);
        free(values);
        free(state);
        forward_case_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adjoint_identity_holds),
        cmocka_unit_test(tiles_join),
        cmocka_unit_test(tangents_agree_with_differences),
        cmocka_unit_test(token_jacobians_equal_tangents_and_adjoints),
        cmocka_unit_test(golden_jacobians),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
