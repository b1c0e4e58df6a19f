/* The measurements of a report, one after the other on one open run, each kept in a file of its own. */
#include <stdlib.h>
#include <string.h>

#include "cli/progress_line.h"
#include "commands/model_command.h"
#include "commands/rehearsal.h"
#include "deltascope/measure.h"
#include "report/report.h"

/* A step while it runs: where it may keep a journal, and what it tells. */
typedef struct measuring {
    ds_run *run;
    ds_journal_plan journal;
    ds_told told;
} measuring;

/* ---- what the steps measure -------------------------------------------------------------------------------------- */

static ds_status measure_inspect(measuring *at) { return ds_inspect_results(&at->told.options, &at->told.results, at->run); }

static ds_status measure_gates(measuring *at) {
    return ds_gates_results(&at->told.options, &at->told.results, at->run, &ds_gates_defaults);
}

static ds_status measure_spectrum(measuring *at) {
    ds_spectrum_options options = ds_spectrum_defaults;
    options.positions = "all";
    options.journal = &at->journal;
    return ds_spectrum_results(&at->told.options, &at->told.results, at->run, &options);
}

static ds_status measure_weights(measuring *at) {
    ds_spectrum_options options = ds_spectrum_defaults;
    options.positions = "last";
    options.weights = true;
    return ds_spectrum_results(&at->told.options, &at->told.results, at->run, &options);
}

static ds_status measure_ablate(measuring *at) {
    ds_ablate_options options = ds_ablate_defaults;
    options.modes = "closed";
    options.journal = &at->journal;
    return ds_ablate_results(&at->told.options, &at->told.results, at->run, &options);
}

/* What gates are worth otherwise: every mode but the one of the step before. */
static ds_status measure_controls(measuring *at) {
    ds_ablate_options options = ds_ablate_defaults;
    options.modes = "open,reflect,mean-gate,write-only,erase-only";
    options.scopes = "attn,mlp,all";
    options.journal = &at->journal;
    return ds_ablate_results(&at->told.options, &at->told.results, at->run, &options);
}

static ds_status measure_gradflow(measuring *at) {
    return ds_gradflow_results(&at->told.options, &at->told.results, at->run, &ds_gradflow_defaults);
}

/* Dense Jacobians are taken at the last token of the first window. */
static ds_status measure_jacobians(measuring *at) {
    ds_gradflow_options options = ds_gradflow_defaults;
    char token[32];
    (void)snprintf(token, sizeof token, "0:%zu", at->run->length - 1);
    options.jacobian = token;
    return ds_gradflow_results(&at->told.options, &at->told.results, at->run, &options);
}

static ds_status measure_verify(measuring *at) {
    return ds_verification_results(&at->told.options, &at->told.results, at->run, &ds_verification_defaults);
}

/* ---- the steps --------------------------------------------------------------------------------------------------- */

static bool has_gates(const ds_run *run) { return ds_rule_has_gates(run->spec.rule); }
static bool has_operators(const ds_run *run) { return ds_spec_has_operators(&run->spec); }

/* A Jacobian takes a backward pass of one token for each number of the state. */
static bool has_dense_jacobians(const ds_run *run) {
    enum { MOST = 512 };
    return has_gates(run) && run->spec.hidden * ds_spec_planes(&run->spec) <= MOST;
}

/* A later step of the same command adds to the results what the earlier one has not got. */
typedef struct step {
    const char *name; /* of the file, and for --skip */
    const char *command;
    ds_status (*measure)(measuring *at);
    bool (*applies)(const ds_run *run); /* NULL: to every checkpoint */
    size_t windows;                     /* it looks at, at most; 0: all */
} step;
static const step steps[] = {
    {"inspect", "inspect", measure_inspect, NULL, 0},
    {"gates", "gates", measure_gates, NULL, 0},
    {"spectrum", "spectrum", measure_spectrum, has_operators, 0},
    {"weights", "spectrum", measure_weights, NULL, 0},
    {"ablate", "ablate", measure_ablate, NULL, 0},
    {"controls", "ablate", measure_controls, has_gates, 0},
    {"gradflow", "gradflow", measure_gradflow, NULL, 0},
    {"jacobians", "gradflow", measure_jacobians, has_dense_jacobians, 1},
    {"verify", "verify", measure_verify, NULL, DS_VERIFIED_WINDOWS},
};
enum { STEPS = sizeof steps / sizeof *steps };

