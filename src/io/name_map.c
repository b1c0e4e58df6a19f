#include "name_map.h"

#include <stdlib.h>
#include <string.h>

/* `source` and all targets hold the layer's number as "{L}", or none of them does. */
typedef struct map_rule {
    const char *source;
    const char **targets; /* (parts) */
    size_t parts;
    bool transposed, used;
} map_rule;

struct ds_name_map {
    char *path;
    char sha256[DS_DIGEST_TEXT];
    json_t *json;  /* owns the strings */
    json_t *index; /* of a rule, by its source */
    map_rule *rules;
    size_t count;
};

static const char layer[] = "{L}";
enum { LAYER_LENGTH = sizeof layer - 1, MOST_PARTS = 64, MOST_NUMBERS = 8 };
static const uint64_t map_limit = UINT64_C(16) << 20;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static ds_status check_members(const ds_name_map *map, const json_t *object, const char *what, const char *const *known,
                               size_t count) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        size_t i = 0;
        while (i < count && strcmp(key, known[i]) != 0) i++;
        if (i == count) return ds_fail(DS_ERR_INPUT, "%s: unknown member \"%s\" of %s", DS_SHOW(map->path), DS_SHOW(key), what);
    }
    return DS_OK;
}

static ds_status check_text(const ds_name_map *map, const map_rule *rule, const json_t *target) {
    if (!json_is_string(target) || json_string_length(target) == 0)
        return ds_fail(DS_ERR_INPUT,
                       "%s: %s is mapped to no name, expected a string, a list of strings, or an object with \"to\"",
                       DS_SHOW(map->path), DS_SHOW(rule->source));
    const char *name = json_string_value(target), *first = strstr(name, layer), *own = strstr(rule->source, layer);
    bool twice = (first != NULL && strstr(first + 1, layer) != NULL) || (own != NULL && strstr(own + 1, layer) != NULL);
    if ((first == NULL) != (own == NULL) || twice)
        return ds_fail(DS_ERR_INPUT, "%s: %s is mapped to %s, expected {L} once in both or in neither", DS_SHOW(map->path),
                       DS_SHOW(rule->source), DS_SHOW(name));
    return DS_OK;
}

static ds_status read_targets(const ds_name_map *map, map_rule *rule, const json_t *to) {
    ds_status status = DS_OK;
    bool list = json_is_array(to);
    size_t count = list ? json_array_size(to) : 1;
    if (count == 0 || count > MOST_PARTS)
        return ds_fail(DS_ERR_INPUT, "%s: %s is mapped to %zu names, expected 1 to %d", DS_SHOW(map->path),
                       DS_SHOW(rule->source), count, MOST_PARTS);
    DS_NEW(rule->targets, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *target = list ? json_array_get(to, i) : to;
        DS_TRY(check_text(map, rule, target));
        rule->targets[rule->parts++] = json_string_value(target);
    }
done:
    return status;
}

static ds_status read_rule(const ds_name_map *map, map_rule *rule, const json_t *value) {
    static const char *const members[] = {"to", "transposed"};
    ds_status status = DS_OK;
    if (!json_is_object(value)) return read_targets(map, rule, value);
    const json_t *transposed = json_object_get(value, "transposed");
    DS_TRY(check_members(map, value, rule->source, members, 2));
    if (transposed != NULL && !json_is_boolean(transposed)) {
        status = ds_fail(DS_ERR_INPUT, "%s: \"transposed\" of %s is neither true nor false", DS_SHOW(map->path),
                         DS_SHOW(rule->source));
        goto done;
    }
    rule->transposed = json_is_true(transposed);
    DS_TRY(read_targets(map, rule, json_object_get(value, "to")));
done:
    return status;
}

static ds_status read_rules(ds_name_map *map, json_t *tensors) {
    ds_status status = DS_OK;
    const char *source;
    json_t *value;
    DS_NEW(map->rules, json_object_size(tensors));
    map->index = json_object();
    json_object_foreach(tensors, source, value) {
        map_rule *rule = &map->rules[map->count];
        rule->source = source;
        map->count++;
        DS_TRY(read_rule(map, rule, value));
        if (json_object_set_new(map->index, source, json_integer((json_int_t)(map->count - 1))) == 0) continue;
        status = ds_fail(DS_ERR_SYSTEM, "%s: out of memory for a map", DS_SHOW(map->path));
        goto done;
    }
done:
    return status;
}

/* Renamed settings are strings, and no two of them become one. */
static ds_status check_settings(const ds_name_map *map) {
    json_t *renamed = json_object_get(map->json, "config");
    const char *key, *other;
    json_t *value, *second;
    json_object_foreach(renamed, key, value) {
        if (!json_is_string(value))
            return ds_fail(DS_ERR_INPUT, "%s: the setting %s is mapped to no name, expected a string", DS_SHOW(map->path),
                           DS_SHOW(key));
        json_object_foreach(renamed, other, second) {
            if (strcmp(key, other) != 0 && json_equal(value, second))
                return ds_fail(DS_ERR_INPUT, "%s: the settings %s and %s are both mapped to %s", DS_SHOW(map->path),
                               DS_SHOW(other), DS_SHOW(key), DS_SHOW(json_string_value(value)));
        }
    }
    return DS_OK;
}

