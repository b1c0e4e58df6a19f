/* Tensors that someone else's framework computed, against the double model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "deltascope/gradient.h"

typedef enum reference_kind { LOGITS, LOSS, STATE, GRADIENT } reference_kind;

typedef struct reference_tensor {
    const ds_tensor *tensor;
    reference_kind kind;
    size_t index; /* of the state or the parameter */
} reference_tensor;

struct ds_reference {
    ds_checkpoint *file;
    reference_tensor *tensors;
    size_t count, sequences, length;
    const ds_spec *spec;
};

/* ---- names and shapes ---------------------------------------------------------------------------------------------------- */

static ds_status find_state(reference_tensor *out, const ds_reference *r) {
    const char *digits = out->tensor->name + strlen("states.");
    char *end;
    unsigned long long index = strtoull(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || index > ds_spec_sublayers(r->spec))
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s: found no state of that number, expected states.0 to states.%zu",
                       out->tensor->file, DS_SHOW(out->tensor->name), ds_spec_sublayers(r->spec));
    out->kind = STATE;
    out->index = (size_t)index;
    return DS_OK;
}

/* Where the output head is the embedding, its gradient is one tensor under either name. */
static ds_status find_parameter(reference_tensor *out, const ds_model *model) {
    const char *name = out->tensor->name + strlen("grad.");
    if (strcmp(name, "lm_head.weight") == 0 && !ds_model_spec(model)->own_head) name = ds_model_parameter(model, 0)->name;
    out->kind = GRADIENT;
    for (out->index = 0; out->index < ds_model_parameters(model); out->index++) {
        if (strcmp(ds_model_parameter(model, out->index)->name, name) == 0) return DS_OK;
    }
    return ds_fail(DS_ERR_INPUT, "%s: tensor %s: found no parameter of that name in the checkpoint", out->tensor->file,
                   DS_SHOW(out->tensor->name));
}

/* Axes from `first` on are as wanted; 0 stands for any extent. */
static ds_status check_shape(const ds_tensor *tensor, const size_t *wanted, size_t rank) {
    bool fits = tensor->rank == rank;
    for (size_t i = 0; fits && i < rank; i++) fits = wanted[i] == 0 ? tensor->shape[i] > 0 : tensor->shape[i] == wanted[i];
    if (fits) return DS_OK;
    char found[DS_MAX_RANK * 22] = "", expected[DS_MAX_RANK * 22] = "";
    for (size_t i = 0, at = 0; i < tensor->rank; i++)
        at += (size_t)snprintf(found + at, sizeof found - at, "%s%llu", i > 0 ? "," : "", (unsigned long long)tensor->shape[i]);
    for (size_t i = 0, at = 0; i < rank; i++) {
        const char *comma = i > 0 ? "," : "";
        at += (size_t)(wanted[i] == 0 ? snprintf(expected + at, sizeof expected - at, "%s%c", comma, "BT"[i & 1])
                                      : snprintf(expected + at, sizeof expected - at, "%s%zu", comma, wanted[i]));
    }
    return ds_fail(DS_ERR_INPUT, "%s: tensor %s has shape (%s), expected (%s)", tensor->file, DS_SHOW(tensor->name), found,
                   expected);
}

static ds_status check_tensor(ds_reference *r, const reference_tensor *t, const ds_model *model) {
    ds_status status = DS_OK;
    const ds_spec *spec = r->spec;
    const size_t logits[] = {r->sequences, r->length, spec->vocab};
    const size_t state[] = {r->sequences, r->length, spec->hidden, ds_spec_planes(spec)};
    const size_t one[] = {1};
    bool flat = ds_spec_planes(spec) == 1 && t->tensor->rank == 3;
    switch (t->kind) {
    case LOGITS:
        DS_TRY(check_shape(t->tensor, logits, 3));
        break;
    case STATE:
        DS_TRY(check_shape(t->tensor, state, flat ? 3 : 4));
        break;
    case LOSS:
        DS_TRY(check_shape(t->tensor, one, t->tensor->rank == 0 ? 0 : 1));
        return DS_OK;
    case GRADIENT:
        DS_TRY(check_shape(t->tensor, ds_model_parameter(model, t->index)->shape, ds_model_parameter(model, t->index)->rank));
        return DS_OK;
    }
    r->sequences = (size_t)t->tensor->shape[0];
    r->length = (size_t)t->tensor->shape[1];
done:
    return status;
}

