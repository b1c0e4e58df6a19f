#include "deltascope/measure/per_token_arrays.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

typedef enum column { BETA, K_NORM2, EIGENVALUE, READOUT, TARGET, COLUMNS } column;
static const char *const names[COLUMNS] = {"beta", "k_norm2", "eigenvalue", "readout", "target"};

/* Sublayers arrive one after the other for a whole batch, rows are written token by token: a batch is gathered in between. */
struct ds_per_token {
    ds_npz *npz;
    size_t arrays[COLUMNS];
    double *rows[COLUMNS]; /* (tokens of a batch, S, width) */
    size_t width[COLUMNS]; /* numbers per token and sublayer: 1 or dv */
    size_t sublayers;
    double residual_mult;
};

ds_status ds_per_token_open(ds_per_token **out, const char *path, const ds_spec *spec, size_t sequences, size_t length) {
    ds_status status = DS_OK;
    ds_per_token *file = NULL;
    *out = NULL;
    DS_NEW(file, 1);
    file->sublayers = ds_spec_sublayers(spec);
    file->residual_mult = ds_spec_shortcut_mult(spec);
    DS_TRY(ds_npz_open(&file->npz, path));
    for (size_t c = 0; c < COLUMNS; c++) {
        bool wide = c == READOUT || c == TARGET;
        size_t trailing[2] = {file->sublayers, spec->value_channels};
        file->width[c] = wide ? spec->value_channels : 1;
        DS_TRY(ds_npz_array(file->npz, &file->arrays[c], names[c], "<f8", trailing, wide ? 2 : 1));
        DS_NEW(file->rows[c], sequences * length * file->sublayers * file->width[c]);
    }
done:
    if (status != DS_OK) ds_per_token_discard(&file);
    *out = file;
    return status;
}

ds_status ds_per_token_add(ds_per_token *file, const ds_observation *seen) {
    ds_status status = DS_OK;
    size_t tokens = seen->sequences * seen->length, dv = seen->delta->value_channels;
    for (size_t t = 0; t < tokens; t++) {
        size_t cell = t * file->sublayers + seen->sublayer;
        file->rows[BETA][cell] = seen->delta->beta[t];
        file->rows[K_NORM2][cell] = seen->delta->k_norm2[t];
        file->rows[EIGENVALUE][cell] = 1 - file->residual_mult * seen->delta->beta[t] * seen->delta->k_norm2[t];
        memcpy(file->rows[READOUT] + cell * dv, seen->delta->readout + t * dv, dv * sizeof(double));
        memcpy(file->rows[TARGET] + cell * dv, seen->delta->target + t * dv, dv * sizeof(double));
    }
    if (seen->sublayer + 1 < file->sublayers) return DS_OK;
    for (size_t c = 0; c < COLUMNS; c++) DS_TRY(ds_npz_append(file->npz, file->arrays[c], file->rows[c], tokens));
done:
    return status;
}

static void release(ds_per_token *file) {
    for (size_t c = 0; c < COLUMNS; c++) free(file->rows[c]);
    free(file);
}

ds_status ds_per_token_commit(ds_per_token **file) {
    ds_status status = ds_npz_commit(&(*file)->npz);
    release(*file);
    *file = NULL;
    return status;
}

void ds_per_token_discard(ds_per_token **file) {
    if (*file == NULL) return;
    ds_npz_discard(&(*file)->npz);
    release(*file);
    *file = NULL;
}
