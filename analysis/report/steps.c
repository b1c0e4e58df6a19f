/* The measurements of a report: the commands that make them, run in this process. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress_line.h"
#include "commands/model_command.h"
#include "deltascope/base.h"
#include "deltascope/report.h"
#include "report/report.h"

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

/* ---- running one ------------------------------------------------------------------------------------------------- */

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

static ds_status run_step(const step *what, const ds_invocation *invocation, const char *folder) {
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
    run.common.json = NULL;
    run.common.out = folder;
    run.common.step = what->name;
    run.common.quiet = true;
    run.common.table = false;
    status = command->run(&run);
    if (status == DS_CHECK_FAILED) status = DS_OK; /* the report tells which */
done:
    free(own);
    return status;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

static const char record_kind[] = "step"; /* SHA-256 of the step's file, under the step's number */

/* *finished <- whether an earlier run has finished the step and its file is still what it was then. */
static ds_status is_finished(bool *finished, const ds_journal *journal, size_t number, const char *path) {
    ds_status status = DS_OK;
    char *recorded = NULL, found[65];
    size_t length;
    *finished = false;
    DS_TRY(ds_journal_find(&recorded, &length, journal, record_kind, number));
    if (recorded == NULL) goto done;
    if (ds_sha256_file(found, path, DS_RESULTS_MOST_BYTES) == DS_OK)
        *finished = strcmp(found, recorded) == 0;
    else
        ds_error_clear(); /* gone or unreadable: measured anew */
done:
    free(recorded);
    return status;
}

static ds_status keep_step(ds_journal *journal, size_t number, const char *path) {
    ds_status status = DS_OK;
    char digits[65];
    DS_TRY(ds_sha256_file(digits, path, DS_RESULTS_MOST_BYTES));
    DS_TRY(ds_journal_append(journal, record_kind, number, digits, strlen(digits)));
    DS_TRY(ds_journal_sync(journal));
done:
    return status;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

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
    (void)snprintf(token, 32, "0:%lld", (long long)json_integer_value(ds_json_at(envelope, "data/seq_len")) - 1);
    what->settings[0].value = token;
    return true;
}

/* Opens everything once, so that a wrong input, or the folder of another run, is refused before long work. */
static ds_status begin(json_t **envelope, ds_journal **journal, bool *gates, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run run = {0};
    json_t *options = NULL;
    DS_TRY(ds_command_open(&run, invocation));
    *gates = ds_rule_has_gates(run.spec.rule);
    DS_TRY(ds_command_journal(journal, invocation, &run));
    DS_TRY(ds_command_options(&options, invocation, &run));
    status = ds_run_envelope(envelope, &run, invocation->command->name, options, NULL);
done:
    json_decref(options);
    ds_run_close(&run);
    return status;
}

/* jansson's json_object_update_missing does not tell of keys it had no memory for. */
static int add_missing(json_t *object, json_t *more) {
    const char *key;
    json_t *value;
    int code = 0;
    json_object_foreach(more, key, value) {
        if (json_object_get(object, key) == NULL) code |= json_object_set(object, key, value);
    }
    return code;
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
        code = add_missing(before, more);
    }
    return code == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "report: out of memory while results are put together");
}

/* Measures the step unless it is finished, and adds what it says to the results. */
static ds_status make_step(json_t *results, ds_journal *journal, const step *what, size_t number,
                           const ds_invocation *invocation, const char *folder) {
    ds_status status = DS_OK;
    json_t *saved = NULL;
    ds_text path = {0};
    bool finished;
    DS_TRY(ds_text_printf(&path, "%s/%s.json", folder, what->name));
    DS_TRY(is_finished(&finished, journal, number, path.bytes));
    if (!finished) {
        DS_TRY(run_step(what, invocation, folder));
        DS_TRY(keep_step(journal, number, path.bytes));
    }
    DS_TRY(ds_envelope_load(&saved, path.bytes));
    DS_TRY(join(results, what->command, json_object_get(saved, "results")));
    path.length = 0;
    DS_TRY(ds_text_printf(&path, "%s/%s.journal", folder, what->name));
    (void)unlink(path.bytes); /* its pieces are in the result */
done:
    ds_text_release(&path);
    json_decref(saved);
    return status;
}

ds_status ds_report_measure(json_t **results, json_t **envelope, ds_manifest *files, const ds_invocation *invocation,
                            const char *skip) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    ds_journal *journal = NULL;
    ds_text folder = {0};
    bool gates = false;
    const ds_listener listener = ds_progress_line(common->quiet);
    ds_progress progress = {&listener, "report", STEPS};
    *envelope = NULL;
    *results = json_object();
    if (*results == NULL) return ds_fail(DS_ERR_SYSTEM, "report: out of memory");
    DS_TRY(check_skip(skip));
    DS_TRY(begin(envelope, &journal, &gates, invocation));
    DS_TRY(ds_text_printf(&folder, "%s/results", common->out));
    DS_TRY(ds_make_folder(folder.bytes));
    for (size_t i = 0; i < STEPS; i++) {
        step what = steps[i];
        char token[32];
        if (!prepare(&what, token, *envelope, skip, gates)) continue;
        progress.label = what.name;
        ds_progress_update(&progress, (double)i);
        DS_TRY(make_step(*results, journal, &what, i, invocation, folder.bytes));
        DS_TRY(ds_manifest_add(files, "results/%s.json", what.name));
    }
done:
    ds_progress_finish(&progress);
    ds_journal_close(&journal);
    ds_text_release(&folder);
    if (status != DS_OK) {
        json_decref(*results);
        json_decref(*envelope);
        *results = *envelope = NULL;
    }
    return status;
}
