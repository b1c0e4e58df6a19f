#include "deltascope/measure/inspection_notes.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
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
    const bool plain = ds_rule_kind_of(spec->rule) == DS_KIND_ADDITIVE;
    const size_t shared = ds_spec_kv_heads(spec);
    if (!published)
        note(notes, "configuration", "%s: %s.", plain ? "A plain transformer" : "The transformer around the rule",
             ds_spec_backbone_name(spec));
    if (!ds_spec_is_published(spec))
        note(notes, "configuration",
             "No published code has %s on backbone %s: what this model shows is of that combination, not of the models that "
             "the rule's authors train.",
             ds_spec_variant(spec), ds_spec_backbone_name(spec));
    if (shared != spec->heads)
        note(notes, "configuration", "Keys and values have %zu head%s, each of which serves %zu query heads.", shared,
             ds_plural(shared), spec->heads / shared);
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

/* ---- what is to be known of a rule ------------------------------------------------------------------------------------ */

typedef struct rule_note {
    const char *rule, *text;
} rule_note;
static const rule_note rule_notes[] = {
    {"attnres-cumulative-full",
     "The sum so far stands twice among the sources, as the one stored last and as the one that grows: two share its weight."},
    {"attnres-cumulative-block",
     "At the first read of a block the sum so far stands twice among the sources, as the one stored last and as the one that "
     "grows: two share its weight."},
    {"delta-attnres-block",
     "The published code stores B_k = P - B_{k-1} for each block: a source is an alternating sum over blocks, not what one "
     "block added, as the paper has it. No file tells which was meant; what is computed here is what the code does."},
    {"hc", "The same tensors are hc, where R mixes the streams, or hc-identity, where the code makes R and leaves it out, as a "
           "widely copied library did for a year: the layout of the file decided for hc; deltascope_rule in the configuration "
           "overrides it."},
    {"hc-identity",
     "The published code makes R and leaves it out: the streams stay apart, and what the file holds for R has no effect. The "
     "same tensors under other names are hc; deltascope_rule in the configuration overrides what the layout says."},
    {"mhc",
     "Sinkhorn ends on what a stream sends out, so that this adds up to 1 exactly and the backward gain is 1; what a stream "
     "receives does as far as its rounds lead, and the forward gain measures the defect."},
    {"mhc-lite",
     "R is a mixture of permutations: what a stream sends out and what it receives both add up to 1 exactly, and both gains "
     "are 1."},
};

static void note_stochasticity(ds_notes *notes, const ds_spec *spec) {
    const ds_stream_spec *streams = &spec->streams;
    const double smallest = 103.3, started = 8; /* -ln of the smallest number of F32; between logits of R at the start */
    if (streams->orthostochastic) {
        note(notes, "rule",
             "R holds the squares of a matrix that %zu steps of Newton-Schulz bring near an orthogonal one: neither sum is 1 "
             "exactly, and both gains measure the defect.",
             streams->steps);
        return;
    }
    note(notes, "rule",
         "Sinkhorn ends on what a stream receives, so that this adds up to 1 exactly and the forward gain is 1; what a stream "
         "sends out does as far as %zu rounds lead, and the backward gain measures the defect.",
         streams->rounds);
    if (started / streams->temperature > smallest)
        note(notes, "rule",
             "The published code starts logits of R %g apart and divides them by %g: entries beside the diagonal then begin "
             "at e^-%.0f, which F32 does not hold, so that no gradient reaches them. Whether streams mix at all is "
             "off_diagonal of deltascope depth.",
             started, streams->temperature, started / streams->temperature);
}

/* Reads with one source at most: a softmax over one does not depend on its logit. */
static ds_status note_reads(ds_notes *notes, const ds_spec *spec) {
    ds_status status = DS_OK;
    char names[400], name[32];
    size_t count = 0, used = 0;
    for (size_t s = 0; s < ds_spec_sublayers(spec); s++) {
        ds_read_source *sources;
        size_t choices;
        DS_TRY(ds_read_sources(&sources, &choices, spec, s));
        free(sources);
        if (choices > 1 || ++count > 3) continue;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", count == 1 ? "" : ", ", ds_sublayer_name(name, s));
    }
    if (count > 0)
        note(notes, "rule", "%s%s ha%s one source or none: the depth quer%s there ha%s no effect, and no gradient.", names,
             count > 3 ? " and more" : "", count == 1 ? "s" : "ve", count == 1 ? "y" : "ies", count == 1 ? "s" : "ve");
done:
    return status;
}

static ds_status note_rule(ds_notes *notes, const ds_spec *spec) {
    const ds_rule_kind kind = ds_rule_kind_of(spec->rule);
    for (size_t i = 0; i < sizeof rule_notes / sizeof *rule_notes; i++)
        if (strcmp(rule_notes[i].rule, ds_rule_name(spec->rule)) == 0) note(notes, "rule", "%s", rule_notes[i].text);
    if (strcmp(ds_rule_name(spec->rule), "mhc-static") == 0) note_stochasticity(notes, spec);
    return kind == DS_KIND_DEPTH ? note_reads(notes, spec) : DS_OK;
}

ds_status ds_inspection_notes(ds_notes *notes, const ds_survey *survey) {
    notes->count = 0;
    note_weights(notes, survey);
    note_names(notes, survey);
    note_configuration(notes, &survey->spec);
    note_paper(notes, &survey->spec);
    return note_rule(notes, &survey->spec);
}
