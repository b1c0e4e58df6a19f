/* Rule and backbone are independent of one another: every variant on every backbone that takes rules, from a configuration
 * alone to weights, to a file and back; what it computes is checked by derivatives, and where verify has a second computation
 * by that. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/verify.h"
#include "model/rule_depth.h"
#include "model/rule_streams.h"

#include "scratch.h"
#include "support.h"

static const ds_backbone *const backbones[] = {&ds_backbone_ddl, &ds_backbone_qwen3, &ds_backbone_nanogpt};
enum { BACKBONES = sizeof backbones / sizeof *backbones, VARIANTS = 19, WINDOWS = 2, LENGTH = 4, TOKENS = WINDOWS * LENGTH };

static size_t below(ds_random *r, size_t bound) { return (size_t)ds_random_below(r, bound); }
static double sum_of(const ds_rule *rule, const ds_spec *spec) { return (double)spec->layers * rule->flops(spec); }

/* A small configuration of a backbone, with what only rules read drawn too. */
static json_t *draw_config(const ds_backbone *backbone, const char *variant, ds_random *r) {
    static const char *const gates[] = {"bias", "sigmoid_scalar", "sigmoid_vector", "learnable_alpha"};
    const size_t heads = 1 + below(r, 2), width = 2 * (1 + below(r, 2)), hidden = heads * width, layers = 1 + below(r, 3);
    const bool null = strncmp(variant, "delta-attnres", 13) == 0 || strcmp(variant, "full-additive") == 0;
    const int vocab = 11, length = 8;
    json_t *config = NULL;
    if (backbone == &ds_backbone_ddl)
        config =
            json_pack("{s:i s:i s:i s:i s:i s:i}", "vocab_size", vocab, "num_hidden_layers", (int)layers, "num_attention_heads",
                      (int)heads, "head_dim", (int)width, "hidden_size", (int)hidden, "block_size", length);
    if (backbone == &ds_backbone_qwen3)
        config = json_pack("{s:s s:i s:i s:i s:i s:i s:i s:i s:i s:b}", "model_type", "qwen3", "vocab_size", vocab,
                           "num_hidden_layers", (int)layers, "num_attention_heads", (int)heads, "num_key_value_heads", 1,
                           "head_dim", (int)width, "hidden_size", (int)hidden, "intermediate_size", 7,
                           "max_position_embeddings", length, "tie_word_embeddings", (int)below(r, 2));
    if (backbone == &ds_backbone_nanogpt)
        config = json_pack("{s:i s:i s:i s:i s:i s:b}", "vocab_size", vocab, "n_layer", (int)layers, "n_head", (int)heads,
                           "n_embd", (int)hidden, "block_size", length, "bias", (int)below(r, 2));
    assert_non_null(config);
    json_t *own = json_pack("{s:i s:s s:i s:i s:b}", "attnres_num_blocks", (int)(1 + below(r, 3)), "attnres_gate_type",
                            gates[below(r, 4)], "hyper_conn_n", (int)(2 + below(r, 2)), "sinkhorn_iters", 6,
                            "ddl_beta_single_linear", (int)below(r, 2));
    assert_non_null(own);
    json_object_set_new(own, "ddl_beta_hidden_size", json_integer(3));
    json_object_set_new(own, "attnres_use_null_source", json_boolean(null && below(r, 2) == 0));
    assert_int_equal(json_object_update(config, own), 0);
    json_decref(own);
    return config;
}

/* A spec of one of them, by the number of the case. */
typedef struct place {
    const char *variant;
    const ds_backbone *backbone;
    json_t *config;
    ds_spec spec;
    bool newer;
} place;

static void draw_place(place *p, size_t index, ds_random *r) {
    *p =
        (place){.variant = ds_variant_at(index % VARIANTS), .backbone = backbones[index / VARIANTS], .newer = below(r, 2) == 0};
    p->config = draw_config(p->backbone, p->variant, r);
    expect_ok(ds_spec_from_config(&p->spec, p->config, "c.json", p->variant, p->newer));
    assert_string_equal(ds_spec_variant(&p->spec), p->variant);
    assert_ptr_equal(p->spec.backbone, p->backbone);
}

/* As its code starts it, then with no number special. */
static ds_model *draw_model(const place *p, ds_precision precision, ds_random *r, double deviation) {
    ds_model *model;
    expect_ok(ds_model_initial(&model, &p->spec, precision, p->newer ? DS_INIT_NEWER : DS_INIT_OLDER, 7));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *q = ds_model_parameter(model, i);
        for (size_t k = 0; k < q->count; k++) {
            const double value = ds_real_at(q->values, precision, k) + deviation * ds_random_normal(r);
            if (precision == DS_F32)
                ((float *)q->values)[k] = (float)value;
            else
                ((double *)q->values)[k] = (double)(float)value;
        }
    }
    ds_model_refresh(model);
    return model;
}

