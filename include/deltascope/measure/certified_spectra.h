/* Proved enclosures of accumulated operators: spectrum --certify. */
#ifndef DELTASCOPE_MEASURE_CERTIFIED_SPECTRA_H
#define DELTASCOPE_MEASURE_CERTIFIED_SPECTRA_H

#include "deltascope/stats.h"
#include "deltascope/spectra.h"
#include "deltascope/measure/directions.h"

DS_BEGIN_DECLARATIONS

/* What is kept of one token's certificate. */
typedef struct ds_certified {
    ds_certificate certificate; /* its arrays are the ones below, or NULL when only the verdicts are kept */
    ds_disc *eigenvalues;
    ds_interval *singular_values;
    double widest; /* the largest radius of any of its values */
} ds_certified;

/* The certifiers of all threads. */
typedef struct ds_certifying {
    size_t sublayers, hidden;
    double residual_mult;
    ds_certifier **certifiers; /* (threads) */
} ds_certifying;
ds_status ds_certifying_init(ds_certifying *out, size_t sublayers, size_t hidden, double residual_mult) DS_MUST_CHECK;
void ds_certifying_release(ds_certifying *certifying);

/* out (directions->tokens), zeroed by the caller; tokens in parallel. */
ds_status ds_certified_run(ds_certified *out, const ds_directions *directions, ds_certifying *certifying) DS_MUST_CHECK;
void ds_certified_release(ds_certified *certified, size_t count);
void ds_certified_put(ds_json_builder *b, const ds_certified *certified); /* the key "certified" of an open object */

/* How often each verdict was reached over many tokens. */
enum { DS_VERDICTS = 3, DS_CLAIMS = 4 };
typedef struct ds_verdict_tally {
    uint64_t tokens, counts[DS_CLAIMS][DS_VERDICTS];
    double widest;       /* largest radius of any value */
    ds_journal *journal; /* NULL without one; set before adding, to keep tokens as records `kind` and find them again */
    const char *kind;
} ds_verdict_tally;
extern const char *const ds_claim_names[DS_CLAIMS];
ds_verdict ds_claim_verdict(const ds_certificate *certificate, size_t claim);
/* `first` numbers the first token. */
ds_status ds_verdict_tally_add(ds_verdict_tally *tally, const ds_directions *directions, size_t first,
                               ds_certifying *certifying) DS_MUST_CHECK;
void ds_verdict_tally_put(ds_json_builder *b, const ds_verdict_tally *tally); /* the key "certified" of an open object */

DS_END_DECLARATIONS

#endif