size_t ds_report_step_count(void) { return STEPS; }
const char *ds_report_step_name(size_t index) { return steps[index].name; }
const char *ds_report_step_command(size_t index) { return steps[index].command; }

ds_status ds_report_step_words(ds_text *text, const char *between, const char *before_last) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < STEPS; i++)
        DS_TRY(ds_text_printf(text, "%s%s", i == 0 ? "" : i + 1 == STEPS ? before_last : between, steps[i].name));
done:
    return status;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

static const char record_kind[] = "step"; /* SHA-256 of the step's file, under the step's number */

/* One report being measured. */
typedef struct reporting {
    ds_run run;
    ds_journal *journal;
    const ds_folder *folder; /* of the steps' files */
    bool resume;
    json_t *results, *options; /* by command; by step */
} reporting;

/* *holds <- whether an earlier run has finished the step and its file is still what it was then. */
static ds_status file_holds(bool *holds, const reporting *all, size_t number, const char *path) {
    ds_status status = DS_OK;
    char *recorded = NULL, found[65];
    size_t length;
    *holds = false;
    DS_TRY(ds_journal_find(&recorded, &length, all->journal, record_kind, number));
    if (recorded == NULL) goto done;
    if (ds_sha256_file(found, all->folder, path, DS_RESULTS_MOST_BYTES) == DS_OK)
        *holds = strcmp(found, recorded) == 0;
    else
        ds_error_clear(); /* gone or unreadable: measured anew */
done:
    free(recorded);
    return status;
}

/* Number 0 has the files; whether they hold is everybody's. */
static ds_status is_finished(bool *finished, const reporting *all, size_t number, const char *path) {
    ds_status status = DS_OK;
    ds_ranks *ranks = all->run.options.ranks;
    const bool first = ds_ranks_number(ranks) == 0;
    size_t length = sizeof *finished;
    void *bytes = finished;
    if (first) DS_TRY(file_holds(finished, all, number, path));
    if (ds_ranks_count(ranks) == 1) return DS_OK;
    DS_TRY(ds_ranks_share(ranks, &bytes, &length));
    if (first) goto done;
    memcpy(finished, bytes, sizeof *finished);
    free(bytes);
done:
    return status;
}