static void draw_batch(uint32_t ids[TOKENS + 1], ds_random *r) {
    for (size_t t = 0; t <= TOKENS; t++) ids[t] = (uint32_t)below(r, 11);
}

/* ---- to a file and back ----------------------------------------------------------------------------------------------- */

static ds_checkpoint *write_and_open(const place *p, const ds_model *model, const ds_spec *told) {
    ds_tensor_write tensors[256];
    const size_t count = ds_model_parameters(model);
    ds_checkpoint *checkpoint;
    json_t *config = json_deep_copy(p->config);
    assert_true(config != NULL && count <= 256);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *q = ds_model_parameter(model, i);
        tensors[i] = (ds_tensor_write){q->name, ds_model_precision(model), q->rank, q->shape, q->values};
    }
    expect_ok(ds_spec_put_rule(config, told));
    char *text = json_dumps(config, 0);
    assert_non_null(text);
    (void)scratch_write("m/config.json", text, strlen(text));
    expect_ok(ds_safetensors_write(scratch_path("m/model.safetensors"), tensors, count));
    expect_ok(ds_checkpoint_open(&checkpoint, scratch_path("m"), NULL));
    /* what the published code would not understand it must not take for its own */
    const bool own = strcmp(json_string_value(json_object_get(config, "model_type")) == NULL
                                ? ""
                                : json_string_value(json_object_get(config, "model_type")),
                            "deltascope") == 0;
    assert_int_equal(own, !ds_spec_is_published(told) || ds_spec_is_control(told));
    free(text);
    json_decref(config);
    return checkpoint;
}

static void expect_same_spec(const ds_spec *found, const ds_spec *told) {
    assert_ptr_equal(found->rule, told->rule);
    assert_ptr_equal(found->backbone, told->backbone);
    assert_string_equal(ds_spec_variant(found), ds_spec_variant(told));
    assert_int_equal(found->depth_blocks, told->depth_blocks);
    assert_int_equal(found->depth_gate, told->depth_gate);
    assert_int_equal(found->depth_null, told->depth_null);
    assert_int_equal(found->streams.count, told->streams.count);
    assert_int_equal(found->streams.dynamic, told->streams.dynamic);
    assert_int_equal(found->streams.rounds, told->streams.rounds);
    expect_close(found->streams.temperature, told->streams.temperature, 0);
    assert_int_equal(found->value_channels, told->value_channels);
    assert_int_equal(found->gate_two_layer, told->gate_two_layer);
    expect_close(found->norm_eps, told->norm_eps, 0);
    expect_close(found->k_eps, told->k_eps, 0);
    for (size_t half = 0; half < 2; half++) assert_int_equal(found->trained[half].mode, told->trained[half].mode);
}

static void expect_same_losses(const ds_model *a, const ds_model *b, const ds_batch *batch) {
    double nll[2][TOKENS];
    for (size_t m = 0; m < 2; m++) {
        const ds_model *model = m == 0 ? a : b;
        ds_workspace *workspace;
        expect_ok(ds_workspace_new(&workspace, model, WINDOWS, LENGTH));
        expect_ok(ds_forward(workspace, model, batch, NULL, NULL, nll[m]));
        ds_workspace_free(&workspace);
    }
    assert_memory_equal(nll[0], nll[1], sizeof nll[0]);
}

static void files_are_read_back(void **state) {
    (void)state;
    static const char *const controls[] = {"delta", "closed:attn", "closed:all"};
    ds_random r = ds_random_init(20261128);
    for (size_t i = 0; i < VARIANTS * BACKBONES; i++) {
        place p;
        uint32_t ids[TOKENS + 1];
        ds_model *model, *again;
        ds_spec found;
        draw_place(&p, i, &r);
        draw_batch(ids, &r);
        expect_ok(ds_control_parse(p.spec.trained, p.spec.rule, controls[below(&r, 3)], "drawn"));
        model = draw_model(&p, below(&r, 2) == 0 ? DS_F32 : DS_F64, &r, 0.3);
        ds_model_set_control(model, p.spec.trained);
        ds_checkpoint *checkpoint = write_and_open(&p, model, &p.spec);
        expect_ok(ds_spec_detect(&found, checkpoint));
        expect_same_spec(&found, &p.spec);
        expect_ok(ds_model_load(&again, checkpoint, ds_model_precision(model)));
        expect_same_losses(model, again, &(ds_batch){ids, ids + 1, WINDOWS, LENGTH});
        ds_checkpoint_close(&checkpoint);
        ds_model_free(&again);
        ds_model_free(&model);
        json_decref(p.config);
    }
}

