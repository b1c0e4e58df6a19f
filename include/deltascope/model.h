/* model: a DDL checkpoint as a typed specification, a parameter table and the computation of MODEL.md.
 *
 * Shapes: B sequences, T tokens, d hidden, dv value channels, S = 2 * layers sublayers, V vocabulary.
 * State layout inside the library: (B, T, planes, d), contiguous planes of d features; the residual rule tells how many. For
 * the delta rule a plane is a value channel, so that every step of its update is a unit-stride operation on planes; element
 * [b][t][j][i] is the published X[b][t][i][j].
 * Arrays typed void * hold float or double according to the model's precision. */
#ifndef DELTASCOPE_MODEL_H
#define DELTASCOPE_MODEL_H

#include "deltascope/base.h"
#include "deltascope/io.h"

DS_BEGIN_DECLARATIONS

/* ---- residual rules --------------------------------------------------------------------------------------------------- */

/* How the output of a sublayer enters the residual state, and what the next one reads of it. */
typedef struct ds_rule ds_rule;
extern const ds_rule ds_rule_additive; /* X + m h */
extern const ds_rule ds_rule_delta;    /* X + m beta k (v^T - k^T X) */

size_t ds_rule_count(void);
const ds_rule *ds_rule_at(size_t index);
const char *ds_rule_name(const ds_rule *rule);  /* one word: "additive", "ddl" */
const char *ds_rule_title(const ds_rule *rule); /* for people: "additive", "delta rule" */
/* What the state is: one plane or channels that are rewritten; all that was written (attention over depth); parallel streams
 * that mix (hyper-connections). By name: "additive", "delta", "depth", "streams". */
typedef enum ds_rule_kind { DS_KIND_ADDITIVE, DS_KIND_DELTA, DS_KIND_DEPTH, DS_KIND_STREAMS } ds_rule_kind;
ds_rule_kind ds_rule_kind_of(const ds_rule *rule);
const char *ds_rule_kind_name(const ds_rule *rule);
bool ds_rule_has_gates(const ds_rule *rule);     /* a learned gate beta per token and sublayer scales the update */
bool ds_rule_keeps_history(const ds_rule *rule); /* the state is all that was written, plane by plane: only new planes come */
bool ds_rule_has_operators(
    const ds_rule *rule); /* with k and beta held, a sublayer acts on the state by A = I - m beta k k^T */

/* What a pass does with one sublayer instead of what its weights say. Every rule knows the first two modes; the others are its
 * own and start at DS_FORCE_OWN. */
enum {
    DS_FORCE_NONE,   /* as the weights say */
    DS_FORCE_CLOSED, /* the sublayer's output is left out */
    DS_FORCE_OWN,
};
/* Of the delta rule. */
enum {
    DS_FORCE_GATE = DS_FORCE_OWN, /* beta = value */
    DS_FORCE_WRITE_ONLY,          /* X + m beta k v^T */
    DS_FORCE_ERASE_ONLY,          /* X - m beta k k^T X */
};
/* Of attention over depth: what becomes of a sublayer's output, or how it reads what came before. */
enum {
    DS_FORCE_ZEROED = DS_FORCE_OWN, /* the output is 0, but keeps its place among the sources */
    DS_FORCE_UNIFORM,               /* all sources weigh the same */
    DS_FORCE_RECENT,                /* the last source alone */
    DS_FORCE_RESIDUAL,              /* the plain sum of the embedding and all outputs so far */
    DS_FORCE_MASK_EMBEDDING,        /* not the embedding: the others keep their proportions, here and in the next two */
    DS_FORCE_MASK_CURRENT,          /* not the last source */
    DS_FORCE_MASK_HISTORY,          /* none of those between the two */
};
/* Of parallel streams: how they mix. With the output left out they mix all the same. */
enum {
    DS_FORCE_BYPASS = DS_FORCE_OWN, /* no output, and the streams stay as they are */
    DS_FORCE_IDENTITY_RES,          /* R = I */
    DS_FORCE_UNIFORM_RES,           /* R = 1/n */
    DS_FORCE_MEAN_MIX,              /* pre, post and R are means, which the workspace holds ... */
    DS_FORCE_MEAN_RES,              /* ... or R alone */
    DS_FORCE_STATIC,                /* nothing depends on the streams */
    DS_FORCE_CONVERGED,             /* R after 2000 rounds of Sinkhorn */
};
typedef struct ds_force {
    unsigned mode;
    double value; /* for modes that take a number, otherwise 0 */
} ds_force;

