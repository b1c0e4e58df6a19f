/* From a path to a sealed catalog and a parsed configuration: which files make up the checkpoint, and in which format. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "catalog.h"
#include "name_map.h"
#include "recognise.h"
#include "shards.h"
#include "weight_files.h"

struct ds_checkpoint {
    char *path, *config_path;
    const char *config_entry; /* of the file itself, when the configuration came from there; a view into the catalog */
    json_t *config;
    ds_name_map *map; /* NULL: names are ours */
    const char *format;
    ds_catalog catalog;
};

static const uint64_t config_limit = UINT64_C(4) << 20;

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static ds_status read_config(ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    const char *path = checkpoint->config_path;
    DS_TRY(ds_read_file(&bytes, &length, path, config_limit));
    DS_TRY(ds_json_parse(&checkpoint->config, bytes, length, path));
    if (!json_is_object(checkpoint->config)) status = ds_fail(DS_ERR_INPUT, "%s: not a JSON object", DS_SHOW(path));
done:
    free(bytes);
    return status;
}

/* nanoGPT's three sizes, which nobody else calls so. */
static bool is_nanogpt(const json_t *value) {
    return json_object_get(value, "n_layer") != NULL && json_object_get(value, "n_head") != NULL &&
           json_object_get(value, "n_embd") != NULL;
}

/* An entry that is about the model by its name, or has a key of every model, or the keys the map speaks of. */
static bool is_configuration(const ds_checkpoint *checkpoint, const char *entry, const json_t *value) {
    if (checkpoint->map != NULL && ds_name_map_fits(checkpoint->map, value)) return true;
    bool named = strncmp(entry, "model_", strlen("model_")) == 0 && json_object_size(value) > 0;
    return named || json_object_get(value, "hidden_size") != NULL || is_nanogpt(value);
}

/* The first entry of a training checkpoint that is a configuration, when there is one. */
static ds_status take_own_config(ds_checkpoint *checkpoint) {
    const char *entry;
    json_t *value;
    json_object_foreach(checkpoint->catalog.configurations, entry, value) {
        if (!is_configuration(checkpoint, entry, value)) continue;
        ds_text where = {0};
        checkpoint->config_entry = entry;
        checkpoint->config = json_incref(value);
        ds_status status = ds_text_printf(&where, "%s: %s", DS_SHOW(checkpoint->catalog.files[0].source.path), DS_SHOW(entry));
        free(checkpoint->config_path);
        checkpoint->config_path = where.bytes;
        return status;
    }
    return DS_OK;
}

/* `beside` is the folder whose config.json is meant when no path was given. */
static ds_status load_config(ds_checkpoint *checkpoint, const ds_checkpoint_options *options, const char *beside,
                             bool is_folder) {
    ds_status status = DS_OK;
    bool present;
    if (options->config != NULL) {
        checkpoint->config_path = ds_strdup(options->config);
        return checkpoint->config_path == NULL ? DS_ERR_SYSTEM : read_config(checkpoint);
    }
    DS_TRY(ds_join(&checkpoint->config_path, beside, "config.json"));
    DS_TRY(ds_is_present(&present, checkpoint->config_path));
    if (present) return read_config(checkpoint);
    DS_TRY(take_own_config(checkpoint));
    if (checkpoint->config != NULL || options->config_optional) return DS_OK;
    if (checkpoint->map != NULL && ds_name_map_has_settings(checkpoint->map)) {
        free(checkpoint->config_path);
        checkpoint->config_path = ds_strdup(options->map);
        return checkpoint->config_path == NULL ? DS_ERR_SYSTEM : DS_OK;
    }
    if (is_folder)
        return ds_fail(DS_ERR_INPUT, "%s: missing config.json: give the configuration with --config FILE",
                       DS_SHOW(checkpoint->config_path));
    status = ds_fail(DS_ERR_INPUT, "%s: no configuration: no config.json beside the file and no --config FILE given",
                     DS_SHOW(checkpoint->path));
done:
    return status;
}

/* ---- weight files ------------------------------------------------------------------------------------------------ */

static bool begins_with(const uint8_t *bytes, size_t count, const char *magic, size_t length) {
    return count >= length && memcmp(bytes, magic, length) == 0;
}

