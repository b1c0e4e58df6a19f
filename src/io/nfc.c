/* Unicode's composed form (Unicode Standard Annex 15). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uninorm.h>

#include "tokenizer.h"

ds_status ds_nfc(char **out, size_t *out_length, const char *text, size_t length) {
    *out = (char *)u8_normalize(UNINORM_NFC, (const uint8_t *)text, length, NULL, out_length);
    if (*out != NULL) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "libunistring failed on a text of %zu bytes: %s", length, strerror(errno));
}
