/* The digests a report carries, and what they are of. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/claims.h"
#include "deltascope/io.h"

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "out of memory while a result's digest is computed"); }

/* ---- what is hashed ---------------------------------------------------------------------------------------------- */

/* Removes what tells how the run went, at any depth. */
static void strip(json_t *value) {
    static const char *const incidental[] = {"seconds", "threads", "ranks"};
    const char *key;
    json_t *item;
    size_t index;
    for (size_t i = 0; json_is_object(value) && i < sizeof incidental / sizeof *incidental; i++)
        (void)json_object_del(value, incidental[i]);
    json_object_foreach(value, key, item) strip(item);
    json_array_foreach(value, index, item) strip(item);
}

/* *out <- what a path leads to; NULL when some element does not have it. */
static ds_status follow(json_t **out, const json_t *value, const char *path) {
    ds_status status = DS_OK;
    const size_t length = strcspn(path, "/");
    const char *rest = path + length + (path[length] == '/');
    char key[64];
    json_t *part = NULL, *list = NULL;
    *out = NULL;
    if (*path == '\0') {
        *out = value == NULL ? NULL : json_incref((json_t *)(uintptr_t)value); /* counting is no change */
        return DS_OK;
    }
    if (strncmp(path, "*", length) != 0) {
        (void)snprintf(key, sizeof key, "%.*s", (int)length, path);
        value = json_object_get(value, key);
        return value == NULL ? DS_OK : follow(out, value, rest);
    }
    if (!json_is_array(value)) return DS_OK;
    list = json_array();
    for (size_t i = 0; i < json_array_size(value); i++) {
        DS_TRY(follow(&part, json_array_get(value, i), rest));
        if (part == NULL) goto done;
        if (json_array_append_new(list, part) != 0) {
            status = out_of_memory();
            goto done;
        }
    }
    *out = list == NULL ? NULL : json_incref(list);
    if (list == NULL) status = out_of_memory();
done:
    json_decref(list);
    return status;
}

/* A row's path in a file: "gates/loss" is at results/gates/loss of a report, "envelope/precision" at precision; a "**" is left
 * out. A study.json says at the top what others say under "results". */
static ds_status path_in_file(ds_text *out, const char *row) {
    static const char *const tops[] = {"envelope/", "study/"};
    size_t length = strlen(row);
    if (length > 3 && strcmp(row + length - 3, "/**") == 0) length -= 3;
    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++) {
        const size_t top = strlen(tops[i]);
        if (strncmp(row, tops[i], top) == 0) return ds_text_printf(out, "%.*s", (int)(length - top), row + top);
    }
    return ds_text_printf(out, "results/%.*s", (int)length, row);
}

/* *paths <- those of our own kernels' leaves that this file has; *chosen <- {path: what it leads to}. */
static ds_status choose_own(json_t **paths, json_t **chosen, const json_t *content) {
    ds_status status = DS_OK;
    ds_text path = {0};
    json_t *found = NULL;
    int code = 0;
    *paths = json_array();
    *chosen = json_object();
    if (*paths == NULL || *chosen == NULL) return out_of_memory();
    for (size_t i = 0; i < ds_leaf_count(); i++) {
        if (!ds_leaf_at(i)->own) continue;
        path.length = 0;
        DS_TRY(path_in_file(&path, ds_leaf_at(i)->path));
        DS_TRY(follow(&found, content, path.bytes));
        if (found == NULL) continue;
        code |= json_array_append_new(*paths, json_string(path.bytes));
        code |= json_object_set_new(*chosen, path.bytes, found);
    }
    if (code != 0) status = out_of_memory();
done:
    ds_text_release(&path);
    return status;
}

static ds_status digest_of(char digits[65], const json_t *value) {
    ds_status status = DS_OK;
    ds_text canonical = {0};
    DS_TRY(ds_json_print(&canonical, value, DS_JSON_CANONICAL));
    DS_TRY(ds_sha256(digits, canonical.bytes, canonical.length));
done:
    ds_text_release(&canonical);
    return status;
}

ds_status ds_digests_make(json_t **digests, const json_t *envelope) {
    ds_status status = DS_OK;
    json_t *content = ds_json_copy(envelope), *paths = NULL, *own = NULL;
    char all_digits[65], own_digits[65];
    *digests = NULL;
    if (content == NULL) return out_of_memory();
    (void)json_object_del(content, "digests");
    (void)json_object_del(content, "signature");
    strip(content);
    DS_TRY(choose_own(&paths, &own, content));
    DS_TRY(digest_of(all_digits, content));
    DS_TRY(digest_of(own_digits, own));
    *digests = json_pack("{s:s, s:s, s:O}", "all", all_digits, "own", own_digits, "own_paths", paths);
    if (*digests == NULL) status = out_of_memory();
done:
    json_decref(content);
    json_decref(paths);
    json_decref(own);
    return status;
}

/* ---- what a file states ------------------------------------------------------------------------------------------ */

ds_status ds_digests_check(json_t **told, bool *hold, const json_t *envelope) {
    static const char *const names[] = {"all", "own"};
    ds_status status = DS_OK;
    const json_t *stated = json_object_get(envelope, "digests");
    json_t *computed = NULL;
    ds_json_builder b = {0};
    *told = NULL;
    *hold = true;
    DS_TRY(ds_digests_make(&computed, envelope));
    ds_json_begin_object(&b, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *said = json_string_value(json_object_get(stated, names[i]));
        const char *made = json_string_value(json_object_get(computed, names[i]));
        bool holds = said != NULL && strcmp(said, made) == 0;
        if (strcmp(names[i], "own") == 0)
            holds = holds && json_equal(json_object_get(stated, "own_paths"), json_object_get(computed, "own_paths"));
        *hold = *hold && (holds || stated == NULL);
        ds_json_begin_object(&b, names[i]);
        ds_json_put_text(&b, "stated", said);
        ds_json_put_text(&b, "computed", made);
        ds_json_put(&b, "holds", stated == NULL ? json_null() : json_boolean(holds));
        ds_json_end(&b);
    }
    ds_json_end(&b);
    DS_TRY(ds_json_finish(told, &b));
done:
    json_decref(computed);
    return status;
}
