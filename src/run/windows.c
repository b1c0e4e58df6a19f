/* The loop over the windows of a run: the only one there is. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/run.h"

#include "journal.h"
#include "windows.h"

ds_status ds_run_read_tokens(ds_run *run, size_t count) { return ds_tokens_read(run->tokens, run->ids, run->starts[0], count); }

/* Number floor(iW/N) of W windows, without the product. */
static void spread_evenly(uint64_t *numbers, uint64_t count, uint64_t fitting) {
    uint64_t number = 0, rest = 0;
    for (uint64_t i = 0; i < count; i++) {
        numbers[i] = number;
        number += fitting / count;
        rest += fitting % count;
        if (rest >= count) {
            rest -= count;
            number++;
        }
    }
}

/* Each of the windows still ahead is as likely to be among those still wanted (Knuth, volume 2, 3.4.2, algorithm S). */
static void draw_windows(uint64_t *numbers, uint64_t count, uint64_t fitting, uint64_t seed) {
    const uint64_t windows_stream = UINT64_C(0x77696e646f777321); /* other uses of the seed draw other numbers */
    ds_random mixing = ds_random_init(seed ^ windows_stream);
    ds_random random = ds_random_init(ds_random_u64(&mixing));
    for (uint64_t number = 0, drawn = 0; drawn < count; number++) {
        if (ds_random_below(&random, fitting - number) < count - drawn) numbers[drawn++] = number;
    }
}

void ds_window_numbers(uint64_t *numbers, uint64_t count, uint64_t fitting, const ds_run_options *options) {
    if (options->spread == DS_SPREAD_EVEN)
        spread_evenly(numbers, count, fitting);
    else if (options->spread == DS_SPREAD_RANDOM)
        draw_windows(numbers, count, fitting, options->seed);
    else
        for (uint64_t i = 0; i < count; i++) numbers[i] = i;
}

/* run->ids <- window w and the token after it. */
static ds_status read_window(ds_run *run, size_t w) {
    return ds_tokens_read(run->tokens, run->ids, run->starts[w], run->length + 1);
}

ds_status ds_run_read_windows(ds_run *run, uint32_t *inputs, uint32_t *targets, size_t first, size_t count) {
    ds_status status = DS_OK;
    size_t length = run->length;
    for (size_t w = 0; w < count; w++) {
        DS_TRY(read_window(run, first + w));
        memcpy(inputs + w * length, run->ids, length * sizeof *inputs);
        memcpy(targets + w * length, run->ids + 1, length * sizeof *targets);
    }
done:
    return status;
}

ds_status ds_window_read(uint32_t *inputs, uint32_t *targets, ds_tokens *tokens, uint64_t start, size_t length) {
    ds_status status = DS_OK;
    DS_TRY(ds_tokens_read(tokens, inputs, start, length));
    memcpy(targets, inputs + 1, (length - 1) * sizeof *targets);
    DS_TRY(ds_tokens_read(tokens, targets + length - 1, start + length, 1));
done:
    return status;
}

ds_status ds_run_window(ds_run *run, size_t window, ds_batch *batch) {
    *batch = (ds_batch){run->inputs, run->targets, 1, run->length};
    return ds_run_read_windows(run, run->inputs, run->targets, window, 1);
}

ds_status ds_run_crc32(uint32_t *crc, ds_run *run) {
    ds_status status = DS_OK;
    *crc = 0;
    for (size_t w = 0; w < run->sequences; w++) {
        DS_TRY(read_window(run, w));
        *crc = ds_crc32(*crc, run->ids, (run->length + 1) * sizeof *run->ids);
    }
done:
    return status;
}

void ds_window_batch_progress(const ds_window_batch *now, double share) {
    ds_progress_update(now->progress, (double)now->place + share * (double)now->batch.sequences);
}

/* One pass in hand. */
typedef struct passing {
    ds_run *run;
    const ds_window_pass *pass;
    ds_progress progress;
    size_t count, most; /* windows of the pass; in a batch */
    size_t *windows;    /* (count) */
    double *record;     /* (record_length); NULL when the pass leaves none */
    /* Where ranks share the windows, a stretch of the pass at a time: */
    size_t first, stretch; /* its first place, and places in it at most */
    double *records;       /* (stretch, record_length) */
    bool *finished;        /* (stretch): whose record is there */
    size_t finished_count; /* in all */
} passing;

static ds_status list_windows(passing *all) {
    ds_status status = DS_OK;
    const ds_window_pass *pass = all->pass;
    all->count = pass->selected != NULL ? pass->selected_count : all->run->sequences;
    all->most = pass->most == 0 ? all->run->batch : ds_min_size(pass->most, all->run->batch);
    DS_NEW(all->windows, all->count);
    for (size_t i = 0; i < all->count; i++) all->windows[i] = pass->selected != NULL ? pass->selected[i] : i;
    if (pass->record_length > 0) DS_NEW(all->record, pass->record_length);
done:
    return status;
}

/* *found <- whether an earlier run has finished window number `place` of the pass; its record is then in hand. */
static ds_status find_record(bool *found, passing *all, size_t place) {
    const ds_window_pass *pass = all->pass;
    *found = false;
    if (all->record == NULL || pass->journal == NULL) return DS_OK;
    return ds_journal_find_reals(found, all->record, pass->record_length, pass->journal, pass->kind, all->windows[place]);
}

/* How many windows from `place` on make a batch: none of them finished before. */
static ds_status batch_windows(size_t *windows, passing *all, size_t place) {
    ds_status status = DS_OK;
    bool found = false;
    size_t count = 1;
    for (; count < all->most && place + count < all->count; count++) {
        DS_TRY(find_record(&found, all, place + count));
        if (found) break;
    }
    *windows = count;
done:
    return status;
}

