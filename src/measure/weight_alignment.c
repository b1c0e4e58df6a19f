#include "deltascope/measure/weight_alignment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"
#include "deltascope/spectra.h"

/* ---- a weight as a linear map ---- */

enum { BLOCK = 512 }; /* rows a task multiplies */

typedef struct weight_map {
    const ds_parameter *weight; /* (rows, columns) */
    const ds_parameter *scale;  /* (columns): the map is W diag(scale); NULL: W */
    ds_precision precision;
    size_t rows, columns, blocks, threads;
    double *scaled; /* (columns) */
    double *row;    /* (threads, columns) */
    double *parts;  /* (blocks, columns) */
    const double *x;
    double *y;
} weight_map;

static double element(const ds_parameter *parameter, ds_precision precision, size_t at) {
    return ds_real_at(parameter->values, precision, at);
}

static const double *load_row(weight_map *w, size_t row, size_t worker) {
    double *out = w->row + worker * w->columns;
    if (w->precision == DS_F64) return (const double *)w->weight->values + row * w->columns;
    const float *from = (const float *)w->weight->values + row * w->columns;
    for (size_t i = 0; i < w->columns; i++) out[i] = from[i];
    return out;
}

static ds_status apply_block(void *context, size_t block, size_t worker) {
    weight_map *w = context;
    for (size_t r = block * BLOCK; r < ds_min_size(w->rows, (block + 1) * BLOCK); r++)
        w->y[r] = ds_dot_f64(load_row(w, r, worker), w->scaled, w->columns);
    return DS_OK;
}

static ds_status adjoint_block(void *context, size_t block, size_t worker) {
    weight_map *w = context;
    double *part = w->parts + block * w->columns;
    memset(part, 0, w->columns * sizeof *part);
    for (size_t r = block * BLOCK; r < ds_min_size(w->rows, (block + 1) * BLOCK); r++) {
        const double *row = load_row(w, r, worker);
        double factor = w->x[r];
        for (size_t i = 0; i < w->columns; i++) part[i] += factor * row[i];
    }
    return DS_OK;
}

static ds_status apply(void *context, double *y, const double *x) {
    weight_map *w = context;
    for (size_t i = 0; i < w->columns; i++) w->scaled[i] = w->scale == NULL ? x[i] : x[i] * element(w->scale, w->precision, i);
    w->y = y;
    return ds_parallel_for_within(w->threads, w->blocks, apply_block, w);
}

static ds_status adjoint(void *context, double *x, const double *y) {
    weight_map *w = context;
    w->x = y;
    ds_status status = ds_parallel_for_within(w->threads, w->blocks, adjoint_block, w);
    memset(x, 0, w->columns * sizeof *x);
    for (size_t b = 0; b < w->blocks; b++) {
        for (size_t i = 0; i < w->columns; i++) x[i] += w->parts[b * w->columns + i];
    }
    for (size_t i = 0; w->scale != NULL && i < w->columns; i++) x[i] *= element(w->scale, w->precision, i);
    return status;
}

/* Of W diag(scale): to a relative residual of 2^-20 or for 12 steps a direction; a dense spectrum takes more, and what was
 * reached is reported. */
static ds_status top_directions(ds_lanczos *out, const ds_parameter *weight, const ds_parameter *scale, ds_precision precision,
                                size_t count, uint64_t seed) {
    ds_status status = DS_OK;
    weight_map w = {.weight = weight,
                    .scale = scale,
                    .precision = precision,
                    .rows = weight->shape[0],
                    .columns = weight->shape[1],
                    .blocks = (weight->shape[0] + BLOCK - 1) / BLOCK,
                    .threads = ds_threads()};
    ds_linear_map map = {w.rows, w.columns, apply, adjoint, &w};
    DS_NEW_ARRAY(w.scaled, w.columns);
    DS_NEW_ARRAY(w.row, w.threads * w.columns);
    DS_NEW_ARRAY(w.parts, w.blocks * w.columns);
    DS_TRY(ds_lanczos_run(out, &map, &(ds_lanczos_options){count, 12 * count, 0x1p-20, seed}));
done:
    free(w.scaled);
    free(w.row);
    free(w.parts);
    return status;
}

