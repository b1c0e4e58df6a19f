#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char name[] = "log.jsonl";

static ds_status failure(const ds_train_log *log, ds_status code, const char *what) {
    return ds_fail(code, "%s/%s: %s", DS_SHOW(ds_folder_path(log->folder)), name, what);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static ds_status append_bytes(const ds_train_log *log, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(log->descriptor, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return failure(log, DS_ERR_SYSTEM, strerror(errno));
        bytes += written;
        length -= (size_t)written;
    }
    return DS_OK;
}

/* Takes over `entry`: written as a line, and kept in `list`. */
static ds_status append(ds_train_log *log, json_t *list, json_t *entry) {
    ds_status status = DS_OK;
    ds_text line = {0};
    DS_TRY(ds_json_print(&line, entry, DS_JSON_CANONICAL));
    DS_TRY(ds_text_append(&line, "\n", 1));
    DS_TRY(append_bytes(log, line.bytes, line.length));
    if (json_array_append(list, entry) != 0) status = failure(log, DS_ERR_SYSTEM, "out of memory");
done:
    json_decref(entry);
    ds_text_release(&line);
    return status;
}

ds_status ds_train_log_update(ds_train_log *log, const ds_update *update, uint64_t accumulation) {
    ds_status status = DS_OK;
    json_t *entry = NULL;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_count(&b, "step", update->step);
    ds_json_put_real(&b, "lr", update->learning_rate);
    ds_json_put_real(&b, "loss", update->loss);
    ds_json_put_reals(&b, "micro_loss", update->micro_loss, accumulation);
    ds_json_put_real(&b, "gradient_norm", update->gradient_norm);
    ds_json_put_real(&b, "clip_coefficient", update->clip_coefficient);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&entry, &b));
    DS_TRY(append(log, log->steps, entry));
done:
    return status;
}

ds_status ds_train_log_evaluation(ds_train_log *log, uint64_t step, double loss) {
    ds_status status = DS_OK;
    json_t *entry = NULL;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_count(&b, "step", step);
    ds_json_put_real(&b, "val_loss", loss);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&entry, &b));
    DS_TRY(append(log, log->evaluations, entry));
done:
    return status;
}

ds_status ds_train_log_sync(const ds_train_log *log) {
    return fdatasync(log->descriptor) == 0 ? DS_OK : failure(log, DS_ERR_SYSTEM, strerror(errno));
}

/* ---- taking one up ----------------------------------------------------------------------------------------------- */

/* An update's keys in the order that results have; lines have them sorted. Takes over `sorted`. */
static json_t *in_order(json_t *sorted) {
    static const char *const keys[] = {"step", "lr", "loss", "micro_loss", "gradient_norm", "clip_coefficient"};
    json_t *entry = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys && entry != NULL; i++) {
        if (json_object_set(entry, keys[i], json_object_get(sorted, keys[i])) == 0) continue;
        json_decref(entry);
        entry = NULL;
    }
    json_decref(sorted);
    return entry;
}

/* Keeps the line if it came before the checkpoint; *kept tells. */
static ds_status take_line(bool *kept, ds_train_log *log, const char *line, size_t length, uint64_t step) {
    ds_status status = DS_OK;
    json_t *entry = NULL;
    DS_TRY(ds_json_parse(&entry, line, length, name));
    const json_t *number = json_object_get(entry, "step");
    bool evaluation = json_object_get(entry, "val_loss") != NULL;
    uint64_t at = (uint64_t)json_integer_value(number);
    *kept = json_is_integer(number) && (evaluation ? at <= step : at < step);
    if (*kept && !evaluation && at != json_array_size(log->steps))
        status = failure(log, DS_ERR_INPUT, "not the log of one run: an update is missing or stands twice");
    if (status != DS_OK || !*kept) goto done;
    if (!evaluation) entry = in_order(entry);
    if (json_array_append(evaluation ? log->evaluations : log->steps, entry) != 0)
        status = failure(log, DS_ERR_INPUT, "it lacks a key that this run would have written");
done:
    json_decref(entry);
    return status;
}

/* Rewrites the log as its lines up to the checkpoint: a line that was cut by the end of the process came later. */
static ds_status cut_back(ds_train_log *log, uint64_t step) {
    const uint64_t most = (uint64_t)1 << 34;
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length = 0, end = 0;
    bool kept = true;
    if (step > 0) DS_TRY(ds_read_file_in(&bytes, &length, log->folder, name, most));
    while (kept && end < length) {
        const char *stop = memchr(bytes + end, '\n', length - end);
        if (stop == NULL) break;
        size_t line = (size_t)(stop - bytes) - end;
        DS_TRY(take_line(&kept, log, bytes + end, line, step));
        if (kept) end += line + 1;
    }
    if (json_array_size(log->steps) != step) {
        status = failure(log, DS_ERR_INPUT, "it lacks updates that the checkpoint to go on from has done");
        goto done;
    }
    DS_TRY(ds_write_file_in(log->folder, name, bytes, end));
done:
    free(bytes);
    return status;
}

ds_status ds_train_log_open(ds_train_log *log, const ds_folder *folder, uint64_t step) {
    ds_status status = DS_OK;
    *log = (ds_train_log){.folder = folder, .descriptor = -1, .steps = json_array(), .evaluations = json_array()};
    if (log->steps == NULL || log->evaluations == NULL) return failure(log, DS_ERR_SYSTEM, "out of memory");
    DS_TRY(cut_back(log, step));
    log->descriptor = ds_folder_find(folder, name, O_WRONLY | O_APPEND);
    if (log->descriptor < 0) status = failure(log, DS_ERR_SYSTEM, strerror(errno));
done:
    return status;
}

void ds_train_log_close(ds_train_log *log) {
    if (log->descriptor >= 0) (void)close(log->descriptor);
    json_decref(log->steps);
    json_decref(log->evaluations);
    *log = (ds_train_log){.descriptor = -1};
}
