/* What is no error and yet must be known is said in the result, on standard error and in a report's verdict: tensors that a
 * configuration leaves, above all those that would change the numbers; windows longer than the model was trained on. */
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

/* The first warning of a command's result, and of standard error; "" when there is none. */
static const char *first_warning(const char *const *arguments, const char *json) {
    static char said[2048];
    json_error_t error;
    child_run(&result, arguments, (child_limits){0});
    if (result.status != 0) fail_msg("%s: exit status %d: %s", arguments[0], result.status, result.err);
    json_t *envelope = json_load_file(json, 0, &error);
    if (envelope == NULL) fail_msg("%s: %s", json, error.text);
    const json_t *found = json_object_get(envelope, "warnings"), *first = json_array_get(found, 0);
    (void)snprintf(said, sizeof said, "%s", json_is_string(first) ? json_string_value(first) : "");
    assert_int_equal(strstr(result.err, "warning") != NULL, json_is_array(found));
    json_decref(envelope);
    return said;
}

static const char *write_ids(void) {
    static uint16_t ids[200];
    for (size_t i = 0; i < 200; i++) ids[i] = (uint16_t)(i * i % 11);
    return scratch_write("more.bin", ids, sizeof ids);
}

/* A tensor of each kind that other models add, beside buffers that mean nothing. */
static void test_tensors_of_other_models_are_in_the_verdict(void **state) {
    (void)state;
    static const float zeros[160];
    static const struct {
        const char *name, *effect;
        size_t rank;
    } extra[] = {{"transformer.wpe.weight", "learned positions", 2},
                 {"ln_f.bias", "a bias", 1},
                 {"transformer.h.1.ln_2.bias", "a bias", 1},
                 {"transformer.h.0.mlp.c_fc3.weight", "a matrix of weights", 2},
                 {"transformer.h.0.post_norm.weight", "weights of a norm", 1},
                 {"transformer.h.0.attn.bias", NULL, 2},
                 {"transformer.h.0.attn.rotary.inv_freq", NULL, 1}};
    const size_t shape[] = {16, 10};
    const char *tokens = write_ids();
    ds_spec spec = toy_spec("ddl-cc");
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        toy_checkpoint toy;
        toy_make(&toy, &spec, DS_F32, 3);
        toy.tensors[toy.count++] = (ds_tensor_write){extra[i].name, DS_F32, extra[i].rank, shape + 2 - extra[i].rank, zeros};
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        const char *path = ds_checkpoint_path(checkpoint), *json = scratch_path("result.json");
        const char *const gates[] = {"gates", "--quiet", "--json", json, "--tokens", tokens, path, NULL};
        char name[40];
        (void)snprintf(name, sizeof name, "report-%zu", i);
        const char *out = scratch_path(name);
        const char *const report[] = {
            "report",   "--quiet", "--out",  out,
            "--tokens", tokens,    "--skip", "spectrum,weights,ablate,controls,gradflow,jacobians,verify",
            path,       NULL};
        const char *warning = first_warning(gates, json);
        if (strstr(warning, extra[i].name) == NULL) fail_msg("%s: \"%s\"", extra[i].name, warning);
        assert_int_equal(strstr(warning, "would change the numbers") != NULL, extra[i].effect != NULL);
        if (extra[i].effect != NULL) assert_non_null(strstr(warning, extra[i].effect));
        if (i % 3 == 0) { /* the page takes longer */
            const char *verdict;
            json_error_t error;
            child_run(&result, report, (child_limits){0});
            json_t *envelope = json_load_file(scratch_path(strcat(name, "/report.json")), 0, &error);
            verdict = json_string_value(json_object_get(envelope, "verdict"));
            assert_non_null(verdict);
            if (strstr(verdict, extra[i].name) == NULL) fail_msg("%s: \"%s\"", extra[i].name, verdict);
            json_decref(envelope);
        }
        ds_checkpoint_close(&checkpoint);
        toy_release(&toy);
    }
}

/* Every command that opens a configuration asks what a misspelled key meant. */
static void test_misspelled_keys_are_told(void **state) {
    (void)state;
    static const char *const commands[] = {"inspect", "gates", "spectrum", "ablate", "trace", "compare", "gradflow", "verify"};
    const char *tokens = write_ids(), *json = scratch_path("result.json");
    ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 3);
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, ", \"use_kshift\": true");
    const char *path = ds_checkpoint_path(checkpoint);
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        const char *const arguments[] = {
            commands[c], "--quiet",   "--json", json, "--tokens",
            tokens,      "--seq-len", "8",      path, strcmp(commands[c], "compare") == 0 ? path : NULL,
            NULL};
        const char *warning = first_warning(arguments, json);
        if (strstr(warning, "use_kshift") == NULL || strstr(warning, "did you mean use_k_shift?") == NULL ||
            strstr(result.err, warning) == NULL)
            fail_msg("%s: \"%s\"", commands[c], warning);
    }
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

static void test_long_windows_are_told(void **state) {
    (void)state;
    const char *tokens = write_ids(), *json = scratch_path("result.json");
    ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 3);
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    const char *path = ds_checkpoint_path(checkpoint);
    static const char *const commands[] = {"gates", "spectrum", "trace", "compare"};
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        for (size_t length = spec.block_size - 1; length <= spec.block_size + 1; length++) {
            char digits[24];
            (void)snprintf(digits, sizeof digits, "%zu", length);
            const char *const arguments[] = {commands[c], "--quiet",   "--json", json, "--tokens",
                                             tokens,      "--seq-len", digits,   path, c == 3 ? path : NULL,
                                             NULL};
            const char *warning = first_warning(arguments, json);
            assert_int_equal(strstr(warning, "are longer than block_size, 16") != NULL, length > spec.block_size);
        }
    }
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

/* A file that may not grow any more (ulimit -f) is a write error like any other, of whatever file: no signal ends the program,
 * and what was there before stays. */
static void test_limits_of_file_size(void **state) {
    (void)state;
    static const char *const commands[] = {"gates", "spectrum", "trace", "inspect"};
    const char *tokens = write_ids(), *kept = "what was there before";
    ds_random random = ds_random_init(20261206);
    ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 3);
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    const char *path = ds_checkpoint_path(checkpoint);
    for (size_t round = 0; round < 16; round++) {
        const char *json = scratch_write("kept.json", kept, strlen(kept));
        const char *const arguments[] = {commands[round % 4],
                                         "--quiet",
                                         round % 8 < 4 ? "--json" : "--out",
                                         round % 8 < 4 ? json : scratch_path("limited"),
                                         "--tokens",
                                         tokens,
                                         path,
                                         NULL};
        child_run(&result, arguments, (child_limits){.file_size = 1 + ds_random_below(&random, 900)});
        if (result.status != 4 || result.signal != 0 || strstr(result.err, "deltascope: ") == NULL)
            fail_msg("%s: status %d, signal %d: %s", arguments[0], result.status, result.signal, result.err);
        char *bytes;
        size_t length;
        expect_ok(ds_read_file(&bytes, &length, json, 1 << 20));
        assert_string_equal(bytes, kept);
        free(bytes);
    }
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unused_tensors_are_told),  cmocka_unit_test(test_tensors_of_other_models_are_in_the_verdict),
        cmocka_unit_test(test_misspelled_keys_are_told), cmocka_unit_test(test_long_windows_are_told),
        cmocka_unit_test(test_limits_of_file_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
