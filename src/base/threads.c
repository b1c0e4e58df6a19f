/* Worker threads of the process. A parallel loop is an object on its caller's stack; the workers take indices of whichever
 * loops there are, so that several threads of an application may run loops at the same time, and a loop never waits for a
 * worker that did not join it. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/activity.h"
#include "deltascope/base.h"

enum { MAX_THREADS = 256, SENTENCE_BYTES = 2048 };

typedef struct loop {
    struct loop *after; /* in the list of loops that can be joined */
    ds_task task;
    void *context;
    size_t count, most;         /* indices; workers at most, the caller among them */
    size_t joined, inside;      /* workers that ever joined, those still at it; under the lock */
    atomic_size_t next;         /* index */
    atomic_size_t failed_index; /* smallest failing index, SIZE_MAX when none */
    ds_status failed_status;
    char failed_text[SENTENCE_BYTES];
} loop;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, left; /* a loop came, or the end; a worker left a loop */
    pthread_t threads[MAX_THREADS];
    size_t started; /* workers that exist, beside the threads of the application */
    bool refused;   /* the machine gave no more: not asked again before the workers are stopped */
    loop *loops;
    bool stop, watches_fork;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

/* Starting and stopping the workers, one at a time. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static atomic_size_t wanted;      /* threads of a loop; 0 before the first ds_threads_set */
static _Thread_local size_t here; /* threads of the loops of this thread; 0: as everywhere */

static size_t core_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : (size_t)count;
}

static size_t all_threads(void) {
    size_t threads = atomic_load(&wanted);
    if (threads == 0) {
        threads = ds_min_size(core_count(), MAX_THREADS);
        atomic_store(&wanted, threads);
    }
    return threads;
}

static ds_status too_many(size_t threads) {
    return ds_fail(DS_ERR_USAGE, "%zu threads asked for; at most %d are supported", threads, MAX_THREADS);
}

ds_status ds_threads_set(size_t threads) {
    if (threads > MAX_THREADS) return too_many(threads);
    ds_threads_stop();
    atomic_store(&wanted, threads == 0 ? ds_min_size(core_count(), MAX_THREADS) : threads);
    return DS_OK;
}

ds_status ds_threads_set_here(size_t threads) {
    if (threads > MAX_THREADS) return too_many(threads);
    here = threads;
    return DS_OK;
}

size_t ds_threads_here(void) { return here; }

size_t ds_threads(void) { return here == 0 ? all_threads() : here; }

/* ---- a loop ------------------------------------------------------------------------------------------------------ */

static void record_failure(loop *l, size_t index, ds_status status) {
    pthread_mutex_lock(&pool.lock);
    if (index < atomic_load(&l->failed_index)) {
        atomic_store(&l->failed_index, index);
        l->failed_status = status;
        (void)snprintf(l->failed_text, sizeof l->failed_text, "%s", ds_error_text());
    }
    pthread_mutex_unlock(&pool.lock);
}

/* After a failure at index i only smaller indices still matter: the smallest failing one is what is reported. */
static void work(loop *l, size_t worker) {
    for (;;) {
        size_t index = atomic_fetch_add(&l->next, 1);
        if (index >= l->count || index > atomic_load(&l->failed_index)) break;
        (void)ds_activity_turn(DS_ACTIVITY_OTHER); /* until the task says what it is */
        ds_status status = l->task(l->context, index, worker);
        if (status != DS_OK) record_failure(l, index, status);
    }
    (void)ds_activity_turn(DS_ACTIVITY_NONE);
}

/* A loop that has an index left and room for one more worker. */
static loop *find_loop(void) {
    loop *l = pool.loops;
    while (l != NULL && (l->joined + 1 >= l->most || atomic_load(&l->next) >= l->count)) l = l->after;
    return l;
}

static void *worker_main(void *argument) {
    (void)argument;
    pthread_mutex_lock(&pool.lock);
    while (!pool.stop) {
        loop *l = find_loop();
        if (l == NULL) {
            pthread_cond_wait(&pool.wake, &pool.lock);
            continue;
        }
        size_t worker = ++l->joined;
        l->inside++;
        pthread_mutex_unlock(&pool.lock);
        work(l, worker);
        pthread_mutex_lock(&pool.lock);
        if (--l->inside == 0) pthread_cond_broadcast(&pool.left);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Makes the loop known to the workers; takes it back and waits for those that joined it. */
static void offer(loop *l) {
    pthread_mutex_lock(&pool.lock);
    l->after = pool.loops;
    pool.loops = l;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void take_back(loop *l) {
    pthread_mutex_lock(&pool.lock);
    loop **link = &pool.loops;
    while (*link != l) link = &(*link)->after;
    *link = l->after;
    while (l->inside > 0) pthread_cond_wait(&pool.left, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- the workers ------------------------------------------------------------------------------------------------- */

/* A child has the thread that forked and no other: it starts with no workers and no loops of other threads. */
static void before_fork(void) {
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&life);
}

static void after_fork_in_child(void) {
    (void)pthread_mutex_init(&life, NULL);
    (void)pthread_mutex_init(&pool.lock, NULL);
    (void)pthread_cond_init(&pool.wake, NULL);
    (void)pthread_cond_init(&pool.left, NULL);
    pool.started = 0;
    pool.loops = NULL;
    pool.stop = pool.refused = false;
}

/* A machine that refuses more threads still gets the work done by those it has. */
static void start_workers(size_t workers) {
    pthread_mutex_lock(&life);
    if (!pool.watches_fork) pool.watches_fork = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
    pthread_mutex_lock(&pool.lock);
    pool.stop = false;
    while (pool.started < workers && pthread_create(&pool.threads[pool.started], NULL, worker_main, NULL) == 0) pool.started++;
    pool.refused = pool.started < workers;
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&life);
}

static bool has_workers(size_t workers) {
    pthread_mutex_lock(&pool.lock);
    bool enough = pool.started >= workers || pool.refused;
    pthread_mutex_unlock(&pool.lock);
    return enough;
}

ds_status ds_parallel_for_within(size_t workers, size_t count, ds_task task, void *context) {
    loop l; /* not zeroed: the sentence is long, and rarely needed */
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_NONE);
    l.task = task;
    l.context = context;
    l.count = count;
    l.most = ds_min_size(ds_min_size(workers, ds_threads()), count);
    l.joined = l.inside = 0;
    atomic_init(&l.next, 0);
    atomic_init(&l.failed_index, SIZE_MAX);
    l.failed_status = DS_OK;
    bool shared = l.most > 1;
    if (shared && !has_workers(l.most - 1)) start_workers(l.most - 1);
    if (shared) offer(&l);
    work(&l, 0);
    if (shared) take_back(&l);
    (void)ds_activity_turn(before);
    return l.failed_status == DS_OK ? DS_OK : ds_fail(l.failed_status, "%s", l.failed_text);
}

ds_status ds_parallel_for(size_t count, ds_task task, void *context) {
    return ds_parallel_for_within(MAX_THREADS, count, task, context);
}

void ds_threads_stop(void) {
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pool.refused = false;
    size_t workers = pool.started;
    pool.started = 0;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (size_t i = 0; i < workers; i++) pthread_join(pool.threads[i], NULL);
    pthread_mutex_unlock(&life);
}
