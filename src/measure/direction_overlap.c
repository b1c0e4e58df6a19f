#include "deltascope/measure/direction_overlap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"
#include "result_json.h"

enum { CHUNK = 1024 }; /* tokens between two rounds of adding up; results do not depend on it */

typedef struct ds_overlap_row {
    double *coherence, *survival; /* (S,S) |k_a . k_b|; (S) */
    uint32_t *again, *undone;     /* (S) */
    double effective_rank, participation_ratio;
} ds_overlap_row;

ds_status ds_overlap_init(ds_overlap *out, size_t sublayers, size_t hidden) {
    ds_status status = DS_OK;
    size_t threads = ds_threads(), cells = sublayers * sublayers;
    *out = (ds_overlap){.sublayers = sublayers, .hidden = hidden, .threads = threads};
    DS_NEW(out->coherence, cells);
    DS_NEW(out->survival, sublayers);
    DS_NEW(out->edited_again, sublayers);
    DS_NEW(out->undone, sublayers);
    DS_NEW(out->rows, CHUNK);
    DS_NEW(out->storage, CHUNK * (cells + 2 * sublayers));
    DS_NEW(out->column, CHUNK);
    DS_NEW(out->solvers, threads);
    for (size_t s = 0; s < sublayers; s++) DS_TRY(ds_summary_init(&out->survival[s], DS_SUMMARY_CAPACITY / 8));
    for (size_t i = 0; i < threads; i++) DS_TRY(ds_svd_new(&out->solvers[i], sublayers, hidden));
    for (size_t i = 0; i < CHUNK; i++) {
        double *at = out->storage + i * (cells + 2 * sublayers);
        uint32_t *counts = (void *)(at + cells + sublayers);
        out->rows[i] = (ds_overlap_row){at, at + cells, counts, counts + sublayers, 0, 0};
    }
done:
    if (status != DS_OK) ds_overlap_release(out);
    return status;
}

void ds_overlap_release(ds_overlap *o) {
    for (size_t s = 0; o->survival != NULL && s < o->sublayers; s++) ds_summary_release(&o->survival[s]);
    for (size_t i = 0; o->solvers != NULL && i < o->threads; i++) ds_svd_free(&o->solvers[i]);
    free(o->coherence);
    free(o->survival);
    free(o->edited_again);
    free(o->undone);
    free(o->rows);
    free(o->storage);
    free(o->column);
    free(o->solvers);
    *o = (ds_overlap){0};
}

/* x_a = A_{S-1} ... A_{a+1} k_a = k_a + sum over s > a of y_s k_s with y_s = -c_s k_s . (k_a + sum over t < s of y_t k_t):
 * scalar products of directions are all it takes. */
static double survival_of(double *y, const double *gram, const double *c, size_t a, size_t sublayers) {
    double left = gram[a * sublayers + a];
    for (size_t s = a + 1; s < sublayers; s++) {
        double along = gram[s * sublayers + a];
        for (size_t t = a + 1; t < s; t++) along += y[t] * gram[s * sublayers + t];
        y[s] = -c[s] * along;
        left += y[s] * gram[a * sublayers + s];
    }
    return gram[a * sublayers + a] > 0 ? left / gram[a * sublayers + a] : 0;
}

static void count_edits(ds_overlap_row *row, const double *gram, const double *c, size_t sublayers) {
    for (size_t a = 0; a < sublayers; a++) {
        row->again[a] = row->undone[a] = 0;
        for (size_t b = a + 1; b < sublayers; b++) {
            double product = gram[a * sublayers + b], lengths2 = gram[a * sublayers + a] * gram[b * sublayers + b];
            if (!(product * product >= DS_SAME_DIRECTION * DS_SAME_DIRECTION * lengths2) || lengths2 == 0) continue;
            row->again[a]++;
            row->undone[a] += 1 - c[b] * product * product / gram[a * sublayers + a] < 0.5;
        }
    }
}

typedef struct chunk {
    ds_overlap *out;
    const ds_directions *directions;
    size_t from;
} chunk;

static ds_status measure_token(void *context, size_t index, size_t worker) {
    ds_status status = DS_OK;
    const chunk *task = context;
    ds_overlap_row *row = &task->out->rows[index];
    size_t sublayers = task->out->sublayers, token = task->from + index;
    const double *c = task->directions->c + token * sublayers;
    size_t values = ds_min_size(sublayers, task->out->hidden);
    double *gram = row->coherence, *scratch = row->survival; /* survival a is written when scratch beyond a is done with */
    for (size_t a = 0; a < sublayers; a++) {
        for (size_t b = 0; b <= a; b++)
            gram[a * sublayers + b] = gram[b * sublayers + a] = ds_dot_f64(
                ds_directions_k(task->directions, token, a), ds_directions_k(task->directions, token, b), task->out->hidden);
    }
    /* Of the directions themselves: square roots of the Gram matrix's eigenvalues would lose half the digits. */
    DS_TRY(ds_singular_values_approx(scratch, ds_directions_k(task->directions, token, 0), sublayers, task->out->hidden,
                                     task->out->solvers[worker]));
    row->effective_rank = ds_effective_rank(scratch, values);
    row->participation_ratio = ds_participation_ratio(scratch, values);
    for (size_t a = 0; a < sublayers; a++) row->survival[a] = survival_of(scratch, gram, c, a, sublayers);
    count_edits(row, gram, c, sublayers);
    for (size_t i = 0; i < sublayers * sublayers; i++) gram[i] = fabs(gram[i]);
done:
    return status;
}

