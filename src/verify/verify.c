/* The table of checks, and what a verification holds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

static const struct {
    const char *id, *claim, *source;
    enum { ANY, DELTA, DEPTH, STREAMS } about; /* any rule, or what only some have: the delta update, a history, streams */
    ds_status (*run)(ds_check_result *result, ds_verify *v);
} checks[] = {
    {"operator.spectrum", "the frozen shortcut A has the eigenvalue 1 − b once and 1 otherwise (LAPACK)",
     "paper, Proposition 2.1; model, Delta update", DELTA, ds_check_spectrum},
    {"operator.determinant", "det A = 1 − b (LU factorisation)", "paper, Proposition 2.1", DELTA, ds_check_determinant},
    {"operator.lift", "on the state of d dv numbers A has determinant (1 − b)^dv (LU factorisation)",
     "paper, Proposition 2.1, lifted; model, Delta update", DELTA, ds_check_lift},
    {"operator.orthogonality", "‖AᵀA − I‖₂ = |(1 − b)² − 1|: A is orthogonal only at b = 0 and 2",
     "paper, Proposition 2.1; model, differences", DELTA, ds_check_orthogonality},
    {"product.determinant", "over depth the singular values multiply to the product of |1 − b_s|",
     "paper, Proposition 2.1, multiplied", DELTA, ds_check_product_determinant},
    {"product.norm", "over depth ‖A_S-1 … A_0‖₂ is at most the product of max(1, |1 − b_s|)",
     "paper, Proposition 2.1, multiplied", DELTA, ds_check_product_norm},
    {"update.overwrite", "with β = 1/m what is read along k becomes v up to 1 − ‖k‖²", "paper, Eq. 2.3", DELTA,
     ds_check_overwrite},
    {"update.contraction", "kᵀX − v shrinks by 1 − m β ‖k‖², every token", "paper, Eq. 2.4", DELTA, ds_check_contraction},
    {"update.rank", "the edit of the expanded state has rank 1", "model, Delta update", DELTA, ds_check_rank},
    {"update.complement", "nothing orthogonal to k is touched", "paper, Proposition 2.1", DELTA, ds_check_complement},
    {"update.direction", "‖k‖² is what is reported, and at most 1", "model, Delta update", DELTA, ds_check_direction},
    {"update.gate", "every gate is in (0,2), up to the rounding of the sigmoid", "model, Delta update", DELTA,
     ds_check_gate_range},
    {"update.closed", "a closed gate leaves the state as it is, bit for bit", "paper, Proposition 2.1 at β = 0", ANY,
     ds_check_closed},
    {"pass.causality", "changing a later token changes no earlier state, bit for bit", "model, Attention", ANY,
     ds_check_causality},
    {"pass.batch", "a window gives the same bits alone as beside another", "our arithmetic", ANY, ds_check_batch},
    {"pass.threads", "1 thread and 3 give the same bits", "our arithmetic", ANY, ds_check_threads},
    {"pass.precision", "the float pass agrees with the double pass, stage by stage", "our arithmetic", ANY, ds_check_precision},
    {"head.probabilities", "exp(-loss) makes every token's probabilities sum to 1", "model, Forward pass", ANY,
     ds_check_probabilities},
    {"second.embedding", "X_0 agrees with a second computation by plain loops", "model, Forward pass, Compressors EC", ANY,
     ds_check_embedding},
    {"second.sublayers", "every sublayer agrees with a second computation by plain loops",
     "model, Delta update, Attention, Compressors", ANY, ds_check_sublayers},
    {"second.readout", "readout and final norm agree with a second computation", "model, Forward pass", ANY, ds_check_readout},
    {"second.logits", "logits and loss agree with a second computation", "model, Forward pass", ANY, ds_check_logits},
    {"gradient.parameters", "gradients of every parameter tensor agree with extrapolated central differences of the loss",
     "derivative of the model, Forward pass", ANY, ds_check_parameter_gradients},
    {"gradient.states", "gradients of every residual state X_0 … X_S agree with extrapolated central differences",
     "derivative of the model, Forward pass", ANY, ds_check_state_gradients},
    {"gradient.entries",
     "single entries of every parameter tensor and residual state, that of the largest gradient first, have the derivative of "
     "extrapolated central differences along them alone",
     "derivative of the model, Forward pass", ANY, ds_check_gradient_entries},
    {"gradient.adjoint", "<J v, w> = <v, Jᵀ w>: forward and reverse mode are each other's adjoint", "definition of the adjoint",
     ANY, ds_check_adjoint},
    {"gradient.paths", "shortcut, direction, gate and value parts of each state's gradient add up to it",
     "derivative of the model, Delta update", ANY, ds_check_paths},
    {"gradient.threads", "1 thread and 3 give the same parameter gradients, bit for bit", "our arithmetic", ANY,
     ds_check_gradient_threads},
    {"gradient.dead", "parameters that the loss cannot depend on have gradients of 0",
     "a factor that is 0, a softmax over one number", ANY, ds_check_dead_gradients},
    {"training.update", "three updates of AdamW, clipped, are what its formulas make of weights, moments and gradient",
     "training, One update", ANY, ds_check_training_update},
    {"training.resume", "an update from kept weights and moments has the bits of the unbroken run, on 1 thread and on 3",
     "our arithmetic", ANY, ds_check_training_resume},
    {"training.descent", "a small update changes the loss by what the gradient says of it: it falls",
     "derivative of the model, One update", ANY, ds_check_training_descent},
    {"form.value", "v comes from x_in through a sigmoid, as in the code, not linearly from the context, as in the paper",
     "model, differences", DELTA, ds_check_value_form},
    {"form.epsilon", "fused kernels' ddl_k_eps sqrt(d) turns ‖k‖² = q into q / (q + d (1 − q))", "model, differences", DELTA,
     ds_check_fused_epsilon},
    {"depth.mixing", "what a read gives is the sum of all outputs so far, each with the weight that is told of it",
     "attention over depth, the depth-mixing matrix", DEPTH, ds_check_depth_mixing},
    {"depth.weights", "no weight of a read is negative, and where sources are single outputs they add up to 1",
     "attention over depth, the depth read", DEPTH, ds_check_depth_weights},
    {"depth.uniform", "with equal weights a read is a multiple of the plain residual sum", "attention over depth, identities",
     DEPTH, ds_check_depth_uniform},
    {"depth.slots", "a closed sublayer loses its place in the softmax, and the other weights keep their proportions",
     "attention over depth, forced reads", DEPTH, ds_check_depth_slots},
    {"streams.reads", "what is read of streams is the sum of all outputs so far, with the weights pre R … R post",
     "parallel streams, the depth-mixing matrix", STREAMS, ds_check_stream_reads},
    {"streams.sums", "R is not negative, and its sums are 1 on the side that its rule ends on", "parallel streams, Sinkhorn",
     STREAMS, ds_check_stream_sums},
    {"streams.products", "streams that nothing is written to end as R_S-1 … R_0 makes them, whose exact sums are 1 too",
     "parallel streams, composite mapping", STREAMS, ds_check_stream_products},
};

