/* trace: one text, token by token. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/standard_streams.h"
#include "cli/text_wrapping.h"

#include "deltascope/measure/token_trace.h"
#include "model_command.h"
#include "trace_view.h"

typedef struct trace_options {
    ds_trace_options measure;
    ds_count offset;
    const char *token_type;
} trace_options;

#define WINDOW(field) offsetof(trace_options, measure.window.field)

static const ds_option options[] = {
    {"text", "FILE|WORDS", "a file with the text, - for standard input, or, where there is no such file, the words themselves",
     DS_OPTION_TEXT, WINDOW(text), 0, NULL},
    {"text-file", "FILE", "a file with the text, never words", DS_OPTION_TEXT, WINDOW(text_file), 0, NULL},
    {"tokens", "FILE", "token ids: raw little-endian uint16, a headered shard, or .npy", DS_OPTION_TEXT, WINDOW(tokens), 0,
     NULL},
    {"token-type", "u16|u32|i32|i64", "how a raw file of token ids stores them, where its bytes do not tell (u16)",
     DS_OPTION_CHOICE, offsetof(trace_options, token_type), 0, NULL},
    {"tokenizer", "PATH",
     "a nanoGPT meta.pkl, a tokenizer.json, or a folder with one or with vocab.json and merges.txt; with --tokens it gives the "
     "words",
     DS_OPTION_TEXT, WINDOW(tokenizer), 0, NULL},
    {"offset", "O", "token at which the window starts (0)", DS_OPTION_COUNT, offsetof(trace_options, offset), 0, NULL},
    {"show", "beta|eigenvalue|edit|loss|sources|mixing",
     "what a cell shows (beta; sources for attention over depth, mixing for parallel streams, loss for an additive checkpoint)",
     DS_OPTION_CHOICE, offsetof(trace_options, measure.show), 0, NULL},
    {"force", "CASES",
     "force gates, in the words of ablate: closed:3.mlp, open-from:4; closed:each is each sublayer alone, what --show loss "
     "does by itself",
     DS_OPTION_TEXT, offsetof(trace_options, measure.force), 0, NULL},
};
static const trace_options defaults = {.measure = {.show = NULL}};

typedef ds_status (*form)(ds_text *text, const ds_heat *heat, const char *caption);

static ds_status as_svg(ds_text *text, const ds_heat *heat, const char *caption) {
    (void)caption;
    return ds_heat_svg(text, heat);
}

static ds_status write_picture(const ds_folder *folder, const char *name, form make, const ds_heat *heat, const char *caption) {
    ds_status status = DS_OK;
    ds_text picture = {0};
    DS_TRY(make(&picture, heat, caption));
    DS_TRY(ds_write_file_in(folder, name, picture.bytes, picture.length));
done:
    ds_text_release(&picture);
    return status;
}

/* `cut`: NULL when all of the text is in them. */
static ds_status write_pictures(const ds_invocation *invocation, const ds_run *run, const ds_trace_view *view,
                                const char *cut) {
    ds_status status = DS_OK;
    ds_text caption = {0};
    ds_heat heat;
    ds_folder *folder;
    DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(ds_trace_view_heat(&heat, view, true));
    DS_TRY(ds_trace_view_caption(&caption, view));
    DS_TRY(ds_text_printf(&caption, " Checkpoint: %s (%s). Point at a token for its numbers.",
                          DS_SHOW(ds_checkpoint_path(run->checkpoint)), ds_spec_variant(&run->spec)));
    if (cut != NULL) DS_TRY(ds_text_printf(&caption, " Shown: %s.", cut));
    DS_TRY(write_picture(folder, "trace.svg", as_svg, &heat, caption.bytes));
    DS_TRY(write_picture(folder, "trace.html", ds_heat_html, &heat, caption.bytes));
done:
    ds_text_release(&caption);
    return status;
}

/* What of the text is not in the picture. Appends nothing when all of it is. */
static ds_status append_cut(ds_text *text, const ds_run *run) {
    ds_status status = DS_OK;
    uint64_t count = ds_tokens_count(run->tokens), first = run->options.offset;
    if (run->length == count) return DS_OK;
    DS_TRY(ds_text_printf(text,
                          "tokens %" PRIu64 " to %" PRIu64 " of the %" PRIu64 " there are: %s--seq-len %" PRIu64
                          " shows all, --offset O another part",
                          first, first + run->length - 1, count, first == 0 ? "" : "--offset 0 ", count));
done:
    return status;
}