/* ---- what is computed ------------------------------------------------------------------------------------------------- */

/* Of parallel streams verify has no second computation, but what it says of gradients and of training needs none. */
static bool applies(const ds_spec *spec, const char *id) {
    return spec->rule->kind != DS_KIND_STREAMS || strcmp(id, "gradient.parameters") == 0 || strncmp(id, "training.", 9) == 0;
}

/* On their own backbone the delta rule and reads over depth are checked elsewhere. */
static void checks_pass(void **state) {
    (void)state;
    ds_random r = ds_random_init(3);
    size_t failed = 0;
    for (size_t i = 0; i < VARIANTS * BACKBONES; i++) {
        place p;
        uint32_t ids[TOKENS + 1];
        ds_verify *verify;
        draw_place(&p, i, &r);
        draw_batch(ids, &r);
        const ds_batch batch = {ids, ids + 1, WINDOWS, LENGTH};
        ds_model *model = draw_model(&p, DS_F64, &r, 0.3);
        if (p.spec.rule->kind == DS_KIND_STREAMS || !ds_spec_is_published(&p.spec)) {
            expect_ok(ds_verify_new(&verify, model, model, &batch, i));
            for (size_t k = 0; k < ds_check_count(); k++) {
                ds_check_result result;
                if (!applies(&p.spec, ds_check_id(k))) continue;
                expect_ok(ds_verify_check(&result, verify, k));
                if (result.status != DS_CHECK_FAIL) continue;
                failed++;
                print_message("%s on %s: %s: %g > %g (%s)\n", p.variant, ds_spec_backbone_name(&p.spec), ds_check_id(k),
                              result.measured, result.tolerance, result.detail);
            }
            ds_verify_free(&verify);
        }
        ds_model_free(&model);
        json_decref(p.config);
    }
    assert_int_equal(failed, 0);
}

/* ---- where they start ------------------------------------------------------------------------------------------------- */

static const ds_parameter *find(const ds_model *model, const char *prefix, const char *name) {
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        const char *at = strstr(p->name, prefix);
        if (at != NULL && strcmp(at + strlen(prefix), name) == 0) return p;
    }
    return NULL;
}

/* The stream that a sublayer's static part chooses: the largest of numbers that are `stride` apart. */
static size_t chosen_of(const ds_parameter *p, size_t streams, size_t stride) {
    size_t best = 0;
    for (size_t s = 1; s < streams; s++)
        if (((double *)p->values)[s * stride] > ((double *)p->values)[best * stride]) best = s;
    return best;
}

static void expect_all(const ds_parameter *p, double value) {
    assert_non_null(p);
    for (size_t k = 0; k < p->count; k++) expect_close(((double *)p->values)[k], value, 0);
}

/* What is published of each: in the same order as the numbers lie. */
static void expect_streams_start(const ds_model *model, const char *prefix, size_t *chosen) {
    const ds_spec *spec = ds_model_spec(model);
    const size_t n = spec->streams.count;
    const char *rule = ds_rule_name(spec->rule);
    const bool fixed = strcmp(rule, "mhc-static") == 0, free_maps = strncmp(rule, "hc", 2) == 0;
    const bool lite = strcmp(rule, "mhc-lite") == 0;
    const ds_parameter *alpha = find(model, prefix, fixed ? "H_pre_logits" : "static_alpha");
    const ds_parameter *beta = find(model, prefix, fixed ? "H_post_logits" : "static_beta");
    assert_true(alpha != NULL && beta != NULL);
    const double *a = alpha->values, high = fixed ? 0 : 1, low = fixed ? -8 : free_maps ? 0 : -1;
    const size_t stride = fixed || lite ? 1 : n + 1, which = *chosen = chosen_of(alpha, n, stride);
    for (size_t s = 0; s < n; s++) {
        expect_close(a[s * stride], s == which ? high : low, 0);
        expect_close(((double *)beta->values)[s], fixed ? 0 : free_maps || s == which ? 1 : -1, 0);
        for (size_t t = 0; t < n && !lite; t++) {
            const double *mixing = fixed ? (double *)find(model, prefix, "H_res_logits")->values + s * n : a + s * stride + 1;
            expect_close(mixing[t], s == t ? (free_maps ? 1 : 0) : free_maps ? 0 : -8, 0);
        }
    }
    for (size_t k = n; k < alpha->count && lite; k++) expect_close(a[k], k == n ? 0 : -8, 0);
    if (fixed) return;
    expect_all(find(model, prefix, "dynamic_alpha_fn"), 0);
    expect_all(find(model, prefix, "dynamic_beta_fn"), 0);
    expect_all(find(model, prefix, "norm.gamma"), 0);
    static const char *const scales[2][3] = {{"pre_branch_scale", "residual_scale", "h_post_scale"},
                                             {"dynamic_alpha_scale", "dynamic_beta_scale", "dynamic_beta_scale"}};
    for (size_t k = 0; k < 3; k++) expect_all(find(model, prefix, scales[free_maps][k]), 0.01);
}