static ds_status read_batch(passing *all, size_t place, size_t count) {
    ds_status status = DS_OK;
    ds_run *run = all->run;
    for (size_t b = 0; b < count; b++)
        DS_TRY(ds_run_read_windows(run, run->inputs + b * run->length, run->targets + b * run->length, all->windows[place + b],
                                   1));
done:
    return status;
}

/* Hands over and keeps the records of the batch just computed. */
static ds_status keep_records(passing *all, size_t place, size_t count) {
    ds_status status = DS_OK;
    const ds_window_pass *pass = all->pass;
    for (size_t b = 0; b < count; b++) {
        size_t window = all->windows[place + b];
        pass->fill(pass->context, all->record, b, count);
        DS_TRY(pass->take(pass->context, window, all->record));
        DS_TRY(ds_journal_append(pass->journal, pass->kind, window, all->record, pass->record_length * sizeof *all->record));
    }
    DS_TRY(ds_journal_sync(pass->journal));
done:
    return status;
}

static ds_status compute_batch(passing *all, size_t place, size_t count, const ds_progress *progress) {
    ds_status status = DS_OK;
    ds_run *run = all->run;
    const ds_window_batch now = {.run = run,
                                 .batch = {run->inputs, run->targets, count, run->length},
                                 .windows = all->windows + place,
                                 .place = place,
                                 .progress = progress};
    DS_TRY(read_batch(all, place, count));
    DS_TRY(all->pass->batch(all->pass->context, &now));
done:
    return status;
}

static ds_status pass_alone(passing *all) {
    ds_status status = DS_OK;
    for (size_t place = 0, count; place < all->count; place += count) {
        bool found;
        count = 1;
        DS_TRY(find_record(&found, all, place));
        if (found) {
            DS_TRY(all->pass->take(all->pass->context, all->windows[place], all->record));
            continue;
        }
        DS_TRY(batch_windows(&count, all, place));
        DS_TRY(compute_batch(all, place, count, &all->progress));
        if (all->record != NULL) DS_TRY(keep_records(all, place, count));
        ds_progress_update(&all->progress, (double)(place + count));
    }
done:
    return status;
}

/* ---- several ranks ----------------------------------------------------------------------------------------------- */

static double *record_at(const passing *all, size_t piece) { return all->records + piece * all->pass->record_length; }

/* How far one rank is in its batch says nothing of the pass. */
static ds_status compute_pieces(void *context, size_t first, size_t count) {
    static const ds_listener nobody = {NULL, NULL, NULL};
    static const ds_progress silent = {.listener = &nobody};
    ds_status status = DS_OK;
    passing *all = context;
    DS_TRY(compute_batch(all, all->first + first, count, &silent));
    for (size_t b = 0; b < count; b++) all->pass->fill(all->pass->context, record_at(all, first + b), b, count);
done:
    return status;
}

static ds_status keep_pieces(void *context, size_t first, size_t count) {
    ds_status status = DS_OK;
    passing *all = context;
    const ds_window_pass *pass = all->pass;
    for (size_t piece = first; piece < first + count; piece++)
        DS_TRY(ds_journal_append(pass->journal, pass->kind, all->windows[all->first + piece], record_at(all, piece),
                                 pass->record_length * sizeof *all->records));
    DS_TRY(ds_journal_sync(pass->journal));
    all->finished_count += count;
    ds_progress_update(&all->progress, (double)all->finished_count);
done:
    return status;
}

static ds_status pass_stretch(passing *all, size_t count) {
    ds_status status = DS_OK;
    const ds_window_pass *pass = all->pass;
    for (size_t piece = 0; piece < count; piece++) {
        DS_TRY(find_record(&all->finished[piece], all, all->first + piece));
        if (!all->finished[piece]) continue;
        memcpy(record_at(all, piece), all->record, pass->record_length * sizeof *all->record);
        all->finished_count++;
    }
    const ds_ranks_work work = {.count = count,
                                .most = all->most,
                                .length = pass->record_length,
                                .results = all->records,
                                .finished = all->finished,
                                .compute = compute_pieces,
                                .keep = keep_pieces,
                                .context = all};
    DS_TRY(ds_ranks_do(all->run->options.ranks, &work));
    for (size_t piece = 0; piece < count; piece++)
        DS_TRY(pass->take(pass->context, all->windows[all->first + piece], record_at(all, piece)));
done:
    return status;
}

/* Memory does not grow with the data: as many windows at once as records of 256 MiB are of, and enough for every rank. */
static ds_status pass_together(passing *all) {
    ds_status status = DS_OK;
    size_t fitting = ((size_t)256 << 20) / (all->pass->record_length * sizeof *all->records);
    all->stretch = ds_min_size(all->count, ds_max_size(fitting, 4 * ds_ranks_count(all->run->options.ranks)));
    DS_NEW_ARRAY(all->records, all->stretch * all->pass->record_length);
    DS_NEW(all->finished, all->stretch);
    for (; all->first < all->count; all->first += all->stretch)
        DS_TRY(pass_stretch(all, ds_min_size(all->stretch, all->count - all->first)));
done:
    return status;
}

ds_status ds_run_windows(ds_run *run, const ds_window_pass *pass) {
    ds_status status = DS_OK;
    passing all = {.run = run, .pass = pass};
    DS_TRY(list_windows(&all));
    all.progress = ds_progress_start(run, pass->label, (double)all.count);
    if (ds_ranks_count(run->options.ranks) > 1 && all.record != NULL)
        DS_TRY(pass_together(&all));
    else
        DS_TRY(pass_alone(&all));
done:
    if (all.progress.label != NULL) ds_progress_finish(&all.progress);
    free(all.windows);
    free(all.record);
    free(all.records);
    free(all.finished);
    return status;
}
