/* Work handed out among threads that stand for processes: drawn at random in numbers, sizes, delays and failures. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deltascope/ranks.h"
#include "support.h"
#include "thread_ranks.h"

enum { PIECES = 40, LENGTH = 5, STEPS = 2 };

/* What all ranks of one trial agree on, and what they leave. */
typedef struct trial {
    size_t count, most, length;
    bool known[PIECES];
    size_t failing, fails_at; /* which rank, at which of its pieces; a rank that is not there: none */
    ds_status failure;
    bool full; /* the disk of number 0 */
    atomic_uint computed[PIECES], kept[PIECES];
} trial;

typedef struct member {
    trial *all;
    ds_ranks *ranks;
    size_t pieces; /* it has computed */
    double step;
    double results[PIECES * LENGTH];
    bool finished[PIECES];
    unsigned slow; /* microseconds a piece takes */
} member;

static double expected(const member *me, size_t piece, size_t i) {
    return me->step / 3 + (double)piece * 1.1 + (double)i * 0.01;
}

static ds_status compute(void *context, size_t first, size_t count) {
    member *me = context;
    const struct timespec time = {.tv_nsec = (long)me->slow * 1000};
    for (size_t p = first; p < first + count; p++) {
        if (ds_ranks_number(me->ranks) == me->all->failing && me->pieces == me->all->fails_at)
            return ds_fail(me->all->failure, "piece %zu of rank %zu", p, me->all->failing);
        if (me->slow > 0) (void)nanosleep(&time, NULL);
        for (size_t i = 0; i < me->all->length; i++) me->results[p * me->all->length + i] = expected(me, p, i);
        me->pieces++;
        (void)atomic_fetch_add(&me->all->computed[p], 1);
    }
    return DS_OK;
}

static ds_status keep(void *context, size_t first, size_t count) {
    const member *me = context;
    if (me->all->full) return ds_fail(DS_ERR_SYSTEM, "piece %zu cannot be kept", first);
    for (size_t p = first; p < first + count; p++) {
        for (size_t i = 0; i < me->all->length; i++)
            if (me->results[p * me->all->length + i] != expected(me, p, i))
                return ds_fail(DS_ERR_SYSTEM, "piece %zu came in wrong", p);
        (void)atomic_fetch_add(&me->all->kept[p], 1);
    }
    return DS_OK;
}

static ds_status run_steps(void *context, ds_ranks *ranks) {
    ds_status status = DS_OK;
    member *me = context;
    me->ranks = ranks;
    for (size_t step = 0; step < STEPS; step++) {
        me->step = (double)step;
        for (size_t p = 0; p < PIECES; p++) {
            me->finished[p] = me->all->known[p];
            for (size_t i = 0; i < me->all->length; i++)
                me->results[p * me->all->length + i] = me->all->known[p] ? expected(me, p, i) : -1;
        }
        const ds_ranks_work work = {.count = me->all->count,
                                    .most = me->all->most,
                                    .length = me->all->length,
                                    .results = me->results,
                                    .finished = me->finished,
                                    .compute = compute,
                                    .keep = keep,
                                    .context = me};
        DS_TRY(ds_ranks_do(ranks, &work));
        for (size_t p = 0; p < me->all->count; p++) {
            if (!me->finished[p]) return ds_fail(DS_ERR_INPUT, "piece %zu is not finished", p);
            for (size_t i = 0; i < me->all->length; i++)
                if (me->results[p * me->all->length + i] != expected(me, p, i))
                    return ds_fail(DS_ERR_INPUT, "piece %zu is not what it was", p);
        }
    }
done:
    return status;
}

static void draw(trial *all, member *members, size_t ranks, ds_random *random) {
    *all = (trial){.count = (size_t)ds_random_below(random, PIECES + 1),
                   .most = 1 + (size_t)ds_random_below(random, 7),
                   .length = 1 + (size_t)ds_random_below(random, LENGTH),
                   .failing = ranks};
    unsigned share = (unsigned)ds_random_below(random, 4);
    for (size_t p = 0; p < PIECES; p++) all->known[p] = ds_random_below(random, 4) < share;
    for (size_t r = 0; r < ranks; r++)
        members[r] =
            (member){.all = all, .slow = (unsigned)ds_random_below(random, 3) * (unsigned)ds_random_below(random, 200)};
}

static void test_all_results(void **state) {
    (void)state;
    enum { SEED = 20261128, TRIALS = 60 };
    ds_random random = ds_random_init(SEED);
    static member members[THREAD_RANKS_MOST];
    for (size_t t = 0; t < TRIALS; t++) {
        size_t ranks = 1 + (size_t)ds_random_below(&random, THREAD_RANKS_MOST);
        static trial all;
        ds_status statuses[THREAD_RANKS_MOST];
        draw(&all, members, ranks, &random);
        if (t == 0) all.count = 0;
        thread_ranks_run(ranks, run_steps, members, sizeof *members, statuses, (unsigned)ds_random_below(&random, 2) * 500,
                         t + 1);
        for (size_t r = 0; r < ranks; r++) assert_int_equal(statuses[r], DS_OK);
        for (size_t p = 0; p < PIECES; p++) {
            unsigned times = p < all.count && !all.known[p] ? STEPS : 0;
            assert_int_equal(all.computed[p], times);
            assert_int_equal(all.kept[p], times);
        }
    }
}

