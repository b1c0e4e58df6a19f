/* Heat maps: what all their forms share. */
#include "heat.h"

#include <math.h>
#include <string.h>

typedef struct range {
    uint32_t first, last;
} range;

static bool is_among(const range *ranges, size_t count, uint32_t point) {
    for (size_t i = 0; i < count; i++) {
        if (point >= ranges[i].first && point <= ranges[i].last) return true;
    }
    return false;
}

static size_t point_width(uint32_t point) {
    static const range none[] = {{0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},
                                 {0x64B, 0x65F},   {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x20D0, 0x20FF},
                                 {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0x200B, 0x200F}};
    static const range wide[] = {{0x1100, 0x115F}, {0x2E80, 0x303E}, {0x3041, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},
                                 {0xFE30, 0xFE6F}, {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x1F300, 0x1FAFF}, {0x20000, 0x3FFFD}};
    if (is_among(none, sizeof none / sizeof *none, point)) return 0;
    return is_among(wide, sizeof wide / sizeof *wide, point) ? 2 : 1;
}

size_t ds_display_prefix(const char *text, size_t columns) {
    size_t length = strlen(text), at = 0, width = 0;
    while (at < length) {
        uint32_t point = 0;
        size_t step = ds_utf8_decode(&point, text + at, length - at);
        width += step == 0 ? 1 : point_width(point);
        if (width > columns) break;
        at += step == 0 ? 1 : step;
    }
    return at;
}

size_t ds_display_width(const char *text) {
    size_t length = strlen(text), width = 0;
    for (size_t at = 0, step; at < length; at += step == 0 ? 1 : step) {
        uint32_t point = 0;
        step = ds_utf8_decode(&point, text + at, length - at);
        width += step == 0 ? 1 : point_width(point);
    }
    return width;
}

size_t ds_heat_level(const ds_heat *heat, double value, size_t levels) {
    if (isnan(value)) return levels;
    double share = (value - heat->low) / (heat->high - heat->low);
    if (!(share > 0)) return 0;
    return share < 1 ? (size_t)(share * (double)levels) : levels - 1;
}

double ds_heat_value(const ds_heat *heat, size_t row, size_t column) { return heat->values[row * heat->columns + column]; }

void ds_heat_ends(char low[DS_HEAT_END], char high[DS_HEAT_END], const ds_heat *heat, bool unicode) {
    bool before = false, after = false, up = heat->low < heat->high;
    const char *most = unicode ? "≤ " : "<= ", *least = unicode ? "≥ " : ">= ";
    for (size_t i = 0; i < heat->rows * heat->columns; i++) {
        before = before || (up ? heat->values[i] < heat->low : heat->values[i] > heat->low);
        after = after || (up ? heat->values[i] > heat->high : heat->values[i] < heat->high);
    }
    (void)snprintf(low, DS_HEAT_END, "%s%.3g", !before ? "" : up ? most : least, heat->low);
    (void)snprintf(high, DS_HEAT_END, "%s%.3g", !after ? "" : up ? least : most, heat->high);
}

bool ds_heat_is_letters(const ds_heat *heat) {
    for (size_t c = 0; c < heat->columns; c++) {
        if (ds_display_width(heat->column_names[c]) > 1) return false;
    }
    return true;
}
