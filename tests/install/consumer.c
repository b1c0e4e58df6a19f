/* A program of someone else's, compiled by tests/install/install.sh with what is installed: prints the mean loss of one
 * window, in nats. */
#include <deltascope/io.h>
#include <deltascope/model.h>
#include <stdio.h>

enum { LENGTH = 64 };

int main(void) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    ds_tokens *tokens = NULL;
    ds_model *model = NULL;
    ds_workspace *workspace = NULL;
    uint32_t ids[LENGTH + 1];
    double nll[LENGTH], sum = 0;
    ds_batch batch = {ids, ids + 1, 1, LENGTH};
    DS_TRY(ds_checkpoint_open(&checkpoint, "fixtures/models/ddl-cc-ec", NULL));
    DS_TRY(ds_model_load(&model, checkpoint, DS_F32));
    DS_TRY(ds_tokens_open(&tokens, "fixtures/data/val.bin", ds_model_spec(model)->vocab));
    DS_TRY(ds_tokens_read(tokens, ids, 0, LENGTH + 1));
    DS_TRY(ds_workspace_new(&workspace, model, 1, LENGTH));
    DS_TRY(ds_forward(workspace, model, &batch, NULL, NULL, nll));
    for (size_t i = 0; i < LENGTH; i++) sum += nll[i];
    printf("%.12f\n", sum / LENGTH);
done:
    if (status != DS_OK) (void)fprintf(stderr, "%s\n", ds_error_text());
    ds_workspace_free(&workspace);
    ds_tokens_close(&tokens);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
    return (int)status;
}
