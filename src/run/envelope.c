/* The envelope of a result (CONTRACT "JSON: the envelope"), and the key of a run's journal, which tells the same things. */
#include <string.h>
#include <unistd.h>

#include "deltascope/num.h"
#include "deltascope/run.h"

#include "environment.h"
#include "journal.h"
#include "windows.h"

/* The one element type of all floating tensors, or "mixed". */
static const char *stored_dtype(const ds_checkpoint *checkpoint) {
    const char *found = NULL;
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        if (tensor->dtype == DS_DTYPE_OTHER) continue;
        if (found != NULL && strcmp(found, tensor->dtype_name) != 0) return "mixed";
        found = tensor->dtype_name;
    }
    return found == NULL ? "none" : found;
}

/* SHA-256 of the configuration in canonical form: it may stand in a file of its own or inside the checkpoint. */
static ds_status config_digest(char digits[65], const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    ds_text canonical = {0};
    DS_TRY(ds_json_print(&canonical, ds_checkpoint_config(checkpoint), DS_JSON_CANONICAL));
    DS_TRY(ds_sha256(digits, canonical.bytes, canonical.length));
done:
    ds_text_release(&canonical);
    return status;
}

static ds_status put_checkpoint(ds_json_builder *b, const ds_run *run) {
    ds_status status = DS_OK;
    const ds_spec *spec = &run->spec;
    char digits[65], rule[48];
    if (run->checkpoint == NULL) {
        ds_json_put_text(b, "checkpoint", NULL);
        return DS_OK;
    }
    DS_TRY(config_digest(digits, run->checkpoint));
    ds_json_begin_object(b, "checkpoint");
    ds_json_put_text(b, "path", ds_checkpoint_path(run->checkpoint));
    ds_json_put_text(b, "sha256", ds_checkpoint_sha256(run->checkpoint));
    ds_json_put_text(b, "config_sha256", digits);
    ds_json_put_text(b, "variant", ds_spec_variant(spec));
    ds_json_put_text(b, "rule", ds_spec_rule_name(rule, spec));
    ds_json_put_text(b, "backbone", ds_spec_backbone_name(spec));
    ds_json_put_count(b, "parameters", run->parameters);
    ds_json_put_text(b, "dtype", stored_dtype(run->checkpoint));
    ds_json_put_count(b, "layers", spec->layers);
    ds_json_put_count(b, "hidden", spec->hidden);
    ds_json_put_count(b, "heads", spec->heads);
    ds_json_put_count(b, "value_channels", spec->value_channels);
    ds_json_put_count(b, "vocab", spec->vocab);
    if (ds_checkpoint_config_entry(run->checkpoint) != NULL)
        ds_json_put_text(b, "config", ds_checkpoint_config_path(run->checkpoint));
    if (ds_checkpoint_map_path(run->checkpoint) != NULL) ds_json_put_text(b, "map", ds_checkpoint_map_path(run->checkpoint));
    ds_json_end(b);
done:
    return status;
}

/* How the windows lie. */
static void put_spread(ds_json_builder *b, const ds_run *run) {
    static const char *const names[] = {"even", "random", "consecutive", "consecutive"};
    ds_json_put_text(b, "spread", names[run->options.spread]);
    if (run->options.spread == DS_SPREAD_FROM_OFFSET)
        ds_json_put_count(b, "offset", run->options.offset);
    else
        ds_json_put_text(b, "offset", NULL);
    if (run->options.spread == DS_SPREAD_RANDOM) ds_json_put_count(b, "seed", run->options.seed);
}

/* A meta.pkl's SHA-256; of a folder, that of the lines "<digest>  <name>\n" of its tokenizer's files, as sha256sum prints. */
static ds_status tokenizer_digest(char digits[65], const char *path) {
    static const char *const names[] = {"merges.txt", "tokenizer.json", "vocab.json"};
    const uint64_t most = (uint64_t)1 << 30;
    ds_status status = DS_OK;
    ds_text inside = {0}, lines = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        inside.length = 0;
        DS_TRY(ds_text_printf(&inside, "%s/%s", path, names[i]));
        if (access(inside.bytes, F_OK) != 0) continue;
        DS_TRY(ds_sha256_file(digits, NULL, inside.bytes, most));
        DS_TRY(ds_text_printf(&lines, "%s  %s\n", digits, names[i]));
    }
    if (lines.length == 0)
        DS_TRY(ds_sha256_file(digits, NULL, path, most));
    else
        DS_TRY(ds_sha256(digits, lines.bytes, lines.length));
