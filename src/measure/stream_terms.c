#include "stream_terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t mixing_length(size_t n) { return n * (n + 2); }

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

ds_status ds_stream_pass_init(ds_stream_pass *pass, const ds_spec *spec, size_t most) {
    ds_status status = DS_OK;
    size_t n = spec->streams.count, sublayers = ds_spec_sublayers(spec);
    *pass = (ds_stream_pass){.streams = n,
                             .sublayers = sublayers,
                             .most = most,
                             .hidden = spec->hidden,
                             .workers = ds_threads(),
                             .scratch_length = 3 * n * n + n + 2 * n * (sublayers + 1)};
    DS_NEW_ARRAY(pass->mixing, sublayers * most * mixing_length(n));
    DS_NEW_ARRAY(pass->range, sublayers * most);
    DS_NEW_ARRAY(pass->cosine, sublayers * most);
    DS_NEW_ARRAY(pass->numbers, most * sublayers * DS_STREAM_NUMBERS);
    DS_NEW_ARRAY(pass->scratch, pass->workers * pass->scratch_length);
    DS_NEW_ARRAY(pass->values, pass->workers * n);
    DS_NEW(pass->svd, pass->workers);
    DS_NEW(pass->eigen, pass->workers);
    for (size_t i = 0; i < pass->workers; i++) {
        DS_TRY(ds_svd_new(&pass->svd[i], n, n));
        DS_TRY(ds_eigen_new(&pass->eigen[i], n));
    }
done:
    return status;
}

void ds_stream_pass_release(ds_stream_pass *pass) {
    for (size_t i = 0; pass->svd != NULL && i < pass->workers; i++) ds_svd_free(&pass->svd[i]);
    for (size_t i = 0; pass->eigen != NULL && i < pass->workers; i++) ds_eigen_free(&pass->eigen[i]);
    void *owned[] = {pass->mixing,  pass->range,  pass->cosine, pass->numbers,
                     pass->scratch, pass->values, pass->svd,    pass->eigen};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    *pass = (ds_stream_pass){0};
}

ds_status ds_stream_sublayers_init(ds_stream_sublayer **sublayers, const ds_spec *spec) {
    ds_status status = DS_OK;
    DS_NEW(*sublayers, ds_spec_sublayers(spec));
    for (size_t s = 0; s < ds_spec_sublayers(spec); s++) {
        DS_NEW((*sublayers)[s].entries, mixing_length(spec->streams.count));
        (*sublayers)[s].min_entry = INFINITY;
    }
done:
    return status;
}

/* ---- what a pass leaves ----------------------------------------------------------------------------------------------- */

void ds_stream_pass_keep(ds_stream_pass *pass, const ds_observation *seen) {
    const ds_stream_observation *streams = seen->streams;
    size_t tokens = seen->sequences * seen->length, length = mixing_length(pass->streams), at = seen->sublayer * pass->most;
    memcpy(pass->mixing + at * length, streams->mixing, tokens * length * sizeof *pass->mixing);
    for (size_t t = 0; t < tokens; t++) pass->range[at + t] = streams->logit_range != NULL ? streams->logit_range[t] : NAN;
}

static double inner(const void *state, size_t x, size_t y, size_t hidden, ds_precision precision) {
    double sum = 0;
    for (size_t i = 0; i < hidden; i++)
        sum += ds_real_at(state, precision, x * hidden + i) * ds_real_at(state, precision, y * hidden + i);
    return sum;
}

void ds_stream_pass_state(ds_stream_pass *pass, size_t sublayer, size_t tokens, const void *state, ds_precision precision) {
    size_t n = pass->streams, d = pass->hidden;
    double norms[64]; /* of at most so many streams */
    for (size_t t = 0; t < tokens; t++) {
        double sum = 0;
        for (size_t s = 0; s < n; s++) norms[s] = sqrt(inner(state, t * n + s, t * n + s, d, precision));
        for (size_t s = 0; s < n; s++)
            for (size_t k = 0; k < s; k++) {
                double size = norms[s] * norms[k];
                sum += size > 0 ? inner(state, t * n + s, t * n + k, d, precision) / size : 0;
            }
        pass->cosine[sublayer * pass->most + t] = sum / ((double)(n * (n - 1)) / 2);
    }
}

/* ---- one token -------------------------------------------------------------------------------------------------------- */

/* c (n,columns) <- a (n,n) b (n,columns). */
static void multiply(double *c, const double *a, const double *b, size_t n, size_t columns, size_t stride) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < columns; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += a[i * n + k] * b[k * stride + j];
            c[i * stride + j] = sum;
        }
}

