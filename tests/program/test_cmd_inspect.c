/* The inspect command as a script sees it: exit status, JSON, standard output and error. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "scratch.h"
#include "toy.h"

static char *slurp(const char *name) {
    char *bytes = NULL;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 24));
    assert_non_null(bytes);
    return bytes;
}

static void expect_words(const char *file, const char *words) {
    char *text = slurp(file);
    if (strstr(text, words) == NULL) fail_msg("\"%s\" expected in %s", words, text);
    free(text);
}

/* Runs the program; standard output and error go to the scratch files "out" and "err". */
static void inspect(const char *arguments, int expected) {
    const char *program = getenv("DELTASCOPE");
    char command[2048];
    (void)snprintf(command, sizeof command, "%s inspect %s >%s 2>%s", program == NULL ? "build/deltascope" : program, arguments,
                   scratch_path("out"), scratch_path("err"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != expected) {
        char *complaint = slurp("err");
        fail_msg("inspect %s: exit status %d, expected %d: %s", arguments, WEXITSTATUS(status), expected, complaint);
    }
}

/* The results object of a run that succeeds; *envelope is to be released. */
static const json_t *results_of(json_t **envelope, const char *arguments) {
    char line[1024];
    (void)snprintf(line, sizeof line, "--json %s %s", scratch_path("result.json"), arguments);
    inspect(line, 0);
    char *text = slurp("result.json");
    expect_ok(ds_json_parse(envelope, text, strlen(text), "result.json"));
    free(text);
    assert_string_equal(json_string_value(json_object_get(*envelope, "schema")), "deltascope/1");
    assert_string_equal(json_string_value(json_object_get(*envelope, "command")), "inspect");
    return json_object_get(*envelope, "results");
}

static const json_t *entry(const json_t *list, const char *key, const char *name) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(value, key)), name) == 0) return value;
    }
    fail_msg("no entry %s", name);
    return NULL;
}