/* Which sublayers a case forces: one alone, those of attention, of the MLP, all, from one on, up to one. */
enum {
    DS_SCOPE_EACH = 1,
    DS_SCOPE_ATTN = 2,
    DS_SCOPE_MLP = 4,
    DS_SCOPE_ALL = 8,
    DS_SCOPE_FROM = 16,
    DS_SCOPE_UPTO = 32,
    DS_SCOPE_ANY = 63,
};
/* A forced mode by its name: what parsers, help and completion know. */
typedef struct ds_intervention {
    const char *name; /* "closed", "open", ...; unique within a rule, and of one meaning in all */
    const char *help; /* a phrase */
    ds_force force;
    unsigned scopes; /* DS_SCOPE_*: those it has a meaning in */
    bool of_reads;   /* forces what is read, so that a readout which the rule routes is forced like a sublayer */
    bool needs_mean; /* force.value stands in for the sublayer's mean over the data, which a measurement fills in */
} ds_intervention;
const ds_intervention *ds_rule_interventions(const ds_rule *rule, size_t *count);
/* A clause that says why the rule lacks interventions which others have. */
const char *ds_rule_limits(const ds_rule *rule);

/* What the transformer around the rule is made of: norm, positions, MLP, names of parameters. */
typedef struct ds_backbone ds_backbone;
extern const ds_backbone ds_backbone_ddl;     /* of the published code: RMSNorm, rotary halves, SwiGLU */
extern const ds_backbone ds_backbone_qwen3;   /* grouped heads, RMSNorm of queries and keys before the rotation, SwiGLU */
extern const ds_backbone ds_backbone_llama;   /* the same without these norms */
extern const ds_backbone ds_backbone_qwen2;   /* the same, with biases on queries, keys and values */
extern const ds_backbone ds_backbone_nanogpt; /* LayerNorm, learned positions, GELU */
extern const ds_backbone ds_backbone_gpt2;    /* the same, weights stored the other way round */

/* ---- specification ---------------------------------------------------------------------------------------------------- */

typedef enum ds_compressor { DS_COMPRESS_NONE, DS_COMPRESS_TC, DS_COMPRESS_CC } ds_compressor;
/* What gates the read of attention over depth: nothing, one learned number (its sigmoid, or itself), the sigmoid of a layer. */
typedef enum ds_depth_gate { DS_DEPTH_UNGATED, DS_DEPTH_LOGIT, DS_DEPTH_ALPHA, DS_DEPTH_VECTOR } ds_depth_gate;
typedef enum ds_activation { DS_ACT_IDENTITY, DS_ACT_SILU, DS_ACT_RELU, DS_ACT_ELU1 } ds_activation;

/* What an MLP is: down (silu(gate c) * (up c)), or down act(up c). */
typedef enum ds_mlp { DS_MLP_SWIGLU, DS_MLP_GELU, DS_MLP_GELU_TANH } ds_mlp;

/* LLaMA 3's slower rotation of what turns fewer than high_freq_factor times within the context of the first training; factor 0:
 * the angles are plain. */
typedef struct ds_rope_scaling {
    double factor, low_freq_factor, high_freq_factor, original_context;
} ds_rope_scaling;

/* Of parallel streams: how many, and how a matrix is made of logits. */
typedef struct ds_stream_spec {
    size_t count;
    bool dynamic;  /* the maps from the streams are there; in the static form they are stored and never used */
    size_t rounds; /* of Sinkhorn, of logits divided by the temperature ... */
    double temperature;
    bool orthostochastic; /* ... or Newton-Schulz steps in its place (num.h) */
    size_t steps;
    double eps, coefficients[3];
} ds_stream_spec;

