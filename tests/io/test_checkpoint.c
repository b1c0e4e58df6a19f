/* Checkpoints: what a path leads to, which configuration goes with it, how shards must fit together, and what no file may
 * be. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "deltascope/io.h"
#include "scratch.h"

/* ---- files to open ----------------------------------------------------------------------------------------------- */

#define CONFIG "{\"hidden_size\":32}"

static void write_text(const char *name, const char *text) { (void)scratch_write(name, text, strlen(text)); }

/* A safetensors file with a scalar F32 tensor of value 1, 2, ... for each name in the comma-separated list. */
static void write_weights(const char *file, const char *names) {
    ds_text text = {0};
    size_t count = 0;
    expect_ok(ds_text_append(&text, "\0\0\0\0\0\0\0\0{", 9));
    for (const char *at = names; *at != '\0'; count++) {
        size_t length = strcspn(at, ",");
        expect_ok(ds_text_printf(&text, "%s\"%.*s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[%zu,%zu]}",
                                 count == 0 ? "" : ",", (int)length, at, 4 * count, 4 * count + 4));
        at += length + (at[length] == ',' ? 1 : 0);
    }
    expect_ok(ds_text_append(&text, "}", 1));
    for (size_t i = 0; i < 8; i++) text.bytes[i] = (char)((text.length - 8) >> (8 * i));
    for (size_t i = 0; i < count; i++) {
        float value = (float)(i + 1);
        expect_ok(ds_text_append(&text, (const char *)&value, sizeof value));
    }
    (void)scratch_write(file, text.bytes, text.length);
    ds_text_release(&text);
}

static void opens(const char *path, const char *config_path, const char *format, size_t count) {
    ds_checkpoint *checkpoint = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, path, config_path));
    assert_string_equal(ds_checkpoint_path(checkpoint), path);
    assert_string_equal(ds_checkpoint_format(checkpoint), format);
    assert_int_equal(ds_checkpoint_count(checkpoint), count);
    assert_true(json_is_object(ds_checkpoint_config(checkpoint)));
    ds_checkpoint_close(&checkpoint);
    assert_null(checkpoint);
}

static void fails(const char *path, const char *config_path, ds_status code, const char *words) {
    ds_checkpoint *checkpoint = NULL;
    expect_failure(ds_checkpoint_open(&checkpoint, path, config_path), code, words);
    assert_null(checkpoint);
}

/* ---- known checkpoints ------------------------------------------------------------------------------------------- */

/* CRC-32 of every tensor's values as little-endian float, from a table written beside the files by another program. */
static void compare_with_table(const char *folder) {
    ds_checkpoint *checkpoint = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, folder, NULL));
    FILE *table = fopen("fixtures/hostile/base_weights.tsv", "r");
    assert_non_null(table);
    char line[512], name[256];
    unsigned crc;
    size_t compared = 0;
    while (fgets(line, sizeof line, table) != NULL) {
        if (sscanf(line, "%255s %*s %8x", name, &crc) != 2 || strcmp(name, "name") == 0) continue;
        const ds_tensor *tensor = ds_checkpoint_find(checkpoint, name);
        if (tensor == NULL) fail_msg("%s: no %s", folder, name);
        float *values = malloc(tensor->count * sizeof *values);
        assert_non_null(values);
        ds_tensor_read read = {.tensor = tensor, .precision = DS_F32, .destination = values};
        expect_ok(ds_checkpoint_read(checkpoint, &read, 1));
        unsigned found = (unsigned)crc32(0, (const Bytef *)values, (uInt)(tensor->count * sizeof *values));
        if (found != crc) fail_msg("%s: %s has CRC %08x, expected %08x", folder, name, found, crc);
        free(values);
        compared++;
    }
    (void)fclose(table);
    assert_int_equal(compared, 21);
    ds_checkpoint_close(&checkpoint);
}

static void loads_one_content_from_every_format(void **state) {
    (void)state;
    compare_with_table("fixtures/hostile/valid/both_formats"); /* beside a .bin that would call posix.system */
    compare_with_table("fixtures/hostile/valid/st_bf16");
    compare_with_table("fixtures/hostile/valid/st_escaped_names");
    compare_with_table("fixtures/hostile/valid/sharded");
    compare_with_table("fixtures/hostile/valid/pt_slice");
}

