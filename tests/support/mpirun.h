/* The program under mpirun, where that is installed and the program's plug-in was built. */
#ifndef DELTASCOPE_TESTS_MPIRUN_H
#define DELTASCOPE_TESTS_MPIRUN_H

#include "child.h"

/* Finds mpirun and sets what it needs in the environment: consent of root, more ranks than processors. False, with a word to
 * the reader, where there is none. */
bool mpirun_is_there(void);
/* `arguments` ends with NULL and does not hold the program's name. */
void mpirun(child *result, unsigned ranks, const char *const *arguments, child_limits limits);

#define MPIRUN(result, ranks, limits, ...) mpirun((result), (ranks), (const char *const[]){__VA_ARGS__, NULL}, (limits))

/* Runs the program with `arguments` and --json in one process and on `ranks`: fails unless every number of the result is
 * the same bits, and so are standard output and error. */
void same_under_mpirun(unsigned ranks, const char *const *arguments);

#define SAME_UNDER_MPIRUN(ranks, ...) same_under_mpirun((ranks), (const char *const[]){__VA_ARGS__, NULL})

/* Runs the program with `arguments` and --out in one process and on `ranks`, both into the same folder, the first being moved
 * away: fails unless `expect_same` finds the same in both. */
void same_folder_under_mpirun(unsigned ranks, void (*expect_same)(const char *one, const char *other),
                              const char *const *arguments);

#define SAME_FOLDER_UNDER_MPIRUN(ranks, expect_same, ...)                                                                      \
    same_folder_under_mpirun((ranks), (expect_same), (const char *const[]){__VA_ARGS__, NULL})

#endif
