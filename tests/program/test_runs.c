/* A configuration with fewer layers than its weights: every command that computes with them says so, in its result and on
 * standard error, and names the first tensor that is left. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "child.h"
#include "scratch.h"
#include "support.h"
#include "toy.h"

static const char sentence[] = "this configuration leaves 19 of 40 tensors unused, the first is transformer.h.1.";
static child result;

/* The number of times the sentence is in the result; every file and table of the run stays in the scratch folder. */
static size_t warnings(const char *command, const char *const *options, const char *const *checkpoints) {
    const char *arguments[16] = {command, "--quiet", "--json", scratch_path("result.json")};
    size_t count = 4, found = 0;
    while (*options != NULL) arguments[count++] = *options++;
    while (*checkpoints != NULL) arguments[count++] = *checkpoints++;
    child_run(&result, arguments, (child_limits){0});
    if (result.status != 0) fail_msg("%s: exit status %d: %s", command, result.status, result.err);
    json_error_t error;
    json_t *envelope = json_load_file(scratch_path("result.json"), 0, &error);
    if (envelope == NULL) fail_msg("%s: %s", error.text, result.err);
    char *text = json_dumps(envelope, 0);
    for (const char *at = text; (at = strstr(at, sentence)) != NULL; at++) found++;
    const json_t *first = json_array_get(json_object_get(envelope, "warnings"), 0);
    assert_int_equal(found > 0,
                     json_is_string(first) && strstr(json_string_value(first), sentence) == json_string_value(first));
    free(text);
    json_decref(envelope);
    return found;
}

static void test_unused_tensors_are_told(void **state) {
    (void)state;
    static const uint16_t ids[64] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7};
    const char *tokens = scratch_write("ids.bin", ids, sizeof ids);
    const char *const data[] = {"--tokens", tokens, "--seq-len", "8", NULL}, *const text[] = {"--tokens", tokens, NULL};
    static const char *const commands[] = {"gates", "spectrum", "ablate", "gradflow", "verify"};
    ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 11);
    for (int layers = 1; layers <= 2; layers++) {
        ds_checkpoint *checkpoint =
            toy_open(&toy, layers == 1 ? "num_hidden_layers" : NULL, layers == 1 ? ", \"num_hidden_layers\": 1" : "");
        const char *const one[] = {ds_checkpoint_path(checkpoint), NULL}, *const two[] = {one[0], one[0], NULL};
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
            assert_int_equal(warnings(commands[i], data, one), layers == 1);
            assert_int_equal(strstr(result.err, sentence) != NULL, layers == 1);
        }
        assert_int_equal(warnings("trace", text, one), layers == 1);
        assert_int_equal(warnings("compare", data, two), layers == 1 ? 3 : 0); /* the envelope, and each of the two */
        ds_checkpoint_close(&checkpoint);
    }
    toy_release(&toy);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unused_tensors_are_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
