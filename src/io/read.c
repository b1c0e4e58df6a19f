/* One pass over every file, front to back: each piece is read once, hashed and checked while it is in the cache, and given to
 * every wanted tensor it belongs to. A piece of a tensor stored as it is wanted is read straight into its destination. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "catalog.h"
#include "convert.h"
#include "digest.h"

enum {
    PIECE_BYTES = 1 << 20,  /* fits the second-level cache, so that hashing does not go back to memory */
    VALUES_BYTES = 1 << 18, /* converted values on their way to a sink */
    MAX_ITEM = 8,
};

/* One wanted tensor on its way. */
typedef struct delivery {
    const ds_tensor_read *read;
    uint64_t begin, end; /* byte range in the file */
    size_t item;         /* bytes per element */
    bool direct;         /* stored as wanted: can be read in place */
    bool in_place;       /* being read so: nothing is left to convert */
    bool contiguous;
    uint8_t *packed;         /* not contiguous: the elements in row-major order, as stored */
    uint8_t carry[MAX_ITEM]; /* contiguous: an element that the end of a piece cut */
    size_t carried;
    uint64_t delivered; /* elements */
} delivery;

/* The sweep over one file. */
typedef struct sweep {
    ds_catalog_file *file;
    delivery *deliveries; /* by begin */
    size_t delivery_count, next;
    delivery **active; /* begun and not yet complete */
    size_t active_count;
    const ds_record *records; /* by offset */
    size_t record_count;
    uLong crc; /* of the first record, so far */
    ds_digest digest;
    uint8_t *piece, *values;
} sweep;

typedef unsigned long long ull;

/* Row-major without gaps; the stride of a dimension of one element does not matter. */
static bool is_contiguous(const ds_tensor *tensor) {
    uint64_t expected = 1;
    if (tensor->extent != tensor->count) return false;
    for (size_t i = tensor->rank; i-- > 0;) {
        if (tensor->shape[i] != 1 && (uint64_t)tensor->stride[i] != expected) return false;
        expected *= tensor->shape[i];
    }
    return true;
}

/* Converts `count` packed elements, the next ones in element order, to where they are wanted. */
static ds_status emit(delivery *d, uint8_t *values, const uint8_t *bytes, size_t count) {
    const ds_tensor_read *read = d->read;
    size_t size = ds_precision_size(read->precision);
    while (count > 0) {
        size_t part = read->sink == NULL ? count : ds_min_size(count, VALUES_BYTES / size);
        void *out = read->sink == NULL ? (uint8_t *)read->destination + d->delivered * size : values;
        ds_convert(out, read->precision, bytes, read->tensor->dtype, part);
        ds_status status = read->sink == NULL ? DS_OK : read->sink(read->context, values, d->delivered, part);
        if (status != DS_OK) return status;
        d->delivered += part;
        bytes += part * d->item;
        count -= part;
    }
    return DS_OK;
}

/* A strided tensor and a window [low, high) of bytes counted from its first element. */
typedef struct scatter {
    const ds_tensor *tensor;
    size_t item;
    size_t axes[DS_MAX_RANK];        /* by falling stride, so that inner axes reach least */
    uint64_t pitch[DS_MAX_RANK];     /* of each of these axes in row-major order */
    uint64_t reach[DS_MAX_RANK + 1]; /* elements from the first to the last that the axes from here on address, less one */
    uint64_t low, high;
    const uint8_t *bytes; /* of the window */
    uint8_t *packed;
} scatter;

static void plan_scatter(scatter *s, const ds_tensor *tensor) {
    uint64_t pitch[DS_MAX_RANK] = {0}, elements = 1;
    for (size_t i = tensor->rank; i-- > 0;) {
        pitch[i] = elements;
        elements *= tensor->shape[i];
    }
    for (size_t i = 0; i < tensor->rank; i++) {
        size_t at = i;
        for (; at > 0 && tensor->stride[s->axes[at - 1]] < tensor->stride[i]; at--) s->axes[at] = s->axes[at - 1];
        s->axes[at] = i;
    }
    s->reach[tensor->rank] = 0;
    for (size_t i = tensor->rank; i-- > 0;) {
        size_t axis = s->axes[i];
        s->pitch[i] = pitch[axis];
        s->reach[i] = s->reach[i + 1] + (tensor->shape[axis] - 1) * (uint64_t)tensor->stride[axis];
    }
}