static ds_status keep_step(ds_journal *journal, size_t number, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    char digits[65];
    DS_TRY(ds_sha256_file(digits, folder, path, DS_RESULTS_MOST_BYTES));
    DS_TRY(ds_journal_append(journal, record_kind, number, digits, strlen(digits)));
    DS_TRY(ds_journal_sync(journal));
done:
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
ds_status ds_report_join(json_t *results, const char *command, json_t *more) {
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

/* Measures the step and writes its file; of several ranks number 0 writes. */
static ds_status run_step(const step *what, ds_run *run, const ds_folder *folder, bool resume, const char *path) {
    ds_status status = DS_OK;
    measuring at = {.run = run};
    ds_text journal = {0};
    json_t *envelope = NULL;
    DS_TRY(ds_text_printf(&journal, "%s.journal", what->name));
    at.journal = (ds_journal_plan){.path = journal.bytes, .resume = resume, .folder = folder};
    DS_TRY(what->measure(&at));
    if (ds_ranks_number(run->options.ranks) > 0) goto done;
    DS_TRY(ds_run_envelope(&envelope, run, what->command, at.told.options, at.told.results));
    DS_TRY(ds_command_write_lasting(folder, path, envelope, NULL));
done:
    json_decref(envelope);
    ds_told_release(&at.told);
    ds_text_release(&journal);
    return status;
}

/* Measures the step unless it is finished, and adds what it says to the results. */
static ds_status make_step(reporting *all, size_t number) {
    ds_status status = DS_OK;
    const step *what = &steps[number];
    json_t *saved = NULL;
    ds_text path = {0};
    bool finished;
    DS_TRY(ds_text_printf(&path, "%s.json", what->name));
    DS_TRY(is_finished(&finished, all, number, path.bytes));
    if (!finished) DS_TRY(run_step(what, &all->run, all->folder, all->resume, path.bytes));
    if (ds_ranks_number(all->run.options.ranks) > 0) goto done;
    if (!finished) DS_TRY(keep_step(all->journal, number, all->folder, path.bytes));
    DS_TRY(ds_envelope_load(&saved, all->folder, path.bytes));
    DS_TRY(ds_report_join(all->results, what->command, json_object_get(saved, "results")));
    if (json_object_set(all->options, what->name, json_object_get(saved, "options")) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "report: out of memory while results are put together");
    path.length = 0;
    DS_TRY(ds_text_printf(&path, "%s.journal", what->name));
    DS_TRY(ds_folder_remove(all->folder, path.bytes)); /* its pieces are in the result */
done:
    ds_text_release(&path);
    json_decref(saved);
    return status;
}

static bool is_listed(const char *list, const char *name) {
    const char *word;
    size_t length;
    while (ds_next_word(&list, &word, &length)) {
        if (ds_is_word(name, word, length)) return true;
    }
    return false;
}

/* "--skip takes inspect, gates, ..., not ..." */
static ds_status unknown_step(const char *word, size_t length) {
    ds_status status = DS_OK;
    ds_text names = {0};
    ds_guess guess = {.word = word, .length = length};
    for (size_t i = 0; i < STEPS; i++) ds_guess_offer(&guess, steps[i].name, strlen(steps[i].name));
    DS_TRY(ds_report_step_words(&names, ", ", ", "));
    status = ds_fail(DS_ERR_USAGE, "--skip takes %s, not \"%s\"%s", names.bytes, ds_escape(word, length).text,
                     ds_guess_hint(&guess, "").text);
done:
    ds_text_release(&names);
    return status;
}

static ds_status tell_options(json_t **options, const char *skip, uint64_t seed) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "skip", skip);
    ds_json_put_count(&b, "seed", seed);
    ds_json_end(&b);
    return ds_json_finish(options, &b);
}

static ds_status open_journal(ds_journal **journal, const ds_invocation *invocation, ds_run *run, const json_t *options) {
    ds_status status = DS_OK;
    ds_journal_plan plan;
    ds_text path = {0};
    DS_TRY(ds_command_journal_plan(&plan, &path, invocation));
    DS_TRY(ds_run_journal(journal, run, &plan, invocation->command->name, options));
done:
    ds_text_release(&path);
    return status;
}

/* A finished report goes only where one of the same checkpoint takes its place. What cannot be read is no report of ours. */
static ds_status refuse_other_report(const ds_folder *folder, const ds_run *run, bool resume) {
    ds_status status = DS_OK;
    json_t *there = NULL;
    ds_text path = {0};
    if (!ds_folder_holds(folder, "report.sha256")) return DS_OK;
    if (ds_envelope_load(&there, folder, "report.json") != DS_OK) {
        ds_error_clear();
        return DS_OK;
    }
    DS_TRY(ds_text_printf(&path, "%s/report.json", ds_folder_path(folder)));
    if (resume) DS_TRY(ds_command_warn_changed(path.bytes, there)); /* its place is taken, by what the steps' files say */
    const char *digest = json_string_value(ds_json_at(there, "checkpoint/sha256"));
    if (digest != NULL && strcmp(digest, ds_checkpoint_sha256(run->checkpoint)) != 0)
        status =
            ds_fail(DS_ERR_USAGE,
                    "%s: holds the finished report of another checkpoint (SHA-256 %.16s..., this one's is %.16s...): choose "
                    "another folder, or write over it with --force",
                    DS_SHOW(ds_folder_path(folder)), DS_SHOW(digest), ds_checkpoint_sha256(run->checkpoint));
done:
    ds_text_release(&path);
    json_decref(there);
    return status;
}

