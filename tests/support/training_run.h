/* The program training on a trace of fixtures/training, as a script would call it. */
#ifndef DELTASCOPE_TESTS_TRAINING_RUN_H
#define DELTASCOPE_TESTS_TRAINING_RUN_H

#include <jansson.h>

#include "child.h"
#include "training_trace.h"

extern const child_limits usual;
extern child found; /* what the last call came to */

/* recipe.json of a trace, in the scratch folder. */
const char *recipe_of(const training_trace *t);
/* Runs train on a trace into the folder `out` of the scratch folder, with up to twenty more arguments, NULL after the last. */
void train(const training_trace *t, const char *out, const char *const *more, child_limits limits);
void expect_refusal(int status, const char *words);
json_t *read_json(const char *path); /* a new reference */
const char *inside(const char *folder, const char *name);

#endif
