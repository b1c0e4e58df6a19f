#include "drawn_claims.h"

#include <string.h>

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "check: out of memory"); }

bool ds_sample_draws(const ds_sample *sample, const char *claim) {
    uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a, then SplitMix64, which spreads its bits */
    for (const char *at = claim; *at != '\0'; at++) hash = (hash ^ (unsigned char)*at) * 0x100000001b3U;
    ds_random seeded = ds_random_init(sample->seed);
    ds_random own = ds_random_init(hash ^ ds_random_u64(&seeded));
    return sample->share >= 1 || ds_random_uniform(&own) < sample->share;
}

ds_status ds_sample_draws_row(bool *drawn, const ds_sample *sample, const ds_command *command, const char *name) {
    ds_status status = DS_OK;
    ds_text claim = {0};
    *drawn = true;
    if (name == NULL) return DS_OK;
    DS_TRY(ds_text_printf(&claim, "%s/%s/%s", command->name, command->rows->list, name));
    *drawn = ds_sample_draws(sample, claim.bytes);
done:
    ds_text_release(&claim);
    return status;
}

ds_status ds_sample_rows(ds_text *names, size_t *count, const ds_sample *sample, const ds_command *command, const json_t *all) {
    ds_status status = DS_OK;
    *count = 0;
    DS_TRY(ds_text_printf(names, "%s", "")); /* none is an empty list */
    for (size_t i = 0; i < json_array_size(all); i++) {
        const char *name = json_string_value(json_array_get(all, i));
        bool drawn;
        DS_TRY(ds_sample_draws_row(&drawn, sample, command, name));
        if (!drawn) continue;
        DS_TRY(ds_text_printf(names, "%s%s", *count == 0 ? "" : ",", name));
        (*count)++;
    }
done:
    return status;
}

/* ---- cutting ----------------------------------------------------------------------------------------------------- */

static const char *name_of(const ds_command_rows *rows, const json_t *row) {
    return json_string_value(json_object_get(row, rows->key));
}

/* The first row from *next on that has the name; *next <- behind it. NULL: none has. */
static json_t *partner(const ds_command_rows *rows, const json_t *list, size_t *next, const char *name) {
    for (size_t i = *next; name != NULL && i < json_array_size(list); i++) {
        const char *found = name_of(rows, json_array_get(list, i));
        if (found == NULL || strcmp(found, name) != 0) continue;
        *next = i + 1;
        return json_array_get(list, i);
    }
    return NULL;
}

static ds_status append(json_t *list, json_t *value) {
    return json_array_append_new(list, value == NULL ? json_null() : json_incref(value)) == 0 ? DS_OK : out_of_memory();
}

static ds_status cut_rows(json_t *a, json_t *b, const ds_sample *sample, const ds_command *command, const json_t *claimed,
                          const json_t *measured) {
    const ds_command_rows *rows = command->rows;
    ds_status status = DS_OK;
    json_t *nothing = json_object(); /* has no leaf */
    size_t next = 0;
    bool drawn;
    if (nothing == NULL) return out_of_memory();
    for (size_t i = 0; i < json_array_size(claimed); i++) {
        json_t *row = json_array_get(claimed, i);
        DS_TRY(ds_sample_draws_row(&drawn, sample, command, name_of(rows, row)));
        DS_TRY(append(a, drawn ? row : nothing));
        DS_TRY(append(b, drawn ? partner(rows, measured, &next, name_of(rows, row)) : nothing));
    }
    for (size_t i = 0; i < json_array_size(measured); i++) { /* what is claimed nowhere */
        json_t *row = json_array_get(measured, i);
        size_t from = 0;
        DS_TRY(ds_sample_draws_row(&drawn, sample, command, name_of(rows, row)));
        if (drawn && partner(rows, claimed, &from, name_of(rows, row)) == NULL) DS_TRY(append(b, row));
    }
done:
    json_decref(nothing);
    return status;
}

/* *out <- the results with another list in the place of theirs; the list alone unless the rest was drawn. */
static ds_status replace(json_t **out, const ds_command_rows *rows, bool rest, const json_t *results, json_t *list) {
    *out = rest && json_is_object(results) ? ds_json_copy(results) : json_object();
    if (*out == NULL || list == NULL || json_object_set(*out, rows->list, list) != 0) return out_of_memory();
    return DS_OK;
}

ds_status ds_sample_cut(json_t **a, json_t **b, const ds_sample *sample, const ds_command *command, const json_t *claimed,
                        const json_t *measured) {
    ds_status status = DS_OK;
    const ds_command_rows *rows = command->rows;
    json_t *theirs = json_object_get(claimed, rows->list), *left = json_array(), *right = json_array();
    const json_t *ours = json_object_get(measured, rows->list);
    const bool rest = ds_sample_draws(sample, command->name);
    *a = *b = NULL;
    if (left == NULL || right == NULL) {
        status = out_of_memory();
        goto done;
    }
    DS_TRY(cut_rows(left, right, sample, command, theirs, ours));
    DS_TRY(replace(a, rows, rest, claimed, json_is_array(theirs) || theirs == NULL ? left : theirs));
    DS_TRY(replace(b, rows, rest, measured, right));
done:
    json_decref(left);
    json_decref(right);
    if (status != DS_OK) {
        json_decref(*a);
        json_decref(*b);
        *a = *b = NULL;
    }
    return status;
}
