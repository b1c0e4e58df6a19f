/* Limits are counted where they are met, and only there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/precision_limits.h"
#include "support.h"

enum { TOKENS = 24 };

static const ds_spec small = {.vocab = 31,
                              .layers = 2,
                              .hidden = 16,
                              .heads = 2,
                              .head_dim = 8,
                              .mlp_hidden = 40,
                              .block_size = TOKENS,
                              .rule = &ds_rule_delta,
                              .backbone = &ds_backbone_ddl,
                              .value_channels = 1,
                              .rotary_dim = 8,
                              .rope_base = 10000,
                              .norm_eps = 1e-5,
                              .head_norm_eps = 1e-5,
                              .output_norm_eps = 1e-5,
                              .k_eps = 1e-5,
                              .value_sigmoid = true,
                              .value_scale = 4,
                              .residual_mult = 1,
                              .logit_scale = 1,
                              .gate_init = 1,
                              .embedding_init_std = 0.02,
                              .hidden_init_std_factor = 0.5};

static void tokens_at_a_limit_are_counted(void **state) {
    (void)state;
    /* just inside and just outside of each limit */
    const double beta[] = {0, 0x1p-149, 2, 2 - 0x1p-23, 1, 1, 1, 1};
    const double k_norm2[] = {1, 1, 1, 1, 0.9985, 0.9995, 0.25, 1 - 0x1p-24};
    const double zeros[] = {0, 0, 3, 1, 0, 0, 0, 0};
    const ds_delta_observation delta = {.value_channels = 1, .beta = beta, .k_norm2 = k_norm2};
    ds_observation seen = {.sublayer = 0, .sequences = 2, .length = 4, .delta = &delta, .zero_weights = zeros};
    ds_limits limits;
    expect_ok(ds_limits_init(&limits, &small));
    ds_limits_add(&limits, &seen);
    assert_int_equal(limits.tokens, 8);
    assert_int_equal(limits.affected[0][DS_LIMIT_GATE_CLOSED], 1);
    assert_int_equal(limits.affected[0][DS_LIMIT_GATE_REFLECTING], 1);
    assert_int_equal(limits.affected[0][DS_LIMIT_SHORT_DIRECTION], 2);
    assert_int_equal(limits.affected[0][DS_LIMIT_SOFTMAX], 2);
    expect_close(limits.smallest_k_norm2[0], 0.25, 0);
    expect_close(limits.zero_weights[0], 4, 0);
    ds_json_builder b = {0};
    json_t *found;
    ds_json_begin_object(&b, NULL);
    ds_limits_put(&b, &limits);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&found, &b));
    const json_t *entries = json_object_get(found, "limits");
    assert_int_equal(json_array_size(entries), 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(entries, 0), "limit")), "short_direction");
    expect_close(json_number_value(json_object_get(json_array_get(entries, 0), "share")), 0.25, 0);
    json_decref(found);
    ds_limits_release(&limits);
}

static ds_status add(void *context, const ds_observation *seen) {
    ds_limits_add(context, seen);
    return DS_OK;
}

/* Weights are those of training's start, apart from the query projections, multiplied by `factor`. */
static double zero_weights(ds_precision precision, double factor) {
    ds_model *model;
    ds_workspace *workspace;
    ds_limits limits;
    uint32_t tokens[TOKENS];
    double nll[TOKENS], total = 0;
    expect_ok(ds_model_random(&model, &small, precision, 7));
    for (size_t p = 0; p < ds_model_parameters(model); p++) {
        const ds_parameter *parameter = ds_model_parameter(model, p);
        if (strstr(parameter->role, "query projection") == NULL) continue;
        for (size_t i = 0; i < parameter->count; i++) {
            if (precision == DS_F32)
                ((float *)parameter->values)[i] *= (float)factor;
            else
                ((double *)parameter->values)[i] *= factor;
        }
    }
    ds_model_refresh(model);
    for (size_t t = 0; t < TOKENS; t++) tokens[t] = (uint32_t)(t * 7 % small.vocab);
    ds_batch batch = {tokens, tokens, 1, TOKENS};
    expect_ok(ds_workspace_new(&workspace, model, 1, TOKENS));
    expect_ok(ds_limits_init(&limits, &small));
    const ds_observer observer = {DS_LIMITS_WANT, add, &limits};
    expect_ok(ds_forward(workspace, model, &batch, NULL, &observer, nll));
    for (size_t s = 0; s < limits.sublayers; s++) {
        assert_true(limits.zero_weights[s] == 0 || s % 2 == 0);
        assert_true(limits.affected[s][DS_LIMIT_SOFTMAX] < TOKENS); /* the first token sees itself alone */
        /* at least one of the t + 1 keys a head sees keeps its weight */
        assert_true(limits.zero_weights[s] <= (double)small.heads * TOKENS * (TOKENS - 1) / 2);
        total += limits.zero_weights[s];
    }
    ds_limits_release(&limits);
    ds_workspace_free(&workspace);
    ds_model_free(&model);
    return total;
}

static void underflow_depends_on_range(void **state) {
    (void)state;
    expect_close(zero_weights(DS_F32, 1), 0, 0);
    double near = zero_weights(DS_F32, 2e4), exact = zero_weights(DS_F64, 2e4); /* scores of some hundreds */
    assert_true(near > 0);
    assert_true(exact < near); /* exp(-745) is the end in double, exp(-104) in float */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_at_a_limit_are_counted),
        cmocka_unit_test(underflow_depends_on_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
