/* What check and diff have in common: the sections of a comparison, what is said of them, and the verdict. */
#ifndef DELTASCOPE_COMMANDS_CLAIM_VIEW_H
#define DELTASCOPE_COMMANDS_CLAIM_VIEW_H

#include <jansson.h>

#include "commands/model_command.h"

/* Results of check or diff while they are put together. Zero-initialise. */
typedef struct ds_claim_view {
    json_t *sections;
    const char *side_a, *side_b; /* "claimed", "measured" */
    bool incomplete;             /* something could not be compared */
} ds_claim_view;

void ds_claim_view_release(ds_claim_view *view);
/* Compares and adds a section (ds_claims_compare). */
ds_status ds_claim_view_compare(ds_claim_view *view, const char *name, const char *leaf, const char *where, const json_t *a,
                                const json_t *b, double other) DS_MUST_CHECK;
/* Adds a section that was not compared, and why; with `incomplete` the whole is then no agreement. */
ds_status ds_claim_view_obstacle(ds_claim_view *view, const char *name, const char *reason, bool incomplete) DS_MUST_CHECK;
/* "agrees", "disagrees" or "incomplete"; `seals_hold`: digests and signatures do. */
const char *ds_claim_view_verdict(const ds_claim_view *view, bool seals_hold);
/* The envelope's "inputs": checkpoint, data, precision. A new reference. */
ds_status ds_claim_inputs(json_t **inputs, const json_t *envelope) DS_MUST_CHECK;

/* The table of sections, then what does not agree, number by number, and what was not compared. */
ds_status ds_claim_view_print(const ds_claim_view *view, const ds_table *table) DS_MUST_CHECK;
/* Of one file's digests, as ds_digests_check tells them; `whose` is put in front. */
void ds_claim_print_digests(const json_t *told, const char *whose);

/* Likewise of its signature, as ds_signature_check tells it; nothing of a file without one. */
void ds_claim_print_signature(const json_t *told, const char *whose);

enum { DS_CLAIM_COLUMNS = 4 };
extern const ds_result_column ds_claim_columns[DS_CLAIM_COLUMNS];
extern const ds_result_table ds_claim_table; /* of the sections */

#endif
