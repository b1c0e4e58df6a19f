/* What no file in fixtures/hostile can show: things in the place of a file that are not one, files larger than memory, counts
 * that invite quadratic work, and files that change while the program runs. All through the program, within 1 GiB. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/model.h"
#include "scratch.h"
#include "support.h"

static const child_limits limits = {.address_space = UINT64_C(1) << 30, .seconds = 20};
static const char *const tokens = "fixtures/data/val.bin";
static child ran;

/* Refused as an unusable input by a sentence that holds the words, at once. */
static void expect_refused(const char *what, const char *words) {
    if (ran.status != 3 || strstr(ran.err, words) == NULL)
        fail_msg("%s: status %d, signal %d, \"%s\" expected in \"%s\"", what, ran.status, ran.signal, words, ran.err);
    if (!(ran.seconds < 10)) fail_msg("%s: took %.1f s", what, ran.seconds);
}

/* ---- few bytes, many elements ------------------------------------------------------------------------------------ */

/* A tensor of 2^40 elements with stride 0, which the model does not use, is listed but not walked. */
static void test_repeated_elements(void **state) {
    (void)state;
    CHILD_RUN(&ran, limits, "inspect", "--quiet", "--json", "-", "--config", "fixtures/hostile/valid/pt_f16/config.json",
              "fixtures/valid/torch/pt_repeated.bin");
    if (ran.status != 0 || !(ran.seconds < 10)) fail_msg("status %d after %.1f s: %s", ran.status, ran.seconds, ran.err);
    assert_non_null(strstr(ran.out, "1099511627776"));
}

/* ---- what is not a regular file ---------------------------------------------------------------------------------- */

static void make_fifo(const char *path) { assert_int_equal(mkfifo(path, 0600), 0); }
static void make_folder(const char *path) { assert_int_equal(mkdir(path, 0700), 0); }
static void make_device_link(const char *path) { assert_int_equal(symlink("/dev/zero", path), 0); }
static void make_terminal_link(const char *path) { assert_int_equal(symlink("/dev/tty", path), 0); }
static void make_loop(const char *path) { assert_int_equal(symlink(path, path), 0); }
static void make_dangling(const char *path) { assert_int_equal(symlink("nowhere", path), 0); }
static void make_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(bind(descriptor, (const struct sockaddr *)&address, sizeof address), 0);
    (void)close(descriptor);
}

static const struct {
    const char *name;
    void (*make)(const char *path);
} impostors[] = {
    {"FIFO", make_fifo}, {"folder", make_folder},     {"device", make_device_link}, {"terminal", make_terminal_link},
    {"loop", make_loop}, {"dangling", make_dangling}, {"socket", make_socket},
};
enum { IMPOSTORS = sizeof impostors / sizeof impostors[0] };

static void copy_file(const char *name, const char *from) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, from, 1 << 24));
    (void)scratch_write(name, bytes, length);
    free(bytes);
}

/* A sharded model in scratch, with the impostor in the place of one of its files. */
static void test_impostors_within_a_model(void **state) {
    (void)state;
    static const char *const files[] = {"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors"};
    enum { FILES = sizeof files / sizeof files[0] };
    for (size_t kind = 0; kind < IMPOSTORS; kind++) {
        for (size_t broken = 0; broken < FILES; broken++) {
            char name[128], from[128];
            for (size_t f = 0; f < FILES; f++) {
                (void)snprintf(name, sizeof name, "model/%s", files[f]);
                (void)snprintf(from, sizeof from, "fixtures/hostile/valid/sharded/%s", files[f]);
                copy_file(name, from);
            }
            (void)snprintf(name, sizeof name, "model/%s", files[broken]);
            const char *path = scratch_path(name);
            assert_int_equal(unlink(path), 0);
            impostors[kind].make(path);
            CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, "--seq-len", "16", "--sequences", "1", scratch_path("model"));
            expect_refused(impostors[kind].name, path);
            assert_int_equal(remove(path), 0);
        }
    }
}

