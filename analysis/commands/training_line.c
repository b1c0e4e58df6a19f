#include "training_line.h"

#include <math.h>
#include <string.h>

#include "cli/text_wrapping.h"

enum { TAIL = 20 }; /* columns of " 100%, 1:23:45 left " */

/* A character for each mean, from the least of them to the greatest. */
static void draw_curve(char *out, size_t capacity, const ds_training_progress *now, bool unicode) {
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, *const plain[] = {"_", ".", "-", "~", "^"};
    const char *const *heights = unicode ? blocks : plain;
    const size_t count = unicode ? sizeof blocks / sizeof *blocks : sizeof plain / sizeof *plain;
    double least = INFINITY, most = -INFINITY;
    size_t used = 0;
    for (size_t i = 0; i < now->curve_count; i++) {
        least = fmin(least, now->curve[i]);
        most = fmax(most, now->curve[i]);
    }
    out[0] = '\0';
    for (size_t i = 0; i < now->curve_count && used + 4 < capacity; i++) {
        double height = most > least ? (now->curve[i] - least) / (most - least) : 0;
        const char *mark = heights[(size_t)(height * (double)(count - 1) + 0.5)];
        used += (size_t)snprintf(out + used, capacity - used, "%s", mark);
    }
}

const char *ds_training_line_text(void *context, const ds_training_progress *now) {
    ds_training_line *line = context;
    char parts[6][72];
    size_t used = 0, columns = 0;
    (void)snprintf(parts[0], sizeof parts[0], "loss %.4f", now->update->loss);
    parts[1][0] = ' ';
    draw_curve(parts[1] + 1, sizeof parts[1] - 1, now, line->terminal.unicode);
    (void)snprintf(parts[2], sizeof parts[2], " %.0f tok/s", now->tokens_per_second);
    (void)snprintf(parts[3], sizeof parts[3], ", %.0f%% gemm", 100 * now->operations_per_second / line->product_rate);
    (void)snprintf(parts[4], sizeof parts[4], ", lr %.1e", now->update->learning_rate);
    (void)snprintf(parts[5], sizeof parts[5], ", update %llu of %llu", (unsigned long long)now->done,
                   (unsigned long long)now->updates);
    line->text[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t bytes = strlen(parts[i]), wide = ds_text_columns(parts[i], bytes);
        if (columns + wide + TAIL >= line->terminal.width) break;
        memcpy(line->text + used, parts[i], bytes + 1);
        used += bytes;
        columns += wide;
    }
    return line->text;
}
