/* A plan as a file: the keys of its outermost object, and what is true of all its parts together. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 4 << 20 };

/* ---- parts ------------------------------------------------------------------------------------------------------- */

ds_status ds_plan_refuse(const ds_plan_source *source, const char *key, const json_t *value, const char *expected) {
    ds_status status = DS_OK;
    ds_text found = {0};
    if (value == NULL)
        DS_TRY(ds_text_printf(&found, "missing"));
    else
        DS_TRY(ds_json_print(&found, value, DS_JSON_CANONICAL));
    status =
        ds_fail(DS_ERR_INPUT, "%s: %s is %s, expected %s", DS_SHOW(source->path), DS_SHOW(key), DS_SHOW(found.bytes), expected);
done:
    ds_text_release(&found);
    return status;
}

ds_status ds_plan_check_keys(const ds_plan_source *source, const json_t *object, const char *const *known, size_t count,
                             const char *what) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        ds_guess guess = {.word = key, .length = strlen(key)};
        bool found = false;
        for (size_t i = 0; i < count; i++) {
            found |= strcmp(known[i], key) == 0;
            ds_guess_offer(&guess, known[i], strlen(known[i]));
        }
        if (!found)
            return ds_fail(DS_ERR_INPUT, "%s: \"%s\" is no key of %s%s", DS_SHOW(source->path), DS_SHOW(key), DS_SHOW(what),
                           ds_guess_hint(&guess, "").text);
    }
    return DS_OK;
}

ds_status ds_plan_path(char **out, const ds_plan_source *source, const char *path) {
    ds_status status = DS_OK;
    ds_text text = {0};
    const char *slash = strrchr(source->path, '/');
    if (slash != NULL && path[0] != '/') DS_TRY(ds_text_append(&text, source->path, (size_t)(slash + 1 - source->path)));
    DS_TRY(ds_text_printf(&text, "%s", path));
    *out = text.bytes;
    text.bytes = NULL;
done:
    ds_text_release(&text);
    return status;
}

static ds_status read_json(json_t **value, char sha256[65], const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, path, MOST_BYTES));
    DS_TRY(ds_json_parse(value, bytes, length, path));
    if (sha256 != NULL) DS_TRY(ds_sha256(sha256, bytes, length));
done:
    free(bytes);
    return status;
}

ds_status ds_plan_object(json_t **value, bool *own, const ds_plan_source *source, const char *key, const json_t *member) {
    ds_status status = DS_OK;
    char *path = NULL;
    *own = json_is_string(member);
    *value = (json_t *)(uintptr_t)member;
    if (json_is_object(member)) return DS_OK;
    if (!*own) return ds_plan_refuse(source, key, member, "an object or the path of a file that holds one");
    *value = NULL;
    DS_TRY(ds_plan_path(&path, source, json_string_value(member)));
    DS_TRY(read_json(value, NULL, path));
    if (!json_is_object(*value)) status = ds_fail(DS_ERR_INPUT, "%s: expected a JSON object (%s)", DS_SHOW(path), DS_SHOW(key));
done:
    free(path);
    if (status != DS_OK) {
        json_decref(*value);
        *value = NULL;
    }
    return status;
}

size_t ds_plan_find_variant(const ds_plan *plan, const char *name) {
    for (size_t i = 0; i < plan->variant_count; i++) {
        if (strcmp(plan->variants[i].name, name) == 0) return i;
    }
    return SIZE_MAX;
}

/* ---- single values ----------------------------------------------------------------------------------------------- */

/* Keeps what is there when the key is not. */
static ds_status read_count(uint64_t *out, const ds_plan *plan, const ds_plan_source *source, const char *key, json_int_t least,
                            json_int_t most) {
    const json_t *value = json_object_get(plan->given, key);
    char expected[96];
    if (value == NULL) return DS_OK;
    (void)snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)least, (long long)most);
    if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most)
        return ds_plan_refuse(source, key, value, expected);
    *out = (uint64_t)json_integer_value(value);
    return DS_OK;
}

