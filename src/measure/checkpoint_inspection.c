#include "deltascope/measure/checkpoint_inspection.h"

#include <inttypes.h>
#include <string.h>

#include "deltascope/measure/inspection_notes.h"

/* ---- measuring --------------------------------------------------------------------------------------------------- */

ds_status ds_inspect_measure(ds_inspection *out, ds_run *run) {
    ds_status status = DS_OK;
    *out = (ds_inspection){.checkpoint = run->checkpoint, .length = run->length, .precision = run->options.precision};
    DS_TRY(ds_survey_new(&out->survey, run->checkpoint, run->options.precision));
    DS_TRY(ds_inspection_notes(&out->notes, out->survey));
done:
    return status;
}

void ds_inspect_release(ds_inspection *inspection) {
    ds_survey_free(&inspection->survey);
    *inspection = (ds_inspection){.survey = NULL};
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* What a tensor is for; NULL when it is not used. */
static const char *role_of(const ds_tensor_health *health) {
    if (health->head) return "output head";
    return health->parameter == NULL ? NULL : health->parameter->role;
}

static void put_tensors(ds_json_builder *b, const ds_survey *survey) {
    ds_json_begin_array(b, "tensors");
    for (size_t i = 0; i < survey->count; i++) {
        const ds_tensor_health *health = &survey->tensors[i];
        const ds_tensor *tensor = health->tensor;
        char crc[16];
        (void)snprintf(crc, sizeof crc, "%08" PRIx32, health->crc32);
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "name", tensor->name);
        if (strcmp(tensor->name, tensor->stored_name) != 0) ds_json_put_text(b, "stored_name", tensor->stored_name);
        ds_json_put_text(b, "dtype", tensor->dtype_name);
        ds_json_put_counts(b, "shape", tensor->shape, tensor->rank);
        ds_json_put_text(b, "role", role_of(health));
        ds_json_put_text(b, "group", health->parameter == NULL ? NULL : ds_group_name(health->parameter->group));
        ds_json_put_text(b, "crc32_f32", health->readable ? crc : NULL);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "unused");
    for (size_t i = 0; i < survey->count; i++) {
        if (role_of(&survey->tensors[i]) == NULL) ds_json_put_text(b, NULL, survey->tensors[i].tensor->name);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "health");
    for (size_t i = 0; i < survey->count; i++) {
        const ds_tensor_health *health = &survey->tensors[i];
        if (!health->readable) continue;
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "tensor", health->tensor->name);
        ds_json_put_count(b, "nan", health->nan);
        ds_json_put_count(b, "inf", health->inf);
        ds_json_put_count(b, "zero_rows", health->zero_rows);
        ds_json_end(b);
    }
    ds_json_end(b);
}

static void put_specification(ds_json_builder *b, const ds_spec *spec) {
    ds_json_begin_object(b, "specification");
    ds_json_put_text(b, "variant", ds_spec_variant(spec));
    ds_json_put_text(b, "names", spec->newer_names ? "newer" : "older");
    ds_json_put_count(b, "head_dim", spec->head_dim);
    ds_json_put_count(b, "mlp_hidden", spec->mlp_hidden);
    ds_json_put_count(b, "block_size", spec->block_size);
    ds_json_put_count(b, "rotary_dim", spec->rotary_dim);
    ds_json_put_count(b, "state_kernel", spec->state_kernel);
    ds_json_put_count(b, "input_kernel", spec->input_kernel);
    ds_json_put_bool(b, "gate_two_layer", spec->gate_two_layer);
    ds_json_put_real(b, "k_eps", spec->k_eps);
    ds_json_put_real(b, "residual_mult", spec->residual_mult);
    ds_json_put_real(b, "logit_scale", spec->logit_scale);
    ds_json_end(b);
}

static void put_parameters(ds_json_builder *b, const ds_survey *survey) {
    ds_json_begin_object(b, "parameters");
    ds_json_put_count(b, "total", survey->total);
    for (size_t g = 0; g < DS_GROUP_COUNT; g++) ds_json_put_count(b, ds_group_name((ds_group)g), survey->groups[g]);
    ds_json_end(b);
}

/* state_bytes: of the residual state one token carries through the layers. */
static void put_cost(ds_json_builder *b, const ds_spec *spec, size_t length, ds_precision precision) {
    double forward = ds_spec_forward_flops_per_token(spec, length);
    ds_json_begin_object(b, "cost");
    ds_json_put_count(b, "seq_len", length);
    ds_json_put_real(b, "forward_flops_per_token", forward);
    ds_json_put_real(b, "training_flops_per_token", 3.0 * forward);
    ds_json_put_real(b, "rule_flops_per_token", ds_spec_rule_flops_per_token(spec));
    ds_json_put_count(b, "state_bytes_per_token", (uint64_t)spec->hidden * ds_spec_planes(spec) * ds_precision_size(precision));
    ds_json_end(b);
}

static void put_origin(ds_json_builder *b, const ds_checkpoint *checkpoint, ds_head_tie head) {
    static const char *const heads[] = {[DS_HEAD_ABSENT] = "absent",
                                        [DS_HEAD_SHARED] = "shared",
                                        [DS_HEAD_EQUAL] = "equal",
                                        [DS_HEAD_DIFFERENT] = "different",
                                        [DS_HEAD_OWN] = "own"};
    ds_json_put_text(b, "format", ds_checkpoint_format(checkpoint));
    ds_json_begin_array(b, "files");
    for (size_t i = 0; i < ds_checkpoint_files(checkpoint); i++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "path", ds_checkpoint_file(checkpoint, i));
        ds_json_put_text(b, "sha256", ds_checkpoint_file_sha256(checkpoint, i));
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_put_text(b, "tied_head", heads[head]);
}

static void put_notes(ds_json_builder *b, const ds_notes *notes) {
    ds_json_begin_array(b, "notes");
    for (size_t i = 0; i < notes->count; i++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "topic", notes->notes[i].topic);
        ds_json_put_text(b, "text", notes->notes[i].text);
        ds_json_end(b);
    }
    ds_json_end(b);
}

ds_status ds_inspect_json(json_t **results, const ds_inspection *inspection) {
    const ds_survey *survey = inspection->survey;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    put_tensors(&b, survey);
    put_parameters(&b, survey);
    put_cost(&b, &survey->spec, inspection->length, inspection->precision);
    put_specification(&b, &survey->spec);
    put_origin(&b, inspection->checkpoint, survey->head);
    put_notes(&b, &inspection->notes);
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

ds_status ds_inspect_results(json_t **options_json, json_t **results, ds_run *run) {
    ds_status status = DS_OK;
    ds_inspection inspection = {.survey = NULL};
    ds_json_builder none = {0};
    *options_json = *results = NULL;
    ds_json_begin_object(&none, NULL);
    ds_json_end(&none);
    DS_TRY(ds_json_finish(options_json, &none));
    DS_TRY(ds_inspect_measure(&inspection, run));
    DS_TRY(ds_inspect_json(results, &inspection));
done:
    ds_inspect_release(&inspection);
    return status;
}