static json_int_t count_of(const json_t *object, const char *key) {
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

static void describes_the_trained_checkpoint(void **state) {
    (void)state;
    json_t *envelope;
    const json_t *results = results_of(&envelope, "--seq-len 100 --precision double fixtures/models/ddl-cc-ec");
    const json_t *checkpoint = json_object_get(envelope, "checkpoint");
    assert_string_equal(json_string_value(json_object_get(checkpoint, "variant")), "ddl-cc-ec");
    assert_int_equal(count_of(checkpoint, "parameters"), 805436);
    const json_t *tensors = json_object_get(results, "tensors");
    assert_int_equal(json_array_size(tensors), 89);
    const json_t *query = entry(tensors, "name", "transformer.h.3.attn.c_q.weight");
    assert_string_equal(json_string_value(json_object_get(query, "role")), "query projection of layer 3");
    assert_string_equal(json_string_value(json_object_get(query, "dtype")), "F32");
    assert_int_equal(json_array_size(json_object_get(query, "shape")), 2);
    assert_int_equal(json_array_size(json_object_get(results, "unused")), 0);
    const json_t *parameters = json_object_get(results, "parameters");
    /* d = 128, dv = 4, f = 341, V = 65, four layers of four heads of 32 */
    assert_int_equal(count_of(parameters, "embedding"), 65 * 128);
    assert_int_equal(count_of(parameters, "attention"), 4 * 4 * 128 * 128);
    assert_int_equal(count_of(parameters, "mlp"), 4 * 3 * 341 * 128);
    assert_int_equal(count_of(parameters, "delta"), 8 * (128 + 1 + 4 * 128 + 4));
    assert_int_equal(count_of(parameters, "compressor"), 5 * (128 * 4 + 4) + 128 * 4 * 4);
    assert_int_equal(count_of(parameters, "norms"), 4 * (2 * 128 + 2 * 32) + 128);
    assert_int_equal(count_of(parameters, "total"), 805436);
    const json_t *cost = json_object_get(results, "cost");
    double layer = 2.0 * (4 * 128 * 128 + 3 * 341 * 128 + 2 * (128 + 4 * 128 + 2 * 4 * 128)) + 2.0 * 100 * 128;
    double forward = 4.0 * layer + 2.0 * 65 * 128;
    expect_close(json_number_value(json_object_get(cost, "forward_flops_per_token")), forward, 0.0);
    expect_close(json_number_value(json_object_get(cost, "training_flops_per_token")), 3.0 * forward, 0.0);
    assert_int_equal(count_of(cost, "state_bytes_per_token"), 128 * 4 * 8);
    assert_string_equal(json_string_value(json_object_get(results, "tied_head")), "absent");
    assert_string_equal(json_string_value(json_object_get(results, "format")), "safetensors");
    json_decref(envelope);
    expect_words("out", "ddl-cc-ec from safetensors: 4 layers, hidden 128");
    expect_words("out", "A is orthogonal only where");
    expect_words("err", "");
}

/* Data are optional, and described as every command describes them. */
static void tells_of_data(void **state) {
    (void)state;
    json_t *envelope;
    (void)results_of(&envelope, "fixtures/models/additive-small");
    assert_true(json_is_null(json_object_get(envelope, "data")));
    json_decref(envelope);
    (void)results_of(&envelope,
                     "--tokens fixtures/data/val.bin --seq-len 10 --offset 7 --sequences 3 fixtures/models/additive-small");
    const json_t *data = json_object_get(envelope, "data");
    assert_int_equal(count_of(data, "seq_len"), 10);
    assert_int_equal(count_of(data, "offset"), 7);
    assert_int_equal(count_of(data, "sequences"), 3);
    assert_int_equal(count_of(data, "tokens"), 30);
    json_decref(envelope);
    expect_words("out", "3 windows of 10 from token 7 on");
    inspect("--tokens fixtures/data/val.bin --sequences 1000000 fixtures/models/additive-small", 3);
    inspect("--text README.md fixtures/models/additive-small", 2);
}

static void is_silent_when_asked(void **state) {
    (void)state;
    inspect("--quiet fixtures/models/additive-small", 0);
    char *out = slurp("out"), *err = slurp("err");
    assert_string_equal(out, "");
    assert_string_equal(err, "");
    free(out);
    free(err);
    inspect("fixtures/models/additive-small", 0);
    out = slurp("out");
    assert_null(strstr(out, "paper:")); /* the differences concern delta models */
    free(out);
}

/* Everything that can be odd at once: reported, not refused. */
static void reports_what_is_odd(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-scalar");
    spec.mlp_hidden = 20;
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 3);
    float *embedding = ds_model_parameter(toy.model, 0)->values;
    float head[110];
    memcpy(head, embedding, sizeof head);
    head[5] += 1.0F;
    memset(embedding + 20, 0, 10 * sizeof *embedding); /* row 2 of the embedding */
    embedding[33] = NAN;
    embedding[34] = INFINITY;
    embedding[35] = -INFINITY;
    ds_tensor_write stored = toy.tensors[0];
    stored.name = "lm_head.weight";
    stored.values = head;
    toy.tensors[toy.count++] = stored;
    const size_t one[] = {1};
    toy.tensors[toy.count++] = (ds_tensor_write){"transformer.h.0.attn.bias", DS_F32, 1, one, head};
    ds_checkpoint *checkpoint = toy_open(&toy, "use_qk_rmsnorm", ", \"use_qk_rmsnorm\": false");
    char arguments[512];
    (void)snprintf(arguments, sizeof arguments, "%s", ds_checkpoint_path(checkpoint));
    json_t *envelope;
    const json_t *results = results_of(&envelope, arguments);
    assert_string_equal(json_string_value(json_object_get(results, "tied_head")), "different");
    assert_int_equal(json_array_size(json_object_get(results, "unused")), 5); /* two norms in each layer, and the bias */
    const json_t *health = entry(json_object_get(results, "health"), "tensor", "transformer.wte.weight");
    assert_int_equal(count_of(health, "nan"), 1);
    assert_int_equal(count_of(health, "inf"), 2);
    assert_int_equal(count_of(health, "zero_rows"), 1);
    assert_true(json_is_null(
        json_object_get(entry(json_object_get(results, "tensors"), "name", "transformer.h.0.attn.q_rms.weight"), "role")));
    json_decref(envelope);
    expect_words("out", "weights: NaN in transformer.wte.weight;");
    expect_words("out", "weights: Infinity in transformer.wte.weight;");
    expect_words("out", "weights: Rows that are zero throughout: transformer.wte.weight.");
    expect_words("out", "weights: lm_head.weight differs from transformer.wte.weight");
    expect_words("out", "names: 5 tensors this configuration does not use: transformer.h.0.attn.bias,");
    expect_words("out", "configuration: The MLP is 20 wide, not floor(8/3 * 10) = 26.");
    expect_words("out", "token embedding, 1 NaN, 2 Inf, 1 zero");
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

static void refuses_with_the_documented_status(void **state) {
    (void)state;
    inspect("", 2);
    inspect("--positions all fixtures/models/additive-small", 2);
    inspect("fixtures/models/no-such-model", 3);
    expect_words("err", "no-such-model");
    ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 3);
    ds_checkpoint *checkpoint = toy_open(&toy, "vocab_size", ", \"vocab_size\": 12");
    inspect(ds_checkpoint_path(checkpoint), 3);
    expect_words("err", "model.safetensors: wrong shape of tensor transformer.wte.weight: found (11, 10), expected (12, 10)");
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_the_trained_checkpoint),
        cmocka_unit_test(tells_of_data),
        cmocka_unit_test(is_silent_when_asked),
        cmocka_unit_test(reports_what_is_odd),
        cmocka_unit_test(refuses_with_the_documented_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
