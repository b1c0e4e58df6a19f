#include "model_command.h"

#include <string.h>

#include "cli/columns.h"
#include "cli/json_output.h"
#include "cli/progress_line.h"
#include "deltascope/claims.h"

static ds_spread spread_of(const ds_common *common) {
    if (common->offset.given) return DS_SPREAD_FROM_OFFSET;
    if (common->spread == NULL || strcmp(common->spread, "even") == 0) return DS_SPREAD_EVEN;
    return strcmp(common->spread, "random") == 0 ? DS_SPREAD_RANDOM : DS_SPREAD_CONSECUTIVE;
}

ds_run_options ds_command_run_options(const ds_invocation *invocation) {
    const ds_common *common = &invocation->common;
    bool data = (invocation->command->takes & DS_TAKES_DATA) != 0;
    return (ds_run_options){.checkpoint = invocation->operands[0],
                            .config = common->config,
                            .map = common->map,
                            .tokens = data ? common->tokens : NULL,
                            .type = ds_token_type_find(common->token_type),
                            .text = data ? common->text : NULL,
                            .tokenizer = data ? common->tokenizer : NULL,
                            .length = common->seq_len.value,
                            .sequences = common->sequences.value,
                            .spread = spread_of(common),
                            .offset = common->offset.value,
                            .precision = strcmp(common->precision, "double") == 0 ? DS_F64 : DS_F32,
                            .seed = common->seed.value,
                            .ranks = invocation->ranks,
                            .histories = (invocation->command->takes & DS_TAKES_HISTORIES) != 0,
                            .streams = (invocation->command->takes & DS_TAKES_STREAMS) != 0,
                            .listener = ds_progress_line(common->quiet)};
}

void ds_command_warn(const ds_run *run, size_t first) {
    if (ds_ranks_number(run->options.ranks) > 0) return;
    for (size_t i = first; i < json_array_size(run->warnings); i++)
        (void)fprintf(stderr, "deltascope: warning: %s: %s\n", DS_SHOW(ds_checkpoint_path(run->checkpoint)),
                      json_string_value(json_array_get(run->warnings, i)));
}

ds_status ds_command_warn_changed(const char *path, const json_t *envelope) {
    ds_status status = DS_OK;
    json_t *digests = NULL, *signature = NULL;
    bool hold, holds;
    DS_TRY(ds_digests_check(&digests, &hold, envelope));
    DS_TRY(ds_signature_check(&signature, &holds, envelope, NULL));
    if (!hold)
        (void)fprintf(
            stderr,
            "deltascope: warning: %s: its digest does not hold: it was changed after it was written; \"deltascope check\" "
            "tells more\n",
            DS_SHOW(path));
    if (!holds)
        (void)fprintf(stderr, "deltascope: warning: %s: its signature does not hold: %s; \"deltascope check\" tells more\n",
                      DS_SHOW(path), json_string_value(json_object_get(signature, "reason")));
done:
    json_decref(digests);
    json_decref(signature);
    return status;
}

ds_status ds_command_open(ds_run *run, const ds_invocation *invocation) {
    const ds_run_options options = ds_command_run_options(invocation);
    return ds_command_open_as(run, invocation, &options);
}

ds_status ds_command_open_as(ds_run *run, const ds_invocation *invocation, const ds_run_options *options) {
    ds_status status = DS_OK;
    ds_folder *folder;
    DS_TRY(ds_run_open(run, options));
    ds_command_warn(run, 0);
    if (invocation->common.out != NULL) DS_TRY(ds_command_folder(&folder, invocation)); /* taken before the work */
done:
    return status;
}

ds_status ds_command_folder(ds_folder **folder, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    if (*invocation->folder == NULL) {
        DS_TRY(ds_folder_open(invocation->folder, invocation->common.out));
        DS_TRY(ds_folder_lock(*invocation->folder));
    }
    *folder = *invocation->folder;
done:
    return status;
}

ds_status ds_command_shared_folder(ds_folder **folder, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const bool first = ds_ranks_number(invocation->ranks) == 0;
    void *nothing = NULL;
    size_t none = 0;
    if (first) DS_TRY(ds_command_folder(folder, invocation));
    if (ds_ranks_count(invocation->ranks) > 1) DS_TRY(ds_ranks_share(invocation->ranks, &nothing, &none));
    if (!first && *invocation->folder == NULL) DS_TRY(ds_folder_open(invocation->folder, invocation->out_of_all));
    *folder = *invocation->folder;
done:
    return status;
}

ds_status ds_command_journal_plan(ds_journal_plan *plan, ds_text *path, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_folder *folder;
    *plan = (ds_journal_plan){.resume = invocation->common.resume};
    if (invocation->common.out == NULL) return DS_OK;
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_text_printf(path, "%s.journal", invocation->command->name));
    plan->folder = folder;
    plan->path = path->bytes;
done:
    return status;
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

