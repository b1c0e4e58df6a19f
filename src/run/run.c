/* Opening what a measurement needs: checkpoint, data, windows, buffers. */
#include "deltascope/run.h"

#include <stdlib.h>
#include <string.h>

#include "windows.h"

/* A window reads T ids and one more as its last target: W windows that fit need WT + 1 ids. */
static ds_status cut_windows(ds_run *run) {
    ds_status status = DS_OK;
    const uint64_t usual_windows = 64;
    if (run->options.offset != 0 && run->options.spread != DS_SPREAD_FROM_OFFSET)
        return ds_fail(DS_ERR_USAGE, "windows from token %llu on are consecutive: no other spread goes with an offset",
                       (unsigned long long)run->options.offset);
    uint64_t count = ds_tokens_count(run->tokens), length = run->length, offset = run->options.offset;
    uint64_t after = offset < count ? count - offset : 0;
    uint64_t fitting = after == 0 ? 0 : (after - 1) / length;
    uint64_t wanted = run->options.sequences;
    if (wanted == 0) wanted = fitting < usual_windows ? fitting : usual_windows;
    if (fitting == 0)
        return ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu from offset %llu on, but one window of length %llu needs %llu",
                       DS_SHOW(ds_tokens_path(run->tokens)), (unsigned long long)after, (unsigned long long)offset,
                       (unsigned long long)length, (unsigned long long)length + 1);
    if (wanted > fitting)
        return ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu windows of length %llu were asked for and %llu fit",
                       DS_SHOW(ds_tokens_path(run->tokens)), (unsigned long long)wanted, (unsigned long long)length,
                       (unsigned long long)fitting);
    run->sequences = wanted;
    run->stretch = run->options.spread >= DS_SPREAD_CONSECUTIVE && wanted < (count - 1) / length;
    DS_NEW(run->starts, run->sequences);
    ds_window_numbers(run->starts, run->sequences, fitting, &run->options);
    for (size_t w = 0; w < run->sequences; w++) run->starts[w] = offset + run->starts[w] * length;
done:
    return status;
}

static ds_status open_data(ds_run *run) {
    ds_status status = DS_OK;
    const ds_run_options *options = &run->options;
    if (options->tokens != NULL) {
        DS_TRY(ds_tokens_open(&run->tokens, options->tokens, run->spec.vocab));
    } else {
        DS_TRY(ds_tokenizer_open(&run->tokenizer, options->tokenizer));
        DS_TRY(ds_tokens_from_text(&run->tokens, options->text, run->tokenizer, run->spec.vocab));
    }
    DS_TRY(cut_windows(run));
    DS_NEW(run->ids, run->length + 1);
done:
    return status;
}

static ds_status make_buffers(ds_run *run) {
    ds_status status = DS_OK;
    size_t most = run->options.batch != 0 ? run->options.batch : ds_batch_sequences(run->model, run->length);
    run->batch = ds_min_size(most, run->sequences);
    size_t ids;
    if (!ds_mul_size(run->batch, run->length, &ids))
        return ds_fail(DS_ERR_USAGE, "a window length of %zu is out of range", run->length);
    DS_NEW(run->inputs, ids);
    DS_NEW(run->targets, ids);
    DS_TRY(ds_workspace_new(&run->workspace, run->model, run->batch, run->length));
done:
    return status;
}

static ds_status note_unused(ds_run *run) {
    ds_status status = DS_OK;
    const ds_tensor **unused = NULL;
    size_t count;
    DS_TRY(ds_model_unused(&unused, &count, run->model, run->checkpoint));
    if (count > 0)
        DS_TRY(ds_text_printf(&run->warning, "this configuration leaves %zu of %zu tensors unused, the first is %s", count,
                              ds_checkpoint_count(run->checkpoint), DS_SHOW(unused[0]->name)));
done:
    free(unused);
    return status;
}