static void test_impostors_as_arguments(void **state) {
    (void)state;
    const char *model = "fixtures/hostile/valid/st_f16", *weights = "fixtures/hostile/valid/st_f16/model.safetensors";
    for (size_t kind = 0; kind < IMPOSTORS; kind++) {
        const char *path = scratch_path("impostor"), *name = impostors[kind].name;
        impostors[kind].make(path);
        CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, path);
        expect_refused(name, path);
        CHILD_RUN(&ran, limits, "gates", "--tokens", path, model);
        expect_refused(name, path);
        CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, "--config", path, weights);
        expect_refused(name, path);
        CHILD_RUN(&ran, limits, "tokenize", "--text", path, "--tokenizer", "fixtures/data/meta.pkl", "--output",
                  scratch_path("ids.bin"));
        expect_refused(name, path);
        CHILD_RUN(&ran, limits, "tokenize", "--text", "fixtures/data/meta.pkl", "--tokenizer", path, "--output",
                  scratch_path("ids.bin"));
        expect_refused(name, path);
        assert_int_equal(remove(path), 0);
    }
}

/* ---- larger than memory ------------------------------------------------------------------------------------------ */

/* Writes bytes at an offset of a file that may be mostly holes. */
static void write_at(const char *path, uint64_t offset, const void *bytes, size_t length) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(pwrite(descriptor, bytes, length, (off_t)offset), (ssize_t)length);
    assert_int_equal(close(descriptor), 0);
}

static void put(uint8_t *at, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static void test_sparse_files(void **state) {
    (void)state;
    const uint64_t huge = UINT64_C(6) << 30;
    uint8_t header[8 + 256] = {0};
    /* nothing but a size */
    const char *path = scratch_path("sparse/model.safetensors");
    (void)scratch_write("sparse/config.json", "{}", 2);
    write_at(path, huge - 1, "", 1);
    CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, scratch_path("sparse"));
    expect_refused("sparse weights", "invalid JSON");
    /* one tensor that covers it all: its shape is compared before any of it is read */
    const char *text =
        "{\"transformer.wte.weight\":{\"dtype\":\"F32\",\"shape\":[50304,32768],\"data_offsets\":[0,6593445888]}}";
    put(header, strlen(text), 8);
    memcpy(header + 8, text, strlen(text));
    write_at(path, 0, header, 8 + strlen(text));
    assert_int_equal(truncate(path, (off_t)(8 + strlen(text) + 6593445888)), 0);
    CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, scratch_path("sparse"));
    expect_refused("one sparse tensor", "transformer.");
    /* configuration, index, tokens, text */
    const char *config = scratch_path("huge.json");
    write_at(config, huge - 1, "", 1);
    CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, "--config", config, path);
    expect_refused("sparse configuration", "huge.json: too large");
    CHILD_RUN(&ran, limits, "tokenize", "--text", config, "--tokenizer", "fixtures/data/meta.pkl", "--output",
              scratch_path("ids.bin"));
    expect_refused("sparse text", "huge.json: too large");
    CHILD_RUN(&ran, limits, "tokenize", "--text", tokens, "--tokenizer", config, "--output", scratch_path("ids.bin"));
    expect_refused("sparse tokenizer", "huge.json: too large");
    (void)unlink(path);
    (void)unlink(config);
}

/* One file of an archive whose sizes and place are only in zip64 fields: its entry of the central directory, and its local
 * header. Both return their length. */
static size_t central_entry(uint8_t *out, const char *name, uint64_t size, uint64_t at) {
    size_t length = strlen(name);
    uint8_t *extra = out + 46 + length;
    memset(out, 0, 46);
    put(out, 0x02014b50, 4);
    put(out + 20, UINT32_MAX, 4);
    put(out + 24, UINT32_MAX, 4);
    put(out + 28, length, 2);
    put(out + 30, 28, 2);
    put(out + 42, UINT32_MAX, 4);
    memcpy(out + 46, name, length);
    put(extra, 1, 2);
    put(extra + 2, 24, 2);
    put(extra + 4, size, 8);
    put(extra + 12, size, 8);
    put(extra + 20, at, 8);
    return 46 + length + 28;
}

