/* A draft of a map from somebody's names to ours. Every variant the configuration allows is laid over the tensors: first pairs
 * whose names say so beyond doubt, then, shape by shape, the order in which both list what is left. The variant that leaves
 * least over is the draft's. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "draft_settings.h"
#include "name_likeness.h"
#include "parameters.h"
#include "spec.h"

enum {
    MOST_ROWS = 96,    /* parameters of one layer and of no layer, of any variant */
    MOST_GROUPS = 512, /* names, layers counted once: more are not matched */
    MOST_WIDTHS = 12,  /* widths of the MLP that are tried */
    MOST_SHOWN = 6,    /* roles of one tensor that are told besides the draft's */
    PATTERN = 160,
    NOBODY = MOST_ROWS, /* taken by no row */
};

static const char layer_mark[] = "{L}";

/* Their tensors of one name, whatever the layer. */
typedef struct group {
    char pattern[PATTERN];
    const ds_tensor *first;
    ds_notions notions;
    bool layered;
    size_t row;   /* that took it, or NOBODY */
    size_t parts; /* rows it holds, one below the other */
    bool transposed, guessed;
} group;

/* One of our parameters, of layer 0 for all. */
typedef struct row {
    char pattern[PATTERN];
    char role[64];
    ds_notions notions;
    bool layered, taken;
    size_t rank, shape[DS_MAX_RANK];
} row;

/* Groups and rows of one supposition, and how well they go together. */
typedef struct layout {
    row rows[MOST_ROWS];
    size_t row_count;
    group *groups; /* (group_count) */
    size_t group_count;
    bool turned;  /* matrices of layers are stored as (in, out) */
    bool qk_norm; /* supposed where the configuration does not say */
    long merit;
} layout;

/* ---- their names ------------------------------------------------------------------------------------------------- */

static const char *next_part(const char *name) {
    const char *dot = strchr(name, '.');
    return dot == NULL ? NULL : dot + 1;
}

/* The name with its first number as {L}; returns the number, or -1 for none. */
static long pattern_of(char pattern[PATTERN], const char *name) {
    for (const char *at = name; at != NULL; at = next_part(at)) {
        size_t digits = strspn(at, "0123456789");
        if (digits == 0 || digits > 6 || (at[digits] != '.' && at[digits] != '\0')) continue;
        (void)snprintf(pattern, PATTERN, "%.*s%s%s", (int)ds_min_size((size_t)(at - name), PATTERN), name, layer_mark,
                       at + digits);
        return strtol(at, NULL, 10);
    }
    (void)snprintf(pattern, PATTERN, "%s", name);
    return -1;
}

typedef struct census {
    json_t *counts; /* tensors, by pattern */
    size_t layers;  /* the count that most patterns have */
} census;

