/* kill -9 at 50 random moments of a resumable ablation loses nothing and changes no byte. */
#include "resume.h"
#include "support.h"

static void ablation_survives_fifty_kills(void **state) {
    (void)state;
    const char *const options[] = {"--sequences", "200", "--modes", "closed,mean-gate", NULL};
    kill_and_resume("ablate", options, 50, (uint64_t)(ds_seconds() * 1e9)); /* another seed each time, printed */
}

static void spectra_survive_twenty_kills(void **state) {
    (void)state;
    const char *const options[] = {"--sequences", "40", "--positions", "all", "--null", "shuffled-gates", NULL};
    kill_and_resume("spectrum", options, 20, (uint64_t)(ds_seconds() * 1e9));
}

static void a_report_survives_fifteen_kills(void **state) {
    (void)state;
    const char *const options[] = {"--sequences", "48", "--skip", "verify,jacobians", NULL};
    kill_and_resume("report", options, 15, (uint64_t)(ds_seconds() * 1e9));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ablation_survives_fifty_kills),
                                       cmocka_unit_test(spectra_survive_twenty_kills),
                                       cmocka_unit_test(a_report_survives_fifteen_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
