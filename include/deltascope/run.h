/* run: a checkpoint and data opened for measuring, the windows of the data passed over in one loop, and what a run leaves: a
 * journal of finished pieces, and the envelope around its results.
 *
 * A run is opened from a plain structure of options; nothing here knows a command line. Results do not depend on the number of
 * threads nor on how windows are grouped into batches. */
#ifndef DELTASCOPE_RUN_H
#define DELTASCOPE_RUN_H

#include <jansson.h>

#include "deltascope/io.h"
#include "deltascope/model.h"
#include "deltascope/ranks.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* ---- the process ------------------------------------------------------------------------------------------------- */

/* For a program that is all deltascope's: installs, once and before its threads start, what belongs to a whole process.
 * jansson's allocator notes failures, and GMP and FLINT end by ds_give_up (base.h), when memory runs out. No other function
 * of the library touches these hooks, the threads of the BLAS (but ds_gemm_rate, which measures them), signals or the
 * environment. GSL is called only with arguments that it accepts and memory that is there: its error handler is never
 * reached.
 *
 * A program that has hooks of its own does not call it. Then, when memory runs out, GMP and FLINT end the process by
 * themselves, and jansson can take an allocation that failed for a fault in the text. LAPACK is correct with any number of
 * BLAS threads, but its last bits can depend on it: with OPENBLAS_NUM_THREADS=1 they are those of the program. */
void ds_process_hooks(void);

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Who is told how a run goes; the library itself never prints. Every function may be NULL. */
typedef struct ds_listener {
    /* `done` of `total`, in any unit of work. label NULL: the work ended, done and total are 0. */
    void (*progress)(void *context, const char *label, double done, double total);
    void (*note)(void *context, const char *sentence); /* one sentence, no full stop */
    void *context;
} ds_listener;

/* How the windows of a run lie in the file: their starts are multiples of T from token 0 on, or from `offset`. */
typedef enum ds_spread {
    DS_SPREAD_EVEN,        /* of W windows that fit, number floor(iW/N) for i = 0 ... N-1 */
    DS_SPREAD_RANDOM,      /* N of W without replacement, by the seed, in the order of the file */
    DS_SPREAD_CONSECUTIVE, /* one after another from the first token on */
    DS_SPREAD_FROM_OFFSET, /* one after another from token `offset` on */
} ds_spread;

typedef struct ds_run_options {
    const char *checkpoint; /* a model directory, or a weight file */
    const char *config;     /* configuration of a single weight file; NULL: config.json beside it, or what the file holds */
    const char *map;        /* from the checkpoint's names to ours; NULL: they are ours */
    const char *tokens;     /* file of token ids; NULL: none */
    ds_token_type type;     /* of the ids in a raw file; DS_TOKENS_ANY: uint16, unless its bytes betray another */
    const char *text;       /* file of text, in place of `tokens`; NULL: none */
    const char *tokenizer;  /* for `text` */
    size_t length;          /* T, tokens in a window; 0: the checkpoint's block_size */
    size_t sequences;       /* how many windows; 0: all that fit, at most 64 */
    ds_spread spread;       /* how they lie in the file */
    uint64_t offset;        /* token at which window 0 starts: for DS_SPREAD_FROM_OFFSET alone, 0 otherwise */
    size_t batch;           /* windows in a batch, at most; 0: as many as keep all threads busy */
    ds_precision precision; /* of the model's arithmetic */
    uint64_t seed;          /* of everything random */
    ds_ranks *ranks;        /* that measure this run together, borrowed; NULL: this process alone */
    bool histories;         /* also rules whose state is all that was written: other measurements count on dv planes */
    bool streams;           /* also rules whose state is parallel streams */
    bool without_weights;   /* structure and configuration alone: `model` and `workspace` stay NULL */
    ds_listener listener;
} ds_run_options;

/* All fields may be read. */
typedef struct ds_run {
    ds_run_options options; /* as given; its strings are borrowed */
    ds_checkpoint *checkpoint;
    ds_model *model;
    ds_tokens *tokens; /* NULL without data */
    ds_tokenizer *tokenizer;
    ds_workspace *workspace; /* for `batch` windows; NULL without data */
    ds_spec spec;
    uint64_t parameters;        /* learned numbers in all; 0 without weights */
    size_t length, sequences;   /* T, and how many windows */
    uint64_t *starts;           /* (sequences): first token of each window, ascending */
    bool stretch;               /* what is measured speaks of a stretch of the file, not of all of it */
    size_t batch;               /* windows in a batch */
    uint32_t *ids;              /* (T + 1): one window as read */
    uint32_t *inputs, *targets; /* (batch, T): of the batch in hand */
    double started;             /* ds_seconds() at the opening */
    json_t *warnings;           /* what a reader of the results must know: sentences; NULL: nothing */
} ds_run;

