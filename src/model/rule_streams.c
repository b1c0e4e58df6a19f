/* Parallel streams (hyper-connections): what is known of their rules without arithmetic on states, which is in
 * rule_streams.real.c. */
#include "rule_streams.h"

#include <math.h>
#include <string.h>

/* ---- interventions ---------------------------------------------------------------------------------------------------- */

#define FORCED(words, phrase, how, where)                                                                                      \
    { .name = words, .help = phrase, .force = {how, 0}, .scopes = where }
#define FORCED_TO_MEAN(words, phrase, how)                                                                                     \
    { .name = words, .help = phrase, .force = {how, 0}, .scopes = DS_SCOPE_ALL, .needs_mean = true }
#define FOR_ALL                                                                                                                \
    FORCED("closed", "the sublayer's output is left out, the streams mix as they would", DS_FORCE_CLOSED, DS_SCOPE_ANY),       \
        FORCED("bypass", "the sublayer leaves the streams as they are", DS_FORCE_BYPASS, DS_SCOPE_EACH),                       \
        FORCED("identity-res", "the streams stay apart: R = I", DS_FORCE_IDENTITY_RES, DS_SCOPE_EACH | DS_SCOPE_ALL),          \
        FORCED("uniform-res", "every stream becomes the mean of all: R = 1/n", DS_FORCE_UNIFORM_RES, DS_SCOPE_ALL),            \
        FORCED_TO_MEAN("mean-mix", "pre, post and R are the sublayer's means over the data", DS_FORCE_MEAN_MIX),               \
        FORCED_TO_MEAN("mean-res", "R is the sublayer's mean over the data", DS_FORCE_MEAN_RES)
#define STATIC_PARTS                                                                                                           \
    FORCED("static", "only the static parts, nothing that depends on the streams", DS_FORCE_STATIC, DS_SCOPE_ALL)
#define CONVERGED                                                                                                              \
    FORCED("converged", "R after so many rounds of Sinkhorn that it is doubly stochastic", DS_FORCE_CONVERGED, DS_SCOPE_ALL)
static const ds_intervention dynamic[] = {FOR_ALL, STATIC_PARTS}, sinkhorn[] = {FOR_ALL, STATIC_PARTS, CONVERGED},
                             fixed[] = {FOR_ALL, CONVERGED};

static ds_status check(ds_force force, size_t sublayer, const ds_intervention *modes, size_t count) {
    char name[32];
    if (force.mode == DS_FORCE_NONE) return DS_OK;
    for (size_t i = 0; i < count; i++)
        if (modes[i].force.mode == force.mode) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "sublayer %s cannot be forced in mode %u: this rule of parallel streams has %zu others",
                   ds_sublayer_name(name, sublayer), force.mode, count);
}
static ds_status check_dynamic(ds_force force, size_t sublayer) {
    return check(force, sublayer, dynamic, sizeof dynamic / sizeof *dynamic);
}
static ds_status check_sinkhorn(ds_force force, size_t sublayer) {
    return check(force, sublayer, sinkhorn, sizeof sinkhorn / sizeof *sinkhorn);
}
static ds_status check_fixed(ds_force force, size_t sublayer) {
    return check(force, sublayer, fixed, sizeof fixed / sizeof *fixed);
}

/* Without the output the streams mix all the same. */
static bool is_identity(ds_force trained, ds_force force) {
    bool closed = trained.mode == DS_FORCE_CLOSED;
    return force.mode == DS_FORCE_BYPASS || (closed && force.mode == DS_FORCE_IDENTITY_RES);
}

static ds_status check_pass(const ds_pass *pass) {
    char name[32];
    unsigned mode = ds_pass_force(pass).mode;
    if ((mode != DS_FORCE_MEAN_MIX && mode != DS_FORCE_MEAN_RES) || pass->workspace->mean_mixing != NULL) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "sublayer %s is to mix its streams by means that were not given",
                   ds_sublayer_name(name, pass->sublayer));
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------ */

