/* Attention over depth: what is known of its rules without arithmetic on states, which is in rule_depth.real.c. */
#include "rule_depth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- interventions ---------------------------------------------------------------------------------------------------- */

static const ds_intervention interventions[] = {
    {"closed",
     "the sublayer's output is left out of everything that is read later",
     {DS_FORCE_CLOSED, 0},
     DS_SCOPE_ANY,
     false,
     false},
    {"zeroed",
     "the sublayer's output is 0, but keeps its place among the sources",
     {DS_FORCE_ZEROED, 0},
     DS_SCOPE_EACH,
     false,
     false},
    {"uniform", "all sources of a read weigh the same", {DS_FORCE_UNIFORM, 0}, DS_SCOPE_EACH | DS_SCOPE_ALL, true, false},
    {"recent", "a read takes its last source alone", {DS_FORCE_RECENT, 0}, DS_SCOPE_ALL, true, false},
    {"residual", "a read takes the plain sum of all there is", {DS_FORCE_RESIDUAL, 0}, DS_SCOPE_ALL, true, false},
    {"mask-embedding", "a read does without the embedding", {DS_FORCE_MASK_EMBEDDING, 0}, DS_SCOPE_ALL, true, false},
    {"mask-current", "a read does without its last source", {DS_FORCE_MASK_CURRENT, 0}, DS_SCOPE_ALL, true, false},
    {"mask-history",
     "a read does without what lies between its first source and its last",
     {DS_FORCE_MASK_HISTORY, 0},
     DS_SCOPE_ALL,
     true,
     false},
};

static ds_status check_force(ds_force force, size_t sublayer) {
    char name[32];
    if (force.mode <= DS_FORCE_MASK_HISTORY) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "sublayer %s cannot be forced in mode %u: attention over depth has %d",
                   ds_sublayer_name(name, sublayer), force.mode, DS_FORCE_MASK_HISTORY + 1);
}

/* v_{s+1} is then 0, as it was before. */
static bool is_identity(ds_force trained, ds_force force) {
    return trained.mode == DS_FORCE_CLOSED || force.mode == DS_FORCE_CLOSED || force.mode == DS_FORCE_ZEROED;
}