/* MODEL.md "config.json keys and defaults" plus what only tensor names and shapes tell. */
typedef struct ds_spec {
    size_t vocab, layers, hidden, heads, head_dim, mlp_hidden, block_size;
    size_t kv_heads; /* of keys and values, each serving heads/kv_heads consecutive query heads; 0: as many as heads */
    const ds_rule *rule;
    const ds_backbone *backbone;
    size_t value_channels;             /* dv; 1 for scalar state and for the baseline */
    ds_compressor compressor;          /* DS_COMPRESS_NONE exactly when value_channels' state is scalar */
    bool input_conv;                   /* EC: X_0 is a short convolution of the embeddings */
    size_t state_kernel, input_kernel; /* taps; 0 when unused */
    bool state_kernel_causal;          /* CC: ddl_state_dv_shortconv_causal */
    bool qk_norm, head_norm, output_gate, k_shift, v_shift;
    ds_activation q_activation, k_activation, v_activation;
    ds_mlp mlp;
    bool qkv_bias, output_bias, mlp_bias, norm_bias; /* what adds a bias */
    bool unscaled_scores;                            /* scores are not divided by sqrt(head_dim) ... */
    bool depth_scaled_scores;                        /* ... and in layer i by i + 1 */
    size_t positions;                                /* rows of the table of learned positions; 0: there is none */
    bool own_head;                                   /* the output head is a table of its own, not the embedding */
    bool bare_names;                                 /* stored without the prefix of the backbone's names */
    size_t rotary_dim;                               /* even, <= head_dim */
    double rope_base;
    ds_rope_scaling rope_scaling;
    double norm_eps;        /* pre-norms, final norm: 1e-5, in the additive baseline rms_norm_eps */
    double head_norm_eps;   /* q/k norms, head norm: 1e-5 */
    double output_norm_eps; /* o_norm: rms_norm_eps */
    double k_eps;
    bool gate_two_layer;
    size_t gate_hidden;
    bool value_sigmoid, value_constant;
    double value_scale, value_constant_value;
    double residual_mult; /* m */
    double logit_scale;
    size_t depth_blocks; /* attention over depth: blocks of layers; what gates the read; a learned source before the others */
    ds_depth_gate depth_gate;
    bool depth_null;
    double depth_bias_init; /* of a recency bias */
    ds_stream_spec streams;
    bool newer_names;                                             /* which generation of parameter names was found */
    double gate_init, embedding_init_std, hidden_init_std_factor; /* for weights at initialisation */
    double read_init;                                             /* likewise, of read vectors; NaN: 1/dv */
    size_t depth_init;   /* likewise, what the newer code divides output projections by */
    ds_force trained[2]; /* of a control: what the sublayers of attention, and of the MLP, do always */
} ds_spec;

/* "additive", "ddl-scalar", "ddl-tc", ... "ddl-cc-ec", or the rule's name. */
const char *ds_spec_variant(const ds_spec *spec);
const char *ds_variant_at(size_t index); /* all such names in turn; NULL beyond the last */
static inline size_t ds_spec_sublayers(const ds_spec *spec) { return 2 * spec->layers; }
static inline size_t ds_spec_kv_heads(const ds_spec *spec) { return spec->kv_heads != 0 ? spec->kv_heads : spec->heads; }
/* What a pair of features turns by per position: rope_base^(-2 pair / rotary_dim), slowed down by rope_scaling. */
double ds_spec_rope_frequency(const ds_spec *spec, size_t pair);
size_t ds_spec_planes(const ds_spec *spec); /* planes of d numbers in the residual state of a token */
/* Entries of an array of forces: one for every sublayer, and one for the readout where the rule routes it. */
size_t ds_spec_forces(const ds_spec *spec);
/* "3.attn", "3.mlp": CONTRACT name of sublayer s, into at least 32 bytes; returns `name`. */
char *ds_sublayer_name(char name[32], size_t sublayer);
/* The same of what reads: sublayer S, the readout, is "final". */
char *ds_read_name(char name[32], const ds_spec *spec, size_t sublayer);

