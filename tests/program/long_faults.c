/* Every command on a tiny model runs out of memory wherever it can: the first and the last allocation of every call path fail,
 * each alone, and a sample of them with all that follow. With DELTASCOPE_SWEEP=every all allocations of a path stand for
 * themselves. A report's many call paths, most of them those of the commands it runs, are sampled evenly. */
#include <string.h>

#include "support.h"
#include "sweep.h"

enum { MOST_COMMANDS = 64, MOST_LASTING = 150, MOST_OF_A_REPORT = 1200 };

static void test_every_allocation(void **state) {
    size_t command = *(const size_t *)*state, most = strcmp(sweep_name(command), "report") == 0 ? MOST_OF_A_REPORT : SIZE_MAX;
    double start = ds_seconds();
    sweep_count once = sweep_allocations(command, most, false), lasting = sweep_allocations(command, MOST_LASTING, true);
    print_message("%7llu allocations along %4zu call paths: %4zu runs with one failure, %3zu with lasting ones, %.0f s\n",
                  (unsigned long long)once.allocations, once.paths, once.runs, lasting.runs, ds_seconds() - start);
}

/* An argument is a pattern of the tests to run: "report*". */
int main(int argc, char **argv) {
    static size_t numbers[MOST_COMMANDS];
    static char names[MOST_COMMANDS][64];
    static struct CMUnitTest tests[MOST_COMMANDS];
    size_t count = sweep_commands();
    if (count > MOST_COMMANDS) return 1;
    cmocka_set_test_filter(argc > 1 ? argv[1] : "*");
    sweep_prepare();
    for (size_t i = 0; i < count; i++) {
        numbers[i] = i;
        (void)snprintf(names[i], sizeof names[i], "%s (command %zu)", sweep_name(i), i);
        tests[i] = (struct CMUnitTest){names[i], test_every_allocation, NULL, NULL, &numbers[i]};
    }
    return _cmocka_run_group_tests("faults", tests, count, NULL, NULL);
}
