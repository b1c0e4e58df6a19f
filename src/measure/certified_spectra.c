#include "deltascope/measure/certified_spectra.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

ds_status ds_certifying_init(ds_certifying *out, size_t sublayers, size_t hidden, double residual_mult) {
    ds_status status = DS_OK;
    *out = (ds_certifying){
        .sublayers = sublayers, .hidden = hidden, .threads = ds_threads(), .residual_mult = residual_mult};
    DS_NEW(out->certifiers, out->threads);
    for (size_t i = 0; i < out->threads; i++) DS_TRY(ds_certifier_new(&out->certifiers[i], hidden, sublayers));
done:
    if (status != DS_OK) ds_certifying_release(out);
    return status;
}

void ds_certifying_release(ds_certifying *certifying) {
    for (size_t i = 0; certifying->certifiers != NULL && i < certifying->threads; i++)
        ds_certifier_free(&certifying->certifiers[i]);
    free(certifying->certifiers);
    *certifying = (ds_certifying){0};
}

typedef struct task {
    ds_certified *out;
    const ds_directions *directions;
    ds_certifying *all;
    bool verdicts_only;
} task;

static ds_status keep_values(ds_certified *out) {
    ds_status status = DS_OK;
    ds_certificate *certificate = &out->certificate;
    DS_NEW(out->eigenvalues, certificate->eigenvalue_count);
    DS_NEW(out->singular_values, certificate->singular_value_count);
    for (size_t i = 0; i < certificate->eigenvalue_count; i++) out->eigenvalues[i] = certificate->eigenvalues[i];
    for (size_t i = 0; i < certificate->singular_value_count; i++) out->singular_values[i] = certificate->singular_values[i];
done:
    return status;
}

static ds_status certify_one(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    const task *job = context;
    const ds_directions *all = job->directions;
    ds_certified *out = &job->out[index];
    DS_TRY(ds_product_enclose(&out->certificate, ds_directions_k(all, index, 0), all->beta + index * all->sublayers,
                              job->all->residual_mult, all->sublayers, all->hidden, job->all->certifiers[worker]));
    out->widest = 0;
    for (size_t i = 0; i < out->certificate.eigenvalue_count; i++)
        out->widest = fmax(out->widest, out->certificate.eigenvalues[i].radius);
    for (size_t i = 0; i < out->certificate.singular_value_count; i++)
        out->widest = fmax(out->widest, out->certificate.singular_values[i].radius);
    if (!job->verdicts_only) DS_TRY(keep_values(out));
    out->certificate.eigenvalues = out->eigenvalues; /* the certifier's own arrays are overwritten by its next token */
    out->certificate.singular_values = out->singular_values;
done:
    return status;
}

ds_status ds_certified_run(ds_certified *out, const ds_directions *directions, ds_certifying *certifying) {
    task job = {out, directions, certifying, false};
    return ds_parallel_for_within(certifying->threads, directions->tokens, certify_one, &job);
}

void ds_certified_release(ds_certified *certified, size_t count) {
    for (size_t i = 0; certified != NULL && i < count; i++) {
        free(certified[i].eigenvalues);
        free(certified[i].singular_values);
    }
    free(certified);
}

/* ---- verdicts ---- */

const char *const ds_claim_names[DS_CLAIMS] = {"eigenvalues_in_unit_disk", "contraction", "radius_below_one_on_span",
                                               "invertible"};

ds_verdict ds_claim_verdict(const ds_certificate *certificate, size_t claim) {
    const ds_verdict verdicts[DS_CLAIMS] = {certificate->eigenvalues_in_unit_disk, certificate->contraction,
                                            certificate->radius_below_one, certificate->invertible};
    return verdicts[claim];
}

