#include "deltascope/measure/inspection_notes.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

bool ds_zero_rows_are_odd(const char *tensor) {
    const char *suffix = ".bias";
    size_t length = strlen(tensor), least = strlen(suffix);
    return length < least || strcmp(tensor + length - least, suffix) != 0;
}

static void note(ds_notes *notes, const char *topic, const char *format, ...) DS_PRINTF(3, 4);
static void note(ds_notes *notes, const char *topic, const char *format, ...) {
    if (notes->count == DS_MOST_NOTES) return;
    ds_note *next = &notes->notes[notes->count++];
    next->topic = topic;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(next->text, sizeof next->text, format, arguments);
    va_end(arguments);
}

/* Names of up to three of the tensors `chosen` picks, then how many more there are. */
typedef bool (*tensor_test)(const ds_tensor_health *health);
static size_t list(char text[400], const ds_survey *survey, tensor_test chosen) {
    size_t count = 0, used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < survey->count; i++) {
        if (!chosen(&survey->tensors[i]) || ++count > 3) continue;
        const char *name = survey->tensors[i].tensor->name;
        int written = snprintf(text + used, 110, "%s%.90s", count == 1 ? "" : ", ", DS_SHOW(name));
        used += ds_min_size(written < 0 ? 0 : (size_t)written, 109);
    }
    if (count > 3) (void)snprintf(text + used, 40, " and %zu more", count - 3);
    return count;
}

static bool has_nan(const ds_tensor_health *health) { return health->nan != 0; }
static bool has_inf(const ds_tensor_health *health) { return health->inf != 0; }
static bool has_odd_zeros(const ds_tensor_health *health) {
    return health->zero_rows != 0 && ds_zero_rows_are_odd(health->tensor->name);
}
static bool is_unused(const ds_tensor_health *health) { return health->parameter == NULL && !health->head; }
static bool was_wrapped(const ds_tensor_health *health) {
    return strcmp(health->tensor->name, health->tensor->stored_name) != 0;
}

static void note_weights(ds_notes *notes, const ds_survey *survey) {
    char names[400];
    if (list(names, survey, has_nan) != 0)
        note(notes, "weights", "NaN in %s; every other command refuses such weights.", names);
    if (list(names, survey, has_inf) != 0)
        note(notes, "weights", "Infinity in %s; every other command refuses such weights.", names);
    if (list(names, survey, has_odd_zeros) != 0) note(notes, "weights", "Rows that are zero throughout: %s.", names);
    if (survey->head == DS_HEAD_DIFFERENT)
        note(notes, "weights", "lm_head.weight differs from %s, but the model is tied; every other command refuses it.",
             DS_SHOW(survey->tensors[0].tensor->name));
    const char *dtype = NULL, *other = NULL;
    for (size_t i = 0; i < survey->count; i++) {
        const ds_tensor_health *health = &survey->tensors[i];
        if (health->parameter == NULL) continue;
        if (dtype == NULL) dtype = health->tensor->dtype_name;
        if (strcmp(dtype, health->tensor->dtype_name) != 0) other = health->tensor->dtype_name;
    }
    if (other != NULL) note(notes, "weights", "Parameters are stored in different types, among them %s and %s.", dtype, other);
}

static void note_names(ds_notes *notes, const ds_survey *survey) {
    char names[400];
    size_t count = list(names, survey, is_unused);
    if (count != 0) note(notes, "names", "%zu tensor%s this configuration does not use: %s.", count, ds_plural(count), names);
    count = list(names, survey, was_wrapped);
    if (count != 0)
        note(notes, "names",
             "%zu name%s stored otherwise: what wrappers and enclosing modules add was taken off, or a map renamed them.",
             count, ds_plural(count));
}

