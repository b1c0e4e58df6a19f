#include "progress_line.h"

#include <unistd.h>

typedef struct progress_line {
    const char *label;     /* of the work in hand; NULL: none */
    double started, shown; /* seconds */
    bool drawn;
} progress_line;

static void wipe(progress_line *line) {
    if (line->drawn) (void)fprintf(stderr, "\r\033[K");
    *line = (progress_line){.label = NULL};
}

static void draw(progress_line *line, const char *label, double done, double total) {
    const double patience = 0.5, interval = 0.2; /* seconds: short work shows nothing, long work does not flicker */
    double now = ds_seconds();
    if (line->label == NULL) line->started = now;
    line->label = label;
    double elapsed = now - line->started;
    if (elapsed < patience || now - line->shown < interval || !(done > 0)) return;
    line->shown = now;
    line->drawn = true;
    double left = elapsed * (total - done) / done;
    (void)fprintf(stderr, "\r%s %3.0f%%, %02d:%02d left \033[K", label, 100 * done / total, (int)(left / 60), (int)left % 60);
    (void)fflush(stderr);
}

static void progress(void *context, const char *label, double done, double total) {
    if (label == NULL)
        wipe(context);
    else if (isatty(STDERR_FILENO))
        draw(context, label, done, total);
}

static void note(void *context, const char *sentence) {
    wipe(context);
    (void)fprintf(stderr, "%s\n", sentence);
}

ds_listener ds_progress_line(bool quiet) {
    static progress_line line;
    if (quiet) return (ds_listener){NULL, NULL, NULL};
    return (ds_listener){progress, note, &line};
}
