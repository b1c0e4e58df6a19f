/* Every command on honest models of every option, at the shortest windows and at whole blocks, one window and two: it ends
 * well or refuses in a sentence, and nothing it writes holds a number that is none. */
#ifndef DELTASCOPE_TESTS_MATRIX_H
#define DELTASCOPE_TESTS_MATRIX_H

#include <stddef.h>
#include <stdint.h>

typedef struct matrix_result {
    size_t cells, refused, failed; /* run, of which refused, of which not as they should be (each printed) */
} matrix_result;

/* `models` of each variant from the seed on; of the cells one in `share`, drawn by the seed. */
matrix_result matrix_run(uint64_t seed, size_t models, size_t share);
/* The same of plain transformers: `models` of every backbone. */
matrix_result matrix_run_backbones(uint64_t seed, size_t models, size_t share);
/* The same of every checkpoint in fixtures/depth and fixtures/streams, in float or double by turns. */
matrix_result matrix_run_neighbours(uint64_t seed, size_t share);

#endif