static size_t planes(const ds_spec *spec) { return spec->streams.count; }
static bool reads_in_place(const ds_spec *spec) {
    (void)spec;
    return false;
}

static size_t partial_count(const ds_spec *spec) {
    ds_stream_shape shape = ds_stream_shape_of(spec);
    return ds_stream_sums(&shape) + shape.width;
}

/* The maps, the read, R and what every stream gains, of two sublayers. */
static double flops(const ds_spec *spec) {
    ds_stream_shape shape = ds_stream_shape_of(spec);
    double n = (double)shape.streams, d = (double)shape.hidden;
    double maps = ds_streams_have_maps(spec) ? n * d * (double)(shape.alpha + shape.beta) : 0;
    double mixing = ds_stream_kind_of(spec) == DS_STREAM_DROPPED ? 0 : n * n * d;
    return 2 * (maps + mixing + 2 * n * d);
}

/* ---- parameters ------------------------------------------------------------------------------------------------------- */

static size_t one(const ds_spec *spec) {
    (void)spec;
    return 1;
}
static size_t streams(const ds_spec *spec) { return spec->streams.count; }
static size_t width(const ds_spec *spec) { return ds_stream_shape_of(spec).width; }
static size_t columns(const ds_spec *spec) { return ds_stream_shape_of(spec).alpha; }
static size_t own_columns(const ds_spec *spec) { return spec->streams.count + 1; }
static const ds_extent extent_one = {"1", one}, extent_streams = {"streams", streams}, extent_own = {"streams+1", own_columns},
                       extent_width = {"streams*hidden_size", width}, extent_pairs = {"streams*(streams+1)", columns},
                       extent_orders = {"streams+streams!", columns};

static bool has_dynamic(const ds_spec *spec) { return spec->streams.dynamic; }

#define ONE (&extent_one)
#define STREAMS (&extent_streams)
#define OWN_COLUMNS (&extent_own)
#define WIDTH (&extent_width)
#define PAIRS (&extent_pairs)
#define ORDERS (&extent_orders)
#define OWN(member) offsetof(ds_stream_weights, member)
#define ROW(name, first, second, role, group, member)                                                                          \
    { {name, {first, second}}, SAME, role, group, NULL, OWN(member) }
#define DYNAMIC(name, first, second, role, group, member)                                                                      \
    { {name, {first, second}}, SAME, role, group, has_dynamic, OWN(member) }
#define DELTA DS_GROUP_DELTA
static const ds_table_row own_maps[] = {
    ROW("static_alpha", STREAMS, OWN_COLUMNS, "static read and mixing of streams", DELTA, alpha),
    DYNAMIC("dynamic_alpha_fn", HIDDEN, OWN_COLUMNS, "map to read and mixing of streams", DELTA, alpha_map),
    DYNAMIC("dynamic_alpha_scale", NULL, NULL, "scale of read and mixing", DELTA, pre_scale),
    ROW("static_beta", STREAMS, NULL, "static write to streams", DELTA, beta),
    DYNAMIC("dynamic_beta_fn", HIDDEN, NULL, "map to the write to streams", DELTA, beta_map),
    DYNAMIC("dynamic_beta_scale", NULL, NULL, "scale of the write", DELTA, post_scale),
    DYNAMIC("norm.gamma", HIDDEN, NULL, "norm before the maps", DS_GROUP_NORMS, gamma),
};
#define SHARED_MAPS(first, second, columns)                                                                                    \
    {                                                                                                                          \
        ROW("static_alpha", first, second, "static read and mixing of streams", DELTA, alpha),                                 \
            DYNAMIC("dynamic_alpha_fn", WIDTH, columns, "map to read and mixing of streams", DELTA, alpha_map),                \
            DYNAMIC("pre_branch_scale", ONE, NULL, "scale of the read", DELTA, pre_scale),                                     \
            DYNAMIC("residual_scale", ONE, NULL, "scale of the mixing", DELTA, res_scale),                                     \
            ROW("static_beta", STREAMS, NULL, "static write to streams", DELTA, beta),                                         \
            DYNAMIC("dynamic_beta_fn", WIDTH, STREAMS, "map to the write to streams", DELTA, beta_map),                        \
            DYNAMIC("h_post_scale", NULL, NULL, "scale of the write", DELTA, post_scale),                                      \
            DYNAMIC("norm.gamma", WIDTH, NULL, "norm before the maps", DS_GROUP_NORMS, gamma),                                 \
    }
