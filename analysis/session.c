#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

/* Window s reads ids [o+sT, o+sT+T] (the last one only as a target), so n windows need o + nT + 1 ids. */
static ds_status cut_windows(ds_session *session) {
    const ds_common *common = &session->invocation->common;
    const uint64_t usual_windows = 64;
    uint64_t count = ds_tokens_count(session->tokens), length = session->length;
    session->offset = common->offset.value;
    uint64_t after = session->offset < count ? count - session->offset : 0;
    uint64_t fitting = after == 0 ? 0 : (after - 1) / length;
    uint64_t wanted = common->sequences.given ? common->sequences.value : (fitting < usual_windows ? fitting : usual_windows);
    if (fitting == 0)
        return ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu from offset %llu on, but one window of length %llu needs %llu",
                       DS_SHOW(ds_tokens_path(session->tokens)), (unsigned long long)after, (unsigned long long)session->offset,
                       (unsigned long long)length, (unsigned long long)length + 1);
    if (wanted > fitting)
        return ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu windows of length %llu were asked for and %llu fit",
                       DS_SHOW(ds_tokens_path(session->tokens)), (unsigned long long)wanted, (unsigned long long)length,
                       (unsigned long long)fitting);
    session->sequences = wanted;
    return DS_OK;
}

ds_status ds_session_open_data(ds_session *session) {
    ds_status status = DS_OK;
    const ds_common *common = &session->invocation->common;
    if (common->tokens != NULL) {
        DS_TRY(ds_tokens_open(&session->tokens, common->tokens, session->spec.vocab));
    } else if (common->text == NULL) {
        return DS_OK;
    } else {
        DS_TRY(ds_tokenizer_open(&session->tokenizer, common->tokenizer));
        DS_TRY(ds_tokens_from_text(&session->tokens, common->text, session->tokenizer, session->spec.vocab));
    }
    DS_TRY(cut_windows(session));
done:
    return status;
}

static ds_status make_buffers(ds_session *session) {
    ds_status status = DS_OK;
    session->group = ds_min_size(ds_batch_sequences(session->model, session->length), session->sequences);
    size_t ids;
    if (!ds_mul_size(session->group, session->length, &ids))
        return ds_fail(DS_ERR_USAGE, "--seq-len %zu is out of range", session->length);
    DS_NEW(session->ids, session->length + 1);
    DS_NEW(session->inputs, ids);
    DS_NEW(session->targets, ids);
    DS_TRY(ds_workspace_new(&session->workspace, session->model, session->group, session->length));
done:
    return status;
}

/* The steps of a report open what the report has opened, and warned of, itself. */
static ds_status warn_of_unused(ds_session *session) {
    ds_status status = DS_OK;
    const ds_tensor **unused = NULL;
    size_t count;
    DS_TRY(ds_model_unused(&unused, &count, session->model, session->checkpoint));
    if (count == 0) goto done;
    DS_TRY(ds_text_printf(&session->warning, "this configuration leaves %zu of %zu tensors unused, the first is %s", count,
                          ds_checkpoint_count(session->checkpoint), DS_SHOW(unused[0]->name)));
    if (session->invocation->common.step == NULL)
        (void)fprintf(stderr, "deltascope: warning: %s: %s\n", DS_SHOW(ds_checkpoint_path(session->checkpoint)),
                      session->warning.bytes);
done:
    free(unused);
    return status;
}

ds_status ds_session_open(ds_session *session, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ds_common *common = &invocation->common;
    bool data = (invocation->command->takes & DS_TAKES_DATA) && (common->tokens != NULL || common->text != NULL);
    *session = (ds_session){.invocation = invocation, .started = ds_seconds()};
    DS_TRY(ds_checkpoint_open(&session->checkpoint, invocation->operands[0], common->config));
    DS_TRY(ds_spec_detect(&session->spec, session->checkpoint));
    session->length = common->seq_len.given ? common->seq_len.value : session->spec.block_size;
    if (data) DS_TRY(ds_session_open_data(session));
    DS_TRY(ds_model_load(&session->model, session->checkpoint, strcmp(common->precision, "double") == 0 ? DS_F64 : DS_F32));
    DS_TRY(warn_of_unused(session));
    if (data) DS_TRY(make_buffers(session));
done:
    if (status != DS_OK) ds_session_close(session);
    return status;
}

void ds_session_close(ds_session *session) {
    ds_workspace_free(&session->workspace);
    free(session->ids);
    free(session->inputs);
    free(session->targets);
    ds_tokens_close(&session->tokens);
    ds_tokenizer_close(&session->tokenizer);
    ds_model_free(&session->model);
    ds_checkpoint_close(&session->checkpoint);
    ds_text_release(&session->warning);
    *session = (ds_session){0};
}

