/* A resumable run, killed at random moments. */
#ifndef DELTASCOPE_TESTS_RESUME_H
#define DELTASCOPE_TESTS_RESUME_H

#include <stddef.h>
#include <stdint.h>

/* Runs `command` with `options` on a fixture model once undisturbed; then the same with --resume, killed (SIGKILL) `kills`
 * times at moments drawn from `seed` and started again until it finishes, as often as it takes. Fails unless every finished run
 * left the undisturbed run's files, byte for byte, and no restart found fewer finished pieces than the one before. */
void kill_and_resume(const char *command, const char *const *options, size_t kills, uint64_t seed);

#endif
