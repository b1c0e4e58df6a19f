/* Loading, refreshing and making models; the survey behind `inspect`. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/rule_delta.h"
#include "toy.h"

static double value_at(const ds_model *model, const ds_parameter *parameter, size_t i) {
    return ds_model_precision(model) == DS_F32 ? (double)((const float *)parameter->values)[i]
                                               : ((const double *)parameter->values)[i];
}

static const ds_parameter *find(const ds_model *model, const char *name) {
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        if (strcmp(ds_model_parameter(model, i)->name, name) == 0) return ds_model_parameter(model, i);
    }
    fail_msg("the model has no parameter %s", name);
    return NULL;
}

static ds_model *load(const char *path, ds_precision precision) {
    ds_checkpoint *checkpoint = NULL;
    ds_model *model = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    expect_ok(ds_model_load(&model, checkpoint, precision));
    ds_checkpoint_close(&checkpoint);
    return model;
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static void float_holds_what_double_holds(void **state) {
    (void)state;
    static const char *const paths[] = {"fixtures/models/cc-bf16", "fixtures/models/ddl-cc-ec",
                                        "fixtures/models/tc-newer-names"};
    for (size_t p = 0; p < 3; p++) {
        ds_model *narrow = load(paths[p], DS_F32), *wide = load(paths[p], DS_F64);
        assert_int_equal(ds_model_parameter_count(narrow), ds_model_parameter_count(wide));
        for (size_t i = 0; i < ds_model_parameters(narrow); i++) {
            const ds_parameter *a = ds_model_parameter(narrow, i), *b = ds_model_parameter(wide, i);
            assert_string_equal(a->name, b->name);
            assert_int_equal((uintptr_t)a->values % 64, 0);
            for (size_t j = 0; j < a->count; j++) expect_close(value_at(narrow, a, j), value_at(wide, b, j), 0.0);
        }
        ds_model_free(&narrow);
        ds_model_free(&wide);
    }
}

static void typed_pointers_reach_every_parameter_once(void **state) {
    (void)state;
    ds_model *model = load("fixtures/models/tc-newer-names", DS_F32);
    assert_ptr_equal(model->embedding, ds_model_parameter(model, 0));
    assert_ptr_equal(model->final_norm.weight, find(model, "ln_f.weight"));
    assert_ptr_equal(model->readout.weight, find(model, "readout.weight"));
    assert_ptr_equal(model->readout.read, find(model, "readout.read"));
    assert_ptr_equal(model->input.weight, find(model, "input_embed.weight"));
    assert_null(model->input.read);
    assert_ptr_equal(model->layers[1].attention, find(model, "transformer.h.1.attn.o_proj.weight"));
    assert_ptr_equal(model->layers[1].head_norm, find(model, "transformer.h.1.attn.subln.weight"));
    assert_ptr_equal(model->layers[0].down, find(model, "transformer.h.0.mlp.o_proj.weight"));
    assert_ptr_equal(ds_delta_weights_of(&model->layers[0], 1)->value_bias, find(model, "transformer.h.0.ddl_mlp.v_proj.bias"));
    assert_null(model->layers[0].output_gate);
    assert_null(model->layers[0].key_shift);
    assert_null(ds_delta_weights_of(&model->layers[0], 0)->beta_in);
    size_t reached = 5; /* embedding, final norm, readout weight and read, input */
    const size_t members = sizeof(ds_layer_weights) / sizeof(void *);
    for (size_t layer = 0; layer < 2; layer++) {
        const void *pointers[sizeof(ds_layer_weights) / sizeof(void *)];
        memcpy(pointers, &model->layers[layer], sizeof pointers);
        for (size_t i = 0; i < members; i++) {
            const char *at = pointers[i], *table = (const char *)model->parameters;
            if (at >= table && at < table + model->parameter_count * sizeof(ds_parameter)) reached++;
        }
    }
    assert_int_equal(reached, model->parameter_count);
    ds_model_free(&model);
}

static void refresh_follows_changed_weights(void **state) {
    (void)state;
    static const char *const variants[] = {"ddl-cc-ec", "ddl-tc-ec"};
    for (size_t v = 0; v < 2; v++) {
        const ds_spec spec = toy_spec(variants[v]);
        ds_model *model = NULL;
        expect_ok(ds_model_random(&model, &spec, DS_F64, 5));
        double *weight = model->layers[1].compress.weight->values;
        const double *taps = model->layers[1].compress.taps;
        const double before = taps[0];
        weight[0] += 2.0;
        ds_model_refresh(model);
        /* TC: taps[0][0][0] = w[0,0,0]. CC, left = 0: taps[0][0] = read[0] w[0,0]. */
        double change = v == 0 ? 2.0 * ((const double *)model->layers[1].compress.read->values)[0] : 2.0;
        expect_close(taps[0] - before, change, 4.0 * 0x1p-53 * (fabs(before) + change));
        ds_model_free(&model);
    }
}

