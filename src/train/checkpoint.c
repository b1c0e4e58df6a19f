/* checkpoint-N: configuration, weights, moments, and last the state that makes it complete. */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/num.h"
#include "history.h"

static const char folder_prefix[] = "checkpoint-";
static const char *const files[] = {"trainer_state.json", "config.json", "model.safetensors", "optimizer.safetensors"};
enum { STATE, CONFIG, WEIGHTS, MOMENTS, FILES };

typedef struct place {
    char path[96];
} place;

static place place_of(uint64_t step, int file) {
    place at;
    (void)snprintf(at.path, sizeof at.path, "%s%llu/%s", folder_prefix, (unsigned long long)step, files[file]);
    return at;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static ds_status write_tensors(const ds_folder *folder, place at, const ds_tensor_write *tensors, size_t count) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    DS_TRY(ds_outfile_open_in(&file, folder, at.path));
    DS_TRY(ds_safetensors_write_to(ds_outfile_stream(file), tensors, count));
    DS_TRY(ds_outfile_commit(&file));
done:
    ds_outfile_discard(&file);
    return status;
}

static ds_tensor_write tensor_of(const ds_trainer *t, const ds_parameter *p, const char *name, const void *values) {
    return (ds_tensor_write){name, ds_model_precision(t->run.model), p->rank, p->shape, values};
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ds_tensor_write *)a)->name, ((const ds_tensor_write *)b)->name);
}

/* In bytewise order of their names. */
static ds_status write_weights(const ds_trainer *t, const ds_folder *folder) {
    ds_status status = DS_OK;
    const ds_model *model = t->run.model;
    size_t count = 0;
    ds_tensor_write *tensors = NULL;
    DS_NEW(tensors, ds_model_parameters(model) + t->other_count + 1);
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        tensors[count++] = tensor_of(t, p, p->name, p->values);
        if (i == 0 && t->stores_head) tensors[count++] = tensor_of(t, p, "lm_head.weight", p->values);
    }
    for (size_t i = 0; i < t->other_count; i++) tensors[count++] = t->others[i];
    qsort(tensors, count, sizeof *tensors, by_name);
    DS_TRY(write_tensors(folder, place_of(t->step, WEIGHTS), tensors, count));
done:
    free(tensors);
    return status;
}

typedef struct moment_name {
    char text[96];
} moment_name;

static moment_name name_of(const char *moment, const ds_parameter *p) {
    moment_name name;
    (void)snprintf(name.text, sizeof name.text, "%s.%s", moment, p->name);
    return name;
}

static ds_status write_moments(const ds_trainer *t, const ds_folder *folder) {
    static const size_t one[] = {1};
    ds_status status = DS_OK;
    const ds_model *model = t->run.model;
    const ds_optimiser *o = &t->optimiser;
    const double step = (double)t->step;
    size_t count = 0;
    ds_tensor_write *tensors = NULL;
    moment_name *names = NULL;
    DS_NEW(tensors, 2 * ds_model_parameters(model) + 1);
    DS_NEW(names, 2 * ds_model_parameters(model));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        if (!o->reached[i]) continue;
        names[count] = name_of("exp_avg", p);
        tensors[count] = tensor_of(t, p, names[count].text, o->mean[i]);
        names[count + 1] = name_of("exp_avg_sq", p);
        tensors[count + 1] = tensor_of(t, p, names[count + 1].text, o->square[i]);
        count += 2;
    }
    tensors[count++] = (ds_tensor_write){"step", DS_F64, 1, one, &step};
    qsort(tensors, count, sizeof *tensors, by_name);
    DS_TRY(write_tensors(folder, place_of(t->step, MOMENTS), tensors, count));
done:
    free(tensors);
    free(names);
    return status;
}

ds_status ds_checkpoint_config_for(json_t **out, const json_t *config, const ds_spec *spec) {
    ds_status status = DS_OK;
    json_t *own = ds_json_copy(config);
    *out = NULL;
    if (own == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for a configuration");
    DS_TRY(ds_spec_put_rule(own, spec));
    *out = own;
    own = NULL;
done:
    json_decref(own);
    return status;
}

static ds_status write_config(const ds_trainer *t, const ds_folder *folder) {
    ds_status status = DS_OK;
    json_t *config = NULL;
    DS_TRY(ds_checkpoint_config_for(&config, ds_checkpoint_config(t->run.checkpoint), &t->run.spec));
    DS_TRY(ds_json_write_in(folder, place_of(t->step, CONFIG).path, config, DS_JSON_READABLE));
done:
    json_decref(config);
    return status;
}

ds_status ds_checkpoint_save(const ds_trainer *t, const ds_folder *folder, const ds_checkpoint_tale *tale) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    json_t *state = NULL;
    const ds_recipe *recipe = &t->recipe;
    DS_TRY(write_config(t, folder));
    DS_TRY(write_weights(t, folder));
    DS_TRY(write_moments(t, folder));
    ds_json_begin_object(&b, NULL);
    ds_json_put_count(&b, "global_step", t->step);
    ds_json_put_count(&b, "tokens", t->step * recipe->accumulation * recipe->batch * recipe->length);
    ds_history_put(&b, tale->steps, tale->evaluations, recipe->steps, tale->evaluate);
    if (tale->interrupted) ds_json_put_bool(&b, "interrupted", true);
    ds_json_put(&b, "run", ds_json_copy(tale->identity));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&state, &b));
    DS_TRY(ds_json_write_in(folder, place_of(t->step, STATE).path, state, DS_JSON_READABLE));