/* Captions name the checkpoint, unless there are several. */
static ds_status write_tables(const ds_folder *folder, const char *command, const json_t *envelope, ds_table *const *tables,
                              size_t count) {
    ds_status status = DS_OK;
    ds_text name = {0};
    const bool several = ds_json_at(envelope, "results/checkpoints") != NULL || ds_json_at(envelope, "results/groups") != NULL;
    for (size_t i = 0; i < count; i++) {
        name.length = 0;
        DS_TRY(ds_text_printf(&name, "tables/%s", command));
        if (i > 0) DS_TRY(ds_text_printf(&name, "-%zu", i + 1));
        ds_table_attribute(tables[i], several ? NULL : json_string_value(ds_json_at(envelope, "checkpoint/path")));
        DS_TRY(ds_table_write_files(folder, name.bytes, tables[i]));
    }
done:
    ds_text_release(&name);
    return status;
}

ds_status ds_command_write_figures(const ds_invocation *invocation, const ds_folder *folder, const json_t *envelope) {
    ds_status status = DS_OK;
    const ds_figure_options options = {.formats = DS_FIGURE_SVG | DS_FIGURE_PNG};
    ds_folder *figures = NULL;
    json_t *results = NULL;
    ds_figure_outcome outcome = {.empty = false};
    DS_TRY(ds_figure_results(&results, envelope));
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const ds_figure *figure = ds_figure_at(i);
        if (!ds_figure_applies(figure, results)) continue;
        if (figures == NULL) DS_TRY(ds_folder_open_in(&figures, folder, "figures"));
        bool told = outcome.no_gnuplot || invocation->common.quiet;
        DS_TRY(ds_figure_write(&outcome, figures, figure, results, &options));
        if (outcome.pictures != options.formats && !told) (void)fprintf(stderr, "deltascope: %s\n", ds_error_text());
    }
done:
    ds_folder_close(&figures);
    json_decref(results);
    return status;
}

ds_status ds_command_write_lasting(const ds_folder *folder, const char *path, json_t *envelope, const ds_signer *signer) {
    ds_status status = DS_OK;
    DS_TRY(ds_run_envelope_lasting(envelope));
    if (signer != NULL) DS_TRY(ds_signature_add(envelope, signer));
    status = ds_json_write_in(folder, path, envelope, DS_JSON_READABLE);
done:
    return status;
}

/* `envelope` is changed: a file is signed as it is written. */
static ds_status write_folder(const ds_invocation *invocation, json_t *envelope, ds_table *const *tables, size_t count) {
    ds_status status = DS_OK;
    const char *name = invocation->command->name;
    ds_folder *folder;
    ds_text path = {0};
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_text_printf(&path, "%s.json", name));
    DS_TRY(ds_command_write_lasting(folder, path.bytes, envelope, invocation->signer));
    DS_TRY(write_tables(folder, name, envelope, tables, count));
    DS_TRY(ds_command_write_figures(invocation, folder, envelope));
done:
    ds_text_release(&path);
    return status;
}

void ds_told_release(ds_told *told) {
    json_decref(told->options);
    json_decref(told->results);
    *told = (ds_told){NULL, NULL};
}

ds_status ds_command_publish_tables(const ds_invocation *invocation, const ds_run *run, const ds_told *told,
                                    ds_table *const *tables, size_t count) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    json_t *envelope = NULL;
    for (size_t i = 0; i < count; i++) DS_TRY(ds_columns_choose(invocation, tables[i]));
    DS_TRY(ds_run_envelope(&envelope, run, invocation->command->name, told->options, told->results));
    if (invocation->signer != NULL) DS_TRY(ds_signature_add(envelope, invocation->signer));
    if (common->json != NULL) DS_TRY(ds_json_output(common->json, envelope, DS_JSON_READABLE));
    if (common->out != NULL) DS_TRY(write_folder(invocation, envelope, tables, count));
done:
    json_decref(envelope);
    return status;
}

ds_status ds_command_table(ds_table **table, const char *command, const ds_result_table *kind, const json_t *results) {
    ds_status status = DS_OK;
    ds_text label = {0};
    DS_TRY(ds_text_printf(&label, "%s-%s", command, kind->id));
    DS_TRY(ds_result_table_new(table, kind, results));
    if (*table != NULL) ds_table_describe(*table, label.bytes, kind->note);
done:
    ds_text_release(&label);
    return status;
}

ds_status ds_command_publish_results(ds_table **tables, size_t *made, const ds_invocation *invocation, const ds_run *run,
                                     const ds_told *told, const ds_result_table *kinds, size_t count) {
    ds_status status = DS_OK;
    *made = 0;
    for (size_t i = 0; i < count; i++) {
        DS_TRY(ds_command_table(&tables[*made], invocation->command->name, &kinds[i], told->results));
        *made += tables[*made] != NULL;
    }
    DS_TRY(ds_command_publish_tables(invocation, run, told, tables, *made));
done:
    return status;
}
