/* The zip directory: a small archive with one field wrong at a time, and every byte of it changed. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "io/zip_reader.h"

static const archive_entry good[] = {
    {"a/data.pkl", "0123456789", 10},
    {"a/data/0", "storage", 7},
    {"a/version", "3\n", 2},
};
enum { GOOD = sizeof good / sizeof good[0] };

typedef struct opened {
    ds_source source;
    ds_zip *zip;
} opened;

static ds_status open_archive(opened *out, const ds_text *archive) {
    *out = (opened){0};
    ds_status status = ds_source_open(&out->source, archive_publish(archive));
    return status == DS_OK ? ds_zip_open(&out->zip, &out->source) : status;
}

static void close_archive(opened *out) {
    ds_zip_close(&out->zip);
    ds_source_close(&out->source);
}

static void expect_refusal(const ds_text *archive, const char *words) {
    opened it;
    expect_failure(open_archive(&it, archive), DS_ERR_INPUT, "/proc/self/fd/");
    if (strstr(ds_error_text(), words) == NULL) fail_msg("\"%s\" does not say \"%s\"", ds_error_text(), words);
    assert_null(it.zip);
    close_archive(&it);
}

/* The same entries, whatever else was changed. */
static bool is_good(const ds_zip *zip) {
    if (ds_zip_count(zip) != GOOD) return false;
    for (size_t i = 0; i < GOOD; i++) {
        const ds_zip_entry *entry = ds_zip_find(zip, good[i].name + 2);
        if (entry == NULL || entry->size != good[i].length || entry->crc32 != ds_crc32(0, good[i].bytes, good[i].length))
            return false;
        uint8_t *bytes;
        expect_ok(ds_zip_read(&bytes, zip, entry, 100));
        bool same = memcmp(bytes, good[i].bytes, good[i].length) == 0;
        free(bytes);
        if (!same) return false;
    }
    return true;
}

static void reads_a_good_archive(void **state) {
    (void)state;
    ds_text archive = {0};
    opened it;
    archive_build(&archive, good, GOOD);
    expect_ok(open_archive(&it, &archive));
    assert_true(is_good(it.zip));
    assert_null(ds_zip_find(it.zip, "DATA.PKL"));
    assert_null(ds_zip_find(it.zip, "a/data.pkl"));
    assert_string_equal(ds_zip_at(it.zip, 0)->name, "data.pkl");
    assert_string_equal(ds_zip_at(it.zip, 2)->name, "version");
    uint8_t *bytes;
    expect_failure(ds_zip_read(&bytes, it.zip, ds_zip_at(it.zip, 0), 9), DS_ERR_INPUT, "has 10 bytes, expected at most 9");
    close_archive(&it);
    ds_text_release(&archive);
}

typedef enum part { END, LOCATOR, END64, CENTRAL, LOCAL } part;

static size_t part_offset(const ds_text *archive, part where, size_t index) {
    switch (where) {
    case END:
        return archive_end(archive);
    case LOCATOR:
        return archive_locator(archive);
    case END64:
        return archive_end64(archive);
    case CENTRAL:
        return archive_central(archive, index);
    case LOCAL:
        return archive_local(archive, index);
    }
    return 0;
}

