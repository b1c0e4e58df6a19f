#include "torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "support.h"

#define PUT(text, literal) expect_ok(ds_text_append((text), (literal), sizeof(literal) - 1))

void torch_begin(torch_file *file) {
    file->count = 0;
    file->pickle.length = 0;
    PUT(&file->pickle, "\x80\x02");
}

void torch_opcodes(torch_file *file, const char *bytes, size_t length) {
    expect_ok(ds_text_append(&file->pickle, bytes, length));
}

void torch_string(torch_file *file, const char *text) {
    size_t length = strlen(text);
    const char front[5] = {'X', (char)(length & 0xFF), (char)(length >> 8), 0, 0};
    torch_opcodes(file, front, sizeof front);
    torch_opcodes(file, text, length);
}

void torch_int(torch_file *file, long long value) {
    char bytes[10] = {'\x8a', 8};
    memcpy(bytes + 2, &value, sizeof value);
    torch_opcodes(file, bytes, sizeof bytes);
}

static void put_extents(torch_file *file, const size_t *values, size_t count) {
    PUT(&file->pickle, "(");
    for (size_t i = 0; i < count; i++) torch_int(file, (long long)values[i]);
    PUT(&file->pickle, "t");
}

void torch_tensor(torch_file *file, const ds_tensor_write *tensor) {
    size_t strides[DS_MAX_RANK], elements = 1;
    char key[16];
    assert_true(file->count < sizeof file->tensors / sizeof *file->tensors);
    for (size_t i = tensor->rank; i-- > 0; elements *= tensor->shape[i]) strides[i] = elements;
    (void)snprintf(key, sizeof key, "%zu", file->count);
    file->tensors[file->count++] = *tensor;
    PUT(&file->pickle, "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage");
    if (tensor->precision == DS_F64)
        PUT(&file->pickle, "ctorch\nDoubleStorage\n");
    else
        PUT(&file->pickle, "ctorch\nFloatStorage\n");
    torch_string(file, key);
    PUT(&file->pickle, "X\x03\0\0\0cpu");
    torch_int(file, (long long)elements);
    PUT(&file->pickle, "tQK\0");
    put_extents(file, tensor->shape, tensor->rank);
    put_extents(file, strides, tensor->rank);
    PUT(&file->pickle, "\x89"
                       "ccollections\nOrderedDict\n)RtR");
}

void torch_state(torch_file *file, const char *prefix, const ds_tensor_write *tensors, size_t count) {
    ds_text name = {0};
    PUT(&file->pickle, "ccollections\nOrderedDict\n)R(");
    for (size_t i = 0; i < count; i++) {
        name.length = 0;
        expect_ok(ds_text_printf(&name, "%s%s", prefix, tensors[i].name));
        torch_string(file, name.bytes);
        torch_tensor(file, &tensors[i]);
    }
    PUT(&file->pickle, "u");
    ds_text_release(&name);
}

void torch_end(torch_file *file, const char *path) {
    size_t count = file->count + 2;
    char(*names)[32] = malloc(count * sizeof *names);
    archive_entry *entries = calloc(count, sizeof *entries);
    assert_true(names != NULL && entries != NULL);
    PUT(&file->pickle, ".");
    entries[0] = (archive_entry){"archive/data.pkl", file->pickle.bytes, file->pickle.length};
    entries[1] = (archive_entry){"archive/version", "3\n", 2};
    for (size_t i = 0; i < file->count; i++) {
        const ds_tensor_write *tensor = &file->tensors[i];
        size_t elements = 1;
        for (size_t axis = 0; axis < tensor->rank; axis++) elements *= tensor->shape[axis];
        (void)snprintf(names[i], sizeof names[i], "archive/data/%zu", i);
        entries[i + 2] = (archive_entry){names[i], tensor->values, elements * ds_precision_size(tensor->precision)};
    }
    archive_build(&file->archive, entries, count);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(file->archive.bytes, 1, file->archive.length, stream), file->archive.length);
    assert_int_equal(fclose(stream), 0);
    free(entries);
    free(names);
    ds_text_release(&file->archive);
    ds_text_release(&file->pickle);
}
