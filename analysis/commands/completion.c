/* completion: a script for one of the shells, made from the command table. */
#include <string.h>

#include "cli/completion.h"

static const struct {
    const char *name;
    ds_status (*write)(ds_text *script);
} shells[] = {{"bash", ds_completion_bash}, {"zsh", ds_completion_zsh}, {"fish", ds_completion_fish}};

static ds_status run_command(const ds_invocation *invocation) {
    const char *shell = invocation->operands[0];
    ds_guess guess = {.word = shell, .length = strlen(shell)};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        ds_guess_offer(&guess, shells[i].name, strlen(shells[i].name));
        if (strcmp(shell, shells[i].name) != 0) continue;
        ds_text script = {0};
        ds_status status = shells[i].write(&script);
        if (status == DS_OK) (void)fwrite(script.bytes, 1, script.length, stdout);
        ds_text_release(&script);
        return status;
    }
    return ds_fail(DS_ERR_USAGE, "completion knows bash, zsh and fish, not \"%s\"%s", DS_SHOW(shell),
                   ds_guess_hint(&guess, "").text);
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
    .run = run_command,
};
