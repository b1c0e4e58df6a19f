#include "draft_view.h"

#include <string.h>

#include "cli/text_wrapping.h"
#include "inspection_rows.h"

static const char *text_at(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }

static ds_status print(const ds_draft *draft) {
    ds_status status = DS_OK;
    json_t *rows = NULL;
    ds_text sentence = {0};
    DS_TRY(ds_draft_rows(&rows, draft->tensors));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        size_t column = (size_t)printf("%s  %s %s: ", text_at(row, "tensor"), text_at(row, "dtype"), text_at(row, "shape"));
        ds_print_wrapped(text_at(row, "roles"), 4, column);
    }
    DS_TRY(
        ds_text_printf(&sentence,
                       "%zu of %zu names of the likeliest variant found, layers counted once; %zu of them guessed from their "
                       "order alone.",
                       draft->matched, draft->matched + draft->missing, draft->guessed));
    (void)printf("\n");
    ds_print_wrapped(sentence.bytes, 0, 0);
done:
    ds_text_release(&sentence);
    json_decref(rows);
    return status;
}

/* The names as the file has them: a map is what is to come. */
static ds_status open_unmapped(ds_checkpoint **checkpoint, const ds_invocation *invocation) {
    const ds_checkpoint_options options = {.config = invocation->common.config, .config_optional = true};
    return ds_checkpoint_open_with(checkpoint, invocation->operands[0], &options);
}

/* Whether the model can be built after all: then it was data, or memory, that failed. */
static bool is_buildable(const ds_invocation *invocation) {
    const ds_common *common = &invocation->common;
    const ds_checkpoint_options options = {.config = common->config, .map = common->map};
    ds_checkpoint *checkpoint = NULL;
    ds_spec spec;
    bool can = ds_checkpoint_open_with(&checkpoint, invocation->operands[0], &options) == DS_OK &&
               ds_spec_detect(&spec, checkpoint) == DS_OK;
    ds_checkpoint_close(&checkpoint);
    return can;
}

ds_status ds_draft_explain(const ds_invocation *invocation, ds_status failure) {
    ds_status status = DS_OK;
    char sentence[2048];
    ds_checkpoint *checkpoint = NULL;
    ds_draft draft = {0};
    (void)snprintf(sentence, sizeof sentence, "%s", ds_error_text());
    if (failure != DS_ERR_INPUT || !invocation->common.table || is_buildable(invocation)) goto done;
    DS_TRY(open_unmapped(&checkpoint, invocation));
    DS_TRY(ds_draft_make(&draft, checkpoint));
    DS_TRY(print(&draft));
done:
    ds_draft_release(&draft);
    ds_checkpoint_close(&checkpoint);
    if (status == DS_ERR_SYSTEM) return status;
    return ds_fail(failure, "%s", sentence);
}

ds_status ds_draft_write(const ds_invocation *invocation, const char *path) {
    ds_status status = DS_OK;
    ds_checkpoint *checkpoint = NULL;
    ds_draft draft = {0};
    if (invocation->common.map != NULL)
        return ds_fail(DS_ERR_USAGE, "--draft-map drafts from the names as they are stored: leave out --map");
    DS_TRY(open_unmapped(&checkpoint, invocation));
    DS_TRY(ds_draft_make(&draft, checkpoint));
    DS_TRY(ds_json_write(path, draft.map, DS_JSON_READABLE));
    if (!invocation->common.table) goto done;
    DS_TRY(print(&draft));
    (void)printf("%s: written; look at its \"guesses\" and \"missing\", then pass it as --map\n", DS_SHOW(path));
done:
    ds_draft_release(&draft);
    ds_checkpoint_close(&checkpoint);
    return status;
}
