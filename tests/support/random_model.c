#include "random_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/verify.h"
#include "failed_checks.h"
#include "scratch.h"
#include "support.h"

/* ---- drawing ------------------------------------------------------------------------------------------------------------ */

static size_t one_of(ds_random *r, const size_t *values, size_t count) { return values[ds_random_below(r, count)]; }
static double real_of(ds_random *r, const double *values, size_t count) { return values[ds_random_below(r, count)]; }
static bool coin(ds_random *r) { return ds_random_below(r, 2) == 0; }
#define ONE_OF(r, ...) one_of((r), (const size_t[]){__VA_ARGS__}, sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))
#define REAL_OF(r, ...) real_of((r), (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static void draw_attention(ds_spec *spec, ds_random *r) {
    spec->qk_norm = coin(r);
    spec->head_norm = coin(r);
    spec->output_gate = coin(r);
    spec->k_shift = coin(r);
    spec->v_shift = coin(r);
    spec->q_activation = (ds_activation)ds_random_below(r, 4);
    spec->k_activation = (ds_activation)ds_random_below(r, 4);
    spec->v_activation = (ds_activation)ds_random_below(r, 4);
    spec->rotary_dim = (size_t)((double)spec->head_dim * REAL_OF(r, 0, 0.25, 0.5, 1)) / 2 * 2;
    spec->rope_base = REAL_OF(r, 2, 100, 10000);
}

static void draw_delta(ds_spec *spec, ds_random *r) {
    if (spec->compressor != DS_COMPRESS_NONE) spec->value_channels = ONE_OF(r, 2, 2, 3, 4, 5, 6);
    if (spec->compressor == DS_COMPRESS_TC) spec->state_kernel = 1 + ds_random_below(r, 6);
    if (spec->compressor == DS_COMPRESS_CC) {
        spec->state_kernel = 1 + ds_random_below(r, spec->value_channels);
        spec->state_kernel_causal = coin(r);
    }
    if (spec->input_conv) spec->input_kernel = 1 + ds_random_below(r, 6);
    spec->k_eps = REAL_OF(r, 1e-5, 1e-5, 1e-3, 0.1);
    spec->gate_two_layer = coin(r);
    spec->gate_hidden = spec->gate_two_layer ? 1 + ds_random_below(r, 8) : 0;
    spec->value_sigmoid = coin(r);
    spec->value_scale = REAL_OF(r, 4, 4, 1, 0.5, -3);
    spec->value_constant = ds_random_below(r, 4) == 0;
    spec->value_constant_value = spec->value_constant ? REAL_OF(r, 2, 0.5, -1) : 2;
}

void random_model_draw(random_model *m, uint64_t seed) {
    ds_random r = ds_random_init(seed * 0x9e3779b97f4a7c15u + 1);
    ds_spec *spec = &m->spec;
    *m = (random_model){.seed = seed};
    expect_ok(ds_spec_reported(spec, "small", variants[ds_random_below(&r, VARIANTS)]));
    spec->vocab = ONE_OF(&r, 2, 3, 17, 65, 97);
    spec->layers = 1 + ds_random_below(&r, 3);
    spec->hidden = ONE_OF(&r, 1, 2, 3, 4, 5, 7, 8, 8, 12, 16, 24);
    spec->heads = 1 + ds_random_below(&r, 3);
    spec->head_dim = ONE_OF(&r, 1, 2, 3, 4, 6, 8, 16);
    size_t usual = ds_max_size(8 * spec->hidden / 3, 1);
    spec->mlp_hidden = coin(&r) ? usual : 1 + ds_random_below(&r, 2 * usual);
    spec->block_size = ONE_OF(&r, 1, 2, 3, 4, 8, 16, 24);
    spec->newer_names = coin(&r);
    draw_attention(spec, &r);
    if (spec->rule == &ds_rule_delta) draw_delta(spec, &r);
    spec->output_norm_eps = REAL_OF(&r, 1e-5, 1e-6, 1e-3);
    if (spec->rule != &ds_rule_delta) spec->norm_eps = spec->output_norm_eps;
    spec->residual_mult = REAL_OF(&r, 1, 1, 0.25, 0.9, 1.3);
    spec->logit_scale = coin(&r) ? 1 : REAL_OF(&r, 1, 24, 256) / (double)spec->hidden;
    m->dtype = (const ds_dtype[]){DS_DTYPE_F32, DS_DTYPE_F64, DS_DTYPE_F16, DS_DTYPE_BF16}[ds_random_below(&r, 4)];
    m->with_head = coin(&r);
    m->gain = REAL_OF(&r, 0.3, 1, 1, 2);
    m->embedding = REAL_OF(&r, 0.02, 0.3, 1);
    m->has_zeros = ds_random_below(&r, 16) == 0;
    m->same_tokens = ds_random_below(&r, 8) == 0;
    m->length = coin(&r) ? spec->block_size : 1 + ds_random_below(&r, spec->block_size);
    m->windows = 1 + ds_random_below(&r, 4);
    m->precision = coin(&r) ? DS_F32 : DS_F64;
}