static const struct {
    part where;
    size_t index, field, width;
    uint64_t value;
    const char *words;
} wrong_fields[] = {
    {END, 0, 0, 4, 0, "no end of central directory"},
    {END, 0, 4, 2, 1, "multi-disk"},
    {END, 0, 6, 2, 1, "multi-disk"},
    {END, 0, 8, 2, 2, "multi-disk"},
    {END, 0, 12, 4, 1, "end records disagree"},
    {END, 0, 16, 4, 1, "end records disagree"},
    {END, 0, 20, 2, 1, "comment"},
    {LOCATOR, 0, 4, 4, 1, "multi-disk"},
    {LOCATOR, 0, 8, 8, UINT64_MAX, "bad zip64 end record"},
    {LOCATOR, 0, 16, 4, 2, "multi-disk"},
    {END64, 0, 0, 4, 0, "bad zip64 end record"},
    {END64, 0, 4, 8, 45, "bad zip64 end record"},
    {END64, 0, 16, 4, 1, "multi-disk"},
    {END64, 0, 20, 4, 1, "multi-disk"},
    {END64, 0, 24, 8, 4, "end records disagree"},
    {END64, 0, 32, 8, 4, "end records disagree"},
    {END64, 0, 40, 8, 1, "end records disagree"},
    {END64, 0, 48, 8, 1, "end records disagree"},
    {CENTRAL, 1, 0, 4, 0, "entry 2 of 3 has no header"},
    {CENTRAL, 1, 8, 2, 0x0809, "unsupported entry flags"},
    {CENTRAL, 1, 8, 2, 0x0008, "local and central headers disagree"},
    {CENTRAL, 1, 8, 2, 0x0800, "local and central headers disagree"},
    {CENTRAL, 1, 10, 2, 8, "compressed entry (deflate); torch.save never compresses"},
    {CENTRAL, 1, 10, 2, 99, "unsupported compression method 99"},
    {CENTRAL, 1, 16, 4, 1, "descriptor and the central header disagree"},
    {CENTRAL, 1, 20, 4, 6, "6 bytes stored for 7"},
    {CENTRAL, 1, 24, 4, UINT32_MAX, "bad zip64 field"},
    {CENTRAL, 1, 28, 2, 9, "entry 3 of 3 has no header"},
    {CENTRAL, 1, 30, 2, 1, "bad zip64 field"},
    {CENTRAL, 2, 30, 2, 1, "central directory truncated in entry 3"},
    {CENTRAL, 1, 32, 2, 1, "a comment of 1 bytes"},
    {CENTRAL, 1, 34, 2, 1, "multi-disk"},
    {CENTRAL, 1, 38, 4, 0xA1FF0000, "not a regular file but a link"},
    {CENTRAL, 1, 38, 4, 0x41ED0010, "not a regular file but a link, folder"},
    {CENTRAL, 1, 42, 4, 0, "overlapping entries"},
    {CENTRAL, 0, 42, 4, 3, "does not start with a local header"},
    {CENTRAL, 2, 42, 4, 200, "bad local header"},
    {CENTRAL, 2, 42, 4, UINT32_MAX - 1, "outside the file"},
    {LOCAL, 1, 0, 4, 0, "bad local header"},
    {LOCAL, 1, 6, 2, 0x0800, "disagree in flags"},
    {LOCAL, 1, 8, 2, 8, "disagree in flags or compression"},
    {LOCAL, 1, 14, 4, 5, "local and central headers disagree: crc32 00000005"},
    {LOCAL, 1, 18, 4, 6, "local and central headers disagree"},
    {LOCAL, 1, 22, 4, 6, "local and central headers disagree"},
    {LOCAL, 1, 22, 4, UINT32_MAX, "bad zip64 field in the local header"},
    {LOCAL, 1, 26, 2, 7, "local and central headers disagree"},
    {LOCAL, 1, 28, 2, 8, "expected a data descriptor and no unreferenced bytes"},
    {LOCAL, 2, 28, 2, 60000, "entry data outside the file"},
};

static void refuses_each_wrong_field(void **state) {
    (void)state;
    ds_text archive = {0};
    for (size_t i = 0; i < sizeof wrong_fields / sizeof wrong_fields[0]; i++) {
        archive_build(&archive, good, GOOD);
        archive_patch(&archive, part_offset(&archive, wrong_fields[i].where, wrong_fields[i].index) + wrong_fields[i].field,
                      wrong_fields[i].width, wrong_fields[i].value);
        expect_refusal(&archive, wrong_fields[i].words);
    }
    ds_text_release(&archive);
}

/* The end of a name turned into the extra field that says "the name is really another", which some readers believe. */
static void refuses_a_second_name(void **state) {
    (void)state;
    const archive_entry entries[] = {good[0], {"a/xup..abc", "x", 1}, good[2]};
    ds_text archive = {0};
    archive_build(&archive, entries, 3);
    size_t central = archive_central(&archive, 1);
    archive_patch(&archive, central + 28, 2, 3);     /* name: "a/x" */
    archive_patch(&archive, central + 30, 2, 7);     /* extra: "up" is 0x7075 */
    archive_patch(&archive, central + 46 + 5, 2, 3); /* of 3 bytes */
    expect_refusal(&archive, "entry a/x: a second name");
    ds_text_release(&archive);
}

