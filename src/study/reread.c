/* The runs of a study.json, read again from their folders: losses from logs, digests from files. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

typedef struct rereading {
    const json_t *study;
    const ds_folder *folder;
    uint64_t windows; /* of validation */
} rereading;

static uint64_t count_at(const json_t *value, const char *path) {
    const json_int_t count = json_integer_value(ds_json_at(value, path));
    return count > 0 ? (uint64_t)count : 0;
}

/* Updates at the end of a variant's runs: the plan's steps, or what a run that came to its end says a budget paid for. */
static uint64_t planned_updates(const json_t *study, const json_t *variant) {
    const json_t *run;
    size_t i;
    json_array_foreach(json_object_get(variant, "runs"), i, run) {
        const char *status = json_string_value(json_object_get(run, "status"));
        if (status != NULL && strcmp(status, "done") == 0) return count_at(run, "updates");
    }
    return count_at(study, "recipe/steps");
}

/* What the folder has of the weights that a run ended with. */
static ds_status put_weights(ds_json_builder *b, const ds_cell_result *run, const ds_folder *folder) {
    static const char *const keys[] = {"initial_sha256", "weights_sha256"};
    ds_status status = DS_OK;
    ds_text path = {0};
    char digits[65];
    const uint64_t steps[] = {0, count_at(run->done, "updates")};
    const char *ended = json_string_value(json_object_get(run->done, "status"));
    const size_t known = ended != NULL && strcmp(ended, "done") == 0 ? 2 : 1; /* a diverged run keeps an earlier checkpoint */
    for (size_t i = 0; i < known; i++) {
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "%s/checkpoint-%llu/model.safetensors", run->cell.folder, (unsigned long long)steps[i]));
        DS_TRY(ds_sha256_file(digits, folder, path.bytes, UINT64_MAX));
        ds_json_put_text(b, keys[i], digits);
    }
done:
    ds_text_release(&path);
    return status;
}

static ds_status reread_run(ds_json_builder *b, ds_json_builder *curve, const rereading *all, const char *variant,
                            const json_t *told, uint64_t planned, size_t points) {
    ds_status status = DS_OK;
    const char *said = json_string_value(json_object_get(told, "status"));
    ds_cell_result run = {.cell = {.seed = {count_at(told, "seed/init"), count_at(told, "seed/data")}}};
    ds_json_begin_object(b, NULL);
    if (said == NULL || strcmp(said, "stopped") == 0) goto done; /* it says nothing of this run */
    ds_cell_place(&run.cell, variant);
    DS_TRY(ds_cell_result_take(&run, planned, all->windows, all->folder));
    if (!run.finished) DS_TRY(ds_fail(DS_ERR_INPUT, "%s is not there, or not finished", run.cell.folder));
    ds_study_put_end(b, &run);
    DS_TRY(put_weights(b, &run, all->folder));
    ds_json_begin_array(curve, NULL);
    for (size_t i = 0; i < points; i++) ds_json_put_real(curve, NULL, run.diverged || i >= run.points ? NAN : run.losses[i]);
    ds_json_end(curve);
done:
    ds_json_end(b);
    ds_cell_result_release(&run);
    return status;
}

/* Both builders are in the object of all variants. */
static ds_status reread_variant(ds_json_builder *b, ds_json_builder *curves, const rereading *all, const char *name,
                                const json_t *variant) {
    ds_status status = DS_OK;
    const json_t *drawn = json_object_get(json_object_get(ds_json_at(all->study, "curves/tokens"), name), "x"), *run;
    const uint64_t planned = planned_updates(all->study, variant);
    size_t i;
    ds_json_begin_object(b, name);
    ds_json_begin_array(b, "runs");
    ds_json_begin_object(curves, name);
    ds_json_begin_array(curves, "seeds");
    json_array_foreach(json_object_get(variant, "runs"), i, run)
        DS_TRY(reread_run(b, curves, all, name, run, planned, json_array_size(drawn)));
    ds_json_end(curves);
    ds_json_end(curves);
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

ds_status ds_study_reread(json_t **told, json_t **found, const json_t *study, const ds_folder *folder) {
    ds_status status = DS_OK;
    const rereading all = {study, folder, count_at(study, "data/validation/windows")};
    json_t *variants = json_object_get(study, "variants"), *variant, *curves = NULL;
    const char *name;
    ds_json_builder b = {0}, c = {0};
    *told = *found = NULL;
    ds_json_begin_object(&b, NULL);
    ds_json_begin_object(&c, NULL);
    ds_json_begin_object(&c, "tokens");
    ds_json_begin_object(&b, "variants");
    json_object_foreach(variants, name, variant) DS_TRY(reread_variant(&b, &c, &all, name, variant));
    ds_json_end(&b);
    ds_json_end(&c);
    ds_json_end(&c);
    DS_TRY(ds_json_finish(&curves, &c));
    ds_json_put(&b, "curves", json_incref(curves));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(found, &b));
    DS_TRY(ds_study_select(told, study, *found));
done:
    ds_json_discard(&b);
    ds_json_discard(&c);
    json_decref(curves);
    if (status != DS_OK) {
        json_decref(*found);
        *found = NULL;
    }
    return status;
}
