#include "group_view.h"

#include "cli/text_wrapping.h"

const ds_result_column ds_group_columns[DS_GROUP_COLUMNS] = {
    DS_CELL("group", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("rule", NULL, NULL, DS_COLUMN_TEXT, 0, "rule"),
    DS_CELL("seeds", NULL, NULL, DS_COLUMN_INTEGER, 0, "loss/n"),
    DS_CELL("loss", NULL, "nats", DS_COLUMN_LOWEST, 4, "loss/mean"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "loss/interval/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "loss/interval/1"),
    DS_CELL("sd", NULL, NULL, DS_COLUMN_FIXED, 4, "loss/sd"),
    DS_CELL_OPTIONAL("beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3, "gates/beta_mean/mean"),
    DS_CELL_OPTIONAL("beta_sd", "β sd", NULL, DS_COLUMN_FIXED, 3, "gates/beta_mean/sd"),
    DS_CELL_OPTIONAL("published_small", "paper 124M, 1 run", "nats", DS_COLUMN_FIXED, 4, "published_losses/small_loss"),
    DS_CELL_OPTIONAL("published_medium", "paper 353M, 1 run", "nats", DS_COLUMN_FIXED, 4, "published_losses/medium_loss"),
};
const ds_result_column ds_group_contrast_columns[DS_GROUP_CONTRAST_COLUMNS] = {
    DS_CELL("group", NULL, NULL, DS_COLUMN_TEXT, 0, "a"),
    DS_CELL("difference", NULL, "nats", DS_COLUMN_FIXED, 4, "mean"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "interval/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "interval/1"),
    DS_CELL("p_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "holm_p"),
    DS_CELL_OPTIONAL("p_sign_flip", "p flips", NULL, DS_COLUMN_REAL, 2, "sign_flip/p"),
    DS_CELL("detectable", "could see", "nats", DS_COLUMN_FIXED, 4, "detectable_effect/effect"),
    DS_CELL("verdict", NULL, NULL, DS_COLUMN_TEXT, 0, "verdict"),
};
const ds_result_table ds_group_tables[DS_GROUP_TABLES] = {
    [DS_GROUP_MEANS] = {.id = "groups",
                        .title = "Loss of groups: seeds are the sampling unit",
                        .rows = "groups",
                        .columns = ds_group_columns,
                        .column_count = DS_GROUP_COLUMNS},
    [DS_GROUP_CONTRASTS] = {.id = "contrasts",
                            .title = "Differences from the first group",
                            .rows = "contrasts",
                            .columns = ds_group_contrast_columns,
                            .column_count = DS_GROUP_CONTRAST_COLUMNS},
};

const ds_column ds_group_sublayer_columns[DS_GROUP_SUBLAYER_COLUMNS] = {
    {"group", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3},
    {"beta_low", "95% low", NULL, DS_COLUMN_FIXED, 3},
    {"beta_high", "95% high", NULL, DS_COLUMN_FIXED, 3},
    {"closed_cost", "cost shut", "nats", DS_COLUMN_FIXED, 4},
    {"cost_low", "95% low", NULL, DS_COLUMN_FIXED, 4},
    {"cost_high", "95% high", NULL, DS_COLUMN_FIXED, 4},
};

ds_status ds_group_sublayers(ds_table **table, const json_t *results) {
    static const char *const paths[] = {"beta_mean/mean",   "beta_mean/interval/0",   "beta_mean/interval/1",
                                        "closed_cost/mean", "closed_cost/interval/0", "closed_cost/interval/1"};
    ds_status status = DS_OK;
    size_t g, s;
    const json_t *group, *sublayer;
    DS_TRY(ds_table_new(table, "Gates of groups, sublayer by sublayer", ds_group_sublayer_columns, DS_GROUP_SUBLAYER_COLUMNS));
    ds_table_describe(*table, "compare-group-sublayers", NULL);
    json_array_foreach(json_object_get(results, "groups"), g, group) {
        json_array_foreach(json_object_get(group, "sublayers"), s, sublayer) {
            ds_table_text(*table, json_string_value(json_object_get(group, "name")));
            ds_table_text(*table, json_string_value(json_object_get(sublayer, "name")));
            for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
                ds_table_real(*table, ds_json_real_at(sublayer, paths[i]));
        }
    }
done:
    return status;
}

ds_status ds_print_group_sentences(const json_t *results) {
    ds_status status = DS_OK;
    ds_text text = {0};
    size_t i;
    const json_t *contrast;
    json_array_foreach(json_object_get(results, "contrasts"), i, contrast) {
        text.length = 0;
        DS_TRY(ds_contrast_sentence(&text, contrast));
        ds_print_wrapped(text.bytes, 0, 0);
    }
    ds_print_wrapped("Intervals are 95%, by Student's t over seeds: they speak of other seeds on these windows.", 0, 0);
done:
    ds_text_release(&text);
    return status;
}