void ds_certified_put(ds_json_builder *b, const ds_certified *certified) {
    const ds_certificate *certificate = &certified->certificate;
    ds_json_begin_object(b, "certified");
    ds_json_put_count(b, "precision_bits", (uint64_t)certificate->precision_bits);
    ds_json_begin_array(b, "eigenvalues");
    for (size_t i = 0; i < certificate->eigenvalue_count; i++) {
        const ds_disc *disc = &certified->eigenvalues[i];
        ds_json_begin_object(b, NULL);
        ds_json_put_real(b, "re", disc->centre.re);
        ds_json_put_real(b, "im", disc->centre.im);
        ds_json_put_real(b, "radius", disc->radius);
        ds_json_put_count(b, "multiplicity", disc->multiplicity);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_array(b, "singular_values");
    for (size_t i = 0; i < certificate->singular_value_count; i++) {
        const ds_interval *interval = &certified->singular_values[i];
        ds_json_begin_object(b, NULL);
        ds_json_put_real(b, "value", interval->value);
        ds_json_put_real(b, "radius", interval->radius);
        ds_json_put_count(b, "multiplicity", interval->multiplicity);
        ds_json_end(b);
    }
    ds_json_end(b);
    const ds_interval *scalars[2] = {&certificate->log_abs_det, &certificate->frobenius_defect};
    for (size_t i = 0; i < 2; i++) {
        ds_json_begin_object(b, i == 0 ? "log_abs_det" : "frobenius_defect");
        ds_json_put_real(b, "value", scalars[i]->value);
        ds_json_put_real(b, "radius", scalars[i]->radius);
        ds_json_end(b);
    }
    ds_json_begin_object(b, "verdicts");
    for (size_t i = 0; i < DS_CLAIMS; i++)
        ds_json_put_text(b, ds_claim_names[i], ds_verdict_name(ds_claim_verdict(certificate, i)));
    ds_json_end(b);
    ds_json_end(b);
}

/* Tokens certified between two rounds of counting and keeping; a record is a token's verdicts, then its largest radius. */
enum { TALLY_CHUNK = 64, RECORD = DS_CLAIMS + 1 };

typedef struct tally_chunk {
    task job;
    const ds_verdict_tally *tally;
    size_t first, from; /* number of the set's first token; token of the set the chunk begins with */
    double records[TALLY_CHUNK][RECORD];
    bool known[TALLY_CHUNK];
} tally_chunk;

static bool is_verdict(double value) { return value == 0 || value == 1 || value == 2; }

static ds_status tally_one(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    tally_chunk *chunk = context;
    double *record = chunk->records[index];
    size_t token = chunk->from + index;
    DS_TRY(ds_journal_find_reals(&chunk->known[index], record, RECORD, chunk->tally->journal, chunk->tally->kind,
                                 chunk->first + token));
    for (size_t i = 0; i < DS_CLAIMS && chunk->known[index]; i++) chunk->known[index] = is_verdict(record[i]);
    if (chunk->known[index]) goto done;
    DS_TRY(certify_one(&chunk->job, token, worker));
    for (size_t i = 0; i < DS_CLAIMS; i++) record[i] = (double)ds_claim_verdict(&chunk->job.out[token].certificate, i);
    record[DS_CLAIMS] = chunk->job.out[token].widest;
done:
    return status;
}

ds_status ds_verdict_tally_add(ds_verdict_tally *tally, const ds_directions *directions, size_t first,
                               ds_certifying *certifying) {
    ds_status status = DS_OK;
    tally_chunk chunk = {.job = {NULL, directions, certifying, true}, .tally = tally, .first = first};
    DS_NEW(chunk.job.out, directions->tokens);
    for (; chunk.from < directions->tokens; chunk.from += TALLY_CHUNK) {
        size_t count = ds_min_size(TALLY_CHUNK, directions->tokens - chunk.from);
        DS_TRY(ds_parallel_for_within(certifying->threads, count, tally_one, &chunk));
        for (size_t t = 0; t < count; t++) {
            const double *record = chunk.records[t];
            if (!chunk.known[t])
                DS_TRY(ds_journal_append(tally->journal, tally->kind, first + chunk.from + t, record, sizeof chunk.records[t]));
            for (size_t i = 0; i < DS_CLAIMS; i++) tally->counts[i][(size_t)record[i]]++;
            tally->widest = fmax(tally->widest, record[DS_CLAIMS]);
            tally->tokens++;
        }
        DS_TRY(ds_journal_sync(tally->journal));
    }
done:
    free(chunk.job.out);
    return status;
}

void ds_verdict_tally_put(ds_json_builder *b, const ds_verdict_tally *tally) {
    ds_json_begin_object(b, "certified");
    ds_json_put_count(b, "tokens", tally->tokens);
    ds_json_put_real(b, "largest_radius", tally->widest);
    ds_json_begin_object(b, "verdicts");
    for (size_t i = 0; i < DS_CLAIMS; i++) {
        ds_json_begin_object(b, ds_claim_names[i]);
        for (int v = 0; v < DS_VERDICTS; v++) ds_json_put_count(b, ds_verdict_name((ds_verdict)v), tally->counts[i][v]);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_end(b);
}