ds_status ds_run_open(ds_run *run, const ds_run_options *options) {
    ds_status status = DS_OK;
    bool data = options->tokens != NULL || options->text != NULL;
    *run = (ds_run){.options = *options, .started = ds_seconds()};
    const ds_checkpoint_options named = {.config = options->config, .map = options->map};
    DS_TRY(ds_checkpoint_open_with(&run->checkpoint, options->checkpoint, &named));
    DS_TRY(ds_spec_detect(&run->spec, run->checkpoint));
    run->length = options->length != 0 ? options->length : run->spec.block_size;
    if (data) DS_TRY(open_data(run));
    if (options->without_weights) goto done;
    DS_TRY(ds_model_load(&run->model, run->checkpoint, options->precision));
    run->parameters = ds_model_parameter_count(run->model);
    DS_TRY(note_unused(run));
    if (data) DS_TRY(make_buffers(run));
done:
    if (status != DS_OK) ds_run_close(run);
    return status;
}

static ds_status open_source(ds_run *run, const ds_window_source *source) {
    ds_status status = DS_OK;
    uint64_t vocab = run->spec.vocab;
    if (source->tokenizer != NULL) DS_TRY(ds_tokenizer_open(&run->tokenizer, source->tokenizer));
    if (source->tokens != NULL)
        DS_TRY(ds_tokens_open(&run->tokens, source->tokens, vocab));
    else if (source->text_file != NULL)
        DS_TRY(ds_tokens_from_text(&run->tokens, source->text_file, run->tokenizer, vocab));
    else
        DS_TRY(ds_tokens_from_string(&run->tokens, source->text, strlen(source->text), "--text", run->tokenizer, vocab));
done:
    return status;
}

ds_status ds_run_open_window(ds_run *run, const ds_window_source *source) {
    ds_status status = DS_OK;
    uint64_t offset = source->offset;
    DS_TRY(open_source(run, source));
    uint64_t count = ds_tokens_count(run->tokens);
    run->options.offset = offset;
    run->options.spread = source->offset_given ? DS_SPREAD_FROM_OFFSET : DS_SPREAD_CONSECUTIVE;
    if (offset >= count) {
        status = ds_fail(DS_ERR_INPUT, "%s: %llu tokens, but the window starts at token %llu",
                         DS_SHOW(ds_tokens_path(run->tokens)), (unsigned long long)count, (unsigned long long)offset);
        goto done;
    }
    if (run->length > count - offset) run->length = (size_t)(count - offset);
    run->sequences = 1;
    run->stretch = run->length < count;
    DS_NEW(run->starts, 1);
    run->starts[0] = offset;
    DS_NEW(run->ids, run->length);
    DS_TRY(ds_run_read_tokens(run, run->length));
done:
    return status;
}

void ds_run_close(ds_run *run) {
    ds_workspace_free(&run->workspace);
    free(run->starts);
    free(run->ids);
    free(run->inputs);
    free(run->targets);
    ds_tokens_close(&run->tokens);
    ds_tokenizer_close(&run->tokenizer);
    ds_model_free(&run->model);
    ds_checkpoint_close(&run->checkpoint);
    ds_text_release(&run->warning);
    *run = (ds_run){0};
}

/* ---- progress ---------------------------------------------------------------------------------------------------- */

ds_progress ds_progress_start(const ds_run *run, const char *label, double total) {
    ds_progress progress = {.listener = &run->options.listener, .label = label, .total = total};
    ds_progress_update(&progress, 0);
    return progress;
}

void ds_progress_update(const ds_progress *progress, double done) {
    const ds_listener *listener = progress->listener;
    if (listener->progress != NULL) listener->progress(listener->context, progress->label, done, progress->total);
}

void ds_progress_finish(const ds_progress *progress) {
    const ds_listener *listener = progress->listener;
    if (listener->progress != NULL) listener->progress(listener->context, NULL, 0, 0);
}