/* ---- configuration
 * --------------------------------------------------------------------------------------------------------- */

/* The inverse of what a reader makes of them. */
static void put_scales(ds_text *text, const ds_spec *spec, uint64_t seed) {
    size_t base = (size_t)(spec->logit_scale * (double)spec->hidden + 0.5);
    bool by_depth = spec->residual_mult == 1 && spec->logit_scale != 1 && seed % 2 == 0;
    if (spec->logit_scale != 1 && !by_depth)
        expect_ok(ds_text_printf(text, ", \"hidden_size_base\": %zu, %s", base,
                                 seed % 3 == 0 ? "\"mup\": true" : "\"parameterization\": \"widthmuP\""));
    if (by_depth)
        expect_ok(ds_text_printf(text,
                                 ", \"hidden_size_base\": %zu, \"parameterization\": \"%s\", \"num_hidden_layers_base\": %zu",
                                 base, seed % 3 == 0 ? "completeP" : "spectralp", spec->layers));
    if (spec->residual_mult != 1) expect_ok(ds_text_printf(text, ", \"residual_branch_mult\": %.17g", spec->residual_mult));
}

static const char *dtype_name(ds_dtype dtype) {
    return dtype == DS_DTYPE_F64 ? "F64" : dtype == DS_DTYPE_F16 ? "F16" : dtype == DS_DTYPE_BF16 ? "BF16" : "F32";
}

static const char *flag(bool value) { return value ? "true" : "false"; }

static void put_published(ds_text *text, const random_model *m) {
    static const char *const activations[] = {"null", "\"silu\"", "\"relu\"", "\"elu+1\""};
    const ds_spec *spec = &m->spec;
    bool scalar = spec->compressor == DS_COMPRESS_NONE;
    expect_ok(ds_text_printf(
        text,
        "{\"vocab_size\": %zu, \"num_hidden_layers\": %zu, \"hidden_size\": %zu, \"num_attention_heads\": %zu, \"head_dim\": "
        "%zu, \"block_size\": %zu, \"use_qk_rmsnorm\": %s, \"using_groupnorm\": %s, \"use_output_gate\": %s, \"use_k_shift\": "
        "%s, \"use_v_shift\": %s, \"q_activation\": %s, \"k_activation\": %s, \"v_activation\": %s, \"rope_ratio\": %.17g, "
        "\"rope_base\": %.17g, \"rms_norm_eps\": %.17g",
        spec->vocab, spec->layers, spec->hidden, spec->heads, spec->head_dim, spec->block_size, flag(spec->qk_norm),
        flag(spec->head_norm), flag(spec->output_gate), flag(spec->k_shift), flag(spec->v_shift),
        activations[spec->q_activation], activations[spec->k_activation], activations[spec->v_activation],
        fmin(1, ((double)spec->rotary_dim + 0.25) / (double)spec->head_dim), spec->rope_base, spec->output_norm_eps));
    put_scales(text, spec, m->seed);
    if (spec->rule == &ds_rule_delta) {
        expect_ok(ds_text_printf(text,
                                 ", \"ddl_value_channels\": %zu, \"ddl_k_eps\": %.17g, \"ddl_beta_single_linear\": %s, "
                                 "\"ddl_beta_hidden_size\": %zu, \"ddl_v_sigmoid\": %s, \"ddl_v_sigmoid_scale\": %.17g, "
                                 "\"ddl_v%s_constant\": %s, \"ddl_v%s_constant_value\": %.17g",
                                 spec->value_channels, spec->k_eps, flag(!spec->gate_two_layer),
                                 spec->gate_two_layer ? spec->gate_hidden : 128, flag(spec->value_sigmoid), spec->value_scale,
                                 scalar ? "_dim1" : "", flag(spec->value_constant), scalar ? "_dim1" : "",
                                 spec->value_constant_value));
    }
    if (!scalar)
        expect_ok(ds_text_printf(text, ", \"ddl_state_shortconv_kernel_size\": %zu, \"ddl_state_dv_shortconv_causal\": %s",
                                 spec->state_kernel, flag(spec->state_kernel_causal)));
    if (spec->input_conv) expect_ok(ds_text_printf(text, ", \"input_embed_shortconv_kernel_size\": %zu", spec->input_kernel));
    expect_ok(ds_text_printf(text, "}"));
}

