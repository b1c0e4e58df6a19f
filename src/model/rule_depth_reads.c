/* What a read chooses from, in words. */
#include <math.h>
#include <stdlib.h>

#include "rule_depth.h"

static void name_source(char *name, size_t room, const ds_depth_form *form, const ds_depth_source *plan, size_t place,
                        size_t count) {
    char sublayer[32];
    const ds_depth_source *source = &plan[place];
    bool alone = source->base == DS_NO_SOURCE && source->end == source->first + 1;
    if (ds_depth_is_embedding(plan, place))
        (void)snprintf(name, room, "embed");
    else if (form->ends_growing && place + 1 == count)
        (void)snprintf(name, room, "partial");
    else if (form->of_blocks)
        (void)snprintf(name, room, "block%zu", place - 1);
    else /* v_{s+1} is of sublayer s */
        (void)snprintf(name, room, "%s%s", alone ? "" : "after ", ds_sublayer_name(sublayer, source->end - 2));
}

ds_status ds_read_sources(ds_read_source **sources, size_t *count, const ds_spec *spec, size_t sublayer) {
    ds_status status = DS_OK;
    ds_depth_source *plan = NULL;
    ds_read_source *out = NULL;
    size_t sublayers = ds_spec_sublayers(spec), nulls = spec->depth_null ? 1 : 0;
    *sources = NULL;
    *count = 0;
    if (spec->rule->kind != DS_KIND_DEPTH) return DS_OK;
    const ds_depth_form *form = ds_depth_form_of(spec);
    if (sublayer > sublayers || (sublayer == sublayers && !form->routes_readout)) return DS_OK;
    DS_NEW(plan, 2 * sublayers + 2);
    size_t listed = form->sources(plan, spec, sublayer);
    if (nulls + listed == 0) goto done;
    DS_NEW(out, nulls + listed);
    if (nulls > 0) out[0] = (ds_read_source){"null", DS_SOURCE_NULL};
    for (size_t i = 0; i < listed; i++) {
        ds_read_source *to = &out[nulls + i];
        name_source(to->name, sizeof to->name, form, plan, i, listed);
        to->family = i + 1 == listed ? DS_SOURCE_CURRENT : DS_SOURCE_HISTORY;
        if (ds_depth_is_embedding(plan, i)) to->family = DS_SOURCE_EMBEDDING;
    }
    *count = nulls + listed;
    *sources = out;
done:
    free(plan);
    return status;
}

double ds_read_query_norm(const ds_model *model, size_t sublayer) {
    const ds_spec *spec = &model->spec;
    if (spec->rule->kind != DS_KIND_DEPTH) return NAN;
    const ds_parameter *query = ds_depth_weights_of(model, sublayer).query;
    double sum = 0;
    for (size_t i = 0; query != NULL && i < spec->hidden; i++) {
        double x = ds_real_at(query->values, model->precision, i);
        sum += x * x;
    }
    return query != NULL ? sqrt(sum) : NAN;
}
