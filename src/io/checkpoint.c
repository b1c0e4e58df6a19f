/* From a path to a sealed catalog and a parsed configuration: which files make up the checkpoint, and in which format. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "catalog.h"
#include "recognise.h"
#include "shards.h"

struct ds_checkpoint {
    char *path, *config_path;
    json_t *config;
    const char *format;
    ds_catalog catalog;
};

static const uint64_t config_limit = UINT64_C(4) << 20;

static ds_status join(char **out, const char *folder, const char *name) {
    ds_text path = {0};
    size_t length = strlen(folder);
    const char *separator = length > 0 && folder[length - 1] == '/' ? "" : "/";
    ds_status status = ds_text_printf(&path, "%s%s%s", folder, separator, name);
    *out = path.bytes;
    return status;
}

/* Whether a name is taken, by whatever kind of file: a dangling link or a FIFO in the place of a weight file is an error to be
 * reported when it is opened, not a reason to look elsewhere. */
static ds_status is_present(bool *present, const char *path) {
    struct stat info;
    *present = lstat(path, &info) == 0;
    if (*present || errno == ENOENT || errno == ENOTDIR) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "%s: cannot be examined: %s", DS_SHOW(path), strerror(errno));
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

/* `beside` is the folder whose config.json is meant when no path was given. */
static ds_status load_config(ds_checkpoint *checkpoint, const char *given, const char *beside, bool is_folder) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    bool present = true;
    if (given != NULL) {
        checkpoint->config_path = ds_strdup(given);
        if (checkpoint->config_path == NULL) status = DS_ERR_SYSTEM;
    } else {
        status = join(&checkpoint->config_path, beside, "config.json");
        if (status == DS_OK) status = is_present(&present, checkpoint->config_path);
    }
    if (status != DS_OK) return status;
    const char *path = checkpoint->config_path;
    if (!present && is_folder) return ds_fail(DS_ERR_INPUT, "%s: missing config.json", DS_SHOW(path));
    if (!present)
        return ds_fail(
            DS_ERR_INPUT, "%s: no configuration: no config.json beside the file and no --config FILE given%s",
            DS_SHOW(checkpoint->path),
            strcmp(checkpoint->format, "torch zip") != 0
                ? ""
                : "; a training checkpoint may hold it as model_args, which json.dump(torch.load(FILE)[\"model_args\"], "
                  "open(\"config.json\", \"w\")) takes out");
    DS_TRY(ds_read_file(&bytes, &length, path, config_limit));
    DS_TRY(ds_json_parse(&checkpoint->config, bytes, length, path));
    if (!json_is_object(checkpoint->config)) status = ds_fail(DS_ERR_INPUT, "%s: not a JSON object", DS_SHOW(path));
done:
    free(bytes);
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
    if (status == DS_OK) status = ds_catalog_seal(&checkpoint->catalog);
    return status;
}

static ds_status open_shard(ds_checkpoint *checkpoint, const char *folder, const char *name, promise promised) {
    ds_status status = DS_OK;
    char *path = NULL;
    DS_TRY(join(&path, folder, name));
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
    DS_TRY(ds_catalog_seal(&checkpoint->catalog));
    DS_TRY(ds_shards_check(&shards, &checkpoint->catalog));
    checkpoint->format = promised == PROMISE_TORCH ? "sharded torch zip" : "sharded safetensors";
done:
    ds_shards_release(&shards);
    return status;
}

/* The first of these names that is taken is the checkpoint; the others are not opened. */
static ds_status open_folder(ds_checkpoint *checkpoint, const char *folder, const char *config_path) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                        "pytorch_model.bin.index.json", "ckpt.pt" /* what training scripts leave */};
    ds_status status = DS_OK;
    char *path = NULL;
    bool present = false;
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        free(path);
        path = NULL;
        DS_TRY(join(&path, folder, names[i]));
        DS_TRY(is_present(&present, path));
        if (present) break;
    }
    if (!present) {
        status = ds_fail(DS_ERR_INPUT, "%s: no checkpoint file in the folder, expected %s, %s, %s, %s or %s", DS_SHOW(folder),
                         names[0], names[1], names[2], names[3], names[4]);
        goto done;
    }
    DS_TRY(load_config(checkpoint, config_path, folder, true));
    bool sharded = i % 2 == 1;
    promise promised = i < 2 ? PROMISE_SAFETENSORS : PROMISE_TORCH;
    DS_TRY(sharded ? open_sharded(checkpoint, folder, path, promised) : open_single(checkpoint, path, promised));
done:
    free(path);
    return status;
}

static ds_status open_file(ds_checkpoint *checkpoint, const char *path, const char *config_path) {
    ds_status status = DS_OK;
    size_t folder_length = (size_t)(ds_base_name(path) - path);
    ds_text folder = {0};
    DS_TRY(folder_length == 0 ? ds_text_append(&folder, ".", 1) : ds_text_append(&folder, path, folder_length));
    DS_TRY(open_single(checkpoint, path, PROMISE_NONE));
    DS_TRY(load_config(checkpoint, config_path, folder.bytes, false));
done:
    ds_text_release(&folder);
    return status;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

ds_status ds_checkpoint_open(ds_checkpoint **out, const char *path, const char *config_path) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    struct stat info;
    *out = NULL;
    DS_NEW(checkpoint, 1);
    checkpoint->path = ds_strdup(path);
    if (checkpoint->path == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    DS_TRY(is_folder ? open_folder(checkpoint, path, config_path) : open_file(checkpoint, path, config_path));
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
    free(checkpoint->config_path);
    free(checkpoint->path);
    free(checkpoint);
    *pointer = NULL;
}

const char *ds_checkpoint_path(const ds_checkpoint *checkpoint) { return checkpoint->path; }

const char *ds_checkpoint_format(const ds_checkpoint *checkpoint) { return checkpoint->format; }

const char *ds_checkpoint_config_path(const ds_checkpoint *checkpoint) { return checkpoint->config_path; }

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