/* Refuses (DS_ERR_USAGE, naming `path`) a rule whose state is all that was written, or parallel streams, unless they are taken:
 * most measurements count on dv planes. */
ds_status ds_run_check_state(const ds_spec *spec, const char *path, bool histories, bool streams) DS_MUST_CHECK;
/* Cheap checks first: configuration and data before weights. A zeroed run may be closed. */
ds_status ds_run_open(ds_run *run, const ds_run_options *options) DS_MUST_CHECK;
void ds_run_close(ds_run *run);
/* A view of an open run over fewer, shorter windows: the first `sequences` of its windows, of each the first `length` tokens;
 * both at most what it has. Its buffers are the run's, which outlives it; it is not closed. */
ds_run ds_run_shorter(const ds_run *run, size_t length, size_t sequences);
/* Adds a sentence, no full stop, to the run's warnings. */
ds_status ds_run_warn(ds_run *run, const char *format, ...) DS_PRINTF(2, 3) DS_MUST_CHECK;

/* Progress of one piece of work, for the run's listener. */
typedef struct ds_progress {
    const ds_listener *listener;
    const char *label;
    double total;
} ds_progress;
ds_progress ds_progress_start(const ds_run *run, const char *label, double total);
void ds_progress_update(const ds_progress *progress, double done);
void ds_progress_finish(const ds_progress *progress);

/* ---- journal ----------------------------------------------------------------------------------------------------- */

/* The file in which a long run keeps finished pieces, so that one that was killed goes on where it stopped (journal.h in
 * src/run has its format). */
typedef struct ds_journal ds_journal;
typedef struct ds_journal_plan {
    const char *path;        /* its folder is made if missing */
    bool resume;             /* take up an earlier run's records instead of starting anew */
    const ds_folder *folder; /* that the path lies below, no link followed; NULL: the path as it is */
} ds_journal_plan;

/* Opens the journal of a run that measures `command` with `options` (borrowed: what decides the bytes of a result, beside the
 * run's checkpoint, configuration, data and precision; threads and paths are not part of the key). An earlier run's journal
 * with another key is DS_ERR_INPUT naming the first difference. plan NULL, or without a path: *out is NULL, which stands for a
 * run that keeps none. Where ranks measure together all come here: number 0 keeps the journal, the plans of the others do not
 * count, and what it found is everybody's. */
ds_status ds_run_journal(ds_journal **out, ds_run *run, const ds_journal_plan *plan, const char *command,
                         const json_t *options) DS_MUST_CHECK;
void ds_journal_close(ds_journal **journal); /* sets NULL; NULL is fine */

/* Everywhere below a NULL journal stands for a run that keeps none: nothing is found, nothing is written. */

/* *payload <- a copy of what an earlier run stored as (kind, index), freed with free(), with a NUL behind its `*length` bytes;
 * NULL when there is none. */
ds_status ds_journal_find(char **payload, size_t *length, const ds_journal *journal, const char *kind,
                          uint64_t index) DS_MUST_CHECK;
/* values (count): *found tells whether they were there. Another number of values is DS_ERR_INPUT. */
ds_status ds_journal_find_reals(bool *found, double *values, size_t count, const ds_journal *journal, const char *kind,
                                uint64_t index) DS_MUST_CHECK;

/* kind: 1 to 15 bytes. What was appended is safe from the end of the process at once, from the machine's after a sync. */
ds_status ds_journal_append(ds_journal *journal, const char *kind, uint64_t index, const void *payload,
                            size_t length) DS_MUST_CHECK;
ds_status ds_journal_sync(ds_journal *journal) DS_MUST_CHECK;

/* ---- the loop over windows --------------------------------------------------------------------------------------- */

typedef struct ds_window_batch {
    ds_run *run;
    ds_batch batch;        /* tokens and targets; valid during the call */
    const size_t *windows; /* (batch.sequences): which windows of the run these are, ascending */
    size_t place;          /* number of the first of them among the pass's windows */
    const ds_progress *progress;
} ds_window_batch;
/* How far a long batch has come, 0 to 1. */
void ds_window_batch_progress(const ds_window_batch *now, double share);

/* One pass over the windows of a run. What a window leaves can be a record of `record_length` numbers: then windows that an
 * earlier run finished are not computed again, ranks share the others, and `take` gets the record of every window, in their
 * order, on every rank. */