static void note_configuration(ds_notes *notes, const ds_spec *spec) {
    size_t width = spec->heads * spec->head_dim, usual = (size_t)floor(8.0 / 3.0 * (double)spec->hidden);
    const bool published = spec->backbone == &ds_backbone_ddl;
    if (!published)
        note(notes, "configuration", "%s: %s.", spec->rule == &ds_rule_additive ? "A plain transformer" : "The transformer",
             ds_spec_backbone_name(spec));
    if (!ds_spec_is_published(spec))
        note(notes, "configuration",
             "No published code has %s on backbone %s: what this model shows is of that combination, not of the models that "
             "the rule's authors train.",
             ds_spec_variant(spec), ds_spec_backbone_name(spec));
    if (ds_spec_kv_heads(spec) != spec->heads)
        note(notes, "configuration", "Keys and values have %zu heads, each of which serves %zu query heads.",
             ds_spec_kv_heads(spec), spec->heads / ds_spec_kv_heads(spec));
    if (width != spec->hidden)
        note(notes, "configuration", "Heads span %zu × %zu = %zu numbers, the hidden size is %zu.", spec->heads, spec->head_dim,
             width, spec->hidden);
    if (published && spec->mlp_hidden != usual)
        note(notes, "configuration", "The MLP is %zu wide, not floor(8/3 * %zu) = %zu.", spec->mlp_hidden, spec->hidden, usual);
    if (spec->positions > 0) note(notes, "configuration", "Positions are learned, %zu of them.", spec->positions);
    if (spec->positions == 0 && spec->rotary_dim != spec->head_dim)
        note(notes, "configuration", "Rotary positions turn %zu of %zu numbers of a head.", spec->rotary_dim, spec->head_dim);
    if (spec->residual_mult != 1.0)
        note(notes, "configuration", "Every residual update is multiplied by m = %.17g: the moved eigenvalue is 1 − m β ‖k‖².",
             spec->residual_mult);
    if (spec->logit_scale != 1.0) note(notes, "configuration", "Logits are multiplied by %.17g (muP).", spec->logit_scale);
    if (spec->k_eps == 0.0 && spec->rule == &ds_rule_delta)
        note(notes, "configuration", "ddl_k_eps is 0: a sublayer output of exactly zero has no direction.");
}

/* MODEL.md "Where the published code and the paper's text differ". */
static void note_paper(ds_notes *notes, const ds_spec *spec) {
    if (spec->rule != &ds_rule_delta) return;
    if (!spec->value_constant && spec->value_sigmoid)
        note(notes, "paper",
             "The paper writes v = W_v c with c the normalised context; the published code, and this model, feeds the state "
             "read before normalisation and squashes it to (0, %g).",
             spec->value_scale);
    if (!spec->value_constant && !spec->value_sigmoid)
        note(notes, "paper",
             "The paper writes v = W_v c with c the normalised context; the published code, and this model, feeds the state "
             "read before normalisation.");
    if (spec->compressor == DS_COMPRESS_CC)
        note(notes, "paper",
             "The paper's channel compressor mixes freely with a (d, dv) matrix; the code's is a convolution whose %zu taps "
             "are shared along the %zu channels, folded with the read vector.",
             spec->state_kernel, spec->value_channels);
    if (!spec->newer_names)
        note(notes, "paper",
             "The fused GPU kernels of the older code normalise k with epsilon ddl_k_eps * sqrt(d) = %.3g, the reference "
             "code with %.3g: where a sublayer's output is small, ‖k‖² and the eigenvalue of a run on such kernels differ "
             "slightly.",
             spec->k_eps * sqrt((double)spec->hidden), spec->k_eps);
    note(notes, "paper",
         "A is orthogonal only where m β ‖k‖² is 0 or 2; with β = 2 sigmoid(.) and ‖k‖ < 1 it never is exactly.");
}

void ds_inspection_notes(ds_notes *notes, const ds_survey *survey) {
    notes->count = 0;
    note_weights(notes, survey);
    note_names(notes, survey);
    note_configuration(notes, &survey->spec);
    note_paper(notes, &survey->spec);
}