/* ---- shares ---- */

/* basis (count, d) orthonormal. */
static double mean_share(const ds_directions *all, size_t s, const double *basis, size_t count) {
    double sum = 0;
    for (size_t t = 0; t < all->tokens; t++) {
        const double *k = ds_directions_k(all, t, s);
        double length2 = ds_dot_f64(k, k, all->hidden), inside = 0;
        for (size_t i = 0; i < count; i++) {
            double along = ds_dot_f64(k, basis + i * all->hidden, all->hidden);
            inside += along * along;
        }
        if (length2 > 0) sum += inside / length2;
    }
    return sum / (double)all->tokens;
}

/* By its role, which is the same on every backbone. */
static const ds_parameter *find(const ds_model *model, const char *role) {
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        if (strcmp(parameter->role, role) == 0) return parameter;
    }
    return NULL;
}

static const ds_parameter *output_projection(const ds_model *model, size_t sublayer) {
    char role[64];
    (void)snprintf(role, sizeof role, "%s of layer %zu", sublayer % 2 == 0 ? "attention output" : "MLP down projection",
                   sublayer / 2);
    return find(model, role);
}

static void note_residual(ds_alignment *out, const ds_lanczos *found) {
    for (size_t i = 0; i < found->count; i++) {
        double relative = found->values[0] > 0 ? found->residuals[i] / found->values[0] : 0;
        if (!(relative <= out->residual)) out->residual = relative;
    }
}

ds_status ds_alignment_run(ds_alignment *out, const ds_directions *directions, const ds_model *model, size_t first,
                           uint64_t seed) {
    ds_status status = DS_OK;
    ds_lanczos found = {0};
    ds_precision precision = ds_model_precision(model);
    size_t sublayers = directions->sublayers, count = ds_min_size(DS_ALIGNMENT_DIRECTIONS, directions->hidden);
    const ds_parameter *norm = find(model, "final norm");
    const ds_parameter *head = find(model, ds_model_spec(model)->own_head ? "output head" : "token embedding");
    *out = (ds_alignment){.count = count, .sublayers = sublayers};
    DS_NEW(out->head, sublayers);
    DS_NEW(out->branch, sublayers);
    if (head == NULL || norm == NULL) {
        status = ds_fail(DS_ERR_SYSTEM, "the model has no output head or final norm");
        goto done;
    }
    DS_TRY(top_directions(&found, head, norm, precision, count, seed));
    note_residual(out, &found);
    for (size_t s = 0; s < sublayers; s++) out->head[s] = mean_share(directions, s, found.right, found.count);
    for (size_t s = 0; s < sublayers; s++) {
        const ds_parameter *projection = output_projection(model, first + s);
        ds_lanczos_release(&found);
        if (projection == NULL) {
            status = ds_fail(DS_ERR_SYSTEM, "the model has no output projection of sublayer %zu", first + s);
            goto done;
        }
        DS_TRY(top_directions(&found, projection, NULL, precision, count, seed));
        note_residual(out, &found);
        out->branch[s] = mean_share(directions, s, found.left, found.count);
    }
done:
    ds_lanczos_release(&found);
    if (status != DS_OK) ds_alignment_release(out);
    return status;
}

void ds_alignment_release(ds_alignment *alignment) {
    free(alignment->head);
    free(alignment->branch);
    *alignment = (ds_alignment){0};
}

void ds_alignment_put(ds_json_builder *b, const ds_alignment *alignment) {
    ds_json_begin_object(b, "alignment");
    ds_json_put_count(b, "directions", alignment->count);
    ds_json_put_reals(b, "output_head", alignment->head, alignment->sublayers);
    ds_json_put_reals(b, "output_projection", alignment->branch, alignment->sublayers);
    ds_json_put_real(b, "residual", alignment->residual);
    ds_json_end(b);
}