static ds_status check_kinds(const ds_name_map *map) {
    static const char *const members[] = {"state", "tensors", "config", "settings", "guesses", "missing"};
    ds_status status = DS_OK;
    if (!json_is_object(map->json)) return ds_fail(DS_ERR_INPUT, "%s: a map is a JSON object", DS_SHOW(map->path));
    DS_TRY(check_members(map, map->json, "the map", members, sizeof members / sizeof members[0]));
    for (size_t i = 1; i < 4; i++) {
        const json_t *part = json_object_get(map->json, members[i]);
        if (part == NULL || json_is_object(part)) continue;
        status = ds_fail(DS_ERR_INPUT, "%s: \"%s\" is not an object", DS_SHOW(map->path), members[i]);
        goto done;
    }
    const json_t *state = json_object_get(map->json, "state");
    if (state != NULL && !json_is_string(state))
        status = ds_fail(DS_ERR_INPUT, "%s: \"state\" is not a string", DS_SHOW(map->path));
done:
    return status;
}

ds_status ds_name_map_open(ds_name_map **out, const char *path) {
    ds_status status = DS_OK;
    ds_name_map *map = NULL;
    char *bytes = NULL;
    size_t length;
    *out = NULL;
    DS_NEW(map, 1);
    map->path = ds_strdup(path);
    if (map->path == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_TRY(ds_read_file(&bytes, &length, path, map_limit));
    DS_TRY(ds_sha256(map->sha256, bytes, length));
    DS_TRY(ds_json_parse(&map->json, bytes, length, path));
    DS_TRY(check_kinds(map));
    DS_TRY(check_settings(map));
    DS_TRY(read_rules(map, json_object_get(map->json, "tensors")));
    *out = map;
    map = NULL;
done:
    free(bytes);
    ds_name_map_close(&map);
    return status;
}

void ds_name_map_close(ds_name_map **pointer) {
    ds_name_map *map = *pointer;
    if (map == NULL) return;
    for (size_t i = 0; map->rules != NULL && i < map->count; i++) free(map->rules[i].targets);
    free(map->rules);
    json_decref(map->index);
    json_decref(map->json);
    free(map->path);
    free(map);
    *pointer = NULL;
}

const char *ds_name_map_path(const ds_name_map *map) { return map->path; }
const char *ds_name_map_sha256(const ds_name_map *map) { return map->sha256; }
const char *ds_name_map_state(const ds_name_map *map) { return json_string_value(json_object_get(map->json, "state")); }

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* What fits a name, and the number that stood for {L}. */
typedef struct fit {
    map_rule *rule;
    char number[24];
} fit;

static ds_status take_fit(const ds_name_map *map, fit *found, const char *pattern, const char *name) {
    const json_t *index = json_object_get(map->index, pattern);
    if (index == NULL) return DS_OK;
    map_rule *rule = &map->rules[json_integer_value(index)];
    if (found->rule != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s is named twice, as %s and as %s", DS_SHOW(map->path), DS_SHOW(name),
                       DS_SHOW(found->rule->source), DS_SHOW(rule->source));
    found->rule = rule;
    return DS_OK;
}

/* The name itself, and the name with each of its numbers in turn as {L}. */
static ds_status find_fit(const ds_name_map *map, fit *found, const char *name, ds_text *pattern) {
    ds_status status = DS_OK;
    size_t numbers = 0;
    *found = (fit){0};
    DS_TRY(take_fit(map, found, name, name));
    for (const char *at = name; at != NULL && numbers < MOST_NUMBERS; at = ds_next_part(at)) {
        size_t digits = strspn(at, "0123456789");
        if (digits == 0 || digits >= sizeof found->number || (at[digits] != '.' && at[digits] != '\0')) continue;
        const map_rule *before = found->rule;
        numbers++;
        pattern->length = 0;
        DS_TRY(ds_text_printf(pattern, "%.*s%s%s", (int)(at - name), name, layer, at + digits));
        DS_TRY(take_fit(map, found, pattern->bytes, name));
        if (found->rule != before) (void)snprintf(found->number, sizeof found->number, "%.*s", (int)digits, at);
    }
done:
    return status;
}

static ds_status transpose(const ds_name_map *map, ds_tensor *view) {
    if (view->rank != 2)
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s is to be transposed, but has %zu dimensions, expected 2",
                       DS_SHOW(map->path), DS_SHOW(view->name), view->rank);
    uint64_t size = view->shape[0];
    int64_t stride = view->stride[0];
    view->shape[0] = view->shape[1];
    view->stride[0] = view->stride[1];
    view->shape[1] = size;
    view->stride[1] = stride;
    return DS_OK;
}

