/* Opening what a measurement needs: checkpoint, data, windows, buffers. */
#include "deltascope/run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "windows.h"

/* Of the tokens from the offset on. */
static ds_status no_window_fits(const ds_run *run, uint64_t after) {
    ds_status status = DS_OK;
    ds_text advice = {0};
    if (after >= 2)
        DS_TRY(ds_text_printf(&advice, ": --seq-len %llu or less fits", (unsigned long long)after - 1));
    else
        DS_TRY(ds_text_printf(&advice, ": at least 2 are needed, one to read and the next to predict"));
    status = ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu from offset %llu on, but one window of length %zu needs %zu%s",
                     DS_SHOW(ds_tokens_path(run->tokens)), (unsigned long long)after, (unsigned long long)run->options.offset,
                     run->length, run->length + 1, advice.bytes);
done:
    ds_text_release(&advice);
    return status;
}

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
    if (fitting == 0) return no_window_fits(run, after);
    if (wanted > fitting)
        return ds_fail(DS_ERR_INPUT,
                       "%s: too few tokens: %llu windows of length %llu were asked for and %llu fit: ask for fewer "
                       "(--sequences) or shorter ones (--seq-len)",
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

ds_status ds_run_warn(ds_run *run, const char *format, ...) {
    ds_status status = DS_OK;
    ds_text sentence = {0};
    char words[3 * DS_NAME_CAPACITY];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    DS_TRY(ds_text_append_visible(&sentence, words)); /* names from files may have been cut within a character */
    if (run->warnings == NULL) run->warnings = json_array();
    if (json_array_append_new(run->warnings, json_string(sentence.bytes)) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "out of memory for a warning");
done:
    ds_text_release(&sentence);
    return status;
}

static ds_status open_token_file(ds_run *run, const char *path, ds_token_type type) {
    ds_status status = DS_OK;
    DS_TRY(ds_tokens_open_as(&run->tokens, path, type, run->spec.vocab));
    const char *doubt = ds_tokens_doubt(run->tokens);
    if (doubt != NULL) DS_TRY(ds_run_warn(run, "%s %s", DS_SHOW(path), doubt));
done:
    return status;
}

static ds_status open_data(ds_run *run) {
    ds_status status = DS_OK;
    const ds_run_options *options = &run->options;
    if (options->tokens != NULL) {
        DS_TRY(open_token_file(run, options->tokens, options->type));
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

/* Tensors that would change the numbers if the model used them are told apart from buffers. */
static ds_status note_unused(ds_run *run) {
    ds_status status = DS_OK;
    const ds_tensor **unused = NULL, *first = NULL;
    size_t count, weights = 0;
    DS_TRY(ds_model_unused(&unused, &count, run->model, run->checkpoint));
    if (count == 0) goto done;
    for (size_t i = 0; i < count; i++) {
        if (ds_tensor_effect(unused[i]) == NULL) continue;
        if (first == NULL) first = unused[i];
        weights++;
    }
    const size_t all = ds_checkpoint_count(run->checkpoint);
    if (weights == 0)
        DS_TRY(ds_run_warn(run, "this configuration leaves %zu of %zu tensors unused, the first is %s", count, all,
                           DS_SHOW(unused[0]->name)));
    else
        DS_TRY(ds_run_warn(run,
                           "this configuration leaves %zu of %zu tensors unused, the first is %s; %zu would change the "
                           "numbers if the model used them, such as %s (%s)",
                           count, all, DS_SHOW(unused[0]->name), weights, DS_SHOW(first->name), ds_tensor_effect(first)));
done:
    free(unused);
    return status;
}

static ds_status take_doubt(void *context, const char *sentence) { return ds_run_warn(context, "%s", sentence); }

/* Positions no window had in training: attention there is out of its distribution, however good the arithmetic. */
static ds_status note_length(ds_run *run) {
    if (run->length <= run->spec.block_size) return DS_OK;
    return ds_run_warn(run, "windows of %zu tokens are longer than block_size, %zu: the model was not trained on their far end",
                       run->length, run->spec.block_size);
}

ds_status ds_run_check_state(const ds_spec *spec, const char *path, bool histories, bool streams) {
    char name[48];
    static const char *const why[] = {
        [DS_KIND_DEPTH] = "its sublayers choose among all that was written before; inspect, depth, trace, spectrum, ablate, "
                          "gradflow, compare "
                          "and verify",
        [DS_KIND_STREAMS] =
            "its sublayers mix parallel streams and add to each of them; inspect, depth, trace, spectrum, ablate, gradflow, "
            "compare and verify"};
    const ds_rule_kind kind = ds_rule_kind_of(spec->rule);
    if (why[kind] == NULL || (kind == DS_KIND_DEPTH && histories) || (kind == DS_KIND_STREAMS && streams)) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "%s: its rule, %s, has no state that is rewritten: %s measure that", DS_SHOW(path),
                   ds_spec_rule_name(name, spec), why[kind]);
}

ds_status ds_run_open(ds_run *run, const ds_run_options *options) {
    ds_status status = DS_OK;
    bool data = options->tokens != NULL || options->text != NULL;
    *run = (ds_run){.options = *options, .started = ds_seconds()};
    const ds_checkpoint_options named = {.config = options->config, .map = options->map};
    DS_TRY(ds_checkpoint_open_with(&run->checkpoint, options->checkpoint, &named));
    DS_TRY(ds_spec_detect(&run->spec, run->checkpoint));
    DS_TRY(ds_run_check_state(&run->spec, options->checkpoint, options->histories, options->streams));
    DS_TRY(ds_spec_doubts(run->checkpoint, take_doubt, run));
    run->length = options->length != 0 ? options->length : run->spec.block_size;
    if (data) {
        DS_TRY(open_data(run));
        DS_TRY(note_length(run));
    }
    if (options->without_weights) goto done;
    DS_TRY(ds_model_load(&run->model, run->checkpoint, options->precision));
    run->parameters = ds_model_parameter_count(run->model);
    DS_TRY(note_unused(run));
    if (data) DS_TRY(make_buffers(run));
done:
    if (status != DS_OK) ds_run_close(run);
    return status;
}

ds_run ds_run_shorter(const ds_run *run, size_t length, size_t sequences) {
    ds_run out = *run;
    out.length = ds_min_size(length, run->length);
    out.sequences = ds_min_size(sequences, run->sequences);
    out.batch = ds_min_size(run->batch, out.sequences);
    return out;
}

static ds_status open_source(ds_run *run, const ds_window_source *source) {
    ds_status status = DS_OK;
    uint64_t vocab = run->spec.vocab;
    if (source->tokenizer != NULL) DS_TRY(ds_tokenizer_open(&run->tokenizer, source->tokenizer));
    if (source->tokens != NULL)
        DS_TRY(open_token_file(run, source->tokens, source->type));
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
    run->options.tokenizer = source->tokenizer;
    uint64_t count = ds_tokens_count(run->tokens);
    run->options.offset = offset;
    run->options.type = source->type;
    run->options.spread = source->offset_given ? DS_SPREAD_FROM_OFFSET : DS_SPREAD_CONSECUTIVE;
    if (offset >= count) {
        status = ds_fail(DS_ERR_INPUT, "%s: %llu tokens, but the window starts at token %llu",
                         DS_SHOW(ds_tokens_path(run->tokens)), (unsigned long long)count, (unsigned long long)offset);
        goto done;
    }
    if (run->length > count - offset) run->length = (size_t)(count - offset);
    DS_TRY(note_length(run));
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
    json_decref(run->warnings);
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
