#include "rehearsal.h"

#include <math.h>
#include <stdlib.h>

#include "cli/json_output.h"

/* A rehearsal goes from few tokens to more, twice as many each time, until one takes so long that what is fixed and the first
 * steps of a processor at rest no longer count; products of few rows are slower a token than those of a whole batch. */
enum { FIRST_TOKENS = 8, ENOUGH_TOKENS = 256, MOST_POINTS = 48 };
static const double enough_seconds = 0.5, most_seconds = 3;

/* One length of rehearsal. */
typedef struct point {
    double work, seconds; /* operations of a forward pass over its windows */
    size_t in_hand;       /* tokens of a batch */
    size_t memory;        /* bytes at most, up to here */
} point;

/* What a part will cost. */
typedef struct part {
    const char *name;
    size_t windows;
    double fixed, shared; /* seconds whatever the data, and those that grow with the windows */
} part;

struct ds_rehearsal {
    const ds_invocation *invocation;
    ds_run run;
    double loaded; /* seconds of opening the run */
    double memory; /* bytes */
    part parts[16];
    size_t count;
};

const ds_run *ds_rehearsal_run(const ds_rehearsal *all) { return &all->run; }

static double work_of(const ds_run *run, size_t windows, size_t length) {
    return (double)windows * (double)length * ds_spec_forward_flops_per_token(&run->spec, length);
}

/* ---- one part ------------------------------------------------------------------------------------------------------ */

static ds_status take_point(point *out, ds_rehearsal *all, size_t windows, size_t length,
                            ds_status (*measure)(void *context, ds_run *run), void *context) {
    ds_status status = DS_OK;
    ds_run shorter = ds_run_shorter(&all->run, length, windows);
    const double began = ds_seconds();
    status = measure(context, &shorter);
    all->run.warnings = shorter.warnings;
    if (status == DS_ERR_USAGE)
        status = ds_fail_prefix(status,
                                "--dry-run rehearses on %zu windows of %zu tokens: what names a place beyond them cannot be "
                                "told",
                                windows, length);
    DS_TRY(status);
    *out = (point){.work = work_of(&all->run, windows, length),
                   .seconds = ds_seconds() - began,
                   .in_hand = ds_min_size(windows, ds_max_size(1, all->run.batch)) * length,
                   .memory = ds_peak_memory_bytes()};
done:
    return status;
}

/* seconds = fixed + slope work, through the last point and the last that has a quarter of its work or less. */
static void fit(part *out, double *memory, const point *points, size_t count, const ds_run *run) {
    const point *last = &points[count - 1], *before = NULL;
    const double work = work_of(run, out->windows, run->length);
    for (size_t i = 0; i + 1 < count; i++)
        if (4 * points[i].work <= last->work) before = &points[i];
    double slope = last->seconds / last->work;
    if (before != NULL && last->seconds > before->seconds)
        slope = fmin(slope, (last->seconds - before->seconds) / (last->work - before->work));
    out->shared = slope * work;
    out->fixed = fmax(0, last->seconds - slope * last->work);
    double bytes = (double)last->memory;
    const size_t in_hand = ds_min_size(out->windows, ds_max_size(1, run->batch)) * run->length;
    if (before != NULL && last->in_hand > before->in_hand)
        bytes += (double)(last->memory - before->memory) / (double)(last->in_hand - before->in_hand) *
                 (double)(in_hand - last->in_hand);
    *memory = fmax(*memory, bytes);
}

