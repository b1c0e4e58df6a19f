/* Every table and page with intervals says in words when they speak of a stretch of the file, and says nothing of it when they
 * speak of the file. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define DATA "--tokens fixtures/data/val.bin --seq-len 16 --sequences 6 --threads 1 "
#define MODEL "fixtures/models/scalar-safetensors "
static const char words[] = "Intervals speak of this stretch of 6 consecutive windows, not of the whole";

/* What the command prints. */
static char *output_of(const char *arguments) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[1024], *bytes;
    size_t length;
    (void)snprintf(line, sizeof line, "%s %s >%s 2>%s", program, arguments, scratch_path("out"), scratch_path("err"));
    if (system(line) != 0) fail_msg("%s", line);
    expect_ok(ds_read_file(&bytes, &length, scratch_path("out"), 1 << 20));
    return bytes;
}

static size_t occurrences(const char *text, const char *wanted) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, wanted)) != NULL; at++) count++;
    return count;
}

static const struct {
    const char *options;
    size_t said;
} spreads[] = {{"", 0},
               {"--spread even ", 0},
               {"--spread random ", 0},
               {"--spread consecutive ", 1},
               {"--offset 0 ", 1},
               {"--offset 100 --spread consecutive ", 1}};
enum { SPREADS = sizeof spreads / sizeof *spreads };

static void tables_on_a_terminal(void **state) {
    (void)state;
    static const char *const commands[] = {"ablate --scopes all " DATA MODEL, "compare " DATA MODEL MODEL,
                                           "gradflow --measure " DATA MODEL};
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < SPREADS; i++) {
            char arguments[512];
            (void)snprintf(arguments, sizeof arguments, "%s%s", commands[c], spreads[i].options);
            char *printed = output_of(arguments);
            assert_int_equal(occurrences(printed, words), spreads[i].said);
            free(printed);
        }
    }
}

/* In the verdict, and above the figures and tables with intervals; in the captions in fewer words. */
static void pages(void **state) {
    (void)state;
    for (size_t i = 0; i < SPREADS; i += 3) {
        char folder[256], arguments[1024], path[300];
        static const char *const names[] = {"report.md", "report.html"};
        (void)snprintf(folder, sizeof folder, "%s", scratch_path("page"));
        (void)snprintf(arguments, sizeof arguments, "report --quiet --skip verify,jacobians --out %s " DATA MODEL "%s", folder,
                       spreads[i].options);
        free(output_of(arguments));
        for (size_t n = 0; n < 2; n++) {
            char *page;
            size_t length;
            (void)snprintf(path, sizeof path, "%s/%s", folder, names[n]);
            expect_ok(ds_read_file(&page, &length, path, 1 << 26));
            assert_int_equal(occurrences(page, words), 2 * spreads[i].said);
            assert_int_equal(occurrences(page, "6 consecutive windows of 16 tokens, a stretch of the file") > 0,
                             spreads[i].said);
            free(page);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_on_a_terminal),
        cmocka_unit_test(pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