ds_status ds_overlap_add(ds_overlap *out, const ds_directions *directions) {
    ds_status status = DS_OK;
    size_t sublayers = out->sublayers;
    for (size_t from = 0; from < directions->tokens; from += CHUNK) {
        size_t count = ds_min_size(CHUNK, directions->tokens - from);
        chunk task = {out, directions, from};
        DS_TRY(ds_parallel_for_within(out->threads, count, measure_token, &task));
        for (size_t t = 0; t < count; t++) {
            const ds_overlap_row *row = &out->rows[t];
            for (size_t i = 0; i < sublayers * sublayers; i++) ds_sum_add(&out->coherence[i], row->coherence[i]);
            ds_sum_add(&out->effective_rank, row->effective_rank);
            ds_sum_add(&out->participation_ratio, row->participation_ratio);
            for (size_t a = 0; a < sublayers; a++) {
                out->edited_again[a] += row->again[a];
                out->undone[a] += row->undone[a];
            }
        }
        for (size_t a = 0; a < sublayers; a++) {
            for (size_t t = 0; t < count; t++) out->column[t] = out->rows[t].survival[a];
            DS_TRY(ds_summary_add(&out->survival[a], out->column, count));
        }
        out->tokens += count;
    }
done:
    return status;
}

double ds_random_coherence(size_t hidden) {
    double d = (double)hidden;
    return exp(lgamma(0.5 * d) - lgamma(0.5 * (d + 1))) / sqrt(3.14159265358979323846);
}

void ds_overlap_put(ds_json_builder *b, ds_overlap *o, size_t first) {
    double tokens = (double)o->tokens;
    uint64_t again = 0, undone = 0;
    size_t sublayers = o->sublayers;
    ds_json_begin_array(b, "coherence");
    for (size_t a = 0; a < sublayers; a++) {
        ds_json_begin_array(b, NULL);
        for (size_t i = 0; i < sublayers; i++)
            ds_json_put_real(b, NULL, ds_sum_value(&o->coherence[a * sublayers + i]) / tokens);
        ds_json_end(b);
    }
    ds_json_end(b);
    for (size_t a = 0; a < sublayers; a++) {
        again += o->edited_again[a];
        undone += o->undone[a];
    }
    ds_json_put_count(b, "tokens", o->tokens);
    ds_json_put_real(b, "effective_rank", ds_sum_value(&o->effective_rank) / tokens);
    ds_json_put_real(b, "participation_ratio", ds_sum_value(&o->participation_ratio) / tokens);
    ds_json_put_real(b, "random_coherence", ds_random_coherence(o->hidden));
    ds_json_put_real(b, "same_direction_cosine", DS_SAME_DIRECTION);
    ds_json_put_real(b, "edited_again_per_token", (double)again / tokens);
    ds_json_put_real(b, "undone_per_token", (double)undone / tokens);
    ds_json_begin_array(b, "sublayers");
    for (size_t a = 0; a < sublayers; a++) {
        char name[32];
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "index", first + a);
        ds_json_put_text(b, "name", ds_sublayer_name(name, first + a));
        ds_json_put_summary(b, "survival", &o->survival[a]);
        ds_json_put_real(b, "edited_again", (double)o->edited_again[a] / tokens);
        ds_json_put_real(b, "undone", (double)o->undone[a] / tokens);
        ds_json_end(b);
    }
    ds_json_end(b);
}

/* ---- a sublayer's directions over the data ---- */

typedef struct ranking {
    double *effective, *participation; /* (S) */
    const ds_directions *directions;
    size_t count;      /* tokens looked at, evenly spaced */
    double **gathered; /* (threads) (count, d) their directions, one sublayer's at a time */
    double **values;   /* (threads) (min(count, d)) */
    ds_svd **solvers;  /* (threads) */
} ranking;

static ds_status rank_sublayer(void *context, size_t s, size_t worker) {
    ds_status status = DS_OK;
    const ranking *task = context;
    const ds_directions *all = task->directions;
    size_t n = task->count, d = all->hidden, least = ds_min_size(n, d);
    double *gathered = task->gathered[worker], *values = task->values[worker];
    for (size_t a = 0; a < n; a++) memcpy(gathered + a * d, ds_directions_k(all, a * all->tokens / n, s), d * sizeof *gathered);
    DS_TRY(ds_singular_values_approx(values, gathered, n, d, task->solvers[worker]));
    task->effective[s] = ds_effective_rank(values, least);
    task->participation[s] = ds_participation_ratio(values, least);
done:
    return status;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the task writes both */
ds_status ds_sublayer_ranks(double *effective, double *participation, const ds_directions *directions) {
    ds_status status = DS_OK;
    size_t threads = ds_threads(), n = ds_min_size(directions->tokens, DS_RANK_TOKENS), d = directions->hidden;
    ranking task = {.effective = effective, .participation = participation, .directions = directions, .count = n};
    DS_NEW(task.gathered, threads);
    DS_NEW(task.values, threads);
    DS_NEW(task.solvers, threads);
    for (size_t i = 0; i < threads; i++) {
        DS_NEW_ARRAY(task.gathered[i], n * d);
        DS_NEW_ARRAY(task.values[i], ds_min_size(n, d));
        DS_TRY(ds_svd_new(&task.solvers[i], n, d));
    }
    DS_TRY(ds_parallel_for_within(threads, directions->sublayers, rank_sublayer, &task));
done:
    for (size_t i = 0; i < threads; i++) {
        if (task.gathered != NULL) free(task.gathered[i]);
        if (task.values != NULL) free(task.values[i]);
        if (task.solvers != NULL) ds_svd_free(&task.solvers[i]);
    }
    free(task.gathered);
    free(task.values);
    free(task.solvers);
    return status;
}
