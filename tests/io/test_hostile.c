/* Every sample of fixtures/hostile behaves as its manifest says: refused with exit status 3 and a sentence that names the file
 * and the fault, or loaded with exactly the weights of base_weights.tsv; within 1 GiB of address space and ten seconds, and
 * without running what it carries. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "support.h"

#define FOLDER "fixtures/hostile/"
#define PAYLOAD "ddl_hostile_pwned" /* the file every payload creates */

enum { COLUMNS = 6, MAX_LINE = 1024, MOST_TENSORS = 64 };
typedef struct row {
    char line[MAX_LINE];
    const char *path, *kind, *expected, *outcome, *words;
} row;

static child ran;

static bool next_row(FILE *table, row *r) {
    if (fgets(r->line, MAX_LINE, table) == NULL) return false;
    const char *fields[COLUMNS];
    char *rest = r->line;
    r->line[strcspn(r->line, "\n")] = '\0';
    for (size_t i = 0; i < COLUMNS; i++) fields[i] = strsep(&rest, "\t");
    assert_non_null(fields[COLUMNS - 1]);
    r->path = fields[0];
    r->kind = fields[1];
    r->expected = fields[3];
    r->outcome = fields[4];
    r->words = fields[5];
    return true;
}

/* The checkpoint of a row, which is the whole row unless it is about tokens. */
static const char *checkpoint_of(const row *r, char *path, size_t capacity) {
    bool tokens = strncmp(r->kind, "tokens", 6) == 0, training = strcmp(r->kind, "nanogpt-ckpt") == 0;
    (void)snprintf(path, capacity, FOLDER "%s%s", tokens ? "valid/st_f16" : r->path, training ? "/ckpt.pt" : "");
    return path;
}

static void run_gates(const row *r) {
    char checkpoint[MAX_LINE], tokens[MAX_LINE];
    (void)snprintf(tokens, sizeof tokens, FOLDER "%s", r->path);
    const child_limits limits = {.address_space = UINT64_C(1) << 30, .seconds = 10};
    CHILD_RUN(&ran, limits, "gates", "--tokens", strncmp(r->kind, "tokens", 6) == 0 ? tokens : "fixtures/data/val.bin",
              "--seq-len", "16", "--sequences", "1", checkpoint_of(r, checkpoint, sizeof checkpoint));
}

/* One sentence of printable text. */
static void check_refusal(const row *r) {
    char named[MAX_LINE];
    (void)snprintf(named, sizeof named, FOLDER "%s", r->path);
    if (strstr(ran.err, named) == NULL || strstr(ran.err, r->words) == NULL)
        fail_msg("%s: \"%s\" expected in \"%s\"", r->path, r->words, ran.err);
    assert_string_equal(ran.out, "");
    size_t length = strlen(ran.err);
    assert_true(length > 0 && ran.err[length - 1] == '\n');
    for (size_t i = 0; i + 1 < length; i++) assert_true((unsigned char)ran.err[i] >= 0x20 && ran.err[i] != 0x7F);
}

/* Every tensor of the base model: its name and the crc32 of its elements as little-endian float32. */
static void check_weights(const char *path) {
    ds_checkpoint *checkpoint;
    ds_tensor_read reads[MOST_TENSORS];
    uint32_t expected[MOST_TENSORS];
    size_t count = 0;
    char line[MAX_LINE];
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    FILE *table = fopen(FOLDER "base_weights.tsv", "r");
    assert_non_null(table);
    assert_non_null(fgets(line, sizeof line, table));
    while (fgets(line, sizeof line, table) != NULL) {
        char name[MAX_LINE], shape[MAX_LINE];
        assert_int_equal(sscanf(line, "%1023s %1023s %8x", name, shape, &expected[count]), 3);
        const ds_tensor *tensor = ds_checkpoint_find(checkpoint, name);
        if (tensor == NULL) fail_msg("%s: no %s", path, name);
        void *values = malloc((size_t)tensor->count * sizeof(float));
        reads[count++] = (ds_tensor_read){.tensor = tensor, .precision = DS_F32, .destination = values};
    }
    (void)fclose(table);
    assert_true(count > 10);
    expect_ok(ds_checkpoint_read(checkpoint, reads, count));
    for (size_t i = 0; i < count; i++) {
        uint32_t found = ds_crc32(0, reads[i].destination, (size_t)reads[i].tensor->count * sizeof(float));
        if (found != expected[i]) fail_msg("%s: %s has crc32 %08x", path, reads[i].tensor->name, found);
        free(reads[i].destination);
    }
    ds_checkpoint_close(&checkpoint);
}

static void check_loaded(const row *r) {
    char path[MAX_LINE];
    assert_non_null(strstr(ran.out, "loss "));
    if (strncmp(r->kind, "tokens", 6) != 0) check_weights(checkpoint_of(r, path, sizeof path));
}

static void test_every_row(void **state) {
    (void)state;
    row r;
    size_t rows = 0, wrong = 0;
    double slowest = 0;
    FILE *table = fopen(FOLDER "manifest.tsv", "r");
    assert_non_null(table);
    assert_true(next_row(table, &r)); /* the heading */
    while (next_row(table, &r)) {
        bool load = strcmp(r.outcome, "LOAD") == 0;
        assert_true(load || strcmp(r.outcome, "REJECT") == 0);
        if (strncmp(r.expected, "EITHER", 6) != 0) assert_memory_equal(r.expected, r.outcome, strlen(r.outcome));
        run_gates(&r);
        rows++;
        slowest = ran.seconds > slowest ? ran.seconds : slowest;
        if (access(PAYLOAD, F_OK) == 0) fail_msg("%s has run its payload", r.path);
        if (ran.status != (load ? 0 : 3)) {
            print_error("%s: status %d, signal %d, \"%s\"\n", r.path, ran.status, ran.signal, ran.err);
            wrong++;
        } else if (load) {
            check_loaded(&r);
        } else {
            check_refusal(&r);
        }
    }
    (void)fclose(table);
    assert_int_equal(wrong, 0);
    assert_int_equal(rows, 254);
    print_message("%zu samples, the slowest in %.0f ms\n", rows, 1000 * slowest);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