/* A control is a model trained with part of its rule left out or fixed (TRAINING.md section 6), and computes so ever after; a
 * force given to a pass comes on top of that. By name: "delta" is the rule as it is; "closed:attn", "closed:mlp" and
 * "closed:all" every rule knows, "write-only", "erase-only" and "fixed-gate:B" those with gates. trained <- what the sublayers
 * of either half do then. DS_ERR_INPUT for another name, `where` telling what holds it. */
ds_status ds_control_parse(ds_force trained[2], const ds_rule *rule, const char *name, const char *where) DS_MUST_CHECK;
bool ds_spec_is_control(const ds_spec *spec);
/* What the model computes by: the control's name, or the rule's where it is none; into at least 48 bytes, returns `name`. */
char *ds_spec_rule_name(char name[48], const ds_spec *spec);
const char *ds_spec_backbone_name(const ds_spec *spec);
/* Whether there is published code of this rule on this backbone. */
bool ds_spec_is_published(const ds_spec *spec);
/* Whether a sublayer leaves every state as it is under `force`, so that it need not be run. */
bool ds_sublayer_is_identity(const ds_spec *spec, size_t sublayer, ds_force force);
/* With k and beta held, every sublayer acts on the state by A = I - m beta k k^T: a control without the erase does not, and its
 * shortcut is the identity. */
bool ds_spec_has_operators(const ds_spec *spec);
double ds_spec_shortcut_mult(const ds_spec *spec); /* m as it stands in A; 0 where the shortcut is the identity */

/* From configuration and tensor names, ranks and shapes. Every tensor the model needs is looked up and its shape and dtype are
 * compared: DS_ERR_INPUT naming key or tensor, found, expected. Tensors it does not need are no error. */
ds_status ds_spec_detect(ds_spec *spec, const ds_checkpoint *checkpoint) DS_MUST_CHECK;
/* Who is told, one sentence at a time, without a full stop. */
typedef ds_status (*ds_tell)(void *context, const char *sentence);
/* Tells what a reader of results must know of a configuration that ds_spec_detect accepts: keys that mean nothing but look like
 * misspellings of some that do. */
ds_status ds_spec_doubts(const ds_checkpoint *checkpoint, ds_tell tell, void *context) DS_MUST_CHECK;
/* From a configuration alone, which does not tell the variant (as ds_spec_variant names them; another is DS_ERR_USAGE) nor the
 * generation of names. Any variant goes on the backbones ddl, qwen3 and nanogpt, additive on all; a variant that the
 * configuration contradicts is DS_ERR_INPUT. `where` names it in sentences. */
ds_status ds_spec_from_config(ds_spec *spec, const json_t *config, const char *where, const char *variant,
                              bool newer_names) DS_MUST_CHECK;
/* Sets the keys by which `config`, a configuration of the spec's backbone, tells its rule, so that it is read back as that:
 * those of the published code where it has the rule on that backbone, else a model_type of ours with "deltascope_rule" and
 * "deltascope_backbone" (ds_control_parse), which the published code refuses. */
ds_status ds_spec_put_rule(json_t *config, const ds_spec *spec) DS_MUST_CHECK;
/* The reported sizes ("small" 124M, "medium" 353M) of a variant, that of `make train-demo` ("demo" 0.8M), and one of the same
 * shape for trying ("tiny"), for bench. */
ds_status ds_spec_reported(ds_spec *spec, const char *size, const char *variant) DS_MUST_CHECK;

/* A map from the names of a checkpoint to ours (src/io/README.md "Maps"), drafted from names, shapes and order, and what else
 * every tensor could be. Nothing is read of the tensors' values; the checkpoint may have no configuration. */
