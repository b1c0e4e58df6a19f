/* Training by drawn options survives signals and full disks at random moments: 20 strikes of each kind a draw, another seed
 * each time, printed. */
#include <signal.h>
#include <stdlib.h>

#include "interrupted_training.h"
#include "support.h"

enum { DRAWS = 6, STRIKES = 20 };

static void strikes_change_no_byte(void **state) {
    const char *given = getenv("RANDOM_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)(ds_seconds() * 1e9);
    for (size_t i = 0; i < DRAWS; i++) interrupt_training_drawn(*(const int *)*state, STRIKES, seed + i);
}

/* An argument is a pattern of the tests to run: "full*". */
int main(int argc, char **argv) {
    static int strikes[] = {SIGKILL, SIGTERM, SIGINT, FULL_DISK};
    const struct CMUnitTest tests[] = {
        {"kills_change_no_byte", strikes_change_no_byte, NULL, NULL, &strikes[0]},
        {"terminations_change_no_byte", strikes_change_no_byte, NULL, NULL, &strikes[1]},
        {"interrupts_change_no_byte", strikes_change_no_byte, NULL, NULL, &strikes[2]},
        {"full_disks_change_no_byte", strikes_change_no_byte, NULL, NULL, &strikes[3]},
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : "*");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