static const ds_table_row pair_maps[] = SHARED_MAPS(STREAMS, OWN_COLUMNS, PAIRS);
static const ds_table_row order_maps[] = SHARED_MAPS(ORDERS, NULL, ORDERS);
/* The tensors of the maps from the streams are stored beside them, and never read. */
static const ds_table_row fixed_maps[] = {
    DYNAMIC("static_alpha", STREAMS, OWN_COLUMNS, "never used: static read", DELTA, alpha),
    DYNAMIC("dynamic_alpha_fn", HIDDEN, OWN_COLUMNS, "never used: map to the read", DELTA, alpha_map),
    DYNAMIC("dynamic_alpha_scale", NULL, NULL, "never used: scale of the read", DELTA, pre_scale),
    DYNAMIC("static_beta", STREAMS, NULL, "never used: static write", DELTA, beta),
    DYNAMIC("dynamic_beta_fn", HIDDEN, NULL, "never used: map to the write", DELTA, beta_map),
    DYNAMIC("dynamic_beta_scale", NULL, NULL, "never used: scale of the write", DELTA, post_scale),
    ROW("H_res_logits", STREAMS, STREAMS, "mixing of streams", DELTA, res_logits),
    ROW("H_pre_logits", STREAMS, NULL, "read of streams", DELTA, pre_logits),
    ROW("H_post_logits", STREAMS, NULL, "write to streams", DELTA, post_logits),
    DYNAMIC("norm.gamma", HIDDEN, NULL, "never used: norm before the maps", DS_GROUP_NORMS, gamma),
};

/* Static parts as the published code starts them: the sublayer reads, and under the constrained rules writes, one stream before
 * all others, which is drawn, and the streams stay apart. Element i of these. */
static double start_free(const ds_start *start, size_t chosen, size_t i) { /* (n,n+1): pre, R^T */
    const size_t n = start->choices, row = i / (n + 1), column = i % (n + 1);
    return (column == 0 ? row == chosen : row == column - 1) ? 1 : 0;
}
static double start_signs(const ds_start *start, size_t chosen, size_t i) { /* (n) */
    (void)start;
    return i == chosen ? 1 : -1;
}
static double start_pairs(const ds_start *start, size_t chosen, size_t i) { /* (n,n+1) */
    const size_t n = start->choices, row = i / (n + 1), column = i % (n + 1);
    if (column == 0) return start_signs(start, chosen, row);
    return row == column - 1 ? 0 : -8;
}
static double start_orders(const ds_start *start, size_t chosen, size_t i) { /* (n + n!), the identity first */
    if (i < start->choices) return start_signs(start, chosen, i);
    return i == start->choices ? 0 : -8;
}
static double start_diagonal(const ds_start *start, size_t chosen, size_t i) { /* (n,n) */
    (void)chosen;
    return i / start->choices == i % start->choices ? 0 : -8;
}
static double start_selection(const ds_start *start, size_t chosen, size_t i) { /* (n) */
    (void)start;
    return i == chosen ? 0 : -8;
}

