/* A token as people see it in a picture or a table. */
#include <inttypes.h>

#include "deltascope/io.h"

/* NULL for a character without a symbol. */
static const char *symbol_of(uint32_t point, bool unicode) {
    switch (point) {
    case ' ':
    case 0xA0:
        return unicode ? "␣" : "_";
    case '\n':
        return unicode ? "↵" : "\\n";
    case '\t':
        return unicode ? "⇥" : "\\t";
    case '\r':
        return "\\r";
    default:
        return NULL;
    }
}

ds_status ds_token_label(ds_text *text, const ds_tokenizer *tokenizer, uint32_t id, bool unicode) {
    ds_status status = DS_OK;
    size_t length = 0;
    const char *piece = tokenizer == NULL ? NULL : ds_tokenizer_piece(tokenizer, id, &length);
    if (piece == NULL) return ds_text_printf(text, "#%" PRIu32, id);
    for (size_t at = 0; at < length;) {
        uint32_t point = 0;
        size_t step = ds_utf8_decode(&point, piece + at, length - at);
        const char *symbol = step == 0 ? NULL : symbol_of(point, unicode);
        bool plain = step != 0 && !ds_is_hidden(point) && (unicode || point < 0x80);
        if (symbol != NULL)
            DS_TRY(ds_text_printf(text, "%s", symbol));
        else if (plain)
            DS_TRY(ds_text_append(text, piece + at, step));
        for (size_t i = 0; symbol == NULL && !plain && i < (step == 0 ? 1 : step); i++)
            DS_TRY(ds_text_printf(text, "\\x%02X", (unsigned char)piece[at + i]));
        at += step == 0 ? 1 : step;
    }
done:
    return status;
}
