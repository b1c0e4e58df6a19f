/* Any bytes, loaded and run. The first byte chooses the variant, whose configuration is used; below 128 the rest replaces the
 * weights (as far as it goes), from 128 on it is the weight file itself. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "run_model.h"
#include "tiny_model.h"

static const char *make_file(const uint8_t *data, size_t size) {
    if (size == 0 || data[0] >= 128) return relation_file("model.any", data + (size > 0), size - (size > 0));
    char *file;
    size_t length;
    MUST(ds_read_file(&file, &length, tiny_weights(data[0]), 1 << 20) == DS_OK);
    size_t begin = 8 + (size_t)ds_load_u64le((const uint8_t *)file);
    memcpy(file + begin, data + 1, ds_min_size(size - 1, length - begin));
    const char *path = relation_file("model.any", file, length);
    free(file);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_checkpoint *checkpoint = NULL;
    ds_survey *survey = NULL;
    const char *config = relation_file("config.json", tiny_config("ddl-cc"), strlen(tiny_config("ddl-cc")));
    ds_status status = ds_checkpoint_open(&checkpoint, make_file(data, size), config);
    if (status == DS_OK) status = ds_survey_new(&survey, checkpoint, DS_F64);
    if (status == DS_OK) {
        bool sound = survey->head != DS_HEAD_DIFFERENT;
        for (size_t i = 0; i < survey->count; i++) {
            const ds_tensor_health *health = &survey->tensors[i];
            if (health->parameter != NULL || health->head) sound = sound && health->nan == 0 && health->inf == 0;
        }
        MUST(runs_or_refuses(checkpoint) == sound); /* what the survey finds odd, loading refuses, and nothing else */
    } else {
        refusal_is_a_sentence(status);
    }
    ds_survey_free(&survey);
    ds_checkpoint_close(&checkpoint);
    return 0;
}
