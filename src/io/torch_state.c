#include "torch_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"

/* ---- walking dicts ----------------------------------------------------------------------------------------------- */

enum { DEEPEST = 4, MOST_SHOWN = 8, MOST_DICTS = 1 << 20 };

/* How likely a dict is the state. */
typedef enum likelihood {
    NOT_A_STATE,
    STRAY_TENSORS,   /* the whole pickle, when it has any */
    HAS_TENSORS,     /* by names of modules */
    USUAL_NAME,      /* has tensors, and stands where states stand */
    HAS_MODEL_NAMES, /* has tensors of the model */
} likelihood;

/* A dict that can be reached from the root. */
typedef struct place {
    ds_value dict;
    const char *key; /* of the parent; not NUL-terminated */
    size_t key_length, parent, depth, tensors;
    bool of_optimizer;
    likelihood likelihood;
} place;

typedef struct places {
    const ds_pickle *pickle;
    place *items;
    size_t count, capacity;
    bool *visited; /* (values) */
} places;

static ds_status add_place(places *all, const place *item) {
    void *grown = all->items;
    if (all->count >= MOST_DICTS) return ds_fail(DS_ERR_INPUT, "more than %d dicts beside the state", MOST_DICTS);
    ds_status status = ds_grow(&grown, &all->capacity, all->count + 1, sizeof *item);
    all->items = grown;
    if (status != DS_OK) return status;
    all->items[all->count++] = *item;
    all->visited[item->dict] = true;
    return DS_OK;
}

static bool is_key(const place *item, const char *text) {
    return strlen(text) == item->key_length && memcmp(item->key, text, item->key_length) == 0;
}

static bool is_usual_name(const place *item) {
    static const char *const usual[] = {"model",   "state_dict", "model_state_dict", "model_state", "module", "params",
                                        "weights", "net",        "network",          "ema"};
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        if (is_key(item, usual[i])) return true;
    }
    return false;
}

/* A weight or bias of the model's own, whatever stands in front of its name and wrapped however. */
static bool is_model_name(const char *key, size_t key_length) {
    static const char *const parts[] = {"transformer.h.", "transformer.wte.", "model.layers.", "model.embed_tokens."};
    static const char *const ends[] = {".weight", ".bias"};
    enum { LONGEST = 512 };
    char stored[LONGEST], name[LONGEST];
    bool has_part = false, has_end = false;
    if (key_length >= LONGEST || memchr(key, '\0', key_length) != NULL) return false;
    memcpy(stored, key, key_length);
    stored[key_length] = '\0';
    ds_strip_wrappers(name, stored);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) has_part = has_part || strstr(name, parts[i]) != NULL;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t length = strlen(name), end = strlen(ends[i]);
        has_end = has_end || (length > end && strcmp(name + length - end, ends[i]) == 0);
    }
    return has_part && has_end;
}

/* Looks at one dict and adds those in it. */
static ds_status visit(places *all, size_t index) {
    ds_status status = DS_OK;
    const ds_pickle *pickle = all->pickle;
    place self = all->items[index];
    size_t others = 0, dotted = 0, own = 0;
    for (size_t i = 0; i < ds_value_count(pickle, self.dict); i++) {
        place next = {.parent = index, .depth = self.depth + 1, .dict = ds_value_at(pickle, self.dict, i)};
        bool named = ds_value_string(&next.key, &next.key_length, pickle, ds_value_key(pickle, self.dict, i));
        ds_value_kind kind = ds_value_kind_of(pickle, next.dict);
        if (!named || kind != DS_VALUE_TENSOR) others++;
        if (named && kind == DS_VALUE_TENSOR) {
            self.tensors++;
            dotted += memchr(next.key, '.', next.key_length) != NULL;
            own += is_model_name(next.key, next.key_length);
        }
        if (!named || kind != DS_VALUE_DICT || all->visited[next.dict] || next.depth > DEEPEST) continue;
        next.of_optimizer = self.of_optimizer || (next.key_length >= 3 && memcmp(next.key, "opt", 3) == 0);
        DS_TRY(add_place(all, &next));
    }
    if (own > 0)
        self.likelihood = HAS_MODEL_NAMES;
    else if (self.tensors > 0 && !self.of_optimizer && (index == 0 ? others == 0 : is_usual_name(&self)))
        self.likelihood = USUAL_NAME;
    else if (dotted > 0 && !self.of_optimizer)
        self.likelihood = HAS_TENSORS;
    else if (self.tensors > 0 && index == 0)
        self.likelihood = STRAY_TENSORS;
    all->items[index] = self;
done:
    return status;
}