done:
    ds_text_release(&inside);
    ds_text_release(&lines);
    return status;
}

static ds_status put_tokenizer(ds_json_builder *b, const char *path) {
    ds_status status = DS_OK;
    char digits[65];
    if (path == NULL) return DS_OK;
    DS_TRY(tokenizer_digest(digits, path));
    ds_json_begin_object(b, "tokenizer");
    ds_json_put_text(b, "path", path);
    ds_json_put_text(b, "sha256", digits);
    ds_json_end(b);
done:
    return status;
}

static ds_status put_data(ds_json_builder *b, const ds_run *run, const ds_inference *inference) {
    ds_status status = DS_OK;
    if (run->tokens == NULL) {
        ds_json_put_text(b, "data", NULL);
        return DS_OK;
    }
    ds_json_begin_object(b, "data");
    ds_json_put_text(b, "path", ds_tokens_path(run->tokens));
    ds_json_put_text(b, "sha256", ds_tokens_sha256(run->tokens));
    ds_json_put_text(b, "token_type", ds_token_type_name(run->options.type));
    DS_TRY(put_tokenizer(b, run->options.tokenizer));
    ds_json_put_count(b, "seq_len", run->length);
    ds_json_put_count(b, "sequences", run->sequences);
    put_spread(b, run);
    ds_json_put_counts(b, "starts", run->starts, run->sequences);
    ds_json_put_text(b, "inference", inference->stretch ? "stretch" : "file");
    ds_json_put_real(b, "lag1_correlation", inference->losses.lag1);
    ds_json_put_real(b, "n_eff", inference->losses.effective);
    ds_json_put_count(b, "tokens", (uint64_t)run->sequences * run->length);
    ds_json_end(b);
done:
    return status;
}

static void put_object(ds_json_builder *b, const char *key, json_t *object) {
    ds_json_put(b, key, object != NULL ? json_incref(object) : json_object());
}

static const char *precision_name(const ds_run *run) { return run->options.precision == DS_F64 ? "double" : "float"; }

ds_status ds_run_envelope(json_t **out, const ds_run *run, const char *command, json_t *options, json_t *results) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_inference inference;
    *out = NULL;
    DS_TRY(ds_run_inference(&inference, run, results));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "schema", "deltascope/1");
    ds_json_put_text(&b, "command", command);
    ds_json_put_text(&b, "version", DS_VERSION);
    DS_TRY(put_checkpoint(&b, run));
    DS_TRY(put_data(&b, run, &inference));
    put_object(&b, "options", options);
    ds_json_put_text(&b, "precision", precision_name(run));
    DS_TRY(ds_environment_put(&b));
    ds_json_put_count(&b, "threads", ds_threads());
    ds_json_put_count(&b, "ranks", ds_ranks_count(run->options.ranks));
    ds_json_put_real(&b, "seconds", ds_seconds() - run->started);
    if (run->warnings != NULL) ds_json_put(&b, "warnings", json_incref(run->warnings));
    put_object(&b, "results", results);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    ds_json_discard(&b);
    return status;
}

ds_status ds_run_envelope_lasting(json_t *envelope) {
    static const char *const incidental[] = {"threads", "ranks", "seconds"};
    for (size_t i = 0; i < sizeof incidental / sizeof *incidental; i++) {
        if (json_object_set_new(envelope, incidental[i], json_null()) != 0)
            return ds_fail(DS_ERR_SYSTEM, "out of memory for a result as it is written");
    }
    return DS_OK;
}

