/* Matrices of known kind: what the words for their spectra are measured on. */
#ifndef TESTS_SUPPORT_MATRIX_KINDS_H
#define TESTS_SUPPORT_MATRIX_KINDS_H

#include "deltascope/measure/weight_spectra.h"

typedef enum matrix_kind {
    KIND_ZERO,
    KIND_IDENTITY,   /* a multiple of it, rows or columns of zeros beside */
    KIND_ORTHOGONAL, /* a multiple of orthonormal columns */
    KIND_LOW_RANK,   /* of rank up to a third */
    KIND_GAUSSIAN,
    KIND_UNIFORM,
    KIND_SPARSE,         /* a tenth of the entries normal, the others 0 */
    KIND_SPIKED,         /* normal entries and 1 to 15 spikes, at 1.3 to 3 times the edge */
    KIND_ROWS,           /* normal entries, rows of lengths exp(normal / 2) */
    KIND_AUTOREGRESSIVE, /* normal entries, neighbours in a row correlated by a half */
    KIND_EXPONENTIAL,    /* squared singular values exponential */
    KIND_POWER_2,        /* squared singular values of density x^-2 from 1 on, and so on */
    KIND_POWER_3,
    KIND_POWER_4,
    KIND_POWER_6,
    MATRIX_KINDS
} matrix_kind;

/* The word for it, and its name. */
ds_shape matrix_kind_word(matrix_kind kind);
const char *matrix_kind_name(matrix_kind kind);
/* values (rows, columns), rounded to the stored type. */
void matrix_kind_draw(double *values, matrix_kind kind, const ds_weight_matrix *matrix, ds_random *random);
/* values <- U diag(sigma) V^T by random reflections on both sides; sigma (min(rows, columns)). */
void matrix_of_singular_values(double *values, const double *sigma, size_t rows, size_t columns, ds_random *random);
/* The nearest number of the type. */
double matrix_round(double x, ds_dtype stored);

/* How often each kind got each word. */
typedef struct matrix_words {
    size_t drawn[MATRIX_KINDS], words[MATRIX_KINDS][DS_SHAPE_COUNT];
} matrix_words;
/* Draws `count` matrices of every kind. */
void matrix_words_count(matrix_words *out, const ds_weight_matrix *matrix, size_t count, uint64_t seed);

#endif
