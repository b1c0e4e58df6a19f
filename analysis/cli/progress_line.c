#include "progress_line.h"

#include <string.h>
#include <unistd.h>

typedef struct progress_line {
    const char *label;     /* of the work in hand; NULL: none */
    double started, shown; /* seconds */
    int drawn;             /* columns on the screen */
} progress_line;

/* Written over with spaces: not every terminal knows how to erase a line. */
static void wipe(progress_line *line) {
    if (line->drawn > 0) (void)fprintf(stderr, "\r%*s\r", line->drawn, "");
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
    double left = elapsed * (total - done) / done;
    char text[128];
    (void)snprintf(text, sizeof text, "%s %3.0f%%, %02d:%02d left ", label, 100 * done / total, (int)(left / 60),
                   (int)left % 60);
    int columns = (int)strlen(text);
    (void)fprintf(stderr, "\r%-*s", line->drawn, text);
    line->drawn = columns > line->drawn ? columns : line->drawn;
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
