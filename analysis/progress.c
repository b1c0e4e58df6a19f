#include "progress.h"

#include <unistd.h>

ds_progress ds_progress_start(const char *label, double total, bool quiet) {
    return (ds_progress){.label = label, .total = total, .started = ds_seconds(), .visible = !quiet && isatty(STDERR_FILENO)};
}

void ds_progress_update(ds_progress *progress, double done) {
    const double patience = 0.5, interval = 0.2; /* seconds: short work shows nothing, long work does not flicker */
    double now = ds_seconds(), elapsed = now - progress->started;
    if (!progress->visible || elapsed < patience || now - progress->shown < interval || !(done > 0)) return;
    progress->shown = now;
    progress->drawn = true;
    double left = elapsed * (progress->total - done) / done;
    (void)fprintf(stderr, "\r%s %3.0f%%, %02d:%02d left \033[K", progress->label, 100 * done / progress->total,
                  (int)(left / 60), (int)left % 60);
    (void)fflush(stderr);
}

void ds_progress_finish(ds_progress *progress) {
    if (progress->drawn) (void)fprintf(stderr, "\r\033[K");
}
