/* A sample of what a file claims. A claim is what can be measured by itself: a row of a command's results where it has such
 * rows ("verify/checks/update.contraction"), what else a command says as a whole ("verify"). Each is drawn by itself, so
 * that a single forged number is caught with the probability that its claim is drawn with. */
#ifndef DELTASCOPE_COMMANDS_DRAWN_CLAIMS_H
#define DELTASCOPE_COMMANDS_DRAWN_CLAIMS_H

#include "cli/command.h"

typedef struct ds_sample {
    double share; /* 1: everything */
    uint64_t seed;
} ds_sample;

/* Whether a claim is in the sample; which others there are does not matter. */
bool ds_sample_draws(const ds_sample *sample, const char *claim);
/* The same of the row `name` of a command; what has no name (NULL) is always looked at. */
ds_status ds_sample_draws_row(bool *drawn, const ds_sample *sample, const ds_command *command, const char *name) DS_MUST_CHECK;
/* names <- those of `all` that are drawn, comma separated; *count <- how many. */
ds_status ds_sample_rows(ds_text *names, size_t *count, const ds_sample *sample, const ds_command *command,
                         const json_t *all) DS_MUST_CHECK;
/* a, *b <- of claimed and measured results of a command with rows what was drawn, new references: rows keep their places, an
 * empty object stands for those not drawn, on both sides, and null for those that were not measured. A row has its partner
 * by name and in order. */
ds_status ds_sample_cut(json_t **a, json_t **b, const ds_sample *sample, const ds_command *command, const json_t *claimed,
                        const json_t *measured) DS_MUST_CHECK;

#endif
