/* npz: .npy entries in a zip archive. libzip lays out the archive; where it is written and when it becomes visible is ours. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "deltascope/io.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are written as they are in memory");

enum {
    MAX_TRAILING = 6, /* so that a header always has room */
    DOS_DATE = 33     /* 1 January 1980: equal contents give equal bytes */
};

typedef struct array {
    char *name;
    char dtype[8];
    size_t trailing[MAX_TRAILING], rank;
    size_t row_bytes;
    uint64_t rows;
    FILE *spool; /* header, then rows; a file without a name */
} array;

struct ds_npz {
    char *path;
    ds_outfile *file;
    array *arrays;
    size_t count, capacity;
};

ds_status ds_npz_open(ds_npz **out, const char *path) {
    ds_status status = DS_OK;
    ds_npz *npz = NULL;
    *out = NULL;
    DS_NEW(npz, 1);
    npz->path = ds_strdup(path);
    if (npz->path == NULL) status = DS_ERR_SYSTEM;
    if (status == DS_OK) status = ds_outfile_open(&npz->file, path);
done:
    if (status != DS_OK) ds_npz_discard(&npz);
    *out = npz;
    return status;
}

void ds_npz_discard(ds_npz **pointer) {
    ds_npz *npz = *pointer;
    if (npz == NULL) return;
    for (size_t i = 0; i < npz->count; i++) {
        if (npz->arrays[i].spool != NULL) (void)fclose(npz->arrays[i].spool);
        free(npz->arrays[i].name);
    }
    ds_outfile_discard(&npz->file);
    free(npz->arrays);
    free(npz->path);
    free(npz);
    *pointer = NULL;
}

/* Bytes of one element, 0 for a spelling that is not little-endian and plain. */
static size_t item_size(const char *dtype) {
    const bool text = strncmp(dtype, "<U", 2) == 0 && strspn(dtype + 2, "0123456789") == strlen(dtype + 2);
    if (text && strlen(dtype) < sizeof((array *)NULL)->dtype) return 4 * strtoul(dtype + 2, NULL, 10);
    if (strlen(dtype) != 3 || strchr("fiu", dtype[1]) == NULL || strchr("1248", dtype[2]) == NULL) return 0;
    size_t size = (size_t)(dtype[2] - '0');
    if ((dtype[0] == '|') != (size == 1) || (dtype[0] != '<' && dtype[0] != '|') || (dtype[1] == 'f' && size == 1)) return 0;
    return size;
}

/* Beside the archive, where the space is that it needs anyway. */
static ds_status open_spool(FILE **spool, const char *path) {
    ds_status status = ds_spool_open(spool, path);
    if (status == DS_OK && fseeko(*spool, DS_NPY_HEADER, SEEK_SET) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "%s: no place for the header: %s", DS_SHOW(path), strerror(errno));
    return status;
}

ds_status ds_npz_array(ds_npz *npz, size_t *index, const char *name, const char *dtype, const size_t *trailing, size_t rank) {
    ds_status status = DS_OK;
    size_t bytes = item_size(dtype);
    if (bytes == 0)
        return ds_fail(DS_ERR_USAGE, "%s: array \"%s\" has the type \"%s\", expected one like <f8, <f4, <u4, <i8, |u1 or <U7",
                       DS_SHOW(npz->path), name, dtype);
    if (rank > MAX_TRAILING)
        return ds_fail(DS_ERR_USAGE, "%s: array \"%s\" has %zu trailing dimensions, at most %d are written", DS_SHOW(npz->path),
                       name, rank, MAX_TRAILING);
    for (size_t i = 0; i < npz->count; i++) {
        if (strcmp(npz->arrays[i].name, name) == 0)
            return ds_fail(DS_ERR_USAGE, "%s: array \"%s\" is declared twice", DS_SHOW(npz->path), name);
    }
    for (size_t i = 0; i < rank; i++) {
        if (!ds_mul_size(bytes, trailing[i], &bytes))
            return ds_fail(DS_ERR_USAGE, "%s: array \"%s\": a row is too large", DS_SHOW(npz->path), name);
    }
    void *arrays = npz->arrays;
    status = ds_grow(&arrays, &npz->capacity, npz->count + 1, sizeof *npz->arrays);
    npz->arrays = arrays;
    if (status != DS_OK) return status;
    array *a = &npz->arrays[npz->count];
    *a = (array){.rank = rank, .row_bytes = bytes};
    memcpy(a->dtype, dtype, strlen(dtype) + 1);
    for (size_t i = 0; i < rank; i++) a->trailing[i] = trailing[i];
    *index = npz->count++;
    a->name = ds_strdup(name);
    return a->name == NULL ? DS_ERR_SYSTEM : open_spool(&a->spool, npz->path);
}

ds_status ds_npz_append(ds_npz *npz, size_t index, const void *values, size_t rows) {
    array *a = &npz->arrays[index];
    if (a->row_bytes != 0 && fwrite(values, a->row_bytes, rows, a->spool) != rows)
        return ds_fail(DS_ERR_SYSTEM, "%s: rows of array \"%s\" could not be written in full: %s", DS_SHOW(npz->path), a->name,
                       strerror(errno));
    a->rows += rows;
    return DS_OK;
}