/* Modes a Unix archiver records for files. */
static void takes_regular_modes(void **state) {
    (void)state;
    static const uint64_t modes[] = {0x81A40000, 0x01800000, 0x20};
    ds_text archive = {0};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        archive_build(&archive, good, GOOD);
        archive_patch(&archive, archive_central(&archive, 1) + 38, 4, modes[i]);
        opened it;
        expect_ok(open_archive(&it, &archive));
        assert_true(is_good(it.zip));
        close_archive(&it);
    }
    ds_text_release(&archive);
}

static void refuses_bad_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        const char *words;
    } cases[] = {
        {"/a/x", "bad entry name"},
        {"a//x", "bad entry name"},
        {"a/x/", "bad entry name"},
        {"a/../x", "bad entry name"},
        {"a/.", "bad entry name"},
        {"a\\x", "bad entry name"},
        {"a/\xFF", "bad entry name"},
        {"", "bad entry name"},
        {"x", "outside the archive folder a/"},
        {"ab/x", "outside the archive folder a/"},
        {"A/x", "outside the archive folder a/"},
        {"a/data.pkl", "duplicate entry data.pkl"},
        {"a/Data.PKL", "duplicate entry"},
    };
    ds_text archive = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const archive_entry entries[] = {good[0], {cases[i].name, "x", 1}, good[2]};
        archive_build(&archive, entries, 3);
        expect_refusal(&archive, cases[i].words);
    }
    archive_build(&archive, good, GOOD);
    archive.bytes[archive_central(&archive, 1) + 46 + 2] = '\0';
    expect_refusal(&archive, "bad entry name \"a/\\x00ata/0\"");
    const archive_entry loose[] = {{"data.pkl", "x", 1}};
    archive_build(&archive, loose, 1);
    expect_refusal(&archive, "not in a folder");
    archive_build(&archive, loose, 0);
    expect_refusal(&archive, "no entries");
    ds_text_release(&archive);
}

static void refuses_bytes_around(void **state) {
    (void)state;
    ds_text archive = {0}, longer = {0};
    archive_build(&archive, good, GOOD);
    expect_ok(ds_text_append(&longer, "x", 1));
    expect_ok(ds_text_append(&longer, archive.bytes, archive.length));
    expect_refusal(&longer, "");
    expect_ok(ds_text_append(&archive, "x", 1));
    expect_refusal(&archive, "bytes after the end record");
    ds_text_release(&archive);
    ds_text_release(&longer);
}

static void refuses_every_truncation(void **state) {
    (void)state;
    ds_text archive = {0};
    archive_build(&archive, good, GOOD);
    for (size_t whole = archive.length; archive.length > 0;) {
        archive.length--;
        expect_refusal(&archive, "");
        assert_true(archive.length < whole);
    }
    ds_text_release(&archive);
}

/* Any single byte changed: refused, or the very same entries (fields nobody reads: versions, times, attributes). A changed
 * byte of data is refused when it is read. */
static void tells_the_same_story_or_none(void **state) {
    (void)state;
    ds_text archive = {0};
    ds_random random = ds_random_init(20240612);
    print_message("seed 20240612\n");
    archive_build(&archive, good, GOOD);
    size_t refused = 0, accepted = 0;
    for (size_t i = 0; i < archive.length; i++) {
        for (size_t trial = 0; trial < 4; trial++) {
            char before = archive.bytes[i];
            archive.bytes[i] = (char)(before ^ (char)(1 + ds_random_below(&random, 255)));
            opened it;
            ds_status status = open_archive(&it, &archive);
            for (size_t k = 0; status == DS_OK && k < ds_zip_count(it.zip); k++) {
                uint8_t *bytes;
                status = ds_zip_read(&bytes, it.zip, ds_zip_at(it.zip, k), 100);
                if (status == DS_OK) free(bytes);
            }
            if (status == DS_OK) {
                assert_true(is_good(it.zip));
                accepted++;
            } else {
                assert_int_equal(status, DS_ERR_INPUT);
                refused++;
            }
            close_archive(&it);
            archive.bytes[i] = before;
        }
    }
    assert_true(refused > accepted);
    assert_true(accepted > 0);
    ds_text_release(&archive);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_good_archive),     cmocka_unit_test(refuses_each_wrong_field),
        cmocka_unit_test(refuses_a_second_name),    cmocka_unit_test(takes_regular_modes),
        cmocka_unit_test(refuses_bad_names),        cmocka_unit_test(refuses_bytes_around),
        cmocka_unit_test(refuses_every_truncation), cmocka_unit_test(tells_the_same_story_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
