/* Two results, leaf by leaf, by the table of leaves. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "sets.h"

enum { DEPTH = 128 }; /* deeper than the reader of JSON lets files be */

typedef struct pair {
    const json_t *a, *b;
} pair;

typedef struct comparing {
    double other;
    const char *where;
    ds_text path;      /* of the node in hand, in the table's terms */
    size_t prefix;     /* bytes of `path` up to the trees' root */
    pair above[DEPTH]; /* what holds the node in hand, from the root down */
    size_t depth;
    size_t compared, disagreed;
    double worst_excess; /* |a - b| over what is allowed */
    json_t *worst, *differences;
} comparing;

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "out of memory while results are compared"); }

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static json_t *reference(const json_t *value) {
    return value == NULL ? json_null() : json_incref((json_t *)(uintptr_t)value); /* counting is no change */
}

static ds_status tell(json_t **out, const comparing *c, const json_t *a, const json_t *b, double allowed) {
    *out = json_pack("{s:o, s:o, s:o, s:o}", "path",
                     json_sprintf("%s%s", c->where, c->path.bytes + c->prefix + (c->where[0] == '\0')), "a", reference(a), "b",
                     reference(b), "allowed", ds_json_number(allowed));
    return *out == NULL ? out_of_memory() : DS_OK;
}

/* Counts a pair whose values lie `distance` apart: INFINITY where no allowance could cover it. */
static ds_status count_pair(comparing *c, pair found, double distance, double allowed) {
    ds_status status = DS_OK;
    json_t *told = NULL;
    const bool agrees = distance <= allowed && !isinf(distance);
    const double excess = distance == 0 ? 0 : distance / allowed; /* infinite where nothing is allowed */
    const bool worst = excess > c->worst_excess || (!agrees && c->disagreed == 0);
    c->compared++;
    c->disagreed += !agrees;
    if (!worst && (agrees || json_array_size(c->differences) == DS_DIFFERENCES_SHOWN)) return DS_OK;
    DS_TRY(tell(&told, c, found.a, found.b, allowed));
    if (worst) {
        json_decref(c->worst);
        c->worst = json_incref(told);
        c->worst_excess = excess;
    }
    if (!agrees && json_array_size(c->differences) < DS_DIFFERENCES_SHOWN && json_array_append(c->differences, told) != 0)
        status = out_of_memory();
done:
    json_decref(told);
    return status;
}

/* ---- what is allowed --------------------------------------------------------------------------------------------- */

/* What `relative` leads to from the place that holds the node in hand. */
static pair beside(const comparing *c, const char *relative) {
    size_t up = 1;
    for (; strncmp(relative, "../", 3) == 0; relative += 3) up++;
    if (up > c->depth) return (pair){NULL, NULL};
    const pair *holder = &c->above[c->depth - up];
    return (pair){ds_json_at(holder->a, relative), ds_json_at(holder->b, relative)};
}

/* The size of a number, the largest of a list; 0 where there is none: it allows nothing. */
static double magnitude(const json_t *value) {
    double largest = 0;
    if (json_is_number(value)) return fabs(json_number_value(value));
    for (size_t i = 0; i < json_array_size(value); i++) largest = fmax(largest, magnitude(json_array_get(value, i)));
    return largest;
}

/* Of two values of sizes x and y, the bounds apart. */
static double derived_allowance(const comparing *c, const ds_leaf *leaf, double x, double y) {
    double scale = fmax(x, y), allowed = c->other * scale;
    if (leaf->relative == 0) return allowed;
    if (leaf->scale != NULL && strcmp(leaf->scale, "smaller") == 0) {
        scale = fmin(x, y);
    } else if (leaf->scale != NULL && strcmp(leaf->scale, "1") == 0) {
        scale = 1;
    } else if (leaf->scale != NULL) {
        const pair at = beside(c, leaf->scale);
        scale = fmax(magnitude(at.a), magnitude(at.b));
    }
    return allowed + leaf->relative * scale;
}

static double allowance(const comparing *c, const ds_leaf *leaf, double x, double y) {
    double allowed = derived_allowance(c, leaf, fabs(x), fabs(y));
    if (leaf->bound == NULL) return allowed;
    const pair bounds = beside(c, leaf->bound);
    return allowed + magnitude(bounds.a) + magnitude(bounds.b);
}

