/* A plan's variants: what each is, and what of the common recipe it overrides. */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

enum { LONGEST_NAME = 64 };

/* A name is a folder's: letters, digits and . _ + - behind a letter or digit. */
static bool is_name(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
    size_t length = strlen(name);
    return length > 0 && length <= LONGEST_NAME && strspn(name, letters) == length && strchr("._+-", name[0]) == NULL;
}

/* What else a study writes into its folder. */
static bool is_taken(const char *name) {
    static const char *const taken[] = {"noise-floor", "speed", "sweep", "tuned", "tables", "figures"}, *const endings[] = {
                                                                                                            ".json", ".html",
                                                                                                            ".md"};
    const size_t length = strlen(name);
    bool found = false;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) found |= strcmp(name, taken[i]) == 0;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t most = strlen(endings[i]);
        found |= length >= most && strcmp(name + length - most, endings[i]) == 0;
    }
    return found;
}

/* What may not differ, because then losses are not of the same data, or not after as many tokens. */
static ds_status check_overrides(const ds_plan_source *source, const char *name, const json_t *overrides) {
    static const char *const common[] = {"seq_len", "batch", "accumulation", "order", "data_seed", "val_windows", "steps"};
    if (json_object_get(overrides, "rule") != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: variant %s: its rule is the variant's own key \"rule\", not one of its recipe",
                       DS_SHOW(source->path), DS_SHOW(name));
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        if (json_object_get(overrides, common[i]) == NULL) continue;
        return ds_fail(DS_ERR_INPUT,
                       "%s: variant %s overrides %s, which decides what data a run sees: it has to be the same for all, in the "
                       "plan's recipe",
                       DS_SHOW(source->path), DS_SHOW(name), common[i]);
    }
    return DS_OK;
}

static ds_status read_recipe(ds_study_variant *out, const ds_plan_source *source, const json_t *common, const json_t *given) {
    ds_status status = DS_OK;
    const json_t *overrides = json_object_get(given, "recipe"), *rule = json_object_get(given, "rule");
    char where[DS_NAME_CAPACITY + 128];
    json_t *own = ds_json_copy(common);
    if (own == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for a recipe");
    (void)snprintf(where, sizeof where, "%s: variant %s: recipe", DS_SHOW(source->path), out->name);
    if (overrides != NULL && !json_is_object(overrides))
        DS_TRY(ds_plan_refuse(source, "recipe", overrides, "an object of what the variant overrides"));
    DS_TRY(check_overrides(source, out->name, overrides));
    if ((overrides != NULL && json_object_update(own, (json_t *)(uintptr_t)overrides) != 0) ||
        (rule != NULL && json_object_set(own, "rule", (json_t *)(uintptr_t)rule) != 0))
        DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for a recipe"));
    DS_TRY(ds_recipe_parse(&out->recipe, own, where));
done:
    json_decref(own);
    return status;
}

static ds_status read_variant(ds_study_variant *out, const ds_plan *plan, const ds_plan_source *source, const json_t *common,
                              const char *name, const json_t *given) {
    static const char *const keys[] = {"config", "variant", "rule", "recipe"};
    ds_status status = DS_OK;
    ds_text where = {0};
    out->name = name;
    DS_TRY(ds_text_printf(&where, "variant %s", DS_SHOW(name)));
    if (!is_name(name) || is_taken(name))
        DS_TRY(ds_fail(DS_ERR_INPUT,
                       "%s: \"%s\" is no name of a variant: expected at most %d letters, digits and . _ + -, a letter or digit "
                       "first, and not what the study's own files and folders are called",
                       DS_SHOW(source->path), DS_SHOW(name), LONGEST_NAME));
    if (!json_is_object(given)) DS_TRY(ds_plan_refuse(source, where.bytes, given, "an object"));
    DS_TRY(ds_plan_check_keys(source, given, keys, sizeof keys / sizeof *keys, where.bytes));
    DS_TRY(ds_text_printf(&where, ": variant"));
    out->kind = json_string_value(json_object_get(given, "variant"));
    if (out->kind == NULL)
        DS_TRY(ds_plan_refuse(source, where.bytes, json_object_get(given, "variant"), "what the configuration is of"));
    where.length = 0;
    DS_TRY(ds_text_printf(&where, "variant %s: config", DS_SHOW(name)));
    DS_TRY(ds_plan_object(&out->config, &out->config_is_own, source, where.bytes, json_object_get(given, "config")));
    DS_TRY(read_recipe(out, source, common, given));
    where.length = 0;
    DS_TRY(ds_text_printf(&where, "%s: variant %s", DS_SHOW(source->path), DS_SHOW(name)));
    status = ds_spec_from_config(&out->spec, out->config, where.bytes, out->kind, plan->which == DS_INIT_NEWER);
    if (status == DS_ERR_USAGE) status = ds_fail_prefix(DS_ERR_INPUT, "%s", where.bytes);
    DS_TRY(status);
    DS_TRY(ds_control_parse(out->spec.trained, out->spec.rule, out->recipe.rule, where.bytes));
done:
    ds_text_release(&where);
    return status;
}

/* Losses over other vocabularies are not comparable; longer windows than a model takes are not trained on. */
static ds_status check_alike(const ds_plan *plan, const ds_plan_source *source) {
    const ds_study_variant *first = &plan->variants[0];
    for (size_t i = 1; i < plan->variant_count; i++) {
        const ds_study_variant *v = &plan->variants[i];
        if (v->spec.vocab != first->spec.vocab)
            return ds_fail(DS_ERR_INPUT,
                           "%s: variant %s has a vocabulary of %llu, %s one of %llu: their losses could not be compared",
                           DS_SHOW(source->path), v->name, (unsigned long long)v->spec.vocab, first->name,
                           (unsigned long long)first->spec.vocab);
    }
    return DS_OK;
}

ds_status ds_plan_read_variants(ds_plan *plan, const ds_plan_source *source) {
    ds_status status = DS_OK;
    const json_t *variants = json_object_get(plan->given, "variants");
    json_t *common = NULL, *given;
    bool own = false;
    const char *name;
    char where[DS_NAME_CAPACITY + 16];
    size_t count = json_object_size(variants);
    DS_TRY(ds_plan_object(&common, &own, source, "recipe", json_object_get(plan->given, "recipe")));
    if (!json_is_object(variants) || count == 0 || count > DS_PLAN_VARIANTS)
        DS_TRY(ds_plan_refuse(source, "variants", variants, "an object with 1 to 64 variants by name"));
    DS_NEW(plan->variants, count);
    (void)snprintf(where, sizeof where, "%s: recipe", DS_SHOW(source->path));
    DS_TRY(ds_recipe_parse(&plan->common, common, where));
    json_object_foreach((json_t *)(uintptr_t)variants, name, given) {
        plan->variant_count++;
        DS_TRY(read_variant(&plan->variants[plan->variant_count - 1], plan, source, common, name, given));
    }
    DS_TRY(check_alike(plan, source));
done:
    if (own) json_decref(common);
    return status;
}
