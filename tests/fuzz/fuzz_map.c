/* Any bytes as a map beside a known model: refused in a sentence, or every tensor, turned and cut as it is told, lies within
 * the file. The first byte chooses the variant. What was mapped can be drafted from, too. */
#include "deltascope/model.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "run_model.h"
#include "tiny_model.h"

/* In order, unique, and read from within the file. */
static void check_tensors(ds_checkpoint *checkpoint) {
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        uint64_t begin = tensor->offset, end = begin + tensor->extent * sizeof(float);
        MUST(i == 0 || strcmp(ds_checkpoint_tensor(checkpoint, i - 1)->name, tensor->name) < 0);
        MUST(ds_checkpoint_find(checkpoint, tensor->name) == tensor);
        MUST(begin <= end && end <= ds_checkpoint_bytes(checkpoint) && tensor->count <= tensor->extent);
        float *values = malloc((size_t)(tensor->count + 1) * sizeof *values);
        MUST(values != NULL);
        const ds_tensor_read read = {.tensor = tensor, .precision = DS_F32, .destination = values};
        MUST(ds_checkpoint_read(checkpoint, &read, 1) == DS_OK);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned variant = size == 0 ? 0 : data[0];
    const char *text = tiny_config(tiny_variants[variant % TINY_VARIANTS]);
    const ds_checkpoint_options options = {.config = relation_file("config.json", text, strlen(text)),
                                           .map = relation_file("map.json", data + (size > 0), size - (size > 0))};
    ds_checkpoint *checkpoint = NULL;
    ds_draft draft;
    ds_status status = ds_checkpoint_open_with(&checkpoint, tiny_weights(variant), &options);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    check_tensors(checkpoint);
    MUST(ds_draft_make(&draft, checkpoint) == DS_OK);
    MUST(json_array_size(draft.tensors) == ds_checkpoint_count(checkpoint) && draft.guessed <= draft.matched);
    ds_draft_release(&draft);
    ds_checkpoint_close(&checkpoint);
    return 0;
}
