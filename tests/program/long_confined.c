/* A folder whose owner exchanges what lies in it while a report is written into it, some hundreds of times. */
#include <stdlib.h>

#include "support.h"
#include "swapper.h"

static void exchanged_at_any_moment(void **state) {
    (void)state;
    swap_while_reporting(300, (uint64_t)(ds_seconds() * 1e9)); /* another each time, printed */
}

static int hide_gnuplot(void **state) {
    (void)state;
    return setenv("PATH", "/nowhere:/bin", 1); /* a round is to be short */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(exchanged_at_any_moment)};
    return cmocka_run_group_tests(tests, hide_gnuplot, NULL);
}
