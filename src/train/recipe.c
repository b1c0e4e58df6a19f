/* A recipe as JSON: one table of keys for reading, checking and writing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/train.h"

typedef enum key_kind { COUNT, NUMBER, WORD, RULE } key_kind;

/* One key, where its value goes and what it may be. Bounds are inclusive. */
typedef struct recipe_key {
    const char *name;
    key_kind kind;
    size_t offset;
    double least, most;
    const char *words[3]; /* of a WORD, in the order of its enumeration; NULL after the last */
} recipe_key;

#define AT(member) offsetof(ds_recipe, member)
#define MANY 9007199254740991.0 /* 2^53 - 1: whole in a double */
#define POSITIVE 0x1p-1074
#define BELOW_ONE 0x1.fffffffffffffp-1
static const recipe_key keys[] = {
    {"rule", RULE, AT(rule), 0, 0, {NULL}},
    {"seq_len", COUNT, AT(length), 1, 1 << 24, {NULL}},
    {"batch", COUNT, AT(batch), 1, 1 << 24, {NULL}},
    {"accumulation", COUNT, AT(accumulation), 1, 1 << 20, {NULL}},
    {"steps", COUNT, AT(steps), 1, MANY, {NULL}},
    {"order", WORD, AT(order), 0, 0, {"consecutive", "splitmix64"}},
    {"data_seed", COUNT, AT(data_seed), 0, 0x1p63, {NULL}},
    {"learning_rate", NUMBER, AT(learning_rate), 0, HUGE_VAL, {NULL}},
    {"min_learning_rate", NUMBER, AT(min_learning_rate), 0, HUGE_VAL, {NULL}},
    {"warmup_steps", COUNT, AT(warmup_steps), 0, MANY, {NULL}},
    {"decay_steps", COUNT, AT(decay_steps), 0, MANY, {NULL}},
    {"warmup", WORD, AT(warmup), 0, 0, {"t/w", "(t+1)/(w+1)"}},
    {"beta1", NUMBER, AT(beta1), 0, BELOW_ONE, {NULL}},
    {"beta2", NUMBER, AT(beta2), 0, BELOW_ONE, {NULL}},
    {"eps", NUMBER, AT(eps), POSITIVE, HUGE_VAL, {NULL}},
    {"weight_decay", NUMBER, AT(weight_decay), 0, HUGE_VAL, {NULL}},
    {"decay", WORD, AT(decay), 0, 0, {"rank2", "not-norm", "all"}},
    {"clip", NUMBER, AT(clip), 0, HUGE_VAL, {NULL}},
    {"hidden_lr_multiplier", NUMBER, AT(hidden_lr_multiplier), 0, HUGE_VAL, {NULL}},
    {"embedding_lr_multiplier", NUMBER, AT(embedding_lr_multiplier), 0, HUGE_VAL, {NULL}},
    {"val_windows", COUNT, AT(val_windows), 1, 1 << 24, {NULL}},
};
enum { KEYS = sizeof keys / sizeof *keys, MOST_WORDS = sizeof keys[0].words / sizeof *keys[0].words };

static const recipe_key *find_key(const char *name, size_t length) {
    for (size_t i = 0; i < KEYS; i++) {
        if (strlen(keys[i].name) == length && memcmp(keys[i].name, name, length) == 0) return &keys[i];
    }
    return NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* `found` as the file has it, `expected` a phrase. */
static ds_status refuse(const recipe_key *key, const json_t *value, const char *expected, const char *where) {
    char *found = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    ds_status status = ds_fail(DS_ERR_INPUT, "%s: %s is %s, expected %s", DS_SHOW(where), key->name,
                               found == NULL ? "unreadable" : DS_SHOW(found), expected);
    free(found);
    return status;
}

static ds_status read_count(uint64_t *out, const recipe_key *key, const json_t *value, const char *where) {
    char expected[96];
    json_int_t number = json_integer_value(value);
    if (key->most > MANY)
        (void)snprintf(expected, sizeof expected, "a whole number that is not negative");
    else
        (void)snprintf(expected, sizeof expected, "a whole number from %.0f to %.0f", key->least, key->most);
    if (!json_is_integer(value) || number < (json_int_t)key->least || (double)number > key->most)
        return refuse(key, value, expected, where);
    *out = (uint64_t)number;
    return DS_OK;
}

static ds_status read_number(double *out, const recipe_key *key, const json_t *value, const char *where) {
    double number = json_number_value(value);
    const char *expected = key->most < 1    ? "a number of at least 0 and below 1"
                           : key->least > 0 ? "a number greater than 0"
                                            : "a number that is not negative";
    if (!json_is_number(value) || !(number >= key->least && number <= key->most) || !isfinite(number))
        return refuse(key, value, expected, where);
    *out = number;
    return DS_OK;
}

static ds_status read_word(unsigned *out, const recipe_key *key, const json_t *value, const char *where) {
    char expected[96] = "";
    for (unsigned i = 0; i < MOST_WORDS && key->words[i] != NULL; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), key->words[i]) == 0) {
            *out = i;
            return DS_OK;
        }
        size_t length = strlen(expected);
        (void)snprintf(expected + length, sizeof expected - length, "%s\"%s\"", i == 0 ? "" : " or ", key->words[i]);
    }
    return refuse(key, value, expected, where);
}