/* Expected digests by sha256sum. */
static void hashes_what_it_reads(void **state) {
    (void)state;
    ds_checkpoint *checkpoint = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, "fixtures/models/cc-bf16", NULL));
    assert_string_equal(ds_checkpoint_format(checkpoint), "safetensors");
    assert_string_equal(ds_checkpoint_config_path(checkpoint), "fixtures/models/cc-bf16/config.json");
    expect_ok(ds_checkpoint_read(checkpoint, NULL, 0));
    assert_string_equal(ds_checkpoint_sha256(checkpoint), "f0d040eb924d98600eefe4b5806120ac61ee06df29ee8b9043e40346bf19af69");
    ds_checkpoint_close(&checkpoint);
    expect_ok(ds_checkpoint_open(&checkpoint, "fixtures/models/tc-ec-sharded", NULL));
    assert_string_equal(ds_checkpoint_format(checkpoint), "sharded safetensors");
    assert_int_equal(ds_checkpoint_files(checkpoint), 3);
    assert_string_equal(ds_checkpoint_file(checkpoint, 2), "fixtures/models/tc-ec-sharded/model-00003-of-00003.safetensors");
    expect_ok(ds_checkpoint_read(checkpoint, NULL, 0));
    assert_string_equal(ds_checkpoint_sha256(checkpoint), "9f452c3da52c4ce9d1c6dfdce9b7394d06f401032ec8f28310f0800fb3b48291");
    for (size_t i = 1; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *a = ds_checkpoint_tensor(checkpoint, i - 1), *b = ds_checkpoint_tensor(checkpoint, i);
        assert_true(strcmp(a->name, b->name) < 0);
        assert_true(ds_checkpoint_find(checkpoint, b->name) == b);
    }
    ds_checkpoint_close(&checkpoint);
}

/* ---- folders, single files, configurations ----------------------------------------------------------------------- */

static void prefers_one_weight_file(void **state) {
    (void)state;
    write_text("prefer/config.json", CONFIG);
    fails(scratch_path("prefer"), NULL, DS_ERR_INPUT, "no checkpoint file in the folder");
    write_text("prefer/pytorch_model.bin.index.json", "{}");
    fails(scratch_path("prefer"), NULL, DS_ERR_INPUT, "pytorch_model.bin.index.json: missing weight_map");
    write_text("prefer/pytorch_model.bin", "not a zip archive");
    fails(scratch_path("prefer"), NULL, DS_ERR_INPUT, "pytorch_model.bin: not a PyTorch file");
    write_text("prefer/model.safetensors.index.json", "{");
    fails(scratch_path("prefer"), NULL, DS_ERR_INPUT, "model.safetensors.index.json: invalid JSON");
    write_weights("prefer/model.safetensors", "a,b");
    opens(scratch_path("prefer"), NULL, "safetensors", 2);
    /* a link that leads nowhere is not passed over for the next file in line */
    assert_int_equal(unlink(scratch_path("prefer/model.safetensors")), 0);
    assert_int_equal(symlink("nowhere", scratch_path("prefer/model.safetensors")), 0);
    fails(scratch_path("prefer"), NULL, DS_ERR_INPUT, "model.safetensors: missing");
}

