/* Parts of reading a plan. Private to study. */
#ifndef DELTASCOPE_STUDY_PLAN_H
#define DELTASCOPE_STUDY_PLAN_H

#include "deltascope/study.h"

/* What is being read, for sentences and for paths. */
typedef struct ds_plan_source {
    const char *path;
} ds_plan_source;

/* DS_ERR_INPUT: "PATH: KEY is FOUND, expected EXPECTED". */
ds_status ds_plan_refuse(const ds_plan_source *source, const char *key, const json_t *value, const char *expected);
/* DS_ERR_INPUT for a member of `object` that is none of `known` (count), with the one that was meant. `what` it is a key of. */
ds_status ds_plan_check_keys(const ds_plan_source *source, const json_t *object, const char *const *known, size_t count,
                             const char *what) DS_MUST_CHECK;
/* *out <- a path of the plan, which starts at the plan's folder. */
ds_status ds_plan_path(char **out, const ds_plan_source *source, const char *path) DS_MUST_CHECK;
/* *value <- what the file of a member holds, or the member itself where it is an object. *own: it was read. */
ds_status ds_plan_object(json_t **value, bool *own, const ds_plan_source *source, const char *key,
                         const json_t *member) DS_MUST_CHECK;

ds_status ds_plan_read_variants(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;
ds_status ds_plan_read_seeds(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;
/* *seeds (count) <- a list of seeds of both weights and data, in order of their numbers. */
ds_status ds_plan_read_seed_list(ds_study_seed **seeds, size_t *count, const ds_plan_source *source, const char *key,
                                 const json_t *list) DS_MUST_CHECK;
ds_status ds_plan_read_sweep(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;
ds_status ds_plan_read_budget(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;
/* Every variant's updates and the end of its schedule <- what the budget pays for, each[v] being what one update costs. */
ds_status ds_plan_fix_steps(ds_plan *plan, const double *each, const char *where) DS_MUST_CHECK;
/* Tokens of an update. */
double ds_recipe_tokens(const ds_recipe *recipe);
ds_status ds_plan_read_contrasts(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;

/* Where "match" asks for it, narrows the MLPs of larger variants until totals of parameters agree within ds_match_within. */
ds_status ds_plan_read_match(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;
extern const double ds_match_within;

ds_status ds_plan_read_audit(ds_plan *plan, const ds_plan_source *source) DS_MUST_CHECK;

size_t ds_plan_find_variant(const ds_plan *plan, const char *name); /* SIZE_MAX when there is none */

#endif
