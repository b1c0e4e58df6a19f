#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[DS_LOG_FILES] = {"log.jsonl", "log.csv", "gates.csv", "main.log"};

typedef enum entry_kind { UPDATE, EVALUATION, AUDIT } entry_kind;

/* What an entry is called in the results, and in the lines and columns of the logs: there by the names that a chart made of
 * them needs. */
static const struct {
    const char *result, *line;
    entry_kind kind;
} keys[] = {
    {"lr", "lr", UPDATE},
    {"loss", "train/loss", UPDATE},
    {"micro_loss", "train/micro_loss", UPDATE},
    {"gradient_norm", "train/grad_norm", UPDATE},
    {"clip_coefficient", "train/clip_coefficient", UPDATE},
    {"val_loss", "val/loss", EVALUATION},
    {"gates", "gates", AUDIT},
};
enum { KEYS = sizeof keys / sizeof *keys };

/* Columns of gates.csv after step and sublayer: where an audit has them. */
static const struct {
    const char *name, *path;
} gate_columns[] = {
    {"beta_mean", "beta_mean"},           {"k_norm2_mean", "k_norm2_mean"},         {"eigenvalue_mean", "eigenvalue_mean"},
    {"relative_edit", "relative_edit"},   {"identity", "regimes/identity"},         {"damped", "regimes/damped"},
    {"projection", "regimes/projection"}, {"over_relaxed", "regimes/over_relaxed"}, {"reflection", "regimes/reflection"},
};
enum { GATE_COLUMNS = sizeof gate_columns / sizeof *gate_columns };

const ds_train_log ds_train_log_closed = {.descriptors = {-1, -1, -1, -1}};

static ds_status failure(const ds_train_log *log, int file, ds_status code, const char *what) {
    return ds_fail(code, "%s/%s: %s", DS_SHOW(ds_folder_path(log->folder)), names[file], what);
}

static ds_status unwritten(const ds_train_log *log, int file) {
    char what[160];
    (void)snprintf(what, sizeof what, "could not be written in full: %s", strerror(errno));
    return failure(log, file, DS_ERR_SYSTEM, what);
}

static entry_kind kind_of(const json_t *entry) {
    if (json_object_get(entry, "val_loss") != NULL) return EVALUATION;
    return json_object_get(entry, "gates") != NULL ? AUDIT : UPDATE;
}

/* ---- an entry in each file's way ----------------------------------------------------------------------------------- */

static ds_status append_line(ds_text *text, const json_t *entry) {
    ds_status status = DS_OK;
    json_t *line = NULL;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "step", json_incref(json_object_get(entry, "step")));
    for (size_t i = 0; i < KEYS; i++) {
        if (keys[i].kind == kind_of(entry)) ds_json_put(&b, keys[i].line, json_incref(json_object_get(entry, keys[i].result)));
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
    if (kind_of(entry) == AUDIT) return DS_OK;
    DS_TRY(append_cell(text, json_object_get(entry, "step")));
    for (size_t i = 0; i < KEYS; i++) {
        if (keys[i].kind == AUDIT) continue;
        DS_TRY(ds_text_append(text, ",", 1));
        DS_TRY(append_cell(text, json_object_get(entry, keys[i].result)));
    }
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

/* A row a sublayer. */
static ds_status append_gates(ds_text *text, const json_t *entry) {
    ds_status status = DS_OK;
    const json_t *gates = json_object_get(entry, "gates");
    for (size_t s = 0; s < json_array_size(gates); s++) {
        const json_t *sublayer = json_array_get(gates, s);
        const char *name = json_string_value(json_object_get(sublayer, "name"));
        DS_TRY(append_cell(text, json_object_get(entry, "step")));
        DS_TRY(ds_text_printf(text, ",%s", name == NULL ? "" : name));
        for (size_t c = 0; c < GATE_COLUMNS; c++) {
            DS_TRY(ds_text_append(text, ",", 1));
            DS_TRY(append_cell(text, ds_json_at(sublayer, gate_columns[c].path)));
        }
        DS_TRY(ds_text_append(text, "\n", 1));
    }
done:
    return status;
}

static ds_status append_heads(ds_text texts[DS_LOG_FILES]) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(&texts[DS_LOG_CSV], "step"));
    for (size_t i = 0; i < KEYS; i++) {
        if (keys[i].kind != AUDIT) DS_TRY(ds_text_printf(&texts[DS_LOG_CSV], ",%s", keys[i].line));
    }
    DS_TRY(ds_text_append(&texts[DS_LOG_CSV], "\n", 1));
    DS_TRY(ds_text_printf(&texts[DS_LOG_GATES], "step,sublayer"));
    for (size_t c = 0; c < GATE_COLUMNS; c++) DS_TRY(ds_text_printf(&texts[DS_LOG_GATES], ",%s", gate_columns[c].name));
    status = ds_text_append(&texts[DS_LOG_GATES], "\n", 1);
