#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[DS_LOG_FILES] = {"log.jsonl", "log.csv", "main.log"};

/* What an entry is called in the results, and in the lines and columns of the logs: there by the names that a chart made of
 * them needs. */
static const struct {
    const char *result, *line;
    bool evaluation;
} keys[] = {
    {"lr", "lr", false},
    {"loss", "train/loss", false},
    {"micro_loss", "train/micro_loss", false},
    {"gradient_norm", "train/grad_norm", false},
    {"clip_coefficient", "train/clip_coefficient", false},
    {"val_loss", "val/loss", true},
};
enum { KEYS = sizeof keys / sizeof *keys };

const ds_train_log ds_train_log_closed = {.descriptors = {-1, -1, -1}};

static ds_status failure(const ds_train_log *log, int file, ds_status code, const char *what) {
    return ds_fail(code, "%s/%s: %s", DS_SHOW(ds_folder_path(log->folder)), names[file], what);
}

static bool is_evaluation(const json_t *entry) { return json_object_get(entry, "val_loss") != NULL; }

/* ---- an entry in each file's way ----------------------------------------------------------------------------------- */

static ds_status append_line(ds_text *text, const json_t *entry) {
    ds_status status = DS_OK;
    json_t *line = NULL;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "step", json_incref(json_object_get(entry, "step")));
    for (size_t i = 0; i < KEYS; i++) {
        if (keys[i].evaluation == is_evaluation(entry))
            ds_json_put(&b, keys[i].line, json_incref(json_object_get(entry, keys[i].result)));
    }
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&line, &b));
    DS_TRY(ds_json_print(text, line, DS_JSON_CANONICAL));
    status = ds_text_append(text, "\n", 1);
done:
    json_decref(line);
    return status;
}

/* A number; those of an array with spaces between them. */
static ds_status append_cell(ds_text *text, const json_t *value) {
    ds_status status = DS_OK;
    char number[32];
    for (size_t i = 0; i < json_array_size(value); i++)
        DS_TRY(ds_text_printf(text, "%s%s", i == 0 ? "" : " ",
                              ds_format_real(number, json_number_value(json_array_get(value, i)))));
    if (json_is_number(value)) DS_TRY(ds_text_printf(text, "%s", ds_format_real(number, json_number_value(value))));
done:
    return status;
}

static ds_status append_row(ds_text *text, const json_t *entry) {
    ds_status status = DS_OK;
    DS_TRY(append_cell(text, json_object_get(entry, "step")));
    for (size_t i = 0; i < KEYS; i++) {
        DS_TRY(ds_text_append(text, ",", 1));
        DS_TRY(append_cell(text, json_object_get(entry, keys[i].result)));
    }
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

static ds_status append_head(ds_text *text) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(text, "step"));
    for (size_t i = 0; i < KEYS; i++) DS_TRY(ds_text_printf(text, ",%s", keys[i].line));
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

/* "s:STEP trl:LOSS lr:LR norm:NORM" of an update, "s:STEP tel:LOSS" of an evaluation, with all digits. */
static ds_status append_llmc(ds_text *text, const json_t *entry) {
    char loss[32], rate[32], norm[32];
    const long long step = (long long)json_integer_value(json_object_get(entry, "step"));
    if (is_evaluation(entry))
        return ds_text_printf(text, "s:%lld tel:%s\n", step, ds_format_real(loss, ds_json_real_at(entry, "val_loss")));
    return ds_text_printf(text, "s:%lld trl:%s lr:%s norm:%s\n", step, ds_format_real(loss, ds_json_real_at(entry, "loss")),
                          ds_format_real(rate, ds_json_real_at(entry, "lr")),
                          ds_format_real(norm, ds_json_real_at(entry, "gradient_norm")));
}

static ds_status (*const append_entry[DS_LOG_FILES])(ds_text *, const json_t *) = {append_line, append_row, append_llmc};

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static ds_status append_bytes(const ds_train_log *log, int file, const ds_text *text) {
    const char *bytes = text->bytes;
    for (size_t length = text->length; length > 0;) {
        ssize_t written = write(log->descriptors[file], bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return failure(log, file, DS_ERR_SYSTEM, strerror(errno));
        bytes += written;
        length -= (size_t)written;
    }
    return DS_OK;
}

/* Takes over `entry`: written to every file, and kept in `list`. log.jsonl goes first, since the others are made anew from it
 * when a run is taken up. */
static ds_status append(ds_train_log *log, json_t *list, json_t *entry) {
    ds_status status = DS_OK;
    ds_text text = {0};
    for (int file = 0; file < DS_LOG_FILES; file++) {
        if (log->descriptors[file] < 0) continue;
        text.length = 0;
        DS_TRY(append_entry[file](&text, entry));
        DS_TRY(append_bytes(log, file, &text));
    }
    if (json_array_append(list, entry) != 0) status = failure(log, DS_LOG_LINES, DS_ERR_SYSTEM, "out of memory");
done:
    json_decref(entry);
    ds_text_release(&text);
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
    for (int file = 0; file < DS_LOG_FILES; file++) {
        if (log->descriptors[file] >= 0 && fdatasync(log->descriptors[file]) != 0)
            return failure(log, file, DS_ERR_SYSTEM, strerror(errno));
    }
    return DS_OK;
}

/* ---- taking one up ----------------------------------------------------------------------------------------------- */

/* *entry <- what results have of a line, its keys in their order; NULL when the line lacks one. */
static ds_status entry_of(json_t **entry, const json_t *line) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    const bool evaluation = json_object_get(line, "val/loss") != NULL;
    bool whole = json_is_integer(json_object_get(line, "step"));
    *entry = NULL;
    for (size_t i = 0; i < KEYS; i++)
        whole = whole && (keys[i].evaluation != evaluation || json_object_get(line, keys[i].line) != NULL);
    if (!whole) return DS_OK;
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "step", json_incref(json_object_get(line, "step")));
    for (size_t i = 0; i < KEYS; i++) {
        if (keys[i].evaluation == evaluation) ds_json_put(&b, keys[i].result, json_incref(json_object_get(line, keys[i].line)));
    }
    ds_json_end(&b);
    DS_TRY(ds_json_finish(entry, &b));