static void streams_start_apart(void **state) {
    (void)state;
    ds_random r = ds_random_init(11);
    size_t seen[8] = {0};
    for (size_t i = 0; i < VARIANTS * BACKBONES; i++) {
        place p;
        draw_place(&p, i, &r);
        for (uint64_t seed = 0; seed < 3 && p.spec.rule->kind == DS_KIND_STREAMS; seed++) {
            ds_model *models[2];
            expect_ok(ds_model_initial(&models[0], &p.spec, DS_F64, DS_INIT_OLDER, seed));
            expect_ok(ds_model_random(&models[1], &p.spec, DS_F64, seed));
            for (size_t s = 0; s < ds_spec_sublayers(&p.spec); s++) {
                char prefix[32];
                size_t chosen[2];
                (void)snprintf(prefix, sizeof prefix, ".%zu.hc_%s.", s / 2, s % 2 == 0 ? "attn" : "mlp");
                for (size_t m = 0; m < 2; m++) expect_streams_start(models[m], prefix, &chosen[m]);
                assert_int_equal(chosen[0], chosen[1]);
                seen[chosen[0]]++;
            }
            for (size_t m = 0; m < 2; m++) ds_model_free(&models[m]);
        }
        json_decref(p.config);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0); /* the stream is drawn */
}

/* Queries have the deviation of Linear layers in the published code on any backbone. */
static void reads_over_depth_start_as_published(void **state) {
    (void)state;
    ds_random r = ds_random_init(13);
    double squares = 0;
    size_t count = 0;
    for (size_t i = 0; i < VARIANTS * BACKBONES; i++) {
        place p;
        ds_model *model;
        draw_place(&p, i, &r);
        for (uint64_t seed = 0; seed < 4 && p.spec.rule->kind == DS_KIND_DEPTH; seed++) {
            expect_ok(ds_model_initial(&model, &p.spec, DS_F64, p.newer ? DS_INIT_NEWER : DS_INIT_OLDER, seed));
            for (size_t k = 0; k < ds_model_parameters(model); k++) {
                const ds_parameter *q = ds_model_parameter(model, k);
                if (strstr(q->name, "_res_norm") != NULL) expect_all(q, 1);
                if (strstr(q->name, "_res_bias") != NULL) expect_all(q, 3);
                if (strstr(q->name, "_res_gate_logit") != NULL) expect_all(q, -2);
                if (strstr(q->name, "_res_alpha") != NULL || strstr(q->name, "_null_source") != NULL) expect_all(q, 0);
                if (strstr(q->name, "_res_proj") == NULL) continue;
                for (size_t n = 0; n < q->count; n++, count++) squares += pow(((double *)q->values)[n], 2);
            }
            ds_model_free(&model);
        }
        json_decref(p.config);
    }
    /* six standard errors of a variance */
    expect_close(squares / (double)count, 0.02 * 0.02, 6 * 0.02 * 0.02 * sqrt(2 / (double)count));
}

/* ---- refusals, cost --------------------------------------------------------------------------------------------------- */

