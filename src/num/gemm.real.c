/* Matrix products, written here rather than left to BLAS. An element's value is one chain of multiply-adds over k in increasing
 * order, so its bits depend on its row of A and its column of B alone: not on the shape of the call, nor on threads. The
 * machine's widest vectors are used, whichever processors the installed BLAS was built to know. And nothing is allocated.
 *
 * The scheme is that of Goto and van de Geijn (2008): a block of A is copied to stay in the second-level cache while panels of
 * B, packed to stay in the first, pass it one after the other; a tile of registers moves down the rows of the block. */
#include <string.h>

#include "deltascope/activity.h"
#include "deltascope/num.h"

#include "vector.h"

/* A register tile of TILE_ROWS x TILE_WIDTH leaves registers for the operands; a panel takes at most 32 KiB, a block half a MiB
 * and a line more for each row: rows a power of two apart would fall on the same few sets of a cache. */
enum {
    TILE_ROWS = VECTOR_BYTES == 64   ? 8
                : VECTOR_BYTES == 32 ? 6
                                     : 4,
    TILE_WIDTH = 2 * VECTOR_LANES,
    PANEL_DEPTH = 256,
    PREFETCH_DEPTH = 128,
    BLOCK_ROWS = (1 << 19) / (PANEL_DEPTH * (int)sizeof(REAL)),
    BLOCK_STRIDE = PANEL_DEPTH + 64 / (int)sizeof(REAL),
};

/* C (rows, TILE_WIDTH) <- [C +] A (rows, depth) panel, the panel being (depth, TILE_WIDTH). */
static inline __attribute__((always_inline)) void tile(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *panel,
                                                       size_t rows, size_t depth, bool accumulate) {
    vector sum[TILE_ROWS][2];
    UNROLLED
    for (size_t i = 0; i < rows; i++) {
        const unaligned_vector *row = (const unaligned_vector *)(c + i * ldc);
        sum[i][0] = accumulate ? (vector)row[0] : (vector){0};
        sum[i][1] = accumulate ? (vector)row[1] : (vector){0};
    }
    for (size_t p = 0; p < depth; p++, panel += TILE_WIDTH) {
        vector first = *(const vector *)panel, second = *(const vector *)(panel + VECTOR_LANES);
        UNROLLED
        for (size_t i = 0; i < rows; i++) {
            vector x = VECTOR_FILL(a[i * lda + p]);
            sum[i][0] = VECTOR_FUSED(x, first, sum[i][0]);
            sum[i][1] = VECTOR_FUSED(x, second, sum[i][1]);
        }
    }
    UNROLLED
    for (size_t i = 0; i < rows; i++) {
        unaligned_vector *row = (unaligned_vector *)(c + i * ldc);
        row[0] = sum[i][0];
        row[1] = sum[i][1];
    }
}

/* The same for a number of rows known only now: each count has its own unrolled code. */
static void tile_of(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *panel, size_t rows, size_t depth,
                    bool accumulate) {
    switch (rows) {
    case 1:
        tile(c, ldc, a, lda, panel, 1, depth, accumulate);
        break;
    case 2:
        tile(c, ldc, a, lda, panel, 2, depth, accumulate);
        break;
    case 3:
        tile(c, ldc, a, lda, panel, 3, depth, accumulate);
        break;
    case 4:
        tile(c, ldc, a, lda, panel, 4, depth, accumulate);
        break;
#if VECTOR_BYTES >= 32
    case 5:
        tile(c, ldc, a, lda, panel, 5, depth, accumulate);
        break;
    case 6:
        tile(c, ldc, a, lda, panel, 6, depth, accumulate);
        break;
#endif
#if VECTOR_BYTES >= 64
    case 7:
        tile(c, ldc, a, lda, panel, 7, depth, accumulate);
        break;
    case 8:
        tile(c, ldc, a, lda, panel, 8, depth, accumulate);
        break;
#endif
    }
}

