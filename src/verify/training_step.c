/* One update of training: its arithmetic by plain formulas from what it started from, the same again from what was kept, and
 * what it does to the loss. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinks.h"
#include "training_step.h"

static const double u64 = 0x1p-53;

/* What takes several copies of the weights in double is done for models of up to so many parameters. */
enum { MOST_IN_DOUBLE = 1 << 25 };

/* ---- AdamW as it is written down ------------------------------------------------------------------------------------- */

/* Roundings: g' = c g one; m' two products, 1 - b1 and a sum more: 5; v' one more product with g', itself twice: 7, all of
 * its terms positive. The root of v' halves its error. 1 - b^s by powers errs by 2 u b^s / (1 - b^s) of itself, of which the
 * root takes half; eta has the cosine's and 8 products: 32 in the middle of a schedule. Stored numbers are rounded once more,
 * as far down as the smallest number goes. */
void ds_adamw_compare(ds_worst *worst, const ds_adamw_number *before, const ds_adamw_number *after, double gradient,
                      const ds_adamw_plain *plain, double stored) {
    long double s = plain->count, b1 = plain->beta1, b2 = plain->beta2, eta = plain->eta;
    long double g = (long double)plain->clip * gradient, power1 = powl(b1, s), power2 = powl(b2, s);
    long double m = b1 * before->mean + (1 - b1) * g, v = b2 * before->square + (1 - b2) * g * g;
    long double root = sqrtl(v) / sqrtl(1 - power2) + plain->eps, rate = eta / (1 - power1);
    long double decayed = before->weight * (1 - eta * plain->decay), weight = decayed - rate * m / root;
    double m_error = 5 * u64 * (double)(fabsl(b1 * before->mean) + fabsl((1 - b1) * g)), v_error = 7 * u64 * (double)v;
    double terms = 48 + 2 * (double)(power1 / (1 - power1)) + (double)(power2 / (1 - power2));
    double weight_error =
        u64 * (4 * fabs(before->weight) + terms * (double)fabsl(rate * m / root)) + m_error * (double)(rate / root);
    const double smallest = stored > 0 ? 0x1p-149 : 0x1p-1074;
    ds_worst_add(worst, fabs((double)(after->mean - m)), m_error + stored * (double)fabsl(m) + smallest);
    ds_worst_add(worst, fabs((double)(after->square - v)), v_error + stored * (double)v + smallest);
    ds_worst_add(worst, fabs((double)(after->weight - weight)), weight_error + stored * (double)fabsl(weight) + smallest);
}

/* lr(t), and which tensors decay and at what rate, as they are written down. */
static long double plain_rate(const ds_recipe *r, uint64_t update) {
    const long double pi = 3.14159265358979323846264338327950288L;
    long double t = (long double)update, w = (long double)r->warmup_steps, end = (long double)r->decay_steps;
    long double high = r->learning_rate, low = r->min_learning_rate;
    if (t < w) return high * (t + 1) / (w + 1);
    if (t >= end) return low;
    return low + (high - low) * (1 + cosl(pi * (t - w) / (end - w))) / 2;
}

/* Tables of tokens and positions, and an output head of its own, by the names they have in files. */
static bool is_table(const char *name) {
    static const char *const tables[] = {"wte.weight", "wpe.weight", "embed_tokens.weight", "lm_head.weight"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strstr(name, tables[i]) != NULL) return true;
    }
    return false;
}

static ds_adamw_plain plain_of(const ds_recipe *r, const ds_parameter *p, const ds_update *done) {
    bool embedding = is_table(p->name);
    double multiplier = embedding ? r->embedding_lr_multiplier : r->hidden_lr_multiplier;
    return (ds_adamw_plain){.count = (double)(done->step + 1),
                            .eta = (double)(multiplier * plain_rate(r, done->step)),
                            .decay = p->rank >= 2 ? r->weight_decay : 0,
                            .clip = done->clip_coefficient,
                            .beta1 = r->beta1,
                            .beta2 = r->beta2,
                            .eps = r->eps};
}

/* ---- a model that is trained and put back ---------------------------------------------------------------------------- */

typedef struct training_step {
    const ds_side *side;
    const ds_batch *batch;
    ds_recipe recipe;
    ds_gradient *gradient;
    ds_optimiser *optimiser;
    double *nll;
    char *weights; /* of all parameters before anything */
    size_t size;   /* of a number */
} training_step;