/* ---- lists in any order ------------------------------------------------------------------------------------------ */

typedef struct point {
    double re, im, bound;
} point;

typedef struct two_sets {
    const comparing *c;
    const ds_leaf *leaf;
    point *a, *b;
} two_sets;

static double set_allowance(const two_sets *sets, size_t i, size_t j) {
    const point *a = &sets->a[i], *b = &sets->b[j];
    return a->bound + b->bound + derived_allowance(sets->c, sets->leaf, hypot(a->re, a->im), hypot(b->re, b->im));
}

static double set_distance(const two_sets *sets, size_t i, size_t j) {
    return hypot(sets->a[i].re - sets->b[j].re, sets->a[i].im - sets->b[j].im);
}

static bool are_near(const void *context, size_t i, size_t j) {
    return set_distance(context, i, j) <= set_allowance(context, i, j);
}

/* The nearest element without a partner of its own: whom an element left over is told beside. */
static size_t nearest_left(const two_sets *sets, const bool *taken, size_t n, size_t i) {
    size_t best = DS_SET_NONE;
    for (size_t j = 0; j < n; j++) {
        if (taken[j] || (best != DS_SET_NONE && !(set_distance(sets, i, j) < set_distance(sets, i, best)))) continue;
        best = j;
    }
    return best;
}

/* Numbers, or pairs [re, im]; their bounds a list of as many. */
static ds_status read_points(point **out, const json_t *values, const json_t *bounds) {
    ds_status status = DS_OK;
    size_t n = json_array_size(values);
    DS_NEW(*out, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(values, i), *re = json_is_array(value) ? json_array_get(value, 0) : value;
        (*out)[i] = (point){.re = json_is_number(re) ? json_number_value(re) : NAN,
                            .im = json_is_array(value) ? json_number_value(json_array_get(value, 1)) : 0,
                            .bound = magnitude(json_array_get(bounds, i))};
    }
done:
    return status;
}

static ds_status count_partners(comparing *c, const two_sets *sets, pair lists, const size_t *partner, size_t n) {
    ds_status status = DS_OK;
    const size_t length = c->path.length;
    bool *taken = NULL;
    DS_NEW(taken, n);
    for (size_t i = 0; i < n; i++) {
        if (partner[i] != DS_SET_NONE) taken[partner[i]] = true;
    }
    for (size_t i = 0; i < n; i++) {
        const bool alone = partner[i] == DS_SET_NONE;
        const size_t j = alone ? nearest_left(sets, taken, n, i) : partner[i];
        if (alone) taken[j] = true;
        const pair found = {json_array_get(lists.a, i), json_array_get(lists.b, j)};
        DS_TRY(ds_text_printf(&c->path, "/%zu", i));
        DS_TRY(count_pair(c, found, alone ? INFINITY : set_distance(sets, i, j), set_allowance(sets, i, j)));
        c->path.length = length;
    }
done:
    free(taken);
    return status;
}