/* A square of VECTOR_LANES x VECTOR_LANES: interleaving row i with row i + LANES/2, log2(LANES) times over, transposes. */
static inline void transpose_square(REAL *out, size_t ldo, const REAL *in, size_t ldi) {
    vector row[VECTOR_LANES], zipped[VECTOR_LANES];
    UNROLLED
    for (size_t i = 0; i < VECTOR_LANES; i++) row[i] = *(const unaligned_vector *)(in + i * ldi);
    UNROLLED
    for (size_t distance = 1; distance < VECTOR_LANES; distance *= 2) {
        UNROLLED
        for (size_t i = 0; i < VECTOR_LANES / 2; i++) {
            zipped[2 * i] = VECTOR_ZIP_FIRST(row[i], row[i + VECTOR_LANES / 2]);
            zipped[2 * i + 1] = VECTOR_ZIP_LAST(row[i], row[i + VECTOR_LANES / 2]);
        }
        UNROLLED
        for (size_t i = 0; i < VECTOR_LANES; i++) row[i] = zipped[i];
    }
    UNROLLED
    for (size_t i = 0; i < VECTOR_LANES; i++) *(unaligned_vector *)(out + i * ldo) = row[i];
}

/* panel (depth, TILE_WIDTH) <- columns of B^T, B (columns, depth); missing columns are zero. */
static void pack_transposed(REAL *panel, const REAL *b, size_t ldb, size_t columns, size_t depth) {
    for (size_t j = 0; j < TILE_WIDTH; j += VECTOR_LANES) {
        size_t p = 0, present = columns > j ? ds_min_size(columns - j, VECTOR_LANES) : 0;
        if (present == VECTOR_LANES)
            for (; p + VECTOR_LANES <= depth; p += VECTOR_LANES)
                transpose_square(panel + p * TILE_WIDTH + j, TILE_WIDTH, b + j * ldb + p, ldb);
        for (; p < depth; p++)
            for (size_t l = 0; l < VECTOR_LANES; l++) panel[p * TILE_WIDTH + j + l] = l < present ? b[(j + l) * ldb + p] : 0;
    }
}

/* panel (depth, TILE_WIDTH) <- columns of B (depth, columns); missing columns are zero. */
static void pack(REAL *panel, const REAL *b, size_t ldb, size_t columns, size_t depth) {
    for (size_t p = 0; p < depth; p++, panel += TILE_WIDTH, b += ldb) {
        if (columns == TILE_WIDTH) {
            memcpy(panel, b, sizeof(REAL) * TILE_WIDTH);
            continue;
        }
        for (size_t j = 0; j < TILE_WIDTH; j++) panel[j] = j < columns ? b[j] : 0;
    }
}

/* One panel against all rows of A. A panel with missing columns goes through a full-width copy of its part of C. */
static void sweep(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *panel, size_t m, size_t columns, size_t depth,
                  bool accumulate) {
    for (size_t i = 0; i < m; i += TILE_ROWS) {
        size_t rows = ds_min_size(m - i, TILE_ROWS);
        if (columns == TILE_WIDTH) {
            for (size_t r = i + TILE_ROWS; depth >= PREFETCH_DEPTH && r < ds_min_size(i + 2 * TILE_ROWS, m); r++) {
                __builtin_prefetch(c + r * ldc, 1);
                __builtin_prefetch(c + r * ldc + VECTOR_LANES, 1);
            }
            tile_of(c + i * ldc, ldc, a + i * lda, lda, panel, rows, depth, accumulate);
            continue;
        }
        REAL copy[TILE_ROWS * TILE_WIDTH] = {0};
        for (size_t r = 0; r < rows && accumulate; r++) memcpy(copy + r * TILE_WIDTH, c + (i + r) * ldc, columns * sizeof *c);
        tile_of(copy, TILE_WIDTH, a + i * lda, lda, panel, rows, depth, accumulate);
        for (size_t r = 0; r < rows; r++) memcpy(c + (i + r) * ldc, copy + r * TILE_WIDTH, columns * sizeof *c);
    }
}