static void finds_the_configuration(void **state) {
    (void)state;
    write_weights("config/model.safetensors", "a");
    const char *folder = scratch_path("config"), *file = scratch_path("config/model.safetensors");
    fails(folder, NULL, DS_ERR_INPUT, "config/config.json: missing config.json");
    fails(file, NULL, DS_ERR_INPUT, "no configuration");
    write_text("config/other.json", CONFIG);
    opens(folder, scratch_path("config/other.json"), "safetensors", 1);
    opens(file, scratch_path("config/other.json"), "safetensors", 1);
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "invalid JSON"},
        {"hidden_size: 32", "invalid JSON"},
        {CONFIG "x", "trailing characters"},
        {"[" CONFIG "]", "not a JSON object"},
        {"{\"s\":1e999}", "number out of range"},
        {"{\"s\":NaN}", "invalid JSON"},
        {"{\"hidden_size\":32,\"hidden_size\":32}", "duplicate key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("config/config.json", cases[i].text);
        fails(folder, NULL, DS_ERR_INPUT, cases[i].words);
        fails(file, NULL, DS_ERR_INPUT, "config/config.json: ");
        opens(file, scratch_path("config/other.json"), "safetensors", 1);
    }
    write_text("config/config.json", CONFIG);
    opens(folder, NULL, "safetensors", 1);
    opens(file, NULL, "safetensors", 1);
    fails(file, scratch_path("config/absent.json"), DS_ERR_INPUT, "absent.json: missing");
    fails(scratch_path("config/absent"), NULL, DS_ERR_INPUT, "config/absent: missing");
}

