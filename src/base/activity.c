#include "deltascope/activity.h"

#include <stdatomic.h>

static atomic_bool measured;
static atomic_uint_least64_t nanoseconds[DS_ACTIVITIES];
static _Thread_local struct {
    ds_activity at;
    double since; /* seconds; 0: not measured then */
} here;

ds_activity ds_activity_turn(ds_activity activity) {
    const ds_activity before = here.at;
    here.at = activity;
    if (!atomic_load_explicit(&measured, memory_order_relaxed)) {
        here.since = 0;
        return before;
    }
    const double now = ds_seconds();
    if (here.since > 0 && before != DS_ACTIVITY_NONE)
        atomic_fetch_add(&nanoseconds[before], (uint64_t)(1e9 * (now - here.since)));
    here.since = now;
    return before;
}

void ds_activity_measure(void) {
    for (size_t i = 0; i < DS_ACTIVITIES; i++) atomic_store(&nanoseconds[i], 0);
    here.since = 0;
    atomic_store(&measured, true);
    (void)ds_activity_turn(DS_ACTIVITY_OTHER);
}

void ds_activity_finish(double *seconds) {
    (void)ds_activity_turn(DS_ACTIVITY_NONE);
    atomic_store(&measured, false);
    for (size_t i = 0; i < DS_ACTIVITIES; i++) seconds[i] = 1e-9 * (double)atomic_load(&nanoseconds[i]);
}