typedef struct ds_draft {
    json_t *map;     /* an object, as ds_checkpoint_options.map reads it from a file */
    json_t *tensors; /* of every tensor, in order of name: "name", "dtype", "shape", "roles": the draft's first */
    size_t matched;  /* names that became ours, layers counted once */
    size_t guessed;  /* of these, by their order alone */
    size_t missing;  /* names of ours that nothing fits */
} ds_draft;
ds_status ds_draft_make(ds_draft *out, const ds_checkpoint *checkpoint) DS_MUST_CHECK;
void ds_draft_release(ds_draft *draft);

/* ---- parameters ------------------------------------------------------------------------------------------------------- */

typedef enum ds_group {
    DS_GROUP_EMBEDDING,
    DS_GROUP_ATTENTION,
    DS_GROUP_MLP,
    DS_GROUP_DELTA,
    DS_GROUP_COMPRESSOR,
    DS_GROUP_NORMS,
    DS_GROUP_COUNT
} ds_group;
const char *ds_group_name(ds_group group); /* CONTRACT names: "embedding", "attention", ... */

/* One learned tensor the model uses, in a fixed order: embedding, input convolution, layers front to back, readout, final norm.
 * The output head is the embedding, or else the last. */
typedef struct ds_parameter {
    const char *name;       /* as the checkpoint spells it after prefix stripping */
    const char *older_name; /* as the older generation spells it: one name for it, whatever the checkpoint */
    const char *role;       /* a phrase for people: "token embedding", "query projection of layer 3", ... */
    ds_group group;
    size_t rank;
    size_t shape[DS_MAX_RANK]; /* as stored */
    size_t count;              /* product */
    ds_dtype stored;           /* element type in the checkpoint; of random weights that of the model's precision */
    void *values;              /* (count), row-major as stored, of the model's precision */
} ds_parameter;

typedef struct ds_model ds_model;

/* How a checkpoint stores the output head that is tied to the embedding. */
typedef enum ds_head_tie {
    DS_HEAD_ABSENT,
    DS_HEAD_SHARED,    /* the same bytes */
    DS_HEAD_EQUAL,     /* another copy, bit for bit equal after conversion */
    DS_HEAD_DIFFERENT, /* not usable: the model is tied */
    DS_HEAD_OWN,       /* a parameter: the model is not tied */
} ds_head_tie;

/* Loads weights in one pass over the checkpoint. A NaN or infinity anywhere, a tensor of another shape, a missing tensor or an
 * output head that differs from the embedding is DS_ERR_INPUT naming it. */
ds_status ds_model_load(ds_model **out, ds_checkpoint *checkpoint, ds_precision precision) DS_MUST_CHECK;
/* The tensors of the checkpoint that a model of it does not use, neither as a parameter nor as the stored output head, in the
 * checkpoint's order: no error (MODEL.md), but what a configuration with too few layers leaves. Free *tensors (count), not what
 * it points to. */
ds_status ds_model_unused(const ds_tensor ***tensors, size_t *count, const ds_model *model,
                          const ds_checkpoint *checkpoint) DS_MUST_CHECK;
/* What a tensor that a model does not use would add to what is computed, by its name, as a phrase ("a bias", "learned
 * positions"); NULL: nothing, a buffer. */
const char *ds_tensor_effect(const ds_tensor *tensor);
/* Initialised as the published code does (for bench and null models): normal weights, gates at ddl_beta_init. */
ds_status ds_model_random(ds_model **out, const ds_spec *spec, ds_precision precision, uint64_t seed) DS_MUST_CHECK;
/* Initialised as either generation of the published code does (TRAINING.md section 4). Element i of a tensor is a function of
 * (seed, its older name, i) alone: models of one seed share the values of tensors of equal name and shape. In float the rounded
 * ones of double. */
typedef enum ds_initialisation { DS_INIT_OLDER, DS_INIT_NEWER } ds_initialisation;
ds_status ds_model_initial(ds_model **out, const ds_spec *spec, ds_precision precision, ds_initialisation which,
                           uint64_t seed) DS_MUST_CHECK;
