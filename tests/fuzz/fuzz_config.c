/* config.json beside the weights of a tiny model. The first byte chooses the variant. A configuration that fits the weights
 * gives a model that runs. */
#include "fuzz.h"
#include "run_model.h"
#include "tiny_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_checkpoint *checkpoint = NULL;
    ds_spec spec;
    const char *weights = tiny_weights(size == 0 ? 0 : data[0]);
    const char *config = relation_file("config.json", data + (size > 0), size - (size > 0));
    ds_status status = ds_checkpoint_open(&checkpoint, weights, config);
    if (status == DS_OK) status = ds_spec_detect(&spec, checkpoint);
    if (status == DS_OK) {
        MUST(spec.rotary_dim % 2 == 0 && spec.rotary_dim <= spec.head_dim && spec.vocab == TINY_VOCAB);
        runs_or_refuses(checkpoint);
    } else {
        refusal_is_a_sentence(status);
    }
    ds_checkpoint_close(&checkpoint);
    return 0;
}