static size_t all_numbers(const ds_model *model) {
    size_t count = 0;
    for (size_t i = 0; i < ds_model_parameters(model); i++) count += ds_model_parameter(model, i)->count;
    return count;
}

/* Copies every parameter's values to `to`, or back from there. */
static void copy_weights(const training_step *c, char *to, bool back) {
    for (size_t i = 0; i < ds_model_parameters(c->side->model); i++) {
        const ds_parameter *p = ds_model_parameter(c->side->model, i);
        if (back)
            memcpy(p->values, to, p->count * c->size);
        else
            memcpy(to, p->values, p->count * c->size);
        to += p->count * c->size;
    }
    if (back) ds_model_refresh(c->side->model);
}

/* Three updates go through warm-up, its end and the cosine. */
static ds_status begin(training_step *c, const ds_side *side, const ds_batch *batch) {
    ds_status status = DS_OK;
    const ds_gradient_options options = {.parameters = true};
    *c = (training_step){.side = side, .batch = batch, .size = ds_precision_size(side->precision)};
    c->recipe = (ds_recipe){.rule = "delta",
                            .length = batch->length,
                            .batch = batch->sequences,
                            .accumulation = 1,
                            .steps = 4,
                            .learning_rate = 0x1p-10,
                            .min_learning_rate = 0x1p-12,
                            .warmup_steps = 1,
                            .decay_steps = 4,
                            .warmup = DS_WARMUP_FROM_ONE,
                            .beta1 = 0.9,
                            .beta2 = 0.95,
                            .eps = 1e-8,
                            .weight_decay = 0.1,
                            .decay = DS_DECAY_RANK2,
                            .hidden_lr_multiplier = 4.0 / 3,
                            .embedding_lr_multiplier = 1};
    DS_NEW_ARRAY(c->nll, batch->sequences * batch->length);
    DS_TRY(ds_gradient_new(&c->gradient, side->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_optimiser_new(&c->optimiser, side->model, &c->recipe));
    c->weights = ds_alloc_array(all_numbers(side->model), c->size);
    if (c->weights == NULL) return DS_ERR_SYSTEM;
    copy_weights(c, c->weights, false);
done:
    return status;
}

static void end(training_step *c) {
    if (c->weights != NULL) copy_weights(c, c->weights, true);
    ds_optimiser_free(&c->optimiser);
    ds_gradient_free(&c->gradient);
    free(c->weights);
    free(c->nll);
}

static ds_status take_gradient(training_step *c, double *loss) {
    ds_status status = DS_OK;
    const size_t tokens = c->batch->sequences * c->batch->length;
    ds_gradient_zero(c->gradient);
    DS_TRY(ds_backward(c->gradient, c->batch, NULL, 1 / (double)tokens, NULL, c->nll));
    *loss = 0;
    for (size_t i = 0; i < tokens; i++) *loss += c->nll[i] / (double)tokens;
done:
    return status;
}

static double number_at(const training_step *c, const void *array, size_t at) {
    double value = 0;
    if (array != NULL) ds_widen(&value, array, at, 1, c->side->precision);
    return value;
}

static double gradient_norm(const training_step *c) {
    long double sum = 0;
    for (size_t i = 0; i < ds_model_parameters(c->side->model); i++) {
        const void *values = ds_gradient_parameter(c->gradient, i);
        for (size_t at = 0; at < ds_model_parameter(c->side->model, i)->count; at++) {
            long double g = number_at(c, values, at);
            sum += g * g;
        }
    }
    return (double)sqrtl(sum);
}

/* ---- training.update ------------------------------------------------------------------------------------------------- */

enum {
    UPDATES = 3,
    MOST_SEEN = 4096, /* numbers of a tensor, its first and last among them */
};

static size_t seen_of(const ds_parameter *p) { return ds_min_size(p->count, MOST_SEEN); }
static size_t place_of(const ds_parameter *p, size_t index) {
    return p->count <= MOST_SEEN ? index : (size_t)((double)index * (double)(p->count - 1) / (MOST_SEEN - 1));
}

static ds_adamw_number number_of(const training_step *c, size_t parameter, size_t at) {
    return (ds_adamw_number){number_at(c, ds_model_parameter(c->side->model, parameter)->values, at),
                             number_at(c, ds_optimiser_mean(c->optimiser, parameter), at),
                             number_at(c, ds_optimiser_square(c->optimiser, parameter), at)};
}

/* Reads the numbers that are looked at into `numbers`, or with `done` compares them with those an update made of them. */
static void visit(training_step *c, ds_adamw_number *numbers, ds_worst *worst, const ds_update *done) {
    double stored = c->side->precision == DS_F64 ? 0 : c->side->roundoff;
    for (size_t i = 0; i < ds_model_parameters(c->side->model); i++) {
        const ds_parameter *p = ds_model_parameter(c->side->model, i);
        const bool moves = ds_optimiser_mean(c->optimiser, i) != NULL;
        for (size_t k = 0; k < seen_of(p); k++, numbers++) {
            size_t at = place_of(p, k);
            ds_adamw_number now = number_of(c, i, at);
            if (done == NULL) {
                *numbers = now;
                continue;
            }
            ds_adamw_plain plain = plain_of(&c->recipe, p, done);
            double gradient = number_at(c, ds_gradient_parameter(c->gradient, i), at);
            if (moves)
                ds_adamw_compare(worst, numbers, &now, gradient, &plain, stored);
            else
                ds_worst_add(worst, fabs(now.weight - numbers->weight) + fabs(gradient), 0);
        }
    }
}

static ds_status compare_update(ds_worst *worst, training_step *c, ds_adamw_number *before, uint64_t step) {
    ds_status status = DS_OK;
    ds_update done = {.step = step};
    DS_TRY(take_gradient(c, &done.loss));
    const double norm = gradient_norm(c), terms = (double)all_numbers(c->side->model) + 8;
    if (step == 0) c->recipe.clip = norm / 2; /* so that it is clipped */
    visit(c, before, worst, NULL);
    DS_TRY(ds_optimiser_step(&done, c->optimiser, c->gradient));
    ds_worst_add(worst, fabs(done.gradient_norm - norm), terms * u64 * norm);
    const double clip = c->recipe.clip > 0 ? fmin(1, c->recipe.clip / (done.gradient_norm + 1e-6)) : 1; /* 0 clips nothing */
    ds_worst_add(worst, fabs(done.clip_coefficient - clip), 4 * u64);
    visit(c, before, worst, &done);
done:
    return status;
}

/* Adds one side's comparisons; *seen <- how many numbers were looked at after each update. */
static ds_status compare_side(ds_worst *worst, size_t *seen, const ds_side *side, const ds_batch *batch) {
    ds_status status = DS_OK;
    ds_adamw_number *before = NULL;
    training_step c;
    DS_TRY(begin(&c, side, batch));
    *seen = 0;
    for (size_t i = 0; i < ds_model_parameters(side->model); i++) *seen += seen_of(ds_model_parameter(side->model, i));
    DS_NEW_ARRAY(before, *seen);
    visit(&c, before, worst, NULL);
    for (size_t i = 0; i < *seen; i++) ds_worst_add(worst, fabs(before[i].mean) + fabs(before[i].square), 0); /* at first */
    for (uint64_t step = 0; step < UPDATES; step++) DS_TRY(compare_update(worst, &c, before, step));
done:
    end(&c);
    free(before);
    return status;
}

/* In the run's precision; in double too where that is small beside what the model takes. */
ds_status ds_check_training_update(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    size_t seen = 0, sides = all_numbers(v->sides[0].model) <= MOST_IN_DOUBLE ? v->side_count : 1;
    ds_worst worst = {0};
    for (size_t i = 0; i < sides; i++) DS_TRY(compare_side(&worst, &seen, &v->sides[i], &v->brief.batch));
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu numbers of %zu tensors in %d updates", seen,
                   ds_model_parameters(v->sides[0].model), UPDATES);
done:
    return status;
}

