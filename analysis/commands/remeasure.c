#include "remeasure.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "check: out of memory"); }

/* ---- what a file claims ------------------------------------------------------------------------------------------ */

bool ds_claimed_is_report(const json_t *envelope) {
    const char *command = json_string_value(json_object_get(envelope, "command"));
    return command != NULL && strcmp(command, "report") == 0;
}

static void add_part(ds_claimed *claimed, const char *name) {
    const ds_command *command = ds_command_find(name);
    for (size_t i = 0; i < claimed->count; i++) {
        if (strcmp(claimed->parts[i].command, name) == 0) return;
    }
    if (command == NULL || command->measure == NULL || claimed->count == DS_CLAIMED_PARTS) return;
    claimed->parts[claimed->count++] = (ds_claimed_part){.command = command->name, .chosen = true};
}

ds_status ds_claimed_find(ds_claimed *claimed, const json_t *envelope, const char *path) {
    const json_t *results = json_object_get(envelope, "results");
    const char *command = json_string_value(json_object_get(envelope, "command"));
    *claimed = (ds_claimed){.envelope = envelope, .sample = {.share = 1}, .reference = {"reference", NULL}};
    if (command == NULL || !json_is_object(results))
        return ds_fail(DS_ERR_INPUT, "%s: has no \"command\" or no \"results\", expected a result of deltascope",
                       DS_SHOW(path));
    for (size_t i = 0; ds_claimed_is_report(envelope) && i < ds_report_step_count(); i++) {
        const char *name = ds_report_step_command(i);
        if (json_object_get(results, name) != NULL) add_part(claimed, name);
    }
    if (!ds_claimed_is_report(envelope)) add_part(claimed, command);
    if (claimed->count > 0) return DS_OK;
    const ds_command *ours = ds_claimed_is_report(envelope) ? NULL : ds_command_find(command);
    if (ours == NULL)
        return ds_fail(DS_ERR_INPUT, "%s: no results of deltascope: its command is \"%s\"%s", DS_SHOW(path), DS_SHOW(command),
                       ds_claimed_is_report(envelope) ? ", and it has results of none of a report's steps" : "");
    claimed->unmeasured = ours->name;
    return DS_OK;
}

const char *ds_claimed_why_unmeasured(const char *command) {
    static const struct {
        const char *command, *reason;
    } known[] = {
        {"compare", "made from several checkpoints, and check takes one: run compare again and give both files to diff"},
        {"trace", "made from one text, of which the file holds the tokens alone: run trace again and give both files to diff"},
        {"train", "to make it again is to train again: run the recipe again and give both files to diff"},
        {"bench", "says how fast a machine was, which no other run repeats"},
        {"check", "says what was found in another file: run check on that file"},
        {"diff", "says how two other files differ: run diff on these files"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].command, command) == 0) return known[i].reason;
    }
    return "check does not measure such results again: run the command again and give both files to diff";
}

void ds_claimed_release(ds_claimed *claimed) {
    for (size_t i = 0; i < claimed->count; i++) {
        free(claimed->parts[i].obstacle);
        json_decref(claimed->parts[i].options);
        json_decref(claimed->parts[i].results);
    }
    *claimed = (ds_claimed){0};
}

ds_status ds_claimed_choose(ds_claimed *claimed, const char *names) {
    ds_status status = DS_OK;
    const char *word;
    size_t length;
    ds_text list = {0};
    for (size_t i = 0; i < claimed->count; i++) claimed->parts[i].chosen = false;
    while (ds_next_word(&names, &word, &length)) {
        size_t i = 0;
        while (i < claimed->count && !ds_is_word(claimed->parts[i].command, word, length)) i++;
        if (i < claimed->count) {
            claimed->parts[i].chosen = true;
            continue;
        }
        for (i = 0; i < claimed->count; i++)
            DS_TRY(ds_text_printf(&list, "%s%s", i == 0 ? "" : ", ", claimed->parts[i].command));
        status = ds_fail(DS_ERR_USAGE, "--sections takes what this file has, %s, not \"%s\"", list.bytes,
                         ds_escape(word, length).text);
        break;
    }
done:
    ds_text_release(&list);
    return status;
}

/* ---- the run it records ------------------------------------------------------------------------------------------ */

static uint64_t count_at(const json_t *value, const char *key) {
    const json_int_t count = json_integer_value(json_object_get(value, key));
    return count > 0 ? (uint64_t)count : 0;
}

