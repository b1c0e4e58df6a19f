/* man: the manual page, made from the command table. */
#include "cli/command.h"

static ds_status run_command(const ds_invocation *invocation) {
    (void)invocation;
    ds_text page = {0};
    ds_status status = ds_manual_page(&page);
    if (status == DS_OK) (void)fwrite(page.bytes, 1, page.length, stdout);
    ds_text_release(&page);
    return status;
}

const ds_command ds_command_man = {
    .name = "man",
    .operands = "",
    .summary = "Print the manual page, in roff",
    .description = "What \"make install\" puts into share/man/man1; to read it without installing, give it to man.",
    .examples = "  deltascope man | man -l -\n",
    .run = run_command,
};
