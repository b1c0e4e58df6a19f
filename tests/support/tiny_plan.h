/* A plan of tiny models on a thousand tokens, for tests that run or refuse one. */
#ifndef DELTASCOPE_TESTS_TINY_PLAN_H
#define DELTASCOPE_TESTS_TINY_PLAN_H

#include <jansson.h>

/* A new reference: "additive", "ddl-scalar" and "ddl-scalar-write-only", seeds 1 to 3, 20 updates of 4 windows of 16 tokens;
 * data in the scratch folder. */
json_t *tiny_plan(void);
/* Its path in the scratch folder; takes over the plan. */
const char *tiny_plan_write(const char *name, json_t *plan);
/* The plan with the value at `path` ("recipe.steps", keys joined by points) replaced by JSON text; NULL: taken away. Takes over
 * the plan and returns it. */
json_t *tiny_plan_with(json_t *plan, const char *path, const char *text);

#endif
