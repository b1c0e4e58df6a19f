/* Checkpoints that differ in their seed alone: two updates from one start. */
#ifndef DELTASCOPE_TESTS_SEED_MODEL_H
#define DELTASCOPE_TESTS_SEED_MODEL_H

/* Trains a tiny model by the rule ("delta", "write-only", ...) on the data drawn by the seed, once; the path of its checkpoint,
 * in the scratch folder. */
const char *seed_model(const char *rule, unsigned seed);

#endif
