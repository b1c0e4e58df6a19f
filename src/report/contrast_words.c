/* What a contrast of seeds says, in sentences that say no more. */
#include <math.h>
#include <string.h>

#include "deltascope/report.h"
#include "deltascope/stats.h"

typedef struct contrast {
    const json_t *json;
    const char *a, *b, *noun, *unit;
    double mean;
} contrast;

static double number(const contrast *c, const char *path) { return ds_json_real_at(c->json, path); }

static bool says(const contrast *c, const char *verdict) {
    const char *word = json_string_value(json_object_get(c->json, "verdict"));
    return word != NULL && strcmp(word, verdict) == 0;
}

/* "3 pairs of seeds", "3 and 4 unpaired seeds" */
static ds_status tell_seeds(ds_text *text, const contrast *c) {
    double n = number(c, "n");
    if (!isnan(n)) return ds_text_printf(text, "%.0f pair%s of seeds", n, ds_plural((size_t)n));
    return ds_text_printf(text, "%.0f and %.0f unpaired seeds", number(c, "n_a"), number(c, "n_b"));
}

static ds_status tell_difference(ds_text *text, const contrast *c) {
    ds_status status = DS_OK;
    double low = number(c, "interval/0"), high = number(c, "interval/1"), sign = c->mean < 0 ? -1 : 1;
    const char *better = c->mean < 0 ? "better" : "worse", *lower = c->mean < 0 ? "lower" : "higher";
    if (strstr(c->a, " - ") != NULL) /* a difference of differences */
        DS_TRY(ds_text_printf(text, "(%s) is %s than (%s) by %.3g%s", c->a, lower, c->b, fabs(c->mean), c->unit));
    else
        DS_TRY(ds_text_printf(text, "%s is %s than %s: its %s is %s by %.3g%s", c->a, better, c->b, c->noun, lower,
                              fabs(c->mean), c->unit));
    if (isnan(number(c, "t/p"))) {
        status = ds_text_printf(text, " for every seed.");
        goto done;
    }
    DS_TRY(
        ds_text_printf(text, " (95%% interval %.3g to %.3g, ", sign * (sign < 0 ? high : low), sign * (sign < 0 ? low : high)));
    DS_TRY(tell_seeds(text, c));
    DS_TRY(ds_text_printf(text, ", p %.2g after Holm).", number(c, "holm_p")));
    if (json_is_true(ds_json_at(c->json, "equivalence/equivalent")))
        DS_TRY(ds_text_printf(text, " It is a small difference: within the margin of %.3g%s.", number(c, "equivalence/margin"),
                              c->unit));
    double flips = number(c, "sign_flip/p"), smallest = number(c, "sign_flip/smallest_p");
    if (smallest >= DS_SIGNIFICANCE)
        DS_TRY(ds_text_printf(text, " It rests on normality: without, so few seeds can give no p below %.2g.", smallest));
    else if (flips >= DS_SIGNIFICANCE)
        DS_TRY(ds_text_printf(text, " It rests on normality: sign flips, which assume none, give p %.2g.", flips));
done:
    return status;
}

/* Both sides before what is said of the two: "A and B", or "(A - B) and (C - D)". */
static ds_status tell_sides(ds_text *text, const contrast *c) {
    const bool differences = strstr(c->a, " - ") != NULL;
    return ds_text_printf(text, differences ? "(%s) and (%s)" : "%s and %s", c->a, c->b);
}

static ds_status tell_equivalence(ds_text *text, const contrast *c) {
    ds_status status = DS_OK;
    DS_TRY(tell_sides(text, c));
    if (c->mean == 0 && isnan(number(c, "t/p"))) return ds_text_printf(text, " do not differ in any seed.");
    status = ds_text_printf(
        text, " are equivalent: the 90%% interval of the difference, %.3g to %.3g%s, lies within the margin of %.3g.",
        number(c, "equivalence/interval/0"), number(c, "equivalence/interval/1"), c->unit, number(c, "equivalence/margin"));
done:
    return status;
}

static ds_status tell_unresolved(ds_text *text, const contrast *c) {
    ds_status status = DS_OK;
    double low = number(c, "interval/0"), effect = number(c, "detectable_effect/effect");
    const double alone = number(c, "t/p"), adjusted = number(c, "holm_p");
    DS_TRY(tell_sides(text, c));
    DS_TRY(ds_text_printf(text, " are not told apart"));
    if (isnan(low)) {
        status = ds_text_printf(text, ": fewer than two finished runs of each give no interval.");
        goto done;
    }
    DS_TRY(ds_text_printf(text, ": the difference is %.3g%s, its 95%% interval %.3g to %.3g.", c->mean, c->unit, low,
                          number(c, "interval/1")));
    if (alone < DS_SIGNIFICANCE)
        DS_TRY(ds_text_printf(text,
                              " Alone it would count as a difference, with p %.2g; among all contrasts p is %.2g, after Holm.",
                              alone, adjusted));
    DS_TRY(ds_text_printf(text, " With this spread, "));
    DS_TRY(tell_seeds(text, c));
    DS_TRY(ds_text_printf(text, " find a true difference of %.3g%s in four studies of five.", effect, c->unit));
done:
    return status;
}

static ds_status tell_diverged(ds_text *text, const contrast *c) {
    ds_status status = DS_OK;
    double a = number(c, "diverged/a"), b = number(c, "diverged/b"), p = number(c, "signed_ranks/p");
    if (!(a + b > 0)) return DS_OK;
    DS_TRY(ds_text_printf(text, " %.0f run%s of %s and %.0f of %s diverged: the means are given no divergence", a,
                          ds_plural((size_t)a), c->a, b, c->b));
    if (!isnan(p)) DS_TRY(ds_text_printf(text, "; counted as the worst, signed ranks give p %.2g", p));
    DS_TRY(ds_text_printf(text, "."));
done:
    return status;
}

/* Runs of one seed that do not resemble each other. */
static ds_status tell_pairing(ds_text *text, const contrast *c) {
    double r = number(c, "correlation"), low = number(c, "welch/interval/0"), high = number(c, "welch/interval/1");
    if (!(r <= 0) || isnan(low)) return DS_OK;
    return ds_text_printf(text, " Pairing gained nothing (r %.2f): Welch's unpaired interval is %.3g to %.3g.", r, low, high);
}

ds_status ds_contrast_sentence(ds_text *text, const json_t *json) {
    ds_status status = DS_OK;
    const char *a = json_string_value(json_object_get(json, "a")), *b = json_string_value(json_object_get(json, "b"));
    const char *measure = json_string_value(json_object_get(json, "measure"));
    if (a == NULL || b == NULL || measure == NULL)
        return ds_fail(DS_ERR_INPUT, "a contrast lacks \"a\", \"b\" or \"measure\", the names of what is compared");
    const ds_name name_a = ds_escape(a, strlen(a)), name_b = ds_escape(b, strlen(b)),
                  noun = ds_escape(measure, strlen(measure));
    bool loss = strcmp(measure, "loss") == 0 || strcmp(measure, "final") == 0 || strcmp(measure, "tail") == 0;
    const contrast c = {
        json, name_a.text, name_b.text, loss ? "loss" : noun.text, loss ? " nats" : "", ds_json_real_at(json, "mean")};
    if (says(&c, "better") || says(&c, "worse"))
        DS_TRY(tell_difference(text, &c));
    else if (says(&c, "equivalent"))
        DS_TRY(tell_equivalence(text, &c));
    else
        DS_TRY(tell_unresolved(text, &c));
    DS_TRY(tell_pairing(text, &c));
    DS_TRY(tell_diverged(text, &c));
done:
    return status;
}
