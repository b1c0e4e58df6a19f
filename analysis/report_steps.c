/* The measurements of a report: the commands that make them, run in this process. */
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "results.h"
#include "words.h"

typedef struct setting {
    const char *option, *value; /* NULL value: a flag */
} setting;

enum { MOST_SETTINGS = 3 };
typedef struct step {
    const char *name; /* of the file, and for --skip */
    const char *command;
    bool gates; /* only for checkpoints that have gates */
    bool dense; /* only for states small enough for a dense Jacobian; its token is filled in */
    setting settings[MOST_SETTINGS];
} step;

/* A later step of the same command adds to the results what the earlier one has not got. */
static const step steps[] = {
    {"inspect", "inspect", false, false, {{NULL, NULL}}},
    {"gates", "gates", false, false, {{NULL, NULL}}},
    {"spectrum", "spectrum", true, false, {{"positions", "all"}}},
    {"weights", "spectrum", false, false, {{"positions", "last"}, {"weights", NULL}}},
    {"ablate", "ablate", false, false, {{"modes", "closed"}}},
    {"controls",
     "ablate",
     true,
     false,
     {{"modes", "open,reflect,mean-gate,write-only,erase-only"}, {"scopes", "attn,mlp,all"}}},
    {"gradflow", "gradflow", false, false, {{NULL, NULL}}},
    {"jacobians", "gradflow", true, true, {{"jacobian", NULL}}},
    {"verify", "verify", false, false, {{NULL, NULL}}},
};
enum { STEPS = sizeof steps / sizeof *steps };

/* ---- running one ------------------------------------------------------------------------------------------------------------------ */

typedef struct assignment {
    void *own;
    const setting *setting;
    bool found;
} assignment;

static ds_status assign(void *context, const ds_option *option, bool common) {
    assignment *to = context;
    if (common || strcmp(option->name, to->setting->option) != 0) return DS_OK;
    char *place = (char *)to->own + option->offset;
    if (option->kind == DS_OPTION_FLAG)
        *(bool *)(void *)place = true;
    else
        *(const char **)(void *)place = to->setting->value;
    to->found = option->kind == DS_OPTION_FLAG || option->kind == DS_OPTION_TEXT || option->kind == DS_OPTION_CHOICE;
    return DS_OK;
}

static ds_status run_step(const step *what, const ds_invocation *invocation, const char *path) {
    ds_status status = DS_OK;
    const ds_command *command = ds_command_find(what->command);
    ds_invocation run = {.command = command,
                         .common = invocation->common,
                         .operands = invocation->operands,
                         .operand_count = invocation->operand_count};
    void *own = ds_calloc(ds_max_size(command->own_size, 1), 1);
    if (own == NULL) return DS_ERR_SYSTEM;
    if (command->own_size > 0) memcpy(own, command->defaults, command->own_size);
    for (size_t i = 0; i < MOST_SETTINGS && what->settings[i].option != NULL; i++) {
        assignment to = {own, &what->settings[i], false};
        DS_TRY(ds_command_each_option(command, assign, &to));
        if (!to.found) {
            status = ds_fail(DS_ERR_USAGE, "report: %s has no option --%s", what->command, what->settings[i].option);
            goto done;
        }
    }
    run.own = own;
    run.common.json = path;
    run.common.out = NULL;
    run.common.quiet = true;
    run.common.table = false;
    run.common.resume = false;
    status = command->run(&run);
    if (status == DS_CHECK_FAILED) status = DS_OK; /* the report tells which */
done:
    free(own);
    return status;
}

/* ---- what may be kept ------------------------------------------------------------------------------------------------------------- */

/* Every key of `expected` but "path" and "tokens" is the same in `found`. */
static bool same_source(const json_t *found, const json_t *expected) {
    const char *key;
    json_t *value;
    if (!json_is_object(found)) return json_is_null(found) && !json_is_object(expected);
    json_object_foreach((json_t *)(uintptr_t)expected, key, value) {
        if (strcmp(key, "path") != 0 && !json_equal(value, json_object_get(found, key))) return false;
    }
    return true;
}

static bool same_settings(const json_t *options, const step *what) {
    for (size_t i = 0; i < MOST_SETTINGS && what->settings[i].option != NULL; i++) {
        const json_t *found = json_object_get(options, what->settings[i].option);
        const char *value = what->settings[i].value;
        if (value == NULL ? !json_is_true(found) : !json_is_string(found) || strcmp(json_string_value(found), value) != 0)
            return false;
    }
    return true;
}

