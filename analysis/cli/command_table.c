/* The command table. */
#include <string.h>

#include "cli/command.h"

const ds_command *const ds_commands[] = {
    &ds_command_inspect, &ds_command_gates,    &ds_command_spectrum, &ds_command_ablate,     &ds_command_trace,
    &ds_command_compare, &ds_command_gradflow, &ds_command_verify,   &ds_command_report,     &ds_command_plot,
    &ds_command_train,   &ds_command_tokenize, &ds_command_bench,    &ds_command_completion, &ds_command_man,
};
const size_t ds_command_count = sizeof ds_commands / sizeof ds_commands[0];

const ds_command *ds_command_find(const char *name) {
    for (size_t i = 0; i < ds_command_count; i++) {
        if (strcmp(ds_commands[i]->name, name) == 0) return ds_commands[i];
    }
    return NULL;
}