done:
    return status;
}

/* Keeps the line, in the texts of all files, if it came before the checkpoint; *kept tells. */
static ds_status take_line(bool *kept, ds_train_log *log, ds_text texts[DS_LOG_FILES], const char *bytes, size_t length,
                           uint64_t step) {
    ds_status status = DS_OK;
    json_t *line = NULL, *entry = NULL;
    DS_TRY(ds_json_parse(&line, bytes, length, names[DS_LOG_LINES]));
    DS_TRY(entry_of(&entry, line));
    if (entry == NULL) {
        status = failure(log, DS_LOG_LINES, DS_ERR_INPUT, "it lacks a key that this run would have written");
        goto done;
    }
    const bool evaluation = is_evaluation(entry);
    const uint64_t at = (uint64_t)json_integer_value(json_object_get(entry, "step"));
    *kept = evaluation ? at <= step : at < step;
    if (*kept && !evaluation && at != json_array_size(log->steps))
        status = failure(log, DS_LOG_LINES, DS_ERR_INPUT, "not the log of one run: an update is missing or stands twice");
    if (status != DS_OK || !*kept) goto done;
    for (int file = 0; file < DS_LOG_FILES; file++) DS_TRY(append_entry[file](&texts[file], entry));
    if (json_array_append(evaluation ? log->evaluations : log->steps, entry) != 0)
        status = failure(log, DS_LOG_LINES, DS_ERR_SYSTEM, "out of memory");
done:
    json_decref(line);
    json_decref(entry);
    return status;
}

/* texts[i] <- what file i holds up to the checkpoint: a line that was cut by the end of the process came later. */
static ds_status cut_back(ds_text texts[DS_LOG_FILES], ds_train_log *log, uint64_t step) {
    const uint64_t most = (uint64_t)1 << 34;
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length = 0, end = 0;
    bool kept = true;
    DS_TRY(append_head(&texts[DS_LOG_CSV]));
    if (step > 0) DS_TRY(ds_read_file_in(&bytes, &length, log->folder, names[DS_LOG_LINES], most));
    while (kept && end < length) {
        const char *stop = memchr(bytes + end, '\n', length - end);
        if (stop == NULL) break;
        const size_t line = (size_t)(stop - bytes) - end;
        DS_TRY(take_line(&kept, log, texts, bytes + end, line, step));
        end += line + 1;
    }
    if (json_array_size(log->steps) != step)
        status = failure(log, DS_LOG_LINES, DS_ERR_INPUT, "it lacks updates that the checkpoint to go on from has done");
done:
    free(bytes);
    return status;
}

static ds_status open_file(ds_train_log *log, int file, const ds_text *text) {
    ds_status status = DS_OK;
    DS_TRY(ds_write_file_in(log->folder, names[file], text->bytes, text->length));
    log->descriptors[file] = ds_folder_find(log->folder, names[file], O_WRONLY | O_APPEND);
    if (log->descriptors[file] < 0) status = failure(log, file, DS_ERR_SYSTEM, strerror(errno));
done:
    return status;
}

static bool lies_there(const ds_folder *folder, const char *name) {
    int descriptor = ds_folder_find(folder, name, O_RDONLY);
    if (descriptor >= 0) (void)close(descriptor);
    return descriptor >= 0;
}

ds_status ds_train_log_open(ds_train_log *log, const ds_folder *folder, uint64_t step, bool llmc) {
    ds_status status = DS_OK;
    ds_text texts[DS_LOG_FILES] = {{0}};
    *log = ds_train_log_closed;
    log->folder = folder;
    log->steps = json_array();
    log->evaluations = json_array();
    if (log->steps == NULL || log->evaluations == NULL) return failure(log, DS_LOG_LINES, DS_ERR_SYSTEM, "out of memory");
    DS_TRY(cut_back(texts, log, step));
    if (step > 0) llmc |= lies_there(folder, names[DS_LOG_LLMC]);
    for (int file = 0; file < DS_LOG_FILES; file++) {
        if (file != DS_LOG_LLMC || llmc) DS_TRY(open_file(log, file, &texts[file]));
    }
done:
    for (int file = 0; file < DS_LOG_FILES; file++) ds_text_release(&texts[file]);
    return status;
}

void ds_train_log_close(ds_train_log *log) {
    for (int file = 0; file < DS_LOG_FILES; file++) {
        if (log->descriptors[file] >= 0) (void)close(log->descriptors[file]);
    }
    json_decref(log->steps);
    json_decref(log->evaluations);
    *log = ds_train_log_closed;
}
