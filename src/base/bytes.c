#include <string.h>

#include "deltascope/base.h"

uint16_t ds_load_u16le(const uint8_t *b) { return (uint16_t)(b[0] | b[1] << 8); }

uint32_t ds_load_u32le(const uint8_t *b) { return ds_load_u16le(b) | (uint32_t)ds_load_u16le(b + 2) << 16; }

uint64_t ds_load_u64le(const uint8_t *b) { return ds_load_u32le(b) | (uint64_t)ds_load_u32le(b + 4) << 32; }

bool ds_take_bytes(ds_cursor *cursor, size_t count, const uint8_t **bytes) {
    if (count > cursor->left) return false;
    *bytes = cursor->at;
    cursor->at += count;
    cursor->left -= count;
    return true;
}

bool ds_take_u8(ds_cursor *cursor, uint8_t *value) {
    const uint8_t *bytes;
    if (!ds_take_bytes(cursor, 1, &bytes)) return false;
    *value = bytes[0];
    return true;
}

bool ds_take_u16le(ds_cursor *cursor, uint16_t *value) {
    const uint8_t *bytes;
    if (!ds_take_bytes(cursor, 2, &bytes)) return false;
    *value = ds_load_u16le(bytes);
    return true;
}

bool ds_take_u64le(ds_cursor *cursor, uint64_t *value) {
    const uint8_t *bytes;
    if (!ds_take_bytes(cursor, 8, &bytes)) return false;
    *value = ds_load_u64le(bytes);
    return true;
}
