#include "thread_ranks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support.h"

typedef struct letter {
    struct letter *next;
    size_t from, length;
    int kind;
    double seen_from; /* before that it is on its way */
    char bytes[];
} letter;

typedef struct office {
    pthread_mutex_t lock;
    letter *boxes[THREAD_RANKS_MOST]; /* in the order they were sent */
    unsigned slow;
    ds_random random;
} office;

typedef struct member {
    office *office;
    size_t number, count;
    thread_rank_body *body;
    void *context;
    ds_status status;
} member;

static int send_letter(void *context, size_t to, int kind, const void *bytes, size_t length) {
    const member *me = context;
    office *all = me->office;
    letter *sent = malloc(sizeof *sent + length), **last;
    if (sent == NULL || to >= me->count) return 1;
    *sent = (letter){.from = me->number, .length = length, .kind = kind};
    if (length > 0) memcpy(sent->bytes, bytes, length);
    (void)pthread_mutex_lock(&all->lock);
    double late = all->slow == 0 ? 0 : 1e-6 * (double)ds_random_below(&all->random, all->slow);
    sent->seen_from = ds_seconds() + late;
    for (last = &all->boxes[to]; *last != NULL; last = &(*last)->next)
        if ((*last)->from == me->number && (*last)->seen_from > sent->seen_from) sent->seen_from = (*last)->seen_from;
    *last = sent;
    (void)pthread_mutex_unlock(&all->lock);
    return 0;
}

/* The first that has arrived, of any sender. */
static letter **first_there(const member *me) {
    letter **at = &me->office->boxes[me->number];
    while (*at != NULL && (*at)->seen_from > ds_seconds()) at = &(*at)->next;
    return at;
}

static int probe(void *context, int *there, size_t *from, int *kind, size_t *length) {
    const member *me = context;
    (void)pthread_mutex_lock(&me->office->lock);
    const letter *first = *first_there(me);
    *there = first != NULL;
    if (first != NULL) {
        *from = first->from;
        *kind = first->kind;
        *length = first->length;
    }
    (void)pthread_mutex_unlock(&me->office->lock);
    return 0;
}

static int receive(void *context, size_t from, int kind, void *bytes, size_t length) {
    const member *me = context;
    (void)pthread_mutex_lock(&me->office->lock);
    letter **at = &me->office->boxes[me->number], *found;
    while (*at != NULL && ((*at)->from != from || (*at)->kind != kind)) at = &(*at)->next;
    found = *at;
    if (found != NULL) *at = found->next;
    (void)pthread_mutex_unlock(&me->office->lock);
    if (found == NULL || found->length != length) return 1;
    if (length > 0) memcpy(bytes, found->bytes, length);
    free(found);
    return 0;
}

static const char *problem(void *context) {
    (void)context;
    return "the mailbox lost a letter";
}

static void *live(void *argument) {
    member *me = argument;
    ds_ranks *ranks = NULL;
    const ds_transport transport = {me->number, me->count, send_letter, probe, receive, problem, NULL, me};
    me->status = ds_ranks_over(&ranks, &transport);
    if (me->status == DS_OK) me->status = me->body(me->context, ranks);
    me->status = ds_ranks_close(&ranks, me->status);
    return NULL;
}

void thread_ranks_run(size_t count, thread_rank_body *body, void *contexts, size_t size, ds_status *statuses, unsigned slow,
                      uint64_t seed) {
    office all = {.lock = PTHREAD_MUTEX_INITIALIZER, .slow = slow, .random = ds_random_init(seed)};
    member members[THREAD_RANKS_MOST];
    pthread_t threads[THREAD_RANKS_MOST];
    assert_true(count <= THREAD_RANKS_MOST);
    for (size_t r = 0; r < count; r++) {
        members[r] = (member){&all, r, count, body, (char *)contexts + r * size, DS_OK};
        assert_int_equal(pthread_create(&threads[r], NULL, live, &members[r]), 0);
    }
    for (size_t r = 0; r < count; r++) {
        assert_int_equal(pthread_join(threads[r], NULL), 0);
        statuses[r] = members[r].status;
    }
    for (size_t r = 0; r < count; r++) assert_null(all.boxes[r]); /* nothing is left on its way */
}
