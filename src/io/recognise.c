#include "recognise.h"

#include <string.h>
#include <strings.h>

enum { SHORTEST_LINK = 12 };

typedef struct signature {
    const char *magic;
    size_t length, offset;
    const char *what, *advice;
} signature;

#define MAGIC(text) (text), sizeof(text) - 1
#define UNPACK "unpack it first"
#define FETCH "fetch the file itself with \"git lfs pull\""
#define ELSEWHERE "save what it holds in a format that is read here"
#define AGAIN "load it in Python and save what it holds"
#define PLAIN "save it as UTF-8 without a byte order mark"

static const signature signatures[] = {
    {MAGIC("version https://git-lfs."), 0, "a Git LFS pointer", FETCH},
    {MAGIC("\x1f\x8b\x08"), 0, "a gzip archive", UNPACK},
    {MAGIC("\x28\xb5\x2f\xfd"), 0, "a zstd archive", UNPACK},
    {MAGIC("\xfd\x37zXZ\0"), 0, "an xz archive", UNPACK},
    {MAGIC("7z\xbc\xaf\x27\x1c"), 0, "a 7z archive", UNPACK},
    {MAGIC("1AY&SY"), 4, "a bzip2 archive", UNPACK},
    {MAGIC("\x04\x22\x4d\x18"), 0, "an lz4 archive", UNPACK},
    {MAGIC("Rar!\x1a\x07"), 0, "a rar archive", UNPACK},
    {MAGIC("PK\3\4"), 0, "a zip archive", "take out what is in it (of an .npz, the array as .npy)"},
    {MAGIC("ustar"), 257, "a tar archive", UNPACK},
    {MAGIC("\x93NUMPY"), 0, "an .npy array", "only token ids are read from one"},
    {MAGIC("GGUF"), 0, "a GGUF file", "give the checkpoint it was made from"},
    {MAGIC("\x89HDF\r\n\x1a\n"), 0, "an HDF5 file", ELSEWHERE},
    {MAGIC("PAR1"), 0, "a Parquet file", ELSEWHERE},
    {MAGIC("ARROW1"), 0, "an Arrow file", ELSEWHERE},
    {MAGIC("SQLite format 3\0"), 0, "an SQLite data base", ELSEWHERE},
    {MAGIC("\x89PNG\r\n\x1a\n"), 0, "a picture", ELSEWHERE},
    {MAGIC("%PDF-"), 0, "a PDF document", ELSEWHERE},
    {MAGIC("\x7f\x45LF"), 0, "a program", ELSEWHERE},
    {MAGIC("MMIDIDX\0"), 0, "the index of a Megatron data set", "give the .bin beside it, with --token-type"},
    {MAGIC("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."), 0, "a file of torch.save before 1.6", AGAIN},
    {MAGIC("\x80\x02}q"), 0, "a pickle", AGAIN},
    {MAGIC("\x80\x02]q"), 0, "a pickle", AGAIN},
    {MAGIC("\x80\x03}q"), 0, "a pickle", AGAIN},
    {MAGIC("\x80\x03]q"), 0, "a pickle", AGAIN},
};
static const signature marks[] = {
    {MAGIC("\xef\xbb\xbf"), 0, "text with a byte order mark in front (\\xEF\\xBB\\xBF)", PLAIN},
    {MAGIC("\xff\xfe"), 0, "UTF-16 text, by its byte order mark", PLAIN},
    {MAGIC("\xfe\xff"), 0, "UTF-16 text, by its byte order mark", PLAIN},
};

static const signature *find(const signature *list, size_t count, const uint8_t *head, size_t length) {
    for (size_t i = 0; i < count; i++) {
        const signature *s = &list[i];
        if (length >= s->offset + s->length && memcmp(head + s->offset, s->magic, s->length) == 0) return s;
    }
    return NULL;
}

/* A pickle of protocol 4 or 5 opens with a frame, whose length is far below 2^32. */
static bool is_framed_pickle(const uint8_t *head, size_t count) {
    return count >= 11 && head[0] == 0x80 && (head[1] == 4 || head[1] == 5) && head[2] == 0x95 &&
           memcmp(head + 7, "\0\0\0\0", 4) == 0;
}

/* Three bytes, three reserved bits that are 0, one of three marks of effort and of fifteen systems: 37 bits together. */
static bool is_gzip(const uint8_t *head, size_t count) {
    return count >= 10 && memcmp(head, "\x1f\x8b\x08", 3) == 0 && head[3] < 0x20 && (head[8] & ~6) == 0 && head[8] != 6 &&
           (head[9] <= 13 || head[9] == 255);
}

/* The length of a header far below 2^32, and its beginning. */
static bool is_safetensors(const uint8_t *head, size_t count) { return count >= 10 && memcmp(head + 4, "\0\0\0\0{\"", 6) == 0; }

/* Behind white space, in any case of letters. */
static bool is_markup(const uint8_t *head, size_t count) {
    static const char *const openings[] = {"<!doctype html", "<html", "<?xml"};
    size_t at = 0;
    while (at < count && strchr(" \t\r\n", head[at]) != NULL && head[at] != '\0') at++;
    for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
        size_t length = strlen(openings[i]);
        if (count - at >= length && strncasecmp((const char *)head + at, openings[i], length) == 0) return true;
    }
    return false;
}

/* The path that git and archives leave in the place of a link where the file system has none, and nothing else. */
static bool is_lost_link(const uint8_t *head, size_t count) {
    bool path = count >= SHORTEST_LINK && count < DS_KIND_HEAD &&
                (head[0] == '/' || memcmp(head, "./", 2) == 0 || memcmp(head, "../", 3) == 0);
    if (path && head[count - 1] == '\n') count--;
    for (size_t i = 0; i < count && path; i++) path = head[i] > ' ' && head[i] < 0x7F;
    return path;
}

ds_kind ds_kind_of(const uint8_t *head, size_t count) {
    const signature *s;
    if (is_framed_pickle(head, count)) return (ds_kind){"a pickle", AGAIN, 7, false};
    if (is_gzip(head, count)) return (ds_kind){"a gzip archive", UNPACK, 4, false};
    if (is_safetensors(head, count))
        return (ds_kind){"a safetensors file", "it holds weights: give it as NAME.safetensors in the place of a checkpoint", 6,
                         false};
    if (is_markup(head, count))
        return (ds_kind){"an HTML or XML page", "a server's page may have come in its place: download the file again", 5, true};
    if (is_lost_link(head, count))
        return (ds_kind){"a link that was stored as text", "put the file it names in its place", SHORTEST_LINK, true};
    if ((s = find(signatures, sizeof signatures / sizeof *signatures, head, count)) != NULL)
        return (ds_kind){s->what, s->advice, s->length, false};
    if ((s = find(marks, sizeof marks / sizeof *marks, head, count)) != NULL)
        return (ds_kind){s->what, s->advice, s->length, true};
    return (ds_kind){NULL, NULL, 0, false};
}

ds_status ds_kind_refuse(const char *where, const void *head, size_t count, const char *expected) {
    const ds_kind kind = ds_kind_of(head, ds_min_size(count, DS_KIND_HEAD));
    if (kind.what == NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: this is %s, expected %s: %s", DS_SHOW(where), kind.what, expected, kind.advice);
}