static ds_status check_skip(const char *skip) {
    const char *word;
    size_t length;
    while (ds_next_word(&skip, &word, &length)) {
        size_t i = 0;
        while (i < STEPS && !ds_is_word(steps[i].name, word, length)) i++;
        if (i == STEPS) return unknown_step(word, length);
    }
    return DS_OK;
}

static bool is_wanted(const step *what, const ds_run *run, const char *skip) {
    return (what->applies == NULL || what->applies(run)) && !is_listed(skip, what->name);
}

static ds_status run_steps(reporting *all, ds_manifest *files, const char *skip, bool quiet) {
    ds_status status = DS_OK;
    const ds_listener listener = ds_progress_line(quiet);
    ds_progress progress = {&listener, "report", STEPS};
    for (size_t i = 0; i < STEPS; i++) {
        const step *what = &steps[i];
        if (!is_wanted(what, &all->run, skip)) continue;
        progress.label = what->name;
        ds_progress_update(&progress, (double)i);
        DS_TRY(make_step(all, i));
        DS_TRY(ds_manifest_add(files, "results/%s.json", what->name));
    }
done:
    ds_progress_finish(&progress);
    return status;
}

static ds_status rehearse_step(void *context, ds_run *run) {
    ds_status status = DS_OK;
    const step *what = context;
    measuring at = {.run = run};
    DS_TRY(what->measure(&at));
done:
    ds_told_release(&at.told);
    return status;
}

ds_status ds_report_rehearse(ds_rehearsal *all, const char *skip) {
    ds_status status = DS_OK;
    DS_TRY(check_skip(skip));
    for (size_t i = 0; i < STEPS; i++) {
        if (is_wanted(&steps[i], ds_rehearsal_run(all), skip))
            DS_TRY(ds_rehearse(all, steps[i].name, steps[i].windows, rehearse_step, (void *)(uintptr_t)&steps[i]));
    }
done:
    return status;
}

ds_status ds_report_measure(json_t **results, json_t **envelope, ds_manifest *files, const ds_invocation *invocation,
                            const char *skip, bool force) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    reporting all = {.resume = common->resume, .options = json_object()};
    ds_folder *folder = NULL, *inner = NULL;
    json_t *options = NULL;
    *envelope = NULL;
    *results = all.results = json_object();
    if (*results == NULL) return ds_fail(DS_ERR_SYSTEM, "report: out of memory");
    DS_TRY(check_skip(skip));
    DS_TRY(ds_command_open(&all.run, invocation));
    const bool first = ds_ranks_number(invocation->ranks) == 0;
    if (first) DS_TRY(ds_command_folder(&folder, invocation));
    if (first && !force && !all.resume) DS_TRY(refuse_other_report(folder, &all.run, false));
    DS_TRY(tell_options(&options, skip, common->seed.value));
    DS_TRY(open_journal(&all.journal, invocation, &all.run, options));
    if (first && !force && all.resume) /* after the journal, which tells more of another run */
        DS_TRY(refuse_other_report(folder, &all.run, true));
    DS_TRY(ds_run_envelope(envelope, &all.run, invocation->command->name, options, NULL));
    all.run.options.listener = ds_progress_line(true); /* the report tells how it goes, not its steps */
    if (first) DS_TRY(ds_folder_open_in(&inner, folder, "results"));
    all.folder = inner;
    DS_TRY(run_steps(&all, files, skip, common->quiet));
    if (json_object_set(json_object_get(*envelope, "options"), "steps", all.options) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "report: out of memory while results are put together");
done:
    ds_journal_close(&all.journal);
    ds_run_close(&all.run);
    ds_folder_close(&inner);
    json_decref(options);
    json_decref(all.options);
    if (status != DS_OK) {
        json_decref(*results);
        json_decref(*envelope);
        *results = *envelope = NULL;
    }
    return status;
}
