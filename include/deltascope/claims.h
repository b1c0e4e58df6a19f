/* claims: what a result file claims, and how to hold it against another: digests that anybody can compute, one table that
 * says of every number how far two honest runs may differ, the comparison of two results by it, and signatures. */
#ifndef DELTASCOPE_CLAIMS_H
#define DELTASCOPE_CLAIMS_H

#include <jansson.h>

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

/* ---- leaves ------------------------------------------------------------------------------------------------------ */

/* What two honest runs of the same checkpoint, data and options have in common of one leaf of their results. */
typedef enum ds_leaf_kind {
    DS_LEAF_EXACT,   /* the same value: words, whole numbers, what our own kernels make */
    DS_LEAF_BOUNDED, /* a number with a stated bound beside it: within the sum of both runs' bounds */
    DS_LEAF_SET,     /* a list whose order rounding decides: each value of one has a partner in the other */
    DS_LEAF_DERIVED, /* follows from numbers of the other kinds and states no bound: within the table's own allowance */
} ds_leaf_kind;

/* A row of the table. Two numbers a and b agree when |a - b| is at most
 *     bound of a + bound of b + relative x scale. */
typedef struct ds_leaf {
    const char
        *path; /* COMMAND/PATH, or envelope/PATH; "*" is any one part of a path, "**" at its end what is left, if anything */
    ds_leaf_kind kind;
    bool own;          /* made by our own kernels: equal on every x86-64 with FMA and the same libm, part of the "own" digest */
    const char *bound; /* where the bound stands, from the place that holds the leaf ("../" is one up); NULL: none */
    double relative;   /* INFINITY: not compared */
    const char *scale; /* NULL: the larger of |a|, |b|; "smaller": the smaller; "1": 1; else a path like `bound` */
    const char *reason; /* for `relative`; NULL without one */
} ds_leaf;

size_t ds_leaf_count(void);
const ds_leaf *ds_leaf_at(size_t index);
const char *ds_leaf_kind_name(ds_leaf_kind kind);
/* The first row that fits a path such as "spectrum/accumulated/3/norm2"; NULL when none does. What stands under a null model
 * or a shuffled matrix is as what it stands beside. */
const ds_leaf *ds_leaf_find(const char *path);

/* ---- comparing --------------------------------------------------------------------------------------------------- */

enum { DS_DIFFERENCES_SHOWN = 16 };

/* Compares two trees leaf by leaf. `leaf` is the path of their root in the table ("gates"), `where` the one that is shown
 * ("results/gates"). `other` is added to what reals may differ by, relative to the larger: 0 unless the two were computed in
 * different arithmetic (ds_claims_arithmetic).
 * *section <- {"name", "compared", "disagreed", "worst", "differences"}: a new reference. "worst" is the leaf that differs
 * most in units of what is allowed, as {"path", "a", "b", "allowed"}, null when none differs; "differences" lists those that
 * disagree, at most DS_DIFFERENCES_SHOWN. */
ds_status ds_claims_compare(json_t **section, const char *name, const char *leaf, const char *where, const json_t *a,
                            const json_t *b, double other) DS_MUST_CHECK;
/* `other` of two envelopes: 0 where both say the same arithmetic and mathematical library, 1e-6 elsewhere, the roundings of a
 * forward pass in float. */
double ds_claims_arithmetic(const json_t *a, const json_t *b);
/* Of a list of sections: whether one has a leaf that disagrees. */
bool ds_claims_disagree(const json_t *sections);

/* ---- digests ----------------------------------------------------------------------------------------------------- */

/* *digests <- {"all", "own", "own_paths"} of a report's envelope, whatever it says of itself: a new reference.
 *   all: SHA-256 of the canonical form of the whole but for "digests" and "signature" at the top and keys named seconds,
 * threads and ranks anywhere. own: SHA-256 of the canonical form of {PATH: what it leads to} for own_paths, without such
 * keys; "*" in a path leads to every element of a list. None of them leads to a path in a file system: digests of files stand
 * for their names. */
ds_status ds_digests_make(json_t **digests, const json_t *envelope) DS_MUST_CHECK;
/* Holds an envelope against the digests it carries. *told <- {"all", "own"}, each {"stated", "computed", "holds"}: a new
 * reference; "holds" is null where none is stated. *hold <- false when one does not hold. `own` is computed over the paths
 * that the table has now, and the file's list has to be that list. */
ds_status ds_digests_check(json_t **told, bool *hold, const json_t *envelope) DS_MUST_CHECK;

/* ---- signatures -------------------------------------------------------------------------------------------------- */

/* A private Ed25519 key (RFC 8032) while it is used: in a page that is neither dumped nor inherited nor swapped, and wiped. */
typedef struct ds_signer ds_signer;
/* From a file as "openssl genpkey -algorithm ed25519" writes it (PKCS #8 in PEM, unencrypted), "-": from standard input.
 * DS_ERR_INPUT names what was found instead. */
ds_status ds_signer_open(ds_signer **out, const char *path) DS_MUST_CHECK;
void ds_signer_close(ds_signer **signer);              /* wipes it, sets NULL; NULL is fine */
bool ds_signer_is_exposed(const ds_signer *signer);    /* others than its owner have rights to the file it came from */
const char *ds_signer_sha256(const ds_signer *signer); /* of its public key, as in ds_public_key */

/* A public key, and the SHA-256 of what "openssl pkey -in KEY.pem -pubout -outform DER" prints. */
typedef struct ds_public_key {
    unsigned char bytes[32];
    char sha256[65];
} ds_public_key;
/* From a file as "openssl pkey -in KEY.pem -pubout" writes it. */
ds_status ds_public_key_read(ds_public_key *key, const char *path) DS_MUST_CHECK;

/* The envelope's "signature" <- {"algorithm", "public_key", "key_sha256", "value"}, of the canonical form of everything else in
 * it, times and digests included. One that is there already is replaced. */
ds_status ds_signature_add(json_t *envelope, const ds_signer *signer) DS_MUST_CHECK;
/* Holds an envelope against its signature and a key, NULL for the one that the file names itself: that proves only that whoever
 * has this key signed it. *told <- {"key_sha256", "signer": "given" or "named", "holds", "reason"}, null where they do not
 * apply: a new reference. *holds <- false for a signature that does not hold and, with a key, for none at all. */
ds_status ds_signature_check(json_t **told, bool *holds, const json_t *envelope, const ds_public_key *signer) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
