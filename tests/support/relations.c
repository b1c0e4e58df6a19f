#include "relations.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uninorm.h>
#include <unistd.h>

enum { MAX_ELEMENTS = 1 << 16, MAX_TENSORS = 64, VOCAB = 65536 };

void relation_broken(const char *condition, const char *file, int line) {
    (void)fprintf(stderr, "%s:%d: broken: %s (last sentence: %s)\n", file, line, condition, ds_error_text());
    abort();
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static char folder[64];
static char *paths[256];
static size_t path_count;

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void clean_up(void) {
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    while (path_count > 0) free(paths[--path_count]);
}

const char *relation_path(const char *name) {
    if (folder[0] == '\0') {
        (void)snprintf(folder, sizeof folder, "%s/deltascope-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        MUST(mkdtemp(folder) != NULL);
        (void)atexit(clean_up);
    }
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    for (size_t i = 0; i < path_count; i++) {
        if (strcmp(paths[i], path) == 0) return paths[i];
    }
    MUST(path_count < sizeof paths / sizeof paths[0]);
    paths[path_count] = strdup(path);
    MUST(paths[path_count] != NULL);
    return paths[path_count++];
}

const char *relation_file(const char *name, const void *bytes, size_t length) {
    const char *path = relation_path(name);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(descriptor >= 0);
    MUST(length == 0 || write(descriptor, bytes, length) == (ssize_t)length);
    MUST(close(descriptor) == 0);
    return path;
}

void refusal_is_a_sentence(ds_status status) {
    const char *text = ds_error_text();
    MUST(status == DS_ERR_INPUT);
    MUST(strstr(text, folder) != NULL || strstr(text, "fixtures/") != NULL);
    MUST(ds_is_utf8(text, strlen(text)));
    for (const char *c = text; *c != '\0'; c++) MUST((unsigned char)*c >= 0x20 && *c != 0x7F);
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

/* Collects what a sink is given. */
typedef struct collected {
    double *values;
    uint64_t count, capacity;
} collected;

static ds_status collect(void *context, const void *values, uint64_t first, size_t count) {
    collected *all = context;
    MUST(first == all->count && count <= all->capacity - all->count);
    memcpy(all->values + first, values, count * sizeof(double));
    all->count += count;
    return DS_OK;
}

static bool is_readable(const ds_tensor *tensor) {
    return tensor->dtype != DS_DTYPE_OTHER && tensor->count <= MAX_ELEMENTS && tensor->extent <= MAX_ELEMENTS;
}

static void order_is_kept(const ds_checkpoint *checkpoint) {
    size_t count = ds_checkpoint_count(checkpoint);
    for (size_t i = 0; i < count; i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        MUST(i == 0 || strcmp(ds_checkpoint_tensor(checkpoint, i - 1)->name, tensor->name) < 0);
        MUST(ds_checkpoint_find(checkpoint, tensor->name) == tensor);
        MUST(tensor->name[0] != '\0' && ds_is_utf8(tensor->name, strlen(tensor->name)));
        MUST(tensor->file_index < ds_checkpoint_files(checkpoint) && tensor->rank <= DS_MAX_RANK);
        uint64_t product = 1;
        for (size_t d = 0; d < tensor->rank; d++) product *= tensor->shape[d];
        MUST(product == tensor->count && (tensor->extent == 0) == (tensor->count == 0));
    }
}

/* Reads up to MAX_TENSORS tensors in place and through sinks; both agree. values[i] belongs to the caller. */
static size_t read_twice(ds_checkpoint *checkpoint, const ds_tensor **tensors, double **values) {
    ds_tensor_read reads[2 * MAX_TENSORS];
    collected sinks[MAX_TENSORS];
    size_t used = 0;
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint) && used < MAX_TENSORS; i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        if (!is_readable(tensor)) continue;
        size_t room = (size_t)tensor->count + 1;
        tensors[used] = tensor;
        values[used] = malloc(room * sizeof(double));
        sinks[used] = (collected){malloc(room * sizeof(double)), 0, tensor->count};
        MUST(values[used] != NULL && sinks[used].values != NULL);
        reads[2 * used] = (ds_tensor_read){.tensor = tensor, .precision = DS_F64, .destination = values[used]};
        reads[2 * used + 1] = (ds_tensor_read){.tensor = tensor, .precision = DS_F64, .sink = collect, .context = &sinks[used]};
        used++;
    }
    ds_status status = ds_checkpoint_read(checkpoint, reads, 2 * used);
    for (size_t i = 0; i < used; i++) {
        if (status == DS_OK) MUST(sinks[i].count == tensors[i]->count);
        if (status == DS_OK) MUST(memcmp(sinks[i].values, values[i], sinks[i].count * sizeof(double)) == 0);
        if (status != DS_OK) free(values[i]);
        free(sinks[i].values);
    }
    if (status == DS_OK) return used;
    refusal_is_a_sentence(status); /* a record whose checksum is wrong */
    return SIZE_MAX;
}

static void survives_rewriting(const ds_tensor *const *tensors, double *const *values, size_t count) {
    ds_tensor_write writes[MAX_TENSORS];
    size_t shapes[MAX_TENSORS][DS_MAX_RANK];
    const ds_tensor *again[MAX_TENSORS];
    double *values_again[MAX_TENSORS];
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < tensors[i]->rank; d++) shapes[i][d] = (size_t)tensors[i]->shape[d];
        writes[i] = (ds_tensor_write){tensors[i]->stored_name, DS_F64, tensors[i]->rank, shapes[i], values[i]};
    }
    const char *path = relation_path("again.safetensors");
    MUST(ds_safetensors_write(path, writes, count) == DS_OK);
    ds_checkpoint *checkpoint;
    MUST(ds_checkpoint_open(&checkpoint, path, relation_file("again.json", "{}", 2)) == DS_OK);
    MUST(ds_checkpoint_count(checkpoint) == count);
    MUST(read_twice(checkpoint, again, values_again) == count);
    for (size_t i = 0; i < count; i++) {
        MUST(strcmp(again[i]->stored_name, tensors[i]->stored_name) == 0 && again[i]->rank == tensors[i]->rank);
        MUST(memcmp(again[i]->shape, tensors[i]->shape, tensors[i]->rank * sizeof tensors[i]->shape[0]) == 0);
        MUST(memcmp(values_again[i], values[i], (size_t)tensors[i]->count * sizeof(double)) == 0);
        free(values_again[i]);
    }
    ds_checkpoint_close(&checkpoint);
}

