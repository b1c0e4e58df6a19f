/* Figures of several checkpoints, a series each: what checkpoints.gp is told. */
#include <string.h>

#include "figure.h"

enum { LONGEST_LABEL = 20 };

/* A label as one word; since labels of one run often begin alike, a long one keeps both ends. */
static ds_status spell(ds_text *word, const char *label) {
    ds_status status = DS_OK;
    const size_t length = strlen(label), half = LONGEST_LABEL / 2 - 1;
    word->length = 0;
    for (size_t i = 0; i < length; i++) {
        if (length > LONGEST_LABEL && i == half) {
            DS_TRY(ds_text_append(word, "..", 2));
            i = length - half;
        }
        bool plain = (label[i] >= '0' && label[i] <= '9') || (label[i] >= 'a' && label[i] <= 'z') ||
                     (label[i] >= 'A' && label[i] <= 'Z') || strchr(".+/=", label[i]) != NULL;
        DS_TRY(ds_text_append(word, plain ? &label[i] : "-", 1));
    }
    if (length == 0) status = ds_text_append(word, "-", 1);
done:
    return status;
}

/* The place of a string in a list of them, SIZE_MAX where it is not. */
static size_t find(const ds_text *list, const char *string) {
    size_t i = 0;
    for (size_t at = 0; at < list->length; at += strlen(list->bytes + at) + 1, i++) {
        if (strcmp(list->bytes + at, string) == 0) return i;
    }
    return SIZE_MAX;
}

static const char *at_place(const ds_text *list, size_t index) {
    const char *string = list->bytes;
    while (index-- > 0) string += strlen(string) + 1;
    return string;
}

ds_status ds_labels_note(const char **word, ds_labels *labels, const char *label) {
    ds_status status = DS_OK;
    ds_text made = {0};
    size_t known = find(&labels->given, label);
    if (known == SIZE_MAX) {
        DS_TRY(spell(&made, label));
        const size_t plain = made.length;
        for (size_t number = 2; find(&labels->taken, made.bytes) != SIZE_MAX; number++) {
            made.length = plain;
            DS_TRY(ds_text_printf(&made, ".%zu", number));
        }
        DS_TRY(ds_text_append(&labels->given, label, strlen(label) + 1));
        DS_TRY(ds_text_append(&labels->taken, made.bytes, made.length + 1));
        known = find(&labels->given, label);
    }
    *word = at_place(&labels->taken, known);
done:
    ds_text_release(&made);
    return status;
}

ds_status ds_labels_add(ds_labels *labels, const char *label) {
    ds_status status = DS_OK;
    const char *word;
    DS_TRY(ds_labels_note(&word, labels, label));
    status = ds_text_printf(&labels->words, "%s ", word);
done:
    return status;
}

const char *ds_labels_words(const ds_labels *labels) { return labels->words.length == 0 ? "" : labels->words.bytes; }

void ds_labels_release(ds_labels *labels) {
    ds_text_release(&labels->words);
    ds_text_release(&labels->given);
    ds_text_release(&labels->taken);
}

ds_status ds_series_finish(ds_drawing *drawing, const ds_labels *names, const ds_series_axes *axes) {
    drawing->panels = (drawing->data.blocks + DS_FIGURE_SERIES - 1) / DS_FIGURE_SERIES;
    return ds_text_printf(&drawing->settings,
                          "checkpoints = %zu\nnames = '%s'\nx_name = '%s'\ny_name = '%s'\ny_scale = '%s'\njoined = %d\n",
                          drawing->data.blocks, ds_labels_words(names), axes->x, axes->y, axes->scale, axes->joined);
}
