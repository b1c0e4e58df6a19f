/* What a study's page says first. */
#include <math.h>
#include <string.h>

#include "deltascope/stats.h"
#include "study_page.h"

static const json_t *contrasts_of(const json_t *study) { return json_object_get(study, "contrasts"); }

static bool has_verdict(const json_t *contrast, const char *verdict) {
    const char *word = json_string_value(json_object_get(contrast, "verdict"));
    return word != NULL && strcmp(word, verdict) == 0;
}

/* One more place where a finding holds. */
static ds_status add_place(ds_finding *finding, ds_text *where, const char *name) {
    finding->count++;
    return ds_text_printf(where, "%s%s", where->length == 0 ? "" : ", ", name == NULL ? "?" : DS_SHOW(name));
}

static ds_finding *begin(ds_findings *all, ds_text **where, ds_finding finding) {
    *where = &all->where[all->count];
    all->rows[all->count] = finding;
    return &all->rows[all->count++];
}

static ds_status end(ds_finding *finding, ds_text *where) {
    ds_status status = where->length == 0 ? ds_text_printf(where, "none") : DS_OK;
    finding->where = where->bytes;
    return status;
}

/* ---- contrasts --------------------------------------------------------------------------------------------------- */

static bool is_found(const json_t *contrast) { return has_verdict(contrast, "better") || has_verdict(contrast, "worse"); }
static bool is_equivalent(const json_t *contrast) { return has_verdict(contrast, "equivalent"); }
static bool is_unresolved(const json_t *contrast) { return has_verdict(contrast, "unresolved"); }
static bool is_unpaired(const json_t *contrast) { return ds_json_real_at(contrast, "correlation") <= 0; }
static bool rests_on_normality(const json_t *contrast) {
    return is_found(contrast) && !(ds_json_real_at(contrast, "sign_flip/p") < DS_SIGNIFICANCE);
}

static ds_status find_contrasts(ds_findings *all, const json_t *study) {
    static const struct {
        const char *kind, *threshold;
        bool (*holds)(const json_t *contrast);
    } kinds[] = {
        {"better or worse", "p of the t test after Holm below 0.05", is_found},
        {"equivalent", "no difference found, and the 90% interval inside the margin", is_equivalent},
        {"unresolved", "neither; the table says what could have been seen", is_unresolved},
        {"resting on normality", "better or worse, and p of sign flips not below 0.05", rests_on_normality},
        {"pairing gained nothing", "runs of equal seeds do not resemble each other: r ≤ 0", is_unpaired},
    };
    ds_status status = DS_OK;
    size_t i;
    const json_t *contrast;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        ds_text *where;
        ds_finding *finding = begin(
            all, &where, (ds_finding){.kind = kinds[k].kind, .threshold = kinds[k].threshold, .evidence = "table-contrasts"});
        json_array_foreach(contrasts_of(study), i, contrast) {
            if (kinds[k].holds(contrast))
                DS_TRY(add_place(finding, where, json_string_value(json_object_get(contrast, "name"))));
        }
        DS_TRY(end(finding, where));
    }
done:
    return status;
}