/* What a file that is no zip archive and no safetensors file looks like to somebody who knows PyTorch's history; or NULL. */
static const char *older_format(const uint8_t *bytes, size_t count) {
    enum { TAR_MAGIC = 257 };
    static const char legacy[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."; /* the pickled legacy number */
    if (begins_with(bytes, count, legacy, sizeof legacy - 1))
        return "legacy format (torch.save before 1.6) is not supported: load it in PyTorch and save it again";
    if (count >= TAR_MAGIC + 5 && memcmp(bytes + TAR_MAGIC, "ustar", 5) == 0)
        return "legacy tar format is not supported: load it in PyTorch and save it again";
    if (begins_with(bytes, count, "PYTORCH1", 8))
        return "PyTorch's file format before zip archives is not supported: load it in PyTorch and save it again";
    if (count >= 2 && bytes[0] == 0x80 && bytes[1] <= 5)
        return "not a PyTorch file but a bare pickle, which is not supported (legacy format or no tensors)";
    return NULL;
}

/* What a file's name in a model folder promises; a file given alone may be either. */
typedef enum promise { PROMISE_SAFETENSORS, PROMISE_TORCH, PROMISE_NONE } promise;

/* Neither a zip archive nor plausibly safetensors. */
static ds_status refuse_file(const ds_source *source, const uint8_t *head, size_t count, promise promised) {
    const char *older = older_format(head, count);
    if (older != NULL) return ds_fail(DS_ERR_INPUT, "%s: %s", DS_SHOW(source->path), older);
    ds_status status = ds_kind_refuse(source->path, head, count, "a PyTorch checkpoint or safetensors");
    if (status != DS_OK) return status;
    if (promised == PROMISE_TORCH)
        return ds_fail(DS_ERR_INPUT, "%s: not a PyTorch file: it does not start with a local header, as a zip archive does",
                       DS_SHOW(source->path));
    return ds_fail(DS_ERR_INPUT, "%s: not a PyTorch file and not safetensors: expected a zip archive or a header length",
                   DS_SHOW(source->path));
}

/* A file whose name says safetensors: what the reader of the format finds wrong, unless it is something else altogether. */
static ds_status list_safetensors(ds_catalog *catalog, size_t index, const uint8_t *head, size_t count) {
    const ds_source *source = &catalog->files[index].source;
    if (count > 8 && head[8] == '{') return ds_safetensors_list(catalog, source, index); /* with a wrong length in front */
    if (begins_with(head, count, "PK\3\4", 4))
        return ds_fail(DS_ERR_INPUT,
                       "%s: this is a zip archive, as torch.save writes, expected safetensors: call it pytorch_model.bin",
                       DS_SHOW(source->path));
    ds_status status = ds_kind_refuse(source->path, head, count, "safetensors");
    return status == DS_OK ? ds_safetensors_list(catalog, source, index) : status;
}

/* Detects the format by content, within what is promised, and lists the file. */
static ds_status list_file(ds_catalog *catalog, size_t index, promise promised, const char **format) {
    const ds_source *source = &catalog->files[index].source;
    uint8_t head[DS_KIND_HEAD];
    size_t count = source->size < DS_KIND_HEAD ? (size_t)source->size : DS_KIND_HEAD;
    *format = "safetensors";
    ds_status status = ds_source_read(source, head, 0, count);
    if (status != DS_OK) return status;
    /* A header length comes before all signatures: that of 640 bytes begins as a pickle does. */
    bool plausible = count > 8 && ds_load_u64le(head) <= source->size - 8 && memchr(" \t\r\n{", head[8], 5) != NULL;
    if (promised != PROMISE_TORCH && plausible) return ds_safetensors_list(catalog, source, index);
    if (promised == PROMISE_SAFETENSORS) return list_safetensors(catalog, index, head, count);
    if (count == 0) return ds_fail(DS_ERR_INPUT, "%s: not a checkpoint: the file is empty", DS_SHOW(source->path));
    if (begins_with(head, count, "PK\3\4", 4)) {
        *format = "torch zip";
        return ds_torch_list(catalog, source, index);
    }
    const char *dot = strrchr(ds_base_name(source->path), '.');
    bool named = dot != NULL && strcmp(dot, ".safetensors") == 0;
    if (promised != PROMISE_TORCH && named) return list_safetensors(catalog, index, head, count);
    return refuse_file(source, head, count, promised);
}

static ds_status open_single(ds_checkpoint *checkpoint, const char *path, promise promised) {
    ds_status status = ds_catalog_open_file(&checkpoint->catalog, path);
    if (status == DS_OK) status = list_file(&checkpoint->catalog, 0, promised, &checkpoint->format);
    return status;
}

/* Once all files are listed. */
static ds_status finish_names(ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    ds_catalog_rename(&checkpoint->catalog);
    if (checkpoint->map != NULL) DS_TRY(ds_name_map_tensors(checkpoint->map, &checkpoint->catalog));
    if (checkpoint->map != NULL) ds_catalog_rename(&checkpoint->catalog); /* the head of a mapped model may stand alone, too */
    DS_TRY(ds_catalog_seal(&checkpoint->catalog));
done:
    return status;
}

static ds_status open_shard(ds_checkpoint *checkpoint, const char *folder, const char *name, promise promised) {
    ds_status status = DS_OK;
    char *path = NULL;
    DS_TRY(ds_join(&path, folder, name));
    DS_TRY(ds_catalog_open_file(&checkpoint->catalog, path));
    DS_TRY(list_file(&checkpoint->catalog, checkpoint->catalog.file_count - 1, promised, &checkpoint->format));
done:
    free(path);
    return status;
}

static ds_status open_sharded(ds_checkpoint *checkpoint, const char *folder, const char *index_path, promise promised) {
    ds_status status = DS_OK;
    ds_shards shards = {0};
    DS_TRY(ds_shards_init(&shards, index_path));
    for (size_t i = 0; i < shards.count && status == DS_OK; i++) {
        status = open_shard(checkpoint, folder, shards.names[i], promised);
        if (status != DS_OK) status = ds_fail_prefix(status, "%s: shard", DS_SHOW(index_path));
    }
    if (status != DS_OK) goto done;
    DS_TRY(finish_names(checkpoint));
    DS_TRY(ds_shards_check(&shards, &checkpoint->catalog));
    checkpoint->format = promised == PROMISE_TORCH ? "sharded torch zip" : "sharded safetensors";
done:
    ds_shards_release(&shards);
    return status;
}

/* The first of the usual names that is taken is the checkpoint; the others are not opened. */
static ds_status open_folder(ds_checkpoint *checkpoint, const char *folder, const ds_checkpoint_options *options) {
    ds_status status = DS_OK;
    char *path = NULL;
    bool present = false;
    size_t i;
    for (i = 0; i < DS_USUAL_NAMES; i++) {
        free(path);
        path = NULL;
        DS_TRY(ds_join(&path, folder, ds_usual_names[i]));
        DS_TRY(ds_is_present(&present, path));
        if (present) break;
    }
    bool sharded = present && i % 2 == 1;
    promise promised = !present ? PROMISE_NONE : i < 2 ? PROMISE_SAFETENSORS : PROMISE_TORCH;
    if (!present) {
        free(path);
        path = NULL;
        DS_TRY(ds_only_weight_file(&path, folder));
    }
    DS_TRY(sharded ? open_sharded(checkpoint, folder, path, promised) : open_single(checkpoint, path, promised));
    if (!sharded) DS_TRY(finish_names(checkpoint));
    DS_TRY(load_config(checkpoint, options, folder, true));
done:
    free(path);
    return status;
}

static ds_status open_file(ds_checkpoint *checkpoint, const char *path, const ds_checkpoint_options *options) {
    ds_status status = DS_OK;
    size_t folder_length = (size_t)(ds_base_name(path) - path);
    ds_text folder = {0};
    DS_TRY(folder_length == 0 ? ds_text_append(&folder, ".", 1) : ds_text_append(&folder, path, folder_length));
    DS_TRY(open_single(checkpoint, path, PROMISE_NONE));
    DS_TRY(finish_names(checkpoint));
    DS_TRY(load_config(checkpoint, options, folder.bytes, false));
done:
    ds_text_release(&folder);
    return status;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static ds_status checkpoint_new(ds_checkpoint **out, const char *path) {
    ds_status status = DS_OK;
    DS_NEW(*out, 1);
    (*out)->path = ds_strdup(path);
    if ((*out)->path == NULL) status = DS_ERR_SYSTEM;
done:
    return status;
}

ds_status ds_checkpoint_open(ds_checkpoint **out, const char *path, const char *config_path) {
    const ds_checkpoint_options options = {.config = config_path};
    return ds_checkpoint_open_with(out, path, &options);
}

ds_status ds_checkpoint_open_with(ds_checkpoint **out, const char *path, const ds_checkpoint_options *options) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    struct stat info;
    *out = NULL;
    DS_TRY(checkpoint_new(&checkpoint, path));
    if (options->map != NULL) {
        DS_TRY(ds_name_map_open(&checkpoint->map, options->map));
        checkpoint->catalog.wanted_state = ds_name_map_state(checkpoint->map);
    }
    bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    DS_TRY(is_folder ? open_folder(checkpoint, path, options) : open_file(checkpoint, path, options));
    if (checkpoint->map != NULL && (checkpoint->config != NULL || !options->config_optional))
        DS_TRY(ds_name_map_config(checkpoint->map, &checkpoint->config, checkpoint->config_path));
done:
    if (status != DS_OK) ds_checkpoint_close(&checkpoint);
    *out = checkpoint;
    return status;
}

ds_status ds_tensors_open(ds_checkpoint **out, const char *path) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    *out = NULL;
    DS_TRY(checkpoint_new(&checkpoint, path));
    DS_TRY(open_single(checkpoint, path, PROMISE_NONE));
    DS_TRY(ds_catalog_seal(&checkpoint->catalog));
done:
    if (status != DS_OK) ds_checkpoint_close(&checkpoint);
    *out = checkpoint;
    return status;
}

