/* A plan's contrasts: those it names, or those that every study of the rule asks for. */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { MOST_CONTRASTS = 256 };

static ds_status add(ds_plan *plan, size_t *capacity, ds_study_contrast contrast) {
    ds_status status = DS_OK;
    void *storage = plan->contrasts;
    DS_TRY(ds_grow(&storage, capacity, plan->contrast_count + 1, sizeof *plan->contrasts));
    plan->contrasts = storage;
    plan->contrasts[plan->contrast_count++] = contrast;
done:
    return status;
}

/* ---- by default -------------------------------------------------------------------------------------------------- */

typedef struct family {
    size_t full, write_only, fixed_gate, additive; /* SIZE_MAX: the plan has none */
} family;

static bool is_control(const ds_study_variant *v, const char *start) {
    return strncmp(v->recipe.rule, start, strlen(start)) == 0;
}

/* The relatives of variant `full`, which has gates and is no control: controls of the same kind, and a rule without gates. */
static family find_family(const ds_plan *plan, size_t full) {
    family found = {full, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    for (size_t i = 0; i < plan->variant_count; i++) {
        const ds_study_variant *v = &plan->variants[i];
        bool same = strcmp(v->kind, plan->variants[full].kind) == 0;
        if (same && is_control(v, "write-only")) found.write_only = i;
        if (same && is_control(v, "fixed-gate:")) found.fixed_gate = i;
        if (!ds_rule_has_gates(v->spec.rule) && !ds_spec_is_control(&v->spec)) found.additive = i;
    }
    return found;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const ds_study_variant *const *)a)->name, (*(const ds_study_variant *const *)b)->name);
}

/* *full (count) <- families in bytewise order of their names. */
static ds_status find_families(family **families, size_t *count, const ds_plan *plan) {
    ds_status status = DS_OK;
    const ds_study_variant **sorted = NULL;
    DS_NEW(sorted, plan->variant_count);
    DS_NEW(*families, plan->variant_count);
    for (size_t i = 0; i < plan->variant_count; i++) sorted[i] = &plan->variants[i];
    qsort(sorted, plan->variant_count, sizeof *sorted, by_name);
    for (size_t i = 0; i < plan->variant_count; i++) {
        if (!ds_rule_has_gates(sorted[i]->spec.rule) || ds_spec_is_control(&sorted[i]->spec)) continue;
        (*families)[(*count)++] = find_family(plan, (size_t)(sorted[i] - plan->variants));
    }
done:
    free(sorted);
    return status;
}

/* Full against write-only (what the erase does), full and write-only against additive, full against a fixed gate; and whether
 * the erase does more to a state of several planes than to one of one. */
static ds_status add_defaults(ds_plan *plan) {
    ds_status status = DS_OK;
    family *families = NULL;
    size_t count = 0, capacity = 0;
    DS_TRY(find_families(&families, &count, plan));
    for (size_t i = 0; i < count; i++) {
        const family *f = &families[i];
        const size_t pairs[][2] = {
            {f->full, f->write_only}, {f->full, f->additive}, {f->write_only, f->additive}, {f->full, f->fixed_gate}};
        for (size_t k = 0; k < 4; k++) {
            if (pairs[k][0] != SIZE_MAX && pairs[k][1] != SIZE_MAX)
                DS_TRY(add(plan, &capacity, (ds_study_contrast){pairs[k][0], pairs[k][1], SIZE_MAX, SIZE_MAX}));
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            const family *wide = &families[i], *plain = &families[k];
            if (ds_spec_planes(&plan->variants[wide->full].spec) == 1 ||
                ds_spec_planes(&plan->variants[plain->full].spec) != 1 || wide->write_only == SIZE_MAX ||
                plain->write_only == SIZE_MAX)
                continue;
            DS_TRY(add(plan, &capacity, (ds_study_contrast){wide->full, wide->write_only, plain->full, plain->write_only}));
        }
    }
done:
    free(families);
    return status;
}