static void put_config(ds_text *text, const random_model *m) {
    if (m->spec.backbone == &ds_backbone_ddl)
        put_published(text, m);
    else
        random_backbone_config(text, m);
}

const char *random_model_describe(const random_model *m) {
    static char line[2048];
    ds_text text = {0};
    put_config(&text, m);
    (void)snprintf(line, sizeof line, "seed %llu: %s, %s names, %s, gain %g, embedding %g%s%s, T %zu, %zu windows, %s: %s",
                   (unsigned long long)m->seed, ds_spec_variant(&m->spec), m->spec.newer_names ? "newer" : "older",
                   dtype_name(m->dtype), m->gain, m->embedding, m->has_zeros ? ", a tensor of zeros" : "",
                   m->same_tokens ? ", one token" : "", m->length, m->windows, m->precision == DS_F32 ? "float" : "double",
                   text.bytes);
    ds_text_release(&text);
    return line;
}

/* ---- weights
 * --------------------------------------------------------------------------------------------------------------- */

static bool has(const char *name, const char *part) { return strstr(name, part) != NULL; }

/* Norms lie about 1, everything else about 0, matrices in proportion to their inputs. */
static double draw_weight(const random_model *m, const ds_parameter *p, ds_random *r) {
    double normal = ds_random_normal(r);
    if (has(p->name, ".bias")) return normal;
    if (p->group == DS_GROUP_NORMS) return 1 + 0.3 * normal;
    if (p->group == DS_GROUP_EMBEDDING && !has(p->name, "lm_head.")) return m->embedding * normal;
    return m->gain * normal / sqrt((double)p->shape[p->rank - 1]);
}

/* IEEE half precision of a number that is neither tiny nor huge; those below its normal numbers become 0. */
static uint16_t half_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits += 0x1000; /* to nearest */
    uint32_t exponent = bits >> 23 & 0xff;
    if (exponent < 113) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits >> 16 & 0x8000) | (exponent - 112) << 10 | (bits >> 13 & 0x3ff));
}

static size_t put_number(unsigned char *out, double value, ds_dtype dtype) {
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    uint16_t half = dtype == DS_DTYPE_F16 ? half_bits(single) : (uint16_t)(bits >> 16);
    const void *from = dtype == DS_DTYPE_F64 ? (const void *)&value : dtype == DS_DTYPE_F32 ? (const void *)&single : &half;
    size_t size = dtype == DS_DTYPE_F64 ? 8 : dtype == DS_DTYPE_F32 ? 4 : 2;
    memcpy(out, from, size);
    return size;
}

/* A safetensors file of every element type; the head, when stored, has the embedding's own bytes again. */
static void write_weights(const random_model *m, const char *name) {
    ds_model *model = NULL;
    ds_random r = ds_random_init(m->seed + 77);
    ds_text header = {0};
    expect_ok(ds_model_random(&model, &m->spec, DS_F32, 1));
    size_t count = ds_model_parameters(model), zeros = ds_random_below(&r, count), length = 0, embedding = 0;
    unsigned char *data = malloc((size_t)8 * (ds_model_parameter_count(model) + m->spec.vocab * m->spec.hidden));
    assert_non_null(data);
    expect_ok(ds_text_printf(&header, "{"));
    for (size_t i = 0; i < count + (m->with_head ? 1 : 0); i++) {
        const ds_parameter *p = ds_model_parameter(model, i < count ? i : 0);
        size_t first = length;
        for (size_t j = 0; j < p->count && i < count; j++)
            length += put_number(data + length, m->has_zeros && i == zeros ? 0 : draw_weight(m, p, &r), m->dtype);
        if (i == 0) embedding = length;
        if (i == count) {
            memcpy(data + length, data, embedding);
            length += embedding;
        }
        expect_ok(ds_text_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i == 0 ? "" : ",",
                                 i < count ? p->name : "lm_head.weight", dtype_name(m->dtype)));
        for (size_t a = 0; a < p->rank; a++) expect_ok(ds_text_printf(&header, "%s%zu", a == 0 ? "" : ",", p->shape[a]));
        expect_ok(ds_text_printf(&header, "],\"data_offsets\":[%zu,%zu]}", first, length));
    }
    expect_ok(ds_text_printf(&header, "}"));
    while (header.length % 8 != 0) expect_ok(ds_text_printf(&header, " "));
    uint64_t size = header.length;
    unsigned char *file = malloc(8 + header.length + length);
    assert_non_null(file);
    for (size_t i = 0; i < 8; i++) file[i] = (unsigned char)(size >> 8 * i);
    memcpy(file + 8, header.bytes, header.length);
    memcpy(file + 8 + header.length, data, length);
    (void)scratch_write(name, file, 8 + header.length + length);
    free(file);
    free(data);
    ds_text_release(&header);
    ds_model_free(&model);
}