/* ---- what must be refused ---------------------------------------------------------------------------------------- */

static void names_the_first_number_that_is_not_finite(void **state) {
    (void)state;
    static const struct {
        const char *name, *words;
        size_t index;
        double value;
    } cases[] = {
        {"transformer.h.1.mlp.c_fc2.weight", "tensor transformer.h.1.mlp.c_fc2.weight is nan at index [3, 7]", 37, NAN},
        {"ln_f.weight", "tensor ln_f.weight is inf at index [9]", 9, INFINITY},
        {"input_embed.conv.weight", "tensor input_embed.conv.weight is -inf at index [29, 0, 3]", 119, -INFINITY},
    };
    const ds_spec spec = toy_spec("ddl-tc-ec");
    for (size_t i = 0; i < 3; i++) {
        toy_checkpoint toy;
        toy_make(&toy, &spec, DS_F32, i);
        ((float *)find(toy.model, cases[i].name)->values)[cases[i].index] = (float)fabs(cases[i].value);
        if (cases[i].value < 0.0) ((float *)find(toy.model, cases[i].name)->values)[cases[i].index] = -INFINITY;
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        ds_model *model = NULL;
        expect_failure(ds_model_load(&model, checkpoint, DS_F32), DS_ERR_INPUT, cases[i].words);
        expect_failure(ds_model_load(&model, checkpoint, DS_F64), DS_ERR_INPUT, "model.safetensors: tensor");
        assert_null(model);
        ds_survey *survey = NULL;
        expect_ok(ds_survey_new(&survey, checkpoint, DS_F32));
        for (size_t t = 0; t < survey->count; t++) {
            bool here = strcmp(survey->tensors[t].tensor->name, cases[i].name) == 0;
            assert_int_equal(survey->tensors[t].nan, here && isnan(cases[i].value));
            assert_int_equal(survey->tensors[t].inf, here && isinf(cases[i].value));
        }
        ds_survey_free(&survey);
        ds_checkpoint_close(&checkpoint);
        toy_release(&toy);
    }
}

static void a_double_too_large_for_float_is_refused_in_float_only(void **state) {
    (void)state;
    const ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F64, 1);
    ((double *)find(toy.model, "ln_f.weight")->values)[2] = 1e39;
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    ds_model *model = NULL;
    expect_failure(ds_model_load(&model, checkpoint, DS_F32), DS_ERR_INPUT, "tensor ln_f.weight is inf at index [2]");
    expect_ok(ds_model_load(&model, checkpoint, DS_F64));
    ds_model_free(&model);
    ds_survey *survey = NULL;
    expect_ok(ds_survey_new(&survey, checkpoint, DS_F32));
    for (size_t t = 0; t < survey->count; t++) assert_int_equal(survey->tensors[t].inf, 0);
    ds_survey_free(&survey);
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

/* ---- the output head --------------------------------------------------------------------------------------------- */

static ds_head_tie head_of(ds_checkpoint *checkpoint) {
    ds_survey *survey = NULL;
    expect_ok(ds_survey_new(&survey, checkpoint, DS_F32));
    ds_head_tie head = survey->head;
    for (size_t t = 0; t < survey->count; t++)
        assert_int_equal(survey->tensors[t].head, strcmp(survey->tensors[t].tensor->name, "lm_head.weight") == 0);
    ds_survey_free(&survey);
    return head;
}