static ds_status find_tensor(ds_reference *r, const ds_tensor *tensor, const ds_model *model) {
    ds_status status = DS_OK;
    reference_tensor *t = &r->tensors[r->count];
    *t = (reference_tensor){.tensor = tensor};
    if (strcmp(tensor->name, "logits") == 0)
        t->kind = LOGITS;
    else if (strcmp(tensor->name, "loss") == 0)
        t->kind = LOSS;
    else if (strncmp(tensor->name, "states.", strlen("states.")) == 0)
        DS_TRY(find_state(t, r));
    else if (strncmp(tensor->name, "grad.", strlen("grad.")) == 0)
        DS_TRY(find_parameter(t, model));
    else
        return ds_fail(DS_ERR_INPUT, "%s: found tensor %s, expected logits, loss, states.N and grad.PARAMETER", tensor->file,
                       DS_SHOW(tensor->name));
    if (tensor->dtype == DS_DTYPE_OTHER)
        return ds_fail(DS_ERR_INPUT, "%s: tensor %s has dtype %s, expected a floating one", tensor->file, DS_SHOW(tensor->name),
                       tensor->dtype_name);
    DS_TRY(check_tensor(r, t, model));
    r->count++;
done:
    return status;
}

ds_status ds_reference_open(ds_reference **out, const char *path, const ds_model *model) {
    ds_status status = DS_OK;
    ds_reference *r = NULL;
    *out = NULL;
    DS_NEW(r, 1);
    r->spec = ds_model_spec(model);
    DS_TRY(ds_tensors_open(&r->file, path));
    DS_NEW(r->tensors, ds_checkpoint_count(r->file));
    for (size_t i = 0; i < ds_checkpoint_count(r->file); i++) DS_TRY(find_tensor(r, ds_checkpoint_tensor(r->file, i), model));
    if (r->count == 0) { /* it would agree with everything */
        status = ds_fail(DS_ERR_INPUT, "%s: no tensors, expected logits, loss, states.N or grad.PARAMETER", DS_SHOW(path));
        goto done;
    }
    *out = r;
    r = NULL;
done:
    ds_reference_close(&r);
    return status;
}

const char *ds_reference_sha256(const ds_reference *reference) { return ds_checkpoint_sha256(reference->file); }

void ds_reference_close(ds_reference **reference) {
    ds_reference *r = *reference;
    if (r == NULL) return;
    ds_checkpoint_close(&r->file);
    free(r->tensors);
    free(r);
    *reference = NULL;
}

size_t ds_reference_count(const ds_reference *r) { return r->count; }
const char *ds_reference_name(const ds_reference *r, size_t index) { return r->tensors[index].tensor->name; }
void ds_reference_windows(const ds_reference *r, size_t *sequences, size_t *length) {
    *sequences = r->sequences;
    *length = r->length;
}

/* ---- our side ------------------------------------------------------------------------------------------------------------ */

/* Everything a reference may ask for, of one model. */
typedef struct computed {
    ds_side side;
    double **states; /* (S+1): NULL where not asked for */
    double *hidden, *nll, *logits;
    size_t logits_row; /* which row is in logits */
    double loss;
    ds_gradient *gradient;
} computed;

static void release(computed *c, const ds_spec *spec) {
    for (size_t s = 0; c->states != NULL && s <= ds_spec_sublayers(spec); s++) free(c->states[s]);
    free(c->states);
    free(c->hidden);
    free(c->nll);
    free(c->logits);
    ds_gradient_free(&c->gradient);
    ds_workspace_free(&c->side.workspace);
}