static ds_spread spread_of(const json_t *data) {
    const char *name = json_string_value(json_object_get(data, "spread"));
    if (json_is_integer(json_object_get(data, "offset"))) return DS_SPREAD_FROM_OFFSET;
    if (name != NULL && strcmp(name, "random") == 0) return DS_SPREAD_RANDOM;
    return name != NULL && strcmp(name, "consecutive") == 0 ? DS_SPREAD_CONSECUTIVE : DS_SPREAD_EVEN;
}

/* Of what is drawn at random: windows, or what the options tell of. */
static uint64_t seed_of(const json_t *envelope) {
    const json_t *data = json_object_get(envelope, "data");
    return count_at(json_object_get(data, "seed") != NULL ? data : json_object_get(envelope, "options"), "seed");
}

ds_status ds_claimed_open(ds_run *run, const ds_claimed *claimed, const ds_run_options *given) {
    ds_status status = DS_OK;
    const json_t *data = json_object_get(claimed->envelope, "data");
    const char *precision = json_string_value(json_object_get(claimed->envelope, "precision"));
    ds_run_options options = *given;
    unsigned takes = UINT_MAX; /* what all of its commands do */
    if (json_is_object(data)) {
        options.length = count_at(data, "seq_len");
        options.sequences = count_at(data, "sequences");
        options.spread = spread_of(data);
        options.offset = count_at(data, "offset");
    } else {
        options.tokens = options.text = options.tokenizer = NULL;
        options.length = count_at(ds_json_at(claimed->envelope, "results/cost"), "seq_len");
    }
    options.precision = precision != NULL && strcmp(precision, "double") == 0 ? DS_F64 : DS_F32;
    options.seed = seed_of(claimed->envelope);
    for (size_t i = 0; i < claimed->count; i++) takes &= ds_command_find(claimed->parts[i].command)->takes;
    options.histories = (takes & DS_TAKES_HISTORIES) != 0;
    options.streams = (takes & DS_TAKES_STREAMS) != 0;
    options.without_weights = claimed->count == 1 && strcmp(claimed->parts[0].command, "inspect") == 0;
    DS_TRY(ds_run_open(run, &options));
    if (options.without_weights) DS_TRY(ds_checkpoint_read(run->checkpoint, NULL, 0)); /* its digest is asked for at once */
done:
    return status;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

/* What of a step is drawn. */
typedef struct plan {
    bool needed, narrowed;
    ds_text names; /* of the rows, when narrowed */
} plan;

/* Of a step with rows, those drawn, and the rest with the step that makes it; of any other the whole or nothing. */
static ds_status plan_step(plan *out, ds_claimed_part *part, const ds_sample *sample, const ds_run *run,
                           const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ds_command *command = invocation->command;
    const bool rest = ds_sample_draws(sample, command->name), first = part->claims == 0;
    json_t *names = NULL;
    size_t drawn = 0;
    if (sample->share < 1 && command->rows != NULL) DS_TRY(command->rows->names(&names, run, invocation));
    if (first) {
        part->claims = 1;
        part->drawn = rest;
    }
    out->needed = rest && part->results == NULL;
    if (names == NULL) {
        out->needed = rest;
        goto done;
    }
    part->cut = out->narrowed = true;
    DS_TRY(ds_sample_rows(&out->names, &drawn, sample, command, names));
    part->claims += json_array_size(names);
    part->drawn += drawn;
    out->needed = drawn > 0 || (out->needed && !command->rows->all_there_is);
done:
    json_decref(names);
    return status;
}

/* Told options as they were recorded where narrowing changed them. */
static ds_status restore_options(json_t *told, const ds_command_rows *rows, const json_t *recorded) {
    for (size_t i = 0; i < 2 && rows->options[i] != NULL; i++) {
        json_t *value = json_object_get(recorded, rows->options[i]);
        if (json_object_set_new(told, rows->options[i], value == NULL ? json_null() : json_incref(value)) != 0)
            return out_of_memory();
    }
    return DS_OK;
}

/* What was measured with another reference is not what is claimed. */
static ds_status same_reference(const json_t *told, const json_t *recorded) {
    const char *ours = json_string_value(json_object_get(told, "reference_sha256"));
    const char *theirs = json_string_value(json_object_get(recorded, "reference_sha256"));
    if (ours == NULL || theirs == NULL || strcmp(ours, theirs) == 0) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "it was made with another reference: SHA-256 %.16s..., the one given has %.16s...",
                   DS_SHOW(theirs), ours);
}

