/* The command table. */
#include <string.h>

#include "cli/command.h"

const ds_command *const ds_commands[] = {
    &ds_command_inspect,  &ds_command_gates,   &ds_command_spectrum,   &ds_command_ablate, &ds_command_depth,
    &ds_command_trace,    &ds_command_compare, &ds_command_gradflow,   &ds_command_verify, &ds_command_report,
    &ds_command_check,    &ds_command_diff,    &ds_command_plot,       &ds_command_train,  &ds_command_study,
    &ds_command_tokenize, &ds_command_bench,   &ds_command_completion, &ds_command_man,
};
const size_t ds_command_count = sizeof ds_commands / sizeof ds_commands[0];

const ds_command *ds_command_find(const char *name) {
    for (size_t i = 0; i < ds_command_count; i++) {
        if (strcmp(ds_commands[i]->name, name) == 0) return ds_commands[i];
    }
    return NULL;
}

ds_status ds_command_unknown(const char *name) {
    ds_guess guess = {.word = name, .length = strlen(name)};
    for (size_t i = 0; i < ds_command_count; i++) ds_guess_offer(&guess, ds_commands[i]->name, strlen(ds_commands[i]->name));
    ds_guess_offer(&guess, "--help", strlen("--help"));
    ds_guess_offer(&guess, "--version", strlen("--version"));
    return ds_fail(DS_ERR_USAGE, "there is no command \"%s\"%s; \"deltascope --help\" lists them", DS_SHOW(name),
                   ds_guess_hint(&guess, "").text);
}
