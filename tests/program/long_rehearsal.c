/* Seconds and memory that --dry-run tells, against what the commands then take. A machine at other work takes longer: what lies
 * outside a fifth is told, and nothing fails but what is off by a factor of ten. */
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "support.h"

#define DATA "--tokens", "fixtures/data/val.bin"
#define MODEL "fixtures/models/ddl-cc-ec"

static void compare(const char *name, const char *const *arguments) {
    static child rehearsed, taken;
    const child_limits limits = {.seconds = 600};
    const char *line[24];
    size_t used = 0;
    json_t *told;
    while (arguments[used] != NULL && used + 4 < sizeof line / sizeof *line) {
        line[used] = arguments[used];
        used++;
    }
    line[used] = "--quiet";
    line[used + 1] = NULL;
    child_run(&taken, line, limits);
    assert_int_equal(taken.status, 0);
    line[used + 1] = "--dry-run";
    line[used + 2] = "--json";
    line[used + 3] = "-";
    line[used + 4] = NULL;
    child_run(&rehearsed, line, limits);
    assert_int_equal(rehearsed.status, 0);
    expect_ok(ds_json_parse(&told, rehearsed.out, strlen(rehearsed.out), name));
    const double predicted = json_number_value(ds_json_at(told, "dry_run/seconds")), ratio = predicted / taken.seconds;
    print_message("%-10s %6.2f s told, %6.2f s taken: %.2f%s\n", name, predicted, taken.seconds, ratio,
                  ratio < 0.8 || ratio > 1.25 ? "   outside a fifth" : "");
    assert_true(ratio > 0.1 && ratio < 10);
    json_decref(told);
}

#define COMPARE(name, ...) compare((name), (const char *const[]){(name), __VA_ARGS__, NULL})

static void what_is_told_is_taken(void **state) {
    (void)state;
    COMPARE("gates", DATA, MODEL);
    COMPARE("ablate", DATA, MODEL);
    COMPARE("gradflow", DATA, MODEL);
    COMPARE("spectrum", "--positions", "all", DATA, MODEL);
    COMPARE("compare", DATA, MODEL, "fixtures/models/ddl-cc-ec");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_told_is_taken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
