/* Routing of reads, summed over tokens. Private to depth_mixing. */
#ifndef DELTASCOPE_MEASURE_ROUTING_TERMS_H
#define DELTASCOPE_MEASURE_ROUTING_TERMS_H

#include "deltascope/measure/read_routing.h"

/* *reads (S+1) <- without tokens yet. */
ds_status ds_read_routing_new(ds_read_routing **reads, const ds_model *model) DS_MUST_CHECK;
void ds_read_routing_free(ds_read_routing *reads, size_t count); /* NULL is fine */
/* Doubles of a token that any of the reads has at most. */
size_t ds_read_routing_length(const ds_read_routing *reads, size_t count);
/* routing (tokens,2N+2) as ds_route gives it; tokens in order. */
void ds_read_routing_add(ds_read_routing *read, const double *routing, size_t tokens);

#endif