static void knows_a_file_by_its_content(void **state) {
    (void)state;
    char tar[600] = {0};
    memcpy(tar + 257, "ustar", 5);
    static const char legacy[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    write_text("content/config.json", CONFIG);
    write_weights("content/a.pt", "a,b,c");
    opens(scratch_path("content/a.pt"), NULL, "safetensors", 3);
    fails(scratch_write("content/b.bin", tar, sizeof tar), NULL, DS_ERR_INPUT, "b.bin: legacy tar format is not supported");
    fails(scratch_write("content/c.pt", legacy, sizeof legacy), NULL, DS_ERR_INPUT, "c.pt: legacy format");
    fails(scratch_write("content/d.pt", "PYTORCH1........", 16), NULL, DS_ERR_INPUT, "before zip archives");
    fails(scratch_write("content/e.pt", "\x80\x04}q\0.", 6), NULL, DS_ERR_INPUT, "a bare pickle");
    fails(scratch_write("content/f.pt", "cos\nsystem\n", 11), NULL, DS_ERR_INPUT, "not a PyTorch file and not safetensors");
    fails(scratch_write("content/g.safetensors", "cos\nsystem\n", 11), NULL, DS_ERR_INPUT, "header too large");
    fails(scratch_write("content/h.pt", "", 0), NULL, DS_ERR_INPUT, "not a checkpoint: the file is empty");
    fails(scratch_write("content/i.safetensors", "", 0), NULL, DS_ERR_INPUT, "not a checkpoint: the file is empty");
    fails(scratch_write("content/j.pt", "PK\3\4", 4), NULL, DS_ERR_INPUT, "j.pt: ");
    opens("fixtures/models/scalar-ckpt/ckpt.pt", "fixtures/models/scalar-ckpt/config.json", "torch zip", 41);
}

/* ---- shards ------------------------------------------------------------------------------------------------------ */

/* Shards stay open; the soft limit on descriptors, which a process may raise, is not a limit on shards. */
static void opens_more_shards_than_descriptors(void) {
    enum { SHARDS = 60, DESCRIPTORS = 40 };
    struct rlimit before;
    ds_text index = {0};
    expect_ok(ds_text_printf(&index, "{\"weight_map\":{"));
    for (int i = 0; i < SHARDS; i++) {
        char name[32], tensor[32];
        (void)snprintf(name, sizeof name, "many/f%d", i);
        (void)snprintf(tensor, sizeof tensor, "t%d", i);
        write_weights(name, tensor);
        expect_ok(ds_text_printf(&index, "%s\"t%d\":\"f%d\"", i == 0 ? "" : ",", i, i));
    }
    expect_ok(ds_text_printf(&index, "}}"));
    write_text("many/config.json", CONFIG);
    write_text("many/model.safetensors.index.json", index.bytes);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit low = {.rlim_cur = DESCRIPTORS, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    opens(scratch_path("many"), NULL, "sharded safetensors", SHARDS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    ds_text_release(&index);
}

static void checks_that_shards_fit_together(void **state) {
    (void)state;
    write_text("shards/config.json", CONFIG);
    write_weights("shards/one", "module.a,module.b");
    write_weights("shards/two", "module.c,module.d");
    write_weights("shards/again", "module.c");
    write_weights("shards/bare", "c");
#define MAP(text) "{\"metadata\":{\"total_size\":\"wrong\"},\"weight_map\":{" text "}}"
#define AB "\"module.a\":\"one\",\"module.b\":\"one\","
    static const struct {
        const char *index, *words; /* no words: opens */
    } cases[] = {
        {MAP(AB "\"module.c\":\"two\",\"module.d\":\"two\""), NULL},
        {"[]", "missing weight_map"},
        {"{\"weight_map\":[]}", "missing weight_map"},
        {MAP(""), "weight_map is empty"},
        {MAP(AB "\"module.c\":7"), "weight_map of module.c is not a file name"},
        {MAP(AB "\"module.c\":\"two\""), "module.d is stored in "},
        {MAP(AB "\"module.c\":\"two\",\"module.d\":\"two\",\"module.e\":\"two\""), "missing tensor module.e"},
        {MAP(AB "\"module.c\":\"two\",\"module.d\":\"two\",\"a\":\"two\""), "missing tensor a"},
        {MAP(AB "\"module.c\":\"one\",\"module.d\":\"two\""), "weight_map says module.c is in one, found in two"},
        {MAP(AB "\"module.c\":\"two\",\"module.d\":\"two\",\"x\":\"again\""), "duplicate tensor c, stored in "},
        {MAP(AB "\"module.c\":\"two\",\"module.d\":\"two\",\"c\":\"bare\""), "duplicate tensor c, stored in "},
        {MAP(AB "\"module.a\":\"one\""), "duplicate key"},
        {MAP(AB "\"module.c\":\"three\""), "shards/three: missing"},
        {MAP(AB "\"module.c\":\"\""), "invalid shard name: empty"},
        {MAP(AB "\"module.c\":\".\""), "not a regular file"},
        {MAP(AB "\"module.c\":\"..\""), "shard name leaves the folder"},
        {MAP(AB "\"module.c\":\".hidden\""), "invalid shard name"},
        {MAP(AB "\"module.c\":\"../two\""), "shard name leaves the folder"},
        {MAP(AB "\"module.c\":\"sub/two\""), "shard name leaves the folder"},
        {MAP(AB "\"module.c\":\"..\\\\two\""), "shard name leaves the folder"},
        {MAP(AB "\"module.c\":\"/dev/zero\""), "absolute shard name"},
        {MAP(AB "\"module.c\":\"two\\n\""), "control character"},
        {MAP(AB "\"module.c\":\"two\\u0000\""), "NUL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("shards/model.safetensors.index.json", cases[i].index);
        if (cases[i].words == NULL) {
            opens(scratch_path("shards"), NULL, "sharded safetensors", 4);
        } else {
            fails(scratch_path("shards"), NULL, DS_ERR_INPUT, cases[i].words);
        }
    }
    ds_text index = {0};
    expect_ok(ds_text_printf(&index, "{\"weight_map\":{"));
    for (int i = 0; i < 10001; i++) expect_ok(ds_text_printf(&index, "%s\"t%d\":\"f%d\"", i == 0 ? "" : ",", i, i));
    expect_ok(ds_text_printf(&index, "}}"));
    write_text("shards/model.safetensors.index.json", index.bytes);
    fails(scratch_path("shards"), NULL, DS_ERR_INPUT, "10001 shards, expected at most 10000");
    ds_text_release(&index);
    opens_more_shards_than_descriptors();
    fails("fixtures/hostile/sharded/tensor_in_both", NULL, DS_ERR_INPUT, "duplicate tensor ln_f.weight");
}

/* ---- what is no regular file ------------------------------------------------------------------------------------- */

static void refuses_what_is_no_regular_file(void **state) {
    (void)state;
    write_text("special/config.json", CONFIG);
    const char *folder = scratch_path("special"), *weights = scratch_path("special/model.safetensors");
    assert_int_equal(mkfifo(weights, 0600), 0);
    fails(folder, NULL, DS_ERR_INPUT, "not a regular file but a FIFO");
    fails(weights, NULL, DS_ERR_INPUT, "not a regular file but a FIFO");
    assert_int_equal(unlink(weights), 0);
    assert_int_equal(mkdir(weights, 0700), 0);
    fails(folder, NULL, DS_ERR_INPUT, "not a regular file but a folder");
    assert_int_equal(rmdir(weights), 0);
    assert_int_equal(symlink("/dev/zero", weights), 0);
    fails(folder, NULL, DS_ERR_INPUT, "not a regular file but a character device");
    assert_int_equal(unlink(weights), 0);
    assert_int_equal(symlink("model.safetensors", weights), 0);
    fails(folder, NULL, DS_ERR_INPUT, "symbolic links lead in a circle");
    assert_int_equal(unlink(weights), 0);
    write_weights("special/blob", "a");
    assert_int_equal(symlink("blob", weights), 0);
    opens(folder, NULL, "safetensors", 1);
    fails(folder, "/dev/null", DS_ERR_INPUT, "/dev/null: not a regular file but a character device");
}

/* In a child that is nobody: root may read everything. */
static void calls_an_unreadable_file_a_failure_of_the_system(void **state) {
    (void)state;
    write_text("closed/config.json", CONFIG);
    write_weights("closed/model.safetensors", "a");
    const char *weights = scratch_path("closed/model.safetensors");
    assert_int_equal(chmod(weights, 0), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ds_checkpoint *checkpoint = NULL;
        bool nobody = getuid() != 0 || setuid(65534) == 0;
        ds_status status = nobody ? ds_checkpoint_open(&checkpoint, weights, NULL) : DS_OK;
        _exit(strstr(ds_error_text(), "Permission denied") != NULL ? (int)status : 100);
    }
    int exit_status = 0;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_true(WIFEXITED(exit_status));
    assert_int_equal(WEXITSTATUS(exit_status), DS_ERR_SYSTEM);
}

/* A sparse file of 6 GiB costs no memory: neither refused, nor listed, nor when what is read lies behind all of it. */
static void bounds_memory_by_what_is_wanted(void **state) {
    (void)state;
    static const char header[] = "{\"hole\":{\"dtype\":\"U8\",\"shape\":[6442450944],\"data_offsets\":[0,6442450944]},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[6442450944,6442450960]}}";
    const uint64_t size = 8 + (sizeof header - 1) + UINT64_C(6442450944) + 16;
    char bytes[8 + sizeof header - 1] = {0};
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)((sizeof header - 1) >> 8 * i);
    memcpy(bytes + 8, header, sizeof header - 1);
    write_text("sparse/config.json", CONFIG);
    const char *path = scratch_write("sparse/model.safetensors", bytes, sizeof bytes);
    size_t before = ds_peak_memory_bytes();
    assert_int_equal(truncate(path, (off_t)size), 0);
    ds_checkpoint *checkpoint = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    const ds_tensor *tensor = ds_checkpoint_find(checkpoint, "w");
    assert_non_null(tensor);
    assert_true(tensor->offset == size - 16 && tensor->count == 4);
    ds_checkpoint_close(&checkpoint);
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    fails(path, NULL, DS_ERR_INPUT, "truncated: w ends at byte 6442450960 of the data, the file has 6442450959");
    assert_int_equal(truncate(path, (off_t)size + 1), 0);
    fails(path, NULL, DS_ERR_INPUT, "file has bytes no tensor covers");
    assert_true(ds_peak_memory_bytes() - before < (size_t)16 << 20);
    assert_int_equal(truncate(path, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_one_content_from_every_format),
        cmocka_unit_test(hashes_what_it_reads),
        cmocka_unit_test(prefers_one_weight_file),
        cmocka_unit_test(finds_the_configuration),
        cmocka_unit_test(knows_a_file_by_its_content),
        cmocka_unit_test(checks_that_shards_fit_together),
        cmocka_unit_test(refuses_what_is_no_regular_file),
        cmocka_unit_test(calls_an_unreadable_file_a_failure_of_the_system),
        cmocka_unit_test(bounds_memory_by_what_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
