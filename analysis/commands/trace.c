/* trace: one text, token by token. */
#include <stdlib.h>
#include <string.h>

#include "model_command.h"
#include "trace_view.h"

typedef struct trace_options {
    const char *text, *text_file, *tokens, *tokenizer, *show, *force;
    ds_count offset;
} trace_options;

static const ds_option options[] = {
    {"text", "WORDS", "the text itself", DS_OPTION_TEXT, offsetof(trace_options, text), 0},
    {"text-file", "FILE", "a file with the text", DS_OPTION_TEXT, offsetof(trace_options, text_file), 0},
    {"tokens", "FILE", "token ids: raw little-endian uint16, a headered shard, or .npy", DS_OPTION_TEXT,
     offsetof(trace_options, tokens), 0},
    {"tokenizer", "PATH",
     "a nanoGPT meta.pkl, or a folder with GPT-2's vocab.json and merges.txt; with --tokens it gives the words", DS_OPTION_TEXT,
     offsetof(trace_options, tokenizer), 0},
    {"offset", "O", "token at which the window starts (0)", DS_OPTION_COUNT, offsetof(trace_options, offset), 0},
    {"show", "beta|eigenvalue|edit|loss", "what a cell shows (beta; loss for an additive checkpoint)", DS_OPTION_CHOICE,
     offsetof(trace_options, show), 0},
    {"force", "CASES",
     "force gates, in the words of ablate: closed:3.mlp, open-from:4; closed:each is each sublayer alone, what --show loss "
     "does by "
     "itself",
     DS_OPTION_TEXT, offsetof(trace_options, force), 0},
};
static const trace_options defaults = {0};

static ds_status check(const trace_options *own) {
    if ((own->text != NULL) + (own->text_file != NULL) + (own->tokens != NULL) != 1)
        return ds_fail(DS_ERR_USAGE, "trace needs one of --text WORDS, --text-file FILE and --tokens FILE");
    if (own->tokens == NULL && own->tokenizer == NULL)
        return ds_fail(DS_ERR_USAGE, "trace needs --tokenizer PATH to turn text into tokens");
    return DS_OK;
}

/* One window: seq-len tokens from the offset on, or what there is. */
static ds_status read_window(uint32_t **ids, ds_run *run, const trace_options *own) {
    ds_status status = DS_OK;
    uint64_t vocab = run->spec.vocab;
    if (own->tokenizer != NULL) DS_TRY(ds_tokenizer_open(&run->tokenizer, own->tokenizer));
    if (own->tokens != NULL)
        DS_TRY(ds_tokens_open(&run->tokens, own->tokens, vocab));
    else if (own->text_file != NULL)
        DS_TRY(ds_tokens_from_text(&run->tokens, own->text_file, run->tokenizer, vocab));
    else
        DS_TRY(ds_tokens_from_string(&run->tokens, own->text, strlen(own->text), "--text", run->tokenizer, vocab));
    uint64_t count = ds_tokens_count(run->tokens);
    run->options.offset = own->offset.value;
    if (run->options.offset >= count) {
        status =
            ds_fail(DS_ERR_INPUT, "%s: %llu tokens, but the window starts at token %llu",
                    DS_SHOW(ds_tokens_path(run->tokens)), (unsigned long long)count, (unsigned long long)run->options.offset);
        goto done;
    }
    if (run->length > count - run->options.offset) run->length = (size_t)(count - run->options.offset);
    run->sequences = 1;
    DS_NEW(*ids, run->length);
    DS_TRY(ds_tokens_read(run->tokens, *ids, run->options.offset, run->length));
done:
    return status;
}

static const char *shown_word(const ds_invocation *invocation, const ds_run *run) {
    const trace_options *own = invocation->own;
    return own->show != NULL ? own->show : ds_rule_has_gates(run->spec.rule) ? "beta" : "loss";
}

/* The cases to force, NULL for none. */
static const char *forced_cases(const ds_invocation *invocation, const ds_run *run) {
    const trace_options *own = invocation->own;
    return own->force != NULL ? own->force : ds_trace_shown(shown_word(invocation, run)) == DS_TRACE_LOSS ? "closed:each" : NULL;
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    ds_json_put_text(b, "show", shown_word(invocation, run));
    ds_json_put_text(b, "force", forced_cases(invocation, run));
}

static ds_status check_shown(const ds_invocation *invocation, const ds_run *run) {
    const char *word = shown_word(invocation, run);
    if (ds_rule_has_gates(run->spec.rule) || ds_trace_shown(word) == DS_TRACE_LOSS) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "--show %s: an additive checkpoint has no gates; it has --show loss", word);
}

typedef ds_status (*form)(ds_text *text, const ds_heat *heat, const char *caption);

static ds_status as_svg(ds_text *text, const ds_heat *heat, const char *caption) {
    (void)caption;
    return ds_heat_svg(text, heat);
}

