/* What the paper's tables say of its models, to stand beside ours: one run each, of other sizes on other data. */
#ifndef DELTASCOPE_MEASURE_PUBLISHED_LOSSES_H
#define DELTASCOPE_MEASURE_PUBLISHED_LOSSES_H

#include <jansson.h>

#include "deltascope/model.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* Final validation losses (nats) and perplexities, Tables 1 and 2 of Deep Delta Learning (arXiv:2601.00417): 124M parameters
 * ("small") and 353M ("medium"). */
typedef struct ds_published_loss {
    const char *name;    /* the paper's */
    const char *variant; /* as ds_spec_variant has it */
    double small_loss, small_perplexity, medium_loss, medium_perplexity;
} ds_published_loss;
size_t ds_published_count(void);
const ds_published_loss *ds_published_at(size_t index);
/* Of models of that structure; NULL: the paper reports none, for other rules and other backbones above all. */
const ds_published_loss *ds_published_find(const ds_spec *spec);

/* "published_losses": {"name", "small_loss", "medium_loss"}, a member of the object that is open; nothing where there are
 * none. */
void ds_json_put_published(ds_json_builder *b, const ds_spec *spec);
/* "reference": the tables, and what they are of. */
void ds_json_put_reference(ds_json_builder *b);

DS_END_DECLARATIONS

#endif
