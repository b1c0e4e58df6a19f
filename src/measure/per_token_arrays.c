#include "deltascope/measure/per_token_arrays.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

/* What every token has by sublayer, and by itself. */
typedef enum column { BETA, K_NORM2, EIGENVALUE, READOUT, TARGET, COLUMNS } column;
static const char *const names[COLUMNS] = {"beta", "k_norm2", "eigenvalue", "readout", "target"};
enum { SUBLAYER_TEXT = 32 };

/* Sublayers arrive one after the other for a whole batch, rows are written token by token: a batch is gathered in between. */
struct ds_per_token {
    ds_npz *npz;
    size_t arrays[COLUMNS];
    double *rows[COLUMNS]; /* (tokens of a batch, S, width) */
    size_t width[COLUMNS]; /* numbers per token and sublayer: 1 or dv */
    size_t ids, targets, window, position, loss;
    size_t sublayers;
    double residual_mult;
};

ds_status ds_per_token_check(const char *path) {
    const size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, ".npz") == 0) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "--per-token %s: the name must end in .npz, by which numpy.load knows what it reads",
                   DS_SHOW(path));
}

/* The names as numpy has texts: code points of 32 bits, as many as the longest name has letters. */
static ds_status write_names(ds_per_token *file) {
    ds_status status = DS_OK;
    char name[SUBLAYER_TEXT], dtype[8];
    size_t index, width = 0;
    for (size_t s = 0; s < file->sublayers; s++) width = ds_max_size(width, strlen(ds_sublayer_name(name, s)));
    (void)snprintf(dtype, sizeof dtype, "<U%u", (unsigned)width);
    DS_TRY(ds_npz_array(file->npz, &index, "sublayers", dtype, NULL, 0));
    for (size_t s = 0; s < file->sublayers; s++) {
        uint32_t points[SUBLAYER_TEXT] = {0};
        (void)ds_sublayer_name(name, s);
        for (size_t i = 0; name[i] != '\0'; i++) points[i] = (unsigned char)name[i];
        DS_TRY(ds_npz_append(file->npz, index, points, 1));
    }
done:
    return status;
}

ds_status ds_per_token_open(ds_per_token **out, const char *path, const ds_run *run) {
    ds_status status = DS_OK;
    ds_per_token *file = NULL;
    *out = NULL;
    DS_TRY(ds_per_token_check(path));
    DS_NEW(file, 1);
    file->sublayers = ds_spec_sublayers(&run->spec);
    file->residual_mult = ds_spec_shortcut_mult(&run->spec);
    DS_TRY(ds_npz_open(&file->npz, path));
    DS_TRY(ds_npz_array(file->npz, &file->ids, "ids", "<i4", NULL, 0));
    DS_TRY(ds_npz_array(file->npz, &file->targets, "targets", "<i4", NULL, 0));
    DS_TRY(ds_npz_array(file->npz, &file->window, "window", "<i8", NULL, 0));
    DS_TRY(ds_npz_array(file->npz, &file->position, "position", "<i4", NULL, 0));
    DS_TRY(ds_npz_array(file->npz, &file->loss, "loss", "<f8", NULL, 0));
    for (size_t c = 0; c < COLUMNS; c++) {
        bool wide = c == READOUT || c == TARGET;
        size_t trailing[2] = {file->sublayers, run->spec.value_channels};
        file->width[c] = wide ? run->spec.value_channels : 1;
        DS_TRY(ds_npz_array(file->npz, &file->arrays[c], names[c], "<f8", trailing, wide ? 2 : 1));
        DS_NEW(file->rows[c], run->batch * run->length * file->sublayers * file->width[c]);
    }
    DS_TRY(write_names(file));
done:
    if (status != DS_OK) ds_per_token_discard(&file);
    *out = file;
    return status;
}

ds_status ds_per_token_add(ds_per_token *file, const ds_observation *seen) {
    size_t tokens = seen->sequences * seen->length, dv = seen->delta->value_channels;
    for (size_t t = 0; t < tokens; t++) {
        size_t cell = t * file->sublayers + seen->sublayer;
        file->rows[BETA][cell] = seen->delta->beta[t];
        file->rows[K_NORM2][cell] = seen->delta->k_norm2[t];
        file->rows[EIGENVALUE][cell] = 1 - file->residual_mult * seen->delta->beta[t] * seen->delta->k_norm2[t];
        memcpy(file->rows[READOUT] + cell * dv, seen->delta->readout + t * dv, dv * sizeof(double));
        memcpy(file->rows[TARGET] + cell * dv, seen->delta->target + t * dv, dv * sizeof(double));
    }
    return DS_OK;
}

ds_status ds_per_token_end_batch(ds_per_token *file, const ds_window_batch *now, const double *loss) {
    ds_status status = DS_OK;
    const size_t length = now->batch.length, tokens = now->batch.sequences * length;
    for (size_t c = 0; c < COLUMNS; c++) DS_TRY(ds_npz_append(file->npz, file->arrays[c], file->rows[c], tokens));
    for (size_t t = 0; t < tokens; t++) {
        const int32_t id = (int32_t)now->batch.tokens[t], target = (int32_t)now->batch.targets[t];
        const int32_t position = (int32_t)(t % length);
        const int64_t window = (int64_t)now->run->starts[now->windows[t / length]];
        DS_TRY(ds_npz_append(file->npz, file->ids, &id, 1));
        DS_TRY(ds_npz_append(file->npz, file->targets, &target, 1));
        DS_TRY(ds_npz_append(file->npz, file->window, &window, 1));
        DS_TRY(ds_npz_append(file->npz, file->position, &position, 1));
    }
    DS_TRY(ds_npz_append(file->npz, file->loss, loss, tokens));
done:
    return status;
}

static void release(ds_per_token *file) {
    for (size_t c = 0; c < COLUMNS; c++) free(file->rows[c]);
    free(file);
}

ds_status ds_per_token_commit(ds_per_token **file, const json_t *envelope) {
    ds_status status = DS_OK;
    ds_text text = {0};
    size_t meta;
    DS_TRY(ds_json_print(&text, envelope, DS_JSON_CANONICAL));
    DS_TRY(ds_npz_array((*file)->npz, &meta, "meta", "|u1", NULL, 0));
    DS_TRY(ds_npz_append((*file)->npz, meta, text.bytes, text.length));
    status = ds_npz_commit(&(*file)->npz);
done:
    ds_text_release(&text);
    ds_per_token_discard(file);
    return status;
}

void ds_per_token_discard(ds_per_token **file) {
    if (*file == NULL) return;
    ds_npz_discard(&(*file)->npz);
    release(*file);
    *file = NULL;
}
