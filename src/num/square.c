/* Small square matrices made of logits, in double: by Sinkhorn's rounds, or by Newton-Schulz steps. */
#include <math.h>
#include <string.h>

#include "deltascope/num.h"

/* ---- Sinkhorn --------------------------------------------------------------------------------------------------------- */

/* Line i of a matrix: a row, or a column. */
typedef struct lines {
    size_t line, element;
} lines;
static lines lines_of(bool rows, size_t n) { return rows ? (lines){n, 1} : (lines){1, n}; }
/* The first half of a round goes over the lines that the last half does not. */
static bool over_rows(size_t half, bool rows_last) { return (half % 2 == 1) == rows_last; }

/* Every line of exp(logs) is made to add up to 1. */
static void normalise(double *logs, size_t n, lines at) {
    for (size_t i = 0; i < n; i++) {
        double *line = logs + i * at.line, highest = line[0], sum = 0;
        for (size_t k = 1; k < n; k++) highest = fmax(highest, line[k * at.element]);
        for (size_t k = 0; k < n; k++) sum += exp(line[k * at.element] - highest);
        double shift = highest + log(sum);
        for (size_t k = 0; k < n; k++) line[k * at.element] -= shift;
    }
}

void ds_sinkhorn_forward(double *matrix, double *history, const double *logits, size_t n, size_t rounds, bool rows_last) {
    memmove(matrix, logits, n * n * sizeof *matrix);
    for (size_t half = 0; half < 2 * rounds; half++) {
        normalise(matrix, n, lines_of(over_rows(half, rows_last), n));
        for (size_t i = 0; history != NULL && i < n * n; i++) history[half * n * n + i] = exp(matrix[i]);
    }
    for (size_t i = 0; i < n * n; i++) matrix[i] = exp(matrix[i]);
}

/* Of one normalisation, whose result has the exponentials p: d <- d - p (sum of d along the line). */
static void normalise_backward(double *d, const double *p, size_t n, lines at) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) sum += d[i * at.line + k * at.element];
        for (size_t k = 0; k < n; k++) d[i * at.line + k * at.element] -= p[i * at.line + k * at.element] * sum;
    }
}

void ds_sinkhorn_backward(double *d, const double *history, size_t n, size_t rounds, bool rows_last) {
    const double *last = history + (2 * rounds - 1) * n * n;
    for (size_t i = 0; i < n * n; i++) d[i] *= last[i];
    for (size_t half = 2 * rounds; half-- > 0;)
        normalise_backward(d, history + half * n * n, n, lines_of(over_rows(half, rows_last), n));
}

/* d <- d - (sum of p d along the line). */
static void normalise_tangent(double *d, const double *p, size_t n, lines at) {
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) sum += p[i * at.line + k * at.element] * d[i * at.line + k * at.element];
        for (size_t k = 0; k < n; k++) d[i * at.line + k * at.element] -= sum;
    }
}

void ds_sinkhorn_tangent(double *d, const double *history, size_t n, size_t rounds, bool rows_last) {
    const double *last = history + (2 * rounds - 1) * n * n;
    for (size_t half = 0; half < 2 * rounds; half++)
        normalise_tangent(d, history + half * n * n, n, lines_of(over_rows(half, rows_last), n));
    for (size_t i = 0; i < n * n; i++) d[i] *= last[i];
}

/* ---- Newton-Schulz ---------------------------------------------------------------------------------------------------- */

/* c <- c + a b, b transposed or not. */
static void add_product(double *c, const double *a, const double *b, size_t n, bool transposed) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < n; k++) c[i * n + j] += a[i * n + k] * (transposed ? b[j * n + k] : b[k * n + j]);
}

/* gram <- y y^T, factor <- second gram + third gram^2. */
static void polynomial(double *factor, double *gram, const double *y, const double coefficients[3], size_t n) {
    memset(gram, 0, n * n * sizeof *gram);
    memset(factor, 0, n * n * sizeof *factor);
    add_product(gram, y, y, n, true);
    add_product(factor, gram, gram, n, false);
    for (size_t i = 0; i < n * n; i++) factor[i] = coefficients[1] * gram[i] + coefficients[2] * factor[i];
}

static double frobenius(const double *matrix, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n * n; i++) squares += matrix[i] * matrix[i];
    return sqrt(squares);
}

void ds_orthostochastic_forward(double *matrix, double *history, const double *logits, size_t n, size_t steps, double eps,
                                const double coefficients[3]) {
    double *factor = history + (steps + 1) * n * n, *gram = factor + n * n, size = frobenius(logits, n) + eps;
    for (size_t i = 0; i < n * n; i++) history[i] = logits[i] / size;
    for (size_t step = 0; step < steps; step++) {
        const double *y = history + step * n * n;
        double *next = history + (step + 1) * n * n;
        polynomial(factor, gram, y, coefficients, n);
        for (size_t i = 0; i < n * n; i++) next[i] = coefficients[0] * y[i];
        add_product(next, factor, y, n, false);
    }
    const double *last = history + steps * n * n;
    for (size_t i = 0; i < n * n; i++) matrix[i] = last[i] * last[i];
}

/* d, the gradient at a y + (b g + c g^2) y with g = y y^T, goes to that at y. */
static void step_backward(double *d, const double *y, double *room, const double coefficients[3], size_t n) {
    double *factor = room, *gram = room + n * n, *dfactor = room + 2 * n * n, *dgram = room + 3 * n * n, *to = room + 4 * n * n;
    polynomial(factor, gram, y, coefficients, n);
    memset(dfactor, 0, n * n * sizeof *dfactor);
    memset(dgram, 0, n * n * sizeof *dgram);
    add_product(dfactor, d, y, n, true);
    add_product(dgram, dfactor, gram, n, false); /* the Gram matrix is symmetric */
    add_product(dgram, gram, dfactor, n, false);
    for (size_t i = 0; i < n * n; i++) dgram[i] = coefficients[1] * dfactor[i] + coefficients[2] * dgram[i];
    for (size_t i = 0; i < n * n; i++) to[i] = coefficients[0] * d[i];
    add_product(to, factor, d, n, false);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) dfactor[i * n + j] = dgram[i * n + j] + dgram[j * n + i];
    add_product(to, dfactor, y, n, false);
    memcpy(d, to, n * n * sizeof *d);
}

void ds_orthostochastic_backward(double *d, double *history, const double *logits, size_t n, size_t steps, double eps,
                                 const double coefficients[3]) {
    const double *last = history + steps * n * n;
    for (size_t i = 0; i < n * n; i++) d[i] *= 2 * last[i];
    for (size_t step = steps; step-- > 0;)
        step_backward(d, history + step * n * n, history + (steps + 1) * n * n, coefficients, n);
    double norm = frobenius(logits, n), size = norm + eps, along = 0;
    for (size_t i = 0; i < n * n; i++) along += d[i] * logits[i];
    for (size_t i = 0; i < n * n; i++) d[i] = d[i] / size - (norm > 0 ? logits[i] * along / (size * size * norm) : 0);
}
