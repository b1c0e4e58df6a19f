/* A resumable run under mpirun, one of its ranks killed at random moments. */
#ifndef DELTASCOPE_TESTS_KILLED_RANKS_H
#define DELTASCOPE_TESTS_KILLED_RANKS_H

#include <stddef.h>
#include <stdint.h>

/* Runs ablate on a fixture model over `windows` windows in one process; then with --resume on 1 to `most` ranks, a number drawn
 * anew each time, of which one, or the launcher, gets SIGKILL or SIGTERM at a moment drawn from `seed`, until `kills` were
 * struck and the last run has finished. Fails unless every struck run ended within a minute, a killed rank being named once the
 * ranks have met, and every finished one left the bytes of one process. */
void kill_ranks_and_resume(size_t windows, unsigned most, size_t kills, uint64_t seed);

#endif