static ds_status compare_sets(comparing *c, const ds_leaf *leaf, pair lists) {
    ds_status status = DS_OK;
    const size_t n = json_array_size(lists.a);
    two_sets sets = {.c = c, .leaf = leaf};
    size_t *partner = NULL;
    const pair bounds = leaf->bound == NULL ? (pair){NULL, NULL} : beside(c, leaf->bound);
    if (n != json_array_size(lists.b) || n > DS_SET_MOST) return count_pair(c, lists, INFINITY, 0);
    DS_NEW(partner, n);
    DS_TRY(read_points(&sets.a, lists.a, bounds.a));
    DS_TRY(read_points(&sets.b, lists.b, bounds.b));
    DS_TRY(ds_sets_match(partner, n, are_near, &sets));
    DS_TRY(count_partners(c, &sets, lists, partner, n));
done:
    free(partner);
    free(sets.a);
    free(sets.b);
    return status;
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

static ds_status compare_leaves(comparing *c, const ds_leaf *leaf, pair values) {
    const json_t *a = values.a, *b = values.b;
    if (leaf != NULL && isinf(leaf->relative)) return DS_OK;
    if (leaf == NULL || !json_is_number(a) || !json_is_number(b))
        return count_pair(c, values, json_equal(a, b) ? 0 : INFINITY, 0);
    if (json_is_integer(a) && json_is_integer(b) && json_integer_value(a) == json_integer_value(b))
        return count_pair(c, values, 0, 0);
    const double x = json_number_value(a), y = json_number_value(b);
    const bool whole = json_is_integer(a) && json_is_integer(b);
    const double distance = whole ? fmax(fabs(x - y), 1) : fabs(x - y); /* two whole numbers can round to one double */
    return count_pair(c, values, distance, whole && leaf->kind == DS_LEAF_EXACT ? 0 : allowance(c, leaf, x, y));
}

static ds_status walk(comparing *c, pair at);

static ds_status step(comparing *c, const char *key, size_t index, pair child) {
    ds_status status = DS_OK;
    const size_t length = c->path.length;
    if (key != NULL)
        DS_TRY(ds_text_printf(&c->path, "/%s", key));
    else
        DS_TRY(ds_text_printf(&c->path, "/%zu", index));
    status = walk(c, child);
    c->path.length = length;
    c->path.bytes[length] = '\0';
done:
    return status;
}

/* Every key of either; what one has alone disagrees. */
static ds_status walk_object(comparing *c, pair at) {
    ds_status status = DS_OK;
    const char *key;
    json_t *value, *a = (json_t *)(uintptr_t)at.a, *b = (json_t *)(uintptr_t)at.b; /* jansson's iterators lack the const */
    json_object_foreach(a, key, value) DS_TRY(step(c, key, 0, (pair){value, json_object_get(b, key)}));
    json_object_foreach(b, key, value) {
        if (json_object_get(a, key) == NULL) DS_TRY(step(c, key, 0, (pair){NULL, value}));
    }
done:
    return status;
}

static ds_status walk_array(comparing *c, pair at) {
    ds_status status = DS_OK;
    const size_t n = json_array_size(at.a);
    if (n != json_array_size(at.b)) return count_pair(c, at, INFINITY, 0);
    for (size_t i = 0; i < n; i++) DS_TRY(step(c, NULL, i, (pair){json_array_get(at.a, i), json_array_get(at.b, i)}));
done:
    return status;
}

static ds_status walk(comparing *c, pair at) {
    ds_status status = DS_OK;
    const bool objects = json_is_object(at.a) && json_is_object(at.b), arrays = json_is_array(at.a) && json_is_array(at.b);
    const ds_leaf *leaf = objects ? NULL : ds_leaf_find(c->path.bytes);
    if (arrays && leaf != NULL && leaf->kind == DS_LEAF_SET) return compare_sets(c, leaf, at);
    if (!objects && !arrays) return compare_leaves(c, leaf, at);
    if (c->depth == DEPTH) return ds_fail(DS_ERR_INPUT, "results are nested deeper than %d", DEPTH);
    c->above[c->depth++] = at;
    status = objects ? walk_object(c, at) : walk_array(c, at);
    c->depth--;
    return status;
}

ds_status ds_claims_compare(json_t **section, const char *name, const char *leaf, const char *where, const json_t *a,
                            const json_t *b, double other) {
    ds_status status = DS_OK;
    comparing c = {.other = other, .where = where, .prefix = strlen(leaf), .differences = json_array()};
    *section = NULL;
    if (c.differences == NULL) return out_of_memory();
    DS_TRY(ds_text_printf(&c.path, "%s", leaf));
    DS_TRY(walk(&c, (pair){a, b}));
    *section = json_pack("{s:s, s:I, s:I, s:o, s:O}", "name", name, "compared", (json_int_t)c.compared, "disagreed",
                         (json_int_t)c.disagreed, "worst", reference(c.worst), "differences", c.differences);
    if (*section == NULL) status = out_of_memory();
done:
    ds_text_release(&c.path);
    json_decref(c.worst);
    json_decref(c.differences);
    return status;
}

double ds_claims_arithmetic(const json_t *a, const json_t *b) {
    static const char *const keys[] = {"arithmetic", "environment/libc"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *one = ds_json_at(a, keys[i]), *two = ds_json_at(b, keys[i]);
        if (one == NULL || two == NULL || !json_equal(one, two)) return 1e-6;
    }
    return 0;
}

bool ds_claims_disagree(const json_t *sections) {
    for (size_t i = 0; i < json_array_size(sections); i++) {
        if (json_integer_value(json_object_get(json_array_get(sections, i), "disagreed")) != 0) return true;
    }
    return false;
}