static ds_status take_census(census *out, const ds_checkpoint *checkpoint) {
    size_t votes[256] = {0}, best = 0;
    out->counts = json_object();
    for (size_t i = 0; out->counts != NULL && i < ds_checkpoint_count(checkpoint); i++) {
        char pattern[PATTERN];
        const char *name = ds_checkpoint_tensor(checkpoint, i)->name;
        if (strlen(name) + sizeof layer_mark > PATTERN || pattern_of(pattern, name) < 0) continue;
        json_int_t count = json_integer_value(json_object_get(out->counts, pattern)) + 1;
        if (json_object_set_new(out->counts, pattern, json_integer(count)) != 0) return ds_fail(DS_ERR_SYSTEM, "out of memory");
    }
    if (out->counts == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for a draft");
    const char *key;
    json_t *value;
    json_object_foreach(out->counts, key, value) {
        json_int_t count = json_integer_value(value);
        if (count < 256 && ++votes[count] > votes[best]) best = (size_t)count;
    }
    out->layers = best;
    return DS_OK;
}

static int by_place(const void *left, const void *right) {
    const ds_tensor *a = *(const ds_tensor *const *)left, *b = *(const ds_tensor *const *)right;
    if (a->file_index != b->file_index) return a->file_index < b->file_index ? -1 : 1;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return strcmp(a->name, b->name);
}

static bool same_shape(const ds_tensor *a, const ds_tensor *b) {
    bool same = a->rank == b->rank;
    for (size_t i = 0; same && i < a->rank; i++) same = a->shape[i] == b->shape[i];
    return same;
}

static group *find_group(const layout *plan, const char *pattern) {
    for (size_t i = 0; i < plan->group_count; i++) {
        if (strcmp(plan->groups[i].pattern, pattern) == 0) return &plan->groups[i];
    }
    return NULL;
}

/* Groups in the order in which the files hold the first of each. A name whose layers are not 0 to layers - 1, or whose shape
 * changes, is of no layer. */
static ds_status find_groups(layout *plan, const ds_checkpoint *checkpoint, const census *counts, size_t layers) {
    ds_status status = DS_OK;
    const ds_tensor **order = NULL;
    size_t count = ds_checkpoint_count(checkpoint);
    DS_NEW(order, count);
    DS_NEW(plan->groups, ds_min_size(count, MOST_GROUPS));
    for (size_t i = 0; i < count; i++) order[i] = ds_checkpoint_tensor(checkpoint, i);
    if (count > 1) qsort(order, count, sizeof *order, by_place);
    for (size_t i = 0; i < count && plan->group_count < MOST_GROUPS; i++) {
        group *next = &plan->groups[plan->group_count];
        char pattern[PATTERN];
        if (strlen(order[i]->name) + sizeof layer_mark > PATTERN) continue;
        long layer = pattern_of(pattern, order[i]->name);
        bool layered = layer >= 0 && (size_t)layer < layers &&
                       json_integer_value(json_object_get(counts->counts, pattern)) == (json_int_t)layers;
        group *known = layered ? find_group(plan, pattern) : NULL;
        if (known != NULL && known->first != NULL && !same_shape(known->first, order[i])) known->first = NULL;
        if (known != NULL) continue;
        *next = (group){.first = order[i], .layered = layered, .row = NOBODY, .notions = ds_notions_of(order[i]->name)};
        (void)snprintf(next->pattern, PATTERN, "%s", layered ? pattern : order[i]->name);
        plan->group_count++;
    }
done:
    free(order);
    return status;
}

/* ---- our names --------------------------------------------------------------------------------------------------- */

static ds_status find_rows(layout *plan, const ds_spec *spec) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    ds_spec one = *spec;
    one.layers = 1;
    DS_TRY(ds_model_frame(&model, &one, DS_F32, NULL));
    plan->row_count = 0;
    for (size_t i = 0; i < ds_model_parameters(model) && plan->row_count < MOST_ROWS; i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        row *next = &plan->rows[plan->row_count++];
        *next = (row){.rank = parameter->rank};
        next->layered = pattern_of(next->pattern, parameter->name) >= 0;
        const char *of = strstr(parameter->role, " of layer 0");
        size_t length = of == NULL ? strlen(parameter->role) : (size_t)(of - parameter->role);
        (void)snprintf(next->role, sizeof next->role, "%.*s%s", (int)length, parameter->role,
                       of == NULL ? "" : of + strlen(" of layer 0"));
        for (size_t axis = 0; axis < parameter->rank; axis++) next->shape[axis] = parameter->shape[axis];
        /* what the name leaves to its place: the norm in front of attention is attention's */
        bool of_attention = strncmp(parameter->role, "attention", 9) == 0, of_mlp = strncmp(parameter->role, "MLP", 3) == 0;
        next->notions = ds_notions_of(parameter->name) | (of_attention ? ds_notions_of("attention") : 0) |
                        (of_mlp ? ds_notions_of("mlp") : 0);
    }
done:
    ds_model_free(&model);
    return status;
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

/* 0: the shape does not fit; 1: turned the other way than the layout has it; 2: it fits. */
static int fits(const layout *plan, const row *ours, const group *theirs, size_t parts) {
    const ds_tensor *tensor = theirs->first;
    if (tensor == NULL || ours->layered != theirs->layered || ours->rank != tensor->rank) return 0;
    bool plain = true, matrix = ours->rank == 2, turned = matrix;
    for (size_t i = 0; i < ours->rank; i++) {
        plain = plain && tensor->shape[i] == ours->shape[i] * (i == 0 ? parts : 1);
        turned = turned && tensor->shape[1 - i] == ours->shape[i] * (i == 0 ? parts : 1);
    }
    if (!plain && !turned) return 0;
    return (plan->turned && matrix && ours->layered ? turned : plain) ? 2 : 1;
}

static bool is_turned(const layout *plan, const row *ours, const group *theirs, size_t parts) {
    const ds_tensor *tensor = theirs->first;
    if (ours->rank != 2) return false;
    if (tensor->shape[0] == tensor->shape[1]) return plan->turned && ours->layered;
    return tensor->shape[0] != ours->shape[0] * parts;
}

static void pair(layout *plan, size_t r, size_t g, size_t parts, bool guessed) {
    row *ours = &plan->rows[r];
    group *theirs = &plan->groups[g];
    theirs->row = r;
    theirs->parts = parts;
    theirs->guessed = guessed;
    theirs->transposed = is_turned(plan, ours, theirs, parts);
    plan->merit += 1000 * (long)parts + 10 * fits(plan, ours, theirs, parts);
    for (size_t i = 0; i < parts; i++) plan->rows[r + i].taken = true;
    if (!guessed) plan->merit += ds_likeness(ours->notions, theirs->notions);
}

static bool fits_any(const layout *plan, const group *theirs) {
    for (size_t r = 0; r < plan->row_count; r++) {
        if (fits(plan, &plan->rows[r], theirs, 1) != 0) return true;
    }
    return false;
}

/* Matrices that hold several of ours: neighbours of one shape in the table, of the same half of the layer. */
static void pair_fused(layout *plan) {
    for (size_t g = 0; g < plan->group_count; g++) {
        group *theirs = &plan->groups[g];
        if (theirs->first == NULL || (!ds_notions_fused(theirs->notions) && fits_any(plan, theirs))) continue;
        for (size_t parts = 3; parts >= 2 && theirs->row == NOBODY; parts--) {
            for (size_t r = 0; r + parts <= plan->row_count && theirs->row == NOBODY; r++) {
                bool equal = plan->rows[r].rank == 2 && fits(plan, &plan->rows[r], theirs, parts) != 0;
                for (size_t i = 0; equal && i < parts; i++) {
                    const row *ours = &plan->rows[r + i];
                    equal = !ours->taken && ours->rank == 2 && ours->shape[0] == plan->rows[r].shape[0] &&
                            ours->shape[1] == plan->rows[r].shape[1] && ours->layered;
                }
                if (equal) pair(plan, r, g, parts, false);
            }
        }
    }
}

/* How good a free pair is by its names, above 0; 0 for none. */
static int name_merit(const layout *plan, size_t r, size_t g) {
    const row *ours = &plan->rows[r];
    const group *theirs = &plan->groups[g];
    if (ours->taken || theirs->row != NOBODY) return 0;
    int quality = fits(plan, ours, theirs, 1), likeness = ds_likeness(ours->notions, theirs->notions);
    return quality == 0 || likeness <= 0 ? 0 : 4 * likeness + quality;
}

/* Whether no other free pair of the row, or of the group, is as good. */
static bool is_clear(const layout *plan, size_t r, size_t g, int merit) {
    for (size_t i = 0; i < plan->row_count; i++) {
        if (i != r && name_merit(plan, i, g) >= merit) return false;
    }
    for (size_t i = 0; i < plan->group_count; i++) {
        if (i != g && name_merit(plan, r, i) >= merit) return false;
    }
    return true;
}

/* The best pairs by name, as long as there is one without a rival. */
static void pair_by_name(layout *plan) {
    for (bool found = true; found;) {
        size_t best_row = 0, best_group = 0;
        int best = 0;
        for (size_t r = 0; r < plan->row_count; r++) {
            for (size_t g = 0; g < plan->group_count; g++) {
                int merit = name_merit(plan, r, g);
                if (merit <= best || !is_clear(plan, r, g, merit)) continue;
                best = merit;
                best_row = r;
                best_group = g;
            }
        }
        found = best > 0;
        if (found) pair(plan, best_row, best_group, 1, false);
    }
}

/* What is left, in the order of both lists; `least`: the quality of the fit. */
static void pair_by_order(layout *plan, int least) {
    for (size_t r = 0; r < plan->row_count; r++) {
        size_t first = plan->group_count, rivals = 0;
        if (plan->rows[r].taken) continue;
        for (size_t g = 0; g < plan->group_count; g++) {
            const group *theirs = &plan->groups[g];
            if (theirs->row != NOBODY || fits(plan, &plan->rows[r], theirs, 1) < least) continue;
            if (first == plan->group_count) first = g;
            rivals++;
        }
        if (first == plan->group_count) continue;
        pair(plan, r, first, 1, rivals > 1);
    }
}

/* A head that is the embedding's own bytes, or that says what it is. */
static void pair_head(layout *plan) {
    const group *embedding = NULL;
    for (size_t g = 0; g < plan->group_count; g++) {
        if (plan->groups[g].row == 0 && plan->groups[g].parts == 1) embedding = &plan->groups[g];
    }
    for (size_t g = 0; embedding != NULL && g < plan->group_count; g++) {
        group *theirs = &plan->groups[g];
        if (theirs->row != NOBODY || theirs->first == NULL || !same_shape(theirs->first, embedding->first)) continue;
        bool shared =
            theirs->first->file_index == embedding->first->file_index && theirs->first->offset == embedding->first->offset;
        if (!shared && !ds_notions_head(theirs->notions)) continue;
        theirs->parts = 0; /* of no row, but named */
        theirs->transposed = embedding->transposed;
        return;
    }
}

static void match(layout *plan) {
    plan->merit = 0;
    for (size_t g = 0; g < plan->group_count; g++) plan->groups[g].row = NOBODY, plan->groups[g].parts = 1;
    for (size_t r = 0; r < plan->row_count; r++) plan->rows[r].taken = false;
    pair_fused(plan);
    pair_by_name(plan);
    pair_by_order(plan, 2);
    pair_by_order(plan, 1);
    pair_head(plan);
    for (size_t r = 0; r < plan->row_count; r++) plan->merit -= plan->rows[r].taken ? 0 : 1500;
}

/* ---- suppositions ------------------------------------------------------------------------------------------------ */

/* The usual width, and what else the matrices of the layers have for one. */
static size_t find_widths(size_t widths[MOST_WIDTHS], const layout *plan, const ds_spec *spec) {
    size_t count = 0;
    widths[count++] = spec->mlp_hidden;
    for (size_t g = 0; g < plan->group_count; g++) {
        const ds_tensor *tensor = plan->groups[g].first;
        if (tensor == NULL || !plan->groups[g].layered || tensor->rank != 2) continue;
        for (size_t axis = 0; axis < 2; axis++) {
            uint64_t width = tensor->shape[axis];
            bool known = tensor->shape[1 - axis] != spec->hidden || width == 0 || width > (uint64_t)16 * DS_MOST_HIDDEN;
            for (size_t parts = 1; parts <= 2 && !known; parts++) {
                bool new = width % parts == 0 && count < MOST_WIDTHS;
                for (size_t i = 0; i < count; i++) new = new &&widths[i] != width / parts;
                if (new) widths[count++] = (size_t)width / parts;
            }
        }
    }
    return count;
}

static void copy_layout(layout *to, const layout *from) {
    group *groups = to->groups;
    *to = *from;
    to->groups = groups;
    memcpy(groups, from->groups, from->group_count * sizeof *groups);
}

/* *best <- the layout with the most merit of all; *plan is its scratch. */
static ds_status try_widths(layout *best, layout *plan, ds_spec *spec) {
    ds_status status = DS_OK;
    size_t widths[MOST_WIDTHS], count = find_widths(widths, plan, spec);
    for (size_t i = 0; i < 2 * count; i++) {
        spec->mlp_hidden = widths[i / 2];
        if (i % 2 == 0) DS_TRY(find_rows(plan, spec));
        plan->turned = i % 2 == 1;
        match(plan);
        if (plan->merit > best->merit) copy_layout(best, plan);
    }
done:
    return status;
}

static ds_status try_all(layout *best, layout *plan, const ds_draft_settings *settings) {
    ds_status status = DS_OK;
    ds_config config = settings->config;
    best->merit = LONG_MIN;
    for (size_t guess = 0; guess < (settings->qk_norm_said ? 1 : 2); guess++) {
        if (guess == 1) config.qk_norm = !config.qk_norm;
        plan->qk_norm = config.qk_norm;
        for (size_t number = 0; number < DS_SUPPOSITIONS; number++) {
            ds_spec spec;
            if (ds_spec_suppose(&spec, &config, number)) DS_TRY(try_widths(best, plan, &spec));
        }
    }
done:
    return status;
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static void put_target(ds_json_builder *b, const char *key, const layout *plan, const group *theirs) {
    if (theirs->parts == 0) {
        ds_json_put_text(b, key, "lm_head.weight");
    } else if (theirs->parts == 1) {
        ds_json_put_text(b, key, plan->rows[theirs->row].pattern);
    } else {
        ds_json_begin_array(b, key);
        for (size_t i = 0; i < theirs->parts; i++) ds_json_put_text(b, NULL, plan->rows[theirs->row + i].pattern);
        ds_json_end(b);
    }
}

static bool is_named(const group *theirs) { return theirs->row != NOBODY || theirs->parts == 0; }

static bool is_ours_already(const layout *plan, const group *theirs) {
    const char *ours = theirs->parts == 0 ? "lm_head.weight" : plan->rows[theirs->row].pattern;
    return theirs->parts <= 1 && !theirs->transposed && strcmp(theirs->pattern, ours) == 0;
}

static void put_tensors(ds_json_builder *b, const layout *plan) {
    ds_json_begin_object(b, "tensors");
    for (size_t g = 0; g < plan->group_count; g++) {
        const group *theirs = &plan->groups[g];
        if (!is_named(theirs) || is_ours_already(plan, theirs)) continue;
        if (!theirs->transposed) {
            put_target(b, theirs->pattern, plan, theirs);
            continue;
        }
        ds_json_begin_object(b, theirs->pattern);
        put_target(b, "to", plan, theirs);
        ds_json_put_bool(b, "transposed", true);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static ds_status make_map(ds_draft *out, const layout *plan, const ds_draft_settings *settings) {
    ds_json_builder b = {0};
    bool told = plan->qk_norm == settings->config.qk_norm;
    if (!told && json_object_set_new(settings->settings, "use_qk_rmsnorm", json_boolean(plan->qk_norm)) != 0)
        return ds_fail(DS_ERR_SYSTEM, "out of memory for a draft");
    ds_json_begin_object(&b, NULL);
    put_tensors(&b, plan);
    ds_json_put(&b, "config", ds_json_copy(settings->renamed));
    ds_json_put(&b, "settings", ds_json_copy(settings->settings));
    ds_json_begin_array(&b, "guesses");
    for (size_t g = 0; g < plan->group_count; g++) {
        const group *theirs = &plan->groups[g];
        out->matched += theirs->row != NOBODY;
        out->guessed += theirs->row != NOBODY && theirs->guessed;
        if (theirs->row != NOBODY && theirs->guessed) ds_json_put_text(&b, NULL, theirs->pattern);
    }
    ds_json_end(&b);
    ds_json_begin_array(&b, "missing");
    for (size_t r = 0; r < plan->row_count; r++) {
        if (plan->rows[r].taken) continue;
        out->missing++;
        ds_json_put_text(&b, NULL, plan->rows[r].pattern);
    }
    ds_json_end(&b);
    ds_json_end(&b);
    return ds_json_finish(&out->map, &b);
}

/* What the draft makes of it, then what else it could be by its shape. */
static void put_roles(ds_json_builder *b, const layout *plan, const group *theirs) {
    size_t shown = 0;
    ds_json_begin_array(b, "roles");
    for (size_t i = 0; theirs != NULL && theirs->row != NOBODY && i < theirs->parts; i++)
        ds_json_put_text(b, NULL, plan->rows[theirs->row + i].role);
    if (theirs != NULL && theirs->parts == 0) ds_json_put_text(b, NULL, "output head");
    for (size_t r = 0; theirs != NULL && r < plan->row_count && shown < MOST_SHOWN; r++) {
        bool told = theirs->row != NOBODY && r >= theirs->row && r < theirs->row + theirs->parts;
        if (told || fits(plan, &plan->rows[r], theirs, 1) == 0) continue;
        ds_json_put_text(b, NULL, plan->rows[r].role);
        shown++;
    }
    ds_json_end(b);
}

static ds_status make_list(ds_draft *out, const layout *plan, const ds_checkpoint *checkpoint) {
    ds_json_builder b = {0};
    ds_json_begin_array(&b, NULL);
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        char pattern[PATTERN];
        (void)pattern_of(pattern, tensor->name);
        const group *theirs = find_group(plan, pattern);
        if (theirs == NULL) theirs = find_group(plan, tensor->name);
        ds_json_begin_object(&b, NULL);
        ds_json_put_text(&b, "name", tensor->name);
        ds_json_put_text(&b, "dtype", tensor->dtype_name);
        ds_json_put_counts(&b, "shape", tensor->shape, tensor->rank);
        put_roles(&b, plan, theirs);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    return ds_json_finish(&out->tensors, &b);
}

ds_status ds_draft_make(ds_draft *out, const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    census counts = {0};
    ds_draft_settings settings = {0};
    layout plan = {0}, best = {0};
    *out = (ds_draft){0};
    DS_TRY(take_census(&counts, checkpoint));
    DS_TRY(ds_draft_settings_make(&settings, checkpoint, counts.layers));
    DS_TRY(find_groups(&plan, checkpoint, &counts, settings.config.layers));
    DS_NEW(best.groups, plan.group_count);
    DS_TRY(try_all(&best, &plan, &settings));
    DS_TRY(make_map(out, &best, &settings));
    DS_TRY(make_list(out, &best, checkpoint));
done:
    if (status != DS_OK) ds_draft_release(out);
    free(plan.groups);
    free(best.groups);
    ds_draft_settings_release(&settings);
    json_decref(counts.counts);
    return status;
}

void ds_draft_release(ds_draft *draft) {
    json_decref(draft->map);
    json_decref(draft->tensors);
    *draft = (ds_draft){0};
}
