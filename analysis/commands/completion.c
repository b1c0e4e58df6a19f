/* completion: a bash script made from the command table. */
#include <string.h>

#include "cli/command.h"

/* Values bash can complete: the words of a choice, else files. */
static ds_status append_choices(void *context, const ds_option *option, bool common) {
    (void)common;
    if (option->kind != DS_OPTION_CHOICE) return DS_OK;
    ds_text words = {0};
    ds_status status = DS_OK;
    DS_TRY(ds_text_append(&words, option->argument, strlen(option->argument)));
    for (char *at = words.bytes; *at != '\0'; at++) {
        if (*at == '|') *at = ' ';
    }
    DS_TRY(ds_text_printf(context, "        --%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", option->name,
                          words.bytes));
done:
    ds_text_release(&words);
    return status;
}

static ds_status append_name(void *context, const ds_option *option, bool common) {
    (void)common;
    return ds_text_printf(context, " --%s", option->name);
}

static ds_status append_command(ds_text *script, const ds_command *command) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(script, "    %s)\n        case \"$before\" in\n", command->name));
    DS_TRY(ds_command_each_option(command, append_choices, script));
    DS_TRY(ds_text_printf(script, "        esac\n        options='--help"));
    DS_TRY(ds_command_each_option(command, append_name, script));
    DS_TRY(ds_text_printf(script, "' ;;\n"));
done:
    return status;
}

static ds_status make_script(ds_text *script) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(script,
                          "# bash completion of deltascope, made by: deltascope completion bash\n"
                          "_deltascope() {\n"
                          "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" options\n"
                          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                          "        COMPREPLY=($(compgen -W '--help --version"));
    for (size_t i = 0; i < ds_command_count; i++) DS_TRY(ds_text_printf(script, " %s", ds_commands[i]->name));
    DS_TRY(ds_text_printf(script, "' -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]}\" in\n"));
    for (size_t i = 0; i < ds_command_count; i++) DS_TRY(append_command(script, ds_commands[i]));
    DS_TRY(ds_text_printf(script, "    esac\n"
                                  "    case \"$word\" in\n"
                                  "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
                                  "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                                  "    esac\n}\n"
                                  "complete -o filenames -F _deltascope deltascope\n"));
done:
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    if (strcmp(invocation->operands[0], "bash") != 0)
        return ds_fail(DS_ERR_USAGE, "completion knows bash, not \"%s\"", DS_SHOW(invocation->operands[0]));
    ds_text script = {0};
    ds_status status = make_script(&script);
    if (status == DS_OK) (void)fwrite(script.bytes, 1, script.length, stdout);
    ds_text_release(&script);
    return status;
}

const ds_command ds_command_completion = {
    .name = "completion",
    .operands = "bash",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "Print a shell completion script",
    .description = "For bash: commands, options, the words an option takes, and file names.",
    .examples = "  deltascope completion bash > ~/.local/share/bash-completion/completions/deltascope\n",
    .run = run_command,
};
