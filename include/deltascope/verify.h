/* verify: the paper's statements, and our own arithmetic, as checks on a checkpoint and a piece of data.
 *
 * Every check states a claim and its source, measures an error and compares it with a tolerance derived from the arithmetic: a
 * bound that is carried through the same operations, or one measured in the same run (LAPACK's residuals, samples of what
 * rounding does). src/verify/README.md lists them. A check passes when measured <= tolerance; a NaN fails.
 *
 * Identities of the update and invariances are checked in the precision of the run and again in double; derivatives and the
 * second computation of the whole model in double. */
#ifndef DELTASCOPE_VERIFY_H
#define DELTASCOPE_VERIFY_H

#include "deltascope/base.h"
#include "deltascope/io.h"
#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

typedef enum ds_check_status { DS_CHECK_PASS, DS_CHECK_FAIL, DS_CHECK_SKIP } ds_check_status;
const char *ds_check_status_name(ds_check_status status); /* "pass", "fail", "skip" */

/* The table of checks; an index counts from 0. */
size_t ds_check_count(void);
const char *ds_check_id(size_t index);     /* "update.contraction" */
const char *ds_check_claim(size_t index);  /* one sentence without a full stop */
const char *ds_check_source(size_t index); /* the statement in the paper, or the heading in the model's definition */

typedef struct ds_check_result {
    ds_check_status status;
    double measured, tolerance; /* the worst comparison, in the scale of the largest tolerance; NaN for a skip */
    char detail[256];           /* of a skip the reason; otherwise what else was measured, or "" */
} ds_check_result;

/* What is verified. `model` is what a run computes with; `exact` has the same weights in double (it may be the same model).
 * Checks change weights and put them back, bit for bit; so the models are not const. */
typedef struct ds_verify ds_verify;

/* Borrows the models; copies of the batch. Of the batch only the first two windows are used, and of those so many tokens that
 * one pass takes at most 5e10 floating-point operations, the plain second computation 1e10, all differences of the gradient
 * checks 2e11 and those along single entries 5e10, but at least 4 tokens, and then one entry of a tensor instead of four: small
 * models are verified on whole windows, the reported sizes within minutes. With one
 * window a second is made of it, read backwards. */
ds_status ds_verify_new(ds_verify **out, ds_model *model, ds_model *exact, const ds_batch *batch, uint64_t seed) DS_MUST_CHECK;
void ds_verify_free(ds_verify **verify); /* sets NULL; NULL is fine */
ds_status ds_verify_check(ds_check_result *result, ds_verify *verify, size_t index) DS_MUST_CHECK;

/* ---- what another framework computed ----------------------------------------------------------------------------------
 *
 * A safetensors file with any of
 *   logits          (B,T,V)
 *   loss            () or (1): mean cross entropy over the B T targets
 *   states.N        (B,T,d,dv), or (B,T,d) where the state is scalar: X_N, N = 0 ... S
 *   grad.PARAMETER  the parameter's shape: derivative of loss
 * for the first B windows of T tokens of the run's data. */

typedef struct ds_reference ds_reference;
/* Opens and compares names and shapes with the model: DS_ERR_INPUT naming the tensor, found and expected. */
ds_status ds_reference_open(ds_reference **out, const char *path, const ds_model *model) DS_MUST_CHECK;
void ds_reference_close(ds_reference **reference);                          /* sets NULL; NULL is fine */
size_t ds_reference_count(const ds_reference *reference);                   /* tensors to compare */
const char *ds_reference_name(const ds_reference *reference, size_t index); /* "states.3" */
/* B and T; 0, 0 when only loss or gradients are given, which may be of any batch. */
void ds_reference_windows(const ds_reference *reference, size_t *sequences, size_t *length);

/* SHA-256 of the file, once it has been compared. */
const char *ds_reference_sha256(const ds_reference *reference);

/* results (count). Both models have the checkpoint's weights in double; those of `moved` are multiplied by 1 +- e, e tiny,
 * signs at random: how far that moves a tensor, divided by e, is how far one rounding may. The tolerance is that number,
 * plus the tensor's largest, times the roundoff of the element type stored, times the roundings of a chain through the
 * model, forward and backward. detail names the worst element. */
ds_status ds_reference_compare(ds_check_result *results, ds_reference *reference, const ds_model *model, ds_model *moved,
                               const ds_batch *batch, uint64_t seed) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
