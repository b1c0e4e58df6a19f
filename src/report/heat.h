/* What the terminal and the SVG layout of a heat map share. */
#ifndef DELTASCOPE_REPORT_HEAT_H
#define DELTASCOPE_REPORT_HEAT_H

#include "deltascope/report.h"

/* Columns a terminal gives to UTF-8 text: 0 for combining marks, 2 for East Asian wide characters and emoji (UAX 11). */
size_t ds_display_width(const char *text);
/* Bytes of the longest prefix of at most `columns` columns. */
size_t ds_display_prefix(const char *text, size_t columns);

/* Which of `levels` equal steps of the scale; `levels` when there is no value. */
size_t ds_heat_level(const ds_heat *heat, double value, size_t levels);
double ds_heat_value(const ds_heat *heat, size_t row, size_t column);
/* The legend's numbers: "0", "-1.5", with "<=" or ">=" (or their signs) where cells lie beyond. */
enum { DS_HEAT_END = 40 };
void ds_heat_ends(char low[DS_HEAT_END], char high[DS_HEAT_END], const ds_heat *heat, bool unicode);
/* Whether every column is a single character, so that they need no gap between them. */
bool ds_heat_is_letters(const ds_heat *heat);

#endif