done:
    json_decref(state);
    return status;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static ds_status note_name(void *context, const char *name) {
    ds_status status = DS_OK;
    ds_checkpoint_list *list = context;
    const char *digits = name + strlen(folder_prefix);
    void *storage = list->steps;
    if (strncmp(name, folder_prefix, strlen(folder_prefix)) != 0) return DS_OK;
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0' || strlen(digits) > 16) return DS_OK;
    DS_TRY(ds_grow(&storage, &list->capacity, list->count + 1, sizeof *list->steps));
    list->steps = storage;
    list->steps[list->count++] = strtoull(digits, NULL, 10);
done:
    return status;
}

static int by_step(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

ds_status ds_checkpoint_find_all(ds_checkpoint_list *list, const ds_folder *folder) {
    ds_status status = DS_OK;
    *list = (ds_checkpoint_list){.steps = NULL};
    DS_TRY(ds_folder_each(folder, note_name, list));
    if (list->count > 0) qsort(list->steps, list->count, sizeof *list->steps, by_step);
done:
    return status;
}

void ds_checkpoint_list_release(ds_checkpoint_list *list) {
    free(list->steps);
    *list = (ds_checkpoint_list){.steps = NULL};
}

ds_status ds_checkpoint_state(json_t **state, const ds_folder *folder, uint64_t step) {
    ds_status status = DS_OK;
    place at = place_of(step, STATE);
    char *bytes = NULL;
    size_t length;
    *state = NULL;
    int descriptor = ds_folder_find(folder, at.path, O_RDONLY);
    if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR)) return DS_OK;
    if (descriptor >= 0) (void)close(descriptor);
    DS_TRY(ds_read_file_in(&bytes, &length, folder, at.path, DS_STATE_BYTES));
    DS_TRY(ds_json_parse(state, bytes, length, at.path));
done:
    free(bytes);
    return status;
}

/* First what makes it complete. */
ds_status ds_checkpoint_remove(const ds_folder *folder, uint64_t step) {
    ds_status status = DS_OK;
    place at;
    for (int i = 0; i < FILES; i++) {
        at = place_of(step, i);
        DS_TRY(ds_folder_remove(folder, at.path));
    }
    *strrchr(at.path, '/') = '\0';
    if (ds_folder_remove(folder, at.path) != DS_OK) ds_error_clear(); /* it holds something of somebody else's */
done:
    return status;
}

/* ---- restoring --------------------------------------------------------------------------------------------------- */

/* `values` (of parameter p) <- tensor `name`. */
static ds_status plan_read(ds_tensor_read *read, const ds_checkpoint *checkpoint, const ds_parameter *p, const char *name,
                           void *values, ds_precision precision) {
    const ds_tensor *tensor = ds_checkpoint_find(checkpoint, name);
    if (tensor == NULL || tensor->count != p->count)
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s is %s, expected %zu numbers as this run saved them",
                       DS_SHOW(ds_checkpoint_path(checkpoint)), DS_SHOW(name), tensor == NULL ? "missing" : "of another size",
                       p->count);
    *read = (ds_tensor_read){.tensor = tensor, .precision = precision, .destination = values};
    return DS_OK;
}

static ds_status open_file(ds_checkpoint **out, const ds_folder *folder, uint64_t step, int file) {
    ds_status status = DS_OK;
    ds_text path = {0}, config = {0};
    DS_TRY(ds_folder_show(&path, folder, place_of(step, file).path));
    DS_TRY(ds_folder_show(&config, folder, place_of(step, CONFIG).path));
    DS_TRY(ds_checkpoint_open(out, path.bytes, config.bytes));
done:
    ds_text_release(&path);
    ds_text_release(&config);
    return status;
}

static ds_status restore_weights(ds_trainer *t, const ds_folder *folder, uint64_t step, ds_tensor_read *reads) {
    ds_status status = DS_OK;
    const ds_model *model = t->run.model;
    ds_checkpoint *checkpoint = NULL;
    DS_TRY(open_file(&checkpoint, folder, step, WEIGHTS));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        DS_TRY(plan_read(&reads[i], checkpoint, p, p->name, p->values, ds_model_precision(model)));
    }
    DS_TRY(ds_checkpoint_read(checkpoint, reads, ds_model_parameters(model)));
done:
    ds_checkpoint_close(&checkpoint);
    return status;
}

static ds_status restore_moments(ds_trainer *t, const ds_folder *folder, uint64_t step, ds_tensor_read *reads) {
    ds_status status = DS_OK;
    const ds_model *model = t->run.model;
    ds_optimiser *o = &t->optimiser;
    ds_checkpoint *checkpoint = NULL;
    size_t count = 0;
    DS_TRY(open_file(&checkpoint, folder, step, MOMENTS));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        if (!o->reached[i]) continue;
        DS_TRY(plan_read(&reads[count++], checkpoint, p, name_of("exp_avg", p).text, o->mean[i], ds_model_precision(model)));
        DS_TRY(
            plan_read(&reads[count++], checkpoint, p, name_of("exp_avg_sq", p).text, o->square[i], ds_model_precision(model)));
    }
    DS_TRY(ds_checkpoint_read(checkpoint, reads, count));
done:
    ds_checkpoint_close(&checkpoint);
    return status;
}

ds_status ds_checkpoint_restore(ds_trainer *t, const ds_folder *folder, uint64_t step) {
    ds_status status = DS_OK;
    ds_tensor_read *reads = NULL;
    DS_NEW(reads, 2 * ds_model_parameters(t->run.model));
    DS_TRY(restore_weights(t, folder, step, reads));
    DS_TRY(restore_moments(t, folder, step, reads));
    ds_model_refresh(t->run.model);
    t->step = step;
done:
    free(reads);
    return status;
}
