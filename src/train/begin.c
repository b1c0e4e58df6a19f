/* checkpoint-0 of a run from a configuration alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "history.h"

static const char state_file[] = "checkpoint-0/trainer_state.json";

static ds_status read_config(json_t **config, const char *path) {
    const uint64_t most = 4 << 20;
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, path, most));
    DS_TRY(ds_json_parse(config, bytes, length, path));
done:
    free(bytes);
    return status;
}

static ds_status read_spec(ds_spec *spec, json_t **config, const ds_beginning *beginning) {
    ds_status status = DS_OK;
    DS_TRY(read_config(config, beginning->config));
    DS_TRY(ds_spec_from_config(spec, *config, beginning->config, beginning->variant, beginning->which == DS_INIT_NEWER));
    DS_TRY(ds_control_parse(spec->trained, spec->rule, beginning->recipe->rule, "recipe: rule"));
done:
    return status;
}

ds_status ds_beginning_spec(ds_spec *spec, const ds_beginning *beginning) {
    json_t *config = NULL;
    ds_status status = read_spec(spec, &config, beginning);
    json_decref(config);
    return status;
}

static ds_status describe(json_t **start, const ds_beginning *beginning, const json_t *config) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "config", ds_json_copy(config));
    ds_json_put_text(&b, "variant", beginning->variant);
    ds_json_put_text(&b, "init", beginning->which == DS_INIT_OLDER ? "older" : "newer");
    ds_json_put_count(&b, "seed", beginning->seed);
    ds_json_put_text(&b, "precision", beginning->precision == DS_F64 ? "double" : "float");
    ds_json_put_text(&b, "rule", beginning->recipe->rule);
    if (beginning->nudged) ds_json_put_bool(&b, "nudged", true);
    ds_json_end(&b);
    return ds_json_finish(start, &b);
}

/* What checkpoint `step` was made from is something else. */
static ds_status refuse_other(const ds_folder *folder, uint64_t step, const json_t *theirs, const json_t *ours) {
    ds_status status = DS_OK;
    ds_text clause = {0};
    if (theirs == NULL)
        return ds_fail(DS_ERR_INPUT,
                       "%s/checkpoint-%llu is of a run that started from a checkpoint, this run starts from a configuration: "
                       "choose another folder",
                       DS_SHOW(ds_folder_path(folder)), (unsigned long long)step);
    DS_TRY(ds_training_difference(&clause, theirs, ours, "run"));
    status = ds_fail(DS_ERR_INPUT, "%s/checkpoint-%llu is of another run: of what it started from, %s; choose another folder",
                     DS_SHOW(ds_folder_path(folder)), (unsigned long long)step, clause.bytes);
done:
    ds_text_release(&clause);
    return status;
}

/* Whatever is complete there has to come from the same start. */
static ds_status check_states(bool *found, const ds_folder *folder, const ds_checkpoint_list *list, const json_t *start) {
    ds_status status = DS_OK;
    json_t *state = NULL;
    for (size_t i = 0; i < list->count; i++) {
        json_decref(state);
        DS_TRY(ds_checkpoint_state(&state, folder, list->steps[i]));
        if (state == NULL) continue;
        const json_t *run = json_object_get(state, "run"), *theirs = json_object_get(run != NULL ? run : state, "start");
        if (theirs == NULL || !json_equal(theirs, start)) DS_TRY(refuse_other(folder, list->steps[i], theirs, start));
        *found |= list->steps[i] == 0;
    }
done:
    json_decref(state);
    return status;
}

/* *found <- whether the initial weights lie there. */
static ds_status look(bool *found, const ds_folder *folder, const json_t *start, bool resume) {
    ds_status status = DS_OK;
    ds_checkpoint_list list = {.steps = NULL};
    *found = false;
    DS_TRY(ds_checkpoint_find_all(&list, folder));
    if (list.count > 0 && !resume) {
        status = ds_fail(DS_ERR_USAGE,
                         "%s holds a run already (checkpoint-%llu): --resume goes on with it, or choose another folder",
                         DS_SHOW(ds_folder_path(folder)), (unsigned long long)list.steps[list.count - 1]);
        goto done;
    }
    DS_TRY(check_states(found, folder, &list, start));
done:
    ds_checkpoint_list_release(&list);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ds_tensor_write *)a)->name, ((const ds_tensor_write *)b)->name);
}

