/* Stored elements to the arithmetic's precision. Private to io. */
#ifndef DELTASCOPE_IO_CONVERT_H
#define DELTASCOPE_IO_CONVERT_H

#include "deltascope/io.h"

/* values[0 .. count) <- `count` packed little-endian elements of a readable dtype; neither side needs more alignment than its
 * own type's, `bytes` none. F16 and BF16 are exact in float, all are exact in double; F64 to float rounds to nearest. */
void ds_convert(void *values, ds_precision precision, const uint8_t *bytes, ds_dtype dtype, size_t count);

#endif