/* *second <- whether the word is the second of the two; the first is the default. */
static ds_status read_choice(bool *second, const ds_plan *plan, const ds_plan_source *source, const char *key,
                             const char *const words[2]) {
    const json_t *value = json_object_get(plan->given, key);
    const char *word = json_string_value(value);
    char expected[96];
    *second = false;
    if (value == NULL) return DS_OK;
    (void)snprintf(expected, sizeof expected, "\"%s\" or \"%s\"", words[0], words[1]);
    if (word == NULL || (strcmp(word, words[0]) != 0 && strcmp(word, words[1]) != 0))
        return ds_plan_refuse(source, key, value, expected);
    *second = strcmp(word, words[1]) == 0;
    return DS_OK;
}

static ds_status read_values(ds_plan *plan, const ds_plan_source *source) {
    ds_status status = DS_OK;
    const json_int_t many = (json_int_t)1 << 53, often = 10000;
    const json_t *name = json_object_get(plan->given, "name"), *margin = json_object_get(plan->given, "margin");
    const json_t *tuned_for = json_object_get(plan->given, "recipe_source");
    bool wide, newer;
    plan->name = json_string_value(name);
    if (plan->name == NULL) DS_TRY(ds_plan_refuse(source, "name", name, "a word for the study"));
    plan->recipe_source = json_string_value(tuned_for);
    if (tuned_for != NULL && plan->recipe_source == NULL)
        DS_TRY(ds_plan_refuse(source, "recipe_source", tuned_for, "words that say where the recipe is from, and for whom"));
    DS_TRY(read_choice(&wide, plan, source, "precision", (const char *const[]){"float", "double"}));
    DS_TRY(read_choice(&newer, plan, source, "init", (const char *const[]){"older", "newer"}));
    plan->precision = wide ? DS_F64 : DS_F32;
    plan->which = newer ? DS_INIT_NEWER : DS_INIT_OLDER;
    plan->evaluations = 20;
    plan->saves = 10;
    plan->order_seed = 1;
    plan->margin = DS_EQUIVALENCE_MARGIN;
    DS_TRY(read_count(&plan->evaluations, plan, source, "evaluations", 1, often));
    DS_TRY(read_count(&plan->saves, plan, source, "saves", 1, often));
    DS_TRY(read_count(&plan->order_seed, plan, source, "order_seed", 0, many));
    if (margin != NULL) plan->margin = json_is_number(margin) ? json_number_value(margin) : -1;
    if (!(plan->margin > 0)) DS_TRY(ds_plan_refuse(source, "margin", margin, "a number of nats above 0"));
done:
    return status;
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static ds_status look_at_tokens(char sha256[65], uint64_t *count, const char *path, const ds_plan *plan) {
    ds_status status = DS_OK;
    ds_tokens *tokens = NULL;
    const ds_study_variant *first = &plan->variants[0];
    DS_TRY(ds_tokens_open(&tokens, path, first->spec.vocab));
    (void)snprintf(sha256, 65, "%s", ds_tokens_sha256(tokens));
    *count = ds_tokens_count(tokens);
    if (*count <= first->recipe.length)
        status = ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu, but a window of seq_len %llu and its last target need %llu",
                         DS_SHOW(path), (unsigned long long)*count, (unsigned long long)first->recipe.length,
                         (unsigned long long)first->recipe.length + 1);
done:
    ds_tokens_close(&tokens);
    return status;
}