/* The head before and after the embedding in the file, in both precisions, equal and with the last bit of one number off. */
static void a_stored_head_must_be_the_embedding(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 16; bits++) {
        const bool in_front = bits & 1, wide = bits & 2, differs = bits & 4, unlike = bits & 8;
        const ds_spec spec = toy_spec("additive");
        toy_checkpoint toy;
        toy_make(&toy, &spec, wide ? DS_F64 : DS_F32, bits);
        const ds_parameter *embedding = ds_model_parameter(toy.model, 0);
        double copy64[110];
        float copy32[110];
        for (size_t i = 0; i < 110; i++) {
            copy32[i] = (float)value_at(toy.model, embedding, i);
            copy64[i] = unlike ? (double)copy32[i] : value_at(toy.model, embedding, i);
            if (unlike && wide) ((double *)embedding->values)[i] = copy64[i]; /* so that both dtypes hold the same numbers */
        }
        if (differs) copy64[77] = nextafter(copy64[77], 9.0);
        if (differs) copy32[77] = nextafterf(copy32[77], 9.0F);
        ds_tensor_write head = toy.tensors[0];
        head.name = "lm_head.weight";
        head.precision = wide != unlike ? DS_F64 : DS_F32; /* unlike: the other dtype */
        head.values = head.precision == DS_F64 ? (const void *)copy64 : (const void *)copy32;
        toy.tensors[toy.count] = in_front ? toy.tensors[0] : head;
        if (in_front) toy.tensors[0] = head;
        toy.count++;
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        assert_int_equal(head_of(checkpoint), differs ? DS_HEAD_DIFFERENT : DS_HEAD_EQUAL);
        ds_model *model = NULL;
        ds_status status = ds_model_load(&model, checkpoint, DS_F64);
        if (differs) expect_failure(status, DS_ERR_INPUT, "tensor lm_head.weight differs from transformer.wte.weight");
        if (!differs) {
            expect_ok(status);
            for (size_t i = 0; i < 110; i++)
                expect_close(value_at(model, model->embedding, i), value_at(toy.model, embedding, i), 0.0);
        }
        ds_model_free(&model);
        ds_checkpoint_close(&checkpoint);
        toy_release(&toy);
    }
}

static void other_heads_are_told_apart(void **state) {
    (void)state;
    const ds_spec spec = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 2);
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    assert_int_equal(head_of(checkpoint), DS_HEAD_ABSENT);
    ds_checkpoint_close(&checkpoint);
    const size_t transposed[] = {10, 11};
    ds_tensor_write head = toy.tensors[0];
    head.name = "lm_head.weight";
    head.shape = transposed;
    toy.tensors[toy.count++] = head;
    checkpoint = toy_open(&toy, NULL, "");
    assert_int_equal(head_of(checkpoint), DS_HEAD_DIFFERENT);
    ds_model *model = NULL;
    expect_failure(ds_model_load(&model, checkpoint, DS_F32), DS_ERR_INPUT, "tensor lm_head.weight has another shape");
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
    expect_ok(ds_checkpoint_open(&checkpoint, "fixtures/models/cc-dv3-noqknorm", NULL));
    assert_int_equal(head_of(checkpoint), DS_HEAD_SHARED);
    ds_checkpoint_close(&checkpoint);
}

/* ---- the survey -------------------------------------------------------------------------------------------------- */

static void the_survey_lists_counts_and_sums(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-cc");
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 8);
    const size_t shape[] = {4, 3};
    const double extra[12] = {1.0, 0.0, 0.0, 0.0, 0.0, -0.0, 0.0, NAN, INFINITY, 0.0, 0.0, 0.0};
    toy.tensors[toy.count++] = (ds_tensor_write){"transformer.h.0.attn.extra", DS_F64, 2, shape, extra};
    toy.tensors[toy.count++] = (ds_tensor_write){"a_buffer", DS_F64, 1, shape, extra + 9}; /* four numbers, of which 3 kept */
    const size_t three[] = {3};
    toy.tensors[toy.count - 1].shape = three;
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    ds_survey *survey = NULL;
    ds_model *model = NULL;
    expect_ok(ds_survey_new(&survey, checkpoint, DS_F32));
    expect_ok(ds_model_load(&model, checkpoint, DS_F32)); /* unused tensors do not matter, not even their NaN */
    assert_int_equal(survey->count, toy.count);
    uint64_t total = 0;
    for (size_t g = 0; g < DS_GROUP_COUNT; g++) total += survey->groups[g];
    assert_int_equal(total, survey->total);
    assert_int_equal(total, ds_model_parameter_count(model));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        assert_string_equal(survey->tensors[i].tensor->name, parameter->name);
        assert_string_equal(survey->tensors[i].parameter->role, parameter->role);
        assert_int_equal(survey->tensors[i].crc32, ds_crc32(0, parameter->values, parameter->count * sizeof(float)));
    }
    const ds_tensor_health *unused = &survey->tensors[survey->count - 2];
    assert_string_equal(unused[0].tensor->name, "a_buffer");
    assert_null(unused[0].parameter);
    assert_int_equal(unused[0].zero_rows, 1);
    assert_string_equal(unused[1].tensor->name, "transformer.h.0.attn.extra");
    assert_int_equal(unused[1].nan, 1);
    assert_int_equal(unused[1].inf, 1);
    assert_int_equal(unused[1].zero_rows, 2);
    float extra32[12];
    for (size_t i = 0; i < 12; i++) extra32[i] = (float)extra[i];
    assert_int_equal(unused[1].crc32, ds_crc32(0, extra32, sizeof extra32));
    ds_survey_free(&survey);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

