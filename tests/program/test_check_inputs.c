/* check of results that need more than a checkpoint and token ids: references, words, several checkpoints. */
#include <stdlib.h>
#include <string.h>

#include "checking.h"
#include "child.h"
#include "commands/drawn_claims.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define TOKENS "--tokens", "fixtures/data/val.bin"
#define MODEL "fixtures/models/scalar-safetensors"

static child result;

/* What was made with a reference needs that file again, wherever it lies. */
static void test_reference(void **state) {
    (void)state;
    const char *files[] = {scratch_path("a.safetensors"), scratch_path("elsewhere.safetensors"), scratch_path("b.safetensors")};
    const char *made = scratch_path("referenced.json");
    for (size_t i = 0; i < 3; i++) {
        const double loss = i == 2 ? 5.25 : 5.5;
        const ds_tensor_write tensor = {.name = "loss", .precision = DS_F64, .values = &loss};
        expect_ok(ds_safetensors_write(files[i], &tensor, 1));
    }
    CHILD_RUN(&result, (child_limits){0}, "verify", TOKENS, "--seq-len", "8", "--sequences", "1", "--quiet", "--only", "update",
              "--reference", files[0], "--json", made, MODEL);
    assert_int_equal(result.status, 1); /* the loss is made up */
    expect_incomplete(CHECK(0, made, TOKENS, MODEL), ": give that file with --reference");
    expect_verdict(CHECK(0, made, TOKENS, "--reference", files[1], MODEL), "agrees");
    expect_verdict(CHECK(0, made, TOKENS, "--reference", files[1], "--sample", "0.5", "--seed", "3", MODEL),
                   ds_sample_draws(&(ds_sample){0.5, 3}, "verify") ? "agrees" : "incomplete");
    expect_incomplete(CHECK(0, made, TOKENS, "--reference", files[2], MODEL), "another reference");
    json_t *forged = load_json(made);
    json_t *row =
        json_array_get(ds_json_at(forged, "results/checks"), json_array_size(ds_json_at(forged, "results/checks")) - 1);
    assert_string_equal(json_string_value(json_object_get(row, "id")), "reference.loss");
    assert_int_equal(json_object_set_new(row, "status", json_string("pass")), 0);
    expect_verdict(CHECK(1, write_forged(forged), TOKENS, "--reference", files[0], MODEL), "disagrees");
    json_decref(forged);
    CHILD_RUN(&result, (child_limits){0}, "gates", TOKENS, "--seq-len", "8", "--sequences", "1", "--quiet", "--json", made,
              MODEL);
    CHILD_RUN(&result, (child_limits){0}, "check", "--reference", files[0], made);
    assert_int_equal(result.status, 2);
    assert_non_null(strstr(result.err, "was not made with verify --reference"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
