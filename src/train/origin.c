/* Which run a checkpoint comes from, by the trainer_state.json that lies with it: anybody's, also another trainer's. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/train.h"

/* *out <- the JSON of FOLDER/NAME; NULL where there is none that can be read. */
static ds_status read_beside(json_t **out, const char *folder, const char *name) {
    enum { MOST_BYTES = 1 << 26 };
    ds_status status = DS_OK;
    ds_text path = {0};
    char *bytes = NULL;
    size_t length;
    *out = NULL;
    DS_TRY(ds_text_printf(&path, "%s/%s", folder, name));
    if (ds_read_file(&bytes, &length, path.bytes, MOST_BYTES) != DS_OK ||
        ds_json_parse(out, bytes, length, path.bytes) != DS_OK)
        ds_error_clear();
done:
    free(bytes);
    ds_text_release(&path);
    return status;
}

static ds_status tell_progress(ds_text *text, const json_t *state) {
    ds_status status = DS_OK;
    const double done = ds_json_real_at(state, "global_step"), all = ds_json_real_at(state, "max_steps");
    const double tokens = ds_json_real_at(state, "tokens"), best = ds_json_real_at(state, "best_metric");
    const double best_step = ds_json_real_at(state, "best_global_step");
    DS_TRY(ds_text_printf(text, "It comes from a training run, by the trainer_state.json that lies with it: %.0f", done));
    if (all >= done) DS_TRY(ds_text_printf(text, " of %.0f", all));
    DS_TRY(ds_text_printf(text, " updates done"));
    if (tokens >= 0) DS_TRY(ds_text_printf(text, ", %.0f tokens", tokens));
    if (best == best && best_step >= 0)
        DS_TRY(ds_text_printf(text, "; the least validation loss until then is %.4f, after update %.0f", best, best_step));
    status = ds_text_printf(text, ".");
done:
    return status;
}

/* The recipe a state of ours has, and whether the recipe.json above is that one. */
static ds_status tell_recipe(ds_text *text, const json_t *state, const json_t *above) {
    ds_status status = DS_OK;
    const json_t *recipe = ds_json_at(state, "run/recipe");
    const char *rule = json_string_value(json_object_get(recipe, "rule"));
    const char *tokens = json_string_value(ds_json_at(state, "run/train_sha256"));
    if (rule == NULL) return DS_OK;
    DS_TRY(ds_text_printf(text, " Its recipe: rule \"%s\", learning rate %g, data seed %.0f", DS_SHOW(rule),
                          ds_json_real_at(recipe, "learning_rate"), ds_json_real_at(recipe, "data_seed")));
    if (tokens != NULL) DS_TRY(ds_text_printf(text, ", tokens of SHA-256 %s", DS_SHOW(tokens)));
    DS_TRY(ds_text_printf(text, "."));
    if (above != NULL)
        DS_TRY(ds_text_printf(text, " recipe.json in the folder above is %s.",
                              json_equal(above, recipe) ? "the same recipe" : "another recipe"));
done:
    return status;
}

ds_status ds_training_origin(ds_text *text, const char *checkpoint) {
    ds_status status = DS_OK;
    json_t *state = NULL, *recipe = NULL;
    ds_text folder = {0}, above = {0};
    const char *slash = strrchr(checkpoint, '/');
    DS_TRY(ds_text_printf(&folder, "%s", checkpoint));
    DS_TRY(read_beside(&state, folder.bytes, "trainer_state.json"));
    if (state == NULL) { /* a weight file: what lies with it */
        folder.length = 0;
        DS_TRY(
            ds_text_printf(&folder, "%.*s", slash == NULL ? 1 : (int)(slash - checkpoint), slash == NULL ? "." : checkpoint));
        DS_TRY(read_beside(&state, folder.bytes, "trainer_state.json"));
    }
    if (!json_is_integer(json_object_get(state, "global_step"))) goto done;
    DS_TRY(ds_text_printf(&above, "%s/..", folder.bytes));
    DS_TRY(read_beside(&recipe, above.bytes, "recipe.json"));
    DS_TRY(tell_progress(text, state));
    DS_TRY(tell_recipe(text, state, recipe));
done:
    json_decref(state);
    json_decref(recipe);
    ds_text_release(&folder);
    ds_text_release(&above);
    return status;
}
