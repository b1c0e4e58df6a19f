#include "checking.h"

#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

json_t *load_json(const char *path) {
    char *bytes;
    size_t length;
    json_t *tree;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

json_t *check_result(int status, const char *preset, const char *file, const char *const *more) {
    static child said;
    const char *arguments[24] = {"check", "--quiet", "--json", scratch_path("check.json"), file};
    size_t count = 5;
    for (size_t i = 0; more[i] != NULL; i++) arguments[count++] = more[i];
    child_run(&said, arguments, (child_limits){.preset = {preset == NULL ? NULL : "OPENBLAS_CORETYPE", preset}});
    if (said.status != status) fail_msg("check %s: exit status %d, expected %d: %s", file, said.status, status, said.err);
    return load_json(scratch_path("check.json"));
}

void expect_verdict(json_t *told, const char *verdict) {
    assert_string_equal(json_string_value(ds_json_at(told, "results/verdict")), verdict);
    json_decref(told);
}

void expect_incomplete(json_t *told, const char *words) {
    const json_t *sections = ds_json_at(told, "results/sections");
    bool found = false;
    for (size_t i = 0; i < json_array_size(sections); i++) {
        const char *obstacle = json_string_value(json_object_get(json_array_get(sections, i), "obstacle"));
        found = found || (obstacle != NULL && strstr(obstacle, words) != NULL);
    }
    if (!found) fail_msg("no section is incomplete for \"%s\"", words);
    expect_verdict(told, "incomplete");
}

const char *write_forged(const json_t *tree) {
    expect_ok(ds_json_write(scratch_path("forged.json"), tree, DS_JSON_CANONICAL));
    return scratch_path("forged.json");
}
