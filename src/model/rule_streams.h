/* What the rules of parallel streams share, in rule_streams.c and rule_streams.real.c. Private to them.
 *
 * The state X is n streams of d features, each the embedding at first. With pre (n), R (n,n) and post (n) of every token,
 *
 *     u = sum_s pre[s] X[s],   f = m branch(norm(u)),   X[t] <- sum_s R[t,s] X[s] + post[t] f
 *
 * and the readout norms every stream, then adds. stream_maps.h says what they are made of: numbers v = z F with
 * z = sqrt(width) x / |x| (1 + gamma), x being one stream, or all of them side by side. */
#ifndef DELTASCOPE_MODEL_RULE_STREAMS_H
#define DELTASCOPE_MODEL_RULE_STREAMS_H

#include "rule.h"
#include "stream_maps.h"
#include "streams_spec.h"

typedef struct ds_stream_weights {
    const ds_parameter *gamma;                                 /* (width) */
    const ds_parameter *alpha, *alpha_map;                     /* static part and F: (groups,alpha) or (alpha); (width,alpha) */
    const ds_parameter *beta, *beta_map;                       /* (n), (width,beta) */
    const ds_parameter *pre_scale, *res_scale, *post_scale;    /* one number; res_scale NULL: that of pre */
    const ds_parameter *pre_logits, *res_logits, *post_logits; /* the static form: (n), (n,n), (n) */
} ds_stream_weights;
_Static_assert(sizeof(ds_stream_weights) <= sizeof((ds_layer_weights *)0)->rule[0], "more slots are needed");

enum { DS_STREAM_ROWS = 16 }; /* tokens whose z is made at a time */

/* One tile's scratch. */
typedef struct ds_stream_scratch {
    ds_stream_maps maps;
    double *v, *dv, *mixing; /* (alphas + n), (alphas + n), (n(n+2)) */
    double *history;         /* of Newton-Schulz steps, or NULL */
    void *z;                 /* (DS_STREAM_ROWS,n,d) */
    void *planes;            /* (n,d) */
} ds_stream_scratch;

typedef struct ds_stream_workspace {
    unsigned char *permutations;
    ds_stream_scratch *scratch;        /* (B,tiles) */
    void *numbers, *reals;             /* of them all */
    void *alpha, *beta;                /* (B,T,alphas), (B,T,n): v of the sublayer in hand */
    double *mixing;                    /* (B,T,n(n+2)): and pre, post, R */
    double *output_norm, *logit_range; /* (B,T): made when an observer first asks */
    ds_stream_observation seen;
} ds_stream_workspace;

typedef struct ds_stream_memory {
    double *dmixing;       /* (B,T,n(n+2)) */
    void *dalpha, *dbeta;  /* (B,T,alphas), (B,T,n): gradients of v */
    void *z, *dstate;      /* (B,T,n,d) z; what comes to the state through it */
    double *row;           /* (2,d): of one token's Jacobian */
    double *history;       /* (B,tiles) of Sinkhorn: (2 rounds,n,n) */
    size_t history_length; /* of a tile */
} ds_stream_memory;

/* Whether what the streams mix by depends on them. */
static inline bool ds_streams_have_maps(const ds_spec *spec) {
    return ds_stream_kind_of(spec) != DS_STREAM_STATIC && spec->streams.dynamic;
}
const ds_stream_weights *ds_stream_weights_of(const ds_pass *pass);
ds_stream_scratch *ds_stream_scratch_of(const ds_pass *pass, ds_tile tile);

extern const ds_rule ds_stream_rules[DS_STREAM_RULES];
extern const ds_rule_steps ds_rule_streams_steps_f32, ds_rule_streams_steps_f64;

#endif