/* The measured results join the part's, its options are kept under the step's name. */
static ds_status join_step(ds_claimed_part *part, const char *step, json_t *options, json_t *results) {
    ds_status status = DS_OK;
    json_t *all = part->results == NULL ? json_object() : json_pack("{s:O}", part->command, part->results);
    if (all == NULL || json_object_set(part->options, step, options) != 0) {
        status = out_of_memory();
        goto done;
    }
    DS_TRY(ds_report_join(all, part->command, results));
    json_decref(part->results);
    part->results = json_incref(json_object_get(all, part->command));
done:
    json_decref(all);
    return status;
}

/* One step of a part, or as much of it as was drawn. */
static ds_status measure_step(const ds_claimed *claimed, ds_claimed_part *part, ds_run *run, const char *step,
                              const json_t *recorded) {
    ds_status status = DS_OK;
    const ds_command *command = ds_command_find(part->command);
    const json_t *theirs = json_object_get(claimed->envelope, "results");
    ds_folder *no_folder = NULL;
    ds_invocation invocation = {.command = command, .folder = &no_folder};
    json_t *options = NULL, *results = NULL;
    plan drawn = {.needed = false};
    void *own = ds_calloc(command->own_size + 1, 1);
    if (own == NULL) return DS_ERR_SYSTEM;
    DS_TRY(ds_command_recall(own, &invocation.common, command, recorded, &claimed->reference));
    invocation.own = own;
    DS_TRY(plan_step(&drawn, part, &claimed->sample, run, &invocation));
    if (!drawn.needed) goto done;
    if (drawn.narrowed)
        command->rows->narrow(own, drawn.names.bytes,
                              ds_claimed_is_report(claimed->envelope) ? json_object_get(theirs, part->command) : theirs);
    DS_TRY(command->measure(&options, &results, run, &invocation, NULL));
    if (drawn.narrowed) DS_TRY(restore_options(options, command->rows, recorded));
    DS_TRY(same_reference(options, recorded));
    DS_TRY(join_step(part, step, options, results));
done:
    json_decref(options);
    json_decref(results);
    ds_text_release(&drawn.names);
    free(own);
    return status;
}

static ds_status measure_part(const ds_claimed *claimed, ds_claimed_part *part, ds_run *run) {
    ds_status status = DS_OK;
    const json_t *options = json_object_get(claimed->envelope, "options"), *steps = json_object_get(options, "steps");
    part->options = json_object();
    if (part->options == NULL) return out_of_memory();
    if (!ds_claimed_is_report(claimed->envelope)) return measure_step(claimed, part, run, part->command, options);
    for (size_t i = 0; i < ds_report_step_count(); i++) {
        const json_t *recorded = json_object_get(steps, ds_report_step_name(i));
        if (recorded == NULL || strcmp(ds_report_step_command(i), part->command) != 0) continue;
        DS_TRY(measure_step(claimed, part, run, ds_report_step_name(i), recorded));
    }
    if (part->claims == 0) status = ds_fail(DS_ERR_INPUT, "the file does not record the options of %s", part->command);
done:
    return status;
}

bool ds_claimed_has_reference(const ds_claimed *claimed) {
    return json_is_string(ds_json_at(claimed->envelope, "options/reference")) ||
           json_is_string(ds_json_at(claimed->envelope, "options/steps/verify/reference"));
}

ds_status ds_claimed_measure(ds_claimed *claimed, ds_run *run, const char *reason) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < claimed->count; i++) {
        ds_claimed_part *part = &claimed->parts[i];
        if (!part->chosen) continue;
        if (reason != NULL && strcmp(part->command, "inspect") != 0) {
            part->obstacle = ds_strdup(reason);
        } else {
            status = measure_part(claimed, part, run);
            part->measured = status == DS_OK && part->drawn > 0;
            if (status == DS_ERR_SYSTEM) goto done;
            if (status != DS_OK) part->obstacle = ds_strdup(ds_error_text());
            if (status == DS_OK) continue;
            status = DS_OK;
            ds_error_clear();
        }
        if (part->obstacle == NULL) {
            status = out_of_memory();
            goto done;
        }
    }
done:
    return status;
}
