/* tests/layers.sh refuses what the rules of the house forbid: every rule is broken once in a copy of the tree. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

typedef struct breach {
    const char *file; /* appended to, or made */
    const char *text;
    const char *said; /* what is said of it; NULL: nothing may be said */
} breach;

#define TEN(x) x x x x x x x x x x
#define LINE_OF_129 TEN("/* 34567890") TEN("*") "123456789"

static const breach breaches[] = {
    {"src/num/p1.c", "#include \"deltascope/io.h\"\n", "num may not include deltascope/io.h"},
    {"src/io/p1.h", "#include \"deltascope/model.h\"\n", "io may not include deltascope/model.h"},
    {"src/delta/p1.c", "#include \"deltascope/gradient.h\"\n", "delta may not include deltascope/gradient.h"},
    {"src/run/p1.c", "#include \"deltascope/verify.h\"\n", "run may not include deltascope/verify.h"},
    {"src/verify/p1.c", "#include \"deltascope/run.h\"\n", NULL},
    {"src/verify/p2.c", "#include \"deltascope/measure.h\"\n", "verify may not include deltascope/measure.h"},
    {"src/run/p2.c", "#include \"deltascope/measure/gates.h\"\n", "run may not include deltascope/measure/gates.h"},
    {"src/measure/p1.c", "#include \"deltascope/report.h\"\n", "measure may not include deltascope/report.h"},
    {"include/deltascope/measure/p1.h", "#include \"deltascope/report.h\"\n", "measure may not include deltascope/report.h"},
    {"src/report/p1.c", "#include \"deltascope/measure.h\"\n", NULL},
    {"src/stats/p1.c", "#include \"zip_reader.h\"\n", "zip_reader.h is not a private header of src/stats"},
    {"src/report/p2.c", "#include \"cli/command.h\"\n", "cli/command.h is not a private header of src/report"},
    {"analysis/cli/p1.c", "#include \"commands/model_command.h\"\n", "analysis/cli may not include commands/model_command.h"},
    {"analysis/bench/p1.c", "#include \"report/report.h\"\n", "analysis/bench may not include report/report.h"},
    {"analysis/report/p1.c", "#include \"commands/model_command.h\"\n", "may not include commands/model_command.h"},
    {"src/measure/p2.c", "void p(ds_invocation *i);\n", "2: a measurement knows no command line"},
    {"src/measure/p3.c", "void p(FILE *out);\n", "2: a measurement prints nothing"},
    {"src/measure/p4.c", "void p(void) { fprintf(out, \"x\"); }\n", "2: a measurement prints nothing"},
    {"src/io/p2.c", "void p(void) { exit(1); }\n", "2: the library never ends the process"},
    {"src/io/p3.c", "void p(void) {\n    abort();\n}\n", "2: the library never ends the process"},
    {"src/io/p4.c", "void p(void) { puts(x); }\n", "2: the library never writes to standard output"},
    {"src/report/p3.c", "void p(void) { fflush(stdout); }\n", "2: the library never writes to standard output"},
    {"src/report/p4.c", "/* exit(1) to stdout,\n * abort() */\nconst char *p = \"stderr /* exit(0)\";\n", NULL},
    {"src/measure/p5.c", "void p(void) { ds_tokens_read(t, ids, 0, 1); }\n",
     "3: only src/run/windows.c reads windows of tokens"},
    {"analysis/commands/p1.c", "void p(void) { for (;; first += run->batch) x(); }\n",
     "3: only src/run/windows.c loops over windows"},
    {"src/measure/p6.c", "void p(void) { run->batch = 1; }\n", "3: nobody changes the batch size of a run"},
    {"src/model/p1.c", "bool p(void) { return rule == &ds_rule_delta; }\n", "4: names a residual rule"},
    {"src/measure/p7.c", "bool p(void) { return strcmp(name, \"additive\") == 0; }\n", "4: spells the name of a residual rule"},
    {"src/model/rule_p1.c", "bool p(void) { return rule == &ds_rule_delta; }\n", NULL},
    {"src/model/p2.c", "#include \"rule_p3.h\"\n", "4: private header of a residual rule: rule_p3.h"},
    {"src/model/rule_p3.h", "#define RULE_P3\n", NULL},
    {"src/stats/p2.c", "#include \"p3.h\"\n", NULL},
    {"src/stats/p2.h", "#define P2\n", NULL},
    {"src/stats/p3.c", "#include \"p2.h\"\n", NULL},
    {"src/stats/p3.h", "#define P3\n", NULL},
    {"src/stats", NULL, "5: p2 includes p3 in a cycle"},
    {"src/stats/p4.c", "#include \"p2.h\"\n", NULL},
    {"src/model/p3.c", "#include <cblas.h>\n", "only num may include cblas.h"},
    {"src/num/p2.c", "#include <lapacke.h>\n", "only spectra may include lapacke.h"},
    {"src/spectra/p1.c", "#include <gsl/gsl_rng.h>\n", "only stats may include gsl/gsl_rng.h"},
    {"src/measure/p8.c", "#include <mpi.h>\n", "only ranks may include mpi.h"},
    {"src/ranks/z1.c", "#include <mpi.h>\n", "mpi.h is included by src/ranks/transport_mpi.c already"},
    {"tests/num/p1.c", LINE_OF_129 "\n", "a line of 129 columns; at most 128"},
    {"tests/num/p2.c", "/* \xc3\xa4" TEN("234567890 ") "123456789 12345678 */\n", NULL},
    {"src/base/p1.c", "int p(void) {\n" TEN("    x();\n    x();\n    x();\n    x();\n    x();\n    x();\n") "}\n",
     "p has 62 lines; at most 60"},
    {"src/base/p2.c", TEN(TEN("\n\n\n\n\n\n")) "\n", "a file of 601 lines; at most 600"},
    {"src/new/p1.c", "\n", NULL},
    {"src/new", NULL, "src/new: has no README.md"},
};
enum { BREACHES = sizeof breaches / sizeof breaches[0] };

