/* completion: a script for one of the shells, made from the command table. */
#include <string.h>

#include "completion.h"

static const struct {
    const char *name;
    ds_status (*write)(ds_text *script);
} shells[] = {{"bash", ds_completion_bash}, {"zsh", ds_completion_zsh}, {"fish", ds_completion_fish}};

ds_status ds_completion_words(ds_text *script, const char *alternatives) {
    ds_status status = DS_OK;
    for (const char *at = alternatives; *at != '\0'; at++) DS_TRY(ds_text_append(script, *at == '|' ? " " : at, 1));
done:
    return status;
}

ds_status ds_completion_quoted(ds_text *script, const char *bytes, const char *special) {
    ds_status status = DS_OK;
    for (const char *at = bytes; *at != '\0'; at++) {
        if (*at == '\'') {
            DS_TRY(ds_text_append(script, "'\\''", 4));
            continue;
        }
        if (strchr(special, *at) != NULL) DS_TRY(ds_text_append(script, "\\", 1));
        DS_TRY(ds_text_append(script, at, 1));
    }
done:
    return status;
}

bool ds_completion_takes_path(const ds_option *option) {
    if (option->kind != DS_OPTION_TEXT) return false;
    return strcmp(option->argument, "FILE") == 0 || strcmp(option->argument, "PATH") == 0 ||
           strcmp(option->argument, "DIR") == 0;
}

static ds_status run(const ds_invocation *invocation) {
    const char *shell = invocation->operands[0];
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shell, shells[i].name) != 0) continue;
        ds_text script = {0};
        ds_status status = shells[i].write(&script);
        if (status == DS_OK) (void)fwrite(script.bytes, 1, script.length, stdout);
        ds_text_release(&script);
        return status;
    }
    return ds_fail(DS_ERR_USAGE, "completion knows bash, zsh and fish, not \"%s\"", DS_SHOW(shell));
}

const ds_command ds_command_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "Print a shell completion script",
    .description = "Commands, options, the words an option takes, and file names. \"make install\" puts all three into place.",
    .examples = "  deltascope completion bash > ~/.local/share/bash-completion/completions/deltascope\n"
                "  deltascope completion zsh > ~/.zfunc/_deltascope\n"
                "  deltascope completion fish > ~/.config/fish/completions/deltascope.fish\n",
    .run = run,
};
