#include "deltascope/measure/depth_distribution.h"

#include "result_json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens solved between two rounds of adding up; results do not depend on it. */
enum { CHUNK = 1024 };

const char *const ds_depth_names[DS_DEPTH_QUANTITIES] = {
    "log_abs_det",
    "norm2",
    "smallest",
    "spectral_radius",
    "departure_from_normality",
    "mean_squared_singular_value",
    "frobenius_defect",
    "complex_share",
    "span_norm2",
    "span_radius",
    "row_gain",
    "column_gain",
};

typedef struct ds_depth_row {
    double values[DS_DEPTH_QUANTITIES];
    double singular_bound, determinant_error, norm_excess;
} ds_depth_row;

ds_status ds_distribution_init(ds_distribution *out, size_t sublayers, size_t hidden, bool every_depth) {
    ds_status status = DS_OK;
    /* CONTRACT's quantities keep exact quantiles as long as a summary can, the others an eighth as long. */
    const size_t first_extra = DS_DEPTH_FROBENIUS_DEFECT, small = DS_SUMMARY_CAPACITY / 8;
    size_t order = ds_min_size(sublayers, hidden);
    *out = (ds_distribution){.sublayers = sublayers, .hidden = hidden, .order = order, .every_depth = every_depth};
    DS_NEW(out->depths, sublayers * DS_DEPTH_QUANTITIES);
    DS_NEW(out->exponents, order);
    DS_NEW(out->singular_bound, sublayers);
    DS_TRY(ds_product_pool_init(&out->pool, hidden, sublayers));
    DS_NEW_ARRAY(out->scratch, out->pool.threads * hidden);
    DS_NEW_ARRAY(out->singular, out->pool.threads * order);
    DS_NEW_ARRAY(out->rows, CHUNK * sublayers);
    DS_NEW_ARRAY(out->row_exponents, CHUNK * order);
    DS_NEW_ARRAY(out->column, CHUNK);
    for (size_t i = 0; i < sublayers * DS_DEPTH_QUANTITIES; i++)
        DS_TRY(ds_summary_init(&out->depths[i], i % DS_DEPTH_QUANTITIES < first_extra ? 0 : small));
    for (size_t i = 0; i < order; i++) DS_TRY(ds_summary_init(&out->exponents[i], small));
done:
    if (status != DS_OK) ds_distribution_release(out);
    return status;
}

void ds_distribution_release(ds_distribution *d) {
    for (size_t i = 0; d->depths != NULL && i < d->sublayers * DS_DEPTH_QUANTITIES; i++) ds_summary_release(&d->depths[i]);
    for (size_t i = 0; d->exponents != NULL && i < d->order; i++) ds_summary_release(&d->exponents[i]);
    free(d->depths);
    free(d->exponents);
    free(d->singular_bound);
    ds_product_pool_release(&d->pool);
    free(d->scratch);
    free(d->singular);
    free(d->rows);
    free(d->row_exponents);
    free(d->column);
    free(d->records);
    free(d->known);
    *d = (ds_distribution){0};
}

double ds_identity_breach(double error, double tolerance) { return tolerance == 0 && error == 0 ? 0 : error / tolerance; }

ds_status ds_identities_check(const ds_product_summary *summary, const char *what, size_t number) {
    if (ds_identity_breach(summary->determinant_error, summary->determinant_tolerance) <= 1 &&
        ds_identity_breach(summary->norm_excess, summary->norm_tolerance) <= 1)
        return DS_OK;
    return ds_fail(
        DS_ERR_SYSTEM,
        "the accumulated operator of %s %zu breaks an identity: log|det| is off by %g (at most %g expected), its norm "
        "exceeds 1 by %g (at most %g expected)",
        what, number, summary->determinant_error, summary->determinant_tolerance, summary->norm_excess,
        summary->norm_tolerance);
}

/* ---- one token ---- */

typedef struct chunk {
    ds_distribution *out;
    const ds_directions *directions;
    size_t from;  /* token of the set the chunk begins with */
    size_t first; /* number of the set's first token */
    size_t begun; /* token of the chunk that those in hand begin with */
} chunk;

