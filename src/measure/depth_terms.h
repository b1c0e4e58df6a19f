/* The depth-mixing matrix token by token, for whoever takes means of it. Private to measure. */
#ifndef DELTASCOPE_MEASURE_DEPTH_TERMS_H
#define DELTASCOPE_MEASURE_DEPTH_TERMS_H

#include "deltascope/model.h"

/* What a pass over one batch leaves. Arrays of one number per token are (S+1,B,T). */
typedef struct ds_depth_pass {
    size_t sublayers, tokens, most; /* tokens of the batch in hand, and at most */
    ds_precision precision;
    double *source_norm, *state_norm, *read_norm;
    double *mix; /* (S+1,B,T,S+1) where reads are weighted sums: row s of A, s+1 numbers */
    /* the delta rule */
    double *strength; /* (S,B,T) m beta of the operators, 0 where nothing is erased */
    double *written;  /* (S,B,T,dv) m beta v, 0 where nothing is written */
    char *k;          /* (S,B,T,d) */
    char *state;      /* (B,T,dv,d) X_0, then X_S */
    char *first;      /* (B,T,dv,d) X_0 */
} ds_depth_pass;

/* One token's row-by-row numbers, (S+1,S+1) each. */
typedef struct ds_depth_terms {
    double *size;          /* |P_{s,i} W_i| */
    double *gain;          /* NaN where W_i is 0 */
    double error, largest; /* |sum_i P_{S,i} W_i - X_S|; the largest sum over a row of `size` */
    double state;          /* |X_S| */
} ds_depth_terms;

/* In nats, of shares that add up to 1; the largest of them. */
double ds_share_entropy(const double *shares, size_t count);
double ds_largest_share(const double *shares, size_t count);
/* terms <- of one token; scratch (2S+4,dv,d). */
void ds_depth_terms_of(ds_depth_terms *terms, const ds_depth_pass *pass, const ds_spec *spec, size_t token, double *scratch);

#endif
