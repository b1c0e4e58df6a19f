/* Models of attention over depth drawn at random, over its rules, gates, null sources, block lengths, controls and backbones,
 * and held against every check of verify. */
#ifndef DELTASCOPE_TESTS_RANDOM_DEPTH_H
#define DELTASCOPE_TESTS_RANDOM_DEPTH_H

#include <stddef.h>
#include <stdint.h>

/* `count` models from the seed on, turn by turn of every rule; how many of them fail a check, which is printed. */
size_t random_depth_verify(uint64_t seed, size_t count);

#endif
