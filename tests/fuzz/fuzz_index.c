/* model.safetensors.index.json beside two fixed shards. */
#include <sys/stat.h>

#include "fuzz.h"

static void write_shards(void) {
    static bool written;
    static const float values[6] = {0.25F, -1.5F, 3.0F, 7.0F, -0.125F, 2.0F};
    static const size_t shapes[2][2] = {{2, 2}, {2, 0}};
    const ds_tensor_write tensors[3] = {{"a.weight", DS_F32, 2, shapes[0], values},
                                        {"_orig_mod.b.weight", DS_F32, 1, shapes[1], values + 4},
                                        {"c.weight", DS_F32, 2, shapes[0], values + 1}};
    if (written) return;
    written = true;
    (void)mkdir(relation_path("sharded"), 0700);
    (void)relation_file("sharded/config.json", "{}", 2);
    MUST(ds_safetensors_write(relation_path("sharded/1.safetensors"), tensors, 2) == DS_OK);
    MUST(ds_safetensors_write(relation_path("sharded/2.safetensors"), tensors + 2, 1) == DS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    write_shards();
    (void)relation_file("sharded/model.safetensors.index.json", data, size);
    ds_checkpoint *checkpoint;
    ds_status status = ds_checkpoint_open(&checkpoint, relation_path("sharded"), NULL);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    MUST(ds_checkpoint_files(checkpoint) <= 2 && ds_checkpoint_count(checkpoint) >= 1);
    checkpoint_is_consistent(checkpoint);
    ds_checkpoint_close(&checkpoint);
    return 0;
}