/* Copies the part of the window that belongs to elements of the axes from `level` on; the outer axes put the first of them at
 * element `position` of the file and at `place` of the packed order. Only indices whose elements meet the window are
 * visited. */
static void scatter_axes(const scatter *s, size_t level, uint64_t position, uint64_t place) {
    if (level == s->tensor->rank) {
        uint64_t begin = position * s->item, from = begin < s->low ? s->low : begin;
        uint64_t end = begin + s->item, to = end < s->high ? end : s->high;
        if (from < to) memcpy(s->packed + place * s->item + (from - begin), s->bytes + (from - s->low), to - from);
        return;
    }
    uint64_t size = s->tensor->shape[s->axes[level]], stride = (uint64_t)s->tensor->stride[s->axes[level]];
    uint64_t first = s->low / s->item, last = (s->high - 1) / s->item; /* elements of the window */
    uint64_t reach = position + s->reach[level + 1], start = 0, stop = size;
    if (position > last) return;
    if (stride == 0) {
        if (reach < first) return;
    } else {
        uint64_t most = (last - position) / stride;
        if (reach < first) start = (first - reach + stride - 1) / stride;
        if (most < size) stop = most + 1;
    }
    for (uint64_t i = start; i < stop; i++) scatter_axes(s, level + 1, position + i * stride, place + i * s->pitch[level]);
}

/* Gives a delivery what it wants of the bytes [at, at + count) of the file. */
static ds_status feed(delivery *d, uint8_t *values, const uint8_t *bytes, uint64_t at, size_t count) {
    uint64_t begin = at < d->begin ? d->begin : at, end = at + count < d->end ? at + count : d->end;
    const uint8_t *from = bytes + (begin - at);
    size_t left = (size_t)(end - begin);
    ds_status status = DS_OK;
    if (!d->contiguous) {
        scatter s = {.tensor = d->read->tensor,
                     .item = d->item,
                     .low = begin - d->begin,
                     .high = end - d->begin,
                     .bytes = from,
                     .packed = d->packed};
        plan_scatter(&s, d->read->tensor);
        scatter_axes(&s, 0, 0, 0);
        return end == d->end ? emit(d, values, d->packed, (size_t)d->read->tensor->count) : DS_OK;
    }
    while (d->carried > 0 && left > 0) {
        d->carry[d->carried++] = *from++;
        left--;
        if (d->carried < d->item) continue;
        d->carried = 0;
        status = emit(d, values, d->carry, 1);
        if (status != DS_OK) return status;
    }
    size_t whole = left / d->item;
    status = emit(d, values, from, whole);
    if (status != DS_OK) return status;
    /* Only here when carry is empty or `left` is 0. */
    for (size_t i = whole * d->item; i < left; i++) d->carry[d->carried++] = from[i];
    return DS_OK;
}

static ds_status record_failure(const sweep *s, const ds_record *record) {
    return ds_fail(DS_ERR_INPUT, "%s: crc mismatch in %s: the record is damaged, its crc32 is %08lx, the directory says %08lx",
                   DS_SHOW(s->file->source.path), DS_SHOW(record->name), (unsigned long)s->crc, (unsigned long)record->crc32);
}

/* Carries the checksums of the records over the bytes [at, at + count); at the end of the file every record has passed. */
static ds_status check_records(sweep *s, const uint8_t *bytes, uint64_t at, size_t count) {
    while (s->record_count > 0 && s->records->offset <= at + count) {
        const ds_record *record = s->records;
        uint64_t stop = record->offset + record->size;
        uint64_t begin = at < record->offset ? record->offset : at, end = stop < at + count ? stop : at + count;
        if (begin < end) s->crc = crc32_z(s->crc, bytes + (begin - at), (size_t)(end - begin));
        if (stop > at + count) break;
        if (s->crc != record->crc32) return record_failure(s, record);
        s->crc = crc32_z(0, NULL, 0);
        s->records++;
        s->record_count--;
    }
    return DS_OK;
}