/* Whoever fails, at whatever piece: all end, and all with its status. Number 0 has its sentence. */
static void test_failures(void **state) {
    (void)state;
    enum { SEED = 17, TRIALS = 60 };
    ds_random random = ds_random_init(SEED);
    static member members[THREAD_RANKS_MOST];
    size_t failed = 0;
    for (size_t t = 0; t < TRIALS; t++) {
        size_t ranks = 2 + (size_t)ds_random_below(&random, THREAD_RANKS_MOST - 1);
        static trial all;
        ds_status statuses[THREAD_RANKS_MOST];
        draw(&all, members, ranks, &random);
        all.failing = (size_t)ds_random_below(&random, ranks);
        all.fails_at = (size_t)ds_random_below(&random, 4);
        all.failure = DS_ERR_USAGE + (ds_status)ds_random_below(&random, 3);
        thread_ranks_run(ranks, run_steps, members, sizeof *members, statuses, (unsigned)ds_random_below(&random, 2) * 500,
                         t + 1);
        bool reached = members[all.failing].pieces == all.fails_at && statuses[all.failing] != DS_OK;
        for (size_t r = 0; r < ranks; r++) assert_int_equal(statuses[r], reached ? all.failure : DS_OK);
        failed += reached;
    }
    assert_true(failed > TRIALS / 3 && failed < TRIALS);
}

/* What cannot be kept is no result. */
static void test_full_disk(void **state) {
    (void)state;
    static member members[3];
    static trial all;
    ds_status statuses[3];
    all = (trial){.count = 9, .most = 2, .length = 2, .failing = 3, .full = true};
    for (size_t r = 0; r < 3; r++) members[r] = (member){.all = &all, .slow = 100};
    thread_ranks_run(3, run_steps, members, sizeof *members, statuses, 0, 1);
    for (size_t r = 0; r < 3; r++) assert_int_equal(statuses[r], DS_ERR_SYSTEM);
}

/* Ranks of other work are told apart from slow ones. */
static void test_other_work(void **state) {
    (void)state;
    static member members[2];
    static trial all[2];
    ds_status statuses[2];
    for (size_t other = 0; other < 2; other++) {
        for (size_t r = 0; r < 2; r++) {
            all[r] = (trial){.count = 9, .most = 2, .length = 2, .failing = 2};
            members[r] = (member){.all = &all[r], .slow = 100};
        }
        *(other == 0 ? &all[1].count : &all[1].length) = 3;
        thread_ranks_run(2, run_steps, members, sizeof *members, statuses, 0, 1);
        assert_int_equal(statuses[0], DS_ERR_SYSTEM);
        assert_int_equal(statuses[1], DS_ERR_SYSTEM);
    }
}

/* Bytes of number 0 arrive whole on every rank, nothing and a mebibyte too. */
typedef struct sharing {
    size_t lengths[3];
    bool whole;
} sharing;

static ds_status share(void *context, ds_ranks *ranks) {
    ds_status status = DS_OK;
    sharing *me = context;
    me->whole = true;
    for (size_t i = 0; i < 3; i++) {
        size_t length = ds_ranks_number(ranks) == 0 ? me->lengths[i] : 0;
        unsigned char *sent = NULL;
        DS_NEW(sent, me->lengths[i]);
        for (size_t j = 0; j < me->lengths[i]; j++) sent[j] = (unsigned char)(j * 31 + i);
        void *bytes = ds_ranks_number(ranks) == 0 ? sent : NULL;
        status = ds_ranks_share(ranks, &bytes, &length);
        me->whole = me->whole && status == DS_OK && length == me->lengths[i] && memcmp(bytes, sent, length) == 0;
        if (bytes != sent) free(bytes);
        free(sent);
        if (status != DS_OK) break;
    }
done:
    return status;
}

static void test_share(void **state) {
    (void)state;
    for (size_t ranks = 1; ranks <= THREAD_RANKS_MOST; ranks++) {
        sharing members[THREAD_RANKS_MOST];
        ds_status statuses[THREAD_RANKS_MOST];
        for (size_t r = 0; r < ranks; r++) members[r] = (sharing){.lengths = {0, 1, 1 << 20}};
        thread_ranks_run(ranks, share, members, sizeof *members, statuses, 200, ranks);
        for (size_t r = 0; r < ranks; r++) {
            assert_int_equal(statuses[r], DS_OK);
            assert_true(members[r].whole);
        }
    }
}

/* No ranks at all is a process alone, with nothing to wait for. */
static void test_alone(void **state) {
    (void)state;
    ds_ranks *none = NULL;
    assert_int_equal(ds_ranks_number(none), 0);
    assert_int_equal(ds_ranks_count(none), 1);
    assert_int_equal(ds_ranks_close(&none, DS_CHECK_FAILED), DS_CHECK_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_results), cmocka_unit_test(test_failures), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_other_work),  cmocka_unit_test(test_share),    cmocka_unit_test(test_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