static ds_status write_weights(const ds_folder *folder, const ds_model *model) {
    ds_status status = DS_OK;
    size_t count = ds_model_parameters(model);
    ds_outfile *file = NULL;
    ds_tensor_write *tensors = NULL;
    DS_NEW(tensors, count);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        tensors[i] = (ds_tensor_write){p->name, ds_model_precision(model), p->rank, p->shape, p->values};
    }
    qsort(tensors, count, sizeof *tensors, by_name);
    DS_TRY(ds_outfile_open_in(&file, folder, "checkpoint-0/model.safetensors"));
    DS_TRY(ds_safetensors_write_to(ds_outfile_stream(file), tensors, count));
    DS_TRY(ds_outfile_commit(&file));
done:
    ds_outfile_discard(&file);
    free(tensors);
    return status;
}

static ds_status write_state(const ds_folder *folder, json_t *start, uint64_t steps) {
    ds_status status = DS_OK;
    json_t *state = NULL;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_count(&b, "global_step", 0);
    ds_json_put_count(&b, "tokens", 0);
    ds_history_put(&b, NULL, NULL, steps, 0);
    ds_json_put(&b, "start", json_incref(start));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&state, &b));
    DS_TRY(ds_json_write_in(folder, state_file, state, DS_JSON_READABLE));
done:
    json_decref(state);
    return status;
}

/* Moves the first weight that is not 0 by one unit in the last place. */
static void nudge(const ds_model *model) {
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        for (size_t k = 0; k < p->count; k++) {
            double value = ds_real_at(p->values, ds_model_precision(model), k);
            if (value == 0) continue;
            if (ds_model_precision(model) == DS_F32)
                ((float *)p->values)[k] = nextafterf((float)value, INFINITY);
            else
                ((double *)p->values)[k] = nextafter(value, INFINITY);
            return;
        }
    }
}

static ds_status make(const ds_folder *folder, const ds_beginning *beginning, const ds_spec *spec, const json_t *config,
                      json_t *start) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    json_t *own = NULL;
    DS_TRY(ds_model_initial(&model, spec, beginning->precision, beginning->which, beginning->seed));
    if (beginning->nudged) nudge(model);
    DS_TRY(ds_checkpoint_config_for(&own, config, spec));
    DS_TRY(ds_json_write_in(folder, "checkpoint-0/config.json", own, DS_JSON_READABLE));
    DS_TRY(write_weights(folder, model));
    DS_TRY(write_state(folder, start, beginning->recipe->steps));
done:
    json_decref(own);
    ds_model_free(&model);
    return status;
}

static ds_status check_tokens(const char *path, uint64_t vocab, uint64_t needed) {
    ds_status status = DS_OK;
    ds_tokens *tokens = NULL;
    DS_TRY(ds_tokens_open(&tokens, path, vocab));
    if (ds_tokens_count(tokens) < needed)
        status = ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu, and the recipe needs %llu", DS_SHOW(path),
                         (unsigned long long)ds_tokens_count(tokens), (unsigned long long)needed);
done:
    ds_tokens_close(&tokens);
    return status;
}

ds_status ds_training_begin(ds_text *path, json_t **start, const ds_folder *folder, const ds_beginning *beginning,
                            bool resume) {
    ds_status status = DS_OK;
    ds_spec spec;
    json_t *config = NULL;
    bool found;
    *start = NULL;
    DS_TRY(read_spec(&spec, &config, beginning));
    DS_TRY(check_tokens(beginning->train, spec.vocab, beginning->recipe->length + 1));
    DS_TRY(check_tokens(beginning->val, spec.vocab, beginning->recipe->val_windows * beginning->recipe->length + 1));
    DS_TRY(describe(start, beginning, config));
    DS_TRY(look(&found, folder, *start, resume));
    if (!found) DS_TRY(make(folder, beginning, &spec, config, *start));
    DS_TRY(ds_folder_show(path, folder, "checkpoint-0"));
done:
    json_decref(config);
    return status;
}
