/* The table of steps in one precision. */
#include "steps.h"
#include "tiles.h"

static ds_status attention_parameters(ds_derivative *b) {
    ds_status status;
    DS_TRY(REAL_NAME(ds_qkv_parameters)(b));
    DS_TRY(REAL_NAME(ds_attention_output_parameters)(b));
done:
    return status;
}

const ds_steps REAL_NAME(ds_steps) = {
    .embed_forward = REAL_NAME(ds_embed_forward_task),
    .qkv_forward = REAL_NAME(ds_qkv_forward_task),
    .qkv_shift_forward = REAL_NAME(ds_qkv_shift_forward_task),
    .attention_forward = REAL_NAME(ds_attention_forward_task),
    .read_forward = REAL_NAME(ds_read_forward_task),
    .readout_forward = REAL_NAME(ds_readout_forward_task),
    .read_alone = REAL_NAME(ds_read_alone_task),
    .mix = REAL_NAME(ds_mix_task),
    .route = REAL_NAME(ds_route_task),
    .head_compare = REAL_NAME(ds_head_compare_task),
    .logits = REAL_NAME(ds_logits),
    .attention_output_backward = REAL_NAME(ds_attention_output_backward_task),
    .attention_scores_backward = REAL_NAME(ds_attention_scores_backward_task),
    .qkv_transform_backward = REAL_NAME(ds_qkv_transform_backward_task),
    .qkv_backward = REAL_NAME(ds_qkv_backward_task),
    .state_backward = REAL_NAME(ds_state_backward_task),
    .weights_backward = REAL_NAME(ds_weights_backward_task),
    .head_loss = REAL_NAME(ds_head_loss_task),
    .head_backward = REAL_NAME(ds_head_backward_task),
    .head_weights = REAL_NAME(ds_head_weight_task),
    .readout_backward = REAL_NAME(ds_readout_backward_task),
    .embed_backward = REAL_NAME(ds_embed_backward_task),
    .attention_parameters = attention_parameters,
    .readout_parameters = REAL_NAME(ds_readout_parameters),
    .embed_parameters = REAL_NAME(ds_embed_parameters),
    .qkv_tangent = REAL_NAME(ds_qkv_tangent_task),
    .qkv_shift_tangent = REAL_NAME(ds_qkv_shift_tangent_task),
    .attention_tangent = REAL_NAME(ds_attention_tangent_task),
    .inputs_tangent = REAL_NAME(ds_inputs_tangent_task),
    .recompute_inputs = REAL_NAME(ds_inputs_again_task),
    .token_jacobian = REAL_NAME(ds_token_jacobian),
};
