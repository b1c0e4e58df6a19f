/* A study struck at random moments and taken up until it is done. */
#ifndef DELTASCOPE_TESTS_INTERRUPTED_STUDY_H
#define DELTASCOPE_TESTS_INTERRUPTED_STUDY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Runs the plan once undisturbed into the scratch folder "whole", unless it lies there; then into "pieces", where it is struck
 * `times` times, by SIGKILL and SIGTERM in turn, and gone on with by other numbers of threads until it is finished. Fails
 * unless both folders hold the same bytes, but for how long it took. */
void interrupt_study(const char *plan, size_t times, uint64_t seed);

/* Fails unless two folders of one plan hold the same bytes, but for how long it took. */
void expect_same_studies(const char *one, const char *other);

/* Takes out of a study.json what is the machine's: seconds, load. */
void drop_study_times(json_t *study);

#endif