static ds_status write_picture(const char *folder, const char *name, form make, const ds_heat *heat, const char *caption) {
    ds_status status = DS_OK;
    ds_text path = {0}, picture = {0};
    DS_TRY(make(&picture, heat, caption));
    DS_TRY(ds_text_printf(&path, "%s/%s", folder, name));
    DS_TRY(ds_write_file(path.bytes, picture.bytes, picture.length));
done:
    ds_text_release(&path);
    ds_text_release(&picture);
    return status;
}

static ds_status write_pictures(const ds_invocation *invocation, const ds_run *run, const ds_trace_view *view) {
    ds_status status = DS_OK;
    const char *folder = invocation->common.out;
    ds_text caption = {0};
    ds_heat heat;
    if (folder == NULL) return DS_OK;
    DS_TRY(ds_trace_view_heat(&heat, view, true));
    DS_TRY(ds_trace_view_caption(&caption, view));
    DS_TRY(ds_text_printf(&caption, " Checkpoint: %s (%s). Point at a token for its numbers.",
                          ds_checkpoint_path(run->checkpoint), ds_spec_variant(&run->spec)));
    DS_TRY(write_picture(folder, "trace.svg", as_svg, &heat, caption.bytes));
    DS_TRY(write_picture(folder, "trace.html", ds_heat_html, &heat, caption.bytes));
done:
    ds_text_release(&caption);
    return status;
}

static ds_status print_picture(const ds_trace_view *view) {
    ds_status status = DS_OK;
    ds_terminal terminal = ds_terminal_of(stdout);
    const ds_trace *trace = view->trace;
    ds_text picture = {0};
    ds_heat heat;
    DS_TRY(ds_trace_view_heat(&heat, view, terminal.unicode));
    DS_TRY(ds_heat_terminal(&picture, &heat, &terminal));
    (void)printf("%zu token%s", trace->tokens, ds_plural(trace->tokens));
    if (trace->tokens > 1)
        (void)printf(", intact loss %.6f nats after the first", ds_trace_mean_loss(trace->loss, trace->tokens));
    (void)printf("\n%s", picture.bytes);
done:
    ds_text_release(&picture);
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_trace_view *view) {
    ds_status status = DS_OK;
    ds_table *tables[2] = {NULL, NULL};
    json_t *results = NULL;
    DS_TRY(ds_trace_view_json(&results, view));
    DS_TRY(ds_trace_view_gate_table(&tables[0], view));
    DS_TRY(ds_trace_view_case_table(&tables[1], view));
    bool gates = ds_table_rows(tables[0]) != 0, cases = ds_table_rows(tables[1]) != 0;
    DS_TRY(ds_command_publish(invocation, run, results, tables + !gates, (size_t)gates + cases));
    DS_TRY(write_pictures(invocation, run, view));
    if (invocation->common.table) DS_TRY(print_picture(view));
done:
    json_decref(results);
    ds_table_free(&tables[0]);
    ds_table_free(&tables[1]);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const trace_options *own = invocation->own;
    ds_run run = {0};
    ds_trace trace = {0};
    ds_trace_view view = {0};
    uint32_t *ids = NULL;
    DS_TRY(check(own));
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(check_shown(invocation, &run));
    const char *force = forced_cases(invocation, &run);
    size_t shown = ds_trace_shown(shown_word(invocation, &run));
    DS_TRY(read_window(&ids, &run, own));
    DS_TRY(ds_trace_init(&trace, &run.spec, force, run.length));
    if (force != NULL && shown != DS_TRACE_LOSS && trace.count > 1) {
        status = ds_fail(DS_ERR_USAGE, "--force: a picture of gates has room for one case, \"%s\" are %zu", DS_SHOW(force),
                         trace.count);
        goto done;
    }
    DS_TRY(ds_trace_run(&trace, run.model, ids, shown != DS_TRACE_LOSS));
    DS_TRY(ds_trace_view_init(&view, &trace, shown, run.tokenizer, ids));
    DS_TRY(publish(invocation, &run, &view));
done:
    ds_trace_view_release(&view);
    ds_trace_release(&trace);
    free(ids);
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_trace = {
    .name = "trace",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "What the gates do to one text, token by token",
    .description =
        "A picture with the words of the text along the top and a row per sublayer: the gate beta, the moved eigenvalue 1 - m "
        "beta |k|^2, the size of the edit relative to the state, or how the loss of each token changes when gates are forced "
        "(drawn at the token that is predicted, so that the first has none). In colour on a terminal, in numbers or digits "
        "elsewhere; as trace.html, trace.svg and tables into the folder of --out.\n"
        "The window is as long as the text, at most --seq-len. Spaces, line ends and tabs are shown as symbols, bytes that are "
        "no "
        "whole character as \\xNN.",
    .examples = "  deltascope trace --text \"To be, or not to be\" --tokenizer meta.pkl checkpoint/\n"
                "  deltascope trace --tokens val.bin --seq-len 64 --show loss --out trace/ checkpoint/\n",
    .takes = DS_TAKES_CHECKPOINT | DS_TAKES_LENGTH | DS_TAKES_RUN,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .put_options = put_options,
    .run = run_command,
};
