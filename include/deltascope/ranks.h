/* ranks: several processes that do one piece of work together, on one machine or many.
 *
 * All of them are the same program with the same command line; number 0 speaks, writes and decides, the others compute. What
 * carries their messages is a table of four functions: MPI's stand in the one file that includes mpi.h, a plug-in that is
 * loaded when a launcher (mpirun, srun) started the process and never otherwise. A NULL ds_ranks is a process alone.
 *
 * A failure on any rank, or in number 0, is everybody's: the next call here returns it, with its sentence. */
#ifndef DELTASCOPE_RANKS_H
#define DELTASCOPE_RANKS_H

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

/* How messages travel. The functions return 0, or anything else when they failed; then `problem` tells why. Messages from one
 * rank to another arrive in the order they were sent. One thread at a time calls them. */
typedef struct ds_transport {
    size_t number, count; /* this rank, from 0 on; how many */
    /* Returns when `bytes` may be changed. */
    int (*send)(void *context, size_t to, int kind, const void *bytes, size_t length);
    /* Whether a message is there, without waiting; and then what the next to receive is. */
    int (*probe)(void *context, int *there, size_t *from, int *kind, size_t *length);
    int (*receive)(void *context, size_t from, int kind, void *bytes, size_t length);
    const char *(*problem)(void *context);
    void (*close)(void *context); /* called by every rank, when no message is on its way; NULL: nothing to do */
    void *context;
} ds_transport;

typedef struct ds_ranks ds_ranks;

/* The ranks that a launcher started this process among; *out is NULL when none did, or it started one alone. DS_ERR_SYSTEM
 * where it started several and the plug-in is missing or MPI fails. Called once, before threads start. */
ds_status ds_ranks_open(ds_ranks **out) DS_MUST_CHECK;
/* The same over messages that the caller carries; the table is copied. */
ds_status ds_ranks_over(ds_ranks **out, const ds_transport *transport) DS_MUST_CHECK;
/* Waits until every rank has come here: number 0 tells the others how it went for it (`outcome`, with ds_error_text()), and
 * learns how it went for them. Returns the outcome of number 0: a failure of another that it had not met before is too late to
 * change anything. Sets NULL; NULL is fine. */
ds_status ds_ranks_close(ds_ranks **ranks, ds_status outcome);

/* The first rank on this machine whose process is gone, the number of ranks when none is, as far as ds_ranks_open knows them.
 * Async-signal-safe. */
size_t ds_ranks_gone(const ds_ranks *ranks);

size_t ds_ranks_number(const ds_ranks *ranks); /* 0 for NULL */
size_t ds_ranks_count(const ds_ranks *ranks);  /* 1 for NULL */

/* Number 0's bytes, to all: the others get *bytes (freed with free(); NULL for none) and *length. */
ds_status ds_ranks_share(ds_ranks *ranks, void **bytes, size_t *length) DS_MUST_CHECK;

/* Pieces of work in a row, each of which leaves `length` numbers. */
typedef struct ds_ranks_work {
    size_t count, most; /* how many pieces; how many are computed at once, at most */
    size_t length;      /* numbers that each leaves */
    double *results;    /* (count, length): in the end all are there, on every rank */
    bool *finished;     /* (count): results that were there before, the same on every rank; in the end all */
    /* results of the pieces first .. first + count - 1 <- computed; by the thread that called ds_ranks_do. */
    ds_status (*compute)(void *context, size_t first, size_t count);
    /* On number 0 alone, NULL for nothing: these have just come in, from any rank. One call at a time, on any thread. */
    ds_status (*keep)(void *context, size_t first, size_t count);
    void *context;
} ds_ranks_work;
/* Number 0 hands pieces out in order, few at a time, to whoever is free, itself included: a slow rank holds up nobody. */
ds_status ds_ranks_do(ds_ranks *ranks, const ds_ranks_work *work) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