void ds_model_free(ds_model **model); /* sets NULL; NULL is fine */
const ds_spec *ds_model_spec(const ds_model *model);
ds_precision ds_model_precision(const ds_model *model);
size_t ds_model_parameters(const ds_model *model);
const ds_parameter *ds_model_parameter(const ds_model *model, size_t index);
uint64_t ds_model_parameter_count(const ds_model *model); /* learned numbers in all, a tied head counted once */
ds_status ds_spec_parameter_count(uint64_t *count, const ds_spec *spec) DS_MUST_CHECK; /* the same, without a model's memory */
/* reached (parameters of the model) <- whether the loss of windows of `length` tokens depends on each: closed sublayers, fixed
 * gates and values that are never written take no part in it. */
void ds_model_reached(bool *reached, const ds_model *model, size_t length);
/* *count <- learned numbers that are reached, without a model's memory. */
ds_status ds_spec_reached_count(uint64_t *count, const ds_spec *spec, size_t length) DS_MUST_CHECK;
/* Call after changing parameter values in place, so that folded weights follow (finite differences, null models). */
void ds_model_refresh(ds_model *model);
/* From now on k = h / sqrt(|h|^2 + eps^2) with this eps >= 0 (MODEL.md: fused kernels have ddl_k_eps * sqrt(d)). */
void ds_model_set_direction_eps(ds_model *model, double eps);
/* From now on the model is this control, or with DS_FORCE_NONE for both halves the plain rule. */
void ds_model_set_control(ds_model *model, const ds_force trained[2]);

/* ---- survey: what `inspect` reports ----------------------------------------------------------------------------------- */

/* One tensor of a checkpoint, read once and not kept. A row is a slice along the first axis; a vector is one row. */
typedef struct ds_tensor_health {
    const ds_tensor *tensor;
    const ds_parameter *parameter; /* NULL: not used by the model, or the stored output head */
    bool head;                     /* the stored output head */
    bool readable;                 /* of a floating dtype, and no repetition of few bytes; otherwise the rest is 0 */
    uint64_t nan, inf, zero_rows;
    uint32_t crc32; /* of the elements as little-endian float32 (zlib's CRC-32) */
} ds_tensor_health;

typedef struct ds_survey {
    ds_spec spec;
    ds_head_tie head;
    ds_model *model;           /* parameters without values, of the precision a run would have */
    ds_tensor_health *tensors; /* (count): parameters in their order, then the stored head, then unused ones by name */
    size_t count;
    uint64_t total, groups[DS_GROUP_COUNT]; /* learned numbers, a tied head counted once */
} ds_survey;

/* One pass over the checkpoint. Weights that are not finite and a head that differs from the embedding are found, not refused;
 * what ds_spec_detect refuses is. Views into the checkpoint: free it first. */
ds_status ds_survey_new(ds_survey **out, ds_checkpoint *checkpoint, ds_precision precision) DS_MUST_CHECK;
void ds_survey_free(ds_survey **survey); /* sets NULL; NULL is fine */

/* Floating-point operations of one forward pass per token at window length T: matrix products 2mnk, attention at half the
 * square. Training counts three times as many. */
double ds_spec_forward_flops_per_token(const ds_spec *spec, size_t length);
/* The residual rule's part of them: coefficients, reads, mixing and writes; 0 under the additive rule, which only adds. */
double ds_spec_rule_flops_per_token(const ds_spec *spec);
double ds_spec_head_flops_per_token(const ds_spec *spec); /* the output head's part of them, 2 d V */

/* ---- forward ---------------------------------------------------------------------------------------------------------- */

/* B windows of T tokens, all of one length. */
typedef struct ds_batch {
    const uint32_t *tokens;  /* (B, T) */
    const uint32_t *targets; /* (B, T) */
    size_t sequences, length;
} ds_batch;

/* What one sublayer did to every token of a batch, delivered after it has run. Arrays are valid during the call only; those
 * not asked for are NULL. */
