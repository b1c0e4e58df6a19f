#include "bounded.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const double u64 = 0x1p-53;

/* ---- arithmetics -------------------------------------------------------------------------------------------------------- */

ds_arithmetic ds_arithmetic_between(ds_precision precision) {
    double u = ds_unit_roundoff(precision);
    bool lower = precision == DS_F32;
    return (ds_arithmetic){u + u64, 2 * u64, lower ? u : 0, lower ? (double)FLT_MIN : DBL_MIN, 0};
}

ds_arithmetic ds_arithmetic_double(void) { return (ds_arithmetic){u64, u64, 0, DBL_MIN, 0}; }
ds_arithmetic ds_arithmetic_exact(void) { return (ds_arithmetic){0, 0, 0, 0, 0}; }

double ds_rounded(const ds_arithmetic *a, double kept, double sums, double stored) {
    if (a->sample != 0) return sqrt(kept) * a->u + sqrt(sums) * a->sum + sqrt(stored) * a->stored;
    double x = kept * a->u + sums * a->sum + stored * a->stored;
    return x < 1 ? x / (1 - x) : (double)INFINITY;
}

double ds_settled(double value, double *error, const ds_arithmetic *a) {
    if (a->sample == 0 || *error == 0) return value;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    ds_random random = ds_random_init(bits ^ (a->sample * 0x9e3779b97f4a7c15u));
    value += *error * ds_random_normal(&random);
    *error = 0;
    return value;
}

void ds_settle(ds_bounded y, size_t count, const ds_arithmetic *a) {
    for (size_t i = 0; i < count && a->sample != 0; i++) y.x[i] = ds_settled(y.x[i], &y.e[i], a);
}

/* ---- sums --------------------------------------------------------------------------------------------------------------- */

typedef struct linear_job {
    ds_bounded y, x;
    const double *weight;
    size_t rows, out, in;
    double relative, tiny; /* what a product may lose of itself in its sum, and besides */
    const ds_arithmetic *arithmetic;
} linear_job;

/* One output feature of up to ROWS rows at a time, whose sums do not wait for each other; the last row stands in for
 * missing ones. */
