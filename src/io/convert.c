#include <string.h>

#include "convert.h"

/* Files are little-endian; so are the machines this is built for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored elements are copied as they are");
_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "float and double are IEEE 754 binary32 and binary64");

static inline float f32_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float load_f32(const uint8_t *bytes) {
    float value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline double load_f64(const uint8_t *bytes) {
    double value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline float load_bf16(const uint8_t *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return f32_from_bits((uint32_t)half << 16);
}

/* Exponent and significand moved to their places in binary32 mean the value times 2^-112 (the biases are 15 and 127), also for
 * subnormals; multiplying by 2^112 is exact. Infinities and NaN keep their payload. */
static inline float load_f16(const uint8_t *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = (uint32_t)(half & 0x7FFFu) << 13;
    float scaled = f32_from_bits(magnitude) * 0x1p112f;
    uint32_t finite;
    memcpy(&finite, &scaled, sizeof finite);
    return f32_from_bits(sign | (magnitude >= 0x0F800000u ? magnitude | 0x7F800000u : finite));
}

#define CONVERT(type, load, size)                                                                                              \
    do {                                                                                                                       \
        type *out = values; /* NOLINT(bugprone-macro-parentheses): a type */                                                   \
        for (size_t i = 0; i < count; i++) out[i] = (type)load(bytes + (size)*i);                                              \
    } while (0)

void ds_convert(void *values, ds_precision precision, const uint8_t *bytes, ds_dtype dtype, size_t count) {
    bool single = precision == DS_F32;
    switch (dtype) {
    case DS_DTYPE_F32:
        if (single) {
            memcpy(values, bytes, 4 * count);
        } else {
            CONVERT(double, load_f32, 4);
        }
        break;
    case DS_DTYPE_F64:
        if (single) {
            CONVERT(float, load_f64, 8);
        } else {
            memcpy(values, bytes, 8 * count);
        }
        break;
    case DS_DTYPE_F16:
        if (single) {
            CONVERT(float, load_f16, 2);
        } else {
            CONVERT(double, load_f16, 2);
        }
        break;
    case DS_DTYPE_BF16:
        if (single) {
            CONVERT(float, load_bf16, 2);
        } else {
            CONVERT(double, load_bf16, 2);
        }
        break;
    case DS_DTYPE_OTHER:
        break;
    }
}
