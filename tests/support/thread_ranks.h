/* Threads in place of processes: ranks whose messages lie in a mailbox of this process. */
#ifndef DELTASCOPE_TESTS_THREAD_RANKS_H
#define DELTASCOPE_TESTS_THREAD_RANKS_H

#include "deltascope/ranks.h"

enum { THREAD_RANKS_MOST = 8 };

typedef ds_status thread_rank_body(void *context, ds_ranks *ranks);

/* Runs `body` on `count` threads, rank r with contexts + r * size, each until ds_ranks_close has brought them together;
 * statuses (count) <- what that returned. `slow`: microseconds a message may lie unseen, drawn by `seed`. */
void thread_ranks_run(size_t count, thread_rank_body *body, void *contexts, size_t size, ds_status *statuses, unsigned slow,
                      uint64_t seed);

#endif