static bool asked(const ds_reference *r, reference_kind kind, size_t index) {
    for (size_t i = 0; i < r->count; i++) {
        if (r->tensors[i].kind == kind && (kind == GRADIENT || r->tensors[i].index == index)) return true;
    }
    return false;
}

static ds_status forward(computed *c, const ds_reference *r, const ds_batch *batch) {
    ds_status status = DS_OK;
    const ds_spec *spec = r->spec;
    size_t tokens = batch->sequences * batch->length, count = tokens * spec->hidden * ds_spec_planes(spec);
    size_t sublayers = ds_spec_sublayers(spec);
    double *state = NULL;
    DS_NEW_ARRAY(state, count);
    DS_TRY(ds_embed(c->side.workspace, c->side.model, batch, state));
    for (size_t s = 0; s <= sublayers; s++) {
        if (asked(r, STATE, s)) {
            DS_NEW_ARRAY(c->states[s], count);
            memcpy(c->states[s], state, count * sizeof *state);
        }
        if (s < sublayers) DS_TRY(ds_sublayers(c->side.workspace, c->side.model, batch, state, s, s + 1, NULL, NULL));
    }
    DS_TRY(ds_readout(c->side.workspace, c->side.model, batch, NULL, state, c->hidden));
    DS_TRY(ds_head_loss(c->side.workspace, c->side.model, batch, c->hidden, c->nll));
    for (size_t i = 0; i < tokens; i++) c->loss += c->nll[i] / (double)tokens;
done:
    free(state);
    return status;
}

static ds_status compute(computed *c, const ds_reference *r, const ds_model *model, const ds_batch *batch) {
    ds_status status = DS_OK;
    const ds_gradient_options options = {.parameters = true};
    size_t tokens = batch->sequences * batch->length;
    c->side = (ds_side){(ds_model *)(uintptr_t)model, NULL, DS_F64, ds_unit_roundoff(DS_F64)}; /* only read here */
    c->logits_row = SIZE_MAX;
    DS_TRY(ds_workspace_new(&c->side.workspace, model, batch->sequences, batch->length));
    DS_NEW(c->states, ds_spec_sublayers(r->spec) + 1);
    DS_NEW_ARRAY(c->hidden, tokens * r->spec->hidden);
    DS_NEW_ARRAY(c->nll, tokens);
    DS_NEW_ARRAY(c->logits, r->spec->vocab);
    DS_TRY(forward(c, r, batch));
    if (!asked(r, GRADIENT, 0)) return DS_OK;
    DS_TRY(ds_gradient_new(&c->gradient, model, batch->sequences, batch->length, &options));
    DS_TRY(ds_backward(c->gradient, batch, NULL, 1 / (double)tokens, NULL, c->nll));
done:
    return status;
}

/* Element `at` of the tensor in the published layout. */
static ds_status element(double *value, computed *c, const reference_tensor *t, const ds_spec *spec, size_t at) {
    ds_status status = DS_OK;
    size_t d = spec->hidden, dv = ds_spec_planes(spec);
    switch (t->kind) {
    case LOSS:
        *value = c->loss;
        break;
    case STATE: /* [token][i][j] is [token][j][i] in memory */
        *value = c->states[t->index][(at / (d * dv) * dv + at % dv) * d + at / dv % d];
        break;
    case GRADIENT:
        *value = ((const double *)ds_gradient_parameter(c->gradient, t->index))[at];
        break;
    case LOGITS:
        if (c->logits_row != at / spec->vocab) {
            c->logits_row = at / spec->vocab;
            DS_TRY(ds_head_logits(c->side.model, c->hidden, c->logits_row, 1, c->logits));
        }
        *value = c->logits[at % spec->vocab];
        break;
    }
done:
    return status;
}

/* ---- the comparison ------------------------------------------------------------------------------------------------------ */

static const double SIZE = 0x1p-30; /* of the multiplication that measures how far a rounding may move a tensor */

typedef struct comparison {
    const reference_tensor *tensor;
    const ds_spec *spec;
    computed *ours, *moved;
    double error, theirs, found; /* at the worst element; a NaN is the worst of all */
    size_t worst;
    double gain, largest; /* max |moved - ours| / SIZE, max |ours| */
} comparison;

