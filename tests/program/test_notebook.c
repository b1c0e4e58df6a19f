/* What a notebook reads: the arrays of gates --per-token against the result they come with and the file of tokens, and the
 * reader of the README, which numpy runs as it stands. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include <jansson.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/stats.h"
#include "scratch.h"
#include "support.h"

#define DATA "--tokens", "fixtures/data/val.bin"
#define MODEL "fixtures/models/ddl-cc-ec"
enum { LENGTH = 16, WINDOWS = 5, TOKENS = LENGTH * WINDOWS, SUBLAYERS = 8 };

static child ran;

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

/* The numbers of an entry, `bytes` of them behind its header; freed by the caller. */
static void *read_array(zip_t *archive, const char *name, size_t bytes) {
    zip_stat_t info;
    assert_int_equal(zip_stat(archive, name, 0, &info), 0);
    assert_int_equal(info.comp_method, ZIP_CM_STORE);
    if (bytes == 0) bytes = info.size - DS_NPY_HEADER;
    assert_int_equal(info.size, DS_NPY_HEADER + bytes);
    char header[DS_NPY_HEADER], *values = calloc(bytes + 1, 1);
    zip_file_t *file = zip_fopen(archive, name, 0);
    assert_true(values != NULL && file != NULL);
    assert_int_equal(zip_fread(file, header, DS_NPY_HEADER), DS_NPY_HEADER);
    assert_int_equal(zip_fread(file, values, bytes), bytes);
    zip_fclose(file);
    return values;
}

static json_t *read_json(const char *path) {
    char *bytes;
    size_t length;
    json_t *value;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    expect_ok(ds_json_parse(&value, bytes, length, path));
    free(bytes);
    return value;
}

/* Ids and targets are the file's at window + position; windows start where the result says. */
static void expect_tokens(zip_t *archive, const json_t *envelope) {
    int32_t *ids = read_array(archive, "ids.npy", TOKENS * 4), *targets = read_array(archive, "targets.npy", TOKENS * 4);
    int32_t *position = read_array(archive, "position.npy", TOKENS * 4);
    int64_t *window = read_array(archive, "window.npy", TOKENS * 8);
    char *file;
    size_t length;
    expect_ok(ds_read_file(&file, &length, "fixtures/data/val.bin", 1 << 24));
    for (size_t t = 0; t < TOKENS; t++) {
        const json_t *start = json_array_get(ds_json_at(envelope, "data/starts"), t / LENGTH);
        assert_int_equal(window[t], json_integer_value(start));
        assert_int_equal(position[t], t % LENGTH);
        const uint8_t *at = (const uint8_t *)file + 2 * ((size_t)window[t] + (size_t)position[t]);
        assert_int_equal(ids[t], ds_load_u16le(at));
        assert_int_equal(targets[t], ds_load_u16le(at + 2));
    }
    free(ids);
    free(targets);
    free(position);
    free(window);
    free(file);
}

/* Sums of the rows are the means the result has; the order of additions may differ: 2 n u of the largest, n = TOKENS. */
static void expect_means(zip_t *archive, const json_t *envelope) {
    double *loss = read_array(archive, "loss.npy", TOKENS * 8), *beta = read_array(archive, "beta.npy", TOKENS * SUBLAYERS * 8);
    double *norm = read_array(archive, "k_norm2.npy", TOKENS * SUBLAYERS * 8);
    double *eigenvalue = read_array(archive, "eigenvalue.npy", TOKENS * SUBLAYERS * 8);
    uint32_t *names = read_array(archive, "sublayers.npy", (size_t)SUBLAYERS * 6 * 4);
    for (size_t w = 0; w < WINDOWS; w++) {
        double sum = 0;
        for (size_t t = 0; t < LENGTH; t++) sum += loss[w * LENGTH + t];
        const json_t *told = json_array_get(ds_json_at(envelope, "results/sequence_loss"), w);
        assert_true(fabs(sum / LENGTH - json_number_value(told)) <= 2 * TOKENS * 0x1p-53 * 20);
    }
    for (size_t s = 0; s < SUBLAYERS; s++) {
        const json_t *sublayer = json_array_get(ds_json_at(envelope, "results/sublayers"), s);
        const char *name = json_string_value(json_object_get(sublayer, "name"));
        double sum = 0;
        for (size_t t = 0; t < TOKENS; t++) {
            const size_t cell = t * SUBLAYERS + s;
            sum += beta[cell];
            assert_true(fabs(1 - beta[cell] * norm[cell] - eigenvalue[cell]) <= 8 * 0x1p-53);
        }
        assert_true(fabs(sum / TOKENS - ds_json_real_at(sublayer, "beta/mean")) <= 2 * TOKENS * 0x1p-53 * 2);
        for (size_t i = 0; i < 6; i++) assert_int_equal(names[s * 6 + i], i < strlen(name) ? (unsigned char)name[i] : 0);
    }
    free(loss);
    free(beta);
    free(norm);
    free(eigenvalue);
    free(names);
}

static void write_arrays(const char *file, const char *out) {
    CHILD_RUN(&ran, (child_limits){0}, "gates", "--quiet", DATA, "--seq-len", "16", "--sequences", "5", "--per-token", file,
              "--out", out, MODEL);
    if (ran.status != 0) fail_msg("status %d: %s", ran.status, ran.err);
}

