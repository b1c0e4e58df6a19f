#include "deltascope/measure/published_losses.h"

#include <string.h>

static const ds_published_loss published[] = {
    {"Baseline", "additive", 2.8543, 17.3616, 2.6053, 13.5356},
    {"DDL (dv = 1)", "ddl-scalar", 2.8482, 17.2562, 2.6039, 13.5161},
    {"DDL-TC w/o EC", "ddl-tc", 2.8355, 17.0381, 2.5927, 13.3654},
    {"DDL-CC w/o EC", "ddl-cc", 2.8321, 16.9811, 2.5790, 13.1834},
    {"DDL-TC", "ddl-tc-ec", 2.8299, 16.9438, 2.5905, 13.3370},
    {"DDL-CC", "ddl-cc-ec", 2.8329, 16.9947, 2.5758, 13.1420},
};

size_t ds_published_count(void) { return sizeof published / sizeof *published; }

const ds_published_loss *ds_published_at(size_t index) { return &published[index]; }

const ds_published_loss *ds_published_find(const ds_spec *spec) {
    if (spec->backbone != &ds_backbone_ddl || ds_spec_is_control(spec)) return NULL;
    for (size_t i = 0; i < ds_published_count(); i++) {
        if (strcmp(published[i].variant, ds_spec_variant(spec)) == 0) return &published[i];
    }
    return NULL;
}

void ds_json_put_published(ds_json_builder *b, const ds_spec *spec) {
    const ds_published_loss *found = ds_published_find(spec);
    if (found == NULL) return;
    ds_json_begin_object(b, "published_losses");
    ds_json_put_text(b, "name", found->name);
    ds_json_put_real(b, "small_loss", found->small_loss);
    ds_json_put_real(b, "medium_loss", found->medium_loss);
    ds_json_end(b);
}

void ds_json_put_reference(ds_json_builder *b) {
    ds_json_begin_object(b, "reference");
    ds_json_put_text(b, "source", "Deep Delta Learning, arXiv:2601.00417, tables 1 and 2");
    ds_json_put_text(b, "kind", "single runs of other sizes");
    ds_json_begin_array(b, "rows");
    for (size_t i = 0; i < ds_published_count(); i++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", published[i].name);
        ds_json_put_text(b, "variant", published[i].variant);
        ds_json_put_real(b, "small_loss", published[i].small_loss);
        ds_json_put_real(b, "small_perplexity", published[i].small_perplexity);
        ds_json_put_real(b, "medium_loss", published[i].medium_loss);
        ds_json_put_real(b, "medium_perplexity", published[i].medium_perplexity);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
}
