/* The manual page, made from the command table: the same words as --help, set in roff. */
#include <string.h>

#include "cli/command.h"

enum { MAX_SHARED = 32 };

/* What roff would read as its own: backslashes, a point or an apostrophe at the start of a line, and hyphens that are minus
 * signs. */
static ds_status append_plain(ds_text *page, const char *words, size_t length) {
    ds_status status = DS_OK;
    bool starts_line = page->length == 0 || page->bytes[page->length - 1] == '\n';
    if (starts_line && length != 0 && (words[0] == '.' || words[0] == '\'')) DS_TRY(ds_text_append(page, "\\&", 2));
    for (size_t i = 0; i < length; i++) {
        if (words[i] == '\\')
            DS_TRY(ds_text_append(page, "\\e", 2));
        else if (words[i] == '-')
            DS_TRY(ds_text_append(page, "\\-", 2));
        else
            DS_TRY(ds_text_append(page, words + i, 1));
    }
done:
    return status;
}

/* Paragraphs separated by newlines, each under a request of its own. */
static ds_status append_paragraphs(ds_text *page, const char *paragraphs) {
    ds_status status = DS_OK;
    while (*paragraphs != '\0') {
        size_t length = strcspn(paragraphs, "\n");
        if (length != 0) {
            DS_TRY(ds_text_printf(page, ".PP\n"));
            DS_TRY(append_plain(page, paragraphs, length));
            DS_TRY(ds_text_append(page, "\n", 1));
        }
        paragraphs += length + (paragraphs[length] == '\n');
    }
done:
    return status;
}

static ds_status append_option(ds_text *page, const ds_option *option) {
    ds_status status = DS_OK;
    ds_text help = {0};
    DS_TRY(ds_text_printf(page, ".TP\n\\fB\\-\\-"));
    DS_TRY(append_plain(page, option->name, strlen(option->name)));
    DS_TRY(ds_text_printf(page, "\\fR"));
    if (option->argument != NULL) {
        DS_TRY(ds_text_printf(page, " \\fI"));
        DS_TRY(append_plain(page, option->argument, strlen(option->argument)));
        DS_TRY(ds_text_printf(page, "\\fR"));
    }
    DS_TRY(ds_text_append(page, "\n", 1));
    DS_TRY(ds_option_help(&help, option));
    DS_TRY(append_plain(page, help.bytes, help.length));
    status = ds_text_append(page, "\n", 1);
done:
    ds_text_release(&help);
    return status;
}

static ds_status append_own(void *page, const ds_option *option, bool common) {
    return common ? DS_OK : append_option(page, option);
}

/* Options that several commands share are described once; a command lists their names. */
static ds_status append_shared_name(void *context, const ds_option *option, bool common) {
    ds_status status = DS_OK;
    ds_text *page = context;
    if (!common) return DS_OK;
    bool first = page->bytes[page->length - 1] == '\n';
    DS_TRY(ds_text_printf(page, "%s\\fB\\-\\-", first ? "" : ", "));
    DS_TRY(append_plain(page, option->name, strlen(option->name)));
    status = ds_text_printf(page, "\\fR");
done:
    return status;
}

typedef struct shared_options {
    const ds_option *seen[MAX_SHARED];
    size_t count;
} shared_options;

static ds_status collect_shared(void *context, const ds_option *option, bool common) {
    shared_options *shared = context;
    for (size_t i = 0; i < shared->count; i++) {
        if (shared->seen[i] == option) return DS_OK;
    }
    if (!common) return DS_OK;
    if (shared->count == MAX_SHARED) return ds_fail(DS_ERR_SYSTEM, "more than %d shared options", MAX_SHARED);
    shared->seen[shared->count++] = option;
    return DS_OK;
}

static ds_status append_examples(ds_text *page, const char *examples) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(page, ".PP\n.EX\n"));
    while (*examples != '\0') {
        size_t length = strcspn(examples, "\n");
        DS_TRY(append_plain(page, examples, length));
        DS_TRY(ds_text_append(page, "\n", 1));
        examples += length + (examples[length] == '\n');
    }
    DS_TRY(ds_text_printf(page, ".EE\n"));
done:
    return status;
}

static ds_status append_command(ds_text *page, const ds_command *command) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(page, ".SS deltascope %s", command->name));
    if (command->takes != 0 || command->option_count != 0) DS_TRY(ds_text_printf(page, " [options]"));
    DS_TRY(ds_text_printf(page, " "));
    DS_TRY(append_plain(page, command->operands, strlen(command->operands)));
    DS_TRY(ds_text_append(page, "\n", 1));
    DS_TRY(append_plain(page, command->summary, strlen(command->summary)));
    DS_TRY(ds_text_printf(page, ".\n"));
    DS_TRY(append_paragraphs(page, command->description));
    if ((command->takes & DS_TAKES_RANKS) != 0) DS_TRY(append_paragraphs(page, ds_help_ranks));
    DS_TRY(ds_command_each_option(command, append_own, page));
    if (command->takes != 0) {
        DS_TRY(ds_text_printf(page, ".PP\nCommon options:\n"));
        DS_TRY(ds_command_each_option(command, append_shared_name, page));
        DS_TRY(ds_text_printf(page, ".\n"));
    }
    if (command->examples != NULL) DS_TRY(append_examples(page, command->examples));
done:
    return status;
}

ds_status ds_manual_page(ds_text *page) {
    ds_status status = DS_OK;
    shared_options shared = {.count = 0};
    DS_TRY(ds_text_printf(page, ".\\\" Made by: deltascope man\n.TH DELTASCOPE 1 \"\" \"deltascope %s\" \"User Commands\"\n",
                          DS_VERSION));
    DS_TRY(ds_text_printf(page,
                          ".SH NAME\ndeltascope \\- spectral analysis and verification of Deep Delta Learning checkpoints\n"
                          ".SH SYNOPSIS\n.B deltascope\n\\fICOMMAND\\fR [\\fIoptions\\fR] \\fICHECKPOINT\\fR\n.br\n"
                          ".B deltascope\n\\-\\-help | \\-\\-version | \\fICOMMAND\\fR \\-\\-help\n.SH DESCRIPTION\n"));
    DS_TRY(append_paragraphs(page, ds_help_description));
    DS_TRY(ds_text_printf(page, ".SH COMMANDS\n"));
    for (size_t i = 0; i < ds_command_count; i++) {
        DS_TRY(append_command(page, ds_commands[i]));
        DS_TRY(ds_command_each_option(ds_commands[i], collect_shared, &shared));
    }
    DS_TRY(ds_text_printf(page, ".SH COMMON OPTIONS\n"));
    for (size_t i = 0; i < shared.count; i++) DS_TRY(append_option(page, shared.seen[i]));
    DS_TRY(ds_text_printf(page, ".SH EXIT STATUS\n"));
    for (size_t i = 0; i < ds_exit_status_count; i++) DS_TRY(ds_text_printf(page, ".TP\n%zu\n%s\n", i, ds_exit_statuses[i]));
done:
    return status;
}