size_t ds_check_count(void) { return sizeof checks / sizeof checks[0]; }
const char *ds_check_id(size_t index) { return checks[index].id; }
const char *ds_check_claim(size_t index) { return checks[index].claim; }
const char *ds_check_source(size_t index) { return checks[index].source; }

const char *ds_check_status_name(ds_check_status status) {
    static const char *const names[] = {"pass", "fail", "skip"};
    return names[status];
}

/* What statements about the delta update take for granted, by the beginning of their names: a control may lack it. */
static const struct {
    const char *start;
    bool erase, write, gate;
} premises[] = {
    {"operator.", true, false, false},         {"product.", true, false, false},    {"update.overwrite", true, true, false},
    {"update.contraction", true, true, false}, {"update.gate", false, false, true},
};

/* Why a statement is none about this control; NULL: it is one. */
static const char *why_not(const ds_spec *spec, const char *id) {
    for (size_t i = 0; i < sizeof premises / sizeof *premises; i++) {
        if (strncmp(id, premises[i].start, strlen(premises[i].start)) != 0) continue;
        for (size_t half = 0; half < 2; half++) {
            unsigned mode = spec->trained[half].mode;
            if (premises[i].erase && mode == DS_FORCE_WRITE_ONLY) return "a write-only model erases nothing";
            if (premises[i].write && mode == DS_FORCE_ERASE_ONLY) return "an erase-only model writes nothing";
            if (premises[i].gate && (mode == DS_FORCE_GATE || mode == DS_FORCE_CLOSED)) return "the model's gates are fixed";
        }
    }
    return NULL;
}