/* ---- as named ---------------------------------------------------------------------------------------------------- */

static ds_status read_pair(size_t *a, size_t *b, const ds_plan *plan, const ds_plan_source *source, const char *key,
                           const json_t *pair) {
    size_t *const sides[] = {a, b};
    if (json_array_size(pair) != 2 || !json_is_string(json_array_get(pair, 0)) || !json_is_string(json_array_get(pair, 1)))
        return ds_plan_refuse(source, key, pair, "[A, B] with names of variants, or [[A, B], [C, D]]");
    for (size_t i = 0; i < 2; i++) {
        const char *name = json_string_value(json_array_get(pair, i));
        ds_guess guess = {.word = name, .length = strlen(name)};
        *sides[i] = ds_plan_find_variant(plan, name);
        if (*sides[i] != SIZE_MAX) continue;
        for (size_t k = 0; k < plan->variant_count; k++)
            ds_guess_offer(&guess, plan->variants[k].name, strlen(plan->variants[k].name));
        return ds_fail(DS_ERR_INPUT, "%s: %s names \"%s\", which is no variant of the plan%s", DS_SHOW(source->path), key,
                       DS_SHOW(name), ds_guess_hint(&guess, "").text);
    }
    return DS_OK;
}

static ds_status read_contrast(ds_study_contrast *out, const ds_plan *plan, const ds_plan_source *source, const char *key,
                               const json_t *given) {
    ds_status status = DS_OK;
    *out = (ds_study_contrast){SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    if (!json_is_array(json_array_get(given, 0))) return read_pair(&out->a, &out->b, plan, source, key, given);
    DS_TRY(read_pair(&out->a, &out->b, plan, source, key, json_array_get(given, 0)));
    DS_TRY(read_pair(&out->c, &out->d, plan, source, key, json_array_get(given, 1)));
done:
    return status;
}

static bool same_contrast(ds_study_contrast x, ds_study_contrast y) {
    return x.a == y.a && x.b == y.b && x.c == y.c && x.d == y.d;
}

static ds_status read_primary(ds_plan *plan, const ds_plan_source *source) {
    ds_status status = DS_OK;
    const json_t *given = json_object_get(plan->given, "primary");
    ds_study_contrast primary;
    plan->primary = SIZE_MAX;
    if (given == NULL) return DS_OK;
    DS_TRY(read_contrast(&primary, plan, source, "primary", given));
    for (size_t i = 0; i < plan->contrast_count; i++) {
        if (same_contrast(plan->contrasts[i], primary)) plan->primary = i;
    }
    if (plan->primary == SIZE_MAX)
        status = ds_plan_refuse(source, "primary", given, "one of the plan's contrasts, written as it stands there");
done:
    return status;
}

ds_status ds_plan_read_contrasts(ds_plan *plan, const ds_plan_source *source) {
    ds_status status = DS_OK;
    const json_t *list = json_object_get(plan->given, "contrasts");
    size_t capacity = 0, count = json_array_size(list);
    if (list == NULL) DS_TRY(add_defaults(plan));
    if (list != NULL && (!json_is_array(list) || count > MOST_CONTRASTS))
        DS_TRY(ds_plan_refuse(source, "contrasts", list, "a list of at most 256 contrasts"));
    for (size_t i = 0; i < count; i++) {
        ds_study_contrast contrast;
        DS_TRY(read_contrast(&contrast, plan, source, "contrasts", json_array_get(list, i)));
        for (size_t k = 0; k < plan->contrast_count; k++) {
            if (same_contrast(plan->contrasts[k], contrast))
                DS_TRY(ds_plan_refuse(source, "contrasts", json_array_get(list, i), "every contrast once"));
        }
        DS_TRY(add(plan, &capacity, contrast));
    }
    DS_TRY(read_primary(plan, source));
done:
    return status;
}
