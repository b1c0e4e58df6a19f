/* A plan's seeds, moved together or crossed. */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { MOST_SEEDS = 4096 };

/* seeds (count) <- a list of numbers, none of them twice. */
static ds_status read_list(uint64_t **seeds, size_t *count, const ds_plan_source *source, const char *key, const json_t *list) {
    ds_status status = DS_OK;
    const json_int_t most = (json_int_t)1 << 53;
    *count = json_array_size(list);
    if (!json_is_array(list) || *count == 0 || *count > MOST_SEEDS)
        return ds_plan_refuse(source, key, list, "a list of 1 to 4096 seeds");
    DS_NEW(*seeds, *count);
    for (size_t i = 0; i < *count; i++) {
        const json_t *value = json_array_get(list, i);
        json_int_t seed = json_integer_value(value);
        if (!json_is_integer(value) || seed < 0 || seed > most)
            DS_TRY(ds_plan_refuse(source, key, list, "whole numbers from 0 to 2^53"));
        (*seeds)[i] = (uint64_t)seed;
        for (size_t k = 0; k < i; k++) {
            if ((*seeds)[k] == (uint64_t)seed)
                DS_TRY(
                    ds_fail(DS_ERR_INPUT, "%s: %s: seed %lld stands there twice", DS_SHOW(source->path), key, (long long)seed));
        }
    }
done:
    return status;
}

static ds_status cross(ds_plan *plan, const ds_plan_source *source, const json_t *given) {
    static const char *const keys[] = {"init", "data"};
    ds_status status = DS_OK;
    uint64_t *rows = NULL, *columns = NULL;
    DS_TRY(ds_plan_check_keys(source, given, keys, 2, "seeds"));
    DS_TRY(read_list(&rows, &plan->rows, source, "seeds.init", json_object_get(given, "init")));
    DS_TRY(read_list(&columns, &plan->columns, source, "seeds.data", json_object_get(given, "data")));
    plan->seed_count = plan->rows * plan->columns;
    if (plan->seed_count > MOST_SEEDS) DS_TRY(ds_plan_refuse(source, "seeds", given, "at most 4096 pairs"));
    DS_NEW(plan->seeds, plan->seed_count);
    for (size_t i = 0; i < plan->seed_count; i++)
        plan->seeds[i] = (ds_study_seed){rows[i / plan->columns], columns[i % plan->columns]};
done:
    free(rows);
    free(columns);
    return status;
}

/* In order of their numbers: what a study tells does not depend on how its plan lists them. */
static int by_number(const void *a, const void *b) {
    const ds_study_seed *x = a, *y = b;
    if (x->init != y->init) return x->init < y->init ? -1 : 1;
    return (x->data > y->data) - (x->data < y->data);
}

ds_status ds_plan_read_seed_list(ds_study_seed **seeds, size_t *count, const ds_plan_source *source, const char *key,
                                 const json_t *list) {
    ds_status status = DS_OK;
    uint64_t *numbers = NULL;
    DS_TRY(read_list(&numbers, count, source, key, list));
    DS_NEW(*seeds, *count);
    for (size_t i = 0; i < *count; i++) (*seeds)[i] = (ds_study_seed){numbers[i], numbers[i]};
    qsort(*seeds, *count, sizeof **seeds, by_number);
done:
    free(numbers);
    return status;
}

ds_status ds_plan_read_seeds(ds_plan *plan, const ds_plan_source *source) {
    ds_status status = DS_OK;
    const json_t *given = json_object_get(plan->given, "seeds");
    DS_TRY(json_is_object(given) ? cross(plan, source, given)
                                 : ds_plan_read_seed_list(&plan->seeds, &plan->seed_count, source, "seeds", given));
    qsort(plan->seeds, plan->seed_count, sizeof *plan->seeds, by_number);
    if (plan->seed_count < 2)
        status = ds_fail(DS_ERR_INPUT, "%s: one seed: nothing can be said of one run, give at least 2 seeds, better 8",
                         DS_SHOW(source->path));
done:
    return status;
}