done:
    return status;
}

/* "s:STEP trl:LOSS lr:LR norm:NORM" of an update, "s:STEP tel:LOSS" of an evaluation, with all digits. */
static ds_status append_llmc(ds_text *text, const json_t *entry) {
    char loss[32], rate[32], norm[32];
    const long long step = (long long)json_integer_value(json_object_get(entry, "step"));
    if (kind_of(entry) == AUDIT) return DS_OK;
    if (kind_of(entry) == EVALUATION)
        return ds_text_printf(text, "s:%lld tel:%s\n", step, ds_format_real(loss, ds_json_real_at(entry, "val_loss")));
    return ds_text_printf(text, "s:%lld trl:%s lr:%s norm:%s\n", step, ds_format_real(loss, ds_json_real_at(entry, "loss")),
                          ds_format_real(rate, ds_json_real_at(entry, "lr")),
                          ds_format_real(norm, ds_json_real_at(entry, "gradient_norm")));
}

static ds_status (*const append_entry[DS_LOG_FILES])(ds_text *, const json_t *) = {append_line, append_row, append_gates,
                                                                                   append_llmc};

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static ds_status append_bytes(const ds_train_log *log, int file, const ds_text *text) {
    const char *bytes = text->bytes;
    for (size_t length = text->length; length > 0;) {
        ssize_t written = write(log->descriptors[file], bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return unwritten(log, file);
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

/* *sorted <- the same with all keys in the order that a line gives them back in. */
static ds_status sort_keys(json_t **sorted, const json_t *value) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(ds_json_print(&text, value, DS_JSON_CANONICAL));
    DS_TRY(ds_json_parse(sorted, text.bytes, text.length, "an audit"));
done:
    ds_text_release(&text);
    return status;
}

ds_status ds_train_log_audit(ds_train_log *log, uint64_t step, const json_t *gates) {
    ds_status status = DS_OK;
    json_t *entry = NULL, *sorted = NULL;
    ds_json_builder b = {0};
    DS_TRY(sort_keys(&sorted, gates));
    ds_json_begin_object(&b, NULL);
    ds_json_put_count(&b, "step", step);
    ds_json_put(&b, "gates", sorted);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&entry, &b));
    DS_TRY(append(log, log->audits, entry));
done:
    return status;
}

ds_status ds_train_log_sync(const ds_train_log *log) {
    for (int file = 0; file < DS_LOG_FILES; file++) {
        if (log->descriptors[file] >= 0 && fdatasync(log->descriptors[file]) != 0) return unwritten(log, file);
    }
    return DS_OK;
}

/* ---- taking one up ----------------------------------------------------------------------------------------------- */

/* *entry <- what results have of a line, its keys in their order; NULL when the line lacks one. */
static ds_status entry_of(json_t **entry, const json_t *line) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    const entry_kind kind = json_object_get(line, "val/loss") != NULL ? EVALUATION
                            : json_object_get(line, "gates") != NULL  ? AUDIT
                                                                      : UPDATE;
    bool whole = json_is_integer(json_object_get(line, "step"));
    *entry = NULL;
    for (size_t i = 0; i < KEYS; i++) whole = whole && (keys[i].kind != kind || json_object_get(line, keys[i].line) != NULL);
    if (!whole) return DS_OK;
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "step", json_incref(json_object_get(line, "step")));
    for (size_t i = 0; i < KEYS; i++) {
        if (keys[i].kind == kind) ds_json_put(&b, keys[i].result, json_incref(json_object_get(line, keys[i].line)));
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
    const entry_kind kind = kind_of(entry);
    json_t *const lists[] = {log->steps, log->evaluations, log->audits};
    const uint64_t at = (uint64_t)json_integer_value(json_object_get(entry, "step"));
    *kept = kind == UPDATE ? at < step : at <= step;
    if (*kept && kind == UPDATE && at != json_array_size(log->steps))
        status = failure(log, DS_LOG_LINES, DS_ERR_INPUT, "not the log of one run: an update is missing or stands twice");
    if (status != DS_OK || !*kept) goto done;
    for (int file = 0; file < DS_LOG_FILES; file++) DS_TRY(append_entry[file](&texts[file], entry));
    if (json_array_append(lists[kind], entry) != 0) status = failure(log, DS_LOG_LINES, DS_ERR_SYSTEM, "out of memory");
done:
    json_decref(line);
    json_decref(entry);
    return status;
}