/* Maps are 0 at first, so that nothing depends on the streams, and their scales small. */
static void start(ds_start *starts, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    const ds_stream_kind kind = ds_stream_kind_of(spec);
    const ds_start zero = {.kind = DS_START_CONSTANT}, one = {.scale = 1}, small = {.scale = 0.01};
    ds_start alpha = {.kind = DS_START_CHOSEN, .choices = spec->streams.count, .value = start_free}, beta = one, pre = alpha,
             mixing = alpha;
    if (kind == DS_STREAM_SINKHORN) alpha.value = start_pairs;
    if (kind == DS_STREAM_PERMUTED) alpha.value = start_orders;
    pre.value = start_selection;
    mixing.value = start_diagonal;
    if (kind == DS_STREAM_SINKHORN || kind == DS_STREAM_PERMUTED) {
        beta = alpha;
        beta.value = start_signs;
    }
    for (size_t s = 0; s < ds_spec_sublayers(spec); s++) {
        const ds_stream_weights *w = (const ds_stream_weights *)(const void *)model->layers[s / 2].rule[s % 2];
        const ds_parameter *zeros[] = {w->gamma, w->alpha_map, w->beta_map, w->post_logits};
        const ds_parameter *scales[] = {w->pre_scale, w->res_scale, w->post_scale};
        for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) ds_start_set(starts, model, zeros[i], zero);
        for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) ds_start_set(starts, model, scales[i], small);
        ds_start_set(starts, model, w->alpha, alpha);
        ds_start_set(starts, model, w->beta, beta);
        ds_start_set(starts, model, w->pre_logits, pre);
        ds_start_set(starts, model, w->res_logits, mixing);
    }
}

const ds_stream_weights *ds_stream_weights_of(const ds_pass *pass) {
    return (const ds_stream_weights *)(const void *)ds_pass_layer(pass)->rule[ds_pass_half(pass)];
}

