#include "null_models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"
#include "deltascope/stats.h"

ds_null ds_null_of(const char *word) {
    const char *words = DS_NULL_WORDS;
    for (int null = DS_NULL_NONE + 1; word != NULL && *words != '\0'; null++) {
        size_t length = strcspn(words, "|");
        if (strlen(word) == length && strncmp(words, word, length) == 0) return (ds_null)null;
        words += length + (words[length] == '|');
    }
    return DS_NULL_NONE;
}

static void set_gate(ds_directions *out, size_t cell, double beta, double mult) {
    out->beta[cell] = beta;
    out->c[cell] = mult * beta;
}

/* Fisher and Yates, each sublayer by itself. */
static void shuffle_gates(ds_directions *out, size_t first, size_t count, double mult, ds_random *random) {
    for (size_t s = 0; s < out->sublayers; s++) {
        for (size_t i = count; i-- > 1;) {
            size_t here = (first + i) * out->sublayers + s;
            size_t there = (first + ds_random_below(random, i + 1)) * out->sublayers + s;
            double beta = out->beta[here];
            set_gate(out, here, out->beta[there], mult);
            set_gate(out, there, beta, mult);
        }
    }
}

static void draw_direction(double *k, size_t d, ds_random *random) {
    double length2 = ds_dot_f64(k, k, d);
    for (size_t i = 0; i < d; i++) k[i] = ds_random_normal(random);
    double scale = sqrt(length2 / ds_dot_f64(k, k, d));
    for (size_t i = 0; i < d; i++) k[i] *= scale;
}

void ds_null_apply(ds_directions *out, size_t first, size_t count, const ds_direction_source *source, size_t set) {
    double mult = source->run->spec.residual_mult;
    ds_random seeds = ds_random_init(source->seed);
    seeds.state = ds_random_u64(&seeds) + set; /* seeds that follow one another do not share sets */
    ds_random random = ds_random_init(ds_random_u64(&seeds));
    size_t from = first * out->sublayers, end = (first + count) * out->sublayers;
    if (source->null == DS_NULL_SHUFFLED_GATES) shuffle_gates(out, first, count, mult, &random);
    for (size_t cell = from; source->null == DS_NULL_RANDOM_DIRECTIONS && cell < end; cell++)
        draw_direction(out->k + cell * out->hidden, out->hidden, &random);
    for (size_t cell = from; source->null == DS_NULL_CONSTANT_GATES && cell < end; cell++)
        set_gate(out, cell, source->means[cell % out->sublayers], mult);
}
