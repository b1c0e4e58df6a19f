#include "deltascope/report.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

/* A study says what it is by itself: as an envelope, {"study": all of it}. */
static ds_status wrap_study(json_t **file) {
    const char *format = json_string_value(json_object_get(*file, "format"));
    if (format == NULL || strcmp(format, "study-1") != 0) return DS_OK;
    json_t *envelope = json_pack("{s:s, s:s, s:O}", "schema", "deltascope/1", "command", "study", "results", *file);
    if (envelope == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory");
    json_decref(*file);
    *file = envelope;
    return DS_OK;
}

ds_status ds_envelope_load(json_t **out, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    *out = NULL;
    DS_TRY(ds_read_file_in(&bytes, &length, folder, path, DS_RESULTS_MOST_BYTES));
    DS_TRY(ds_json_parse(out, bytes, length, path));
    DS_TRY(wrap_study(out));
    const char *schema = json_string_value(json_object_get(*out, "schema"));
    if (schema == NULL || strcmp(schema, "deltascope/1") != 0)
        status = ds_fail(DS_ERR_INPUT, "%s: key \"schema\" is %s, expected \"deltascope/1\"", DS_SHOW(path),
                         schema == NULL ? "missing" : DS_SHOW(schema));
done:
    if (status != DS_OK) {
        json_decref(*out);
        *out = NULL;
    }
    free(bytes);
    return status;
}

static const char *checkpoint_digest(const json_t *envelope) {
    const char *digest = json_string_value(json_object_get(json_object_get(envelope, "checkpoint"), "sha256"));
    return digest == NULL ? "" : digest;
}

ds_status ds_results_load(json_t **results, json_t **envelope, const char *const *paths, size_t count,
                          ds_status (*loaded)(const char *path, const json_t *envelope)) {
    ds_status status = DS_OK;
    json_t *next = NULL, *part = NULL;
    *envelope = NULL;
    *results = json_object();
    if (*results == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        DS_TRY(ds_envelope_load(&next, NULL, paths[i]));
        if (loaded != NULL) DS_TRY(loaded(paths[i], next));
        status = ds_figure_results(&part, next);
        if (status != DS_OK) {
            status = ds_fail_prefix(status, "%s", DS_SHOW(paths[i]));
            goto done;
        }
        if (json_object_update(*results, part) != 0) status = ds_fail(DS_ERR_SYSTEM, "out of memory");
        json_decref(part);
        if (*envelope == NULL) *envelope = json_incref(next);
        if (strcmp(checkpoint_digest(next), checkpoint_digest(*envelope)) != 0)
            status = ds_fail(DS_ERR_INPUT, "%s: measures another checkpoint than %s", DS_SHOW(paths[i]), DS_SHOW(paths[0]));
        if (status != DS_OK) goto done;
        json_decref(next);
        next = NULL;
    }
done:
    json_decref(next);
    if (status != DS_OK) {
        json_decref(*results);
        json_decref(*envelope);
        *results = *envelope = NULL;
    }
    return status;
}
