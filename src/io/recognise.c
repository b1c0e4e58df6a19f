#include "recognise.h"

#include <string.h>
#include <strings.h>

typedef struct signature {
    const char *magic;
    size_t length, offset;
    const char *what, *advice;
} signature;

#define MAGIC(text) (text), sizeof(text) - 1

static const char unpack[] = "unpack it first", other_reader[] = "export its content to one of the formats of the manual",
                  save_utf8[] = "save it as UTF-8 without a byte order mark",
                  save_again[] = "load it in PyTorch or Python and save what it holds",
                  weights[] = "give the checkpoint it was made from",
                  page[] = "a page of the server came in place of the file: download it again";

static const signature signatures[] = {
    {MAGIC("version https://git-lfs."), 0, "a Git LFS pointer", "fetch the file itself with \"git lfs pull\""},
    {MAGIC("oid sha256:"), 0, "a Git LFS pointer", "fetch the file itself with \"git lfs pull\""},
    {MAGIC("\x1f\x8b\x08"), 0, "a gzip archive", unpack},
    {MAGIC("\x28\xb5\x2f\xfd"), 0, "a zstd archive", unpack},
    {MAGIC("\xfd"
           "7zXZ\0"),
     0, "an xz archive", unpack},
    {MAGIC("7z\xbc\xaf\x27\x1c"), 0, "a 7z archive", unpack},
    {MAGIC("1AY&SY"), 4, "a bzip2 archive", unpack},
    {MAGIC("\x04\x22\x4d\x18"), 0, "an lz4 archive", unpack},
    {MAGIC("Rar!\x1a\x07"), 0, "a rar archive", unpack},
    {MAGIC("PK\3\4"), 0, "a zip archive, as .npz files and torch.save's are", "unpack it, or save the array in it as .npy"},
    {MAGIC("PK\5\6"), 0, "an empty zip archive", save_again},
    {MAGIC("ustar"), 257, "a tar archive", unpack},
    {MAGIC("\x93NUMPY"), 0, "an .npy array", "only token ids may be one"},
    {MAGIC("GGUF"), 0, "a GGUF file", weights},
    {MAGIC("ggjt"), 0, "a GGML file", weights},
    {MAGIC("\x89HDF\r\n\x1a\n"), 0, "an HDF5 file", other_reader},
    {MAGIC("PAR1"), 0, "a Parquet file", other_reader},
    {MAGIC("ARROW1"), 0, "an Arrow file", other_reader},
    {MAGIC("MMIDIDX\0"), 0, "the index of a Megatron data set", "give the .bin beside it, with --token-type"},
    {MAGIC("SQLite format 3\0"), 0, "an SQLite data base", other_reader},
    {MAGIC("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."), 0, "a file of torch.save before 1.6", save_again},
    {MAGIC("\x80\x02}q"), 0, "a pickle", save_again},
    {MAGIC("\x80\x02]q"), 0, "a pickle", save_again},
    {MAGIC("\x80\x03}q"), 0, "a pickle", save_again},
    {MAGIC("\x80\x03]q"), 0, "a pickle", save_again},
    {MAGIC("\x80\x02"
           "ccollections\n"),
     0, "a pickle", save_again},
    {MAGIC("\x89PNG\r\n\x1a\n"), 0, "a picture", other_reader},
    {MAGIC("%PDF-"), 0, "a PDF document", other_reader},
    {MAGIC("\x7f"
           "ELF"),
     0, "a program", other_reader},
    {MAGIC("\xef\xbb\xbf"), 0, "text with a byte order mark in front", save_utf8},
    {MAGIC("\xff\xfe"), 0, "UTF-16 text, by its byte order mark", save_utf8},
    {MAGIC("\xfe\xff"), 0, "UTF-16 text, by its byte order mark", save_utf8},
};

/* A pickle of protocol 4 or 5 opens with a frame, whose length is far below 2^32. */
static bool is_framed_pickle(const uint8_t *head, size_t count) {
    return count >= 11 && head[0] == 0x80 && (head[1] == 4 || head[1] == 5) && head[2] == 0x95 &&
           memcmp(head + 7, "\0\0\0\0", 4) == 0;
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

ds_kind ds_kind_of(const uint8_t *head, size_t count) {
    if (is_framed_pickle(head, count)) return (ds_kind){"a pickle", save_again, 7};
    if (is_safetensors(head, count)) return (ds_kind){"a safetensors file", "only weights are stored so", 6};
    if (is_markup(head, count)) return (ds_kind){"an HTML or XML page", page, 5};
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (count >= s->offset + s->length && memcmp(head + s->offset, s->magic, s->length) == 0)
            return (ds_kind){s->what, s->advice, s->length};
    }
    return (ds_kind){NULL, NULL, 0};
}

ds_status ds_kind_refuse(const char *where, const void *head, size_t count, const char *expected) {
    const ds_kind kind = ds_kind_of(head, ds_min_size(count, DS_KIND_HEAD));
    if (kind.what == NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: this is %s, expected %s: %s", DS_SHOW(where), kind.what, expected, kind.advice);
}