static void fill_row(ds_depth_row *row, const ds_product_summary *summary, const ds_gains *gains, double singular_bound) {
    *row = (ds_depth_row){
        .values = {[DS_DEPTH_LOG_ABS_DET] = summary->log_abs_det,
                   [DS_DEPTH_NORM2] = summary->norm2,
                   [DS_DEPTH_SMALLEST] = summary->smallest,
                   [DS_DEPTH_SPECTRAL_RADIUS] = summary->spectral_radius,
                   [DS_DEPTH_DEPARTURE] = summary->departure_from_normality,
                   [DS_DEPTH_MEAN_SQUARE] = summary->mean_squared_singular_value,
                   [DS_DEPTH_FROBENIUS_DEFECT] = summary->frobenius_defect,
                   [DS_DEPTH_COMPLEX_SHARE] = summary->complex_share,
                   [DS_DEPTH_SPAN_NORM2] = summary->span_norm2,
                   [DS_DEPTH_SPAN_RADIUS] = summary->span_radius,
                   [DS_DEPTH_ROW_GAIN] = gains->amax_forward,
                   [DS_DEPTH_COLUMN_GAIN] = gains->amax_backward},
        .singular_bound = singular_bound,
        .determinant_error = ds_identity_breach(summary->determinant_error, summary->determinant_tolerance),
        .norm_excess = ds_identity_breach(summary->norm_excess, summary->norm_tolerance),
    };
}

/* ---- records: what the journal keeps and ranks exchange ---- */

/* A token's rows (of the last depth only without every_depth), then its exponents. */
static size_t record_length(const ds_distribution *d) {
    return (d->every_depth ? d->sublayers : 1) * (sizeof(ds_depth_row) / sizeof(double)) + d->order;
}

ds_status ds_distribution_keep(ds_distribution *d, ds_journal *journal, const char *kind, ds_ranks *ranks) {
    ds_status status = DS_OK;
    if (journal == NULL && ds_ranks_count(ranks) == 1) return DS_OK;
    d->journal = journal;
    d->kind = kind;
    d->ranks = ranks;
    DS_NEW(d->known, CHUNK);
    DS_NEW_ARRAY(d->records, CHUNK * record_length(d));
done:
    return status;
}

static ds_depth_row *first_row(const ds_distribution *d, size_t index) {
    return d->rows + index * d->sublayers + (d->every_depth ? 0 : d->sublayers - 1);
}

static void pack_record(ds_distribution *d, size_t index) {
    size_t length = record_length(d), rows = length - d->order;
    double *record = d->records + index * length;
    memcpy(record, first_row(d, index), rows * sizeof *record);
    memcpy(record + rows, d->row_exponents + index * d->order, d->order * sizeof *record);
}

static void unpack_record(ds_distribution *d, size_t index) {
    size_t length = record_length(d), rows = length - d->order;
    const double *record = d->records + index * length;
    memcpy(first_row(d, index), record, rows * sizeof *record);
    memcpy(d->row_exponents + index * d->order, record + rows, d->order * sizeof *record);
}

/* The worker's product as it stands, after sublayer s. */
static ds_status measure_depth(const chunk *task, size_t index, size_t s, size_t worker) {
    ds_status status = DS_OK;
    ds_distribution *out = task->out;
    ds_product_summary summary;
    ds_gains gains;
    double bound;
    DS_TRY(ds_product_spectrum_estimate(NULL, NULL, out->singular + worker * out->order, &bound, &summary,
                                        out->pool.products[worker], out->pool.solvers[worker]));
    DS_TRY(ds_identities_check(&summary, "token", task->first + task->from + index));
    ds_product_gains(&gains, out->pool.products[worker], out->scratch + worker * out->hidden);
    fill_row(&out->rows[index * out->sublayers + s], &summary, &gains, bound);
done:
    return status;
}

static ds_status solve_token(void *context, size_t number, size_t worker) {
    ds_status status = DS_OK;
    const chunk *task = context;
    ds_distribution *out = task->out;
    const size_t index = task->begun + number;
    ds_product *product = out->pool.products[worker];
    const double *singular = out->singular + worker * out->order;
    size_t sublayers = out->sublayers, token = task->from + index;
    const double *k = ds_directions_k(task->directions, token, 0), *c = task->directions->c + token * sublayers;
    if (out->known != NULL && out->known[index]) return DS_OK;
    if (out->every_depth) {
        ds_product_restart(product);
        for (size_t s = 0; s < sublayers; s++) {
            DS_TRY(ds_product_push(product, k + s * out->hidden, c[s]));
            DS_TRY(measure_depth(task, index, s, worker));
        }
    } else {
        DS_TRY(ds_product_window(product, k, c, 0, sublayers));
        DS_TRY(measure_depth(task, index, sublayers - 1, worker));
    }
    for (size_t i = 0; i < out->order; i++) out->row_exponents[index * out->order + i] = log(singular[i]) / (double)sublayers;
done:
    return status;
}

/* ---- all tokens ---- */

static ds_status add_depth(ds_distribution *out, size_t s, size_t count) {
    ds_status status = DS_OK;
    for (size_t q = 0; q < DS_DEPTH_QUANTITIES; q++) {
        for (size_t i = 0; i < count; i++) out->column[i] = out->rows[i * out->sublayers + s].values[q];
        DS_TRY(ds_summary_add(&out->depths[s * DS_DEPTH_QUANTITIES + q], out->column, count));
    }
    for (size_t i = 0; i < count; i++) {
        const ds_depth_row *row = &out->rows[i * out->sublayers + s];
        out->singular_bound[s] = ds_max_real(out->singular_bound[s], row->singular_bound);
        out->determinant_error = ds_max_real(out->determinant_error, row->determinant_error);
        out->norm_excess = ds_max_real(out->norm_excess, row->norm_excess);
    }
done:
    return status;
}

