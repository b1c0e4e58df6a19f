/* What the rules of attention over depth share, in rule_depth.c and rule_depth.real.c. Private to them.
 *
 * The state of a token is its history: plane i is v_i, v_0 the embedding and v_{s+1} = m f_s. A read makes of it
 *
 *     logit_j = <q, norm(source_j; w)> (+ bias on the last),  alpha = softmax(logit),  r = sum_j alpha_j source_j
 *     u = (1-g) source_last + g r     replacement        u = P + g r, P = sum_i v_i     additive
 *
 * with one query q and one norm w per sublayer, and g = 1 unless a gate is learned. */
#ifndef DELTASCOPE_MODEL_RULE_DEPTH_H
#define DELTASCOPE_MODEL_RULE_DEPTH_H

#include "depth_sources.h"
#include "rule.h"

typedef struct ds_depth_weights {
    const ds_parameter *query, *norm, *bias;     /* (1,d), (d), () */
    const ds_parameter *logit, *alpha;           /* (): the gate, before or without a sigmoid */
    const ds_parameter *gate_weight, *gate_bias; /* (d,d), (d): the gate of each feature, of source_last or P */
    const ds_parameter *null;                    /* (d) */
} ds_depth_weights;
_Static_assert(sizeof(ds_depth_weights) <= sizeof((ds_layer_weights *)0)->rule[0], "more slots are needed");

/* One token's read as it is computed, in both directions. Sources are those open: what holds closed outputs alone is none. */
typedef struct ds_depth_reading {
    const ds_depth_source *plan; /* of this sublayer */
    ds_depth_weights weights;
    bool additive, learned; /* u = P + g r; alpha follows from the logits, so that they have derivatives */
    bool gated;
    size_t parts, count;                     /* v_0 ... v_s; sources */
    bool *open;                              /* (S+1) of v_i: not closed */
    size_t *slot, *place;                    /* (most) a source's place in the plan, DS_NO_SOURCE the null source; and back */
    const void **source;                     /* (most) of (d) */
    double *alpha, *inverse, *along, *slope; /* (most) 1 / rms of the source; <q w, source>; derivative of the logit */
    void *sums, *dsums;                      /* (most,d) sources that are sums; their gradients, or tangents */
    const void **dsource;                    /* (most) tangents */
    void *scaled;                            /* (d) q w */
    void *total, *routed, *gate, *read;      /* (d) P, r, g, u */
    void *dtotal, *drouted, *dgate;          /* (d) */
} ds_depth_reading;

typedef struct ds_depth_workspace {
    ds_depth_source *plan;
    size_t *first;                                     /* (S+2): sublayer s has the sources first[s] ... first[s+1]-1 */
    size_t most;                                       /* sources of a read, with the null source */
    ds_depth_reading *readings;                        /* (B,tiles) */
    void *numbers, *reals, *places, *pointers, *flags; /* of all readings */
} ds_depth_workspace;

typedef struct ds_depth_memory {
    void *kept, *dgate; /* (B,T,d) for gates of each feature: source_last or P; the gradient before the sigmoid */
    void *dsum;         /* (B,T,d) for rules that keep P: its gradient through all reads of it so far, the last read first */
} ds_depth_memory;

/* Where a tile sums gradients of a read's weights: offsets from layout.rule. */
typedef struct ds_depth_partial {
    size_t scaled, null, gate_bias, gate, bias, count; /* (d) of q w, (d), (d), (1), (1) */
} ds_depth_partial;
static inline ds_depth_partial ds_depth_partial_of(const ds_spec *spec) {
    size_t d = spec->hidden;
    return (ds_depth_partial){0, d, 2 * d, 3 * d, 3 * d + 1, 3 * d + 2};
}

static inline const ds_depth_form *ds_depth_form_of(const ds_spec *spec) { return spec->rule->form; }
/* Of a sublayer, or of the readout. */
ds_depth_weights ds_depth_weights_of(const ds_model *model, size_t sublayer);
/* Whether v_{s+1}, what sublayer s adds, is left out of every later read. */
bool ds_depth_is_closed(const ds_pass *pass, size_t sublayer);
/* The reading of the tile that holds `token`, its sources those of pass->sublayer. */
ds_depth_reading *ds_depth_reading_of(const ds_pass *pass, size_t token);
/* Of the read of pass->sublayer, its null source and what is closed included. */
size_t ds_depth_source_count(const ds_pass *pass);
/* alpha from the logits in r->alpha. */
void ds_depth_weigh(ds_depth_reading *r, ds_force force);

extern const ds_rule ds_depth_rules[DS_DEPTH_RULES];
extern const ds_rule_steps ds_rule_depth_steps_f32, ds_rule_depth_steps_f64;

#endif
