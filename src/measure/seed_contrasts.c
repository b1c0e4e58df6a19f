#include "deltascope/measure/seed_contrasts.h"

#include <math.h>

#include "result_json.h"

void ds_json_put_seed_summary(ds_json_builder *b, const char *key, const ds_seed_summary *summary) {
    ds_json_begin_object(b, key);
    ds_json_put_count(b, "n", summary->n);
    ds_json_put_real(b, "mean", summary->mean);
    ds_json_put_real(b, "sd", summary->sd);
    ds_json_put_interval(b, "interval", summary->low, summary->high);
    ds_json_put_real(b, "median", summary->median);
    ds_json_put_count(b, "diverged", summary->diverged);
    ds_json_end(b);
}

static void put_t(ds_json_builder *b, const ds_t_inference *t) {
    ds_json_begin_object(b, "t");
    ds_json_put_real(b, "statistic", t->statistic);
    ds_json_put_real(b, "df", t->df);
    ds_json_put_real(b, "p", t->p);
    ds_json_end(b);
}

static void put_welch(ds_json_builder *b, const ds_t_inference *welch) {
    ds_json_begin_object(b, "welch");
    ds_json_put_real(b, "mean", welch->mean);
    ds_json_put_interval(b, "interval", welch->low, welch->high);
    ds_json_put_real(b, "df", welch->df);
    ds_json_put_real(b, "p", welch->p);
    ds_json_end(b);
}

static void put_sign_flip(ds_json_builder *b, const char *key, const ds_sign_flip *test) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "p", test->p);
    ds_json_put_count(b, "patterns", test->patterns);
    ds_json_put_real(b, "smallest_p", test->smallest_p);
    ds_json_end(b);
}

static void put_equivalence(ds_json_builder *b, const ds_contrast *contrast) {
    ds_json_begin_object(b, "equivalence");
    ds_json_put_real(b, "margin", contrast->equivalence.margin);
    ds_json_put_interval(b, "interval", contrast->equivalence.low, contrast->equivalence.high);
    ds_json_put_real(b, "p", contrast->equivalence.p);
    ds_json_put_bool(b, "equivalent", contrast->equivalence.equivalent);
    ds_json_end(b);
}

static void put_detectable(ds_json_builder *b, const ds_contrast *contrast) {
    ds_json_begin_object(b, "detectable_effect");
    ds_json_put_real(b, "power", contrast->detectable.power);
    ds_json_put_real(b, "alpha", contrast->detectable.alpha);
    ds_json_put_real(b, "effect", contrast->detectable.effect);
    ds_json_end(b);
}

void ds_json_put_contrast(ds_json_builder *b, const ds_contrast *contrast) {
    ds_json_put_bool(b, "paired", contrast->paired);
    if (contrast->paired)
        ds_json_put_count(b, "n", contrast->n_a);
    else
        ds_json_put_real(b, "n", NAN);
    ds_json_put_count(b, "n_a", contrast->n_a);
    ds_json_put_count(b, "n_b", contrast->n_b);
    ds_json_put_real(b, "mean", contrast->t.mean);
    ds_json_put_real(b, "sd", contrast->sd);
    ds_json_put_interval(b, "interval", contrast->t.low, contrast->t.high);
    ds_json_put_real(b, "dz", contrast->dz);
    ds_json_put_real(b, "correlation", contrast->correlation);
    put_t(b, &contrast->t);
    put_sign_flip(b, "sign_flip", &contrast->sign_flip);
    put_sign_flip(b, "signed_ranks", &contrast->ranks);
    put_welch(b, &contrast->welch);
    ds_json_begin_object(b, "diverged");
    ds_json_put_count(b, "a", contrast->diverged_a);
    ds_json_put_count(b, "b", contrast->diverged_b);
    ds_json_put_real(b, "p", contrast->divergence_p);
    ds_json_end(b);
    ds_json_put_real(b, "holm_p", contrast->holm_p);
    put_equivalence(b, contrast);
    put_detectable(b, contrast);
    ds_json_put_text(b, "verdict", ds_contrast_verdict_names[contrast->verdict]);
}
