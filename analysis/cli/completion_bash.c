#include "cli/completion.h"

#include <string.h>

/* Values bash can complete: words where an option has them, else files. */
static ds_status append_choices(void *context, const ds_option *option, bool common) {
    (void)common;
    if (!ds_completion_has_values(option)) return DS_OK;
    ds_status status = DS_OK;
    bool list = ds_completion_is_list(option);
    DS_TRY(ds_text_printf(context, "        --%s) COMPREPLY=($(compgen %s-W '", option->name, list ? "-P \"$listed\" " : ""));
    DS_TRY(ds_completion_values(context, option));
    DS_TRY(ds_text_printf(context, "' -- \"$%s\")); return ;;\n", list ? "last" : "word"));
done:
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
    if (strchr(command->operands, '|') != NULL) {
        DS_TRY(ds_text_printf(script, "        %s) COMPREPLY=($(compgen -W '", command->name));
        DS_TRY(ds_completion_words(script, command->operands));
        DS_TRY(ds_text_printf(script, "' -- \"$word\")); return ;;\n"));
    }
    DS_TRY(ds_text_printf(script, "        esac\n        options='--help"));
    DS_TRY(ds_command_each_option(command, append_name, script));
    DS_TRY(ds_text_printf(script, "' ;;\n"));
done:
    return status;
}

static ds_status append_commands(ds_text *script) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < ds_command_count; i++) DS_TRY(ds_text_printf(script, " %s", ds_commands[i]->name));
done:
    return status;
}

ds_status ds_completion_bash(ds_text *script) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(
        script, "# bash completion of deltascope, made by: deltascope completion bash\n"
                "_deltascope() {\n"
                "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" options listed last\n"
                "    # --option=value comes as three words\n"
                "    if [ \"$word\" = = ]; then word=\n"
                "    elif [ \"$before\" = = ]; then before=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
                "    # of a list, what stands behind the last comma\n"
                "    last=\"${word##*,}\" listed=\"${word%%\"${word##*,}\"}\"\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                "        COMPREPLY=($(compgen -W '--help --version help"));
    DS_TRY(append_commands(script));
    DS_TRY(ds_text_printf(script, "' -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]}\" in\n"
                                  "    help) COMPREPLY=($(compgen -W '"));
    DS_TRY(append_commands(script));
    DS_TRY(ds_text_printf(script, "' -- \"$word\")); return ;;\n"));
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