typedef struct ds_window_pass {
    const char *label;      /* for progress */
    size_t most;            /* windows in a batch, at most; 0: as many as the run's buffers hold */
    const size_t *selected; /* (selected_count) windows, ascending; NULL: all */
    size_t selected_count;
    /* Computes a batch; batches come in order of windows. */
    ds_status (*batch)(void *context, const ds_window_batch *now);
    size_t record_length;                                                 /* 0: no records, and the next two are not called */
    void (*fill)(void *context, double *record, size_t row, size_t rows); /* record of row `row` of the batch just computed */
    ds_status (*take)(void *context, size_t window, const double *record);
    ds_journal *journal; /* where records are kept; NULL: nowhere */
    const char *kind;    /* of those records, at most 15 bytes; not looked at without a journal */
    void *context;
} ds_window_pass;
/* A pass without records adds up in the order of windows: every rank computes all of them. */
ds_status ds_run_windows(ds_run *run, const ds_window_pass *pass) DS_MUST_CHECK;
/* One window as a batch, in the run's buffers: valid until the next call or pass. */
ds_status ds_run_window(ds_run *run, size_t window, ds_batch *batch) DS_MUST_CHECK;
/* The window of `length` tokens of any file that starts at token `start`, as training draws them: inputs (length), targets
 * (length) one further. */
ds_status ds_window_read(uint32_t *inputs, uint32_t *targets, ds_tokens *tokens, uint64_t start, size_t length) DS_MUST_CHECK;
/* One text, or a piece of a file of tokens: exactly one of the first three is given. */
typedef struct ds_window_source {
    const char *text;      /* the words themselves; told in results and messages as "--text" */
    const char *text_file; /* a file of text */
    const char *tokens;    /* a file of token ids */
    ds_token_type type;    /* of those, as in ds_run_options */
    const char *tokenizer; /* for text; beside tokens it is opened for their words; NULL: none */
    uint64_t offset;       /* token at which the window starts */
    bool offset_given;     /* results tell it: it is not a default */
} ds_window_source;
/* Gives a run that was opened without data its only window: run->ids (T) <- run->length tokens from the offset on, or as many
 * as there are, run->length becoming that many. No token needs to follow the last. The run has no buffers for passes. */
ds_status ds_run_open_window(ds_run *run, const ds_window_source *source) DS_MUST_CHECK;
/* Windows first .. first + count - 1 into the caller's arrays, each (count, T). */
ds_status ds_run_read_windows(ds_run *run, uint32_t *inputs, uint32_t *targets, size_t first, size_t count) DS_MUST_CHECK;

/* ---- which tokens a measurement looks at: CONTRACT's --positions ------------------------------------------------------ */

typedef struct ds_position {
    size_t sequence, position;
} ds_position;

typedef struct ds_position_list {
    ds_position *at;
    size_t count, capacity;
    bool all; /* every token: `at` is empty */
} ds_position_list;

/* "all", "last" (the last token of every window) or "S:P,S:P,...": sequence:position, within the data, no repeats needed to be
 * sorted. DS_ERR_USAGE names the word that does not fit. */
ds_status ds_position_list_parse(ds_position_list *list, const char *words, size_t sequences, size_t length) DS_MUST_CHECK;
/* A window, "S", or one token of it, "S:P"; *token tells which, *at is S:0 for a window. DS_ERR_USAGE otherwise, naming
 * `option`. */
ds_status ds_place_parse(ds_position *at, bool *token, const char *text, const char *option, size_t sequences,
                         size_t length) DS_MUST_CHECK;
/* Sublayers *first .. *last - 1 of "A:B", 0 <= A <= B < sublayers; NULL means all of them. DS_ERR_USAGE otherwise. */
ds_status ds_window_parse(size_t *first, size_t *last, const char *text, size_t sublayers) DS_MUST_CHECK;
void ds_position_list_release(ds_position_list *list);

/* ---- the envelope of a result (CONTRACT "JSON: the envelope") ---------------------------------------------------- */

/* What intervals over a run's windows speak of. */
typedef struct ds_inference {
    size_t windows;
    bool stretch;     /* of the stretch that consecutive windows cover; false: of the whole file */
    ds_serial losses; /* of the windows' losses in the order of the file; NaN where results have none */
} ds_inference;
/* From what a command's results hold. */
ds_status ds_run_inference(ds_inference *out, const ds_run *run, const json_t *results) DS_MUST_CHECK;
/* From the "data" of an envelope, anyone's: what it does not say is the file's, or NaN. */
ds_inference ds_inference_of(const json_t *data);
/* Appends what a reader of intervals must know, in sentences with a full stop: that they speak of a stretch, and how many
 * windows those of the stretch are worth where neighbours resemble each other. Nothing when they speak of the file. */
ds_status ds_inference_note(ds_text *text, const ds_inference *inference) DS_MUST_CHECK;

/* *out <- `results` in the envelope that says what was measured: a new reference. `options` and `results` are borrowed objects,
 * NULL for {}. A run without a checkpoint has "checkpoint": null. */
ds_status ds_run_envelope(json_t **out, const ds_run *run, const char *command, json_t *options, json_t *results) DS_MUST_CHECK;
/* How the run went, "threads", "ranks" and "seconds", becomes null: the envelope then depends on the inputs alone. */
ds_status ds_run_envelope_lasting(json_t *envelope) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
