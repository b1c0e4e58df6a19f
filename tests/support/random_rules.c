#include "random_rules.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/verify.h"

#include "failed_checks.h"
#include "support.h"
#include "toy.h"

static size_t below(ds_random *r, size_t bound) { return (size_t)ds_random_below(r, bound); }

/* The rules of that kind, one after the other. */
static const ds_rule *rule_of(ds_rule_kind kind, uint64_t seed) {
    const ds_rule *rules[64];
    size_t count = 0;
    for (size_t i = 0; i < ds_rule_count(); i++)
        if (ds_rule_kind_of(ds_rule_at(i)) == kind) rules[count++] = ds_rule_at(i);
    assert_true(count > 0 && count <= 64);
    return rules[seed % count];
}

/* A null source stands before sources that are added to the running sum. */
static bool takes_null(const ds_rule *rule) {
    const char *name = ds_rule_name(rule);
    return strncmp(name, "delta-attnres", 13) == 0 || strcmp(name, "full-additive") == 0;
}

static ds_spec draw_body(ds_rule_kind kind, uint64_t seed, ds_random *r) {
    static const char *const controls[] = {"delta", "delta", "delta", "closed:attn", "closed:mlp", "closed:all"};
    ds_spec spec = toy_spec("additive");
    spec.rule = rule_of(kind, seed);
    spec.layers = 1 + below(r, 3);
    spec.hidden = 1 + below(r, 9);
    spec.mlp_hidden = 1 + below(r, 12);
    spec.block_size = 8;
    spec.residual_mult = below(r, 2) == 0 ? 1 : 0.7;
    expect_ok(ds_control_parse(spec.trained, spec.rule, controls[below(r, 6)], "drawn"));
    return spec;
}

static ds_spec draw_depth(uint64_t seed, ds_random *r) {
    ds_spec spec = draw_body(DS_KIND_DEPTH, seed, r);
    spec.depth_blocks = 1 + below(r, 4);
    spec.depth_gate = (ds_depth_gate)below(r, 4);
    spec.depth_null = takes_null(spec.rule) && below(r, 2) == 0;
    if (below(r, 2) == 0) {
        spec.backbone = &ds_backbone_qwen3;
        spec.kv_heads = 1;
        spec.qk_norm = true;
        spec.own_head = below(r, 2) == 0;
    }
    return spec;
}

/* Sinkhorn's rounds and temperature, and Newton-Schulz steps, are of the static form alone. */
static ds_spec draw_streams(uint64_t seed, ds_random *r) {
    ds_spec spec = draw_body(DS_KIND_STREAMS, seed, r);
    bool logits = strcmp(ds_rule_name(spec.rule), "mhc-static") == 0;
    spec.streams = (ds_stream_spec){.count = 2 + below(r, 3), .dynamic = below(r, 4) > 0, .rounds = 20, .temperature = 1};
    if (logits) {
        spec.streams.rounds = 1 + below(r, 12);
        spec.streams.temperature = below(r, 2) == 0 ? 0.05 : 0.7;
        spec.streams.orthostochastic = below(r, 3) == 0;
        spec.streams.steps = spec.streams.orthostochastic ? 1 + below(r, 5) : 0;
        spec.streams.eps = 1e-7;
        memcpy(spec.streams.coefficients, (const double[]){3, -3.2, 1.2}, sizeof spec.streams.coefficients);
    }
    if (below(r, 2) == 0) {
        spec.backbone = &ds_backbone_nanogpt;
        spec.hidden = 2 * (1 + below(r, 4)) + 2;
        spec.heads = spec.kv_heads = 2;
        spec.head_dim = spec.hidden / 2;
        spec.mlp_hidden = 4 * spec.hidden;
        spec.rotary_dim = 0;
        spec.rope_base = 0;
        spec.qk_norm = false;
        spec.positions = spec.block_size;
        spec.mlp = DS_MLP_GELU;
        spec.norm_eps = 1e-5;
        spec.qkv_bias = spec.output_bias = spec.mlp_bias = spec.norm_bias = below(r, 2) == 0;
        spec.newer_names = below(r, 2) == 0;
    }
    return spec;
}

/* Weights that float holds, all of them moved from where they start; sometimes one tensor is 0. */
static void draw_weights(ds_model *model, ds_model *exact, ds_random *r) {
    size_t zero = below(r, 8 * ds_model_parameters(exact));
    for (size_t p = 0; p < ds_model_parameters(exact); p++) {
        const ds_parameter *parameter = ds_model_parameter(exact, p);
        void *values = ds_model_parameter(model, p)->values;
        for (size_t i = 0; i < parameter->count; i++) {
            double *value = (double *)parameter->values + i;
            *value = zero == p ? 0 : (double)(float)(*value + 0.3 * ds_random_normal(r));
            if (ds_model_precision(model) == DS_F32) ((float *)values)[i] = (float)*value;
        }
    }
    ds_model_refresh(exact);
    ds_model_refresh(model);
}

static size_t verify_drawn(uint64_t seed, size_t count, ds_spec (*draw)(uint64_t seed, ds_random *r)) {
    size_t failed = 0;
    for (size_t turn = 0; turn < count; turn++, seed++) {
        enum { WINDOWS = 2, LONGEST = 8 };
        ds_random r = ds_random_init(seed * 0x9e3779b97f4a7c15u + 7);
        const ds_spec spec = draw(seed, &r);
        size_t length = 1 + below(&r, LONGEST);
        uint32_t ids[WINDOWS * LONGEST + 1];
        const ds_batch batch = {ids, ids + 1, WINDOWS, length};
        ds_model *model = NULL, *exact = NULL;
        ds_verify *verify;
        char what[128], name[48];
        (void)snprintf(what, sizeof what, "seed %llu: %s, gate %d, %zu streams, %s", (unsigned long long)seed,
                       ds_rule_name(spec.rule), (int)spec.depth_gate, spec.streams.count, ds_spec_rule_name(name, &spec));
        for (size_t t = 0; t <= WINDOWS * length; t++) ids[t] = (uint32_t)ds_random_below(&r, spec.vocab);
        expect_ok(ds_model_random(&exact, &spec, DS_F64, seed));
        if (below(&r, 2) == 0) expect_ok(ds_model_random(&model, &spec, DS_F32, seed));
        draw_weights(model != NULL ? model : exact, exact, &r);
        expect_ok(ds_verify_new(&verify, model != NULL ? model : exact, exact, &batch, seed));
        failed += failed_checks(verify, what) > 0;
        ds_verify_free(&verify);
        ds_model_free(&model);
        ds_model_free(&exact);
    }
    return failed;
}

size_t random_depth_verify(uint64_t seed, size_t count) { return verify_drawn(seed, count, draw_depth); }
size_t random_streams_verify(uint64_t seed, size_t count) { return verify_drawn(seed, count, draw_streams); }
