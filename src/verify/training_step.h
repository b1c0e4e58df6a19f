/* Private to the verify room: what one number goes through in an update. */
#ifndef DELTASCOPE_VERIFY_TRAINING_STEP_H
#define DELTASCOPE_VERIFY_TRAINING_STEP_H

#include "checks.h"
#include "deltascope/train.h"

/* A weight and its moments. */
typedef struct ds_adamw_number {
    double weight, mean, square;
} ds_adamw_number;
/* What an update asks of all numbers of a tensor: s, mu lr(t), lambda, c and the recipe's own. */
typedef struct ds_adamw_plain {
    double count, eta, decay, clip, beta1, beta2, eps;
} ds_adamw_plain;
/* Adds how far `after` is from what the formulas make of `before`, with the roundings of the trainer's double arithmetic and,
 * at `stored` of its size, of a number's storage (0: none beside). */
void ds_adamw_compare(ds_worst *worst, const ds_adamw_number *before, const ds_adamw_number *after, double gradient,
                      const ds_adamw_plain *plain, double stored);

#endif
