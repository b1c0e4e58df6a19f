/* Several processes under mpirun: the bytes of one, one sentence and its exit status when something is wrong, and what was
 * finished taken up by any number of them. */
#include "mpirun.h"
#include "scratch.h"
#include "support.h"
#include <jansson.h>

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "7"
#define MODEL "fixtures/models/scalar-safetensors"

/* A command's own words, after its name. */
typedef struct command_line {
    const char *words[12];
} command_line;

static const command_line lines[] = {
    {{"ablate", "--modes", "closed,mean-gate", "--scopes", "each,all", "--shadow", "1"}},
    {{"gates", "--shadow", "2"}},
    {{"spectrum", "--positions", "all", "--null", "constant-gates"}},
    {{"gradflow", "--measure"}},
};

static size_t fill(const char **out, const command_line *line, const char *const *more) {
    size_t used = 0;
    while (line->words[used] != NULL) {
        out[used] = line->words[used];
        used++;
    }
    while (*more != NULL) out[used++] = *more++;
    out[used] = NULL;
    return used;
}

/* The result at the path, without how the run went. */
static json_t *load(const char *path) {
    json_t *envelope = json_load_file(path, 0, NULL);
    assert_non_null(json_object_get(envelope, "results"));
    (void)json_object_del(envelope, "threads");
    (void)json_object_del(envelope, "seconds");
    return envelope;
}

/* Every number is the same bits, and so is what people read. */
static void test_same_results(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *arguments[32], *paths[] = {scratch_path("alone.json"), scratch_path("together.json")};
        static child alone, together;
        (void)fill(arguments, &lines[i], (const char *const[]){"--json", paths[0], DATA, MODEL, NULL});
        child_run(&alone, arguments, (child_limits){0});
        assert_int_equal(alone.status, 0);
        (void)fill(arguments, &lines[i], (const char *const[]){"--json", paths[1], DATA, MODEL, NULL});
        mpirun(&together, 2 + (unsigned)i % 2, arguments, (child_limits){0});
        assert_string_equal(together.err, alone.err);
        assert_int_equal(together.status, 0);
        assert_string_equal(together.out, alone.out);
        json_t *results[] = {load(paths[0]), load(paths[1])};
        assert_true(json_equal(results[0], results[1]));
        json_decref(results[0]);
        json_decref(results[1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_results),
    };
    if (!mpirun_is_there()) return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