/* Takes in the deliveries that begin before `end`. */
static ds_status admit(sweep *s, uint64_t end) {
    for (; s->next < s->delivery_count && s->deliveries[s->next].begin < end; s->next++) {
        delivery *d = &s->deliveries[s->next];
        if (!d->contiguous && (d->packed = ds_alloc_array((size_t)d->read->tensor->count, d->item)) == NULL)
            return DS_ERR_SYSTEM;
        s->active[s->active_count++] = d;
    }
    return DS_OK;
}

static ds_status feed_active(sweep *s, const uint8_t *bytes, uint64_t at, size_t count) {
    for (size_t i = 0; i < s->active_count;) {
        delivery *d = s->active[i];
        ds_status status = d->in_place ? DS_OK : feed(d, s->values, bytes, at, count);
        if (status != DS_OK) return status;
        if (d->end <= at + count) {
            free(d->packed);
            d->packed = NULL;
            s->active[i] = s->active[--s->active_count];
        } else {
            i++;
        }
    }
    return DS_OK;
}

static ds_status sweep_file(sweep *s) {
    ds_status status = DS_OK;
    const ds_source *source = &s->file->source;
    delivery *in_place = NULL;
    for (uint64_t at = 0; at < source->size;) {
        if (in_place == NULL && s->next < s->delivery_count && s->deliveries[s->next].begin == at &&
            s->deliveries[s->next].direct) {
            in_place = &s->deliveries[s->next];
            in_place->in_place = true;
        }
        uint64_t stop = source->size;
        if (in_place != NULL) {
            stop = in_place->end;
        } else if (s->next < s->delivery_count && s->deliveries[s->next].begin > at) {
            stop = s->deliveries[s->next].begin; /* where reading in place may begin */
        }
        size_t count = stop - at < PIECE_BYTES ? (size_t)(stop - at) : PIECE_BYTES;
        uint8_t *bytes = in_place == NULL ? s->piece : (uint8_t *)in_place->read->destination + (at - in_place->begin);
        DS_TRY(ds_source_read(source, bytes, at, count));
        DS_TRY(ds_digest_update(&s->digest, bytes, count));
        DS_TRY(check_records(s, bytes, at, count));
        DS_TRY(admit(s, at + count));
        DS_TRY(feed_active(s, bytes, at, count));
        at += count;
        if (in_place != NULL && at == in_place->end) in_place = NULL;
    }
    DS_TRY(ds_source_check_unchanged(source));
done:
    return status;
}

/* The file's digest; a second pass must find what the first one found. */
static ds_status settle_digest(sweep *s) {
    char digest[DS_DIGEST_TEXT];
    ds_status status = ds_digest_final(&s->digest, digest);
    if (status != DS_OK) return status;
    if (s->file->digest[0] != '\0' && strcmp(s->file->digest, digest) != 0)
        return ds_fail(DS_ERR_INPUT, "%s: changed since it was first read: SHA-256 %s now, %s then",
                       DS_SHOW(s->file->source.path), digest, s->file->digest);
    memcpy(s->file->digest, digest, sizeof digest);
    return DS_OK;
}

static ds_status plan(delivery *out, const ds_catalog *catalog, const ds_tensor_read *read) {
    const ds_tensor *tensor = read->tensor;
    uint64_t bytes;
    *out = (delivery){.read = read, .item = ds_dtype_size(tensor->dtype), .contiguous = is_contiguous(tensor)};
    if (out->item == 0)
        return ds_fail(DS_ERR_INPUT, "%s: dtype %s unsupported for %s, expected F32, F64, F16 or BF16", DS_SHOW(tensor->file),
                       DS_SHOW(tensor->dtype_name), DS_SHOW(tensor->stored_name));
    out->begin = tensor->offset;
    uint64_t size = catalog->files[tensor->file_index].source.size;
    if (!ds_mul_u64(tensor->extent, out->item, &bytes) || !ds_add_u64(tensor->offset, bytes, &out->end) || out->end > size)
        return ds_fail(DS_ERR_INPUT, "%s: %s begins at byte %llu and has %llu elements, beyond the file's %llu bytes",
                       DS_SHOW(tensor->file), DS_SHOW(tensor->stored_name), (ull)tensor->offset, (ull)tensor->extent,
                       (ull)size);
    out->direct = read->destination != NULL && read->sink == NULL && out->contiguous &&
                  tensor->dtype == (read->precision == DS_F32 ? DS_DTYPE_F32 : DS_DTYPE_F64);
    return DS_OK;
}

