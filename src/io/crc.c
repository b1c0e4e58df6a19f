#include <zlib.h>

#include "deltascope/io.h"

uint32_t ds_crc32(uint32_t crc, const void *bytes, size_t count) { return (uint32_t)crc32_z(crc, bytes, count); }