static ds_status walk(places *all) {
    ds_status status = DS_OK;
    const place root = {.dict = ds_pickle_root(all->pickle), .key = ""};
    DS_NEW(all->visited, ds_pickle_values(all->pickle));
    DS_TRY(add_place(all, &root));
    for (size_t i = 0; i < all->count; i++) DS_TRY(visit(all, i));
done:
    return status;
}

/* Keys joined by points; "" for the root. */
static ds_status append_way(ds_text *text, const places *all, size_t index) {
    ds_status status = DS_OK;
    const place *item = &all->items[index];
    if (index == 0) return DS_OK;
    if (item->parent != 0) {
        DS_TRY(append_way(text, all, item->parent));
        DS_TRY(ds_text_append(text, ".", 1));
    }
    DS_TRY(ds_text_append(text, item->key, item->key_length));
done:
    return status;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

/* 'model' (41 tensors), 'ema' (41 tensors), ... */
static ds_status append_candidates(ds_text *text, const places *all, likelihood best) {
    ds_status status = DS_OK;
    ds_text way = {0};
    size_t shown = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].likelihood != best) continue;
        if (++shown > MOST_SHOWN) {
            DS_TRY(ds_text_printf(text, " and more"));
            break;
        }
        way.length = 0;
        DS_TRY(append_way(&way, all, i));
        DS_TRY(ds_text_printf(text, "%s'%s' (%zu tensors)", shown == 1 ? "" : ", ",
                              ds_escape(way.bytes == NULL ? "" : way.bytes, way.length).text, all->items[i].tensors));
    }
done:
    ds_text_release(&way);
    return status;
}

static ds_status refuse_several(const places *all, likelihood best, const char *where) {
    ds_status status = DS_OK;
    ds_text list = {0};
    DS_TRY(append_candidates(&list, all, best));
    status =
        ds_fail(DS_ERR_INPUT,
                "%s: ambiguous: %s hold tensors of a model; name the one you mean in a map (--map): {\"state\": \"model\"}, or "
                "save it alone: torch.save(checkpoint[\"model\"], \"weights.pt\")",
                DS_SHOW(where), list.bytes);
done:
    ds_text_release(&list);
    return status;
}

/* What the root does hold, for people. */
static ds_status refuse_none(const ds_pickle *pickle, const char *where) {
    ds_status status = DS_OK;
    ds_text keys = {0};
    ds_value root = ds_pickle_root(pickle), model;
    static const char *const usual[] = {"model", "state_dict", "model_state_dict"};
    for (size_t i = 0; i < 3; i++) {
        if (!ds_value_find(&model, pickle, root, usual[i])) continue;
        bool object = ds_value_kind_of(pickle, model) == DS_VALUE_OBJECT;
        return ds_fail(DS_ERR_INPUT, "%s: the entry '%s' is not a state dict: it holds no tensors but is %s%s", DS_SHOW(where),
                       usual[i], ds_value_describe(pickle, model),
                       object ? "; load it in Python and save its state alone: torch.save(checkpoint[\"model\"].state_dict(), "
                                "\"weights.pt\")"
                              : "");
    }
    for (size_t i = 0, shown = 0; i < ds_value_count(pickle, root) && shown < MOST_SHOWN; i++) {
        const char *key;
        size_t length;
        if (!ds_value_string(&key, &length, pickle, ds_value_key(pickle, root, i))) continue;
        DS_TRY(ds_text_printf(&keys, "%s'%s'", shown++ == 0 ? "; it has " : ", ", ds_escape(key, length).text));
    }
    status = ds_fail(DS_ERR_INPUT,
                     "%s: no 'model' entry: the pickle is a dict without tensors and without a state dict in it%s; save the "
                     "model's state alone: torch.save(model.state_dict(), \"weights.pt\")",
                     DS_SHOW(where), keys.bytes == NULL ? "" : keys.bytes);
done:
    ds_text_release(&keys);
    return status;
}