/* A contrast whose word is another once every variant has its best learning rate. */
static ds_status find_tuned(ds_findings *all, const json_t *study) {
    ds_status status = DS_OK;
    ds_text *where;
    size_t i;
    const json_t *contrast, *tuned = ds_json_at(study, "tuned/contrasts");
    if (tuned == NULL) return DS_OK;
    ds_finding *finding = begin(all, &where,
                                (ds_finding){.kind = "words that tuning changes",
                                             .threshold = "another verdict with every variant at its best learning rate",
                                             .evidence = "table-tuned"});
    json_array_foreach(contrasts_of(study), i, contrast) {
        if (!json_equal(json_object_get(contrast, "verdict"), json_object_get(json_array_get(tuned, i), "verdict")))
            DS_TRY(add_place(finding, where, json_string_value(json_object_get(contrast, "name"))));
    }
    DS_TRY(end(finding, where));
done:
    return status;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static bool is_diverged(const json_t *run) {
    const char *word = json_string_value(json_object_get(run, "status"));
    return word != NULL && strcmp(word, "diverged") == 0;
}
static bool is_missing(const json_t *run) {
    const char *word = json_string_value(json_object_get(run, "status"));
    return word == NULL || strcmp(word, "stopped") == 0;
}
static bool has_spikes(const json_t *run) { return json_array_size(json_object_get(run, "spikes")) != 0; }

static ds_status add_run(ds_finding *finding, ds_text *where, const char *variant, const json_t *run) {
    char name[256];
    double init = ds_json_real_at(run, "seed/init"), data = ds_json_real_at(run, "seed/data");
    if (init == data)
        (void)snprintf(name, sizeof name, "%.200s seed %.0f", variant, init);
    else
        (void)snprintf(name, sizeof name, "%.200s seeds %.0f, %.0f", variant, init, data);
    return add_place(finding, where, name);
}

static ds_status find_runs(ds_findings *all, const json_t *study) {
    static const struct {
        const char *kind, *threshold;
        bool (*holds)(const json_t *run), alarm;
    } kinds[] = {
        {"diverged runs", "a loss or gradient that is not finite, or a loss that does not come back", is_diverged, true},
        {"unfinished runs", "stopped before their last update", is_missing, true},
        {"runs with spikes", "a loss 8 scaled median deviations above the median of the 100 before", has_spikes, false},
    };
    ds_status status = DS_OK;
    json_t *variants = (json_t *)(uintptr_t)json_object_get(study, "variants"), *variant; /* for the iterator */
    const char *name;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        ds_text *where;
        ds_finding *finding = begin(
            all, &where, (ds_finding){.kind = kinds[k].kind, .threshold = kinds[k].threshold, .evidence = "table-variants"});
        json_object_foreach(variants, name, variant) {
            const json_t *runs = json_object_get(variant, "runs");
            for (size_t i = 0; i < json_array_size(runs); i++) {
                if (kinds[k].holds(json_array_get(runs, i))) DS_TRY(add_run(finding, where, name, json_array_get(runs, i)));
            }
        }
        finding->alarm = kinds[k].alarm && finding->count > 0;
        DS_TRY(end(finding, where));
    }
done:
    return status;
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

/* Whether a rounding at the start ends as far away as another seed does. */
static bool noise_is_as_large(const json_t *study) {
    double difference = ds_json_real_at(study, "matching/noise_floor/difference");
    return fabs(difference) >= ds_json_real_at(study, "matching/noise_floor/seed_sd");
}

static ds_status find_matching(ds_findings *all, const json_t *study) {
    ds_status status = DS_OK;
    ds_text *where;
    size_t i;
    const json_t *tensor;
    ds_finding *finding = begin(all, &where,
                                (ds_finding){.kind = "initial tensors that differ between variants",
                                             .threshold = "one name, one shape, one seed, and other bytes",
                                             .evidence = "matching"});
    json_array_foreach(ds_json_at(study, "matching/tensors"), i, tensor) {
        if (!json_is_true(json_object_get(tensor, "equal")))
            DS_TRY(add_place(finding, where, json_string_value(json_object_get(tensor, "name"))));
    }
    finding->alarm = finding->count > 0;
    DS_TRY(end(finding, where));
    finding = begin(all, &where,
                    (ds_finding){.kind = "a rounding carries as far as a seed",
                                 .threshold = "noise floor at least the standard deviation over seeds",
                                 .evidence = "matching"});
    if (noise_is_as_large(study)) DS_TRY(add_place(finding, where, "pairing gains nothing at this length"));
    DS_TRY(end(finding, where));
done:
    return status;
}

/* Variants whose rule no published code has on their backbone. */
static ds_status tell_unpublished(ds_text *text, const json_t *study) {
    ds_status status = DS_OK;
    const char *name;
    json_t *variant;
    size_t found = 0;
    json_object_foreach(json_object_get(study, "variants"), name, variant) {
        if (!json_is_false(json_object_get(variant, "published"))) continue;
        DS_TRY(ds_text_printf(text, "%s%s on backbone %s", found++ == 0 ? " No published code has " : ", nor ", name,
                              json_string_value(json_object_get(variant, "backbone"))));
    }
    if (found > 0)
        DS_TRY(ds_text_printf(text, ": these are not the models of the rules' authors, who have backbones and recipes of their "
                                    "own."));
done:
    return status;
}

/* "A: clip, eps; B: rule", or nothing where no variant overrides anything. */
static ds_status tell_overrides(ds_text *text, const json_t *matching) {
    ds_status status = DS_OK;
    const char *name, *key;
    json_t *overrides, *value, *all = json_object_get(matching, "overrides");
    ds_text listed = {0};
    json_object_foreach(all, name, overrides) {
        const char *before = ": ";
        if (json_object_size(overrides) == 0) continue;
        DS_TRY(ds_text_printf(&listed, "%s%s", listed.length == 0 ? "" : "; ", DS_SHOW(name)));
        json_object_foreach(overrides, key, value) {
            DS_TRY(ds_text_printf(&listed, "%s%s ", before, DS_SHOW(key)));
            DS_TRY(ds_json_print(&listed, value, DS_JSON_CANONICAL));
            before = ", ";
        }
    }
    if (!json_is_object(all)) goto done;
    if (listed.length == 0)
        status = ds_text_printf(text, "No variant overrides a key of the recipe. ");
    else
        status = ds_text_printf(text, "Of the recipe these override: %s. ", listed.bytes);
done:
    ds_text_release(&listed);
    return status;
}

/* MLPs that were made narrower so that totals of parameters agree. */
static ds_status tell_widths(ds_text *text, const json_t *matching) {
    ds_status status = DS_OK;
    const json_t *parameters = json_object_get(matching, "parameters");
    const double least = ds_json_real_at(parameters, "least"), greatest = ds_json_real_at(parameters, "greatest");
    const char *name, *before = " ";
    json_t *widths;
    if (!json_is_object(parameters)) return DS_OK;
    DS_TRY(ds_text_printf(text, "Totals of parameters lie within %.2g%% of each other; widths of the MLPs for that:",
                          100 * (greatest - least) / least));
    json_object_foreach(json_object_get(parameters, "mlp_widths"), name, widths) {
        DS_TRY(ds_text_printf(text, "%s%s %.0f", before, DS_SHOW(name), ds_json_real_at(widths, "trained")));
        if (ds_json_real_at(widths, "trained") != ds_json_real_at(widths, "given"))
            DS_TRY(ds_text_printf(text, " (given %.0f)", ds_json_real_at(widths, "given")));
        before = ", ";
    }
    status = ds_text_printf(text, ". ");
done:
    return status;
}

ds_status ds_study_shared_words(ds_text *text, const json_t *study) {
    const json_t *matching = json_object_get(study, "matching"), *tensor;
    size_t shared = 0, equal = 0, i;
    json_array_foreach(json_object_get(matching, "tensors"), i, tensor) {
        if (json_array_size(json_object_get(tensor, "variants")) < 2) continue;
        shared++;
        equal += json_is_true(json_object_get(tensor, "equal")) ? 1 : 0;
    }
    return ds_text_printf(text,
                          "%zu of %zu initial tensors are shared by two variants or more, and %zu of these have equal bytes "
                          "under every seed (SHA-256). Batches %s the same for all variants of a seed.",
                          shared, json_array_size(json_object_get(matching, "tensors")), equal,
                          json_is_true(json_object_get(matching, "batches_equal")) ? "were" : "were not");
}

ds_status ds_study_matching_words(ds_text *text, const json_t *study) {
    ds_status status = DS_OK;
    const json_t *matching = json_object_get(study, "matching");
    const char *precision = json_string_value(json_object_get(study, "precision"));
    double floor = ds_json_real_at(matching, "noise_floor/difference"), sd = ds_json_real_at(matching, "noise_floor/seed_sd");
    DS_TRY(ds_study_shared_words(text, study));
    DS_TRY(ds_text_printf(text, " "));
    DS_TRY(tell_overrides(text, matching));
    DS_TRY(tell_widths(text, matching));
    if (precision != NULL)
        DS_TRY(ds_text_printf(text, "All runs compute in %s precision, the residual state too. ",
                              strcmp(precision, "double") == 0 ? "double" : "single"));
    if (!isnan(floor))
        DS_TRY(ds_text_printf(
            text, "One initial weight moved by one unit in the last place moved the final loss by %.2g nats; ", fabs(floor)));
    if (!isnan(floor) && !isnan(sd)) DS_TRY(ds_text_printf(text, "the standard deviation over seeds is %.2g. ", sd));
    DS_TRY(ds_text_printf(text, "Losses are of all validation windows, in order."));
    DS_TRY(tell_unpublished(text, study));
done:
    return status;
}

/* ---- verdict ----------------------------------------------------------------------------------------------------- */

static ds_status tell_verdict(ds_text *text, const json_t *study) {
    ds_status status = DS_OK;
    const json_t *all = contrasts_of(study), *contrast, *first = json_array_get(all, 0);
    size_t i, found = 0, unresolved = 0;
    json_array_foreach(all, i, contrast) {
        if (json_is_true(json_object_get(contrast, "primary"))) first = contrast;
        found += is_found(contrast) ? 1 : 0;
        unresolved += is_unresolved(contrast) ? 1 : 0;
    }
    if (first == NULL) return ds_text_printf(text, "The plan names no contrast: there are runs, and no statement about them.");
    DS_TRY(ds_contrast_sentence(text, first));
    const double effect = ds_json_real_at(first, "detectable_effect/effect");
    if (!is_unresolved(first) && !isnan(effect)) /* which says so itself */
        DS_TRY(
            ds_text_printf(text, " Four studies of five with these seeds would find a true difference of %.3g nats.", effect));
    if (json_array_size(all) > 1)
        DS_TRY(ds_text_printf(text, " Of all %zu contrasts, %zu %s a difference and %zu %s unresolved.", json_array_size(all),
                              found, found == 1 ? "shows" : "show", unresolved, unresolved == 1 ? "is" : "are"));
done:
    return status;
}

ds_status ds_study_findings(ds_findings *findings, const json_t *study) {
    ds_status status = DS_OK;
    DS_TRY(find_contrasts(findings, study));
    DS_TRY(find_tuned(findings, study));
    DS_TRY(find_runs(findings, study));
    DS_TRY(find_matching(findings, study));
    DS_TRY(tell_verdict(&findings->verdict, study));
done:
    return status;
}
