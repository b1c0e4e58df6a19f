/* AdamW over the parameters of a model (TRAINING.md section 2). Private to train. */
#ifndef DELTASCOPE_TRAIN_OPTIMISER_H
#define DELTASCOPE_TRAIN_OPTIMISER_H

#include "deltascope/train.h"

/* What is the same for all elements of a tensor in one update: with g the gradient times `clip`,
 *   p <- p keep;  m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - rate m / (sqrt(v) / root + eps)
 * where keep = 1 - eta lambda, rate = eta / (1 - b1^s), root = sqrt(1 - b2^s). */
typedef struct ds_adamw_terms {
    double clip, beta1, beta2, keep, rate, root, eps;
} ds_adamw_terms;
/* Computed in double, rounded once where it is stored. */
void ds_adamw_f32(float *weight, float *mean, float *square, const float *gradient, size_t count, const ds_adamw_terms *terms);
void ds_adamw_f64(double *weight, double *mean, double *square, const double *gradient, size_t count,
                  const ds_adamw_terms *terms);

/* to += from. */
void ds_gradient_add_f32(float *to, const float *from, size_t count);
void ds_gradient_add_f64(double *to, const double *from, size_t count);

/* Part of a tensor: one task. */
typedef struct ds_optimiser_block {
    size_t parameter, first, count;
} ds_optimiser_block;

struct ds_optimiser {
    ds_model *model;            /* borrowed */
    const ds_recipe *recipe;    /* borrowed */
    bool *reached;              /* (parameters): the others are left alone and have no moments */
    void **mean, **square;      /* (parameters): m and v, of the model's precision, laid out as values */
    void *moments;              /* the memory of all of them */
    ds_adamw_terms *terms;      /* (parameters): of the update in hand */
    ds_optimiser_block *blocks; /* of what is reached, in the order of parameters */
    double *block_norm2;        /* (block_count) */
    size_t block_count;
    const ds_gradient *gradient;         /* of the update in hand */
    double norm_seconds, update_seconds; /* of all updates */
};

ds_status ds_optimiser_init(ds_optimiser *optimiser, ds_model *model, const ds_recipe *recipe) DS_MUST_CHECK;
void ds_optimiser_release(ds_optimiser *optimiser);

#endif