static ds_status print_picture(const ds_trace_view *view, const char *cut) {
    ds_status status = DS_OK;
    ds_terminal terminal = ds_output_terminal();
    ds_text picture = {0};
    ds_heat heat;
    DS_TRY(ds_trace_view_heat(&heat, view, terminal.unicode));
    DS_TRY(ds_heat_terminal(&picture, &heat, &terminal));
    (void)printf("%zu token%s", view->tokens, ds_plural(view->tokens));
    if (view->tokens > 1) (void)printf(", intact loss %.6f nats after the first", ds_json_real_at(view->results, "loss"));
    (void)printf("\n");
    if (cut != NULL) ds_print_wrapped(cut, 0, 0);
    (void)printf("%s", picture.bytes);
done:
    ds_text_release(&picture);
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    ds_table *tables[2] = {NULL, NULL};
    ds_trace_view view = {.tokens = 0};
    ds_text cut = {0};
    DS_TRY(append_cut(&cut, run));
    DS_TRY(ds_trace_view_init(&view, told->options, told->results, run->tokenizer));
    DS_TRY(ds_trace_gate_table(&tables[0], told->results));
    DS_TRY(ds_trace_case_table(&tables[1], told->results));
    bool gates = ds_table_rows(tables[0]) != 0, cases = ds_table_rows(tables[1]) != 0;
    DS_TRY(ds_command_publish_tables(invocation, run, told, tables + !gates, (size_t)gates + cases));
    if (invocation->common.out != NULL) DS_TRY(write_pictures(invocation, run, &view, cut.bytes));
    if (invocation->common.table)
        DS_TRY(print_picture(&view, cut.bytes));
    else if (cut.bytes != NULL)
        (void)fprintf(stderr, "deltascope: %s\n", cut.bytes);
done:
    ds_text_release(&cut);
    ds_trace_view_release(&view);
    ds_table_free(&tables[0]);
    ds_table_free(&tables[1]);
    return status;
}

static bool is_file(const char *text) {
    struct stat info;
    return text != NULL && stat(text, &info) == 0 && S_ISREG(info.st_mode);
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const trace_options *given = invocation->own;
    ds_trace_options own = given->measure;
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    own.window.offset = given->offset.value;
    own.window.offset_given = given->offset.given;
    own.window.type = ds_token_type_find(given->token_type);
    if (own.window.text_file == NULL && is_file(own.window.text)) {
        own.window.text_file = own.window.text;
        own.window.text = NULL;
    }
    DS_TRY(ds_trace_check(&own));
    DS_TRY(ds_command_open(&run, invocation));
    const size_t told_already = json_array_size(run.warnings);
    DS_TRY(ds_trace_results(&told.options, &told.results, &run, &own));
    ds_command_warn(&run, told_already); /* of its window */
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(ds_trace_gate_columns), DS_COLUMN_SET(ds_trace_case_columns)};

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
        "elsewhere; as trace.html, trace.svg and tables into the folder of --out. Of attention over depth the rows are reads "
        "and a cell is the number of effective sources, of "
        "parallel streams the share of R beside its diagonal; --json has all weights, pre, post and R of every token.\n"
        "The window is as long as the text, at most --seq-len; what is left out is said. Spaces, line ends and tabs are shown "
        "as symbols, bytes that are "
        "no whole character as \\xNN.",
    .examples = "  deltascope trace --text \"To be, or not to be\" --tokenizer meta.pkl checkpoint/\n"
                "  deltascope trace --text play.txt --seq-len 200 --tokenizer meta.pkl checkpoint/\n"
                "  deltascope trace --tokens val.bin --seq-len 64 --show loss --out trace/ checkpoint/\n",
    .takes = DS_TAKES_CHECKPOINT | DS_TAKES_LENGTH | DS_TAKES_RUN | DS_TAKES_HISTORIES | DS_TAKES_STREAMS | DS_TAKES_RANKS,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
};
