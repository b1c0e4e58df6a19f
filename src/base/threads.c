/* One pool of worker threads, woken for each parallel loop; indices are handed out by an atomic counter. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"

enum { MAX_THREADS = 256, SENTENCE_BYTES = 2048 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, finished;
    pthread_t threads[MAX_THREADS];
    size_t started;     /* workers that exist; the caller is worker 0 of every loop */
    size_t wanted;      /* threads to use, 0 before the first ds_threads_set */
    unsigned long loop; /* counts loops, so that a worker joins each of them once */
    size_t running;     /* workers still inside the loop */
    bool stop;
    ds_task task;
    void *context;
    size_t count;
    atomic_size_t next;
    atomic_size_t failed_index; /* smallest failing index, SIZE_MAX when none */
    ds_status failed_status;
    char failed_text[SENTENCE_BYTES];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER};

static size_t core_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : (size_t)count;
}

ds_status ds_threads_set(size_t threads) {
    if (threads > MAX_THREADS)
        return ds_fail(DS_ERR_USAGE, "%zu threads asked for; at most %d are supported", threads, MAX_THREADS);
    ds_threads_stop();
    pool.wanted = threads == 0 ? ds_min_size(core_count(), MAX_THREADS) : threads;
    return DS_OK;
}

size_t ds_threads(void) {
    if (pool.wanted == 0) pool.wanted = ds_min_size(core_count(), MAX_THREADS);
    return pool.wanted;
}

static void record_failure(size_t index, ds_status status) {
    pthread_mutex_lock(&pool.lock);
    if (index < atomic_load(&pool.failed_index)) {
        atomic_store(&pool.failed_index, index);
        pool.failed_status = status;
        (void)snprintf(pool.failed_text, sizeof pool.failed_text, "%s", ds_error_text());
    }
    pthread_mutex_unlock(&pool.lock);
}

/* After a failure at index i only smaller indices still matter: the smallest failing one is what is reported. */
static void work(size_t worker) {
    for (;;) {
        size_t index = atomic_fetch_add(&pool.next, 1);
        if (index >= pool.count || index > atomic_load(&pool.failed_index)) return;
        ds_status status = pool.task(pool.context, index, worker);
        if (status != DS_OK) record_failure(index, status);
    }
}

static void *worker_main(void *argument) {
    size_t worker = (size_t)(uintptr_t)argument;
    unsigned long seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (!pool.stop && pool.loop == seen) pthread_cond_wait(&pool.wake, &pool.lock);
        if (pool.stop) break;
        seen = pool.loop;
        pthread_mutex_unlock(&pool.lock);
        work(worker);
        pthread_mutex_lock(&pool.lock);
        if (--pool.running == 0) pthread_cond_signal(&pool.finished);
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void start_workers(size_t workers) {
    pool.stop = false;
    pool.loop = 0;
    while (pool.started < workers) {
        /* A machine that refuses more threads still gets the work done by those it has. */
        if (pthread_create(&pool.threads[pool.started], NULL, worker_main, (void *)(uintptr_t)(pool.started + 1)) != 0) break;
        pool.started++;
    }
}

ds_status ds_parallel_for(size_t count, ds_task task, void *context) {
    if (count == 0) return DS_OK;
    size_t workers = ds_min_size(ds_threads(), count) - 1;
    if (workers > 0 && pool.started == 0) start_workers(ds_threads() - 1);
    pthread_mutex_lock(&pool.lock);
    pool.task = task;
    pool.context = context;
    pool.count = count;
    atomic_store(&pool.next, 0);
    atomic_store(&pool.failed_index, SIZE_MAX);
    pool.failed_status = DS_OK;
    bool shared = workers > 0 && pool.started > 0;
    if (shared) {
        pool.running = pool.started;
        pool.loop++;
        pthread_cond_broadcast(&pool.wake);
    }
    pthread_mutex_unlock(&pool.lock);
    work(0);
    if (shared) {
        pthread_mutex_lock(&pool.lock);
        while (pool.running > 0) pthread_cond_wait(&pool.finished, &pool.lock);
        pthread_mutex_unlock(&pool.lock);
    }
    return pool.failed_status == DS_OK ? DS_OK : ds_fail(pool.failed_status, "%s", pool.failed_text);
}

void ds_threads_stop(void) {
    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (size_t i = 0; i < pool.started; i++) pthread_join(pool.threads[i], NULL);
    pool.started = 0;
}
