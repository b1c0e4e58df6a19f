#include "routing_terms.h"

#include <math.h>
#include <stdlib.h>

#include "depth_terms.h"

static ds_status routing_init(ds_read_routing *read, const ds_model *model, size_t sublayer) {
    ds_status status;
    DS_TRY(ds_read_sources(&read->sources, &read->count, ds_model_spec(model), sublayer));
    read->query_norm = ds_read_query_norm(model, sublayer);
    if (read->count == 0) goto done;
    DS_NEW(read->weights, read->count);
    DS_NEW(read->norms, read->count);
    DS_NEW(read->largest, read->count);
done:
    return status;
}

ds_status ds_read_routing_new(ds_read_routing **reads, const ds_model *model) {
    ds_status status = DS_OK;
    size_t count = ds_spec_sublayers(ds_model_spec(model)) + 1;
    DS_NEW(*reads, count);
    for (size_t s = 0; s < count; s++) DS_TRY(routing_init(&(*reads)[s], model, s));
done:
    return status;
}

void ds_read_routing_free(ds_read_routing *reads, size_t count) {
    for (size_t s = 0; reads != NULL && s < count; s++) {
        free(reads[s].sources);
        free(reads[s].weights);
        free(reads[s].norms);
        free(reads[s].largest);
    }
    free(reads);
}

size_t ds_read_routing_length(const ds_read_routing *reads, size_t count) {
    size_t most = 0;
    for (size_t s = 0; s < count; s++) most = ds_max_size(most, 2 * reads[s].count + 2);
    return most;
}

static void add_token(ds_read_routing *read, const double *numbers) {
    size_t n = read->count, largest = 0;
    const double *norms = numbers + n, cosine = norms[n], gate = norms[n + 1], entropy = ds_share_entropy(numbers, n);
    for (size_t j = 0; j < n; j++) {
        ds_token_moments_add(&read->weights[j], numbers[j]);
        ds_token_moments_add(&read->norms[j], norms[j]);
        if (numbers[j] > numbers[largest]) largest = j;
    }
    read->largest[largest]++;
    ds_token_moments_add(&read->entropy, entropy);
    ds_token_moments_add(&read->effective_sources, exp(entropy));
    ds_token_moments_add(&read->max_weight, numbers[largest]);
    if (!isnan(cosine)) ds_token_moments_add(&read->source_cosine, cosine);
    if (!isnan(gate)) ds_token_moments_add(&read->gate, gate);
}

void ds_read_routing_add(ds_read_routing *read, const double *routing, size_t tokens) {
    for (size_t t = 0; t < tokens; t++) add_token(read, routing + t * (2 * read->count + 2));
}