/* ---- training.resume ------------------------------------------------------------------------------------------------- */

/* All weights and moments, one after another. */
static void keep(const training_step *c, char *to, bool back) {
    size_t bytes = all_numbers(c->side->model) * c->size;
    copy_weights(c, to, back);
    for (size_t i = 0; i < ds_model_parameters(c->side->model); i++) {
        size_t count = ds_model_parameter(c->side->model, i)->count * c->size;
        void *moments[] = {ds_optimiser_mean(c->optimiser, i), ds_optimiser_square(c->optimiser, i)};
        for (size_t k = 0; k < 2; k++) {
            char *place = to + (k + 1) * bytes;
            if (moments[k] != NULL && back) memcpy(moments[k], place, count);
            if (moments[k] != NULL && !back) memcpy(place, moments[k], count);
        }
        to += count;
    }
}

static ds_status one_update(training_step *c, uint64_t step) {
    ds_status status = DS_OK;
    ds_update done = {.step = step};
    DS_TRY(take_gradient(c, &done.loss));
    DS_TRY(ds_optimiser_step(&done, c->optimiser, c->gradient));
done:
    return status;
}

/* The second update again, on `threads`, by an optimiser that knows the first from what was kept alone. */
static ds_status go_on(training_step *c, char *kept, size_t threads) {
    ds_status status = DS_OK;
    const size_t before = ds_threads_here();
    ds_optimiser_free(&c->optimiser);
    DS_TRY(ds_optimiser_new(&c->optimiser, c->side->model, &c->recipe));
    keep(c, kept, true);
    DS_TRY(ds_threads_set_here(threads));
    status = one_update(c, 1);
    if (ds_threads_set_here(before) != DS_OK) status = DS_ERR_SYSTEM;
done:
    return status;
}

