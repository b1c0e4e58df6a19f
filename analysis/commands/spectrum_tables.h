/* The tables of a spectrum's results. */
#ifndef DELTASCOPE_COMMANDS_SPECTRUM_TABLES_H
#define DELTASCOPE_COMMANDS_SPECTRUM_TABLES_H

#include "deltascope/report.h"
#include "deltascope/run.h"

enum { DS_SPECTRUM_TABLES = 6, DS_SPECTRUM_TITLE = 192, DS_SPECTRUM_TOKEN_COLUMNS = 11, DS_SPECTRUM_COLUMN_SETS = 6 };

/* What they are, with the titles and columns that follow the results. It must not move once it is described. */
typedef struct ds_spectrum_tables {
    ds_result_table tables[DS_SPECTRUM_TABLES];
    ds_result_column tokens[DS_SPECTRUM_TOKEN_COLUMNS];
    char learned[DS_SPECTRUM_TITLE], directions[DS_SPECTRUM_TITLE], null[DS_SPECTRUM_TITLE], jacobian[DS_SPECTRUM_TITLE];
} ds_spectrum_tables;
extern const ds_column_set ds_spectrum_column_sets[DS_SPECTRUM_COLUMN_SETS];
void ds_spectrum_tables_describe(ds_spectrum_tables *kinds, const json_t *results, const ds_run *run);

#endif