static void contradictions_are_refused(void **state) {
    (void)state;
    static const char nano[] = "{\"n_layer\": 1, \"n_head\": 1, \"n_embd\": 4", qwen[] = "{\"model_type\": \"qwen3\"";
    static const struct {
        const char *start, *keys, *variant;
        ds_status code;
        const char *words;
    } cases[] = {
        {nano, ", \"hyper_conn_type\": \"mhc\"}", "hc", DS_ERR_INPUT,
         "by hyper_conn_type the rule is mhc, but the variant is hc"},
        {nano, ", \"hyper_conn_type\": \"none\"}", "mhc", DS_ERR_INPUT, "the rule is additive, but the variant is mhc"},
        {nano, ", \"hyper_conn_type\": \"hc\"}", "additive", DS_ERR_INPUT, "the rule is hc, but the variant is additive"},
        {nano, ", \"hc_num_streams\": 2, \"mhc\": true}", "hc-identity", DS_ERR_INPUT, "by mhc the rule is mhc-static"},
        {nano, ", \"hyper_conn_n\": 7}", "mhc-lite", DS_ERR_INPUT, "7 streams are out of range, expected 2 to 6"},
        {nano, ", \"attnres_gate_type\": \"wide\"}", "attnres-full", DS_ERR_INPUT, "unsupported attnres_gate_type \"wide\""},
        {nano, ", \"attnres_use_null_source\": true}", "attnres-full", DS_ERR_INPUT, "which attnres-full has no place for"},
        {qwen, ", \"attnres_mode\": \"delta\"}", "attnres-full", DS_ERR_INPUT, "attnres_mode is \"delta\", but the variant is"},
        {"{\"model_type\": \"qwen3_attnres\"", "}", "mhc", DS_ERR_INPUT, "is of attention over depth, but the variant is mhc"},
        {"{\"model_type\": \"gpt2\"", "}", "mhc", DS_ERR_INPUT, "rule mhc on backbone gpt2 is unsupported"},
        {"{\"model_type\": \"llama\"", "}", "ddl-cc", DS_ERR_INPUT, "rule ddl-cc on backbone llama is unsupported"},
        {qwen, "}", "mhc-dense", DS_ERR_USAGE, "no variant is called mhc-dense, expected additive, ddl-scalar"},
        {"{\"model_type\": \"deltascope\", \"deltascope_rule\": \"hc\", \"deltascope_backbone\": \"qwen3\"", "}", "mhc",
         DS_ERR_INPUT, "\"hc\" is no rule for a model without gates"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        json_t *config = NULL;
        ds_spec spec;
        (void)snprintf(text, sizeof text, "%s%s", cases[i].start, cases[i].keys);
        expect_ok(ds_json_parse(&config, text, strlen(text), "c.json"));
        expect_failure(ds_spec_from_config(&spec, config, "c.json", cases[i].variant, false), cases[i].code, cases[i].words);
        json_decref(config);
    }
}

/* Counted sublayer by sublayer from what each reads and writes. */
static double count_operations(const ds_spec *spec) {
    const double d = (double)spec->hidden, n = (double)spec->streams.count;
    double total = 0;
    if (spec->rule->kind == DS_KIND_DEPTH) {
        ds_depth_source list[64];
        const ds_depth_form *form = ds_depth_form_of(spec);
        for (size_t s = 0; s <= ds_spec_sublayers(spec); s++) {
            const bool routed = s < ds_spec_sublayers(spec) || form->routes_readout;
            size_t sources = routed ? form->sources(list, spec, s) : 0;
            if (s < ds_spec_sublayers(spec)) sources += spec->depth_null ? 1 : 0;
            total += 3 * d * (double)sources;
            if (s < ds_spec_sublayers(spec) && sources > 0 && spec->depth_gate == DS_DEPTH_VECTOR) total += d * d;
        }
        return total;
    }
    const double sublayers = (double)ds_spec_sublayers(spec);
    double maps = 0, mixing = n * n * d, orders = 1;
    for (size_t i = 2; i <= spec->streams.count; i++) orders *= (double)i;
    if (strncmp(ds_rule_name(spec->rule), "hc", 2) == 0) maps = n * (d * (n + 1) + d);
    if (strcmp(ds_rule_name(spec->rule), "mhc") == 0) maps = n * d * n * (n + 1) + n * d * n;
    if (strcmp(ds_rule_name(spec->rule), "mhc-lite") == 0) maps = n * d * (n + orders) + n * d * n;
    if (strcmp(ds_rule_name(spec->rule), "hc-identity") == 0) mixing = 0;
    return sublayers * (maps + mixing + 2 * n * d);
}

static void operations_are_counted(void **state) {
    (void)state;
    ds_random r = ds_random_init(17);
    for (size_t i = 0; i < VARIANTS * BACKBONES; i++) {
        place p;
        draw_place(&p, i, &r);
        if (p.spec.rule->kind == DS_KIND_DEPTH || p.spec.rule->kind == DS_KIND_STREAMS) {
            const double counted = count_operations(&p.spec);
            expect_close(sum_of(p.spec.rule, &p.spec), counted, 1e-9 * counted);
            expect_close(ds_spec_rule_flops_per_token(&p.spec), 2 * counted, 1e-9 * counted);
        }
        json_decref(p.config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_back),        cmocka_unit_test(checks_pass),
        cmocka_unit_test(streams_start_apart),        cmocka_unit_test(reads_over_depth_start_as_published),
        cmocka_unit_test(contradictions_are_refused), cmocka_unit_test(operations_are_counted),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
