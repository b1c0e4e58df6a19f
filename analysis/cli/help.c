/* Help text, made from the command table. */
#include <string.h>

#include "cli/command.h"

enum { OPTION_COLUMN = 27, HELP_WIDTH = 79 };

const char ds_help_description[] =
    "Spectral analysis and verification of Deep Delta Learning checkpoints: how the gates of a trained model are used, what "
    "the eigenvalues of its shortcut operators are, and what each gate is worth when it is forced shut.\n\n"
    "CHECKPOINT is a model directory (config.json beside safetensors or torch weights), or a weight file with --config FILE.";

const char ds_help_ranks[] = "Under mpirun -n N, N processes share the work; the result has the same bytes.";

const char *const ds_exit_statuses[] = {
    [DS_OK] = "done",
    [DS_CHECK_FAILED] = "verify, check or diff ran, and something does not hold",
    [DS_ERR_USAGE] = "wrong usage",
    [DS_ERR_INPUT] = "an input is unusable",
    [DS_ERR_SYSTEM] = "the system failed",
};
const size_t ds_exit_status_count = sizeof ds_exit_statuses / sizeof ds_exit_statuses[0];

/* Wraps one paragraph at HELP_WIDTH, continuing at `indent`; the caller has already filled the line up to `column`. */
static ds_status append_wrapped(ds_text *text, const char *words, size_t indent, size_t column) {
    ds_status status = DS_OK;
    bool first = true;
    while (*words != '\0') {
        size_t length = strcspn(words, " ");
        if (!first && column + 1 + length > HELP_WIDTH) {
            DS_TRY(ds_text_printf(text, "\n%*s", (int)indent, ""));
            column = indent;
        } else if (!first) {
            DS_TRY(ds_text_append(text, " ", 1));
            column++;
        }
        DS_TRY(ds_text_append(text, words, length));
        column += length;
        words += length;
        words += strspn(words, " ");
        first = false;
    }
    DS_TRY(ds_text_append(text, "\n", 1));
done:
    return status;
}

static ds_status append_option(void *context, const ds_option *option, bool common) {
    ds_status status = DS_OK;
    ds_text *text = context, help = {0};
    (void)common;
    size_t start = text->length;
    bool takes_value = option->argument != NULL;
    DS_TRY(ds_text_printf(text, "  --%s%s%s", option->name, takes_value ? " " : "", takes_value ? option->argument : ""));
    size_t used = text->length - start;
    if (used + 2 > OPTION_COLUMN) {
        DS_TRY(ds_text_printf(text, "\n"));
        used = 0;
    }
    DS_TRY(ds_text_printf(text, "%*s", (int)(OPTION_COLUMN - used), ""));
    DS_TRY(ds_option_help(&help, option));
    DS_TRY(append_wrapped(text, help.bytes, OPTION_COLUMN, OPTION_COLUMN));
done:
    ds_text_release(&help);
    return status;
}

static ds_status append_paragraphs(ds_text *text, const char *paragraphs) {
    ds_status status = DS_OK;
    ds_text line = {0};
    while (*paragraphs != '\0') {
        size_t length = strcspn(paragraphs, "\n");
        line.length = 0;
        DS_TRY(ds_text_append(&line, paragraphs, length));
        DS_TRY(append_wrapped(text, line.bytes, 0, 0));
        paragraphs += length + (paragraphs[length] == '\n');
    }
done:
    ds_text_release(&line);
    return status;
}

ds_status ds_help_command(ds_text *text, const ds_command *command) {
    ds_status status = DS_OK;
    bool options = command->takes != 0 || command->option_count != 0;
    DS_TRY(ds_text_printf(text, "usage: deltascope %s%s%s%s\n\n", command->name, options ? " [options]" : "",
                          command->operands[0] == '\0' ? "" : " ", command->operands));
    DS_TRY(ds_text_printf(text, "%s.\n\n", command->summary));
    DS_TRY(append_paragraphs(text, command->description));
    if ((command->takes & DS_TAKES_RANKS) != 0) DS_TRY(append_paragraphs(text, ds_help_ranks));
    if (options) {
        DS_TRY(ds_text_printf(text, "\noptions:\n"));
        DS_TRY(ds_command_each_option(command, append_option, text));
    }
    if (command->examples != NULL) DS_TRY(ds_text_printf(text, "\nexamples:\n%s", command->examples));
done:
    return status;
}

ds_status ds_help_program(ds_text *text) {
    ds_status status = DS_OK;
    ds_text statuses = {0};
    DS_TRY(ds_text_printf(text, "usage: deltascope COMMAND [options] CHECKPOINT\n"
                                "       deltascope --help | --version | COMMAND --help\n\n"));
    DS_TRY(append_paragraphs(text, ds_help_description));
    DS_TRY(ds_text_printf(text, "\ncommands:\n"));
    for (size_t i = 0; i < ds_command_count; i++)
        DS_TRY(ds_text_printf(text, "  %-12s %s\n", ds_commands[i]->name, ds_commands[i]->summary));
    DS_TRY(ds_text_printf(text, "\n"));
    DS_TRY(ds_text_printf(&statuses, "exit status:"));
    for (size_t i = 0; i < ds_exit_status_count; i++)
        DS_TRY(ds_text_printf(&statuses, " %zu %s%c", i, ds_exit_statuses[i], i + 1 < ds_exit_status_count ? ';' : '.'));
    DS_TRY(append_paragraphs(text, statuses.bytes));
done:
    ds_text_release(&statuses);
    return status;
}
