/* Every allocation of every command on a tiny model fails in turn, alone and with all that follow it. */
#include "support.h"
#include "sweep.h"

/* All of a model command's; a large vocabulary's 150,000 are sampled. */
enum { MOST = 4000 };

static void test_every_allocation(void **state) {
    (void)state;
    sweep_prepare();
    for (size_t command = 0; command < sweep_commands(); command++) {
        size_t once = sweep_allocations(command, MOST, false), lasting = sweep_allocations(command, MOST / 4, true);
        print_message("%-12s %zu runs with one failure, %zu with lasting ones\n", sweep_name(command), once, lasting);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
