/* Every command on a tiny model, with one allocation after the other failing. */
#ifndef DELTASCOPE_TESTS_SWEEP_H
#define DELTASCOPE_TESTS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the models and token file the commands need into the scratch folder. */
void sweep_prepare(void);
size_t sweep_commands(void);
const char *sweep_name(size_t command);
typedef struct sweep_count {
    uint64_t allocations;  /* of an undisturbed run */
    size_t paths, points;  /* chains of calls they were asked along; first and last allocation of each, together */
    size_t runs, given_up; /* of them those that ended where FLINT would have aborted */
} sweep_count;
/* Fails the first and the last allocation of every call path of the command in turn, evenly spaced when there are more than
 * `most`; with `persistent`, all that follow fail as well. Each run ends with exit status 4 (or 3), one sentence, the previous
 * result or the whole new one, nothing left unfreed or open and no temporary; or, where the allocation was not needed, with 0
 * and the same results. */
sweep_count sweep_allocations(size_t command, size_t most, bool persistent);
/* The arguments of a command, ended by NULL; its results go to sweep_result(). */
const char *const *sweep_arguments(size_t command);
const char *sweep_result(void);
/* The result file holds what it held before the command; the scratch folder holds no temporary. */
void sweep_expect_untouched(const char *what);
void sweep_reset_result(void);

#endif
