#include "progress_line.h"

#include <string.h>
#include <unistd.h>

#include "cli/text_wrapping.h"
#include "deltascope/report.h"

typedef struct progress_line {
    const char *label;     /* of the work in hand; NULL: none */
    double first;          /* what was done when it began: a run that is taken up has much behind it */
    double started, shown; /* seconds */
    size_t drawn;          /* columns on the screen */
} progress_line;

/* Written over with spaces: not every terminal knows how to erase a line. */
static void wipe(progress_line *line) {
    if (line->drawn > 0) (void)fprintf(stderr, "\r%*s\r", (int)line->drawn, "");
    *line = (progress_line){.label = NULL};
}

/* " 37%, 12:34 left ", "1:02:03" from an hour on. */
static void tell_left(char *text, size_t capacity, double percent, double seconds) {
    const unsigned long long all = seconds < 1e9 ? (unsigned long long)seconds : 1000000000, hours = all / 3600;
    char clock[32];
    if (hours > 0)
        (void)snprintf(clock, sizeof clock, "%llu:%02llu:%02llu", hours, all / 60 % 60, all % 60);
    else
        (void)snprintf(clock, sizeof clock, "%02llu:%02llu", all / 60, all % 60);
    (void)snprintf(text, capacity, " %3.0f%%, %s left ", percent, clock);
}

static void draw(progress_line *line, const char *label, double done, double total) {
    const double patience = 0.5, interval = 0.2; /* seconds: short work shows nothing, long work does not flicker */
    double now = ds_seconds();
    if (line->label == NULL) {
        line->started = now;
        line->first = done;
    }
    line->label = label;
    double elapsed = now - line->started;
    if (elapsed < patience || now - line->shown < interval || !(done > line->first)) return;
    line->shown = now;
    char end[64];
    tell_left(end, sizeof end, 100 * done / total, elapsed * (total - done) / (done - line->first));
    /* Never as wide as the terminal: a line that is broken is not drawn over. */
    size_t room = ds_terminal_of(STDERR_FILENO).width - 1 - strlen(end), bytes = strlen(label);
    while (ds_text_columns(label, bytes) > room) bytes--;
    while (bytes > 0 && ((unsigned char)label[bytes] & 0xC0) == 0x80) bytes--; /* no piece of a character */
    size_t columns = ds_text_columns(label, bytes) + strlen(end);
    size_t over = line->drawn > columns ? line->drawn - columns : 0;
    (void)fprintf(stderr, "\r%.*s%s%*s", (int)bytes, label, end, (int)over, "");
    line->drawn = columns + over;
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
