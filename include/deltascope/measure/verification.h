/* The checks of verify.h on a run: CONTRACT "verify". Which of them, and beside them what another framework computed. */
#ifndef DELTASCOPE_MEASURE_VERIFICATION_H
#define DELTASCOPE_MEASURE_VERIFICATION_H

#include <jansson.h>

#include "deltascope/run.h"
#include "deltascope/verify.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_verified {
    char *id;                   /* "update.contraction", "reference.states.3" */
    const char *claim, *source; /* borrowed, as ds_check_claim and ds_check_source */
    ds_check_result result;
} ds_verified;

/* Windows of the run that are looked at, at most. */
enum { DS_VERIFIED_WINDOWS = 2 };

typedef struct ds_verification_options {
    const char *only, *skip; /* ids, or groups before their dot, comma separated: these alone; all but these. NULL: all; none */
    const char *reference;   /* a file as ds_reference_open reads it, compared tensor by tensor; NULL: none */
    /* Called after each check, in order: the next one may take minutes. Progress has ended for the moment. May be NULL. */
    void (*finished)(void *context, const ds_verified *check);
    void *context;
} ds_verification_options;
extern const ds_verification_options ds_verification_defaults;

typedef struct ds_verification {
    ds_verified *checks; /* (count) in the table's order, then those of the reference */
    size_t count, capacity;
    char reference_sha256[65]; /* of the reference's file; empty without one */
} ds_verification;

/* Refuses names of no check: DS_ERR_USAGE. ds_verification_measure does so too. */
ds_status ds_verification_check(const ds_verification_options *options) DS_MUST_CHECK;
/* Whether a check is among those that the options choose. */
bool ds_verification_has(const ds_verification_options *options, const char *id);
/* The checkpoint's weights are loaded in double beside the run's when that is in float. DS_OK also when a check fails. */
ds_status ds_verification_measure(ds_verification *out, ds_run *run, const ds_verification_options *options) DS_MUST_CHECK;
void ds_verification_release(ds_verification *verification);
/* CONTRACT's results of `verify`; a new reference. */
ds_status ds_verification_json(json_t **results, const ds_verification *verification) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_verification_results(json_t **options_json, json_t **results, ds_run *run,
                                  const ds_verification_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
