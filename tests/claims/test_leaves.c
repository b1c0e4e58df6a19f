/* The table of leaves: that it says one thing of every path, and why where it allows much. */
#include <math.h>
#include <string.h>

#include "deltascope/claims.h"
#include "support.h"

/* A path that the row is for: 7 for every "*", two parts more for "**". */
static void example(char path[256], const char *row) {
    size_t length = 0;
    for (const char *at = row; *at != '\0'; at++) {
        const bool rest = strcmp(at, "**") == 0;
        const char *part = rest ? "x/7" : *at == '*' ? "7" : (const char[]){*at, '\0'};
        length += (size_t)snprintf(path + length, 256 - length, "%s", part);
        if (rest) break;
    }
}

static void test_no_row_hides(void **state) {
    (void)state;
    char path[256];
    for (size_t i = 0; i < ds_leaf_count(); i++) {
        example(path, ds_leaf_at(i)->path);
        if (ds_leaf_find(path) != ds_leaf_at(i)) fail_msg("%s is not reached by %s", ds_leaf_at(i)->path, path);
    }
}

static void test_allowances_have_reasons(void **state) {
    (void)state;
    for (size_t i = 0; i < ds_leaf_count(); i++) {
        const ds_leaf *leaf = ds_leaf_at(i);
        const bool derived = leaf->kind == DS_LEAF_DERIVED || (leaf->kind == DS_LEAF_SET && leaf->bound == NULL);
        assert_true(leaf->relative >= 0);
        assert_true((leaf->relative > 0) == derived);
        assert_true((leaf->kind == DS_LEAF_EXACT) == (leaf->relative == 0 && leaf->bound == NULL));
        assert_true(!leaf->own || leaf->kind == DS_LEAF_EXACT);
        if (leaf->relative > 0 && (leaf->reason == NULL || strlen(leaf->reason) < 10))
            fail_msg("%s allows %g without a reason", leaf->path, leaf->relative);
    }
}

static void test_paths(void **state) {
    (void)state;
    const struct {
        const char *path, *row;
    } cases[] = {
        {"gates/loss", "gates/**"},
        {"gates", "gates/**"},
        {"gatesy/loss", NULL},
        {"bench/forward/tokens_per_second", "bench/**"},
        {"spectrum/accumulated/12/norm2", "spectrum/accumulated/*/norm2"},
        {"spectrum/null/accumulated/12/norm2", "spectrum/accumulated/*/norm2"},
        {"spectrum/weights/3/randomised/alpha", "spectrum/weights/*/alpha"},
        {"spectrum/weights/3/randomised/singular_values/quantiles/0.05", "spectrum/weights/*/singular_values/quantiles/*"},
        {"spectrum/accumulated/12/unheard_of", NULL},
        {"spectrum/accumulated/12/norm2/0", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ds_leaf *found = ds_leaf_find(cases[i].path);
        if (cases[i].row == NULL && found != NULL) fail_msg("%s has the row %s", cases[i].path, found->path);
        if (cases[i].row != NULL && found == NULL) fail_msg("%s has no row", cases[i].path);
        if (cases[i].row != NULL) assert_string_equal(found->path, cases[i].row);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_row_hides), cmocka_unit_test(test_allowances_have_reasons),
                                       cmocka_unit_test(test_paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