/* Streams that stay apart do not depend on how they would mix; a closed sublayer's output on nothing. */
static void unreached(bool *reached, const ds_model *model, const ds_layer_weights *layer, size_t half, ds_force trained) {
    const ds_stream_weights *w = (const ds_stream_weights *)(const void *)layer->rule[half];
    ds_stream_kind kind = ds_stream_kind_of(&model->spec);
    bool closed = trained.mode == DS_FORCE_CLOSED, mixes = kind != DS_STREAM_DROPPED;
    const ds_parameter *maps[] = {w->alpha, w->alpha_map, w->beta, w->beta_map, w->pre_scale, w->post_scale, w->gamma};
    const ds_parameter *write[] = {w->beta, w->beta_map, w->post_scale, w->post_logits, w->pre_logits};
    for (size_t i = 0; kind == DS_STREAM_STATIC && i < sizeof maps / sizeof *maps; i++) ds_unreach(reached, model, maps[i]);
    for (size_t i = 0; closed && i < sizeof write / sizeof *write; i++) ds_unreach(reached, model, write[i]);
    if (closed && w->res_scale != NULL) ds_unreach(reached, model, w->pre_scale);
    for (size_t i = 0; closed && !mixes && i < sizeof maps / sizeof *maps; i++) ds_unreach(reached, model, maps[i]);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

/* Doubles of one tile's scratch, laid out from `at` (NULL: only counted). */
static size_t lay_out_numbers(ds_stream_scratch *scratch, double *at, const ds_spec *spec) {
    ds_stream_shape shape = ds_stream_shape_of(spec);
    size_t n = shape.streams, numbers = ds_stream_alphas(&shape) + n, square = n * n, used = 0;
    size_t logits = shape.orders > square ? shape.orders : square;
    size_t history = spec->streams.orthostochastic ? (spec->streams.steps + 6) * square : 0;
    const struct {
        double **array;
        size_t count;
    } arrays[] = {{&scratch->maps.alpha, numbers - n},
                  {&scratch->maps.beta, n},
                  {&scratch->maps.x, numbers},
                  {&scratch->maps.dx, numbers + logits},
                  {&scratch->maps.square, square},
                  {&scratch->v, numbers},
                  {&scratch->dv, numbers},
                  {&scratch->mixing, ds_stream_mixing(n)},
                  {&scratch->history, history}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; used += arrays[i++].count)
        *arrays[i].array = at != NULL && arrays[i].count > 0 ? at + used : NULL;
    return used;
}

static ds_status workspace_init(ds_workspace *w) {
    ds_status status = DS_OK;
    ds_stream_workspace *own = NULL;
    const ds_spec *spec = &w->spec;
    ds_stream_shape shape = ds_stream_shape_of(spec);
    ds_stream_scratch measured = {.history = NULL};
    size_t tiles = w->sequences * ds_tile_count(w->length), tokens = w->sequences * w->length, n = shape.streams;
    size_t doubles = lay_out_numbers(&measured, NULL, spec), size = ds_precision_size(w->precision);
    size_t reals = (DS_STREAM_ROWS + 1) * n * shape.hidden;
    DS_NEW(own, 1);
    w->rule = own;
    if (shape.orders > 0) {
        DS_TRY(ds_arrays_add(&w->arrays, &own->permutations, shape.orders, n, 1));
        ds_stream_permutations(own->permutations, n);
    }
    DS_TRY(ds_arrays_add(&w->arrays, &own->scratch, tiles, 1, sizeof *own->scratch));
    DS_TRY(ds_arrays_add(&w->arrays, &own->numbers, tiles, doubles, sizeof(double)));
    DS_TRY(ds_arrays_add(&w->arrays, &own->reals, tiles, reals, size));
    DS_TRY(ds_arrays_add(&w->arrays, &own->alpha, tokens, ds_stream_alphas(&shape), size));
    DS_TRY(ds_arrays_add(&w->arrays, &own->beta, tokens, n, size));
    DS_TRY(ds_arrays_add(&w->arrays, &own->mixing, tokens, ds_stream_mixing(n), sizeof(double)));
    for (size_t i = 0; i < tiles; i++) {
        ds_stream_scratch *scratch = &own->scratch[i];
        *scratch = (ds_stream_scratch){.z = (char *)own->reals + i * reals * size};
        (void)lay_out_numbers(scratch, (double *)own->numbers + i * doubles, spec);
        scratch->planes = (char *)scratch->z + DS_STREAM_ROWS * n * shape.hidden * size;
        scratch->maps.kind = ds_stream_kind_of(spec);
        scratch->maps.shape = shape;
        scratch->maps.spec = &w->spec.streams;
        scratch->maps.permutation = own->permutations;
    }
done:
    return status;
}

static ds_status gradient_init(ds_gradient *g) {
    ds_status status = DS_OK;
    ds_stream_memory *own = NULL;
    const ds_spec *spec = &g->model->spec;
    ds_stream_shape shape = ds_stream_shape_of(spec);
    size_t tokens = g->sequences * g->length, n = shape.streams, size = ds_precision_size(g->precision);
    size_t rounds = ds_max_size(spec->streams.rounds, DS_CONVERGED_ROUNDS);
    bool rounded = ds_stream_kind_of(spec) == DS_STREAM_SINKHORN || ds_stream_kind_of(spec) == DS_STREAM_STATIC;
    DS_NEW(own, 1);
    g->rule = own;
    DS_TRY(ds_arrays_add(&g->arrays, &own->dmixing, tokens, ds_stream_mixing(n), sizeof(double)));
    own->history_length = rounded && !spec->streams.orthostochastic ? 2 * rounds * n * n : 0;
    if (own->history_length > 0)
        DS_TRY(ds_arrays_add(&g->arrays, &own->history, g->sequences * ds_tile_count(g->length), own->history_length,
                             sizeof(double)));
    DS_TRY(ds_arrays_add(&g->arrays, &own->row, 2, shape.hidden, sizeof(double)));
    if (!ds_streams_have_maps(spec)) return DS_OK;
    DS_TRY(ds_arrays_add(&g->arrays, &own->dalpha, tokens, ds_stream_alphas(&shape), size));
    DS_TRY(ds_arrays_add(&g->arrays, &own->dbeta, tokens, n, size));
    DS_TRY(ds_arrays_add(&g->arrays, &own->z, tokens, n * shape.hidden, size));
    DS_TRY(ds_arrays_add(&g->arrays, &own->dstate, tokens, n * shape.hidden, size));
done:
    return status;
}

ds_stream_scratch *ds_stream_scratch_of(const ds_pass *pass, ds_tile tile) {
    const ds_stream_workspace *own = pass->workspace->rule;
    ds_stream_scratch *scratch = &own->scratch[tile.sequence * pass->tiles + tile.index];
    size_t mixing = ds_stream_mixing(scratch->maps.shape.streams);
    const double *mean = pass->workspace->mean_mixing;
    ds_force force = ds_pass_force(pass);
    scratch->maps.force = force;
    scratch->maps.closed =
        force.mode == DS_FORCE_CLOSED || pass->model->spec.trained[ds_pass_half(pass)].mode == DS_FORCE_CLOSED;
    scratch->maps.mean = mean != NULL ? mean + pass->sublayer * mixing : NULL;
    scratch->maps.rounds = force.mode == DS_FORCE_CONVERGED ? DS_CONVERGED_ROUNDS : scratch->maps.spec->rounds;
    scratch->maps.history = scratch->history;
    return scratch;
}

/* ---- observers -------------------------------------------------------------------------------------------------------- */

static ds_status observe_init(ds_workspace *w, unsigned wants) {
    ds_status status = DS_OK;
    ds_stream_workspace *own = w->rule;
    size_t tokens = w->sequences * w->length;
    if ((wants & DS_OBSERVE_GATES) == 0 || own->output_norm != NULL) return DS_OK;
    DS_TRY(ds_arrays_add(&w->arrays, &own->logit_range, tokens, 1, sizeof(double)));
    DS_TRY(ds_arrays_add(&w->arrays, &own->output_norm, tokens, 1, sizeof(double)));
done:
    return status;
}

static void observe(ds_observation *seen, const ds_pass *pass) {
    ds_stream_workspace *own = pass->workspace->rule;
    const ds_spec *spec = &pass->model->spec;
    ds_stream_kind kind = ds_stream_kind_of(spec);
    bool rounded = kind == DS_STREAM_SINKHORN || (kind == DS_STREAM_STATIC && !spec->streams.orthostochastic);
    if ((pass->wants & DS_OBSERVE_GATES) == 0) return;
    own->seen = (ds_stream_observation){.streams = spec->streams.count,
                                        .mixing = own->mixing,
                                        .output_norm = own->output_norm,
                                        .logit_range = rounded ? own->logit_range : NULL};
    seen->streams = &own->seen;
}

/* ---- the table -------------------------------------------------------------------------------------------------------- */

static const ds_stream_kind kinds[DS_STREAM_RULES] = {DS_STREAM_FREE, DS_STREAM_DROPPED, DS_STREAM_SINKHORN, DS_STREAM_PERMUTED,
                                                      DS_STREAM_STATIC};

#define STREAM_RULE(index, words, modes, its_check, rows)                                                                      \
    {                                                                                                                          \
        .name = words, .title = "parallel streams", .kind = DS_KIND_STREAMS,                                                   \
        .limits = "a checkpoint of parallel streams has no gate of the delta rule: its outputs and its mixing can be forced",  \
        .form = &kinds[index], .interventions = modes, .intervention_count = sizeof(modes) / sizeof *(modes),                  \
        .planes = planes, .flops = flops, .check_force = its_check, .check_pass = check_pass, .is_identity = is_identity,      \
        .unreached = unreached, .sublayer = {rows, sizeof(rows) / sizeof *(rows)}, .prefixes = {"hc_attn.", "hc_mlp."},        \
        .start = start, .reads_in_place = reads_in_place, .partial_count = partial_count, .workspace_init = workspace_init,    \
        .gradient_init = gradient_init, .observe_init = observe_init, .observe = observe,                                      \
        .steps = {&ds_rule_streams_steps_f32, &ds_rule_streams_steps_f64},                                                     \
    }

const ds_rule ds_stream_rules[DS_STREAM_RULES] = {
    STREAM_RULE(0, "hc", dynamic, check_dynamic, own_maps),
    STREAM_RULE(1, "hc-identity", dynamic, check_dynamic, own_maps),
    STREAM_RULE(2, "mhc", sinkhorn, check_sinkhorn, pair_maps),
    STREAM_RULE(3, "mhc-lite", dynamic, check_dynamic, order_maps),
    STREAM_RULE(4, "mhc-static", fixed, check_fixed, fixed_maps),
};
