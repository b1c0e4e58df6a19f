#include "study_claims.h"

#include <string.h>
#include <unistd.h>

#include "deltascope/study.h"

bool ds_is_study(const json_t *envelope) {
    const char *command = json_string_value(json_object_get(envelope, "command"));
    return command != NULL && strcmp(command, "study") == 0;
}

static ds_status compare_derived(ds_claim_view *view, const json_t *study, const char *path) {
    ds_status status = DS_OK;
    json_t *told = NULL, *derived = NULL;
    status = ds_study_derive(&told, &derived, study);
    if (status != DS_OK) return ds_fail_prefix(status, "%s", DS_SHOW(path));
    status = ds_claim_view_compare(view, "derived", "derived", "", told, derived, 0);
    json_decref(told);
    json_decref(derived);
    return status;
}

/* What keeps the runs from being read again is told, and decides nothing. */
static ds_status compare_runs(ds_claim_view *view, const json_t *study, const char *path) {
    ds_status status = DS_OK;
    json_t *told = NULL, *found = NULL;
    ds_folder *folder = NULL;
    if (access(path, F_OK) != 0)
        return ds_fail(DS_ERR_INPUT, "%s: there is no such folder: give the one that the study ran in", DS_SHOW(path));
    DS_TRY(ds_folder_open(&folder, path));
    status = ds_study_reread(&told, &found, study, folder);
    if (status == DS_ERR_INPUT) {
        status = ds_claim_view_obstacle(view, "training", ds_error_text(), true);
        ds_error_clear();
        goto done;
    }
    DS_TRY(status);
    DS_TRY(ds_claim_view_compare(view, "training", "study", "", told, found, 0));
done:
    ds_folder_close(&folder);
    json_decref(told);
    json_decref(found);
    return status;
}

ds_status ds_study_claims(ds_claim_view *view, const json_t *study, const char *path, const char *folder) {
    ds_status status = DS_OK;
    DS_TRY(compare_derived(view, study, path));
    if (folder != NULL)
        status = compare_runs(view, study, folder);
    else
        status = ds_claim_view_obstacle(view, "training", "not looked at: give the folder that the study ran in", true);
done:
    return status;
}
