#include "program_json.h"

#include "child.h"
#include "scratch.h"
#include "support.h"

enum { MOST_ARGUMENTS = 32 };

json_t *program_json(const char *const *arguments) {
    static child result;
    const char *path = scratch_path("program.json"), *all[MOST_ARGUMENTS + 4];
    size_t count = 0;
    json_error_t error;
    for (; arguments[count] != NULL; count++) {
        assert_true(count < MOST_ARGUMENTS);
        all[count] = arguments[count];
    }
    all[count++] = "--quiet";
    all[count++] = "--json";
    all[count++] = path;
    all[count] = NULL;
    child_run(&result, all, (child_limits){.seconds = 0});
    if (result.status != 0) fail_msg("exit status %d: %s", result.status, result.err);
    json_t *envelope = json_load_file(path, 0, &error);
    if (envelope == NULL) fail_msg("%s: %s", path, error.text);
    return envelope;
}

void expect_same_json(json_t *envelope, json_t *options, json_t *results) {
    assert_true(json_equal(json_object_get(envelope, "options"), options));
    assert_true(json_equal(json_object_get(envelope, "results"), results));
    json_decref(options);
    json_decref(results);
    json_decref(envelope);
}