/* Largest sums of rows and columns, with signs and without, and how far they are from 1. */
static void sums_of(double out[DS_MATRIX_NUMBERS], const double *matrix, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double row = 0, column = 0, absolute_row = 0, absolute_column = 0;
        for (size_t k = 0; k < n; k++) {
            row += matrix[i * n + k];
            column += matrix[k * n + i];
            absolute_row += fabs(matrix[i * n + k]);
            absolute_column += fabs(matrix[k * n + i]);
        }
        out[DS_MATRIX_FORWARD_GAIN] = fmax(out[DS_MATRIX_FORWARD_GAIN], fabs(row));
        out[DS_MATRIX_BACKWARD_GAIN] = fmax(out[DS_MATRIX_BACKWARD_GAIN], fabs(column));
        out[DS_MATRIX_INF_NORM] = fmax(out[DS_MATRIX_INF_NORM], absolute_row);
        out[DS_MATRIX_ONE_NORM] = fmax(out[DS_MATRIX_ONE_NORM], absolute_column);
        out[DS_MATRIX_ROW_DEVIATION] = fmax(out[DS_MATRIX_ROW_DEVIATION], fabs(row - 1));
        out[DS_MATRIX_COLUMN_DEVIATION] = fmax(out[DS_MATRIX_COLUMN_DEVIATION], fabs(column - 1));
    }
}

static ds_status numbers_of(double out[DS_MATRIX_NUMBERS], const double *matrix, ds_stream_pass *pass, size_t worker,
                            double *singular) {
    ds_status status = DS_OK;
    size_t n = pass->streams;
    ds_complex *values = pass->values + worker * n;
    double distance = 0, largest = 0, second = 0;
    memset(out, 0, DS_MATRIX_NUMBERS * sizeof *out);
    sums_of(out, matrix, n);
    for (size_t i = 0; i < n * n; i++) {
        double x = matrix[i] - (i / n == i % n ? 1 : 0);
        distance += x * x;
    }
    DS_TRY(ds_singular_values_approx(singular, matrix, n, n, pass->svd[worker]));
    DS_TRY(ds_eigenvalues_approx(values, NULL, matrix, n, pass->eigen[worker]));
    for (size_t i = 0; i < n; i++) {
        double modulus = hypot(values[i].re, values[i].im);
        second = fmax(second, fmin(modulus, largest));
        largest = fmax(largest, modulus);
    }
    out[DS_MATRIX_IDENTITY_DISTANCE] = sqrt(distance);
    out[DS_MATRIX_SPECTRAL_NORM] = singular[n - 1];
    out[DS_MATRIX_SECOND_SINGULAR] = singular[n - 2];
    out[DS_MATRIX_SMALLEST_SINGULAR] = singular[0];
    out[DS_MATRIX_SPECTRAL_RADIUS] = largest;
    out[DS_MATRIX_SECOND_EIGENVALUE] = second;
done:
    return status;
}

double ds_off_diagonal(const double *matrix, size_t n) {
    double all = 0, off = 0;
    for (size_t i = 0; i < n * n; i++) {
        all += fabs(matrix[i]);
        off += i / n == i % n ? 0 : fabs(matrix[i]);
    }
    return all > 0 ? off / all : 0;
}

/* off_diagonal, pre_post, row_entropy. */
static void own_numbers(double out[3], const double *mixing, size_t n) {
    double along = 0, entropy = 0;
    for (size_t s = 0; s < n; s++) along += mixing[s] * mixing[n + s];
    for (size_t t = 0; t < n; t++) { /* of a row's shares */
        const double *row = mixing + (2 + t) * n;
        double sum = 0;
        for (size_t s = 0; s < n; s++) sum += row[s];
        for (size_t s = 0; s < n; s++) entropy -= row[s] > 0 && sum > 0 ? row[s] / sum * log(row[s] / sum) : 0;
    }
    out[0] = ds_off_diagonal(mixing + 2 * n, n);
    out[1] = along;
    out[2] = entropy / (double)n;
}

static const double *mixing_of(const ds_stream_pass *pass, size_t sublayer, size_t token) {
    return pass->mixing + (sublayer * pass->most + token) * mixing_length(pass->streams);
}