enum { ROWS = 4, LONE_PRODUCTS = 1 << 15 }; /* fewer are done before other threads have woken */
static void feature_rows(const linear_job *job, size_t index, size_t first) {
    const double *w = job->weight + index * job->in, *x[ROWS], *e[ROWS];
    double sum[ROWS] = {0}, error[ROWS] = {0};
    size_t rows = ds_min_size(ROWS, job->rows - first);
    for (size_t r = 0; r < ROWS; r++) {
        size_t row = (first + ds_min_size(r, rows - 1)) * job->in;
        x[r] = job->x.x + row;
        e[r] = job->y.e == NULL ? x[r] : job->x.e + row; /* without bounds read, not used */
    }
    for (size_t i = 0; i < job->in; i++) {
        for (size_t r = 0; r < ROWS; r++) {
            sum[r] += w[i] * x[r][i];
            error[r] += fabs(w[i]) * (e[r][i] + job->relative * (fabs(x[r][i]) + e[r][i]));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        size_t at = (first + r) * job->out + index;
        error[r] += job->tiny;
        job->y.x[at] = job->y.e == NULL ? sum[r] : ds_settled(sum[r], &error[r], job->arithmetic);
        if (job->y.e != NULL) job->y.e[at] = error[r];
    }
}

static ds_status linear_feature(void *context, size_t index, size_t worker) {
    const linear_job *job = context;
    (void)worker;
    for (size_t t = 0; t < job->rows; t += ROWS) feature_rows(job, index, t);
    return DS_OK;
}

/* A product and each addition round once; the weight may have been rounded, and the sum once more when it is kept. */
ds_status ds_bounded_linear(ds_bounded y, ds_bounded x, const double *weight, size_t rows, size_t out, size_t in, bool wide,
                            const ds_arithmetic *a) {
    double n = (double)in;
    double relative = wide ? ds_rounded(a, 1, n + 1, 1) : ds_rounded(a, n + 1, 0, 1);
    linear_job job = {y, x, weight, rows, out, in, relative, n * a->tiny, a};
    if (rows * out * in > LONE_PRODUCTS) return ds_parallel_for(out, linear_feature, &job);
    for (size_t i = 0; i < out; i++) {
        for (size_t t = 0; t < rows; t += ROWS) feature_rows(&job, i, t);
    }
    return DS_OK;
}

/* ---- norms -------------------------------------------------------------------------------------------------------------- */

/* The factor 1/r, r = sqrt(mean x^2 + eps), of numbers that err by e is that of r +- |e| / sqrt(n): the root of a sum of
 * squares is a norm. x/r then errs by e / r_low + |x| (r - r_low) / (r r_low), and by what the factor, kept, has rounded.
 * No |x / r| exceeds `most`. */
static void divide_by_norm(ds_bounded y, ds_bounded x, const double *weight, size_t count, double mean, double eps, double most,
                           const ds_arithmetic *a) {
    double squares = 0, errors = 0, relative = ds_rounded(a, weight == NULL ? 1 : 2, 0, weight == NULL ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        squares += x.x[i] * x.x[i];
        errors += x.e[i] * x.e[i];
    }
    double root = sqrt(squares * mean + eps), off = sqrt(errors * mean), low = fmax(root - off, sqrt(eps));
    double rounded = root * ds_rounded(a, 1, (double)count / 2 + 2, 0);
    root = ds_settled(root, &rounded, a);
    for (size_t i = 0; i < count; i++) {
        double w = weight == NULL ? 1 : weight[i], value = w * x.x[i] / root;
        double error = fabs(w) * (x.e[i] / low + fabs(x.x[i]) / root * (off / low)) + fabs(value) * (rounded / root);
        error = low > 0 && error < 2 * most * fabs(w) ? error : 2 * most * fabs(w);
        error += relative * (fabs(value) + error) + a->tiny;
        y.x[i] = ds_settled(value, &error, a);
        y.e[i] = error;
    }
}

void ds_bounded_rmsnorm(ds_bounded y, ds_bounded x, const double *weight, size_t rows, size_t width, double eps,
                        const ds_arithmetic *a) {
    for (size_t t = 0; t < rows; t++) {
        ds_bounded in = {x.x + t * width, x.e + t * width}, out = {y.x + t * width, y.e + t * width};
        divide_by_norm(out, in, weight, width, 1 / (double)width, eps, sqrt((double)width), a);
    }
}

/* The sum is rounded when it is kept, and what is added may have been. */
void ds_bounded_add_bias(ds_bounded y, const double *bias, size_t rows, size_t width, double rounding, const ds_arithmetic *a) {
    for (size_t i = 0; i < rows * width; i++) {
        y.x[i] += bias[i % width];
        y.e[i] += a->stored * fabs(bias[i % width]) + rounding * (fabs(y.x[i]) + y.e[i]) + a->tiny;
    }
    ds_settle(y, rows * width, a);
}

/* The mean errs by the mean of the errors, and by roundings in double of sums of |x|; what is left after it is taken away has a
 * norm like any other. */
void ds_bounded_layernorm(ds_bounded y, ds_bounded x, const double *weight, const double *bias, size_t rows, size_t width,
                          double eps, const ds_arithmetic *a) {
    double n = (double)width, relative = ds_rounded(a, 0, n + 1, 0);
    for (size_t t = 0; t < rows; t++) {
        ds_bounded in = {x.x + t * width, x.e + t * width}, out = {y.x + t * width, y.e + t * width};
        double mean = 0, error = 0;
        for (size_t i = 0; i < width; i++) {
            mean += in.x[i] / n;
            error += (in.e[i] + relative * (fabs(in.x[i]) + in.e[i])) / n;
        }
        for (size_t i = 0; i < width; i++) {
            double off = in.e[i] + error + a->sum * (fabs(in.x[i]) + in.e[i] + fabs(mean) + error);
            out.x[i] = ds_settled(in.x[i] - mean, &off, a);
            out.e[i] = off;
        }
        divide_by_norm(out, out, weight, width, 1 / n, eps, sqrt(n), a);
    }
    if (bias != NULL) ds_bounded_add_bias(y, bias, rows, width, a->u, a);
}

void ds_bounded_direction(ds_bounded h, size_t count, double eps, const ds_arithmetic *a) {
    divide_by_norm(h, h, NULL, count, 1, eps * eps, 1, a);
}

/* ---- elementwise -------------------------------------------------------------------------------------------------------- */

double ds_plain_sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* sigma' = sigma (1 - sigma) is at most 1/4 and at most e^-|z|; the kernel is good to 3 ulp, 6 u
 * (tests/num/test_elementary.c). */
void ds_bounded_sigmoid(ds_bounded y, size_t count, bool wide, const ds_arithmetic *a) {
    double relative = 6 * (wide ? a->sum : a->u);
    for (size_t i = 0; i < count; i++) {
        double slope = fmin(0.25, exp(fmin(0, y.e[i] - fabs(y.x[i]))));
        y.x[i] = ds_plain_sigmoid(y.x[i]);
        y.e[i] = fmin(slope * y.e[i], 1) + relative * y.x[i] + a->tiny;
    }
    ds_settle(y, count, a);
}

/* tanh' <= 1; 3 ulp. */
void ds_bounded_tanh(ds_bounded y, size_t count, const ds_arithmetic *a) {
    double relative = 6 * a->u;
    for (size_t i = 0; i < count; i++) {
        y.x[i] = tanh(y.x[i]);
        y.e[i] = fmin(y.e[i], 2) + relative * fabs(y.x[i]) + a->tiny;
    }
    ds_settle(y, count, a);
}

/* |silu'| <= 1.0999; 4 ulp of the product. */
static double silu_error(double y, double e, const ds_arithmetic *a) {
    const double slope = 1.1;
    return slope * e + 8 * a->u * (fabs(y) + slope * e) + a->tiny;
}

/* relu and elu + 1 have slopes of at most 1, on the left of 0 elu + 1 at most e^x. */
void ds_bounded_activation(ds_bounded y, size_t count, ds_activation activation, const ds_arithmetic *a) {
    for (size_t i = 0; i < count && activation != DS_ACT_IDENTITY; i++) {
        double x = y.x[i], e = y.e[i];
        if (activation == DS_ACT_SILU) {
            y.x[i] = x * ds_plain_sigmoid(x);
            y.e[i] = silu_error(y.x[i], e, a);
        } else if (activation == DS_ACT_RELU) {
            y.x[i] = x > 0 ? x : 0;
        } else {
            y.x[i] = x > 0 ? x + 1 : exp(x);
            y.e[i] = e * exp(fmin(0, x + e)) + 4 * a->u * y.x[i] + a->tiny;
        }
    }
    ds_settle(y, count, a);
}

/* Slopes of both forms are at most 1.13. Phi(x) = erfc(-x / sqrt 2) / 2 in double: an argument off by 2 u moves it by a factor
 * of 2 u x^2 at most on the left; the tanh form adds 1 to a number near -1 there, off by u. Then rounded to what is kept. */
void ds_bounded_gelu(ds_bounded y, size_t count, ds_mlp mlp, const ds_arithmetic *a) {
    const double slope = 1.13, root = sqrt(2 / M_PI);
    for (size_t i = 0; i < count; i++) {
        double x = y.x[i], cube = x + 0.044715 * x * x * x;
        y.x[i] = mlp == DS_MLP_GELU ? 0.5 * x * erfc(-x / sqrt(2)) : 0.5 * x * (1 + tanh(root * cube));
        double own = mlp == DS_MLP_GELU ? (8 + 4 * x * x) * fabs(y.x[i]) : 8 * fabs(x);
        y.e[i] = slope * y.e[i] + a->sum * own;
        y.e[i] += a->u * (fabs(y.x[i]) + y.e[i]) + a->tiny;
    }
    ds_settle(y, count, a);
}

void ds_bounded_gate(ds_bounded y, ds_bounded gate, size_t count, const ds_arithmetic *a) {
    double relative = ds_rounded(a, 2, 0, 0);
    for (size_t i = 0; i < count; i++) {
        double open = gate.x[i] * ds_plain_sigmoid(gate.x[i]), e = silu_error(open, gate.e[i], a), x = y.x[i];
        y.x[i] = open * x;
        y.e[i] = fabs(open) * y.e[i] + (fabs(x) + y.e[i]) * e;
        y.e[i] += relative * (fabs(y.x[i]) + y.e[i]) + a->tiny;
    }
    ds_settle(y, count, a);
}