static ds_status find_known(const chunk *task, size_t count) {
    ds_status status = DS_OK;
    ds_distribution *out = task->out;
    const size_t length = record_length(out);
    for (size_t i = 0; i < count; i++)
        DS_TRY(ds_journal_find_reals(&out->known[i], out->records + i * length, length, out->journal, out->kind,
                                     task->first + task->from + i));
done:
    return status;
}

static ds_status solve_tokens(void *context, size_t first, size_t count) {
    ds_status status = DS_OK;
    chunk *task = context;
    ds_distribution *out = task->out;
    task->begun = first;
    DS_TRY(ds_parallel_for_within(out->pool.threads, count, solve_token, task));
    for (size_t i = first; out->records != NULL && i < first + count; i++)
        if (!out->known[i]) pack_record(out, i);
done:
    return status;
}

static ds_status keep_tokens(void *context, size_t first, size_t count) {
    ds_status status = DS_OK;
    const chunk *task = context;
    ds_distribution *out = task->out;
    const size_t length = record_length(out);
    for (size_t i = first; i < first + count; i++)
        DS_TRY(ds_journal_append(out->journal, out->kind, task->first + task->from + i, out->records + i * length,
                                 length * sizeof *out->records));
    DS_TRY(ds_journal_sync(out->journal));
done:
    return status;
}

/* What is known keeps its place: the rest comes in stretches between. */
static ds_status solve_alone(chunk *task, size_t count) {
    ds_status status = DS_OK;
    const bool *known = task->out->known;
    DS_TRY(solve_tokens(task, 0, count));
    for (size_t from = 0, to; known != NULL && from < count; from = to) {
        for (to = from + 1; to < count && known[to] == known[from];) to++;
        if (!known[from]) DS_TRY(keep_tokens(task, from, to - from));
    }
done:
    return status;
}

/* Rows and exponents of the chunk's tokens <- from the journal, or solved, by ranks together where there are several. */
static ds_status solve_chunk(chunk *task, size_t count) {
    ds_status status = DS_OK;
    ds_distribution *out = task->out;
    const ds_ranks_work work = {.count = count,
                                .most = count,
                                .length = record_length(out),
                                .results = out->records,
                                .finished = out->known,
                                .compute = solve_tokens,
                                .keep = keep_tokens,
                                .context = task};
    if (out->known != NULL) DS_TRY(find_known(task, count));
    DS_TRY(ds_ranks_count(out->ranks) > 1 ? ds_ranks_do(out->ranks, &work) : solve_alone(task, count));
    for (size_t i = 0; out->records != NULL && i < count; i++) unpack_record(out, i);
done:
    return status;
}

ds_status ds_distribution_add(ds_distribution *out, const ds_directions *directions, size_t first) {
    ds_status status = DS_OK;
    for (size_t from = 0; from < directions->tokens; from += CHUNK) {
        size_t count = ds_min_size(CHUNK, directions->tokens - from);
        chunk task = {.out = out, .directions = directions, .from = from, .first = first};
        DS_TRY(solve_chunk(&task, count));
        for (size_t s = out->every_depth ? 0 : out->sublayers - 1; s < out->sublayers; s++) DS_TRY(add_depth(out, s, count));
        for (size_t i = 0; i < out->order; i++) {
            for (size_t t = 0; t < count; t++) out->column[t] = out->row_exponents[t * out->order + i];
            DS_TRY(ds_summary_add(&out->exponents[i], out->column, count));
        }
        out->tokens += count;
    }
done:
    return status;
}

/* ---- reporting ---- */

void ds_distribution_put(ds_json_builder *b, ds_distribution *d) {
    ds_json_begin_array(b, "distribution");
    for (size_t s = d->every_depth ? 0 : d->sublayers - 1; s < d->sublayers; s++) {
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "depth", s + 1);
        for (size_t q = 0; q < DS_DEPTH_QUANTITIES; q++)
            ds_json_put_summary(b, ds_depth_names[q], &d->depths[s * DS_DEPTH_QUANTITIES + q]);
        ds_json_put_real(b, "singular_value_bound", d->singular_bound[s]);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_begin_object(b, "lyapunov");
    ds_json_put_count(b, "depth", d->sublayers);
    ds_json_begin_array(b, "exponents");
    for (size_t i = 0; i < d->order; i++) ds_json_put_summary(b, NULL, &d->exponents[i]);
    ds_json_end(b);
    ds_json_end(b);
}