static size_t local_header(uint8_t *out, const char *name, uint64_t size) {
    size_t length = strlen(name);
    memset(out, 0, 30);
    put(out, 0x04034b50, 4);
    put(out + 18, UINT32_MAX, 4);
    put(out + 22, UINT32_MAX, 4);
    put(out + 26, length, 2);
    put(out + 28, 20, 2);
    memcpy(out + 30, name, length);
    put(out + 30 + length, 1, 2);
    put(out + 32 + length, 16, 2);
    put(out + 34 + length, size, 8);
    put(out + 42 + length, size, 8);
    return 50 + length;
}

/* An archive whose first storage is 5 GiB of nothing: everything behind it is addressed by zip64 fields. */
static void test_archive_beyond_4_gib(void **state) {
    (void)state;
    const uint64_t big = UINT64_C(5) << 30;
    static const char pickle[] = "\x80\x02}(X\x05\0\0\0smallctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"
                                 "FloatStorage\nX\x01\0\0\0"
                                 "1X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89}tRu.";
    const float small[2] = {1.5F, -2.25F};
    const struct {
        const char *name;
        const void *bytes; /* NULL: a hole */
        uint64_t size;
    } entries[] = {{"a/data/0", NULL, big},
                   {"a/data.pkl", pickle, sizeof pickle - 1},
                   {"a/version", "3\n", 2},
                   {"a/data/1", small, sizeof small}};
    uint8_t directory[1024], local[64];
    size_t used = 0;
    uint64_t at = 0;
    const char *path = scratch_path("big.pt");
    for (size_t i = 0; i < 4; i++) {
        used += central_entry(directory + used, entries[i].name, entries[i].size, at);
        size_t header = local_header(local, entries[i].name, entries[i].size);
        write_at(path, at, local, header);
        at += header;
        if (entries[i].bytes != NULL) write_at(path, at, entries[i].bytes, (size_t)entries[i].size);
        at += entries[i].size;
    }
    uint8_t end[56 + 20 + 22] = {0};
    put(end, 0x06064b50, 4);
    put(end + 4, 44, 8);
    put(end + 24, 4, 8);
    put(end + 32, 4, 8);
    put(end + 40, used, 8);
    put(end + 48, at, 8);
    put(end + 56, 0x07064b50, 4);
    put(end + 64, at + used, 8);
    put(end + 72, 1, 4);
    put(end + 76, 0x06054b50, 4);
    put(end + 84, 4, 2);
    put(end + 86, 4, 2);
    put(end + 88, used, 4);
    put(end + 92, UINT32_MAX, 4);
    write_at(path, at, directory, used);
    write_at(path, at + used, end, sizeof end);
    ds_checkpoint *checkpoint;
    double start = ds_seconds();
    expect_ok(ds_checkpoint_open(&checkpoint, path, scratch_write("big.json", "{}", 2)));
    const ds_tensor *tensor = ds_checkpoint_find(checkpoint, "small");
    assert_non_null(tensor);
    assert_true(tensor->offset > UINT32_MAX && tensor->count == 2);
    assert_true(ds_seconds() - start < 10); /* nothing of the 5 GiB has been read */
    ds_checkpoint_close(&checkpoint);
    CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, "--config", "fixtures/hostile/valid/pt_f16/config.json", path);
    expect_refused("big archive", "transformer.wte.weight");
    (void)unlink(path);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

/* A safetensors header of `count` empty tensors. */
static const char *many_tensors(size_t count) {
    ds_text file = {0};
    expect_ok(ds_text_append(&file, "\0\0\0\0\0\0\0\0{", 9));
    for (size_t i = 0; i < count; i++)
        expect_ok(
            ds_text_printf(&file, "%s\"t%zu\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}", i > 0 ? "," : "", i));
    expect_ok(ds_text_append(&file, "}", 1));
    put((uint8_t *)file.bytes, file.length - 8, 8);
    const char *path = scratch_write("many.safetensors", file.bytes, file.length);
    ds_text_release(&file);
    return path;
}

