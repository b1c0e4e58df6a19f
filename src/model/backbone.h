/* A backbone: what the transformer around the residual rule is made of. Which norm stands before the branches and the head,
 * how a projection becomes queries, keys and values (activation, position, norm, in which order), which MLP, and the names
 * of the parameters of all that. Private to the model room. */
#ifndef DELTASCOPE_MODEL_BACKBONE_H
#define DELTASCOPE_MODEL_BACKBONE_H

#include "derivative.h"
#include "parameter_table.h"

/* In one precision; `void` arrays are of that precision, and a tile's begin with its first row. */
typedef struct ds_backbone_steps {
    /* Rows of d numbers; dx may be dy, dy may be dx; dnorm: sums for the weight, then for the bias; NULL: not wanted. */
    void (*norm_forward)(void *y, const void *x, const ds_spec *spec, ds_norm norm, size_t rows);
    void (*norm_backward)(void *dx, double *dnorm, const void *dy, const void *x, const ds_spec *spec, ds_norm norm,
                          size_t rows);
    void (*norm_tangent)(void *dy, const void *dx, const void *x, const ds_spec *spec, ds_norm norm, size_t rows);

    /* A tile of a projection (rows,heads*h), once shifted, to what the scores see, in place; derivatives likewise, with
     * `shifted` what went in and scratch of its size. */
    void (*transform_forward)(void *x, const ds_pass *pass, ds_tile tile, const ds_projection *p);
    void (*transform_backward)(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                               const void *shifted, void *scratch);
    void (*transform_tangent)(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                              const void *shifted, void *scratch);

    /* The MLP sublayer, tasks per tile; gradients of its parameters; tangents of one token's h (count,d) from those of c
     * (count,d), with two arrays (count,f) of scratch. */
    ds_task mlp_forward, mlp_backward, mlp_tangent;
    ds_status (*mlp_parameters)(ds_derivative *b);
    void (*mlp_directions)(const ds_derivative *b, ds_tile token, void *dbranch, const void *dcontext, size_t count,
                           void *first, void *second);
} ds_backbone_steps;

struct ds_backbone {
    const char *name;   /* one word */
    const char *prefix; /* of all names but the head's, which a file may lack; "": none */
    /* The names, one by one, under which a tensor may be a parameter that is stored under `name` a second time; NULL: nothing
     * is. */
    bool (*twin)(char parameter[64], const char *name, size_t which);
    const char *layer_prefix;                  /* of a layer's parameters, before its number */
    bool inputs_first;                         /* Linear weights are stored as (in,out) */
    ds_table_rows front, attention, mlp, back; /* slots of front and back in ds_model, of the others in ds_layer_weights */
    const ds_backbone_steps *steps[2];         /* by ds_precision */
};

/* All outputs of a Linear weight; then some of them. */
static inline ds_linear_map ds_map_of(const ds_model *model, const ds_parameter *weight, const ds_parameter *bias) {
    bool inputs_first = model->spec.backbone->inputs_first;
    return (ds_linear_map){.weight = weight,
                           .bias = bias,
                           .out = weight->shape[inputs_first ? 1 : 0],
                           .in = weight->shape[inputs_first ? 0 : 1],
                           .inputs_first = inputs_first};
}

static inline ds_linear_map ds_map_part(const ds_model *model, const ds_parameter *weight, const ds_parameter *bias,
                                        size_t first, size_t out) {
    ds_linear_map map = ds_map_of(model, weight, bias);
    map.first = first;
    map.out = out;
    return map;
}

/* Whether a tensor of the checkpoint is a parameter's storage under another name. */
bool ds_is_twin(const ds_spec *spec, const ds_checkpoint *checkpoint, const ds_tensor *tensor);

size_t ds_backbone_count(void);
const ds_backbone *ds_backbone_at(size_t index);

static inline const ds_backbone *ds_pass_backbone(const ds_pass *pass) { return pass->model->spec.backbone; }

#endif
