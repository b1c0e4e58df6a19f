/* Private to the model room: the steps that forward.c and backward.c put in order, in both precisions. */
#ifndef DELTASCOPE_MODEL_STEPS_H
#define DELTASCOPE_MODEL_STEPS_H

#include "derivative.h"

/* Those of the MLP are the backbone's. Each a task per tile, unless it says otherwise, with a ds_pass as context, or a
 * ds_derivative. Between two steps every tile has finished the first: attention reads other tiles' keys, TC compressors and
 * shifts the tokens before their tile. */
typedef struct ds_steps {
    /* forward */
    ds_task embed_forward;
    ds_task qkv_forward;       /* attention, first half: read, norm, coefficients, query, key, value projections */
    ds_task qkv_shift_forward; /* with k_shift or v_shift: shifts, and what follows them in the projections */
    ds_task attention_forward; /* attention, second half: scores, output projection, write */
    ds_task read_forward;      /* before the MLP, where the read needs other tokens' states */
    ds_task readout_forward;
    ds_task read_alone; /* what a sublayer, or the readout, reads, into pass->hidden */
    ds_task mix;        /* and the weights of that read, doubles, likewise */
    ds_task route;      /* and what its sources weigh */
    ds_task head_compare;
    void (*logits)(const ds_model *model, const void *hidden, size_t rows, void *logits);

    /* backward; scores per window and head */
    ds_task attention_output_backward, attention_scores_backward, qkv_transform_backward, qkv_backward;
    ds_task state_backward;   /* of either: from x_in and along the shortcut to the state */
    ds_task weights_backward; /* per block of rows of a weight */
    ds_task head_loss;        /* logits, loss */
    ds_task head_backward;    /* gradients of the logits of some vocabulary blocks, and through them of hidden */
    ds_task head_weights;     /* per vocabulary block */
    ds_task readout_backward, embed_backward;
    /* on the calling thread: gradients of parameters from the tiles' sums, and jobs of weights_backward */
    ds_status (*attention_parameters)(ds_derivative *b);
    void (*readout_parameters)(ds_derivative *b);
    void (*embed_parameters)(ds_derivative *b);

    /* forward mode */
    ds_task qkv_tangent, qkv_shift_tangent, attention_tangent;
    ds_task inputs_tangent;   /* before the MLP's */
    ds_task recompute_inputs; /* what the forward pass had on the way into the branch */
    ds_status (*token_jacobian)(ds_derivative *b, double *jacobian, size_t sequence, size_t position);
} ds_steps;
extern const ds_steps ds_steps_f32, ds_steps_f64;

static inline const ds_steps *ds_steps_of(const ds_model *model) {
    return model->precision == DS_F32 ? &ds_steps_f32 : &ds_steps_f64;
}

#endif