void ds_checkpoint_close(ds_checkpoint **pointer) {
    ds_checkpoint *checkpoint = *pointer;
    if (checkpoint == NULL) return;
    ds_catalog_release(&checkpoint->catalog);
    json_decref(checkpoint->config);
    ds_name_map_close(&checkpoint->map);
    free(checkpoint->config_path);
    free(checkpoint->path);
    free(checkpoint);
    *pointer = NULL;
}

const char *ds_checkpoint_path(const ds_checkpoint *checkpoint) { return checkpoint->path; }

const char *ds_checkpoint_format(const ds_checkpoint *checkpoint) { return checkpoint->format; }

const char *ds_checkpoint_config_path(const ds_checkpoint *checkpoint) { return checkpoint->config_path; }

const char *ds_checkpoint_map_path(const ds_checkpoint *checkpoint) {
    return checkpoint->map == NULL ? NULL : ds_name_map_path(checkpoint->map);
}

const char *ds_checkpoint_map_sha256(const ds_checkpoint *checkpoint) {
    return checkpoint->map == NULL ? NULL : ds_name_map_sha256(checkpoint->map);
}

const json_t *ds_checkpoint_entries(const ds_checkpoint *checkpoint) { return checkpoint->catalog.configurations; }

const char *ds_checkpoint_config_entry(const ds_checkpoint *checkpoint) { return checkpoint->config_entry; }