static ds_status choose(ds_value *state, const places *all, const char *where) {
    likelihood best = NOT_A_STATE;
    size_t equal = 0;
    for (size_t i = 0; i < all->count; i++) {
        const place *item = &all->items[i];
        if (item->likelihood > best) equal = 0;
        if (item->likelihood < best || item->likelihood == NOT_A_STATE) continue;
        best = item->likelihood;
        *state = item->dict;
        equal++;
    }
    if (best == NOT_A_STATE) return refuse_none(all->pickle, where);
    return equal == 1 ? DS_OK : refuse_several(all, best, where);
}

static ds_status find_wanted(ds_value *state, const places *all, const char *wanted, const char *where) {
    ds_status status = DS_OK;
    ds_text way = {0};
    for (size_t i = 0; i < all->count; i++) {
        way.length = 0;
        DS_TRY(append_way(&way, all, i));
        if (way.length != strlen(wanted) || memcmp(way.bytes == NULL ? "" : way.bytes, wanted, way.length) != 0) continue;
        *state = all->items[i].dict;
        if (all->items[i].tensors > 0) goto done;
        status = ds_fail(DS_ERR_INPUT, "%s: the entry '%s' is not a state dict: it holds no tensors", DS_SHOW(where),
                         DS_SHOW(wanted));
        goto done;
    }
    status = ds_fail(DS_ERR_INPUT, "%s: no entry '%s' that is a dict", DS_SHOW(where), DS_SHOW(wanted));
done:
    ds_text_release(&way);
    return status;
}

ds_status ds_torch_state(ds_value *state, const ds_pickle *pickle, const char *wanted, const char *where) {
    ds_status status = DS_OK;
    places all = {.pickle = pickle};
    ds_value root = ds_pickle_root(pickle), value;
    if (ds_value_kind_of(pickle, root) == DS_VALUE_OBJECT)
        return ds_fail(DS_ERR_INPUT,
                       "%s: not a state dict but a whole %s; load it in Python and save its state alone: "
                       "torch.save(model.state_dict(), \"weights.pt\")",
                       DS_SHOW(where), ds_value_describe(pickle, root));
    if (ds_value_kind_of(pickle, root) != DS_VALUE_DICT)
        return ds_fail(DS_ERR_INPUT, "%s: not a state dict but %s, expected a dict", DS_SHOW(where),
                       ds_value_describe(pickle, root));
    if (ds_value_find(&value, pickle, root, "model") && value == root)
        return ds_fail(DS_ERR_INPUT, "%s: not a state dict: cyclic value, 'model' is the dict it stands in", DS_SHOW(where));
    DS_TRY(walk(&all));
    DS_TRY(wanted != NULL ? find_wanted(state, &all, wanted, where) : choose(state, &all, where));
done:
    free(all.visited);
    free(all.items);
    return status;
}

/* ---- configurations ---------------------------------------------------------------------------------------------- */

enum { CONFIG_DEPTH = 8, CONFIG_VALUES = 10000 };

static json_t *to_json(const ds_pickle *pickle, ds_value value, size_t depth, size_t *budget);

/* In the place of what a setting cannot be. */
static json_t *foreign(const ds_pickle *pickle, ds_value value) {
    return json_pack("{ss}", "class", ds_value_describe(pickle, value));
}

static json_t *object_of(const ds_pickle *pickle, ds_value dict, size_t depth, size_t *budget) {
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && *budget > 0 && i < ds_value_count(pickle, dict); i++) {
        const char *key;
        size_t length;
        --*budget;
        if (!ds_value_string(&key, &length, pickle, ds_value_key(pickle, dict, i))) continue;
        if (memchr(key, '\0', length) != NULL) continue;
        if (json_object_setn_new(object, key, length, to_json(pickle, ds_value_at(pickle, dict, i), depth, budget)) == 0)
            continue;
        json_decref(object);
        object = NULL;
    }
    return object;
}

