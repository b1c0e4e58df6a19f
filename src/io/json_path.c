/* Finding one value in a tree by the path that leads to it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

const json_t *ds_json_at(const json_t *value, const char *path) {
    char key[64];
    while (value != NULL && *path != '\0') {
        size_t length = strcspn(path, "/");
        if (length >= sizeof key) return NULL;
        memcpy(key, path, length);
        key[length] = '\0';
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10)) : json_object_get(value, key);
        path += length + (path[length] == '/');
    }
    return value;
}

double ds_json_real_at(const json_t *value, const char *path) {
    const json_t *found = ds_json_at(value, path);
    return json_is_number(found) ? json_number_value(found) : NAN;
}