static ds_status read_rule(char *out, const recipe_key *key, const json_t *value, const char *where) {
    const char *name = json_string_value(value);
    if (name == NULL || strlen(name) >= sizeof((ds_recipe *)0)->rule)
        return refuse(key, value, "the name of a rule, \"delta\" for the model's own", where);
    (void)snprintf(out, sizeof((ds_recipe *)0)->rule, "%s", name);
    return DS_OK;
}

static ds_status read_key(ds_recipe *recipe, const recipe_key *key, const json_t *value, const char *where) {
    void *target = (char *)recipe + key->offset;
    unsigned word = 0;
    ds_status status = DS_OK;
    if (value == NULL)
        return ds_fail(DS_ERR_INPUT, "%s: the key \"%s\" is missing: a recipe names every number of a run", DS_SHOW(where),
                       key->name);
    switch (key->kind) {
    case COUNT:
        return read_count(target, key, value, where);
    case NUMBER:
        return read_number(target, key, value, where);
    case RULE:
        return read_rule(target, key, value, where);
    case WORD:
        DS_TRY(read_word(&word, key, value, where));
        memcpy(target, &word, sizeof word);
        break;
    }
done:
    return status;
}
_Static_assert(sizeof(ds_decay) == sizeof(unsigned) && sizeof(ds_warmup) == sizeof(unsigned) &&
                   sizeof(ds_window_order) == sizeof(unsigned),
               "words are stored by their number");

/* What each key alone does not say. */
static ds_status check_together(const ds_recipe *recipe, const char *where) {
    char high[32], low[32];
    if (recipe->warmup_steps > recipe->decay_steps)
        return ds_fail(DS_ERR_INPUT, "%s: warmup_steps is %llu and decay_steps %llu: the warm-up ends after the decay",
                       DS_SHOW(where), (unsigned long long)recipe->warmup_steps, (unsigned long long)recipe->decay_steps);
    if (recipe->min_learning_rate > recipe->learning_rate)
        return ds_fail(DS_ERR_INPUT, "%s: min_learning_rate is %s, above learning_rate, %s", DS_SHOW(where),
                       ds_format_real(low, recipe->min_learning_rate), ds_format_real(high, recipe->learning_rate));
    if (recipe->batch * recipe->length > (uint64_t)1 << 28)
        return ds_fail(DS_ERR_INPUT, "%s: batch %llu of windows of seq_len %llu are more than 2^28 tokens", DS_SHOW(where),
                       (unsigned long long)recipe->batch, (unsigned long long)recipe->length);
    return DS_OK;
}

ds_status ds_recipe_parse(ds_recipe *recipe, const json_t *object, const char *where) {
    ds_status status = DS_OK;
    *recipe = (ds_recipe){.length = 0};
    if (!json_is_object(object)) return ds_fail(DS_ERR_INPUT, "%s: expected a JSON object, the recipe", DS_SHOW(where));
    for (void *at = json_object_iter((json_t *)(uintptr_t)object); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        const char *name = json_object_iter_key(at);
        if (find_key(name, strlen(name)) == NULL)
            return ds_fail(DS_ERR_INPUT, "%s: \"%s\" is no key of a recipe", DS_SHOW(where), DS_SHOW(name));
    }
    for (size_t i = 0; i < KEYS; i++) DS_TRY(read_key(recipe, &keys[i], json_object_get(object, keys[i].name), where));
    DS_TRY(check_together(recipe, where));
done:
    return status;
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

/* "KEY=VALUE": the value as JSON, or the word itself where the key takes one. */
static ds_status apply(json_t *object, const char *setting) {
    ds_status status = DS_OK;
    size_t length = strcspn(setting, "=");
    const recipe_key *key = find_key(setting, length);
    const char *text = setting + length + 1;
    json_t *value = NULL;
    if (setting[length] == '\0' || key == NULL)
        return ds_fail(DS_ERR_USAGE, "--set %s: expected KEY=VALUE with a key of the recipe", DS_SHOW(setting));
    if (key->kind == WORD || key->kind == RULE)
        value = json_string(text);
    else if (ds_json_parse(&value, text, strlen(text), "--set") != DS_OK)
        return ds_fail(DS_ERR_USAGE, "--set %s: expected a number", DS_SHOW(setting));
    if (json_object_set_new(object, key->name, value) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "--set %s: out of memory", DS_SHOW(setting));
    return status;
}

ds_status ds_recipe_read(ds_recipe *recipe, const char *path, const char *const *settings, size_t count) {
    const uint64_t most = 1 << 20;
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    json_t *object = NULL;
    DS_TRY(ds_read_file(&bytes, &length, path, most));
    DS_TRY(ds_json_parse(&object, bytes, length, path));
    for (size_t i = 0; i < count && json_is_object(object); i++) DS_TRY(apply(object, settings[i]));
    DS_TRY(ds_recipe_parse(recipe, object, path));
done:
    json_decref(object);
    free(bytes);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

ds_status ds_recipe_json(json_t **out, const ds_recipe *recipe) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    for (size_t i = 0; i < KEYS; i++) {
        const char *name = keys[i].name;
        const void *value = (const char *)recipe + keys[i].offset;
        unsigned word;
        switch (keys[i].kind) {
        case COUNT:
            ds_json_put_count(&b, name, *(const uint64_t *)value);
            break;
        case NUMBER:
            ds_json_put_real(&b, name, *(const double *)value);
            break;
        case RULE:
            ds_json_put_text(&b, name, value);
            break;
        case WORD:
            memcpy(&word, value, sizeof word);
            ds_json_put_text(&b, name, keys[i].words[word]);
            break;
        }
    }
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}