const json_t *ds_checkpoint_config(const ds_checkpoint *checkpoint) { return checkpoint->config; }

size_t ds_checkpoint_files(const ds_checkpoint *checkpoint) { return checkpoint->catalog.file_count; }

const char *ds_checkpoint_file(const ds_checkpoint *checkpoint, size_t index) {
    return checkpoint->catalog.files[index].source.path;
}

uint64_t ds_checkpoint_bytes(const ds_checkpoint *checkpoint) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < checkpoint->catalog.file_count; i++) bytes += checkpoint->catalog.files[i].source.size;
    return bytes;
}

size_t ds_checkpoint_count(const ds_checkpoint *checkpoint) { return checkpoint->catalog.tensor_count; }

const ds_tensor *ds_checkpoint_tensor(const ds_checkpoint *checkpoint, size_t index) {
    return &checkpoint->catalog.tensors[index];
}

const ds_tensor *ds_checkpoint_find(const ds_checkpoint *checkpoint, const char *name) {
    return ds_catalog_find(&checkpoint->catalog, name);
}

ds_status ds_checkpoint_read(ds_checkpoint *checkpoint, const ds_tensor_read *reads, size_t count) {
    return ds_catalog_read(&checkpoint->catalog, reads, count);
}

const char *ds_checkpoint_sha256(const ds_checkpoint *checkpoint) { return checkpoint->catalog.digest; }

const char *ds_checkpoint_file_sha256(const ds_checkpoint *checkpoint, size_t index) {
    return checkpoint->catalog.files[index].digest;
}
