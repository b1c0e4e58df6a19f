/* Private to the ranks room: what ranks say to each other. */
#ifndef DELTASCOPE_RANKS_MESSAGES_H
#define DELTASCOPE_RANKS_MESSAGES_H

#include "deltascope/ranks.h"

enum {
    DS_SAY_SHARED = 1, /* bytes of number 0, handed on from rank to rank */
    DS_SAY_RESULT,     /* to number 0: a ds_share_head and results, maybe of no piece; more work is wanted */
    DS_SAY_WORK,       /* from number 0: a ds_share_head */
    DS_SAY_FAILED,     /* a status (one byte) and its sentence; from number 0: all stop */
    DS_SAY_FINISHED,   /* to number 0: nothing more will come */
    DS_SAY_LEAVE,      /* from number 0: everybody has finished */
    DS_SAY_HERE,       /* to number 0: a ds_place */
};

/* Which pieces, of which work: the number of calls of ds_ranks_do so far, the pieces and the length of a result, which
 * are alike on all. */
typedef struct ds_share_head {
    uint64_t turn, pieces, length;
    uint64_t first, count;
} ds_share_head;

typedef struct ds_message {
    size_t from, length;
    int kind;
    char *bytes; /* freed by who received it; a NUL stands behind them */
} ds_message;

/* Where a rank runs. */
typedef struct ds_place {
    char machine[64];
    int64_t process;
} ds_place;

struct ds_ranks {
    ds_transport transport;
    uint64_t turn;
    ds_status failed; /* a failure of number 0's that this rank was told, or on number 0 anyone's */
    char *sentence;   /* of it */
    ds_place *places; /* of all; NULL: not known */
    ds_message held;  /* heard, to be heard again; without bytes: none */
};

ds_status ds_say(ds_ranks *ranks, size_t to, int kind, const void *bytes, size_t length) DS_MUST_CHECK;
ds_status ds_say_failure(ds_ranks *ranks, size_t to, ds_status failure) DS_MUST_CHECK;
/* *there <- whether a message has come; message <- it, all zero otherwise. A failure told by another rank is returned as this
 * one's, and remembered. */
ds_status ds_hear(ds_ranks *ranks, bool *there, ds_message *message) DS_MUST_CHECK;
/* Waits for one, asleep between looks. */
ds_status ds_hear_next(ds_ranks *ranks, ds_message *message) DS_MUST_CHECK;
/* The message is the next to be heard: takes over its bytes. */
void ds_hear_again(ds_ranks *ranks, ds_message *message);
/* The failure that was remembered, DS_OK when there is none. */
ds_status ds_ranks_failure(const ds_ranks *ranks) DS_MUST_CHECK;
void ds_nap(unsigned *naps); /* longer and longer up to a fifth of a millisecond; *naps is 0 at first */

#endif