/* Whether a line of `text` begins with `file` and holds `words`; words NULL: only the file. */
static bool said(const char *text, const char *file, const char *words) {
    size_t length = strlen(file);
    for (; *text != '\0'; text += strcspn(text, "\n"), text += *text != '\0') {
        if (strncmp(text, file, length) != 0 || text[length] != ':') continue;
        char line[512];
        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
        if (words == NULL || strstr(line, words) != NULL) return true;
    }
    return false;
}

static void test_every_rule(void **state) {
    (void)state;
    char line[4096], *text;
    size_t length;
    (void)scratch_write("tree/.keep", "", 0);
    const char *tree = scratch_path("tree");
    (void)snprintf(line, sizeof line, "cp -r src analysis include tests plots %s && mkdir %s/fixtures %s/src/new", tree, tree,
                   tree);
    assert_int_equal(system(line), 0);
    for (size_t i = 0; i < BREACHES; i++) {
        if (breaches[i].text == NULL) continue;
        (void)snprintf(line, sizeof line, "%s/%s", tree, breaches[i].file);
        expect_ok(ds_write_file(line, breaches[i].text, strlen(breaches[i].text)));
    }
    (void)snprintf(line, sizeof line, "sh %s/tests/layers.sh >%s/said; echo $? >>%s/said", tree, tree, tree);
    assert_int_equal(system(line), 0);
    (void)snprintf(line, sizeof line, "%s/said", tree);
    expect_ok(ds_read_file(&text, &length, line, 1 << 20));
    assert_string_equal(text + length - 3, "\n1\n");
    for (size_t i = 0; i < BREACHES; i++) {
        if ((breaches[i].said != NULL) != said(text, breaches[i].file, breaches[i].said))
            fail_msg("%s: expected \"%s\" of\n%s\nin\n%s", breaches[i].file,
                     breaches[i].said != NULL ? breaches[i].said : "nothing", breaches[i].text, text);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_rule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
