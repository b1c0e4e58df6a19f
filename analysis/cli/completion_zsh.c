#include <string.h>

#include "cli/completion.h"

/* What _arguments reads as its own inside the text of one option. */
static const char special[] = "[]:\\";

static ds_status append_option(void *script, const ds_option *option, bool common) {
    ds_status status = DS_OK;
    ds_text help = {0};
    (void)common;
    DS_TRY(ds_option_help(&help, option));
    DS_TRY(ds_text_printf(script, " \\\n            '--%s%s[", option->name, option->argument == NULL ? "" : "="));
    DS_TRY(ds_completion_quoted(script, help.bytes, special));
    DS_TRY(ds_text_printf(script, "]"));
    if (ds_completion_has_values(option)) {
        bool list = ds_completion_is_list(option);
        DS_TRY(ds_text_printf(script, list ? ":word:_values -s , word " : ":word:("));
        DS_TRY(ds_completion_values(script, option));
        DS_TRY(ds_text_printf(script, list ? "" : ")"));
    } else if (option->argument != NULL) {
        DS_TRY(ds_text_printf(script, ":%s:%s", option->argument, ds_completion_takes_path(option) ? "_files" : ""));
    }
    DS_TRY(ds_text_printf(script, "'"));
done:
    ds_text_release(&help);
    return status;
}

static ds_status append_command(ds_text *script, const ds_command *command) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(script, "    %s)\n        _arguments '--help[print help]'", command->name));
    DS_TRY(ds_command_each_option(command, append_option, script));
    if (strchr(command->operands, '|') != NULL) {
        DS_TRY(ds_text_printf(script, " \\\n            '1:word:("));
        DS_TRY(ds_completion_words(script, command->operands));
        DS_TRY(ds_text_printf(script, ")'"));
    } else if (command->most_operands > 0) {
        DS_TRY(ds_text_printf(script, " \\\n            '*:file:_files'"));
    }
    DS_TRY(ds_text_printf(script, " ;;\n"));
done:
    return status;
}

ds_status ds_completion_zsh(ds_text *script) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(script, "#compdef deltascope\n"
                                  "# zsh completion of deltascope, made by: deltascope completion zsh\n"
                                  "_deltascope() {\n"
                                  "    if (( CURRENT == 2 )) || [[ $CURRENT -eq 3 && $words[2] == help ]]; then\n"
                                  "        local -a commands=(\n"));
    for (size_t i = 0; i < ds_command_count; i++) {
        DS_TRY(ds_text_printf(script, "            '%s:", ds_commands[i]->name));
        DS_TRY(ds_completion_quoted(script, ds_commands[i]->summary, special));
        DS_TRY(ds_text_printf(script, "'\n"));
    }
    DS_TRY(ds_text_printf(script, "        )\n"
                                  "        (( CURRENT == 2 )) && commands+=('help:Print the help of a command')\n"
                                  "        _describe command commands\n"
                                  "        (( CURRENT == 2 )) && _arguments '--help[print help]' '--version[print versions]'\n"
                                  "        return\n"
                                  "    fi\n"
                                  "    shift words\n"
                                  "    (( CURRENT-- ))\n"
                                  "    case \"$words[1]\" in\n"));
    for (size_t i = 0; i < ds_command_count; i++) DS_TRY(append_command(script, ds_commands[i]));
    /* autoloaded, the file's text is the function; sourced, it registers it */
    DS_TRY(ds_text_printf(script,
                          "    esac\n}\n"
                          "if [[ \"$funcstack[1]\" == _deltascope ]]; then _deltascope \"$@\"; else compdef _deltascope "
                          "deltascope; fi\n"));
done:
    return status;
}