ds_status ds_check_training_resume(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    static const size_t threads[] = {1, 3};
    char *first = NULL, *second = NULL, *again = NULL;
    size_t bytes, differ = 0;
    training_step c;
    DS_TRY(begin(&c, &v->sides[0], &v->brief.batch));
    bytes = 3 * all_numbers(c.side->model) * c.size;
    DS_NEW(first, bytes); /* zeroed: a tensor without moments leaves its place alone */
    DS_NEW(second, bytes);
    DS_NEW(again, bytes);
    DS_TRY(one_update(&c, 0));
    keep(&c, first, false);
    DS_TRY(one_update(&c, 1));
    keep(&c, second, false);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        DS_TRY(go_on(&c, first, threads[i]));
        keep(&c, again, false);
        for (size_t k = 0; k < bytes; k++) differ += again[k] != second[k];
    }
    result->measured = (double)differ;
    result->tolerance = 0;
    result->status = differ == 0 ? DS_CHECK_PASS : DS_CHECK_FAIL;
    (void)snprintf(result->detail, sizeof result->detail, "bytes that differ, of %zu", 2 * bytes);
done:
    end(&c);
    free(first);
    free(second);
    free(again);
    return status;
}

/* ---- training.descent ------------------------------------------------------------------------------------------------ */

typedef struct descent {
    training_step step;
    double *start, *moved; /* all weights before the update, and its change of them */
    size_t count;
    double along, sizes; /* <g, change>, and its terms' absolute values */
    double rounding;     /* of a loss */
    ds_kinks kinks;
} descent;

/* The update from `rate`, taken back: what it changes, and the derivative of the loss along that. */
static ds_status take_change(descent *d, double rate) {
    ds_status status = DS_OK;
    training_step *c = &d->step;
    ds_update done = {.step = 0};
    c->recipe.learning_rate = c->recipe.min_learning_rate = rate;
    c->recipe.weight_decay = 0;
    ds_optimiser_free(&c->optimiser);
    DS_TRY(ds_optimiser_new(&c->optimiser, c->side->model, &c->recipe));
    DS_TRY(take_gradient(c, &done.loss));
    DS_TRY(ds_optimiser_step(&done, c->optimiser, c->gradient));
    copy_weights(c, (char *)d->moved, false);
    copy_weights(c, c->weights, true);
    d->along = d->sizes = 0;
    for (size_t i = 0, k = 0; i < ds_model_parameters(c->side->model); i++) {
        const double *g = ds_gradient_parameter(c->gradient, i);
        for (size_t at = 0; at < ds_model_parameter(c->side->model, i)->count; at++, k++) {
            d->moved[k] -= d->start[k];
            d->along += g[at] * d->moved[k];
            d->sizes += fabs(g[at] * d->moved[k]);
        }
    }
done:
    return status;
}