ds_status ds_train_log_read(char **bytes, size_t *length, const ds_folder *folder) {
    const uint64_t most = (uint64_t)1 << 34;
    return ds_read_file_in(bytes, length, folder, names[DS_LOG_LINES], most);
}

/* texts[i] <- what file i holds up to the checkpoint: a line that was cut by the end of the process came later. */
static ds_status cut_back(ds_text texts[DS_LOG_FILES], ds_train_log *log, uint64_t step) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length = 0, end = 0;
    bool kept = true;
    DS_TRY(append_heads(texts));
    if (step > 0) DS_TRY(ds_train_log_read(&bytes, &length, log->folder));
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

ds_status ds_train_log_open(ds_train_log *log, const ds_training_options *options, uint64_t step) {
    ds_status status = DS_OK;
    ds_text texts[DS_LOG_FILES] = {{0}};
    bool wanted[DS_LOG_FILES] = {true, true, options->audit > 0, options->llmc};
    *log = ds_train_log_closed;
    log->folder = options->folder;
    log->steps = json_array();
    log->evaluations = json_array();
    log->audits = json_array();
    if (log->steps == NULL || log->evaluations == NULL || log->audits == NULL)
        return failure(log, DS_LOG_LINES, DS_ERR_SYSTEM, "out of memory");
    DS_TRY(cut_back(texts, log, step));
    if (step > 0) wanted[DS_LOG_LLMC] |= ds_folder_holds(log->folder, names[DS_LOG_LLMC]);
    for (int file = 0; file < DS_LOG_FILES; file++) {
        if (wanted[file]) DS_TRY(open_file(log, file, &texts[file]));
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
    json_decref(log->audits);
    *log = ds_train_log_closed;
}

/* ---- reading anybody's ------------------------------------------------------------------------------------------- */

static ds_status collect_line(json_t *const lists[], const char *bytes, size_t length, const char *where) {
    ds_status status = DS_OK;
    json_t *line = NULL, *entry = NULL;
    DS_TRY(ds_json_parse(&line, bytes, length, where));
    DS_TRY(entry_of(&entry, line));
    if (entry == NULL)
        status = ds_fail(DS_ERR_INPUT, "%s: line \"%s\" lacks a key, expected those of train's log.jsonl", DS_SHOW(where),
                         ds_escape(bytes, length).text);
    else if (json_array_append(lists[kind_of(entry)], entry) != 0)
        status = ds_fail(DS_ERR_SYSTEM, "%s: out of memory", DS_SHOW(where));
done:
    json_decref(line);
    json_decref(entry);
    return status;
}

ds_status ds_training_log_read(json_t **results, const char *bytes, size_t length, const char *where) {
    ds_status status = DS_OK;
    json_t *const lists[] = {json_array(), json_array(), json_array()};
    json_t *spikes = NULL;
    ds_json_builder b = {0};
    *results = NULL;
    if (lists[UPDATE] == NULL || lists[EVALUATION] == NULL || lists[AUDIT] == NULL)
        DS_TRY(ds_fail(DS_ERR_SYSTEM, "%s: out of memory", DS_SHOW(where)));
    for (const char *at = bytes, *stop; (stop = memchr(at, '\n', length - (size_t)(at - bytes))) != NULL; at = stop + 1)
        DS_TRY(collect_line(lists, at, (size_t)(stop - at), where));
    DS_TRY(ds_training_spikes(&spikes, lists[UPDATE]));
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "spikes", spikes);
    ds_json_put(&b, "steps", json_incref(lists[UPDATE]));
    ds_json_put(&b, "evaluations", json_incref(lists[EVALUATION]));
    ds_json_put(&b, "audits", json_incref(lists[AUDIT]));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    for (size_t i = 0; i < 3; i++) json_decref(lists[i]);
    return status;
}