ds_status ds_session_batch(ds_session *session, size_t first, ds_batch *batch) {
    ds_status status = DS_OK;
    size_t length = session->length, windows = ds_min_size(session->group, session->sequences - first);
    for (size_t w = 0; w < windows; w++) {
        DS_TRY(ds_tokens_read(session->tokens, session->ids, session->offset + (uint64_t)(first + w) * length, length + 1));
        memcpy(session->inputs + w * length, session->ids, length * sizeof *session->ids);
        memcpy(session->targets + w * length, session->ids + 1, length * sizeof *session->ids);
    }
    *batch = (ds_batch){session->inputs, session->targets, windows, length};
done:
    return status;
}

/* The one element type of all floating tensors, or "mixed". */
static const char *stored_dtype(const ds_checkpoint *checkpoint) {
    const char *found = NULL;
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        if (tensor->dtype == DS_DTYPE_OTHER) continue;
        if (found != NULL && strcmp(found, tensor->dtype_name) != 0) return "mixed";
        found = tensor->dtype_name;
    }
    return found == NULL ? "none" : found;
}

static ds_status make_options(json_t **options, const ds_session *session) {
    const ds_command *command = session->invocation->command;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    if (command->put_options != NULL) command->put_options(&b, session);
    ds_json_end(&b);
    return ds_json_finish(options, &b);
}

ds_status ds_session_envelope(json_t **envelope, const ds_session *session, json_t *results) {
    ds_status status = DS_OK;
    const ds_spec *spec = &session->spec;
    ds_envelope fields = {.command = session->invocation->command->name,
                          .precision = ds_model_precision(session->model),
                          .threads = ds_threads(),
                          .seconds = ds_seconds() - session->started,
                          .warning = session->warning.bytes,
                          .results = results};
    if (session->checkpoint != NULL) {
        fields.checkpoint.path = ds_checkpoint_path(session->checkpoint);
        fields.checkpoint.sha256 = ds_checkpoint_sha256(session->checkpoint);
        fields.checkpoint.variant = ds_spec_variant(spec);
        fields.checkpoint.dtype = stored_dtype(session->checkpoint);
        fields.checkpoint.parameters = ds_model_parameter_count(session->model);
        fields.checkpoint.layers = spec->layers;
        fields.checkpoint.hidden = spec->hidden;
        fields.checkpoint.heads = spec->heads;
        fields.checkpoint.value_channels = spec->value_channels;
        fields.checkpoint.vocab = spec->vocab;
    }
    if (session->tokens != NULL) {
        fields.data.path = ds_tokens_path(session->tokens);
        fields.data.sha256 = ds_tokens_sha256(session->tokens);
        fields.data.seq_len = session->length;
        fields.data.sequences = session->sequences;
        fields.data.offset = session->offset;
        fields.data.tokens = (uint64_t)session->sequences * session->length;
    }
    DS_TRY(make_options(&fields.options, session));
    DS_TRY(ds_envelope_json(envelope, &fields));
done:
    json_decref(fields.options);
    return status;
}

/* A tokenizer is not part of the text's digest: the ids it made speak for it. */
static ds_status sum_ids(uint32_t *crc, const ds_session *session) {
    ds_status status = DS_OK;
    size_t count = session->length + 1;
    *crc = 0;
    for (size_t w = 0; w < session->sequences; w++) {
        DS_TRY(ds_tokens_read(session->tokens, session->ids, session->offset + (uint64_t)w * session->length, count));
        *crc = ds_crc32(*crc, session->ids, count * sizeof *session->ids);
    }
done:
    return status;
}

/* What decides the bytes of a result. */
static ds_status make_key(json_t **key, const ds_session *session) {
    ds_status status = DS_OK;
    uint32_t crc = 0;
    json_t *options = NULL;
    ds_json_builder b = {0};
    if (session->tokens != NULL) DS_TRY(sum_ids(&crc, session));
    DS_TRY(make_options(&options, session));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "command", session->invocation->command->name);
    ds_json_put_text(&b, "version", DS_VERSION);
    ds_json_put_text(&b, "blas", ds_blas_name());
    ds_json_put_text(&b, "precision", session->invocation->common.precision);
    ds_json_begin_object(&b, "checkpoint");
    ds_json_put_text(&b, "sha256", ds_checkpoint_sha256(session->checkpoint));
    ds_json_put(&b, "config", ds_json_copy(ds_checkpoint_config(session->checkpoint)));
    ds_json_end(&b);
    if (session->tokens != NULL) {
        ds_json_begin_object(&b, "data");
        ds_json_put_text(&b, "sha256", ds_tokens_sha256(session->tokens));
        ds_json_put_count(&b, "seq_len", session->length);
        ds_json_put_count(&b, "sequences", session->sequences);
        ds_json_put_count(&b, "offset", session->offset);
        ds_json_put_count(&b, "tokens_crc32", crc);
        ds_json_end(&b);
    }
    ds_json_put(&b, "options", options);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(key, &b));
