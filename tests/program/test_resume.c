/* Interrupted runs end with the bytes of undisturbed ones: a short version of long_resume. */
#include <stdlib.h>

#include "resume.h"
#include "support.h"

static void ablation_survives_kills(void **state) {
    (void)state;
    const char *const options[] = {"--sequences", "48", "--modes", "closed,mean-gate", NULL};
    kill_and_resume("ablate", options, 6, 20260601);
}

static void spectra_survive_kills(void **state) {
    (void)state;
    const char *const options[] = {"--sequences", "8", "--positions", "all", "--null", "shuffled-gates", "--certify", NULL};
    kill_and_resume("spectrum", options, 4, 20260602);
}

/* Without pictures: they are drawn anew whatever was there. */
static void a_report_survives_kills(void **state) {
    (void)state;
    const char *const options[] = {"--sequences", "12", "--skip", "verify,jacobians", NULL};
    assert_int_equal(setenv("PATH", "", 1), 0);
    kill_and_resume("report", options, 5, 20260603);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ablation_survives_kills), cmocka_unit_test(spectra_survive_kills),
                                       cmocka_unit_test(a_report_survives_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