/* What decides the bytes of a result. A tokenizer is not part of the text's digest: the ids it made speak for it. */
static ds_status make_key(json_t **key, ds_run *run, const char *command, const json_t *options) {
    ds_status status = DS_OK;
    uint32_t crc = 0;
    ds_json_builder b = {0};
    if (run->tokens != NULL) DS_TRY(ds_run_crc32(&crc, run));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "command", command);
    ds_json_put_text(&b, "version", DS_VERSION);
    ds_json_put_text(&b, "blas", ds_blas_name());
    ds_json_put_text(&b, "precision", precision_name(run));
    ds_json_begin_object(&b, "checkpoint");
    ds_json_put_text(&b, "sha256", ds_checkpoint_sha256(run->checkpoint));
    ds_json_put(&b, "config", ds_json_copy(ds_checkpoint_config(run->checkpoint)));
    if (ds_checkpoint_map_path(run->checkpoint) != NULL) ds_json_put_text(&b, "map", ds_checkpoint_map_sha256(run->checkpoint));
    ds_json_end(&b);
    if (run->tokens != NULL) {
        ds_json_begin_object(&b, "data");
        ds_json_put_text(&b, "sha256", ds_tokens_sha256(run->tokens));
        ds_json_put_count(&b, "seq_len", run->length);
        ds_json_put_count(&b, "sequences", run->sequences);
        put_spread(&b, run);
        ds_json_put_count(&b, "tokens_crc32", crc);
        ds_json_end(&b);
    }
    ds_json_put(&b, "options", ds_json_copy(options));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(key, &b));
done:
    return status;
}

/* The folder `path` lies in. */
static ds_status make_folder_of(const char *path) {
    ds_status status = DS_OK;
    ds_text folder = {0};
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) return DS_OK;
    DS_TRY(ds_text_append(&folder, path, (size_t)(slash - path)));
    DS_TRY(ds_make_folder(folder.bytes));
done:
    ds_text_release(&folder);
    return status;
}

static ds_status open_journal(ds_journal **out, const ds_run *run, const ds_journal_plan *plan, const json_t *key) {
    ds_status status = DS_OK;
    const ds_listener *listener = &run->options.listener;
    char found[DS_NAME_CAPACITY + 64];
    if (plan->folder == NULL) DS_TRY(make_folder_of(plan->path));
    DS_TRY(ds_journal_open(out, plan->folder, plan->path, key, plan->resume));
    if (!plan->resume || listener->note == NULL) goto done;
    (void)snprintf(found, sizeof found, "%s: %zu finished pieces of an earlier run", DS_SHOW(plan->path),
                   ds_journal_count(*out));
    listener->note(listener->context, found);
done:
    return status;
}

/* The others get a copy: what was found decides which steps are taken, and all have to take the same. */
static ds_status share_journal(ds_journal **journal, const ds_run *run, const json_t *key) {
    ds_status status = DS_OK;
    ds_ranks *ranks = run->options.ranks;
    void *bytes = NULL;
    size_t length = 0;
    if (ds_ranks_count(ranks) == 1) return DS_OK;
    if (*journal != NULL) DS_TRY(ds_journal_bytes(&bytes, &length, *journal));
    DS_TRY(ds_ranks_share(ranks, &bytes, &length));
    if (ds_ranks_number(ranks) > 0 && length > 0) DS_TRY(ds_journal_open_copy(journal, bytes, length, key));
done:
    free(bytes);
    return status;
}

ds_status ds_run_journal(ds_journal **out, ds_run *run, const ds_journal_plan *plan, const char *command,
                         const json_t *options) {
    ds_status status = DS_OK;
    json_t *key = NULL;
    bool keeps = ds_ranks_number(run->options.ranks) == 0 && plan != NULL && plan->path != NULL;
    *out = NULL;
    if (!keeps && ds_ranks_count(run->options.ranks) == 1) return DS_OK;
    DS_TRY(make_key(&key, run, command, options));
    if (keeps) DS_TRY(open_journal(out, run, plan, key));
    DS_TRY(share_journal(out, run, key));
done:
    if (status != DS_OK) ds_journal_close(out);
    json_decref(key);
    return status;
}
