/* What parallel streams mix by, token by token and over them: the depth-mixing matrix that follows from it, and the matrices R
 * of single sublayers and of all before or after them. Private to measure. */
#ifndef DELTASCOPE_MEASURE_STREAM_TERMS_H
#define DELTASCOPE_MEASURE_STREAM_TERMS_H

#include "deltascope/measure/stream_mixing.h"
#include "deltascope/model.h"
#include "deltascope/spectra.h"

/* What a pass over one batch leaves, of `most` tokens at most, and what is made of it token by token. */
typedef struct ds_stream_pass {
    size_t streams, sublayers, most, hidden;
    double *mixing;  /* (S,most,n(n+2)) */
    double *range;   /* (S,most) of the logits before Sinkhorn */
    double *cosine;  /* (S,most) mean over pairs of streams before the sublayer */
    double *numbers; /* (most,S,DS_STREAM_NUMBERS) */
    double *mix;     /* borrowed: (S+1,most,S+1), row s of A being s+1 numbers of a token */
    size_t workers, scratch_length;
    double *scratch;    /* (workers,scratch_length) */
    ds_complex *values; /* (workers,n) */
    ds_svd **svd;       /* (workers) */
    ds_eigen **eigen;
} ds_stream_pass;
/* Of one token and sublayer: of R, of R_s ... R_0, of R_{S-1} ... R_s; then off_diagonal, pre_post, row_entropy. */
enum { DS_STREAM_NUMBERS = 3 * DS_MATRIX_NUMBERS + 3 };

ds_status ds_stream_pass_init(ds_stream_pass *pass, const ds_spec *spec, size_t most) DS_MUST_CHECK;
void ds_stream_pass_release(ds_stream_pass *pass);
/* Share of |matrix| (n,n) beside its diagonal. */
double ds_off_diagonal(const double *matrix, size_t n);
/* Keeps what a sublayer did, and the cosines of the state before it, (B,T,n,d). */
void ds_stream_pass_keep(ds_stream_pass *pass, const ds_observation *seen);
void ds_stream_pass_state(ds_stream_pass *pass, size_t sublayer, size_t tokens, const void *state, ds_precision precision);
/* pass->mix and pass->numbers of all tokens. */
ds_status ds_stream_pass_tokens(ds_stream_pass *pass, size_t tokens) DS_MUST_CHECK;

/* The sums over tokens, one place for every sublayer. */
ds_status ds_stream_sublayers_init(ds_stream_sublayer **sublayers, const ds_spec *spec) DS_MUST_CHECK;
void ds_stream_sublayers_add(ds_stream_sublayer *sublayers, const ds_stream_pass *pass, size_t tokens); /* in order */
void ds_stream_sublayers_take(ds_stream_sublayer *sublayers, size_t count);

#endif