static ds_status read_data(ds_plan *plan, const ds_plan_source *source) {
    static const char *const keys[] = {"train", "val"};
    ds_status status = DS_OK;
    const json_t *data = json_object_get(plan->given, "data");
    char **paths[] = {&plan->train, &plan->val};
    if (!json_is_object(data)) DS_TRY(ds_plan_refuse(source, "data", data, "{\"train\": FILE, \"val\": FILE}"));
    DS_TRY(ds_plan_check_keys(source, data, keys, 2, "data"));
    for (size_t i = 0; i < 2; i++) {
        const json_t *path = json_object_get(data, keys[i]);
        if (!json_is_string(path))
            DS_TRY(ds_plan_refuse(source, i == 0 ? "data.train" : "data.val", path, "a file of token ids"));
        DS_TRY(ds_plan_path(paths[i], source, json_string_value(path)));
    }
    DS_TRY(look_at_tokens(plan->train_sha256, &plan->train_tokens, plan->train, plan));
    DS_TRY(look_at_tokens(plan->val_sha256, &plan->val_tokens, plan->val, plan));
    plan->common.val_windows = (plan->val_tokens - 1) / plan->common.length;
    for (size_t i = 0; i < plan->variant_count; i++) /* all of them, whatever the recipe says */
        plan->variants[i].recipe.val_windows = (plan->val_tokens - 1) / plan->variants[i].recipe.length;
done:
    return status;
}

/* ---- noise floor ------------------------------------------------------------------------------------------------- */

/* What nobody named depends on names and numbers, not on the order in which they are written. */
static void choose_noise(ds_plan *plan) {
    size_t chosen = 0;
    plan->has_noise_floor = true;
    plan->noise_seed = plan->seeds[0];
    for (size_t i = 1; i < plan->variant_count; i++) {
        if (strcmp(plan->variants[i].name, plan->variants[chosen].name) < 0) chosen = i;
    }
    plan->noise_variant = plan->primary == SIZE_MAX ? chosen : plan->contrasts[plan->primary].a;
}

static ds_status read_noise(ds_plan *plan, const ds_plan_source *source) {
    const json_t *noise = json_object_get(plan->given, "noise_floor");
    choose_noise(plan);
    if (noise == NULL) return DS_OK;
    if (json_is_false(noise)) {
        plan->has_noise_floor = false;
        return DS_OK;
    }
    size_t named = json_is_string(noise) ? ds_plan_find_variant(plan, json_string_value(noise)) : SIZE_MAX;
    if (named == SIZE_MAX) return ds_plan_refuse(source, "noise_floor", noise, "the name of a variant, or false for none");
    plan->noise_variant = named;
    return DS_OK;
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

ds_status ds_plan_read(ds_plan *plan, const char *path) {
    static const char *const keys[] = {"name",       "variants", "seeds",       "recipe", "data",        "contrasts",
                                       "primary",    "margin",   "evaluations", "saves",  "noise_floor", "precision",
                                       "order_seed", "init",     "budget",      "audit",  "sweep",       "match",
                                       "recipe_source"};
    ds_status status = DS_OK;
    const ds_plan_source source = {path};
    *plan = (ds_plan){.given = NULL};
    DS_TRY(read_json(&plan->given, plan->sha256, path));
    if (!json_is_object(plan->given)) DS_TRY(ds_fail(DS_ERR_INPUT, "%s: expected a JSON object, the plan", DS_SHOW(path)));
    DS_TRY(ds_plan_check_keys(&source, plan->given, keys, sizeof keys / sizeof *keys, "a plan"));
    DS_TRY(read_values(plan, &source));
    DS_TRY(ds_plan_read_seeds(plan, &source));
    DS_TRY(ds_plan_read_variants(plan, &source));
    DS_TRY(ds_plan_read_match(plan, &source));
    DS_TRY(ds_plan_read_sweep(plan, &source));
    DS_TRY(ds_plan_read_budget(plan, &source));
    DS_TRY(ds_plan_read_contrasts(plan, &source));
    DS_TRY(read_noise(plan, &source));
    DS_TRY(read_data(plan, &source));
    DS_TRY(ds_plan_read_audit(plan, &source));
done:
    if (status != DS_OK) ds_plan_release(plan);
    return status;
}

void ds_plan_release(ds_plan *plan) {
    for (size_t i = 0; i < plan->variant_count; i++) {
        if (plan->variants[i].config_is_own) json_decref(plan->variants[i].config);
    }
    free(plan->variants);
    free(plan->seeds);
    free(plan->sweep_seeds);
    free(plan->contrasts);
    free(plan->train);
    free(plan->val);
    json_decref(plan->given);
    *plan = (ds_plan){.given = NULL};
}