enum {
    DS_OBSERVE_GATES = 1,      /* the norms, and the double arrays of the rule's own observation */
    DS_OBSERVE_DIRECTIONS = 2, /* k */
    DS_OBSERVE_STATES = 4,     /* before, after */
    DS_OBSERVE_ATTENTION = 8,  /* zero_weights */
};

/* What only the delta rule has. With a closed gate all is still what the weights say, beta being 0. */
typedef struct ds_delta_observation {
    size_t value_channels;
    const double *beta;          /* (B,T)    gate as applied */
    const double *k_norm2;       /* (B,T)    |k|^2 */
    const double *readout;       /* (B,T,dv) k^T X before the update */
    const double *readout_after; /* (B,T,dv) k^T X after the update, read again from the new state */
    const double *target;        /* (B,T,dv) v */
    const void *k;               /* (B,T,d)  direction */
} ds_delta_observation;

/* What only parallel streams have: what they mix by. */
typedef struct ds_stream_observation {
    size_t streams;            /* n */
    const double *mixing;      /* (B,T,n(n+2)) pre (n), post (n), R (n,n) as applied, R[t][s] from stream s to stream t */
    const double *output_norm; /* (B,T) |m f|, f being what the branch gives */
    const double *logit_range; /* (B,T) largest minus smallest logit before Sinkhorn; NULL where there is no such round */
} ds_stream_observation;

typedef struct ds_observation {
    size_t sublayer, sequences, length, hidden, planes;
    ds_precision precision;
    const double *state_norm;   /* (B,T) Frobenius norm of X before */
    const double *edit_norm;    /* (B,T) Frobenius norm of X after - X before */
    const void *before, *after; /* (B,T,planes,d) */
    const double *zero_weights; /* (B,T) attention weights, over heads and keys seen, that underflow to 0; NULL for an MLP */
    const ds_delta_observation *delta;    /* NULL under other rules; so is the next */
    const ds_stream_observation *streams; /* with DS_OBSERVE_GATES */
} ds_observation;
typedef struct ds_observer {
    unsigned wants;                                                          /* DS_OBSERVE_* */
    ds_status (*sublayer)(void *context, const ds_observation *observation); /* on the calling thread, sublayers in order */
    void *context;
} ds_observer;

/* Buffers for batches of up to `sequences` windows of up to `length` tokens; also holds the scratch of as many threads as
 * there are now: passes run on at most so many, also when ds_threads_set asks for more later. Used by one thread of the
 * application at a time; a model may be shared by several as long as nobody changes it. */
typedef struct ds_workspace ds_workspace;
ds_status ds_workspace_new(ds_workspace **out, const ds_model *model, size_t sequences, size_t length) DS_MUST_CHECK;
void ds_workspace_free(ds_workspace **workspace); /* sets NULL; NULL is fine */
/* Of parallel streams: means (S,n(n+2)) of every sublayer's pre, post and R, as ds_stream_observation has them, which
 * DS_FORCE_MEAN_MIX and DS_FORCE_MEAN_RES put in their place. Borrowed until the next call; at first there are none (NULL), and
 * these modes are DS_ERR_USAGE. */
void ds_workspace_set_mean_mixing(ds_workspace *workspace, const double *mean);
/* How many windows of `length` a batch should hold so that all threads are busy and the buffers stay within a few hundred MiB.
 * Results do not depend on it. */
size_t ds_batch_sequences(const ds_model *model, size_t length);
/* *bytes <- what a workspace for a batch of so many windows takes, of `sequences` where those are fewer. */
ds_status ds_workspace_bytes(size_t *bytes, const ds_spec *spec, ds_precision precision, size_t sequences,
                             size_t length) DS_MUST_CHECK;

/* X_0 (B,T,planes,d) of a batch. */
ds_status ds_embed(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, void *state) DS_MUST_CHECK;
/* Applies sublayers first .. last-1 to `state` in place. `forces` has ds_spec_forces entries or is NULL (none); `observer` may
 * be NULL.
 * NaN or infinity in the new state is DS_ERR_INPUT naming sublayer, sequence (within the batch) and position. The bits of
 * the result depend on each window alone: not on the number of threads, nor on the other windows of the batch. */
