/* From the names in a file to the names of the model's parameters: what wrappers and enclosing modules put in is taken out. */
#include <string.h>

#include "catalog.h"

/* Modules that wrap another one under a name of their own: torch.compile; FSDP; activation checkpointing; DeepSpeed and
 * Lightning; DataParallel, DistributedDataParallel and DeepSpeed again. */
static const char *const wrappers[] = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
                                       "module"};

static const char embedding[] = "transformer.wte.weight", head[] = "lm_head.weight";

static bool is_wrapper(const char *segment, size_t length) {
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        if (strlen(wrappers[i]) == length && memcmp(segment, wrappers[i], length) == 0) return true;
    }
    return false;
}

void ds_strip_wrappers(char *name, const char *stored_name) {
    for (const char *dot; (dot = strchr(stored_name, '.')) != NULL; stored_name = dot + 1) {
        size_t length = (size_t)(dot - stored_name);
        if (is_wrapper(stored_name, length)) continue;
        memcpy(name, stored_name, length + 1);
        name += length + 1;
    }
    memcpy(name, stored_name, strlen(stored_name) + 1);
}

const char *ds_next_part(const char *name) {
    const char *dot = strchr(name, '.');
    return dot == NULL ? NULL : dot + 1;
}

/* The length of what stands in front of "transformer.wte." or "transformer.h.0."; SIZE_MAX when the name has neither. */
static size_t prefix_length(const char *name) {
    static const char backbone[] = "transformer.";
    for (const char *at = name; at != NULL; at = ds_next_part(at)) {
        if (strncmp(at, backbone, sizeof backbone - 1) != 0) continue;
        const char *part = at + sizeof backbone - 1;
        if (strncmp(part, "wte.", 4) == 0 || (strncmp(part, "h.", 2) == 0 && part[2] >= '0' && part[2] <= '9'))
            return (size_t)(at - name);
    }
    return SIZE_MAX;
}

/* The prefix all names of the model share, when there is exactly one: a module that holds the model and whatever else. */
static size_t common_prefix(const ds_catalog *catalog, const char **prefix) {
    size_t length = 0;
    *prefix = NULL;
    for (size_t i = 0; i < catalog->tensor_count; i++) {
        const char *name = catalog->tensors[i].name;
        size_t own = prefix_length(name);
        if (own == SIZE_MAX) continue;
        if (*prefix != NULL && (own != length || memcmp(name, *prefix, own) != 0)) return 0;
        *prefix = name;
        length = own;
    }
    return length;
}

void ds_catalog_rename(ds_catalog *catalog) {
    const char *prefix; /* in front of the rest of some name: the bytes stay where they are */
    size_t length = common_prefix(catalog, &prefix);
    for (size_t i = 0; length > 0 && i < catalog->tensor_count; i++) {
        ds_tensor *tensor = &catalog->tensors[i];
        if (strncmp(tensor->name, prefix, length) == 0 && tensor->name[length] != '\0') tensor->name += length;
    }
    /* safetensors' save_model keeps one name of tied tensors, the first in the alphabet: the output head is the embedding. */
    ds_tensor *tied = NULL;
    for (size_t i = 0; i < catalog->tensor_count; i++) {
        ds_tensor *tensor = &catalog->tensors[i];
        if (strcmp(tensor->name, embedding) == 0) return;
        if (strcmp(tensor->name, head) == 0) tied = tensor;
    }
    if (tied != NULL && prefix != NULL) tied->name = embedding;
}