static void test_arrays(void **state) {
    (void)state;
    char file[512], out[512], result[600];
    (void)snprintf(file, sizeof file, "%s", scratch_path("tokens.npz"));
    (void)snprintf(out, sizeof out, "%s", scratch_path("audit"));
    (void)snprintf(result, sizeof result, "%s/gates.json", out);
    write_arrays(file, out);
    json_t *envelope = read_json(result), *meta;
    zip_t *archive = zip_open(file, ZIP_RDONLY, NULL);
    assert_non_null(archive);
    char *bytes = read_array(archive, "meta.npy", 0);
    expect_ok(ds_json_parse(&meta, bytes, strlen(bytes), "meta"));
    assert_true(json_equal(meta, envelope));
    expect_tokens(archive, envelope);
    expect_means(archive, envelope);
    zip_discard(archive);
    json_decref(meta);
    json_decref(envelope);
    free(bytes);
}

/* numpy.load would not know them; nothing is measured or written. */
static void test_names(void **state) {
    (void)state;
    static const char *const names[] = {"tokens.npy", "tokens", ".npz", "npz", "tokens.NPZ", "-", "tokens.npz.gz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHILD_RUN(&ran, (child_limits){0}, "gates", "--quiet", DATA, "--sequences", "1", "--per-token", names[i], "nowhere");
        assert_int_equal(ran.status, 2);
        if (strstr(ran.err, "the name must end in .npz, by which numpy.load knows what it reads") == NULL)
            fail_msg("%s", ran.err);
    }
}

/* ---- the reader of the README ------------------------------------------------------------------------------------ */

/* The `number`-th block of Python under "In a notebook", to a file. */
static void extract(size_t number, const char *name) {
    static const char fence[] = "```python\n";
    char *readme;
    size_t length;
    expect_ok(ds_read_file(&readme, &length, "README.md", 1 << 20));
    const char *at = strstr(readme, "## In a notebook\n");
    for (size_t i = 0; i <= number && at != NULL; i++) {
        at = strstr(at, fence);
        if (at != NULL) at += strlen(fence);
    }
    assert_non_null(at);
    (void)scratch_write(name, at, (size_t)(strstr(at, "```\n") - at));
    free(readme);
}

static void python(const char *folder, const char *file, const char *const *words) {
    const char *arguments[12] = {"-c", "cd \"$0\" && exec /usr/bin/python3 \"$@\"", folder, file};
    size_t count = 4;
    for (; words != NULL && *words != NULL; words++) arguments[count++] = *words;
    arguments[count] = NULL;
    child_run_program(&ran, "/bin/sh", arguments, (child_limits){0});
    if (ran.status != 0) fail_msg("%s: %s", file, ran.err);
}

static const char check[] =
    "import glob, json, math, zipfile\n"
    "import numpy as np\n"
    "import reader\n"
    "a, result = reader.load('tokens.npz'), reader.load('audit/gates.json')\n"
    "assert a['meta'] == result == json.load(open('audit/gates.json'))\n"
    "assert a['ids'].dtype == np.int32 and a['window'].dtype == np.int64 and a['loss'].shape == (80,)\n"
    "assert a['readout'].shape == a['target'].shape == (80, 8, 4)\n"
    "t = reader.columns(result['results']['sublayers'], 'name', 'beta/mean', 'limits/0', 'beta/quantiles/0.5')\n"
    "assert list(t['name']) == list(a['sublayers']) and np.isnan(t['limits/0']).all()\n"
    "assert np.allclose(t['beta/mean'], a['beta'].mean(axis=0), rtol=1e-13, atol=0)\n"
    "assert (t['beta/quantiles/0.5'] == np.median(a['beta'], axis=0)).all()\n"
    "assert reader.at(result, 'results/sublayers/3/name') == '1.mlp'\n";

static void test_reader(void **state) {
    (void)state;
    char folder[512];
    child_run_program(&ran, "/bin/sh", (const char *const[]){"-c", "/usr/bin/python3 -c 'import numpy'", NULL},
                      (child_limits){0});
    if (ran.status != 0) {
        print_message("python3-numpy is not installed: the README's reader is not run\n");
        skip();
    }
    const char *file = scratch_path("tokens.npz");
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(file, '/') - file), file);
    write_arrays(file, scratch_path("audit"));
    extract(0, "reader.py");
    extract(1, "example.py");
    (void)scratch_write("check.py", check, sizeof check - 1);
    python(folder, "check.py", NULL);
    python(folder, "reader.py", (const char *const[]){"audit/gates.json", "sublayers", "name", "beta/mean", NULL});
    json_t *envelope = read_json(scratch_path("audit/gates.json"));
    char line[64];
    (void)snprintf(line, sizeof line, "3.mlp               %.4g\n", ds_json_real_at(envelope, "results/sublayers/7/beta/mean"));
    if (strncmp(ran.out, "name                beta/mean\n0.attn ", 37) != 0 || strstr(ran.out, line) == NULL)
        fail_msg("%s", ran.out);
    json_decref(envelope);
    python(folder, "example.py", NULL);
    assert_true(ran.out[0] == '['); /* an array of losses */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arrays), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_reader)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