/* 16 times the tensors may take 32 times as long (a sort's logarithm, caches), not 256. */
static void test_100000_tensors_take_linear_time(void **state) {
    (void)state;
    double seconds[2];
    for (size_t i = 0; i < 2; i++) {
        ds_checkpoint *checkpoint;
        const char *path = many_tensors(i == 0 ? 6250 : 100000), *config = scratch_write("many.json", "{}", 2);
        seconds[i] = 1e9;
        for (size_t repeat = 0; repeat < 3; repeat++) {
            double start = ds_seconds();
            expect_ok(ds_checkpoint_open(&checkpoint, path, config));
            ds_checkpoint_close(&checkpoint);
            double taken = ds_seconds() - start;
            seconds[i] = taken < seconds[i] ? taken : seconds[i];
        }
    }
    print_message("6,250 tensors in %.1f ms, 100,000 in %.1f ms\n", 1e3 * seconds[0], 1e3 * seconds[1]);
    if (!(seconds[1] < 64 * seconds[0] + 0.1)) fail_msg("%g s, then %g s", seconds[0], seconds[1]);
    CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, "--config", "fixtures/hostile/valid/st_f16/config.json",
              scratch_path("many.safetensors"));
    expect_refused("100,000 tensors", "missing tensor transformer.wte.weight");
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

/* What was checked at opening is what must be there when it is read. */
static void test_files_that_change_after_opening(void **state) {
    (void)state;
    const char *config = "fixtures/hostile/valid/st_f16/config.json";
    for (size_t change = 0; change < 3; change++) {
        copy_file("changing.safetensors", "fixtures/hostile/valid/st_f16/model.safetensors");
        const char *path = scratch_path("changing.safetensors");
        struct stat info;
        ds_checkpoint *checkpoint;
        ds_model *model = NULL;
        expect_ok(ds_checkpoint_open(&checkpoint, path, config));
        assert_int_equal(stat(path, &info), 0);
        if (change == 0) assert_int_equal(truncate(path, info.st_size / 2), 0);
        if (change == 1) assert_int_equal(truncate(path, info.st_size + 1), 0);
        if (change == 2) write_at(path, (uint64_t)info.st_size - 4, "\0\0\0\0", 4);
        expect_failure(ds_model_load(&model, checkpoint, DS_F32), DS_ERR_INPUT, "changing.safetensors: ");
        assert_null(model);
        assert_non_null(strstr(ds_error_text(), change == 0 ? "became shorter" : "changed while it was read"));
        ds_checkpoint_close(&checkpoint);
        (void)unlink(path);
    }
}