static void write_tokens(const random_model *m, const char *name) {
    ds_random r = ds_random_init(m->seed + 78);
    size_t count = m->windows * m->length + 1;
    uint16_t *ids = malloc(count * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) ids[i] = m->same_tokens && i > 0 ? ids[0] : (uint16_t)ds_random_below(&r, m->spec.vocab);
    (void)scratch_write(name, ids, count * sizeof *ids);
    free(ids);
}

const char *random_model_write(const random_model *m, const char *folder) {
    static char path[3][256];
    static const char *const names[] = {"config.json", "model.safetensors", "tokens.bin"};
    ds_text config = {0};
    for (size_t i = 0; i < 3; i++) (void)snprintf(path[i], sizeof path[i], "%s/%s", folder, names[i]);
    put_config(&config, m);
    (void)scratch_write(path[0], config.bytes, config.length);
    write_weights(m, path[1]);
    write_tokens(m, path[2]);
    ds_text_release(&config);
    return scratch_path(folder);
}

/* ---- verify
 * ---------------------------------------------------------------------------------------------------------------- */

/* What the loader made of the configuration is what was drawn. */
static void expect_same_options(const ds_spec *found, const ds_spec *drawn) {
    assert_string_equal(ds_spec_variant(found), ds_spec_variant(drawn));
    assert_true(found->backbone == drawn->backbone && found->own_head == drawn->own_head && found->mlp == drawn->mlp);
    assert_true(ds_spec_kv_heads(found) == ds_spec_kv_heads(drawn) && found->bare_names == drawn->bare_names);
    assert_true(found->qkv_bias == drawn->qkv_bias && found->norm_bias == drawn->norm_bias);
    assert_true(found->positions == drawn->positions && found->depth_scaled_scores == drawn->depth_scaled_scores);
    expect_close(found->rope_scaling.factor, drawn->rope_scaling.factor, 0);
    assert_true(found->rotary_dim == drawn->rotary_dim && found->mlp_hidden == drawn->mlp_hidden);
    assert_true(found->value_channels == drawn->value_channels && found->state_kernel == drawn->state_kernel);
    assert_true(found->gate_two_layer == drawn->gate_two_layer && found->value_constant == drawn->value_constant);
    expect_close(found->residual_mult, drawn->residual_mult, 0);
    expect_close(found->logit_scale, drawn->logit_scale, 0x1p-52 * drawn->logit_scale);
}

static size_t verify_one(const random_model *m) {
    const char *folder = random_model_write(m, "random-model");
    ds_checkpoint *checkpoint = NULL;
    ds_model *models[2] = {NULL, NULL};
    ds_tokens *tokens = NULL;
    ds_verify *verify = NULL;
    size_t count = ds_min_size(m->windows, 2) * m->length;
    uint32_t *ids = malloc((count + 1) * sizeof *ids);
    assert_non_null(ids);
    expect_ok(ds_checkpoint_open(&checkpoint, folder, NULL));
    for (size_t i = 0; i < 2; i++) expect_ok(ds_model_load(&models[i], checkpoint, i == 0 ? m->precision : DS_F64));
    expect_same_options(ds_model_spec(models[0]), &m->spec);
    expect_ok(ds_tokens_open(&tokens, scratch_path("random-model/tokens.bin"), m->spec.vocab));
    expect_ok(ds_tokens_read(tokens, ids, 0, count + 1));
    const ds_batch batch = {ids, ids + 1, count / m->length, m->length};
    expect_ok(ds_verify_new(&verify, models[0], m->precision == DS_F64 ? models[0] : models[1], &batch, m->seed));
    size_t failed = failed_checks(verify, random_model_describe(m));
    ds_verify_free(&verify);
    ds_tokens_close(&tokens);
    for (size_t i = 0; i < 2; i++) ds_model_free(&models[i]);
    ds_checkpoint_close(&checkpoint);
    free(ids);
    return failed;
}

static size_t verify_drawn(void (*draw)(random_model *m, uint64_t seed), uint64_t seed, size_t count) {
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        random_model m;
        draw(&m, seed + i);
        failed += verify_one(&m) > 0;
    }
    return failed;
}

size_t random_models_verify(uint64_t seed, size_t count) { return verify_drawn(random_model_draw, seed, count); }
size_t random_backbones_verify(uint64_t seed, size_t count) { return verify_drawn(random_backbone_draw, seed, count); }