void checkpoint_is_consistent(ds_checkpoint *checkpoint) {
    const ds_tensor *tensors[MAX_TENSORS];
    double *values[MAX_TENSORS];
    order_is_kept(checkpoint);
    size_t count = read_twice(checkpoint, tensors, values);
    if (count == SIZE_MAX) return;
    MUST(strlen(ds_checkpoint_sha256(checkpoint)) == 64);
    bool reserved = false; /* a name safetensors keeps for itself */
    for (size_t i = 0; i < count; i++) reserved = reserved || strcmp(tensors[i]->stored_name, "__metadata__") == 0;
    if (!reserved) survives_rewriting(tensors, values, count);
    for (size_t i = 0; i < count; i++) free(values[i]);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

void tokens_are_consistent(ds_tokens *tokens) {
    uint64_t count = ds_tokens_count(tokens);
    MUST(count > 0 && strlen(ds_tokens_sha256(tokens)) == 64);
    if (count > MAX_ELEMENTS) return;
    uint32_t *ids = malloc((size_t)count * sizeof *ids), one;
    uint8_t *raw = malloc((size_t)count * 2);
    MUST(ids != NULL && raw != NULL);
    MUST(ds_tokens_read(tokens, ids, 0, (size_t)count) == DS_OK);
    for (uint64_t i = 0; i < count; i += 1 + count / 7) {
        MUST(ds_tokens_read(tokens, &one, i, 1) == DS_OK);
        MUST(one == ids[i] && one < VOCAB);
    }
    MUST(ds_tokens_read(tokens, &one, count, 1) == DS_ERR_INPUT);
    for (uint64_t i = 0; i < count; i++) {
        raw[2 * i] = (uint8_t)ids[i];
        raw[2 * i + 1] = (uint8_t)(ids[i] >> 8);
    }
    /* the magic numbers of the shard formats, read as two ids, would not be a raw file */
    bool shard = count >= 2 && ids[1] == 0x0134 && ids[0] >= 0xD800;
    ds_tokens *again;
    ds_status status = shard
                           ? DS_ERR_INPUT
                           : ds_tokens_open_as(&again, relation_file("raw.bin", raw, (size_t)count * 2), DS_TOKENS_U16, VOCAB);
    if (status == DS_OK) {
        MUST(ds_tokens_count(again) == count);
        uint32_t *copy = malloc((size_t)count * sizeof *copy);
        MUST(copy != NULL && ds_tokens_read(again, copy, 0, (size_t)count) == DS_OK);
        MUST(memcmp(copy, ids, (size_t)count * sizeof *ids) == 0);
        free(copy);
        ds_tokens_close(&again);
    } else {
        MUST(shard || memcmp(raw, "\x93NUMPY", count < 3 ? 2 * count : 6) == 0 || ds_load_u32le(raw) >= 1 << 24);
    }
    free(ids);
    free(raw);
}

void tokenizer_is_consistent(const ds_tokenizer *tokenizer, const char *text, size_t length) {
    uint32_t *ids = NULL;
    size_t count = 0, at = 0;
    ds_status status = ds_tokenizer_encode(tokenizer, &ids, &count, text, length, relation_path("text"));
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return;
    }
    size_t composed_length = 0, same = 0, same_composed = 0;
    uint8_t *composed = u8_normalize(UNINORM_NFC, (const uint8_t *)text, length, NULL, &composed_length);
    MUST(composed != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t piece = 0;
        MUST(ids[i] < ds_tokenizer_vocab(tokenizer));
        const char *bytes = ds_tokenizer_piece(tokenizer, ids[i], &piece);
        MUST(bytes != NULL && piece > 0);
        if (same == at && piece <= length - at && memcmp(bytes, text + at, piece) == 0) same += piece;
        if (same_composed == at && piece <= composed_length - at && memcmp(bytes, composed + at, piece) == 0)
            same_composed += piece;
        at += piece;
        MUST(same == at || same_composed == at);
    }
    MUST((same == at && at == length) || (same_composed == at && at == composed_length));
    free(composed);
    free(ids);
}
