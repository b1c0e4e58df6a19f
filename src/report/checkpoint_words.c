/* Which checkpoint a caption speaks of. */
#include <string.h>

#include "deltascope/report.h"

ds_status ds_short_path(ds_text *text, const char *path, size_t most) {
    const char *shown = DS_SHOW(path);
    const size_t length = strlen(shown), kept = most - strlen("…");
    size_t head = kept / 2, tail = length - (kept - kept / 2);
    if (length <= most) return ds_text_printf(text, "%s", shown);
    while (((unsigned char)shown[head] & 0xC0) == 0x80) head--; /* between characters */
    while (((unsigned char)shown[tail] & 0xC0) == 0x80) tail++;
    return ds_text_printf(text, "%.*s…%s", (int)head, shown, &shown[tail]);
}

static size_t count_of(const json_t *object, const char *key) {
    json_int_t count = json_integer_value(json_object_get(object, key));
    return count > 0 ? (size_t)count : 0;
}

ds_status ds_checkpoint_words(ds_text *text, const json_t *checkpoint) {
    ds_status status = DS_OK;
    const char *variant = json_string_value(json_object_get(checkpoint, "variant")),
               *path = json_string_value(json_object_get(checkpoint, "path"));
    const size_t layers = count_of(checkpoint, "layers"), channels = count_of(checkpoint, "value_channels");
    if (variant == NULL) return DS_OK;
    DS_TRY(ds_text_printf(text, " Checkpoint: "));
    if (path != NULL) DS_TRY(ds_short_path(text, path, DS_CAPTION_PATH));
    DS_TRY(ds_text_printf(text, "%s%s, %zu layer%s, d = %zu, %zu value channel%s%s.", path != NULL ? " (" : "",
                          DS_SHOW(variant), layers, ds_plural(layers), count_of(checkpoint, "hidden"), channels,
                          ds_plural(channels), path != NULL ? ")" : ""));
done:
    return status;
}
