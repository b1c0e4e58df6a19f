#include <string.h>

#include "cli/completion.h"

typedef struct place {
    ds_text *script;
    const ds_command *command;
} place;

/* In fish's single quotes a backslash and a quote are written with a backslash. */
static ds_status append_quoted(ds_text *script, const char *bytes) {
    ds_status status = DS_OK;
    for (const char *at = bytes; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') DS_TRY(ds_text_append(script, "\\", 1));
        DS_TRY(ds_text_append(script, at, 1));
    }
done:
    return status;
}

static ds_status begin(ds_text *script, const ds_command *command) {
    return ds_text_printf(script, "complete -c deltascope -n '__fish_seen_subcommand_from %s'", command->name);
}

static ds_status append_option(void *context, const ds_option *option, bool common) {
    ds_status status = DS_OK;
    const place *p = context;
    ds_text help = {0};
    (void)common;
    DS_TRY(ds_option_help(&help, option));
    DS_TRY(begin(p->script, p->command));
    DS_TRY(ds_text_printf(p->script, " -l %s", option->name));
    if (ds_completion_has_values(option)) {
        bool list = ds_completion_is_list(option);
        DS_TRY(ds_text_printf(p->script, " -x -a '%s", list ? "(__deltascope_list " : ""));
        DS_TRY(ds_completion_values(p->script, option));
        DS_TRY(ds_text_printf(p->script, "%s'", list ? ")" : ""));
    } else if (option->argument != NULL) {
        DS_TRY(ds_text_printf(p->script, ds_completion_takes_path(option) ? " -r -F" : " -x"));
    }
    DS_TRY(ds_text_printf(p->script, " -d '"));
    DS_TRY(append_quoted(p->script, help.bytes));
    DS_TRY(ds_text_printf(p->script, "'\n"));
done:
    ds_text_release(&help);
    return status;
}

static ds_status append_command(ds_text *script, const ds_command *command) {
    ds_status status = DS_OK;
    place here = {script, command};
    DS_TRY(ds_text_printf(script, "complete -c deltascope -n __fish_use_subcommand -f -a %s -d '", command->name));
    DS_TRY(append_quoted(script, command->summary));
    DS_TRY(ds_text_printf(script, "'\n"));
    DS_TRY(begin(script, command));
    DS_TRY(ds_text_printf(script, " -l help -d 'print help'\n"));
    DS_TRY(ds_command_each_option(command, append_option, &here));
    if (strchr(command->operands, '|') != NULL) {
        DS_TRY(begin(script, command));
        DS_TRY(ds_text_printf(script, " -f -a '"));
        DS_TRY(ds_completion_words(script, command->operands));
        DS_TRY(ds_text_printf(script, "'\n"));
    }
done:
    return status;
}

ds_status ds_completion_fish(ds_text *script) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(script, "# fish completion of deltascope, made by: deltascope completion fish\n"
                                  "# the words, behind what stands before the last comma\n"
                                  "function __deltascope_list\n"
                                  "    set -l typed (string replace -r '^--[^=]*=' '' -- (commandline -ct))\n"
                                  "    printf '%%s\\n' (string replace -r '[^,]*$' '' -- \"$typed\")$argv\n"
                                  "end\n"
                                  "complete -c deltascope -n __fish_use_subcommand -f -l help -d 'print help'\n"
                                  "complete -c deltascope -n __fish_use_subcommand -f -l version -d 'print versions'\n"));
    for (size_t i = 0; i < ds_command_count; i++) DS_TRY(append_command(script, ds_commands[i]));
    DS_TRY(ds_text_printf(script,
                          "complete -c deltascope -n __fish_use_subcommand -f -a help -d 'print the help of a command'\n"
                          "complete -c deltascope -n '__fish_seen_subcommand_from help' -f -a '"));
    for (size_t i = 0; i < ds_command_count; i++) DS_TRY(ds_text_printf(script, "%s ", ds_commands[i]->name));
    DS_TRY(ds_text_printf(script, "'\n"));
done:
    return status;
}