/* Row s of A is pre_s^T times what became of every output in the streams before sublayer s, that of the readout their sum. */
static void rows_of(const ds_stream_pass *pass, size_t token, double *columns, double *next) {
    size_t n = pass->streams, reads = pass->sublayers + 1;
    for (size_t k = 0; k < n; k++) columns[k * reads] = 1;
    for (size_t s = 0; s < reads; s++) {
        const double *mixing = s < pass->sublayers ? mixing_of(pass, s, token) : NULL;
        double *row = pass->mix + s * pass->most * reads + token * (s + 1);
        memset(row, 0, (s + 1) * sizeof *row);
        for (size_t k = 0; k < n; k++)
            for (size_t i = 0; i <= s; i++) row[i] += (mixing != NULL ? mixing[k] : 1) * columns[k * reads + i];
        if (mixing == NULL) break;
        multiply(next, mixing + 2 * n, columns, n, s + 1, reads);
        for (size_t k = 0; k < n; k++) next[k * reads + s + 1] = mixing[n + k];
        double *before = columns;
        columns = next;
        next = before;
    }
}

static ds_status token_task(void *context, size_t token, size_t worker) {
    ds_status status = DS_OK;
    ds_stream_pass *pass = context;
    size_t n = pass->streams, square = n * n, sublayers = pass->sublayers;
    double *scratch = pass->scratch + worker * pass->scratch_length, *singular = scratch + 3 * square, *product = scratch,
           *next = scratch + square, *columns = singular + n;
    double *numbers = pass->numbers + token * sublayers * DS_STREAM_NUMBERS;
    rows_of(pass, token, columns, columns + n * (sublayers + 1));
    for (size_t from = 0; from < 2; from++) { /* before and after every sublayer */
        for (size_t i = 0; i < square; i++) product[i] = i / n == i % n ? 1 : 0;
        for (size_t i = 0; i < sublayers; i++) {
            size_t s = from == 0 ? i : sublayers - 1 - i;
            const double *res = mixing_of(pass, s, token) + 2 * n;
            double *out = numbers + s * DS_STREAM_NUMBERS;
            multiply(next, from == 0 ? res : product, from == 0 ? product : res, n, n, n);
            memcpy(product, next, square * sizeof *product);
            DS_TRY(numbers_of(out + (1 + from) * DS_MATRIX_NUMBERS, product, pass, worker, singular));
            if (from == 0) DS_TRY(numbers_of(out, res, pass, worker, singular));
            if (from == 0) own_numbers(out + 3 * DS_MATRIX_NUMBERS, mixing_of(pass, s, token), n);
        }
    }
done:
    return status;
}

ds_status ds_stream_pass_tokens(ds_stream_pass *pass, size_t tokens) {
    return ds_parallel_for_within(pass->workers, tokens, token_task, pass);
}

/* ---- sums over tokens ------------------------------------------------------------------------------------------------- */

static void add_sublayer(ds_stream_sublayer *to, const ds_stream_pass *pass, size_t s, size_t token) {
    size_t n = pass->streams, at = s * pass->most + token;
    const double *mixing = mixing_of(pass, s, token);
    const double *numbers = pass->numbers + (token * pass->sublayers + s) * DS_STREAM_NUMBERS;
    for (size_t i = 0; i < mixing_length(n); i++) ds_token_moments_add(&to->entries[i], mixing[i]);
    for (size_t i = 2 * n; i < mixing_length(n); i++) to->min_entry = fmin(to->min_entry, mixing[i]);
    for (size_t i = 0; i < DS_MATRIX_NUMBERS; i++) {
        ds_token_moments_add(&to->own[i], numbers[i]);
        ds_token_moments_add(&to->prefix[i], numbers[DS_MATRIX_NUMBERS + i]);
        ds_token_moments_add(&to->suffix[i], numbers[2 * DS_MATRIX_NUMBERS + i]);
    }
    ds_token_moments_add(&to->off_diagonal, numbers[3 * DS_MATRIX_NUMBERS]);
    ds_token_moments_add(&to->pre_post, numbers[3 * DS_MATRIX_NUMBERS + 1]);
    ds_token_moments_add(&to->row_entropy, numbers[3 * DS_MATRIX_NUMBERS + 2]);
    ds_token_moments_add(&to->stream_cosine, pass->cosine[at]);
    if (isnan(pass->range[at])) return;
    ds_token_moments_add(&to->logit_range, pass->range[at]);
    to->over_30 += pass->range[at] > 30 ? 1 : 0;
}

void ds_stream_sublayers_add(ds_stream_sublayer *sublayers, const ds_stream_pass *pass, size_t tokens) {
    for (size_t s = 0; s < pass->sublayers; s++)
        for (size_t t = 0; t < tokens; t++) add_sublayer(&sublayers[s], pass, s, t);
}

void ds_stream_sublayers_take(ds_stream_sublayer *sublayers, size_t count) {
    for (size_t s = 0; s < count; s++)
        if (sublayers[s].logit_range.count > 0) sublayers[s].over_30 /= (double)sublayers[s].logit_range.count;
}
