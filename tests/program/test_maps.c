/* A public fork as a person meets it: `inspect` says what its tensors could be, drafts a map, and with the map every command
 * gives what the checkpoint gave under our names. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "fork.h"
#include "scratch.h"
#include "support.h"
#include "torch_file.h"
#include "toy.h"

static child ran;
static const child_limits limits = {.seconds = 60};
#define DATA "--tokens", scratch_path("tokens.bin"), "--sequences", "2"

/* As scripts do that name everything after themselves. */
static void rename_all(void *context, char out[FORK_NAME], const char *ours) {
    static const char *const pairs[][2] = {
        {"transformer.wte.weight", "tok_emb.weight"},
        {"ln_f.weight", "norm_f.gamma"},
        {"transformer.h.{L}.ln_1.weight", "blocks.{L}.norm1.gamma"},
        {"transformer.h.{L}.ln_2.weight", "blocks.{L}.norm2.gamma"},
        {"transformer.h.{L}.attn.c_q.weight", "blocks.{L}.attn.qkv.weight"},
        {"transformer.h.{L}.attn.q_rms.weight", "blocks.{L}.attn.norm_q.gamma"},
        {"transformer.h.{L}.attn.k_rms.weight", "blocks.{L}.attn.norm_k.gamma"},
        {"transformer.h.{L}.attn.c_proj.weight", "blocks.{L}.attn.out.weight"},
        {"transformer.h.{L}.mlp.c_fc1.weight", "blocks.{L}.ff.gate_up.weight"},
        {"transformer.h.{L}.mlp.c_proj.weight", "blocks.{L}.ff.down.weight"},
    };
    (void)context;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (strcmp(pairs[i][0], ours) == 0) {
            (void)snprintf(out, FORK_NAME, "%s", pairs[i][1]);
            return;
        }
    }
    const char *part = strstr(ours, "{L}.");
    assert_non_null(part);
    (void)snprintf(out, FORK_NAME, "blocks.{L}.%s", part + 4);
}

static void put_size(torch_file *file, const char *key, size_t value) {
    torch_string(file, key);
    torch_int(file, (long long)value);
}

/* model_state beside an optimizer, the configuration in the fork's words within. */
static const char *write_fork(const toy_checkpoint *toy) {
    static torch_file file;
    static forked f;
    const fork_style style = {rename_all, NULL, false, true};
    const ds_spec *spec = ds_model_spec(toy->model);
    const char *path = scratch_path("fork.ckpt");
    fork_make(&f, toy->model, &style);
    torch_begin(&file);
    TORCH_OPCODES(&file, "}(X\x0b\0\0\0model_state");
    torch_state(&file, "_orig_mod.", f.tensors, f.count);
    TORCH_OPCODES(&file, "X\x06\0\0\0configc__main__\nGPTConfig\n)\x81}(");
    put_size(&file, "vocab_size", spec->vocab);
    put_size(&file, "num_layers", spec->layers);
    put_size(&file, "num_heads", spec->heads);
    put_size(&file, "head_size", spec->head_dim);
    put_size(&file, "dim_embedding", spec->hidden);
    put_size(&file, "seq_length", spec->block_size);
    TORCH_OPCODES(&file, "ubu");
    torch_end(&file, path);
    fork_release(&f);
    return path;
}

static char *results_of(const char *path) {
    char *text = NULL;
    size_t length;
    json_t *envelope;
    expect_ok(ds_read_file(&text, &length, path, 1 << 24));
    expect_ok(ds_json_parse(&envelope, text, length, path));
    free(text);
    text = json_dumps(json_object_get(envelope, "results"), JSON_SORT_KEYS);
    json_decref(envelope);
    assert_non_null(text);
    return text;
}

static void a_fork_gives_what_the_model_gives(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar"};
    uint16_t tokens[200];
    for (size_t i = 0; i < 200; i++) tokens[i] = (uint16_t)(i * i % 11);
    (void)scratch_write("tokens.bin", tokens, sizeof tokens);
    for (size_t i = 0; i < 2; i++) {
        const ds_spec spec = toy_spec(variants[i]);
        toy_checkpoint toy;
        toy_make(&toy, &spec, DS_F32, 17);
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        ds_checkpoint_close(&checkpoint);
        const char *path = write_fork(&toy), *map = scratch_path("map.json");
        const char *ours = scratch_path("ours.json"), *theirs = scratch_path("theirs.json");
        CHILD_RUN(&ran, limits, "gates", DATA, "--json", ours, scratch_path("toy"));
        assert_int_equal(ran.status, 0);
        CHILD_RUN(&ran, limits, "gates", DATA, path);
        assert_int_equal(ran.status, 3);
        (void)unlink(map);
        CHILD_RUN(&ran, limits, "inspect", "--draft-map", map, path);
        if (ran.status != 0) fail_msg("%s", ran.err);
        assert_non_null(strstr(ran.out, "; 0 of them"));
        CHILD_RUN(&ran, limits, "gates", DATA, "--map", map, "--json", theirs, path);
        if (ran.status != 0) fail_msg("%s", ran.err);
        char *a = results_of(ours), *b = results_of(theirs);
        assert_string_equal(a, b);
        free(a);
        free(b);
        CHILD_RUN(&ran, limits, "inspect", "--map", map, "--json", theirs, path);
        assert_int_equal(ran.status, 0);
        CHILD_RUN(&ran, limits, "verify", DATA, "--map", map, path);
        assert_int_equal(ran.status, 0);
        toy_release(&toy);
    }
}