/* Magic, version, length, a Python dictionary padded with spaces. */
ds_status ds_npy_header(char header[DS_NPY_HEADER], const char *dtype, uint64_t rows, const size_t *trailing, size_t rank) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(ds_text_printf(&text, "{'descr': '%s', 'fortran_order': False, 'shape': (%llu,", dtype, (unsigned long long)rows));
    for (size_t i = 0; i < rank; i++) DS_TRY(ds_text_printf(&text, i == 0 ? " %zu" : ", %zu", trailing[i]));
    DS_TRY(ds_text_printf(&text, "), }"));
    memset(header, ' ', DS_NPY_HEADER);
    memcpy(header, "\x93NUMPY\x01", 8); /* and the version's minor number, the terminating zero */
    header[8] = (char)((DS_NPY_HEADER - 10) & 0xFF);
    header[9] = (char)((DS_NPY_HEADER - 10) >> 8);
    memcpy(header + 10, text.bytes, text.length);
    header[DS_NPY_HEADER - 1] = '\n';
done:
    ds_text_release(&text);
    return status;
}

/* Its place was kept free until the rows were counted. */
static ds_status write_header(array *a, const char *path) {
    ds_status status = DS_OK;
    char header[DS_NPY_HEADER];
    DS_TRY(ds_npy_header(header, a->dtype, a->rows, a->trailing, a->rank));
    if (fseeko(a->spool, 0, SEEK_SET) != 0 || fwrite(header, 1, DS_NPY_HEADER, a->spool) != DS_NPY_HEADER ||
        fseeko(a->spool, 0, SEEK_SET) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "%s: array \"%s\" could not be written in full: %s", DS_SHOW(path), a->name,
                         strerror(errno));
done:
    return status;
}

/* ---- the archive as libzip sees it: a new file that can only be written ------------------------------------------ */

typedef struct destination {
    FILE *stream;
    zip_error_t error;
} destination;

static zip_int64_t checked(destination *to, int failed) {
    if (!failed) return 0;
    zip_error_set(&to->error, ZIP_ER_WRITE, errno);
    return -1;
}

static zip_int64_t serve(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command) {
    destination *to = context;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_WRITABLE;
    case ZIP_SOURCE_STAT:
        zip_stat_init(data);
        ((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
        return sizeof(zip_stat_t);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&to->error, data, length);
    case ZIP_SOURCE_WRITE:
        return checked(to, fwrite(data, 1, length, to->stream) != length) == 0 ? (zip_int64_t)length : -1;
    case ZIP_SOURCE_SEEK_WRITE: {
        const zip_source_args_seek_t *where = ZIP_SOURCE_GET_ARGS(zip_source_args_seek_t, data, length, &to->error);
        return where == NULL ? -1 : checked(to, fseeko(to->stream, where->offset, where->whence) != 0);
    }
    case ZIP_SOURCE_TELL_WRITE:
        return ftello(to->stream);
    case ZIP_SOURCE_COMMIT_WRITE:
        return checked(to, fflush(to->stream) != 0);
    default: /* opening, beginning, rolling back and freeing need nothing: the outfile does it; reading finds an empty file */
        return 0;
    }
}

static ds_status zip_failure(const ds_npz *npz, const zip_error_t *error) {
    zip_error_t copy = *error;
    copy.str = NULL;
    ds_status status =
        ds_fail(DS_ERR_SYSTEM, "%s: the archive could not be written: %s", DS_SHOW(npz->path), zip_error_strerror(&copy));
    zip_error_fini(&copy);
    return status;
}

static ds_status add_entry(zip_t *archive, const ds_npz *npz, array *a) {
    ds_status status = DS_OK;
    ds_text name = {0};
    zip_error_t error;
    zip_error_init(&error);
    DS_TRY(write_header(a, npz->path));
    DS_TRY(ds_text_printf(&name, "%s.npy", a->name));
    zip_source_t *rows = zip_source_filep_create(a->spool, 0, -1, &error);
    if (rows == NULL) {
        status = zip_failure(npz, &error);
        goto done;
    }
    a->spool = NULL; /* closed by the source */
    zip_int64_t entry = zip_file_add(archive, name.bytes, rows, ZIP_FL_ENC_UTF_8);
    if (entry < 0) zip_source_free(rows);
    if (entry < 0 || zip_set_file_compression(archive, (zip_uint64_t)entry, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive, (zip_uint64_t)entry, 0, DOS_DATE, 0) != 0)
        status = zip_failure(npz, zip_get_error(archive));
done:
    zip_error_fini(&error);
    ds_text_release(&name);
    return status;
}

static ds_status assemble(ds_npz *npz) {
    ds_status status = DS_OK;
    destination to = {.stream = ds_outfile_stream(npz->file)};
    zip_error_t error;
    zip_error_init(&error);
    zip_error_init(&to.error);
    zip_source_t *source = zip_source_function_create(serve, &to, &error);
    zip_t *archive = source == NULL ? NULL : zip_open_from_source(source, ZIP_CREATE | ZIP_TRUNCATE, &error);
    if (archive == NULL) {
        zip_source_free(source);
        status = zip_failure(npz, &error);
        goto done;
    }
    for (size_t i = 0; i < npz->count; i++) DS_TRY(add_entry(archive, npz, &npz->arrays[i]));
    if (zip_close(archive) != 0)
        status = zip_failure(npz, zip_get_error(archive));
    else
        archive = NULL;
done:
    if (archive != NULL) zip_discard(archive);
    zip_error_fini(&error);
    zip_error_fini(&to.error);
    return status;
}

ds_status ds_npz_commit(ds_npz **npz) {
    ds_status status = DS_OK;
    if ((*npz)->count == 0) {
        status = ds_fail(DS_ERR_USAGE, "%s: an archive without arrays was asked for", DS_SHOW((*npz)->path));
        goto done;
    }
    DS_TRY(assemble(*npz));
    DS_TRY(ds_outfile_commit(&(*npz)->file));
done:
    ds_npz_discard(npz);
    return status;
}