/* The loss with `share` of the change made. */
static ds_status loss_at(double *loss, descent *d, double share) {
    ds_status status = DS_OK;
    training_step *c = &d->step;
    const size_t tokens = c->batch->sequences * c->batch->length;
    const ds_observer *observer = ds_kinks_watch(&d->kinks);
    for (size_t i = 0, k = 0; i < ds_model_parameters(c->side->model); i++) {
        const ds_parameter *p = ds_model_parameter(c->side->model, i);
        for (size_t at = 0; at < p->count; at++, k++) ((double *)p->values)[at] = d->start[k] + share * d->moved[k];
    }
    ds_model_refresh(c->side->model);
    DS_TRY(ds_forward(c->side->workspace, c->side->model, c->batch, NULL, observer, c->nll));
    *loss = 0;
    for (size_t i = 0; i < tokens; i++) *loss += c->nll[i] / (double)tokens;
done:
    copy_weights(c, c->weights, true);
    return status;
}

/* Central differences D over the whole change, half of it and a quarter err by h^2, the extrapolation (4 D(1/4) - D(1/2)) / 3
 * by far less than the last two differ; so that no chance agreement passes, a quarter of what the first two differ counts too.
 * Rounding is (4 4 + 2) / 3 = 6 of a loss's. The loss falls by the derivative but for half the second difference: by at least
 * half of it where that is small. *spread <- the tolerance as a share of the derivative; infinite where the loss is too curved,
 * or an activation crosses its kink. */
static ds_status compare_descent(ds_worst *worst, double *spread, descent *d) {
    ds_status status = DS_OK;
    double none, up[3], down[3], slope[3];
    if (d->kinks.any) ds_kinks_record(&d->kinks);
    DS_TRY(loss_at(&none, d, 0));
    ds_kinks_compare(&d->kinks);
    for (size_t i = 0; i < 3; i++) {
        double share = 1 / (double)(1u << i);
        DS_TRY(loss_at(&up[i], d, share));
        DS_TRY(loss_at(&down[i], d, -share));
        slope[i] = (up[i] - down[i]) / (2 * share);
    }
    double curved = fabs(up[0] + down[0] - 2 * none) / 2;
    double left = fmax(fabs(slope[2] - slope[1]), fabs(slope[1] - slope[0]) / 4);
    double tolerance = left + 6 * d->rounding + (double)d->count * u64 * d->sizes;
    *spread = curved <= fabs(d->along) / 4 && !d->kinks.crossed ? tolerance / fabs(d->along) : INFINITY;
    *worst = (ds_worst){0};
    ds_worst_add(worst, fabs((4 * slope[2] - slope[1]) / 3 - d->along), tolerance);
    ds_worst_add(worst, fmax(0, up[0] - none + fabs(d->along) / 2), tolerance);
done:
    return status;
}

/* The sharpest of steps that become shorter, until one is sharp enough. */
static ds_status sharpest_descent(ds_worst *worst, double *sharpest, double *at, descent *d) {
    ds_status status = DS_OK;
    const double largest = 0x1p-9, smallest = 0x1p-36, enough = 0x1p-14;
    *sharpest = INFINITY;
    for (double rate = largest; *sharpest > enough && rate >= smallest; rate /= 8) {
        double spread;
        ds_worst now;
        DS_TRY(take_change(d, rate));
        DS_TRY(compare_descent(&now, &spread, d));
        if (!(spread < *sharpest)) continue;
        *worst = now;
        *sharpest = spread;
        *at = rate;
    }
done:
    return status;
}

ds_status ds_check_training_descent(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const double usable = 1.0 / 16;
    ds_worst worst = {0};
    double sharpest, rate = 0;
    descent d = {.count = all_numbers(ds_exact(v)->model)};
    if (d.count > MOST_IN_DOUBLE) {
        ds_check_skip(result, "it takes six copies of the weights in double, and is done for up to 33 million parameters");
        return DS_OK;
    }
    DS_TRY(begin(&d.step, ds_exact(v), &v->brief.batch));
    DS_NEW_ARRAY(d.start, d.count);
    DS_NEW_ARRAY(d.moved, d.count);
    DS_TRY(ds_kinks_init(&d.kinks, ds_exact(v)->model, &v->brief.batch));
    copy_weights(&d.step, (char *)d.start, false);
    DS_TRY(ds_loss_rounding(&d.rounding, v, &v->brief.batch));
    DS_TRY(sharpest_descent(&worst, &sharpest, &rate, &d));
    if (sharpest > usable) {
        ds_check_skip(result, "along no step is the loss both straight and more than its rounding");
        goto done;
    }
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "learning rate %.2g; known to %.1g of what it is", rate, sharpest);
done:
    end(&d.step);
    ds_kinks_release(&d.kinks);
    free(d.start);
    free(d.moved);
    return status;
}
