/* Pieces of work handed out to whoever is free, their results gathered. Number 0 keeps the list: a thread of its own answers
 * the others while it computes pieces itself. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

/* Number 0's list, under the lock; messages are heard and sent by the thread alone. */
typedef struct list {
    ds_ranks *ranks;
    const ds_ranks_work *work;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next, missing; /* the first piece nobody was given; pieces without a result */
    size_t absent;        /* other ranks that have not come to this work yet */
    ds_status failed;     /* of any rank, or of keeping */
    char *sentence;
    atomic_bool over;
} list;

static ds_share_head head_of(const ds_ranks *ranks, const ds_ranks_work *work, size_t first, size_t count) {
    return (ds_share_head){ranks->turn, work->count, work->length, first, count};
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static void note_failure(list *all, ds_status failure) {
    if (failure == DS_OK || all->failed != DS_OK) return;
    all->failed = failure;
    all->sentence = ds_strdup(ds_error_text());
    (void)pthread_cond_broadcast(&all->changed);
}

/* The next pieces without a result, up to one that has one: half of what every rank would get of those left, at least one, so
 * that nobody is left with much work in the end. */
static void take_pieces(list *all, size_t *first, size_t *count) {
    const ds_ranks_work *work = all->work;
    while (all->next < work->count && work->finished[all->next]) all->next++;
    size_t fair = (work->count - all->next) / (2 * ds_ranks_count(all->ranks));
    size_t most = ds_max_size(1, ds_min_size(work->most, fair));
    *first = all->next;
    while (all->next < work->count && all->next - *first < most && !work->finished[all->next]) all->next++;
    *count = all->next - *first;
}

/* These have their results. */
static void keep_pieces(list *all, size_t first, size_t count) {
    const ds_ranks_work *work = all->work;
    if (work->keep != NULL) note_failure(all, work->keep(work->context, first, count));
    for (size_t i = first; i < first + count; i++) work->finished[i] = true;
    all->missing -= count;
    if (all->missing == 0) (void)pthread_cond_broadcast(&all->changed);
}

/* ---- number 0's thread ------------------------------------------------------------------------------------------- */

static ds_status check_result(const ds_ranks *ranks, const ds_ranks_work *work, const ds_message *message, ds_share_head head) {
    if (head.turn == ranks->turn && head.pieces == work->count && head.length == work->length && head.first <= work->count &&
        head.count <= work->count - head.first && message->length == sizeof head + head.count * work->length * sizeof(double))
        return DS_OK;
    return ds_fail(
        DS_ERR_SYSTEM,
        "rank %zu is at other work than rank 0: its step %llu has %llu pieces of %llu numbers, that of rank 0 is step "
        "%llu with %zu of %zu; all ranks need the same program, options and files",
        message->from, (unsigned long long)head.turn, (unsigned long long)head.pieces, (unsigned long long)head.length,
        (unsigned long long)ranks->turn, work->count, work->length);
}

/* A result of another rank, which wants more; what was asked in an earlier turn has been answered by its end. */
static ds_status answer(list *all, const ds_message *message) {
    ds_status status = DS_OK;
    const ds_ranks_work *work = all->work;
    ds_share_head head = {0};
    size_t first, count;
    if (message->length >= sizeof head) memcpy(&head, message->bytes, sizeof head);
    if (head.turn < all->ranks->turn) return DS_OK;
    DS_TRY(check_result(all->ranks, work, message, head));
    if (head.count > 0)
        memcpy(work->results + head.first * work->length, message->bytes + sizeof head, message->length - sizeof head);
    (void)pthread_mutex_lock(&all->lock);
    if (head.count > 0) keep_pieces(all, (size_t)head.first, (size_t)head.count);
    if (head.count == 0 && --all->absent == 0) (void)pthread_cond_broadcast(&all->changed);
    take_pieces(all, &first, &count);
    (void)pthread_mutex_unlock(&all->lock);
    head = head_of(all->ranks, work, first, count);
    if (count > 0) DS_TRY(ds_say(all->ranks, message->from, DS_SAY_WORK, &head, sizeof head));
done:
    return status;
}

static ds_status heed(list *all, bool *there) {
    ds_status status = DS_OK;
    ds_message message = {0};
    DS_TRY(ds_hear(all->ranks, there, &message));
    if (*there && message.kind == DS_SAY_RESULT) DS_TRY(answer(all, &message));
done:
    free(message.bytes);
    return status;
}

static void *answer_all(void *argument) {
    list *all = argument;
    for (unsigned naps = 0; !atomic_load(&all->over);) {
        bool there = false;
        ds_status status = heed(all, &there);
        if (status != DS_OK) {
            (void)pthread_mutex_lock(&all->lock);
            note_failure(all, status);
            (void)pthread_mutex_unlock(&all->lock);
            break;
        }
        if (there)
            naps = 0;
        else
            ds_nap(&naps);
    }
    return NULL;
}

/* ---- number 0's own share ---------------------------------------------------------------------------------------- */

static void compute_pieces(list *all) {
    for (;;) {
        size_t first = 0, count = 0;
        (void)pthread_mutex_lock(&all->lock);
        if (all->failed == DS_OK) take_pieces(all, &first, &count);
        (void)pthread_mutex_unlock(&all->lock);
        if (count == 0) return;
        ds_status status = all->work->compute(all->work->context, first, count);
        (void)pthread_mutex_lock(&all->lock);
        if (status == DS_OK)
            keep_pieces(all, first, count);
        else
            note_failure(all, status);
        (void)pthread_mutex_unlock(&all->lock);
    }
}

/* Whoever was given pieces brings them, or fails and says so, or ends and takes the run with it. Everybody has to come, so that
 * what is wrong on one rank is everybody's end, however fast the others are. */
static void wait_for_pieces(list *all) {
    (void)pthread_mutex_lock(&all->lock);
    while ((all->missing > 0 || all->absent > 0) && all->failed == DS_OK) (void)pthread_cond_wait(&all->changed, &all->lock);
    (void)pthread_mutex_unlock(&all->lock);
}

static ds_status lead(ds_ranks *ranks, const ds_ranks_work *work) {
    ds_status status = DS_OK;
    list all = {.ranks = ranks, .work = work, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    all.absent = ranks->transport.count - 1;
    for (size_t i = 0; i < work->count; i++) all.missing += !work->finished[i];
    atomic_init(&all.over, false);
    if (pthread_create(&thread, NULL, answer_all, &all) != 0)
        return ds_fail(DS_ERR_SYSTEM, "rank 0: no thread can be started that hands out work");
    compute_pieces(&all);
    wait_for_pieces(&all);
    atomic_store(&all.over, true);
    (void)pthread_join(thread, NULL);
    if (all.failed != DS_OK)
        status = ds_fail(all.failed, "%s", all.sentence != NULL ? all.sentence : "out of memory for the sentence of a failure");
    free(all.sentence);
    (void)pthread_mutex_destroy(&all.lock);
    (void)pthread_cond_destroy(&all.changed);
    return status;
}

/* ---- the others -------------------------------------------------------------------------------------------------- */

static ds_status bring(ds_ranks *ranks, const ds_ranks_work *work, size_t first, size_t count) {
    ds_status status = DS_OK;
    const ds_share_head head = head_of(ranks, work, first, count);
    size_t length = count * work->length * sizeof(double);
    char *bytes = NULL;
    DS_NEW(bytes, sizeof head + length);
    memcpy(bytes, &head, sizeof head);
    if (count > 0) memcpy(bytes + sizeof head, work->results + first * work->length, length);
    DS_TRY(ds_say(ranks, 0, DS_SAY_RESULT, bytes, sizeof head + length));
done:
    free(bytes);
    return status;
}

/* Until the results of all come, which stay to be heard. */
static ds_status follow(ds_ranks *ranks, const ds_ranks_work *work) {
    ds_status status = DS_OK;
    ds_share_head head;
    ds_message message = {0};
    DS_TRY(bring(ranks, work, 0, 0));
    for (;;) {
        DS_TRY(ds_hear_next(ranks, &message));
        if (message.kind == DS_SAY_SHARED) break;
        if (message.kind == DS_SAY_WORK && message.length == sizeof head) {
            memcpy(&head, message.bytes, sizeof head);
            DS_TRY(work->compute(work->context, (size_t)head.first, (size_t)head.count));
            DS_TRY(bring(ranks, work, (size_t)head.first, (size_t)head.count));
        }
        free(message.bytes);
        message.bytes = NULL;
    }
    ds_hear_again(ranks, &message);
done:
    free(message.bytes);
    return status;
}

/* Some pieces at a time: few messages for short results, none longer than it must be for long ones. One at least: it ends the
 * turn. */
static ds_status share_results(ds_ranks *ranks, const ds_ranks_work *work) {
    ds_status status = DS_OK;
    const size_t message = (size_t)16 << 20;
    size_t bytes = work->length * sizeof *work->results, some = ds_max_size(1, message / ds_max_size(1, bytes));
    size_t first = 0;
    do {
        size_t length = bytes * ds_min_size(some, work->count - first), came = length;
        double *results = work->results + first * work->length;
        void *shared = results;
        DS_TRY(ds_ranks_share(ranks, &shared, &came));
        if (shared != results && came == length) memcpy(results, shared, length);
        if (shared != results) free(shared);
        if (came != length) {
            status = ds_fail(DS_ERR_SYSTEM, "rank %zu: %zu bytes of results came where %zu were due", ranks->transport.number,
                             came, length);
            goto done;
        }
        first += some;
    } while (first < work->count);
    for (size_t i = 0; i < work->count; i++) work->finished[i] = true;
done:
    return status;
}

ds_status ds_ranks_do(ds_ranks *ranks, const ds_ranks_work *work) {
    ds_status status = DS_OK;
    ranks->turn++;
    DS_TRY(ds_ranks_failure(ranks));
    if (ranks->transport.number == 0)
        DS_TRY(lead(ranks, work));
    else
        DS_TRY(follow(ranks, work));
    DS_TRY(share_results(ranks, work));
done:
    return status;
}
