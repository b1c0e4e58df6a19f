/* A model of fixtures/models with a batch and the golden values that belong to it: for every test that runs a pass. */
#ifndef DELTASCOPE_TESTS_FORWARD_CASE_H
#define DELTASCOPE_TESTS_FORWARD_CASE_H

#include <jansson.h>

#include "deltascope/model.h"

typedef struct forward_case {
    const char *name;
    ds_model *model;
    const ds_spec *spec;
    size_t size; /* of one number */
    ds_workspace *workspace;
    uint32_t *tokens, *targets;
    ds_batch batch;
    json_t *golden; /* fixtures/golden/NAME.json */
} forward_case;

/* The small models, the trained ddl-cc-ec, then those that together move every option away from its default. */
extern const char *const forward_models[];
extern const size_t forward_model_count;
extern const size_t
    forward_mild_count; /* up to the trained one: no kink or curvature that a difference of losses would step over */

/* The golden windows, when length is 0: they start at the first validation token. Otherwise `sequences` windows of `length`. */
forward_case forward_case_open(const char *name, ds_precision precision, size_t sequences, size_t length);
void forward_case_close(forward_case *c);

/* Owned copies; freed with free(). */
void *forward_case_embed(const forward_case *c);
/* State after all sublayers under `gates` (NULL: learned). */
void *forward_case_state(const forward_case *c, const ds_force *gates);
void *forward_case_hidden(const forward_case *c, const ds_force *gates);
size_t forward_case_state_bytes(const forward_case *c);
size_t forward_case_tokens(const forward_case *c);
/* Element i of an array of the model's precision. */
double forward_case_at(const forward_case *c, const void *array, size_t i);
double golden_number(const json_t *object, const char *key);

#endif
