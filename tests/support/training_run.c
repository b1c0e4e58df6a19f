#include "training_run.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

const child_limits usual = {.seconds = 120};
child found;

const char *recipe_of(const training_trace *t) {
    json_t *recipe = NULL;
    ds_text text = {0};
    expect_ok(ds_recipe_json(&recipe, &t->recipe));
    expect_ok(ds_json_print(&text, recipe, DS_JSON_READABLE));
    const char *path = scratch_write("recipe.json", text.bytes, text.length);
    ds_text_release(&text);
    json_decref(recipe);
    return path;
}

void train(const training_trace *t, const char *out, const char *const *more, child_limits limits) {
    const char *line[32] = {"train",  "--recipe", recipe_of(t), "--from", t->initial,       "--tokens",
                            t->train, "--val",    t->val,       "--out",  scratch_path(out)};
    size_t count = 11;
    for (size_t i = 0; more != NULL && more[i] != NULL; i++) line[count++] = more[i];
    child_run(&found, line, limits);
}

void expect_refusal(int status, const char *words) {
    if (found.status != status || strstr(found.err, words) == NULL)
        fail_msg("exit status %d and \"%s\", expected %d with \"%s\"", found.status, found.err, status, words);
}

json_t *read_json(const char *path) {
    char *bytes;
    size_t length;
    json_t *tree;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

const char *inside(const char *folder, const char *name) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return scratch_path(path);
}
