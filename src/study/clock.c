#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char name[] = "times.jsonl";
enum { MOST_BYTES = 16 << 20 };

void ds_cell_clock_release(ds_cell_clock *clock) { ds_text_release(&clock->lines); }

ds_status ds_cell_clock_read(json_t **lines, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    *lines = json_array();
    if (*lines == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory for times of a run");
    DS_TRY(ds_read_file_in(&bytes, &length, folder, path, MOST_BYTES));
    for (const char *at = bytes, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        json_t *line = NULL;
        DS_TRY(ds_json_parse(&line, at, (size_t)(end - at), path));
        if (json_array_append_new(*lines, line) != 0) DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for times of a run"));
    }
done:
    free(bytes);
    return status;
}

/* Lines of earlier processes up to update `first` stay; the last of them says how long it had taken. */
static ds_status take_up(ds_cell_clock *clock, uint64_t first) {
    ds_status status = DS_OK;
    json_t *lines = NULL;
    clock->begun = true;
    if (first == 0 || !ds_folder_holds(clock->folder, name)) goto done;
    DS_TRY(ds_cell_clock_read(&lines, clock->folder, name));
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        if ((uint64_t)json_integer_value(json_object_get(line, "step")) > first) break;
        clock->updates = ds_json_real_at(line, "updates");
        clock->evaluations = ds_json_real_at(line, "evaluations");
        clock->saving = ds_json_real_at(line, "saving");
        DS_TRY(ds_json_print(&clock->lines, line, DS_JSON_CANONICAL));
        DS_TRY(ds_text_append(&clock->lines, "\n", 1));
    }
done:
    json_decref(lines);
    return status;
}

ds_status ds_cell_clock_mark(ds_cell_clock *clock, const ds_training_mark *mark) {
    ds_status status = DS_OK;
    double load[1] = {-1};
    json_t *line = NULL;
    ds_json_builder b = {0};
    if (!clock->begun) DS_TRY(take_up(clock, mark->first));
    ds_json_begin_object(&b, NULL);
    ds_json_put_count(&b, "step", mark->step);
    ds_json_put_text(&b, "at", mark->evaluated ? "evaluation" : "checkpoint");
    ds_json_put_real(&b, "updates", clock->updates + mark->updates);
    ds_json_put_real(&b, "evaluations", clock->evaluations + mark->evaluations);
    ds_json_put_real(&b, "saving", clock->saving + mark->saving);
    ds_json_put_real(&b, "load", getloadavg(load, 1) == 1 ? load[0] : -1);
    ds_json_put_count(&b, "threads", ds_threads());
    ds_json_put_count(&b, "clock", (uint64_t)time(NULL));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&line, &b));
    DS_TRY(ds_json_print(&clock->lines, line, DS_JSON_CANONICAL));
    DS_TRY(ds_text_append(&clock->lines, "\n", 1));
    DS_TRY(ds_write_file_in(clock->folder, name, clock->lines.bytes, clock->lines.length));
done:
    json_decref(line);
    return status;
}
