/* Models of attention over depth and of parallel streams drawn at random, and held against every check of verify. */
#ifndef DELTASCOPE_TESTS_RANDOM_RULES_H
#define DELTASCOPE_TESTS_RANDOM_RULES_H

#include <stddef.h>
#include <stdint.h>

/* `count` models from the seed on, turn by turn of every rule; how many of them fail a check, which is printed. Of depth: over
 * gates, null sources, block lengths, controls and backbones; of streams: over their number, with and without maps, how R is
 * made, controls and backbones. */
size_t random_depth_verify(uint64_t seed, size_t count);
size_t random_streams_verify(uint64_t seed, size_t count);

#endif