ds_status ds_sublayers(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, void *state, size_t first,
                       size_t last, const ds_force *forces, const ds_observer *observer) DS_MUST_CHECK;
/* hidden (B,T,d) <- RMSNorm(readout(state)): what the output head multiplies. `forces` are those the state came by: a rule
 * whose readout looks at more than a sum has to know which sublayers are left out. */
ds_status ds_readout(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                     const void *state, void *hidden) DS_MUST_CHECK;
/* read (B,T,d) <- what `sublayer` reads of the state before it, without a norm; S stands for the readout, which norms parallel
 * streams one by one and then adds them. */
ds_status ds_read(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                  size_t sublayer, const void *state, void *read) DS_MUST_CHECK;
/* mix (B,T,sublayer+1) <- the weights A of that read, where it is u = sum_i A_i v_i, v_0 being the embedding and v_{s+1} what
 * sublayer s adds. The mean over features where a gate has one for each. DS_ERR_USAGE for the delta rule and for parallel
 * streams, which move what is there. */
ds_status ds_mix(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces, size_t sublayer,
                 const void *state, double *mix) DS_MUST_CHECK;
/* What a read of attention over depth chooses from. */
typedef enum ds_source_family {
    DS_SOURCE_NULL,      /* a learned vector before all others */
    DS_SOURCE_EMBEDDING, /* v_0 alone */
    DS_SOURCE_CURRENT,   /* the last source */
    DS_SOURCE_HISTORY,   /* what lies between */
    DS_SOURCE_FAMILIES
} ds_source_family;
typedef struct ds_read_source {
    char name[40]; /* "null"; "embed"; an output "0.mlp"; "block0" of whole blocks; a sum, "after 1.mlp" or, of one that still
                      grows, "partial" */
    ds_source_family family;
} ds_read_source;
/* *sources (*count) <- those of a sublayer's read, S being the readout, in the order of the softmax; none (NULL) where nothing
 * is chosen. The caller frees them. */
ds_status ds_read_sources(ds_read_source **sources, size_t *count, const ds_spec *spec, size_t sublayer) DS_MUST_CHECK;
/* |q| of that read; NaN where nothing is chosen. */
double ds_read_query_norm(const ds_model *model, size_t sublayer);
/* routing (B,T,2N+2) <- of each token, the read having N sources: their weights alpha (N), their norms (N), the mean cosine of
 * all pairs (NaN: there is none), the mean of the gate over features (NaN: there is none). DS_ERR_USAGE for other rules. */
ds_status ds_route(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, size_t sublayer, const void *state,
                   double *routing) DS_MUST_CHECK;
/* nll (B,T) <- cross entropy of each target, natural log, without keeping logits. One that is not finite is DS_ERR_INPUT naming
 * sequence and position, here and in ds_head_compare. */
ds_status ds_head_loss(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const void *hidden,
                       double *nll) DS_MUST_CHECK;
/* For each of `cases` hidden arrays: nll[c] (B,T), and kl[c] (B,T) = KL(intact || case) per token; intact_nll (B,T). The intact
 * logits are computed once for all cases, block by block. intact_nll and kl may be NULL, as may kl's entries; both NULL, intact
 * is not looked at. */
ds_status ds_head_compare(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const void *intact,
                          size_t cases, const void *const *hidden, double *intact_nll, double *const *nll,
                          double *const *kl) DS_MUST_CHECK;
/* logits (count, V) of rows first .. first+count-1 of hidden (B*T, d). */
ds_status ds_head_logits(const ds_model *model, const void *hidden, size_t first, size_t count, void *logits) DS_MUST_CHECK;
/* embed, all sublayers, readout, loss: the common case. nll (B,T). */
ds_status ds_forward(ds_workspace *workspace, const ds_model *model, const ds_batch *batch, const ds_force *forces,
                     const ds_observer *observer, double *nll) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
