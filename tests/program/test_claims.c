/* What a report claims, as others see it: digests that Python computes too, and that do not depend on the kernels of LAPACK
 * where they say so. */
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "core_types.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "4", "--quiet"
#define MODEL "fixtures/models/scalar-safetensors"

/* Figures are not what is tested here, and gnuplot is not found. */
static int hide_gnuplot(void **state) {
    (void)state;
    return setenv("PATH", "/nowhere", 1);
}

/* The folder of a report made under a type of kernels; NULL: as the environment says. */
static const char *report_under(const char *type) {
    static child made;
    const char *folder = ds_strdup(scratch_path(type == NULL ? "report" : type));
    child_limits limits = {.preset = {type == NULL ? NULL : "OPENBLAS_CORETYPE", type}};
    assert_non_null(folder);
    CHILD_RUN(&made, limits, "report", DATA, "--out", folder, MODEL);
    if (made.status != 0) fail_msg("report under %s: %s", type == NULL ? "no type" : type, made.err);
    return folder;
}

static json_t *load(const char *folder) {
    char path[512], *bytes;
    size_t length;
    json_t *tree;
    (void)snprintf(path, sizeof path, "%s/report.json", folder);
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

/* The script of src/report/README.md prints the two digests that the file states. */
static void test_python_computes_the_same(void **state) {
    (void)state;
    static const char fence[] = "```python\n";
    static child said;
    char *readme, path[512], expected[256];
    size_t length;
    child_run_program(&said, "/usr/bin/python3", (const char *const[]){"-c", "pass", NULL}, (child_limits){0});
    if (said.status != 0) {
        print_message("no /usr/bin/python3 to compute the digests with\n");
        skip();
    }
    const char *folder = report_under(NULL);
    expect_ok(ds_read_file(&readme, &length, "src/report/README.md", 1 << 20));
    const char *script = strstr(readme, fence);
    assert_non_null(script);
    script += strlen(fence);
    const char *file = scratch_write("digests.py", script, (size_t)(strstr(script, "```") - script));
    (void)snprintf(path, sizeof path, "%s/report.json", folder);
    child_run_program(&said, "/usr/bin/python3", (const char *const[]){file, path, NULL}, (child_limits){0});
    if (said.status != 0) fail_msg("%s", said.err);
    json_t *tree = load(folder);
    (void)snprintf(expected, sizeof expected, "%s %s\n", json_string_value(ds_json_at(tree, "digests/all")),
                   json_string_value(ds_json_at(tree, "digests/own")));
    assert_string_equal(said.out, expected);
    json_decref(tree);
    free(readme);
    free((void *)(uintptr_t)folder);
}

/* Everything LAPACK makes may differ in its last bits; what "own" is of may not. And "own" is of most of a report. */
static void test_own_is_the_same_under_all_kernels(void **state) {
    (void)state;
    const char *types[CORE_TYPES];
    const size_t count = core_types(types);
    const char *folder = report_under(NULL);
    json_t *first = load(folder), *told;
    bool hold;
    free((void *)(uintptr_t)folder);
    expect_ok(ds_digests_check(&told, &hold, first));
    assert_true(hold && json_is_true(ds_json_at(told, "own/holds")) && json_is_true(ds_json_at(told, "all/holds")));
    json_decref(told);
    assert_true(json_array_size(ds_json_at(first, "digests/own_paths")) > 40);
    for (size_t i = 0; i < count; i++) {
        folder = report_under(types[i]);
        json_t *other = load(folder);
        assert_true(json_equal(ds_json_at(first, "digests/own_paths"), ds_json_at(other, "digests/own_paths")));
        if (!json_equal(ds_json_at(first, "digests/own"), ds_json_at(other, "digests/own")))
            fail_msg("the digest of our own numbers is another one under %s", types[i]);
        json_decref(other);
        free((void *)(uintptr_t)folder);
    }
    json_decref(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_python_computes_the_same),
                                       cmocka_unit_test(test_own_is_the_same_under_all_kernels)};
    return cmocka_run_group_tests(tests, hide_gnuplot, NULL);
}
