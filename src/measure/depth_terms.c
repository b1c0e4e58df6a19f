#include "depth_terms.h"

#include <math.h>
#include <string.h>

#include "deltascope/num.h"

/* term (dv,d) <- A term, A = I - c k k^T: a plane loses c <k, plane> k. */
static void carry(double *term, const double *k, double c, size_t d, size_t dv) {
    for (size_t j = 0; j < dv; j++) {
        const double along = -c * ds_dot_f64(k, term + j * d, d);
        (void)ds_rank_one_update_f64(term + j * d, k, &along, d, 1);
    }
}

/* Row `s` of the terms, term i being at terms + i * count. W_i are known by inner products with what became of them. */
static void measure_row(ds_depth_terms *out, const double *terms, const double *starts, size_t s, size_t reads, size_t count) {
    double sum = 0;
    for (size_t i = 0; i <= s; i++) {
        const double *now = terms + i * count, *start = starts + i * count;
        double norm2 = ds_dot_f64(start, start, count);
        out->size[s * reads + i] = sqrt(ds_dot_f64(now, now, count));
        out->gain[s * reads + i] = norm2 > 0 ? ds_dot_f64(start, now, count) / norm2 : NAN;
        sum += out->size[s * reads + i];
    }
    out->largest = fmax(out->largest, sum);
}

static void measure_error(ds_depth_terms *out, const double *terms, double *left, size_t reads, size_t count) {
    out->state = sqrt(ds_dot_f64(left, left, count));
    for (size_t i = 0; i < reads; i++)
        for (size_t at = 0; at < count; at++) left[at] -= terms[i * count + at];
    out->error = sqrt(ds_dot_f64(left, left, count));
}

void ds_depth_terms_of(ds_depth_terms *out, const ds_depth_pass *pass, const ds_spec *spec, size_t token, double *scratch) {
    size_t d = spec->hidden, dv = spec->value_channels, count = dv * d, reads = pass->sublayers + 1;
    double *terms = scratch, *starts = terms + reads * count, *left = starts + reads * count, *k = left + count;
    *out = (ds_depth_terms){.size = out->size, .gain = out->gain};
    ds_widen(terms, pass->first, token * count, count, pass->precision);
    memcpy(starts, terms, count * sizeof *starts);
    measure_row(out, terms, starts, 0, reads, count);
    for (size_t s = 0; s < pass->sublayers; s++) {
        size_t at = s * pass->most + token;
        double *fresh = terms + (s + 1) * count;
        ds_widen(k, pass->k, at * d, d, pass->precision);
        for (size_t i = 0; i <= s; i++) carry(terms + i * count, k, pass->strength[at], d, dv);
        memset(fresh, 0, count * sizeof *fresh);
        (void)ds_rank_one_update_f64(fresh, k, pass->written + at * dv, d, dv);
        memcpy(starts + (s + 1) * count, fresh, count * sizeof *starts);
        measure_row(out, terms, starts, s + 1, reads, count);
    }
    ds_widen(left, pass->state, token * count, count, pass->precision);
    measure_error(out, terms, left, reads, count);
}

double ds_share_entropy(const double *shares, size_t count) {
    double entropy = 0;
    for (size_t i = 0; i < count; i++) entropy -= shares[i] <= 0 ? 0 : shares[i] * log(shares[i]);
    return ds_max_real(0, entropy);
}

double ds_largest_share(const double *shares, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) largest = ds_max_real(largest, shares[i]);
    return largest;
}
