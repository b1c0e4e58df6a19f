#include "run_model.h"

#include <math.h>
#include <string.h>

#include "relations.h"
#include "tiny_model.h"

const char *tiny_weights(unsigned choice) {
    static bool written[TINY_VARIANTS];
    unsigned index = choice % TINY_VARIANTS;
    char name[64];
    (void)snprintf(name, sizeof name, "%s.safetensors", tiny_variants[index]);
    const char *path = relation_path(name);
    if (!written[index]) MUST(tiny_write(path, tiny_variants[index]) == DS_OK);
    written[index] = true;
    return path;
}

/* A refusal of what the numbers did names the place. */
static bool names_a_place(void) {
    const char *text = ds_error_text();
    return strstr(text, ".attn") != NULL || strstr(text, ".mlp") != NULL || strstr(text, "position") != NULL;
}

enum { WINDOWS = 2, LENGTH = 5 };

static void run_together_and_alone(const ds_model *model) {
    static const uint32_t tokens[WINDOWS * LENGTH] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
    static const uint32_t targets[WINDOWS * LENGTH] = {1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
    double together[WINDOWS * LENGTH], alone[LENGTH];
    ds_workspace *workspace;
    MUST(ds_workspace_new(&workspace, model, WINDOWS, LENGTH) == DS_OK);
    ds_batch batch = {tokens, targets, WINDOWS, LENGTH};
    ds_status status = ds_forward(workspace, model, &batch, NULL, NULL, together);
    MUST(status == DS_OK || (status == DS_ERR_INPUT && names_a_place()));
    for (size_t w = 0; w < WINDOWS && status == DS_OK; w++) {
        ds_batch one = {tokens + w * LENGTH, targets + w * LENGTH, 1, LENGTH};
        MUST(ds_forward(workspace, model, &one, NULL, NULL, alone) == DS_OK);
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): the same bits are meant */
        MUST(memcmp(alone, together + w * LENGTH, sizeof alone) == 0);
        for (size_t t = 0; t < LENGTH; t++) MUST(isfinite(alone[t]) && alone[t] >= 0);
    }
    ds_workspace_free(&workspace);
}

bool runs_or_refuses(ds_checkpoint *checkpoint) {
    for (ds_precision precision = DS_F32; precision <= DS_F64; precision++) {
        ds_model *model;
        ds_status status = ds_model_load(&model, checkpoint, precision);
        if (status != DS_OK) {
            refusal_is_a_sentence(status);
            MUST(precision == DS_F32);
            return false;
        }
        const ds_spec *spec = ds_model_spec(model);
        if (spec->hidden <= 64 && spec->mlp_hidden <= 256 && spec->value_channels <= 8 && spec->vocab <= 1024)
            run_together_and_alone(model);
        ds_model_free(&model);
    }
    return true;
}
