/* Private to the verify room: numbers that carry what rounding can have done to them, operation by operation, so that a
 * tolerance follows from the arithmetic and no constant is chosen. Values are computed in double, in the published order
 * of operations; what is carried is about another computation of the same formula in the arithmetic described. Two ways:
 *
 * Bounds. Each operation passes on its operands' bounds, with the derivative's absolute values or a Lipschitz constant
 * that holds over the whole uncertain range, and adds its own roundings, in whatever order sums are taken: n roundings of
 * u are n u / (1 - n u) (Higham, Accuracy and Stability, Lemma 3.1). What a second computation in double adds is part of
 * the arithmetic described.
 *
 * Samples. Worst cases of many operations never meet; so each operation's own error, n roundings being sqrt(n) u (Higham
 * and Mary, SIAM J. Sci. Comput. 41, 2019), is multiplied by a normal number and added to the value, which goes on as it
 * is. The number is a function of the value's bits and of the sample: roundings of the same numbers are the same. See
 * DS_SAMPLED. */
#ifndef DELTASCOPE_VERIFY_BOUNDED_H
#define DELTASCOPE_VERIFY_BOUNDED_H

#include "deltascope/model.h"

/* An array and the bounds of its errors, of one extent. */
typedef struct ds_bounded {
    double *x, *e;
} ds_bounded;

typedef struct ds_arithmetic {
    double u;        /* unit roundoff of the numbers that are kept */
    double sum;      /* of those that stay in double whatever is kept: norms, gates, values, sums of the loss */
    double stored;   /* relative error of a weight: it was rounded when kept in a lower precision */
    double tiny;     /* below it products lose digits */
    uint64_t sample; /* not 0: errors are drawn and added, and bounds stay 0 */
} ds_arithmetic;

/* A result's error is a sum of c_i delta_i, |delta_i| <= u independent of mean 0: by Hoeffding's inequality, in norm by
 * Pinelis's, it exceeds (1 + lambda) u |c| with a chance below 2 exp(-lambda^2 / 2). A sample differs from the result
 * without errors by a normal number of deviation u |c|; that the largest of 16 is below t u |c| has a chance below (sqrt(2
 * / pi) t)^16. With lambda = 8 and t = 1/5 both are below 10^-12; so of the largest of 16 differences this multiple is
 * exceeded once in 10^12 comparisons. */
enum { DS_SAMPLES = 16 };
#define DS_SAMPLED ((1 + 8) * 5.0)

/* What two computations may differ by, one in that precision and one in double: roundoffs add. */
ds_arithmetic ds_arithmetic_between(ds_precision precision);
/* One computation in double. */
ds_arithmetic ds_arithmetic_double(void);
/* No roundings: bounds pass through, multiplied by the absolute values of every derivative on the way. */
ds_arithmetic ds_arithmetic_exact(void);

/* What so many roundings of u, so many of sums and of stored weights do to a number of size 1: x / (1 - x) for their sum
 * x, infinite from 1 on; of samples the square root of each number. */
double ds_rounded(const ds_arithmetic *a, double kept, double sums, double stored);
/* An operation is done: the value as later ones see it. In samples *error is drawn, added and 0. */
double ds_settled(double value, double *error, const ds_arithmetic *a);
void ds_settle(ds_bounded y, size_t count, const ds_arithmetic *a);

/* y (rows,out) = x (rows,in) W^T, W (out,in). In lower precision its products and sums are in that one; with `wide` in double.
 * y.e NULL: values alone, from x.x. */
ds_status ds_bounded_linear(ds_bounded y, ds_bounded x, const double *weight, size_t rows, size_t out, size_t in, bool wide,
                            const ds_arithmetic *a) DS_MUST_CHECK;
/* y = weight x / sqrt(mean x^2 + eps); y may be x. */
void ds_bounded_rmsnorm(ds_bounded y, ds_bounded x, const double *weight, size_t rows, size_t width, double eps,
                        const ds_arithmetic *a);
/* y = weight (x - mean) / sqrt(var + eps) + bias, bias NULL for none; y may be x. */
void ds_bounded_layernorm(ds_bounded y, ds_bounded x, const double *weight, const double *bias, size_t rows, size_t width,
                          double eps, const ds_arithmetic *a);
/* y (rows,width) += bias, which rounds once by `rounding`. */
void ds_bounded_add_bias(ds_bounded y, const double *bias, size_t rows, size_t width, double rounding, const ds_arithmetic *a);
/* In place, each number; `wide`: computed in double whatever is kept. */
void ds_bounded_sigmoid(ds_bounded y, size_t count, bool wide, const ds_arithmetic *a);
void ds_bounded_tanh(ds_bounded y, size_t count, const ds_arithmetic *a);
void ds_bounded_activation(ds_bounded y, size_t count, ds_activation activation, const ds_arithmetic *a);
/* GELU of an MLP without a gate, in place. */
void ds_bounded_gelu(ds_bounded y, size_t count, ds_mlp mlp, const ds_arithmetic *a);
/* y *= silu(gate). */
void ds_bounded_gate(ds_bounded y, ds_bounded gate, size_t count, const ds_arithmetic *a);
/* h (count) <- h / sqrt(|h|^2 + eps^2), one vector. */
void ds_bounded_direction(ds_bounded h, size_t count, double eps, const ds_arithmetic *a);
double ds_plain_sigmoid(double x);

#endif