ds_status ds_rehearse(ds_rehearsal *all, const char *name, size_t most, ds_status (*measure)(void *context, ds_run *run),
                      void *context) {
    ds_status status = DS_OK;
    const ds_run *run = &all->run;
    const size_t every = most == 0 ? run->sequences : ds_min_size(most, run->sequences);
    point points[MOST_POINTS];
    size_t count = 0, windows = ds_min_size(every, ds_max_size(1, run->batch)), length = ds_min_size(run->length, FIRST_TOKENS);
    part *here = &all->parts[all->count];
    if (all->count == sizeof all->parts / sizeof *all->parts) return ds_fail(DS_ERR_SYSTEM, "too many parts to rehearse");
    DS_TRY(take_point(&points[0], all, windows, length, measure, context)); /* touches every page once */
    for (;;) {
        DS_TRY(take_point(&points[count], all, windows, length, measure, context));
        const point *now = &points[count++];
        const bool whole = windows == every && length == run->length;
        const bool enough = now->seconds >= enough_seconds && windows * length >= ENOUGH_TOKENS;
        if (whole || enough || now->seconds >= most_seconds || count == MOST_POINTS) break;
        if (length < run->length)
            length = ds_min_size(run->length, 2 * length);
        else
            windows = ds_min_size(every, 2 * windows);
    }
    *here = (part){.name = name, .windows = every};
    fit(here, &all->memory, points, count, run);
    all->count++;
done:
    return status;
}

/* ---- what is told -------------------------------------------------------------------------------------------------- */

static part sum_of(const ds_rehearsal *all) {
    part sum = {.fixed = all->loaded};
    for (size_t i = 0; i < all->count; i++) {
        sum.fixed += all->parts[i].fixed;
        sum.shared += all->parts[i].shared;
    }
    return sum;
}

/* Parts that look at a few windows alone take them whatever the number. */
size_t ds_rehearsal_fitting(const ds_rehearsal *all, double seconds) {
    double fixed = all->loaded, shared = 0;
    const double windows = (double)all->run.sequences;
    for (size_t i = 0; i < all->count; i++) {
        const part *of = &all->parts[i];
        const bool grows = of->windows == all->run.sequences;
        fixed += of->fixed + (grows ? 0 : of->shared);
        shared += grows ? of->shared : 0;
    }
    if (fixed + shared <= seconds) return all->run.sequences;
    return seconds <= fixed ? 0 : (size_t)fmin(windows, (seconds - fixed) / shared * windows);
}

/* Of so many ranks, each with this machine's speed to itself: they take whole windows. */
static double seconds_of(const ds_rehearsal *all, const part *of, size_t ranks) {
    const double windows = (double)all->run.sequences;
    return of->fixed + of->shared * ceil(windows / (double)ranks) / windows;
}

static ds_status tell_json(const ds_rehearsal *all, const char *path) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    json_t *told = NULL;
    const part sum = sum_of(all);
    const ds_run *run = &all->run;
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "schema", "deltascope/1");
    ds_json_put_text(&b, "command", all->invocation->command->name);
    ds_json_begin_object(&b, "dry_run");
    ds_json_put_count(&b, "windows", run->sequences);
    ds_json_put_count(&b, "seq_len", run->length);
    ds_json_put_real(&b, "forward_operations", work_of(run, run->sequences, run->length));
    ds_json_put_real(&b, "bytes_read", (double)ds_checkpoint_bytes(run->checkpoint));
    ds_json_put_real(&b, "peak_memory_bytes", all->memory);
    ds_json_put_real(&b, "seconds", sum.fixed + sum.shared);
    ds_json_begin_array(&b, "steps");
    for (size_t i = 0; i < all->count; i++) {
        ds_json_begin_object(&b, NULL);
        ds_json_put_text(&b, "name", all->parts[i].name);
        ds_json_put_real(&b, "seconds", all->parts[i].fixed + all->parts[i].shared);
        ds_json_put_real(&b, "fixed_seconds", all->parts[i].fixed);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    ds_json_begin_array(&b, "ranks");
    for (size_t ranks = 1; ranks <= 8; ranks *= 2) {
        ds_json_begin_object(&b, NULL);
        ds_json_put_count(&b, "ranks", ranks);
        ds_json_put_real(&b, "seconds", seconds_of(all, &sum, ranks));
        ds_json_end(&b);
    }
    ds_json_end(&b);
    ds_json_end(&b);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&told, &b));
    DS_TRY(ds_json_output(path, told, DS_JSON_READABLE));