/* ---- results ----------------------------------------------------------------------------------------------------------- */

/* A NaN compares false and gets an infinite ratio. */
void ds_worst_add(ds_worst *worst, double measured, double tolerance) {
    double ratio = INFINITY;
    if (measured <= tolerance) ratio = measured == 0 ? 0 : measured / tolerance;
    if (measured > tolerance && tolerance > 0) ratio = measured / tolerance;
    if (tolerance > worst->largest && tolerance < INFINITY) worst->largest = tolerance;
    if (worst->count++ > 0 && !(ratio > worst->ratio)) return;
    worst->measured = measured;
    worst->tolerance = tolerance;
    worst->ratio = ratio;
}

void ds_worst_report(ds_check_result *result, const ds_worst *worst) {
    if (worst->count == 0) {
        ds_check_skip(result, "there was nothing to compare");
        return;
    }
    result->measured = worst->measured;
    result->tolerance = worst->tolerance;
    result->status = worst->measured <= worst->tolerance ? DS_CHECK_PASS : DS_CHECK_FAIL;
    if (result->status == DS_CHECK_FAIL || worst->largest == 0) return;
    result->measured = worst->ratio * worst->largest; /* at most the tolerance: a ratio of at most 1 rounds to at most 1 */
    result->tolerance = worst->largest;
}

void ds_check_skip(ds_check_result *result, const char *reason) {
    *result = (ds_check_result){.status = DS_CHECK_SKIP, .measured = NAN, .tolerance = NAN};
    (void)snprintf(result->detail, sizeof result->detail, "%s", reason);
}

/* Why a statement is none about this rule; NULL: it is one. */
static const char *what_it_lacks(const ds_spec *spec, size_t index) {
    static const char *const no_update[] = {[DS_KIND_ADDITIVE] = "the additive baseline has no delta update",
                                            [DS_KIND_DEPTH] = "attention over depth has no delta update",
                                            [DS_KIND_STREAMS] = "parallel streams have no delta update"};
    ds_rule_kind kind = ds_rule_kind_of(spec->rule);
    if (checks[index].about == DEPTH && kind != DS_KIND_DEPTH) return "its sublayers read one state and choose from nothing";
    if (checks[index].about == STREAMS && kind != DS_KIND_STREAMS) return "it has no parallel streams";
    return checks[index].about == DELTA ? no_update[kind] : NULL;
}

ds_status ds_verify_check(ds_check_result *result, ds_verify *verify, size_t index) {
    *result = (ds_check_result){.status = DS_CHECK_FAIL, .measured = NAN, .tolerance = NAN};
    const char *lacking = what_it_lacks(verify->spec, index);
    if (lacking != NULL) {
        ds_check_skip(result, lacking);
        return DS_OK;
    }
    const char *reason = checks[index].about == DELTA ? why_not(verify->spec, checks[index].id) : NULL;
    if (reason == NULL) return checks[index].run(result, verify);
    ds_check_skip(result, reason);
    return DS_OK;
}

