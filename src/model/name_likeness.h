/* How much two names of parameters seem to mean the same, by the words in them. Private to model. */
#ifndef DELTASCOPE_MODEL_NAME_LIKENESS_H
#define DELTASCOPE_MODEL_NAME_LIKENESS_H

#include <stdint.h>

/* A set of notions: query, MLP, norm, ... */
typedef uint32_t ds_notions;
/* Of the words of a name: its parts between points, or what underscores, capitals and digits make of them. */
ds_notions ds_notions_of(const char *name);
/* Several matrices in one: query, key and value, or gate and up projection. */
int ds_notions_fused(ds_notions notions);
/* The output head. */
int ds_notions_head(ds_notions notions);
/* 3 for each common notion of which a parameter has one at most (query or key, attention or MLP, first or second), -3 for each
 * contradiction in these, 1 for each other common notion. 0 for names that say nothing. */
int ds_likeness(ds_notions ours, ds_notions theirs);

#endif
