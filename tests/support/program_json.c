#include "program_json.h"

#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static json_t *load(const char *path) {
    char *bytes = NULL;
    size_t length;
    json_t *value = NULL;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    assert_non_null(bytes);
    expect_ok(ds_json_parse(&value, bytes, length, path));
    free(bytes);
    return value;
}

json_t *program_json(const char *const *arguments) {
    static child ran;
    const char *all[48] = {NULL};
    size_t count = 0;
    while (arguments[count] != NULL) {
        assert_true(count + 4 < sizeof all / sizeof all[0]);
        all[count] = arguments[count];
        count++;
    }
    all[count++] = "--quiet";
    all[count++] = "--json";
    all[count] = scratch_path("program.json");
    child_run(&ran, all, (child_limits){0});
    if (ran.status != 0) fail_msg("%s: exit status %d: %s", arguments[0], ran.status, ran.err);
    return load(scratch_path("program.json"));
}

static void expect_member(json_t *found, const json_t *envelope, const char *key) {
    expect_ok(ds_json_write(scratch_path("library.json"), found, DS_JSON_READABLE));
    json_t *written = load(scratch_path("library.json"));
    if (!json_equal(written, json_object_get(envelope, key))) {
        char *text = json_dumps(written, JSON_INDENT(1));
        fail_msg("%s differ: %.2000s", key, text == NULL ? "?" : text);
        free(text);
    }
    json_decref(written);
    json_decref(found);
}

void expect_as_written(json_t *options, json_t *results, json_t *envelope) {
    expect_member(options, envelope, "options");
    expect_member(results, envelope, "results");
    json_decref(envelope);
}