bool ds_depth_is_closed(const ds_pass *pass, size_t sublayer) {
    ds_force force = pass->forces != NULL ? pass->forces[sublayer] : (ds_force){.mode = DS_FORCE_NONE};
    return force.mode == DS_FORCE_CLOSED || pass->model->spec.trained[sublayer % 2].mode == DS_FORCE_CLOSED;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------ */

static size_t planes(const ds_spec *spec) { return ds_spec_sublayers(spec) + 1; }
static size_t partial_count(const ds_spec *spec) { return ds_depth_partial_of(spec).count; }
static bool reads_in_place(const ds_spec *spec) {
    (void)spec;
    return false;
}

/* Of every source of every read its length and its product with the query for the logit, and its part of r; of a gate of each
 * feature its layer. Over all reads, shared out over layers. */
static double flops(const ds_spec *spec) {
    const ds_depth_form *form = ds_depth_form_of(spec);
    const double d = (double)spec->hidden, null = spec->depth_null ? 1 : 0;
    const size_t sublayers = ds_spec_sublayers(spec), reads = sublayers + (form->routes_readout ? 1 : 0);
    double sources = 0, gated = 0;
    for (size_t s = 0; s < reads; s++) {
        const double count = (double)form->sources(NULL, spec, s) + (s < sublayers ? null : 0);
        sources += count;
        gated += s < sublayers && count > 0 && spec->depth_gate == DS_DEPTH_VECTOR ? 1 : 0;
    }
    return (3 * d * sources + d * d * gated) / (double)spec->layers;
}

/* ---- parameters ------------------------------------------------------------------------------------------------------- */

static size_t one(const ds_spec *spec) {
    (void)spec;
    return 1;
}
static const ds_extent extent_one = {"1", one};

static bool routes_readout(const ds_spec *spec) { return ds_depth_form_of(spec)->routes_readout; }
static bool has_bias(const ds_spec *spec) { return ds_depth_form_of(spec)->takes_bias; }
static bool has_null(const ds_spec *spec) { return spec->depth_null; }
static bool has_logit(const ds_spec *spec) { return spec->depth_gate == DS_DEPTH_LOGIT; }
static bool has_alpha(const ds_spec *spec) { return spec->depth_gate == DS_DEPTH_ALPHA; }
static bool has_vector(const ds_spec *spec) { return spec->depth_gate == DS_DEPTH_VECTOR; }

#define ONE (&extent_one)
#define OWN(member) offsetof(ds_depth_weights, member)
#define MODEL(member) offsetof(ds_model, member)
static const ds_table_row sublayer[] = {
    {{"res_proj.weight", {ONE, HIDDEN}}, SAME, "depth query", DS_GROUP_DELTA, NULL, OWN(query)},
    {{"res_norm.weight", {HIDDEN}}, SAME, "norm of depth keys", DS_GROUP_NORMS, NULL, OWN(norm)},
    {{"res_bias", {NULL}}, SAME, "recency bias", DS_GROUP_DELTA, has_bias, OWN(bias)},
    {{"res_gate_logit", {NULL}}, SAME, "gate of the depth read", DS_GROUP_DELTA, has_logit, OWN(logit)},
    {{"res_alpha", {NULL}}, SAME, "gate of the depth read", DS_GROUP_DELTA, has_alpha, OWN(alpha)},
    {{"res_gate_proj.weight", {HIDDEN, HIDDEN}}, SAME, "gate weight", DS_GROUP_DELTA, has_vector, OWN(gate_weight)},
    {{"res_gate_proj.bias", {HIDDEN}}, SAME, "gate bias", DS_GROUP_DELTA, has_vector, OWN(gate_bias)},
    {{"null_source", {HIDDEN}}, SAME, "null source", DS_GROUP_DELTA, has_null, OWN(null)},
};
static const ds_table_row back[] = {
    {{"final_res_proj.weight", {ONE, HIDDEN}},
     SAME,
     "depth query of the readout",
     DS_GROUP_DELTA,
     routes_readout,
     MODEL(read_query)},
    {{"final_res_norm.weight", {HIDDEN}},
     SAME,
     "norm of the readout's depth keys",
     DS_GROUP_NORMS,
     routes_readout,
     MODEL(read_norm)},
};

ds_depth_weights ds_depth_weights_of(const ds_model *model, size_t s) {
    if (s == ds_spec_sublayers(&model->spec)) return (ds_depth_weights){.query = model->read_query, .norm = model->read_norm};
    return *(const ds_depth_weights *)(const void *)model->layers[s / 2].rule[s % 2];
}

/* As the published code leaves them: its Linear layers, queries among them, are drawn whatever the backbone draws its own by; a
 * gate's logit is -2, an alpha 0, and norms are 1. */
static void start(ds_start *starts, const ds_model *model) {
    const ds_start zero = {.kind = DS_START_CONSTANT}, bias = {.scale = model->spec.depth_bias_init}, shut = {.scale = -2};
    const ds_start drawn = {.kind = DS_START_NORMAL, .scale = model->spec.embedding_init_std};
    ds_start_set(starts, model, model->read_query, drawn);
    for (size_t s = 0; s < ds_spec_sublayers(&model->spec); s++) {
        ds_depth_weights weights = ds_depth_weights_of(model, s);
        ds_start_set(starts, model, weights.query, drawn);
        ds_start_set(starts, model, weights.gate_weight, drawn);
        ds_start_set(starts, model, weights.bias, bias);
        ds_start_set(starts, model, weights.logit, shut);
        ds_start_set(starts, model, weights.alpha, zero);
        ds_start_set(starts, model, weights.gate_bias, zero);
        ds_start_set(starts, model, weights.null, zero);
    }
}

/* Sources of a read in which anything is open. Without memory as many as there are. */
static size_t open_sources(const ds_spec *spec, size_t read) {
    const ds_depth_form *form = ds_depth_form_of(spec);
    size_t left = 0, count = form->sources(NULL, spec, read);
    ds_depth_source *list = ds_calloc(count + 1, sizeof *list);
    bool *open = ds_calloc(count + 1, sizeof *open);
    if (list == NULL || open == NULL)
        left = count;
    else
        (void)form->sources(list, spec, read);
    for (size_t j = 0; list != NULL && open != NULL && j < count; j++) {
        open[j] = list[j].base != DS_NO_SOURCE && open[list[j].base];
        for (size_t i = list[j].first; i < list[j].end; i++)
            open[j] = open[j] || i == 0 || spec->trained[(i - 1) % 2].mode != DS_FORCE_CLOSED;
        left += open[j];
    }
    free(list);
    free(open);
    return left;
}

/* A softmax over one source does not depend on its logit, and without a source there is nothing to gate either. Where blocks
 * are wide several reads have so few. */
static void unreached(bool *reached, const ds_model *model, const ds_layer_weights *layer, size_t half, ds_force trained) {
    const ds_spec *spec = &model->spec;
    size_t s = 2 * (size_t)(layer - model->layers) + half;
    const ds_depth_form *form = ds_depth_form_of(spec);
    size_t count = open_sources(spec, s) + (spec->depth_null ? 1 : 0);
    (void)trained; /* of this half alone */
    ds_depth_weights weights = ds_depth_weights_of(model, s);
    const ds_parameter *choice[] = {weights.query, weights.norm, weights.bias};
    const ds_parameter *gate[] = {weights.logit, weights.alpha, weights.gate_weight, weights.gate_bias};
    for (size_t i = 0; count < 2 && i < sizeof choice / sizeof *choice; i++) ds_unreach(reached, model, choice[i]);
    bool gated = form->additive ? count > 0 : count > 1;
    for (size_t i = 0; !gated && i < sizeof gate / sizeof *gate; i++) ds_unreach(reached, model, gate[i]);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

static ds_status make_plan(ds_depth_workspace *own, ds_workspace *w) {
    ds_status status = DS_OK;
    const ds_spec *spec = &w->spec;
    size_t sublayers = ds_spec_sublayers(spec), room = sublayers + 2, used = 0;
    DS_TRY(ds_arrays_add(&w->arrays, &own->first, sublayers + 2, 1, sizeof *own->first));
    DS_TRY(ds_arrays_add(&w->arrays, &own->plan, sublayers + 1, room, sizeof *own->plan));
    for (size_t s = 0; s <= sublayers; s++) {
        bool read = s < sublayers || ds_depth_form_of(spec)->routes_readout;
        own->first[s] = used;
        if (read) used += ds_depth_form_of(spec)->sources(own->plan + used, spec, s);
        own->most = ds_max_size(own->most, used - own->first[s] + 1);
    }
    own->first[sublayers + 1] = used;
done:
    return status;
}

enum { ROWS_OF_READING = 7, NUMBERS_OF_READING = 4 }; /* vectors (d) beside the sources; numbers for each source */

static void lay_out_reading(ds_depth_reading *r, ds_depth_workspace *own, size_t index, const ds_workspace *w) {
    size_t most = own->most, d = w->spec.hidden, size = ds_precision_size(w->precision), parts = planes(&w->spec);
    char *row = (char *)own->reals + index * (2 * most + ROWS_OF_READING + 1) * d * size;
    void **const vectors[] = {&r->scaled, &r->total, &r->routed, &r->gate, &r->read, &r->dtotal, &r->drouted, &r->dgate};
    double *numbers = (double *)own->numbers + index * NUMBERS_OF_READING * most;
    r->sums = row;
    r->dsums = row + most * d * size;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) *vectors[i] = row + (2 * most + i) * d * size;
    r->alpha = numbers;
    r->inverse = numbers + most;
    r->along = numbers + 2 * most;
    r->slope = numbers + 3 * most;
    r->slot = (size_t *)own->places + index * 2 * most;
    r->place = r->slot + most;
    r->source = (const void **)own->pointers + index * 2 * most;
    r->dsource = r->source + most;
    r->open = (bool *)own->flags + index * parts;
}

static ds_status workspace_init(ds_workspace *w) {
    ds_status status = DS_OK;
    ds_depth_workspace *own = NULL;
    size_t tiles = w->sequences * ds_tile_count(w->length), d = w->spec.hidden;
    DS_NEW(own, 1);
    w->rule = own;
    DS_TRY(make_plan(own, w));
    DS_TRY(ds_arrays_add(&w->arrays, &own->readings, tiles, 1, sizeof *own->readings));
    DS_TRY(ds_arrays_add(&w->arrays, &own->reals, tiles, (2 * own->most + ROWS_OF_READING + 1) * d,
                         ds_precision_size(w->precision)));
    DS_TRY(ds_arrays_add(&w->arrays, &own->numbers, tiles, NUMBERS_OF_READING * own->most, sizeof(double)));
    DS_TRY(ds_arrays_add(&w->arrays, &own->places, tiles, 2 * own->most, sizeof(size_t)));
    DS_TRY(ds_arrays_add(&w->arrays, &own->pointers, tiles, 2 * own->most, sizeof(void *)));
    DS_TRY(ds_arrays_add(&w->arrays, &own->flags, tiles, planes(&w->spec), sizeof(bool)));
    for (size_t i = 0; i < tiles; i++) lay_out_reading(&own->readings[i], own, i, w);
done:
    return status;
}

static ds_status gradient_init(ds_gradient *g) {
    ds_status status = DS_OK;
    ds_depth_memory *own = NULL;
    const ds_spec *spec = &g->model->spec;
    size_t tokens = g->sequences * g->length, size = ds_precision_size(g->precision);
    DS_NEW(own, 1);
    g->rule = own;
    if (ds_depth_form_of(spec)->keeps_sum) DS_TRY(ds_arrays_add(&g->arrays, &own->dsum, tokens, spec->hidden, size));
    if (spec->depth_gate != DS_DEPTH_VECTOR) return DS_OK;
    DS_TRY(ds_arrays_add(&g->arrays, &own->kept, tokens, spec->hidden, size));
    DS_TRY(ds_arrays_add(&g->arrays, &own->dgate, tokens, spec->hidden, size));
done:
    return status;
}

/* P before anything is added to it is the embedding. */
static void observe_gradient(ds_gradient_event *event, const ds_derivative *b) {
    const ds_depth_memory *own = b->gradient->rule;
    event->sum_gradient = event->index > 0 ? own->dsum : NULL;
}

/* ---- readings --------------------------------------------------------------------------------------------------------- */

/* Whether anything of the source is open; its base comes before it in the plan. */
static bool has_open_part(const ds_depth_reading *r, const ds_depth_source *source) {
    bool any = source->base != DS_NO_SOURCE && r->place[source->base] != DS_NO_SOURCE;
    for (size_t i = source->first; i < source->end; i++) any = any || r->open[i];
    return any;
}

size_t ds_depth_source_count(const ds_pass *pass) {
    const ds_depth_workspace *own = pass->workspace->rule;
    const ds_spec *spec = &pass->model->spec;
    size_t s = pass->sublayer;
    bool routed = s < ds_spec_sublayers(spec) || ds_depth_form_of(spec)->routes_readout;
    return own->first[s + 1] - own->first[s] + (routed && spec->depth_null ? 1 : 0);
}

ds_depth_reading *ds_depth_reading_of(const ds_pass *pass, size_t token) {
    const ds_spec *spec = &pass->model->spec;
    const ds_depth_workspace *own = pass->workspace->rule;
    const ds_depth_form *form = ds_depth_form_of(spec);
    size_t length = pass->batch->length, s = pass->sublayer, sublayers = ds_spec_sublayers(spec);
    ds_depth_reading *r = &own->readings[token / length * pass->tiles + token % length / DS_TILE_ROWS];
    bool routed = s < sublayers || form->routes_readout;
    ds_force force = routed ? ds_pass_force(pass) : (ds_force){.mode = DS_FORCE_NONE};
    bool plain = !routed || force.mode == DS_FORCE_RESIDUAL;
    r->plan = own->plan + own->first[s];
    r->weights = ds_depth_weights_of(pass->model, s);
    r->additive = form->additive || plain;
    r->learned = force.mode != DS_FORCE_UNIFORM && force.mode != DS_FORCE_RECENT;
    r->parts = s + 1;
    for (size_t i = 0; i < r->parts; i++) r->open[i] = i == 0 || !ds_depth_is_closed(pass, i - 1);
    r->count = 0;
    if (!plain && r->weights.null != NULL) {
        r->slot[0] = DS_NO_SOURCE;
        r->source[r->count++] = r->weights.null->values;
    }
    for (size_t i = 0; !plain && i < own->first[s + 1] - own->first[s]; i++) {
        r->place[i] = has_open_part(r, &r->plan[i]) ? r->count : DS_NO_SOURCE;
        if (r->place[i] != DS_NO_SOURCE) r->slot[r->count++] = i;
    }
    r->gated = r->count > 0 && (r->weights.logit != NULL || r->weights.alpha != NULL || r->weights.gate_weight != NULL);
    return r;
}

static ds_source_family family_of(const ds_depth_reading *r, size_t j) {
    if (r->slot[j] == DS_NO_SOURCE) return DS_SOURCE_NULL;
    if (ds_depth_is_embedding(r->plan, r->slot[j])) return DS_SOURCE_EMBEDDING;
    return j + 1 == r->count ? DS_SOURCE_CURRENT : DS_SOURCE_HISTORY;
}

static bool is_masked(const ds_depth_reading *r, size_t j, ds_force force) {
    ds_source_family own = family_of(r, j);
    return (force.mode == DS_FORCE_MASK_EMBEDDING && own == DS_SOURCE_EMBEDDING) ||
           (force.mode == DS_FORCE_MASK_CURRENT && own == DS_SOURCE_CURRENT) ||
           (force.mode == DS_FORCE_MASK_HISTORY && own == DS_SOURCE_HISTORY);
}

void ds_depth_weigh(ds_depth_reading *r, ds_force force) {
    double highest = -INFINITY, sum = 0;
    size_t left = 0;
    for (size_t j = 0; j < r->count; j++) left += !is_masked(r, j, force);
    for (size_t j = 0; j < r->count; j++) {
        if (force.mode == DS_FORCE_UNIFORM) r->alpha[j] = 0;
        if (force.mode == DS_FORCE_RECENT) r->alpha[j] = j + 1 == r->count ? 0 : -INFINITY;
        if (left > 0 && is_masked(r, j, force)) r->alpha[j] = -INFINITY;
        highest = fmax(highest, r->alpha[j]);
    }
    for (size_t j = 0; j < r->count; j++) {
        r->alpha[j] = exp(r->alpha[j] - highest);
        sum += r->alpha[j];
    }
    for (size_t j = 0; j < r->count; j++) r->alpha[j] /= sum;
}

/* ---- the table -------------------------------------------------------------------------------------------------------- */

#define DEPTH_RULE(index, words)                                                                                               \
    {                                                                                                                          \
        .name = words, .title = "attention over depth", .kind = DS_KIND_DEPTH,                                                 \
        .limits = "a checkpoint of attention over depth has no gate of the delta rule: its reads and outputs can be forced",   \
        .keeps_history = true, .forces_readout = (index) < 2, .form = &ds_depth_forms[index], .interventions = interventions,  \
        .intervention_count = sizeof interventions / sizeof interventions[0], .planes = planes, .flops = flops,                \
        .check_force = check_force, .is_identity = is_identity, .unreached = unreached,                                        \
        .sublayer = {sublayer, sizeof sublayer / sizeof sublayer[0]}, .back = {back, sizeof back / sizeof back[0]},            \
        .prefixes = {"attn_", "mlp_"}, .start = start, .reads_in_place = reads_in_place, .partial_count = partial_count,       \
        .workspace_init = workspace_init, .gradient_init = gradient_init, .observe_gradient = observe_gradient,                \
        .steps = {&ds_rule_depth_steps_f32, &ds_rule_depth_steps_f64},                                                         \
    }

const ds_rule ds_depth_rules[DS_DEPTH_RULES] = {
    DEPTH_RULE(0, "attnres-full"),
    DEPTH_RULE(1, "attnres-block"),
    DEPTH_RULE(2, "attnres-cumulative-full"),
    DEPTH_RULE(3, "attnres-cumulative-block"),
    DEPTH_RULE(4, "delta-attnres"),
    DEPTH_RULE(5, "delta-attnres-block"),
    DEPTH_RULE(6, "delta-replace"),
    DEPTH_RULE(7, "full-additive"),
};
