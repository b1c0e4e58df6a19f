/* Rows of the parameter table (parameters.h). Private to model. */
#ifndef DELTASCOPE_MODEL_PARAMETER_TABLE_H
#define DELTASCOPE_MODEL_PARAMETER_TABLE_H

#include "deltascope/model.h"

/* An extent of a shape, as the configuration calls it. */
typedef struct ds_extent {
    const char *name;
    size_t (*of)(const ds_spec *spec);
} ds_extent;
extern const ds_extent ds_extent_hidden;
#define HIDDEN (&ds_extent_hidden)

enum { DS_TABLE_RANK = 3 };
typedef struct ds_table_spelling {
    const char *name;
    const ds_extent *shape[DS_TABLE_RANK]; /* NULL after the last axis */
} ds_table_spelling;

typedef struct ds_table_row {
    ds_table_spelling older, newer; /* newer.name NULL: the same */
    const char *role;
    ds_group group;
    bool (*holds)(const ds_spec *spec); /* NULL: always */
    size_t slot; /* of the const ds_parameter * in ds_model, in ds_layer_weights or in the rule's weights */
} ds_table_row;

/* Rows of the parameter table, in their order. */
typedef struct ds_table_rows {
    const ds_table_row *rows;
    size_t count;
} ds_table_rows;

#define SAME                                                                                                                   \
    {                                                                                                                          \
        NULL, { NULL }                                                                                                         \
    }

#endif
