#define PCRE2_CODE_UNIT_WIDTH 8
#include <openssl/crypto.h>
#include <pcre2.h>
#include <string.h>
#include <zlib.h>

#include "deltascope/io.h"

ds_status ds_io_libraries(ds_text *text) {
    char pcre2[64];
    (void)pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    return ds_text_printf(text, "jansson %s\n%s\nPCRE2 %s\nzlib %s\n", jansson_version_str(), OpenSSL_version(OPENSSL_VERSION),
                          pcre2, zlibVersion());
}