done:
    return status;
}

/* What the files under --out are called. */
static const char *name_of(const ds_session *session) {
    const char *step = session->invocation->common.step;
    return step == NULL ? session->invocation->command->name : step;
}

ds_status ds_session_journal(ds_journal **journal, const ds_session *session) {
    ds_status status = DS_OK;
    const ds_common *common = &session->invocation->common;
    ds_text path = {0};
    json_t *key = NULL;
    *journal = NULL;
    if (common->out == NULL) return DS_OK;
    DS_TRY(make_key(&key, session));
    DS_TRY(ds_make_folder(common->out));
    DS_TRY(ds_text_printf(&path, "%s/%s.journal", common->out, name_of(session)));
    DS_TRY(ds_journal_open(journal, path.bytes, key, common->resume));
    if (common->resume && !common->quiet)
        (void)fprintf(stderr, "%s: %zu finished pieces of an earlier run\n", DS_SHOW(path.bytes), ds_journal_count(*journal));
done:
    ds_text_release(&path);
    json_decref(key);
    return status;
}

static ds_status write_tables(const char *folder, const char *command, ds_table *const *tables, size_t count) {
    ds_status status = DS_OK;
    ds_text path = {0};
    DS_TRY(ds_text_printf(&path, "%s/tables", folder));
    DS_TRY(ds_make_folder(path.bytes));
    for (size_t i = 0; i < count; i++) {
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "%s/tables/%s", folder, command));
        if (i > 0) DS_TRY(ds_text_printf(&path, "-%zu", i + 1));
        DS_TRY(ds_text_printf(&path, ".csv"));
        DS_TRY(ds_table_write(path.bytes, tables[i], DS_TABLE_CSV));
    }
done:
    ds_text_release(&path);
    return status;
}

static ds_status write_figures(const ds_session *session, const char *folder, const json_t *envelope) {
    ds_status status = DS_OK;
    const ds_figure_options options = {.formats = DS_FIGURE_SVG | DS_FIGURE_PNG};
    ds_text path = {0};
    json_t *results = NULL;
    bool drawn = true;
    DS_TRY(ds_figure_results(&results, envelope));
    DS_TRY(ds_text_printf(&path, "%s/figures", folder));
    for (size_t i = 0; i < ds_figure_count(); i++) {
        const ds_figure *figure = ds_figure_at(i);
        if (!ds_figure_applies(figure, results)) continue;
        DS_TRY(ds_make_folder(path.bytes));
        DS_TRY(ds_figure_write(&drawn, path.bytes, figure, results, &options));
    }
    if (!drawn && !session->invocation->common.quiet) (void)fprintf(stderr, "deltascope: %s\n", ds_error_text());
done:
    json_decref(results);
    ds_text_release(&path);
    return status;
}

/* The envelope without how the run went. `envelope` is changed. */
static ds_status write_folder(const ds_session *session, json_t *envelope, ds_table *const *tables, size_t count) {
    ds_status status = DS_OK;
    const ds_common *common = &session->invocation->common;
    ds_text path = {0};
    DS_TRY(ds_make_folder(common->out));
    DS_TRY(ds_text_printf(&path, "%s/%s.json", common->out, name_of(session)));
    if (json_object_set_new(envelope, "threads", json_null()) != 0 ||
        json_object_set_new(envelope, "seconds", json_null()) != 0) {
        status = ds_fail(DS_ERR_SYSTEM, "%s: out of memory for the result", path.bytes);
        goto done;
    }
    DS_TRY(ds_json_write(path.bytes, envelope, DS_JSON_READABLE));
    if (common->step != NULL) goto done;
    DS_TRY(write_tables(common->out, name_of(session), tables, count));
    DS_TRY(write_figures(session, common->out, envelope));
done:
    ds_text_release(&path);
    return status;
}

ds_status ds_session_publish(const ds_session *session, json_t *results, ds_table *const *tables, size_t count) {
    ds_status status = DS_OK;
    const ds_common *common = &session->invocation->common;
    json_t *envelope = NULL;
    DS_TRY(ds_session_envelope(&envelope, session, results));
    if (common->json != NULL) DS_TRY(ds_json_write(common->json, envelope, DS_JSON_READABLE));
    if (common->out != NULL) DS_TRY(write_folder(session, envelope, tables, count));
done:
    json_decref(envelope);
    return status;
}
