/* A study in its folder: what lies there is looked at, then what is missing is run. */
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "result.h"
#include "shared_runs.h"

static ds_status look_at_all(ds_study_progress *progress, ds_cell_state *states, const ds_plan *plan, const ds_cell *cells,
                             size_t count, const ds_folder *folder) {
    ds_status status = DS_OK;
    *progress = (ds_study_progress){.cells = count};
    for (size_t i = 0; i < count; i++) {
        bool diverged;
        DS_TRY(ds_cell_look(&states[i], &diverged, plan, &cells[i], folder));
        progress->finished += states[i] == DS_CELL_FINISHED;
        progress->diverged += diverged;
    }
done:
    return status;
}

/* Cells that are there and more to do: that has to be asked for. */
static ds_status check_resume(const ds_study_progress *progress, const ds_cell_state *states, const ds_folder *folder) {
    size_t begun = 0;
    for (size_t i = 0; i < progress->cells; i++) begun += states[i] != DS_CELL_ABSENT;
    if (begun == 0 || progress->finished == progress->cells) return DS_OK;
    return ds_fail(DS_ERR_USAGE,
                   "%s holds %zu of this plan's %zu runs, %zu of them finished: --resume goes on with them, or choose another "
                   "folder",
                   DS_SHOW(ds_folder_path(folder)), begun, progress->cells, progress->finished);
}

/* Adds the runs of a plan made from the study's. */
static ds_status look_at_plan(void *context, const ds_plan *plan, const ds_folder *folder) {
    ds_status status = DS_OK;
    ds_study_progress *all = context, here = {.cells = plan->variant_count * plan->seed_count};
    if (folder != NULL) DS_TRY(ds_study_look(&here, plan, folder, true));
    all->cells += here.cells;
    all->finished += here.finished;
    all->diverged += here.diverged;
done:
    return status;
}

ds_status ds_study_look(ds_study_progress *progress, const ds_plan *plan, const ds_folder *folder, bool resume) {
    ds_status status = DS_OK;
    ds_cell *cells = NULL;
    ds_cell_state *states = NULL;
    size_t count;
    DS_TRY(ds_plan_cells(&cells, &count, plan));
    DS_NEW(states, count);
    DS_TRY(look_at_all(progress, states, plan, cells, count, folder));
    if (!resume) DS_TRY(check_resume(progress, states, folder));
    DS_TRY(ds_study_each_rate(plan, folder, look_at_plan, progress));
done:
    free(cells);
    free(states);
    return status;
}

static void tell_end(const ds_study_options *options, const ds_study_progress *progress, const ds_cell *cell, bool diverged) {
    char sentence[2 * DS_CELL_FOLDER + 96];
    const char *label = options->label == NULL ? "" : options->label;
    if (options->listener.note == NULL) return;
    (void)snprintf(sentence, sizeof sentence, "%.128s%s%s %s, run %zu of %zu", label, *label == '\0' ? "" : "/", cell->folder,
                   diverged ? "diverged" : "is done", progress->finished, progress->cells);
    options->listener.note(options->listener.context, sentence);
}

/* The runs that are missing, in order. */
typedef struct missing_runs {
    ds_study_progress *progress;
    const ds_plan *plan;
    const ds_cell **cells;
    const ds_study_options *options;
} missing_runs;

static ds_status run_missing(void *context, size_t number, double *outcome) {
    ds_status status = DS_OK;
    const missing_runs *all = context;
    const ds_cell *cell = all->cells[number];
    ds_cell_state state;
    bool stopped, diverged;
    DS_TRY(ds_cell_run(&stopped, all->plan, cell, all->options));
    outcome[DS_RUN_STOPPED] = stopped;
    if (stopped) goto done;
    DS_TRY(ds_cell_look(&state, &diverged, all->plan, cell, all->options->folder));
    outcome[DS_RUN_DIVERGED] = diverged;
done:
    return status;
}

static void end_missing(void *context, size_t number, const double *outcome) {
    const missing_runs *all = context;
    const bool diverged = outcome[DS_RUN_DIVERGED] != 0;
    all->progress->finished++;
    all->progress->diverged += diverged;
    tell_end(all->options, all->progress, all->cells[number], diverged);
}

static ds_status run_cells(ds_study_progress *progress, const ds_cell_state *states, const ds_plan *plan, const ds_cell *cells,
                           const ds_study_options *options) {
    ds_status status = DS_OK;
    missing_runs all = {.progress = progress, .plan = plan, .options = options};
    ds_shared_runs runs = {.run = run_missing, .ended = end_missing, .context = &all};
    DS_NEW(all.cells, progress->cells);
    for (size_t i = 0; i < progress->cells; i++)
        if (states[i] != DS_CELL_FINISHED) all.cells[runs.count++] = &cells[i];
    DS_TRY(ds_shared_runs_do(&progress->stopped, &runs, options));
done:
    free(all.cells);
    return status;
}

/* What number 0 saw, for every rank: the others come later, when its first run may have begun. */
static ds_status share_states(ds_cell_state *states, size_t count, ds_ranks *ranks) {
    ds_status status = DS_OK;
    size_t length = count * sizeof *states;
    void *bytes = states;
    if (ds_ranks_count(ranks) == 1) return DS_OK;
    DS_TRY(ds_ranks_share(ranks, &bytes, &length));
    if (bytes == states) goto done;
    if (length == count * sizeof *states)
        memcpy(states, bytes, length);
    else
        status = ds_fail(DS_ERR_SYSTEM, "rank %zu has another plan than rank 0", ds_ranks_number(ranks));
    free(bytes);
done:
    return status;
}

ds_status ds_study_run(ds_study_progress *progress, const ds_plan *plan, const ds_study_options *options) {
    ds_status status = DS_OK;
    ds_cell *cells = NULL;
    ds_cell_state *states = NULL;
    size_t count;
    DS_TRY(ds_plan_cells(&cells, &count, plan));
    DS_NEW(states, count);
    *progress = (ds_study_progress){.cells = count};
    if (ds_ranks_number(options->ranks) == 0) {
        DS_TRY(look_at_all(progress, states, plan, cells, count, options->folder));
        if (!options->resume) DS_TRY(check_resume(progress, states, options->folder));
    }
    DS_TRY(share_states(states, count, options->ranks));
    DS_TRY(run_cells(progress, states, plan, cells, options));
done:
    free(cells);
    free(states);
    return status;
}
