/* One pool of worker threads for the process. A parallel loop is an object on its caller's stack, listed in the pool while it runs:
 * any number of application threads have loops there at once, and a free worker helps the first one that still has work for it.
 * The caller works too, so that every loop ends, also one that no worker comes to. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"

enum { MAX_THREADS = 256, SENTENCE_BYTES = 2048 };

typedef struct loop {
    struct loop *before, *after; /* in the pool's list */
    pthread_cond_t left;         /* the last helper has gone */
    ds_task task;
    void *context;
    size_t count, workers; /* workers of the pool with a number below `workers` may help */
    size_t helpers;        /* inside the loop, beside the caller */
    atomic_size_t next;
    atomic_size_t failed_index; /* smallest failing index, SIZE_MAX when none */
    ds_status failed_status;
    char failed_text[SENTENCE_BYTES];
} loop;

/* The lock guards everything here and the links, helpers and failure of every listed loop. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, stopped;
    loop *first, *last;
    pthread_t threads[MAX_THREADS]; /* threads[i] is worker i + 1 of every loop it helps; a loop's caller is its worker 0 */
    size_t started;
    bool stopping;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .stopped = PTHREAD_COND_INITIALIZER};

static atomic_size_t threads_of_process;       /* 0 before the first ds_threads_set */
static _Thread_local size_t threads_of_thread; /* 0: as many as the process */

/* ---- how many threads ------------------------------------------------------------------------------------------- */

static size_t core_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : ds_min_size((size_t)count, MAX_THREADS);
}

static ds_status check_threads(size_t threads) {
    if (threads > MAX_THREADS)
        return ds_fail(DS_ERR_USAGE, "%zu threads asked for; at most %d are supported", threads, MAX_THREADS);
    return DS_OK;
}

ds_status ds_threads_set(size_t threads) {
    if (check_threads(threads) != DS_OK) return DS_ERR_USAGE;
    atomic_store(&threads_of_process, threads == 0 ? core_count() : threads);
    return DS_OK;
}

ds_status ds_threads_set_here(size_t threads) {
    if (check_threads(threads) != DS_OK) return DS_ERR_USAGE;
    threads_of_thread = threads;
    return DS_OK;
}

size_t ds_threads_here(void) { return threads_of_thread; }

size_t ds_threads(void) {
    if (threads_of_thread != 0) return threads_of_thread;
    size_t threads = atomic_load(&threads_of_process), unset = 0;
    if (threads != 0) return threads;
    /* another thread may have set it meanwhile: its number stays */
    threads = core_count();
    return atomic_compare_exchange_strong(&threads_of_process, &unset, threads) ? threads : unset;
}

/* ---- inside a loop ---------------------------------------------------------------------------------------------- */

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
        if (index >= l->count || index > atomic_load(&l->failed_index)) return;
        ds_status status = l->task(l->context, index, worker);
        if (status != DS_OK) record_failure(l, index, status);
    }
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

static loop *loop_for(size_t worker) {
    for (loop *l = pool.first; l != NULL; l = l->after) {
        if (worker < l->workers && atomic_load(&l->next) < l->count) return l;
    }
    return NULL;
}

static void *worker_main(void *argument) {
    size_t worker = (size_t)(uintptr_t)argument;
    pthread_mutex_lock(&pool.lock);
    while (!pool.stopping) {
        loop *l = loop_for(worker);
        if (l == NULL) {
            pthread_cond_wait(&pool.wake, &pool.lock);
            continue;
        }
        l->helpers++;
        pthread_mutex_unlock(&pool.lock);
        work(l, worker);
        pthread_mutex_lock(&pool.lock);
        if (--l->helpers == 0) pthread_cond_signal(&l->left);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* A machine that refuses more threads still gets the work done by those it has. */
static void start_workers(size_t workers) {
    while (!pool.stopping && pool.started < workers) {
        if (pthread_create(&pool.threads[pool.started], NULL, worker_main, (void *)(uintptr_t)(pool.started + 1)) != 0) return;
        pool.started++;
    }
}

void ds_threads_stop(void) {
    pthread_mutex_lock(&pool.lock);
    while (pool.stopping) pthread_cond_wait(&pool.stopped, &pool.lock);
    pool.stopping = true;
    pthread_cond_broadcast(&pool.wake);
    size_t started = pool.started;
    pthread_mutex_unlock(&pool.lock);
    for (size_t i = 0; i < started; i++) pthread_join(pool.threads[i], NULL);
    pthread_mutex_lock(&pool.lock);
    pool.started = 0;
    pool.stopping = false;
    pthread_cond_broadcast(&pool.stopped);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- fork: the child has none of the workers, and none of the other threads whose loops were listed ------------- */

static void before_fork(void) { pthread_mutex_lock(&pool.lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&pool.lock); }
static void after_fork_in_child(void) {
    pool.wake = pool.stopped = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pool.first = pool.last = NULL;
    pool.started = 0;
    pool.stopping = false;
    pthread_mutex_unlock(&pool.lock);
}
static void watch_forks(void) { (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

/* ---- loops ------------------------------------------------------------------------------------------------------ */

static void join_pool(loop *l) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    pthread_mutex_lock(&pool.lock);
    start_workers(l->workers - 1);
    l->before = pool.last;
    *(pool.last == NULL ? &pool.first : &pool.last->after) = l;
    pool.last = l;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

static void leave_pool(loop *l) {
    pthread_mutex_lock(&pool.lock);
    *(l->before == NULL ? &pool.first : &l->before->after) = l->after;
    *(l->after == NULL ? &pool.last : &l->after->before) = l->before;
    while (l->helpers > 0) pthread_cond_wait(&l->left, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

ds_status ds_parallel_for_within(size_t workers, size_t count, ds_task task, void *context) {
    loop l; /* not all zeroed: the sentence is long and rarely needed */
    if (count == 0) return DS_OK;
    l.before = l.after = NULL;
    l.left = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    l.task = task;
    l.context = context;
    l.count = count;
    l.workers = ds_max_size(ds_min_size(workers, ds_threads()), 1);
    l.helpers = 0;
    atomic_init(&l.next, 0);
    atomic_init(&l.failed_index, SIZE_MAX);
    l.failed_status = DS_OK;
    bool shared = l.workers > 1 && count > 1;
    if (shared) join_pool(&l);
    work(&l, 0);
    if (shared) leave_pool(&l);
    (void)pthread_cond_destroy(&l.left);
    return l.failed_status == DS_OK ? DS_OK : ds_fail(l.failed_status, "%s", l.failed_text);
}

ds_status ds_parallel_for(size_t count, ds_task task, void *context) {
    return ds_parallel_for_within(MAX_THREADS, count, task, context);
}