/* The first axis is cut into `parts`: *view becomes the first, *step the bytes from one to the next. */
static ds_status cut(const ds_name_map *map, ds_tensor *view, size_t parts, uint64_t *step) {
    *step = 0;
    if (parts == 1) return DS_OK;
    if (view->rank == 0 || view->shape[0] % parts != 0 || ds_dtype_size(view->dtype) == 0)
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s is to be cut into %zu parts, but has %llu rows of dtype %s",
                       DS_SHOW(map->path), DS_SHOW(view->name), parts,
                       (unsigned long long)(view->rank == 0 ? 1 : view->shape[0]), view->dtype_name);
    view->shape[0] /= parts;
    view->count /= parts;
    if (view->count == 0) return DS_OK;
    view->extent = 1;
    for (size_t i = 0; i < view->rank; i++) view->extent += (view->shape[i] - 1) * (uint64_t)view->stride[i];
    *step = view->shape[0] * (uint64_t)view->stride[0] * ds_dtype_size(view->dtype);
    return DS_OK;
}

static ds_status derive(const ds_name_map *map, ds_catalog *catalog, size_t index, const fit *found, ds_text *name) {
    ds_status status = DS_OK;
    ds_tensor view = catalog->tensors[index]; /* a copy: the table grows */
    const map_rule *rule = found->rule;
    uint64_t step;
    if (rule->transposed) DS_TRY(transpose(map, &view));
    DS_TRY(cut(map, &view, rule->parts, &step));
    for (size_t part = 0; part < rule->parts; part++) {
        const char *target = rule->targets[part], *number = strstr(target, layer);
        name->length = 0;
        if (number == NULL)
            DS_TRY(ds_text_printf(name, "%s", target));
        else
            DS_TRY(ds_text_printf(name, "%.*s%s%s", (int)(number - target), target, found->number, number + LAYER_LENGTH));
        DS_TRY(ds_catalog_add_view(catalog, &view, name->bytes));
        view.offset += step;
    }
done:
    return status;
}

ds_status ds_name_map_tensors(const ds_name_map *map, ds_catalog *catalog) {
    ds_status status = DS_OK;
    ds_text text = {0};
    size_t stored = catalog->tensor_count;
    bool *replaced = NULL;
    DS_NEW(replaced, stored);
    for (size_t i = 0; i < stored; i++) {
        fit found;
        DS_TRY(find_fit(map, &found, catalog->tensors[i].name, &text));
        if (found.rule == NULL) continue;
        found.rule->used = replaced[i] = true;
        DS_TRY(derive(map, catalog, i, &found, &text));
    }
    for (size_t i = 0; i < map->count; i++) {
        if (map->rules[i].used) continue;
        status = ds_fail(DS_ERR_INPUT, "%s: no tensor of the checkpoint is called %s", DS_SHOW(map->path),
                         DS_SHOW(map->rules[i].source));
        goto done;
    }
    ds_catalog_drop(catalog, replaced, stored);
done:
    free(replaced);
    ds_text_release(&text);
    return status;
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

bool ds_name_map_fits(const ds_name_map *map, const json_t *config) {
    const char *key;
    json_t *value, *renamed = json_object_get(map->json, "config");
    json_object_foreach(renamed, key, value) {
        if (json_object_get(config, key) == NULL) return false;
    }
    return json_object_size(renamed) > 0;
}

bool ds_name_map_has_settings(const ds_name_map *map) { return json_object_size(json_object_get(map->json, "settings")) > 0; }

ds_status ds_name_map_config(const ds_name_map *map, json_t **config, const char *where) {
    ds_status status = DS_OK;
    const char *key;
    json_t *value, *mapped = *config == NULL ? json_object() : json_copy(*config);
    bool starved = mapped == NULL;
    json_object_foreach(json_object_get(map->json, "config"), key, value) {
        const char *ours = json_string_value(value);
        json_t *setting = json_object_get(*config, key);
        if (setting == NULL) {
            status = ds_fail(DS_ERR_INPUT, "%s: %s has no setting %s", DS_SHOW(map->path), DS_SHOW(where), DS_SHOW(key));
            goto done;
        }
        if (strcmp(ours, key) != 0 && json_object_get(*config, ours) != NULL) {
            status = ds_fail(DS_ERR_INPUT, "%s: %s is mapped to %s, which %s has as well", DS_SHOW(map->path), DS_SHOW(key),
                             DS_SHOW(ours), DS_SHOW(where));
            goto done;
        }
        starved = starved || json_object_del(mapped, key) != 0 || json_object_set(mapped, ours, setting) != 0;
    }
    json_object_foreach(json_object_get(map->json, "settings"), key, value) {
        if (json_object_get(mapped, key) != NULL) {
            status = ds_fail(DS_ERR_INPUT, "%s: the setting %s stands in %s as well", DS_SHOW(map->path), DS_SHOW(key),
                             DS_SHOW(where));
            goto done;
        }
        starved = starved || json_object_set(mapped, key, value) != 0;
    }
    if (starved) {
        status = ds_fail(DS_ERR_SYSTEM, "%s: out of memory for mapped settings", DS_SHOW(map->path));
        goto done;
    }
    json_decref(*config);
    *config = json_incref(mapped);
done:
    json_decref(mapped);
    return status;
}