static ds_status compare_chunk(void *context, const void *values, uint64_t first, size_t count) {
    ds_status status = DS_OK;
    comparison *c = context;
    const double *theirs = values;
    for (size_t i = 0; i < count; i++) {
        double ours = 0, moved = 0;
        DS_TRY(element(&ours, c->ours, c->tensor, c->spec, first + i));
        DS_TRY(element(&moved, c->moved, c->tensor, c->spec, first + i));
        double error = fabs(theirs[i] - ours);
        if (!isnan(c->error) && !(error <= c->error)) {
            c->error = error;
            c->theirs = theirs[i];
            c->found = ours;
            c->worst = first + i;
        }
        c->gain = fmax(c->gain, fabs(moved - ours) / SIZE);
        c->largest = fmax(c->largest, fabs(ours));
    }
done:
    return status;
}

/* What another framework rounds on its way nobody knows: about 8 roundings in the chain through a sublayer, sums over up
 * to n numbers taken to behave as random walks of sqrt(n) roundings, and a factor 4 because the gain is one sample. */
static double assumed_roundings(const ds_spec *spec, size_t length) {
    size_t longest = ds_max_size(ds_max_size(spec->hidden * ds_spec_planes(spec), spec->mlp_hidden),
                                 ds_max_size(spec->heads * spec->head_dim, length));
    return 4 * (8 + sqrt((double)longest));
}

static void report(ds_check_result *result, const comparison *c, size_t length) {
    const ds_tensor *tensor = c->tensor->tensor;
    char place[DS_MAX_RANK * 22] = "";
    size_t rest = c->worst;
    for (size_t axis = tensor->rank; axis-- > 0; rest /= (size_t)tensor->shape[axis]) {
        char before[sizeof place];
        memcpy(before, place, sizeof place);
        (void)snprintf(place, sizeof place, "%zu%s%s", rest % (size_t)tensor->shape[axis], before[0] == '\0' ? "" : ",",
                       before);
    }
    ds_worst worst = {0};
    double u = ds_dtype_rounding(tensor->dtype).relative + 0x1p-53;
    ds_worst_add(&worst, c->error, 2 * assumed_roundings(c->spec, length) * u * (c->gain + c->largest));
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "worst at [%s]: theirs %.9g, ours %.9g", place, c->theirs, c->found);
}

static void move_weights(ds_model *model, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        double *values = parameter->values;
        for (size_t j = 0; j < parameter->count; j++) values[j] *= (ds_random_u64(&random) >> 63) != 0 ? 1 + SIZE : 1 - SIZE;
    }
    ds_model_refresh(model);
}

ds_status ds_reference_compare(ds_check_result *results, ds_reference *r, const ds_model *model, ds_model *moved,
                               const ds_batch *batch, uint64_t seed) {
    ds_status status = DS_OK;
    computed ours = {0}, other = {0};
    comparison *comparisons = NULL;
    ds_tensor_read *reads = NULL;
    DS_NEW(comparisons, r->count);
    DS_NEW(reads, r->count);
    move_weights(moved, seed);
    DS_TRY(compute(&ours, r, model, batch));
    DS_TRY(compute(&other, r, moved, batch));
    for (size_t i = 0; i < r->count; i++) {
        comparisons[i] = (comparison){.tensor = &r->tensors[i], .spec = r->spec, .ours = &ours, .moved = &other, .error = -1};
        reads[i] = (ds_tensor_read){
            .tensor = r->tensors[i].tensor, .precision = DS_F64, .sink = compare_chunk, .context = &comparisons[i]};
    }
    DS_TRY(ds_checkpoint_read(r->file, reads, r->count));
    for (size_t i = 0; i < r->count; i++) {
        results[i] = (ds_check_result){.status = DS_CHECK_FAIL, .measured = NAN, .tolerance = NAN};
        report(&results[i], &comparisons[i], batch->length);
    }
done:
    release(&ours, r->spec);
    release(&other, r->spec);
    free(comparisons);
    free(reads);
    return status;
}