/* Without a map: every tensor beside what it could be, on standard output; the sentence and the status stay what they were. */
static void lists_what_cannot_be_built(void **state) {
    (void)state;
    const ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 17);
    const char *path = write_fork(&toy);
    CHILD_RUN(&ran, limits, "inspect", path);
    assert_int_equal(ran.status, 3);
    assert_non_null(strstr(ran.err, "fork.ckpt: no configuration"));
    assert_non_null(strstr(ran.out, "blocks.1.attn.qkv.weight"));
    assert_non_null(
        strstr(ran.out, "blocks.1.attn.qkv.weight  F32 36x10: query projection; key projection; value\n    projection\n"));
    assert_non_null(strstr(ran.out, "token embedding"));
    CHILD_RUN(&ran, limits, "inspect", "--quiet", path);
    assert_int_equal(ran.status, 3);
    assert_string_equal(ran.out, "");
    ds_checkpoint *checkpoint = toy_open(&toy, "num_hidden_layers", ", \"num_hidden_layers\": 3");
    ds_checkpoint_close(&checkpoint);
    CHILD_RUN(&ran, limits, "inspect", scratch_path("toy"));
    assert_int_equal(ran.status, 3);
    assert_non_null(strstr(ran.err, "missing tensor transformer.h.2.ln_1.weight (attention pre-norm of layer 2); "));
    assert_non_null(strstr(ran.out, "transformer.h.1.ln_1.weight"));
    toy_release(&toy);
}

static void refuses_what_makes_no_sense(void **state) {
    (void)state;
    const ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 17);
    const char *path = write_fork(&toy), *map = scratch_write("given.json", "{}", 2);
    CHILD_RUN(&ran, limits, "inspect", "--map", map, "--draft-map", scratch_path("other.json"), path);
    assert_int_equal(ran.status, 2);
    CHILD_RUN(&ran, limits, "inspect", "--draft-map", path, path);
    assert_int_equal(ran.status, 2);
    assert_non_null(strstr(ran.err, "is an input of this run"));
    CHILD_RUN(&ran, limits, "gates", DATA, "--map", scratch_path("absent.json"), path);
    assert_int_equal(ran.status, 3);
    assert_non_null(strstr(ran.err, "absent.json: missing"));
    toy_release(&toy);
}

/* The configuration a checkpoint holds serves, and the result says so. */
static void tells_where_the_configuration_is_from(void **state) {
    (void)state;
    const ds_spec spec = toy_spec("ddl-scalar");
    static torch_file file;
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 17);
    const char *path = scratch_path("own.pt"), *result = scratch_path("own.json");
    torch_begin(&file);
    TORCH_OPCODES(&file, "}(X\x05\0\0\0model");
    torch_state(&file, "", toy.tensors, toy.count);
    TORCH_OPCODES(&file, "X\x0a\0\0\0model_args}(");
    put_size(&file, "vocab_size", spec.vocab);
    put_size(&file, "num_hidden_layers", spec.layers);
    put_size(&file, "num_attention_heads", spec.heads);
    put_size(&file, "head_dim", spec.head_dim);
    put_size(&file, "hidden_size", spec.hidden);
    put_size(&file, "block_size", spec.block_size);
    TORCH_OPCODES(&file, "uu");
    torch_end(&file, path);
    CHILD_RUN(&ran, limits, "inspect", "--json", result, path);
    if (ran.status != 0) fail_msg("%s", ran.err);
    assert_non_null(strstr(ran.out, "configuration: what the checkpoint holds as model_args"));
    char *text = NULL, where[512];
    size_t length;
    json_t *envelope;
    expect_ok(ds_read_file(&text, &length, result, 1 << 24));
    expect_ok(ds_json_parse(&envelope, text, length, result));
    (void)snprintf(where, sizeof where, "%s: model_args", path);
    assert_string_equal(json_string_value(ds_json_at(envelope, "checkpoint/config")), where);
    json_decref(envelope);
    free(text);
    toy_release(&toy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fork_gives_what_the_model_gives),
        cmocka_unit_test(lists_what_cannot_be_built),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(tells_where_the_configuration_is_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