/* By file and place; of those that begin together, one that can be read in place first. */
static int by_place(const void *left, const void *right) {
    const delivery *a = left, *b = right;
    size_t fa = a->read->tensor->file_index, fb = b->read->tensor->file_index;
    if (fa != fb) return fa < fb ? -1 : 1;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return (int)b->direct - (int)a->direct;
}

/* SHA-256 over "<digest>  <name>\n" of every file; one file stands for itself. Files are in order of name. */
static ds_status combine_digests(ds_catalog *catalog) {
    ds_status status = DS_OK;
    ds_digest digest = {0};
    ds_text line = {0};
    if (catalog->file_count == 1) {
        memcpy(catalog->digest, catalog->files[0].digest, DS_DIGEST_TEXT);
        return DS_OK;
    }
    DS_TRY(ds_digest_init(&digest));
    for (size_t i = 0; i < catalog->file_count; i++) {
        const ds_catalog_file *file = &catalog->files[i];
        line.length = 0;
        DS_TRY(ds_text_printf(&line, "%s  %s\n", file->digest, ds_base_name(file->source.path)));
        DS_TRY(ds_digest_update(&digest, line.bytes, line.length));
    }
    DS_TRY(ds_digest_final(&digest, catalog->digest));
done:
    ds_text_release(&line);
    ds_digest_release(&digest);
    return status;
}

/* Hands the sweep file `index` with its deliveries and records, which begin at *delivery_at and *record_at of lists that are in
 * order of file; moves both on. */
static void choose_file(sweep *s, ds_catalog *catalog, size_t index, delivery *deliveries, size_t delivery_count,
                        size_t *delivery_at, size_t *record_at) {
    s->file = &catalog->files[index];
    s->deliveries = deliveries + *delivery_at;
    s->delivery_count = 0;
    for (; *delivery_at < delivery_count && deliveries[*delivery_at].read->tensor->file_index == index; ++*delivery_at)
        s->delivery_count++;
    s->records = catalog->record_count == 0 ? NULL : catalog->records + *record_at;
    s->record_count = 0;
    for (; *record_at < catalog->record_count && catalog->records[*record_at].file_index == index; ++*record_at)
        s->record_count++;
    s->next = s->active_count = 0;
    s->crc = crc32_z(0, NULL, 0);
}

ds_status ds_catalog_read(ds_catalog *catalog, const ds_tensor_read *reads, size_t count) {
    ds_status status = DS_OK;
    delivery *deliveries = NULL;
    size_t delivery_count = 0, delivery_at = 0, record_at = 0;
    sweep s = {0};
    DS_NEW(deliveries, count);
    for (size_t i = 0; i < count; i++) {
        if (reads[i].tensor->count == 0) continue; /* nothing to deliver */
        DS_TRY(plan(&deliveries[delivery_count], catalog, &reads[i]));
        delivery_count++;
    }
    if (delivery_count > 1) qsort(deliveries, delivery_count, sizeof *deliveries, by_place);
    DS_NEW(s.active, delivery_count);
    DS_NEW_ARRAY(s.piece, PIECE_BYTES);
    DS_NEW_ARRAY(s.values, VALUES_BYTES);
    for (size_t i = 0; i < catalog->file_count; i++) {
        choose_file(&s, catalog, i, deliveries, delivery_count, &delivery_at, &record_at);
        DS_TRY(ds_digest_init(&s.digest));
        DS_TRY(sweep_file(&s));
        DS_TRY(settle_digest(&s));
        ds_digest_release(&s.digest);
    }
    DS_TRY(combine_digests(catalog));
done:
    for (size_t i = 0; i < delivery_count; i++) free(deliveries[i].packed);
    ds_digest_release(&s.digest);
    free(s.values);
    free(s.piece);
    free(s.active);
    free(deliveries);
    return status;
}