/* ---- initialisation ---------------------------------------------------------------------------------------------- */

static void random_weights_depend_on_the_seed_alone(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-tc-ec");
    spec.vocab = 30000; /* several blocks */
    ds_model *models[4] = {NULL, NULL, NULL, NULL};
    for (size_t i = 0; i < 4; i++) {
        expect_ok(ds_threads_set(i == 1 ? 3 : 1));
        expect_ok(ds_model_random(&models[i], &spec, i == 2 ? DS_F64 : DS_F32, i == 3 ? 8 : 7));
    }
    expect_ok(ds_threads_set(0));
    for (size_t p = 0; p < ds_model_parameters(models[0]); p++) {
        const ds_parameter *first = ds_model_parameter(models[0], p);
        size_t equal = 0;
        for (size_t i = 0; i < first->count; i++) {
            float value = ((const float *)first->values)[i];
            expect_close((double)((const float *)ds_model_parameter(models[1], p)->values)[i], (double)value, 0.0);
            expect_close((double)(float)((const double *)ds_model_parameter(models[2], p)->values)[i], (double)value, 0.0);
            equal += ((const float *)ds_model_parameter(models[3], p)->values)[i] == value;
        }
        /* of the normal ones hardly any number comes again under another seed */
        if (first->rank == 2 && first->group == DS_GROUP_ATTENTION) assert_true(equal < first->count / 10);
    }
    for (size_t i = 0; i < 4; i++) ds_model_free(&models[i]);
}

static void starts_as_published(void **state) {
    (void)state;
    ds_spec spec;
    expect_ok(ds_spec_reported(&spec, "small", "ddl-cc-ec"));
    spec.vocab = 1000;
    spec.layers = 4;
    spec.gate_init = 0.5;
    ds_model *model = NULL;
    expect_ok(ds_model_random(&model, &spec, DS_F64, 12));
    const ds_layer_weights *layer = &model->layers[2];
    const double hidden_std = 0.5 / sqrt(768.0);
    const struct {
        const ds_parameter *parameter;
        double std;
    } normals[] = {
        {model->embedding, 0.02},      {layer->query, hidden_std},         {layer->up, hidden_std},
        {layer->down, hidden_std / 2}, {layer->attention, hidden_std / 2}, {ds_delta_weights_of(layer, 0)->beta, hidden_std}};
    for (size_t n = 0; n < sizeof normals / sizeof *normals; n++) {
        double sum = 0.0, squares = 0.0, count = (double)normals[n].parameter->count;
        for (size_t i = 0; i < normals[n].parameter->count; i++) {
            double value = value_at(model, normals[n].parameter, i);
            sum += value;
            squares += value * value;
        }
        /* five standard errors: of the mean std/sqrt(n), of the variance std^2 sqrt(2/n) */
        expect_close(sum / count, 0.0, 5.0 * normals[n].std / sqrt(count));
        expect_close(squares / count, normals[n].std * normals[n].std,
                     5.0 * normals[n].std * normals[n].std * sqrt(2.0 / count));
    }
    expect_close(value_at(model, layer->ln_1.weight, 3), 1.0, 0.0);
    expect_close(value_at(model, layer->compress.weight, 5), 0.25, 0.0);
    expect_close(value_at(model, model->readout.read, 3), 0.25, 0.0);
    expect_close(value_at(model, model->input.weight, 3), 1.0, 0.0);
    expect_close(value_at(model, model->input.weight, 4), 0.0, 0.0);
    /* 2 sigmoid(b) = 0.5: log and exp to an ulp each, conditioned by |b| < 2 */
    double bias = value_at(model, ds_delta_weights_of(layer, 1)->beta_bias, 0);
    expect_close(2.0 / (1.0 + exp(-bias)), 0.5, 8.0 * 0x1p-53);
    for (size_t j = 0; j < 4; j++)
        expect_close(value_at(model, ds_delta_weights_of(layer, 1)->value_bias, j), 0.0, 1.0 / sqrt(768.0));
    ds_model_free(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_holds_what_double_holds),
        cmocka_unit_test(typed_pointers_reach_every_parameter_once),
        cmocka_unit_test(refresh_follows_changed_weights),
        cmocka_unit_test(names_the_first_number_that_is_not_finite),
        cmocka_unit_test(a_double_too_large_for_float_is_refused_in_float_only),
        cmocka_unit_test(a_stored_head_must_be_the_embedding),
        cmocka_unit_test(other_heads_are_told_apart),
        cmocka_unit_test(the_survey_lists_counts_and_sums),
        cmocka_unit_test(random_weights_depend_on_the_seed_alone),
        cmocka_unit_test(starts_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