done:
    ds_json_discard(&b);
    json_decref(told);
    return status;
}

void ds_rehearsal_tell(const ds_rehearsal *all) {
    const part sum = sum_of(all);
    const ds_run *run = &all->run;
    (void)printf("%zu window%s of %zu tokens, %.3g operations in one forward pass over them\n", run->sequences,
                 ds_plural(run->sequences), run->length, work_of(run, run->sequences, run->length));
    for (size_t i = 0; i < all->count && all->count > 1; i++)
        (void)printf("  %-10s %.3g s\n", all->parts[i].name, all->parts[i].fixed + all->parts[i].shared);
    (void)printf("about %.3g s on this machine: %.2g s to load and whatever the data, %.3g s that grow with the windows\n",
                 sum.fixed + sum.shared, sum.fixed, sum.shared);
    (void)printf("reads %.4g MB of weights; memory %.4g MB\n", 1e-6 * (double)ds_checkpoint_bytes(run->checkpoint),
                 1e-6 * all->memory);
    if ((all->invocation->command->takes & DS_TAKES_RANKS) == 0) return;
    (void)printf("ranks that have such a machine each:");
    for (size_t ranks = 2; ranks <= 8; ranks *= 2)
        (void)printf("%s %zu: %.3g s", ranks == 2 ? "" : ",", ranks, seconds_of(all, &sum, ranks));
    (void)printf(" (where all of it is shared)\n");
}

/* ---- a command ----------------------------------------------------------------------------------------------------- */

ds_run_options ds_rehearsal_options(const ds_invocation *invocation) {
    ds_run_options options = ds_command_run_options(invocation);
    options.ranks = NULL;
    options.listener = (ds_listener){NULL, NULL, NULL};
    return options;
}

ds_status ds_rehearse_command(const ds_invocation *invocation, const ds_run_options *options,
                              ds_status (*parts)(ds_rehearsal *all, void *context),
                              ds_status (*show)(const ds_rehearsal *all, void *context), void *context) {
    ds_status status = DS_OK;
    ds_rehearsal all = {.invocation = invocation};
    const double began = ds_seconds();
    DS_TRY(ds_run_open(&all.run, options));
    if (all.run.tokens == NULL)
        DS_TRY(ds_fail(DS_ERR_USAGE,
                       "--dry-run rehearses on windows of the data: give --tokens FILE, or --text FILE with --tokenizer PATH"));
    ds_command_warn(&all.run, 0);
    all.loaded = ds_seconds() - began;
    DS_TRY(parts(&all, context));
    if (show != NULL) {
        DS_TRY(show(&all, context));
        goto done;
    }
    if (invocation->common.json != NULL) DS_TRY(tell_json(&all, invocation->common.json));
    if (invocation->common.table) ds_rehearsal_tell(&all);
done:
    ds_run_close(&all.run);
    return status;
}

static ds_status measure_command(void *context, ds_run *run) {
    ds_status status = DS_OK;
    const ds_invocation *invocation = context;
    ds_told told = {NULL, NULL};
    const ds_journal_plan none = {.path = NULL};
    DS_TRY(invocation->command->measure(&told.options, &told.results, run, invocation, &none));
done:
    ds_told_release(&told);
    return status;
}

static ds_status measure_alone(ds_rehearsal *all, void *context) {
    const ds_invocation *invocation = context;
    return ds_rehearse(all, invocation->command->name, 0, measure_command, context);
}

ds_status ds_dry_run_measure(const ds_invocation *invocation) {
    const ds_run_options options = ds_rehearsal_options(invocation);
    return ds_rehearse_command(invocation, &options, measure_alone, NULL, (void *)(uintptr_t)invocation);
}
