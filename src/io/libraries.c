#define PCRE2_CODE_UNIT_WIDTH 8
#include <openssl/crypto.h>
#include <pcre2.h>
#include <string.h>
#include <unistring/version.h>
#include <zlib.h>

#include "deltascope/io.h"

ds_status ds_io_libraries(ds_text *text) {
    char pcre2[64];
    (void)pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    return ds_text_printf(text, "jansson %s\n%s\nPCRE2 %s\nlibunistring %d.%d.%d\nzlib %s\n", jansson_version_str(),
                          OpenSSL_version(OPENSSL_VERSION), pcre2, _libunistring_version >> 16,
                          _libunistring_version >> 8 & 0xFF, _libunistring_version & 0xFF, zlibVersion());
}
