/* Figures of several checkpoints, a series each: what checkpoints.gp is told. */
#include <string.h>

#include "figure.h"

enum { LONGEST_LABEL = 20 };

/* A label as one word that neither gnuplot nor TeX reads as its own; a long one loses its middle, since labels of one run often
 * begin alike. */
ds_status ds_series_label(ds_text *names, const char *label) {
    ds_status status = DS_OK;
    const size_t length = strlen(label), half = LONGEST_LABEL / 2 - 1;
    for (size_t i = 0; i < length; i++) {
        if (length > LONGEST_LABEL && i == half) {
            DS_TRY(ds_text_append(names, "..", 2));
            i = length - half;
        }
        bool plain = (label[i] >= '0' && label[i] <= '9') || (label[i] >= 'a' && label[i] <= 'z') ||
                     (label[i] >= 'A' && label[i] <= 'Z') || strchr(".+/=", label[i]) != NULL;
        DS_TRY(ds_text_append(names, plain ? &label[i] : "-", 1));
    }
    status = ds_text_printf(names, "%s ", length == 0 ? "-" : "");
done:
    return status;
}

ds_status ds_series_finish(ds_drawing *drawing, const ds_text *names, const ds_series_axes *axes) {
    drawing->panels = (drawing->data.blocks + DS_FIGURE_SERIES - 1) / DS_FIGURE_SERIES;
    return ds_text_printf(
        &drawing->settings, "checkpoints = %zu\nnames = '%s'\nx_name = '%s'\ny_name = '%s'\ny_scale = '%s'\njoined = %d\n",
        drawing->data.blocks, names->length == 0 ? "" : names->bytes, axes->x, axes->y, axes->scale, axes->joined);
}