/* Whether the saved file is what the step would measure. One that cannot be read is measured anew. */
static bool may_keep(const char *path, const step *what, const json_t *expected, uint64_t seed) {
    json_t *saved = NULL;
    if (ds_envelope_load(&saved, path) != DS_OK) {
        ds_error_clear();
        return false;
    }
    const char *command = json_string_value(json_object_get(saved, "command"));
    const json_t *options = json_object_get(saved, "options"), *seeded = json_object_get(options, "seed");
    const json_t *data = json_object_get(saved, "data");
    bool keep = command != NULL && strcmp(command, what->command) == 0 &&
                json_equal(json_object_get(saved, "version"), json_object_get(expected, "version")) &&
                json_equal(json_object_get(saved, "precision"), json_object_get(expected, "precision")) &&
                same_source(json_object_get(saved, "checkpoint"), json_object_get(expected, "checkpoint")) &&
                (json_is_null(data) || same_source(data, json_object_get(expected, "data"))) && same_settings(options, what) &&
                (seeded == NULL || (uint64_t)json_integer_value(seeded) == seed);
    json_decref(saved);
    return keep;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------ */

static bool is_listed(const char *list, const char *name) {
    const char *word;
    size_t length;
    while (ds_next_word(&list, &word, &length)) {
        if (ds_is_word(name, word, length)) return true;
    }
    return false;
}

static ds_status check_skip(const char *skip) {
    const char *word;
    size_t length;
    while (ds_next_word(&skip, &word, &length)) {
        size_t i = 0;
        while (i < STEPS && !ds_is_word(steps[i].name, word, length)) i++;
        if (i == STEPS)
            return ds_fail(
                DS_ERR_USAGE,
                "--skip takes inspect, gates, spectrum, weights, ablate, controls, gradflow, jacobians, verify, not \"%s\"",
                ds_escape(word, length).text);
    }
    return DS_OK;
}

enum { MOST_DENSE = 512 }; /* values of a state: a Jacobian takes a backward pass of one token for each */

/* The step as this checkpoint needs it: dense Jacobians are taken at the last token of the first window. */
static bool prepare(step *what, char token[32], const json_t *envelope, const char *skip, bool gates) {
    const json_t *checkpoint = json_object_get(envelope, "checkpoint");
    json_int_t values = json_integer_value(json_object_get(checkpoint, "hidden")) *
                        json_integer_value(json_object_get(checkpoint, "value_channels"));
    if ((what->gates && !gates) || (what->dense && values > MOST_DENSE) || is_listed(skip, what->name)) return false;
    if (!what->dense) return true;
    (void)snprintf(token, 32, "0:%lld", (long long)json_integer_value(ds_result_at(envelope, "data/seq_len")) - 1);
    what->settings[0].value = token;
    return true;
}

/* Opens everything once, so that a wrong input is refused before long work, and tells what saved results must have come from. */
static ds_status make_envelope(json_t **envelope, bool *gates, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_session session;
    DS_TRY(ds_session_open(&session, invocation));
    *gates = session.spec.delta;
    status = ds_session_envelope(envelope, &session, NULL);
    ds_session_close(&session);
done:
    return status;
}

/* The cases of a second ablation join those of the first; otherwise what is already there stays. */
static ds_status join(json_t *results, const char *command, json_t *more) {
    json_t *before = json_object_get(results, command);
    int code;
    if (before == NULL)
        code = json_object_set(results, command, more);
    else if (json_is_array(json_object_get(before, "cases")))
        code = json_array_extend(json_object_get(before, "cases"), json_object_get(more, "cases"));
    else { /* figures draw the last token of every window, not as many as all positions list */
        if (json_object_get(more, "accumulated") != NULL) (void)json_object_del(before, "accumulated");
        code = json_object_update_missing(before, more);
    }
    return code == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "report: out of memory while results are put together");
}

static ds_status load_step(json_t *results, const step *what, const char *path) {
    ds_status status = DS_OK;
    json_t *saved = NULL;
    DS_TRY(ds_envelope_load(&saved, path));
    DS_TRY(join(results, what->command, json_object_get(saved, "results")));
done:
    json_decref(saved);
    return status;
}

ds_status ds_report_measure(json_t **results, json_t **envelope, const ds_invocation *invocation, const char *skip) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    ds_text path = {0};
    bool gates = false;
    ds_progress progress = ds_progress_start("report", STEPS, common->quiet);
    *envelope = NULL;
    *results = json_object();
    if (*results == NULL) return ds_fail(DS_ERR_SYSTEM, "report: out of memory");
    DS_TRY(check_skip(skip));
    DS_TRY(make_envelope(envelope, &gates, invocation));
    DS_TRY(ds_make_folder(common->out));
    DS_TRY(ds_text_printf(&path, "%s/results", common->out));
    DS_TRY(ds_make_folder(path.bytes));
    for (size_t i = 0; i < STEPS; i++) {
        step what = steps[i];
        char token[32];
        if (!prepare(&what, token, *envelope, skip, gates)) continue;
        progress.label = what.name;
        ds_progress_update(&progress, (double)i);
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "%s/results/%s.json", common->out, what.name));
        if (!common->resume || !may_keep(path.bytes, &what, *envelope, common->seed.value))
            DS_TRY(run_step(&what, invocation, path.bytes));
        DS_TRY(load_step(*results, &what, path.bytes));
    }
done:
    ds_progress_finish(&progress);
    ds_text_release(&path);
    if (status != DS_OK) {
        json_decref(*results);
        json_decref(*envelope);
        *results = *envelope = NULL;
    }
    return status;
}