/* ---- the data ---------------------------------------------------------------------------------------------------------- */

/* Tokens a window may have so that a pass over two costs at most `operations`. */
static size_t affordable(const ds_spec *spec, size_t length, double operations) {
    const size_t least = 4;
    double tokens = operations / (2 * ds_spec_forward_flops_per_token(spec, length));
    if (!(tokens < (double)length)) return length;
    return ds_min_size(length, ds_max_size((size_t)tokens, least));
}

static ds_status cut(ds_cut *out, const ds_batch *batch, size_t length) {
    ds_status status = DS_OK;
    const size_t windows = 2;
    DS_NEW(out->tokens, windows * length);
    DS_NEW(out->targets, windows * length);
    memcpy(out->tokens, batch->tokens, length * sizeof *out->tokens);
    memcpy(out->targets, batch->targets, length * sizeof *out->targets);
    for (size_t t = 0; t < length; t++) {
        bool second = batch->sequences > 1;
        out->tokens[length + t] = second ? batch->tokens[batch->length + t] : batch->targets[length - 1 - t];
        out->targets[length + t] = second ? batch->targets[batch->length + t] : batch->tokens[length - 1 - t];
    }
    out->batch = (ds_batch){out->tokens, out->targets, windows, length};
done:
    return status;
}

static void release_cut(ds_cut *cut) {
    free(cut->tokens);
    free(cut->targets);
}

ds_status ds_verify_new(ds_verify **out, ds_model *model, ds_model *exact, const ds_batch *batch, uint64_t seed) {
    ds_status status = DS_OK;
    ds_verify *v = NULL;
    const ds_spec *spec = ds_model_spec(model);
    double differences = 8 * (double)(ds_model_parameters(model) + ds_spec_sublayers(spec) + 1); /* passes */
    *out = NULL;
    if (ds_model_precision(exact) != DS_F64)
        return ds_fail(DS_ERR_USAGE, "the second model of a verification has to be in double");
    DS_NEW(v, 1);
    v->spec = spec;
    v->seed = seed;
    v->loss_rounding[0] = v->loss_rounding[1] = -1;
    v->side_count = model == exact ? 1 : 2;
    DS_TRY(cut(&v->wide, batch, affordable(spec, batch->length, 5e10)));
    DS_TRY(cut(&v->narrow, batch, affordable(spec, batch->length, 1e10)));
    DS_TRY(cut(&v->brief, batch, affordable(spec, batch->length, 2e11 / differences)));
    const double most_entries = 4;
    size_t spot = affordable(spec, v->brief.batch.length, 5e10 / (differences * most_entries));
    DS_TRY(cut(&v->spot, &v->brief.batch, spot));
    double work = 2 * (double)spot * ds_spec_forward_flops_per_token(spec, spot) * differences * most_entries;
    v->entries = work <= 2e11 ? (size_t)most_entries : 1;
    for (size_t i = 0; i < v->side_count; i++) {
        ds_precision precision = i == 0 ? ds_model_precision(model) : DS_F64;
        v->sides[i] = (ds_side){i == 0 ? model : exact, NULL, precision, ds_unit_roundoff(precision)};
        DS_TRY(ds_workspace_new(&v->sides[i].workspace, v->sides[i].model, 2, v->wide.batch.length));
    }
    *out = v;
    v = NULL;
done:
    ds_verify_free(&v);
    return status;
}

void ds_verify_free(ds_verify **verify) {
    ds_verify *v = *verify;
    if (v == NULL) return;
    for (size_t i = 0; i < v->side_count; i++) ds_workspace_free(&v->sides[i].workspace);
    release_cut(&v->wide);
    release_cut(&v->narrow);
    release_cut(&v->brief);
    release_cut(&v->spot);
    free(v);
    *verify = NULL;
}
