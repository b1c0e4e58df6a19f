/* A study killed a hundred times: of crossed seeds, a budget of its own, and a sweep. */
#include "interrupted_study.h"
#include "support.h"
#include "tiny_plan.h"

static void a_hundred_kills_change_no_byte(void **state) {
    (void)state;
    json_t *given = tiny_plan_with(tiny_plan(), "seeds", "{\"init\": [1, 2], \"data\": [1, 2]}");
    given = tiny_plan_with(tiny_plan_with(given, "audit", "{\"sequences\": 2}"), "budget", "{\"tokens\": 2000}");
    given = tiny_plan_with(given, "sweep", "{\"seeds\": [3, 4]}");
    interrupt_study(tiny_plan_write("plan.json", given), 100, 0x10a6);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_hundred_kills_change_no_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