static json_t *array_of(const ds_pickle *pickle, ds_value list, size_t depth, size_t *budget) {
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && *budget > 0 && i < ds_value_count(pickle, list); i++) {
        --*budget;
        if (json_array_append_new(array, to_json(pickle, ds_value_item(pickle, list, i), depth, budget)) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

/* From an object to the dict of its attributes, or to what OmegaConf's containers and values keep in one of them. */
static bool step_into(ds_value *value, const ds_pickle *pickle) {
    ds_value attributes;
    if (!ds_value_attributes(&attributes, pickle, *value)) return false;
    if (!ds_value_find(value, pickle, attributes, "_content") && !ds_value_find(value, pickle, attributes, "_val"))
        *value = attributes;
    return true;
}

/* NULL when out of memory. A budget that is used up is for the caller to see: something is missing. */
static json_t *to_json(const ds_pickle *pickle, ds_value value, size_t depth, size_t *budget) {
    const char *text;
    size_t length;
    int64_t integer;
    double real;
    bool flag;
    ds_value_kind kind = ds_value_kind_of(pickle, value);
    if (depth == 0) return foreign(pickle, value);
    if (kind == DS_VALUE_NONE) return json_null();
    if (ds_value_bool(&flag, pickle, value)) return json_boolean(flag);
    if (ds_value_int(&integer, pickle, value)) return json_integer(integer);
    if (ds_value_string(&text, &length, pickle, value)) return json_stringn(text, length);
    if (ds_value_real(&real, pickle, value)) return isfinite(real) ? json_real(real) : foreign(pickle, value);
    if (kind == DS_VALUE_DICT) return object_of(pickle, value, depth - 1, budget);
    if (kind == DS_VALUE_LIST || kind == DS_VALUE_TUPLE) return array_of(pickle, value, depth - 1, budget);
    if (step_into(&value, pickle)) return to_json(pickle, value, depth - 1, budget);
    return foreign(pickle, value);
}

/* What one key of a dict, or of an object's attributes, leads to. */
static bool step(ds_value *value, const ds_pickle *pickle, const char *key) {
    (void)step_into(value, pickle);
    return ds_value_find(value, pickle, *value, key);
}

ds_status ds_torch_configurations(json_t **entries, const ds_pickle *pickle) {
    static const char *const ways[][2] = {{"model_args", NULL},       {"model_config", NULL}, {"config", "model"},
                                          {"config", NULL},           {"cfg", "model"},       {"cfg", NULL},
                                          {"hyper_parameters", NULL}, {"hparams", NULL},      {"args", NULL}};
    ds_status status = DS_OK;
    *entries = json_object();
    for (size_t i = 0; *entries != NULL && i < sizeof ways / sizeof ways[0]; i++) {
        ds_value value = ds_pickle_root(pickle);
        size_t budget = CONFIG_VALUES;
        char way[64];
        if (!step(&value, pickle, ways[i][0]) || (ways[i][1] != NULL && !step(&value, pickle, ways[i][1]))) continue;
        (void)step_into(&value, pickle);
        if (ds_value_kind_of(pickle, value) != DS_VALUE_DICT) continue;
        json_t *entry = to_json(pickle, value, CONFIG_DEPTH, &budget);
        bool whole = budget > 0 || entry == NULL;
        (void)snprintf(way, sizeof way, "%s%s%s", ways[i][0], ways[i][1] == NULL ? "" : ".",
                       ways[i][1] == NULL ? "" : ways[i][1]);
        if (whole && json_object_set(*entries, way, entry) != 0) {
            json_decref(*entries);
            *entries = NULL;
        }
        json_decref(entry);
    }
    if (*entries == NULL) status = ds_fail(DS_ERR_SYSTEM, "out of memory for a checkpoint's configuration");
    return status;
}
