/* The words for spectra on many matrices of known kind: the table of src/stats/README.md. */
#include "matrix_kinds.h"
#include "support.h"

static const uint64_t SEED = 20261128;

static void print_words(const matrix_words *seen) {
    print_message("%-24s", "kind");
    for (int word = 0; word < DS_SHAPE_COUNT; word++) print_message(" %11s", ds_shape_name((ds_shape)word));
    print_message("\n");
    for (int kind = 0; kind < MATRIX_KINDS; kind++) {
        print_message("%-24s", matrix_kind_name((matrix_kind)kind));
        for (int word = 0; word < DS_SHAPE_COUNT; word++)
            print_message(" %11.1f", 100 * (double)seen->words[kind][word] / (double)seen->drawn[kind]);
        print_message("\n");
    }
}

/* In per cent of all matrices of a kind, over shapes and stored types: right at least, wrong at most; the rest is undecided. */
static void test_words(void **state) {
    (void)state;
    static const ds_weight_matrix shapes[] = {{240, 120, DS_DTYPE_F32},
                                              {128, 128, DS_DTYPE_BF16},
                                              {96, 352, DS_DTYPE_F16},
                                              {64, 48, DS_DTYPE_F32},
                                              {64, 256, DS_DTYPE_F64}};
    static matrix_words seen;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) matrix_words_count(&seen, &shapes[s], 100, SEED + s);
    print_message("seed %llu, %zu matrices of a kind, per cent\n", (unsigned long long)SEED, seen.drawn[0]);
    print_words(&seen);
    for (int kind = 0; kind < MATRIX_KINDS; kind++) {
        size_t right = seen.words[kind][matrix_kind_word((matrix_kind)kind)], open = seen.words[kind][DS_SHAPE_UNDECIDED];
        double n = (double)seen.drawn[kind], wrong = n - (double)(right + open);
        if (!(wrong <= 0.06 * n && (double)right >= 0.7 * n))
            fail_msg("%s: %zu right, %g wrong of %g", matrix_kind_name((matrix_kind)kind), right, wrong, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words)};
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
