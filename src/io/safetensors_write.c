#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

static size_t byte_count(const ds_tensor_write *tensor) {
    size_t bytes = ds_precision_size(tensor->precision);
    for (size_t i = 0; i < tensor->rank; i++) bytes *= tensor->shape[i];
    return bytes;
}

/* {"dtype", "shape", "data_offsets"}; NULL when out of memory. */
static json_t *describe(const ds_tensor_write *tensor, size_t begin) {
    json_t *shape = json_array();
    size_t end = begin + byte_count(tensor);
    for (size_t i = 0; shape != NULL && i < tensor->rank; i++) {
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) == 0) continue;
        json_decref(shape);
        shape = NULL;
    }
    if (shape == NULL) return NULL;
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", tensor->precision == DS_F32 ? "F32" : "F64", "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* The header as text, padded with spaces to a multiple of 8; freed with free(). */
static ds_status make_header(char **header, size_t *length, const ds_tensor_write *tensors, size_t count) {
    ds_status status = DS_OK;
    char *text = NULL, *padded = NULL;
    json_t *root = json_object();
    size_t begin = 0;
    bool complete = root != NULL;
    for (size_t i = 0; complete && i < count; i++) {
        complete = json_object_set_new(root, tensors[i].name, describe(&tensors[i], begin)) == 0;
        begin += byte_count(&tensors[i]);
    }
    if (complete) text = json_dumps(root, JSON_COMPACT);
    if (text == NULL) {
        status = ds_fail(DS_ERR_SYSTEM, "out of memory: the header of %zu tensors could not be made", count);
        goto done;
    }
    *length = (strlen(text) + 7) / 8 * 8;
    DS_NEW(padded, *length);
    memset(padded, ' ', *length);
    memcpy(padded, text, strlen(text));
    *header = padded;
done:
    free(text);
    json_decref(root);
    return status;
}

ds_status ds_safetensors_write_to(FILE *stream, const ds_tensor_write *tensors, size_t count) {
    char *header = NULL;
    size_t length = 0;
    ds_status status = make_header(&header, &length, tensors, count);
    if (status != DS_OK) return status;
    unsigned char prefix[8];
    for (size_t i = 0; i < sizeof prefix; i++) prefix[i] = (unsigned char)((uint64_t)length >> (8 * i));
    (void)fwrite(prefix, 1, sizeof prefix, stream);
    (void)fwrite(header, 1, length, stream);
    for (size_t i = 0; i < count; i++) (void)fwrite(tensors[i].values, 1, byte_count(&tensors[i]), stream);
    free(header);
    return DS_OK;
}

ds_status ds_safetensors_write(const char *path, const ds_tensor_write *tensors, size_t count) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    DS_TRY(ds_outfile_open(&file, path));
    DS_TRY(ds_safetensors_write_to(ds_outfile_stream(file), tensors, count));
    DS_TRY(ds_outfile_commit(&file)); /* a failed fwrite is remembered by the stream and reported here */
done:
    ds_outfile_discard(&file);
    return status;
}