/* block (rows, depth) <- rows of A. */
static void copy_rows(REAL *block, const REAL *a, size_t lda, size_t rows, size_t depth) {
    for (size_t i = 0; i < rows; i++) memcpy(block + i * BLOCK_STRIDE, a + i * lda, depth * sizeof *block);
}

/* block (rows, depth) <- columns of A^T, A (depth, rows). */
static void copy_columns(REAL *block, const REAL *a, size_t lda, size_t rows, size_t depth) {
    for (size_t p = 0; p < depth; p += VECTOR_LANES) {
        for (size_t i = 0; i < rows; i += VECTOR_LANES) {
            if (p + VECTOR_LANES <= depth && i + VECTOR_LANES <= rows) {
                transpose_square(block + i * BLOCK_STRIDE + p, BLOCK_STRIDE, a + p * lda + i, lda);
                continue;
            }
            for (size_t r = i; r < ds_min_size(i + VECTOR_LANES, rows); r++)
                for (size_t q = p; q < ds_min_size(p + VECTOR_LANES, depth); q++) block[r * BLOCK_STRIDE + q] = a[q * lda + r];
        }
    }
}

/* One operand: its rows are those of the product's inner index when `turned`. */
typedef struct operand {
    const REAL *values;
    size_t stride;
    bool turned;
} operand;

/* C (m, n) <- [C +] A B. Rows of A are copied where they lie farther apart than in a block. */
static void multiply(REAL *c, size_t ldc, operand a, operand b, size_t m, size_t n, size_t k, bool accumulate) {
    _Alignas(64) REAL panel[PANEL_DEPTH * TILE_WIDTH], block[BLOCK_ROWS * BLOCK_STRIDE];
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_PRODUCTS);
    for (size_t p = 0; p < k; p += PANEL_DEPTH) {
        size_t depth = ds_min_size(k - p, PANEL_DEPTH);
        for (size_t i = 0; i < m; i += BLOCK_ROWS) {
            size_t rows = ds_min_size(m - i, BLOCK_ROWS), stride = BLOCK_STRIDE;
            const REAL *left = block;
            if (a.turned)
                copy_columns(block, a.values + p * a.stride + i, a.stride, rows, depth);
            else if (n >= 8 * TILE_WIDTH && rows * a.stride > BLOCK_ROWS * BLOCK_STRIDE)
                copy_rows(block, a.values + i * a.stride + p, a.stride, rows, depth);
            else
                left = a.values + i * a.stride + p, stride = a.stride;
            for (size_t j = 0; j < n; j += TILE_WIDTH) {
                size_t columns = ds_min_size(n - j, TILE_WIDTH);
                if (b.turned)
                    pack(panel, b.values + p * b.stride + j, b.stride, columns, depth);
                else
                    pack_transposed(panel, b.values + j * b.stride + p, b.stride, columns, depth);
                sweep(c + i * ldc + j, ldc, left, stride, panel, rows, columns, depth, accumulate || p > 0);
            }
        }
    }
    (void)ds_activity_turn(before);
}

void REAL_NAME(ds_gemm_nt)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                           size_t k) {
    multiply(c, ldc, (operand){a, lda, false}, (operand){b, ldb, false}, m, n, k, false);
}

void REAL_NAME(ds_gemm_nt_add)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                               size_t k) {
    multiply(c, ldc, (operand){a, lda, false}, (operand){b, ldb, false}, m, n, k, true);
}

void REAL_NAME(ds_gemm_nn)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                           size_t k) {
    multiply(c, ldc, (operand){a, lda, false}, (operand){b, ldb, true}, m, n, k, false);
}

void REAL_NAME(ds_gemm_nn_add)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                               size_t k) {
    multiply(c, ldc, (operand){a, lda, false}, (operand){b, ldb, true}, m, n, k, true);
}

void REAL_NAME(ds_gemm_tn_add)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                               size_t k) {
    multiply(c, ldc, (operand){a, lda, true}, (operand){b, ldb, true}, m, n, k, true);
}
