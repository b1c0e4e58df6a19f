/* Training struck at random moments and taken up again, until it is done with the bytes of a run that was left alone. */
#ifndef DELTASCOPE_TESTS_INTERRUPTED_TRAINING_H
#define DELTASCOPE_TESTS_INTERRUPTED_TRAINING_H

#include <stddef.h>
#include <stdint.h>

/* What strikes beside signals, in place of one: no file grows beyond some size any more, as on a disk that is full. */
enum { FULL_DISK = -1 };

/* Trains by the trace of that name with `options` (NULL after the last) beside those that start a run: once left alone, then
 * struck `times` times by `strike` (a signal or FULL_DISK), with other numbers of threads each time. No strike may cost a
 * checkpoint that was complete. */
void interrupt_training(const char *trace, const char *const *options, int strike, size_t times, uint64_t seed);
/* The same with trace, precision and what is saved, kept, logged and audited drawn by the seed. */
void interrupt_training_drawn(int strike, size_t times, uint64_t seed);

#endif