/* What a terminal would obey or show in another order, and where a name is cut. */
static void test_what_is_escaped(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a\x1b[31m\n\x7f", "a\\x1B[31m\\x0A\\x7F"}, /* C0 */
        {"\xC2\x9B"
         "31m",
         "\\xC2\\x9B31m"}, /* C1 */
        /* NOLINTNEXTLINE(misc-misleading-bidirectional): the attack itself */
        {"\xE2\x80\xAEgnp\xE2\x81\xA6", "\\xE2\\x80\\xAEgnp\\xE2\\x81\\xA6"}, /* right to left, isolate */
        {"\xE2\x80\xA8\xD8\x9C", "\\xE2\\x80\\xA8\\xD8\\x9C"},                /* line separator, Arabic letter mark */
        {"\xC0\xAF\xED\xA0\x80", "\\xC0\\xAF\\xED\\xA0\\x80"},                /* not UTF-8 */
        {"\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_string_equal(DS_SHOW(cases[i][0]), cases[i][1]);
    char name[210];
    memset(name, 'n', sizeof name);
    memcpy(name + 198, "\xF0\x9F\x98\x80", 5); /* bytes 198 to 201: would end beyond 200 */
    ds_name shown = ds_escape(name, 202);
    assert_int_equal(strlen(shown.text), 198 + 3);
    assert_string_equal(shown.text + 197, "n...");
    memcpy(name + 196, "\xF0\x9F\x98\x80", 5);
    assert_string_equal(ds_escape(name, 200).text + 196, "\xF0\x9F\x98\x80");
}

/* A result of somebody else's is refused by the name of its file. */
static void test_refused_results_are_named(void **state) {
    (void)state;
    static const char text[] =
        "{\"schema\":\"deltascope/1\",\"command\":\"gates\",\"results\":{\"loss\":1,\"sublayers\":[{\"index\":0,"
        "\"name\":\"\\u001b[31m\",\"beta\":{}}]}}";
    const char *path = scratch_write("theirs.json", text, sizeof text - 1);
    CHILD_RUN(&ran, limits, "plot", "--out", scratch_path("plots"), path);
    expect_refused("a result", "theirs.json: results: ");
    assert_null(strchr(ran.err, 0x1B));
    CHILD_RUN(&ran, limits, "plot", "--out", scratch_path("plots"), path, path);
    expect_refused("two results", "theirs.json and the other files: results: ");
}

static const char *const forced[] = {"ablate", "--quiet", "--modes", "mean-gate", "--scopes", "each", "--sequences", "2"};

/* `forced` into scratch folder `out`, perhaps resumed. */
static void run_forced(const char *out, bool resume, child_limits within) {
    const char *arguments[16];
    size_t count = sizeof forced / sizeof *forced;
    memcpy(arguments, forced, sizeof forced);
    const char *const rest[] = {"--tokens", tokens, "--out", out, "fixtures/models/ddl-cc-ec", resume ? "--resume" : NULL,
                                NULL};
    memcpy(arguments + count, rest, sizeof rest);
    child_run(&ran, arguments, within);
}

/* A journal whose sums are right and whose gate means no gate can have: they are measured again. */
static void test_a_forged_journal(void **state) {
    (void)state;
    const char *folder = scratch_path("forged"), *path = scratch_path("forged/ablate.journal");
    char *bytes = NULL, *at = NULL;
    size_t length = 0;
    for (uint64_t room = 1024; at == NULL; room += 64) { /* until key and means are written, and nothing more */
        child_limits small = limits;
        small.file_size = room;
        assert_true(room < 16384);
        run_forced(folder, false, small);
        free(bytes);
        expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
        at = memmem(bytes, length, "means", 5);
    }
    const size_t magic = 21, head = 32;
    const uint64_t key = ds_load_u64le((uint8_t *)bytes + magic), means = ds_load_u64le((uint8_t *)at - 16);
    assert_ptr_equal(at - 16, bytes + magic + head + key + 4);
    for (size_t i = 0; i < means / sizeof(double); i++) memcpy(at + 16 + i * sizeof(double), &(double){NAN}, sizeof(double));
    uint32_t crc = ds_crc32(ds_crc32(0, bytes + magic, head + key), at - 16, head + means);
    put((uint8_t *)at + 16 + means, crc, 4);
    (void)scratch_write("forged/ablate.journal", bytes, (size_t)(at - bytes) + 16 + means + 4);
    free(bytes);
    run_forced(folder, true, limits);
    if (ran.status != 0) fail_msg("status %d: %s", ran.status, ran.err);
}

/* Names of 5,000 bytes with control characters do not flood or steer the terminal. */
static void test_names_in_messages_are_cut_and_escaped(void **state) {
    (void)state;
    ds_text file = {0};
    expect_ok(ds_text_append(&file, "\0\0\0\0\0\0\0\0{\"", 10));
    for (size_t i = 0; i < 5000; i++) expect_ok(ds_text_printf(&file, "\\u001b"));
    expect_ok(ds_text_printf(&file, "\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]}}"));
    put((uint8_t *)file.bytes, file.length - 8, 8);
    const char *path = scratch_write("escape.safetensors", file.bytes, file.length);
    CHILD_RUN(&ran, limits, "gates", "--tokens", tokens, "--config", "fixtures/hostile/valid/st_f16/config.json", path);
    expect_refused("escapes", "\\x1B\\x1B");
    assert_null(strchr(ran.err, 0x1B));
    assert_true(strlen(ran.err) < 1500);
    ds_text_release(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_impostors_within_a_model),
        cmocka_unit_test(test_impostors_as_arguments),
        cmocka_unit_test(test_repeated_elements),
        cmocka_unit_test(test_sparse_files),
        cmocka_unit_test(test_archive_beyond_4_gib),
        cmocka_unit_test(test_100000_tensors_take_linear_time),
        cmocka_unit_test(test_files_that_change_after_opening),
        cmocka_unit_test(test_what_is_escaped),
        cmocka_unit_test(test_refused_results_are_named),
        cmocka_unit_test(test_a_forged_journal),
        cmocka_unit_test(test_names_in_messages_are_cut_and_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
