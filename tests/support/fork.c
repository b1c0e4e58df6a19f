#include "fork.h"

#include <stdlib.h>
#include <string.h>

#include "support.h"

static const char our_layers[] = "transformer.h.";

/* The name with its layer as {L}; returns the layer, or -1. */
static long take_layer(char pattern[FORK_NAME], const char *name) {
    if (strncmp(name, our_layers, sizeof our_layers - 1) != 0) {
        (void)snprintf(pattern, FORK_NAME, "%s", name);
        return -1;
    }
    char *rest;
    long layer = strtol(name + sizeof our_layers - 1, &rest, 10);
    (void)snprintf(pattern, FORK_NAME, "%s{L}%s", our_layers, rest);
    return layer;
}

static void put_layer(char out[FORK_NAME], const char *pattern, long layer) {
    const char *mark = strstr(pattern, "{L}");
    if (mark == NULL)
        (void)snprintf(out, FORK_NAME, "%s", pattern);
    else
        (void)snprintf(out, FORK_NAME, "%.*s%ld%s", (int)(mark - pattern), pattern, layer, mark + 3);
}

/* How many parameters from this one on the fork keeps as one. */
static size_t parts_of(const fork_style *style, const char *pattern) {
    if (style->fused && strstr(pattern, ".attn.c_q.weight") != NULL) return 3;
    if (style->fused && strstr(pattern, ".mlp.c_fc1.weight") != NULL) return 2;
    return 1;
}

static void add_to_map(forked *f, const ds_model *model, size_t index, size_t parts, const char *theirs, bool turned) {
    json_t *to = json_array();
    char ours[FORK_NAME];
    for (size_t i = 0; i < parts; i++) {
        (void)take_layer(ours, ds_model_parameter(model, index + i)->name);
        assert_int_equal(json_array_append_new(to, json_string(ours)), 0);
    }
    json_t *target = parts == 1 ? json_incref(json_array_get(to, 0)) : json_incref(to);
    if (turned) target = json_pack("{so sb}", "to", target, "transposed", 1);
    assert_int_equal(json_object_set_new(f->map, theirs, target), 0);
    json_decref(to);
}

/* Rows of `parts` parameters one below the other, turned or not. */
static void *gather(const ds_model *model, size_t index, size_t parts, bool turned) {
    const ds_parameter *first = ds_model_parameter(model, index);
    size_t size = ds_precision_size(ds_model_precision(model)), rows = first->shape[0], columns = first->count / rows;
    char *values = malloc(parts * first->count * size);
    assert_non_null(values);
    for (size_t part = 0; part < parts; part++) {
        const char *from = ds_model_parameter(model, index + part)->values;
        for (size_t r = 0; r < rows; r++) {
            for (size_t c = 0; c < columns; c++) {
                size_t row = part * rows + r, to = turned ? c * parts * rows + row : row * columns + c;
                memcpy(values + to * size, from + (r * columns + c) * size, size);
            }
        }
    }
    return values;
}

void fork_make(forked *out, const ds_model *model, const fork_style *style) {
    memset(out, 0, sizeof *out);
    out->map = json_object();
    assert_non_null(out->map);
    for (size_t i = 0, parts; i < ds_model_parameters(model); i += parts) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        char ours[FORK_NAME], theirs[FORK_NAME];
        long layer = take_layer(ours, parameter->name);
        bool turned = style->turned && layer >= 0 && parameter->rank == 2;
        size_t n = out->count++;
        assert_true(n < FORK_MOST);
        parts = parts_of(style, ours);
        style->rename(style->context, theirs, ours);
        put_layer(out->names[n], theirs, layer);
        memcpy(out->shapes[n], parameter->shape, sizeof out->shapes[n]);
        out->shapes[n][0] *= parts;
        if (turned) {
            size_t rows = out->shapes[n][0];
            out->shapes[n][0] = out->shapes[n][1];
            out->shapes[n][1] = rows;
        }
        if (turned || parts > 1) out->values[n] = gather(model, i, parts, turned);
        out->tensors[n] = (ds_tensor_write){out->names[n], ds_model_precision(model), parameter->rank, out->shapes[n],
                                            out->values[n] != NULL ? out->values[n] : parameter->values};
        if (layer <= 0) add_to_map(out, model, i, parts, theirs, turned);
    }
}

void fork_release(forked *f) {
    for (size_t i = 0; i < f->count; i++) free(f->values[i]);
    json_decref(f->map);
    f->map = NULL;
    f->count = 0;
}

void fork_expect_same(const ds_model *found, const ds_model *expected) {
    assert_int_equal(ds_model_parameters(found), ds_model_parameters(expected));
    for (size_t i = 0; i < ds_model_parameters(found); i++) {
        const ds_parameter *a = ds_model_parameter(found, i), *b = ds_model_parameter(expected, i);
        assert_string_equal(a->older_name, b->older_name);
        assert_int_equal(a->count, b->count);
        if (memcmp(a->values, b->values, a->count * ds_precision_size(ds_model_precision(found))) != 0)
            fail_msg("%s differs", a->older_name);
    }
}
