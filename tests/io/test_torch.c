/* Torch archives: real and hostile files, and small ones assembled here around one pickle each. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "io/catalog.h"

static ds_status list_file(ds_catalog *catalog, const char *path) {
    *catalog = (ds_catalog){0};
    ds_status status = ds_catalog_open_file(catalog, path);
    if (status == DS_OK) status = ds_torch_list(catalog, &catalog->files[0].source, 0);
    return status == DS_OK ? ds_catalog_seal(catalog) : status;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void refuses_hostile_files(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"billion_laughs.bin", "x is not a tensor but a list"},
        {"bomb.bin", "compressed entry"},
        {"crc_storage_wrong.bin", "data/20"},
        {"cycle_dict.bin", "cyclic value"},
        {"dup_data_pkl.bin", "duplicate entry data.pkl"},
        {"dup_storage.bin", "duplicate entry data/20"},
        {"evil_magic.bin", "not a PyTorch file"},
        {"evil_optimizer.pt", "global posix.system is not allowed"},
        {"fake_eocd_in_comment.bin", "ambiguous"},
        {"hash_bomb.bin", "bad dict key: it is not a string"},
        {"hidden_local.bin", "unreferenced bytes"},
        {"local_name_differs.bin", "local and central headers disagree"},
        {"meta_tensor.bin", "_rebuild_meta_tensor_no_storage is not supported"},
        {"nul_in_entry_name.bin", "bad entry name"},
        {"numel_wrap.bin", "bad storage size"},
        {"opt_storage_lies.pt", "storage size of data/501"},
        {"overlap_entries.bin", "overlapping entries"},
        {"prefix_collision.pt", "duplicate tensor ln_f.weight"},
        {"prefix_junk.bin", "does not start with a zip local header"},
        {"pt_big_endian.bin", "byteorder"},
        {"rce_in_hooks.bin", "global posix.system is not allowed"},
        {"rce_posix.bin", "global posix.system is not allowed"},
        {"rce_storage_type.bin", "global posix.system is not allowed"},
        {"same_key_two_dtypes.bin", "storage 20 declared with two types"},
        {"stack_global.bin", "global os.system is not allowed"},
        {"storage_truncated.bin", "storage size of data/20"},
        {"tar.bin", "legacy tar format"},
        {"zip64_size_huge.bin", "outside the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128];
        ds_catalog catalog;
        (void)snprintf(path, sizeof path, "fixtures/hostile/torch/%s", cases[i][0]);
        ds_status status = list_file(&catalog, path);
        if (status == DS_OK) status = ds_catalog_read(&catalog, NULL, 0); /* checksums are compared while reading */
        expect_failure(status, DS_ERR_INPUT, cases[i][1]);
        assert_non_null(strstr(ds_error_text(), cases[i][0]));
        ds_catalog_release(&catalog);
    }
}

/* Reads a tensor as float and returns the crc32 of its little-endian bytes. */
static uint32_t weights_crc(ds_catalog *catalog, const ds_tensor *tensor) {
    float *values = ds_calloc((size_t)tensor->count, sizeof *values);
    assert_non_null(values);
    ds_tensor_read wanted = {.tensor = tensor, .precision = DS_F32, .destination = values};
    expect_ok(ds_catalog_read(catalog, &wanted, 1));
    uint32_t crc = ds_crc32(0, values, (size_t)tensor->count * sizeof *values);
    free(values);
    return crc;
}

/* Seven layouts of the same weights: half, mixed types, a slice, tied heads, zip64 fields, no descriptors, a wrapped model. */
static void reads_the_same_weights_from_every_layout(void **state) {
    (void)state;
    static const char *const names[] = {"pt_f16.bin",          "pt_mixed.bin",        "pt_slice.bin",
                                        "pt_tied_rebuild.bin", "pt_zip64_fields.bin", "pt_no_descriptor.bin",
                                        "nanogpt_orig_mod.pt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128], name[128];
        unsigned expected;
        size_t compared = 0;
        ds_catalog catalog;
        (void)snprintf(path, sizeof path, "fixtures/valid/torch/%s", names[i]);
        expect_ok(list_file(&catalog, path));
        FILE *table = fopen("fixtures/valid/torch/weights.tsv", "r");
        assert_non_null(table);
        while (fscanf(table, "%127s %x", name, &expected) == 2) {
            const ds_tensor *tensor = ds_catalog_find(&catalog, name);
            assert_non_null(tensor);
            assert_int_equal(weights_crc(&catalog, tensor), expected);
            compared++;
        }
        (void)fclose(table);
        assert_int_equal(compared, 21);
        ds_catalog_release(&catalog);
    }
}

static void lists_training_checkpoints(void **state) {
    (void)state;
    ds_catalog catalog;
    expect_ok(list_file(&catalog, "fixtures/models/scalar-ckpt/ckpt.pt"));
    assert_int_equal(catalog.tensor_count, 41); /* of 163 records: the optimizer's tensors are not listed */
    const ds_tensor *wte = ds_catalog_find(&catalog, "transformer.wte.weight");
    assert_non_null(wte);
    assert_string_equal(wte->stored_name, "module._orig_mod.transformer.wte.weight");
    assert_string_equal(wte->dtype_name, "F32");
    assert_string_equal(wte->record, "data/0");
    assert_int_equal(wte->rank, 2);
    assert_int_equal(wte->shape[0], 65);
    assert_int_equal(wte->shape[1], 32);
    assert_int_equal(wte->stride[0], 32);
    assert_int_equal(wte->count, 2080);
    assert_int_equal(wte->extent, 2080);
    ds_catalog_release(&catalog);
    expect_ok(list_file(&catalog, "fixtures/models/scalar-kvshift/pytorch_model.bin"));
    assert_int_equal(catalog.tensor_count, 45);
    ds_catalog_release(&catalog);
    expect_ok(list_file(&catalog, "fixtures/models/cc-ec-vlinear/pytorch_model-00002-of-00002.bin"));
    assert_int_equal(catalog.tensor_count, 24);
    ds_catalog_release(&catalog);
}

/* ---- pickles ----------------------------------------------------------------------------------------------------- */

#define P(text) text, sizeof(text) - 1
#define STATE(value) "\x80\x02}X\x01\0\0\0w" value "s."
#define STORAGE(class, count)                                                                                                  \
    "(X\x07\0\0\0storagec" class "Storage\nX\x01\0\0\0"                                                                        \
                                 "0X\x03\0\0\0cpuK" count "tQ"
#define FLOATS STORAGE("torch\nFloat", "\x08")
#define HOOKS                                                                                                                  \
    "\x89"                                                                                                                     \
    "ccollections\nOrderedDict\n)R"
#define TENSOR(storage, offset, size, stride)                                                                                  \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "K" offset "(" size "t(" stride "t" HOOKS "tR"
#define PLAIN TENSOR(FLOATS, "\0", "K\x08", "K\x01")

static const float storage[8] = {0.5f, -1.25f, 2.75f, 3.5f, -4.125f, 5.0625f, 6.75f, -7.5f};

static ds_status list_pickle(ds_catalog *catalog, const char *bytes, size_t length) {
    ds_text archive = {0};
    archive_build_torch(&archive, bytes, length, storage, sizeof storage);
    ds_status status = list_file(catalog, archive_publish(&archive));
    ds_text_release(&archive);
    return status;
}

static void lists_legal_tensors(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        size_t rank;
        uint64_t count, extent, offset; /* offset in elements */
        const char *dtype;
    } cases[] = {
        {P(STATE(PLAIN)), 1, 8, 8, 0, "F32"},
        {P(STATE(TENSOR(FLOATS, "\x03", "K\x05", "K\x01"))), 1, 5, 5, 3, "F32"},
        {P(STATE(TENSOR(FLOATS, "\0", "K\x02K\x04", "K\x01K\x02"))), 2, 8, 8, 0, "F32"},   /* transposed */
        {P(STATE(TENSOR(FLOATS, "\x01", "K\x03", "K\x02"))), 1, 3, 5, 1, "F32"},           /* every other element */
        {P(STATE(TENSOR(FLOATS, "\x07", "", ""))), 0, 1, 1, 7, "F32"},                     /* a number */
        {P(STATE(TENSOR(FLOATS, "\x07", "K\xFFK\xFF", "K\0K\0"))), 2, 65025, 1, 7, "F32"}, /* expanded */
        {P(STATE(TENSOR(FLOATS, "\x08", "K\x05K\0", "K\xFFK\xFF"))), 2, 0, 0, 8, "F32"},   /* empty */
        {P(STATE(TENSOR(STORAGE("torch\nLong", "\x04"), "\0", "K\x04", "K\x01"))), 1, 4, 4, 0, "I64"},
        {P(STATE(TENSOR(STORAGE("torch\nBFloat16", "\x10"), "\0", "K\x10", "K\x01"))), 1, 16, 16, 0, "BF16"},
        {P(STATE("ctorch._utils\n_rebuild_tensor\n(" FLOATS "K\0K\x08\x85K\x01\x85tR")), 1, 8, 8, 0, "F32"},
        {P(STATE("ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE("torch.storage\nUntyped", "\x20") "K\0K\x04\x85K\x01\x85" HOOKS
                                                                                                  "ctorch\nuint64\ntR")),
         1, 4, 4, 0, "U64"},
        {P(STATE("ctorch._utils\n_rebuild_parameter\n(" PLAIN HOOKS "tR")), 1, 8, 8, 0, "F32"},
        {P(STATE("ctorch._utils\n_rebuild_parameter_with_state\n(" PLAIN HOOKS "}tR")), 1, 8, 8, 0, "F32"},
        {P(STATE("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\nctorch\nTensor\n(" PLAIN HOOKS
                 "t}tR")),
         1, 8, 8, 0, "F32"},
        {P("\x80\x02}X\x05\0\0\0model}X\x01\0\0\0w" PLAIN "ssX\x01\0\0\0xK\x01s."), 1, 8, 8, 0, "F32"},
        {P("\x80\x02}(X\x0a\0\0\0state_dict}X\x01\0\0\0w" PLAIN "sX\x05\0\0\0modelX\x04\0\0\0gpt2u."), 1, 8, 8, 0, "F32"},
        {P("\x80\x02}X\x10\0\0\0model_state_dict}X\x01\0\0\0w" PLAIN "ss."), 1, 8, 8, 0, "F32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_catalog catalog;
        expect_ok(list_pickle(&catalog, cases[i].bytes, cases[i].length));
        assert_int_equal(catalog.tensor_count, 1);
        const ds_tensor *tensor = &catalog.tensors[0];
        assert_string_equal(tensor->name, "w");
        assert_string_equal(tensor->record, "data/0");
        assert_string_equal(tensor->dtype_name, cases[i].dtype);
        assert_int_equal(tensor->rank, cases[i].rank);
        assert_int_equal(tensor->count, cases[i].count);
        assert_int_equal(tensor->extent, cases[i].extent);
        size_t size = sizeof storage / (strcmp(cases[i].dtype, "F32") == 0 ? 8 : strcmp(cases[i].dtype, "BF16") == 0 ? 16 : 4);
        uint64_t begin = 0;
        for (size_t k = 0; k < catalog.record_count; k++) {
            if (strcmp(catalog.records[k].name, "data/0") == 0) begin = catalog.records[k].offset;
        }
        assert_int_equal(tensor->offset, begin + cases[i].offset * size);
        ds_catalog_release(&catalog);
    }
}

static void refuses_illegal_tensors(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
        {P(STATE(TENSOR(FLOATS, "\0", "K\x09", "K\x01"))), "w lies outside its storage data/0"},
        {P(STATE(TENSOR(FLOATS, "\x01", "K\x08", "K\x01"))), "outside its storage"},
        {P(STATE(TENSOR(FLOATS, "\0", "K\x02", "K\x08"))), "outside its storage"},
        {P(STATE(TENSOR(FLOATS, "\x09", "K\0", "K\x01"))), "outside its storage"},
        {P(STATE(TENSOR(FLOATS, "\0", "\x8a\x08\0\0\0\0\0\0\0\x40K\x04", "K\0K\0"))), "outside its storage"},
        {P(STATE(TENSOR(FLOATS, "\0", "K\x03", "\x8a\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"))), "outside its storage"},
        {P(STATE(TENSOR(FLOATS, "\0", "J\xFF\xFF\xFF\xFF", "K\x01"))), "negative size -1"},
        {P(STATE(TENSOR(FLOATS, "\0", "K\x08", "J\xFF\xFF\xFF\xFF"))), "negative stride -1"},
        {P(STATE(TENSOR(FLOATS, "\0", "K\x08", "K\x01K\x01"))), "1 sizes but 2 strides"},
        {P(STATE(TENSOR(FLOATS, "\0", "\x88", "K\x01"))), "item 0 is a bool, expected an int"},
        {P(STATE(TENSOR(FLOATS, "\0", "K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01",
                        "K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01"))),
         "9 dimensions"},
        {P(STATE(TENSOR("N", "\0", "K\x08", "K\x01"))), "bad storage argument: None"},
        {P(STATE(TENSOR(STORAGE("torch\nFloat", "\x09"), "\0", "K\x08", "K\x01"))), "storage size of data/0"},
        {P(STATE(TENSOR(STORAGE("torch\nDouble", "\x08"), "\0", "K\x08", "K\x01"))), "storage size of data/0"},
        {P(STATE(TENSOR(STORAGE("torch.storage\nUntyped", "\x20"), "\0", "K\x08", "K\x01"))), "bad storage type"},
        {P(STATE("ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS "tR")), "bad _rebuild_tensor_v2 arguments"},
        {P(STATE("ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS "K\0K\x08\x85K\x01\x85\x89K\x01tR")), "bad backward hooks"},
        {P(STATE("ctorch._utils\n_rebuild_tensor_v3\n(" FLOATS "K\0K\x08\x85K\x01\x85" HOOKS "ctorch\nfloat32\ntR")),
         "bad storage type"},
        {P(STATE("ctorch._utils\n_rebuild_parameter\n(K\x01" HOOKS "tR")), "bad _rebuild_parameter arguments"},
        {P(STATE("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\n)}tR")),
         "bad _rebuild_from_type_v2 arguments"},
        {P(STATE("ctorch._tensor\n_rebuild_from_type_v2\n(c_codecs\nencode\nctorch\nTensor\n)}tR")),
         "bad _rebuild_from_type_v2 arguments"},
        {P(STATE("K\x01Q")), "bad persistent id: an int"},
        {P(STATE("(NNNNNtQ")), "does not begin with 'storage'"},
        {P(STATE(STORAGE("torch\nBit", "\x08"))), "global torch.BitStorage is not allowed"},
        {P(STATE("(X\x07\0\0\0storagectorch\nfloat32\nX\x01\0\0\0"
                 "0X\x03\0\0\0cpuK\x08tQ")),
         "bad storage type: float32"},
        {P(STATE("(X\x07\0\0\0storagectorch\nFloatStorage\nX\x03\0\0\0../X\x03\0\0\0cpuK\x08tQ")), "bad storage key \"../\""},
        {P(STATE("(X\x07\0\0\0storagectorch\nFloatStorage\nX\0\0\0\0X\x03\0\0\0cpuK\x08tQ")), "bad storage key"},
        {P(STATE("(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
                 "0X\x03\0\0\0cpuJ\xFF\xFF\xFF\xFFtQ")),
         "bad storage size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_catalog catalog;
        expect_failure(list_pickle(&catalog, cases[i].bytes, cases[i].length), DS_ERR_INPUT, cases[i].words);
        assert_non_null(strstr(ds_error_text(), "/proc/self/fd/"));
        ds_catalog_release(&catalog);
    }
}

static void refuses_what_is_not_a_state(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
        {P("\x80\x02K\x2A."), "not a state dict but an int"},
        {P("\x80\x02" PLAIN "."), "not a state dict but a tensor"},
        {P("\x80\x02}."), "no 'model' entry"},
        {P("\x80\x02}X\x05\0\0\0model}s."), "the entry 'model' is not a state dict: it holds no tensors"},
        {P("\x80\x02}q\0X\x05\0\0\0modelh\0s."), "cyclic value"},
        {P("\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0w" PLAIN "sX\x0a\0\0\0state_dict}X\x01\0\0\0w" PLAIN "su."), "ambiguous"},
        {P("\x80\x02}(X\x01\0\0\0w" PLAIN "X\x01\0\0\0xNu."), "x is not a tensor but None"},
        {P("\x80\x02}(X\x01\0\0\0w" PLAIN "K\x01" PLAIN "u."), "not a string but an int"},
        {P("\x80\x02}(X\x01\0\0\0w" PLAIN "X\x01\0\0\0w" PLAIN "u."), "duplicate key \"w\""},
        {P("\x80\x02}(X\x01\0\0\0w" PLAIN "X\x08\0\0\0module.w" PLAIN "u."), "duplicate tensor w"},
        {P("\x80\x02}X\0\0\0\0" PLAIN "s."), "name"},
        {P("\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0w" PLAIN "sX\x03\0\0\0opt" TENSOR(FLOATS, "\x01", "K\x08", "K\x01") "u."),
         "a tensor lies outside its storage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_catalog catalog;
        expect_failure(list_pickle(&catalog, cases[i].bytes, cases[i].length), DS_ERR_INPUT, cases[i].words);
        ds_catalog_release(&catalog);
    }
}

static void refuses_bad_records(void **state) {
    (void)state;
    static const char pickle[] = STATE(PLAIN);
    static const struct {
        archive_entry entry;
        const char *words; /* NULL: it loads */
    } cases[] = {
        {{"archive/version", "3", 1}, NULL},
        {{"archive/.data/version", "10\n", 3}, NULL},
        {{"archive/version", "0\n", 2}, "unsupported version 0"},
        {{"archive/version", "11\n", 3}, "unsupported version 11"},
        {{"archive/version", "99999999999999999999", 20}, "unsupported version"},
        {{"archive/version", "3x", 2}, "bad version \"3x\""},
        {{"archive/version", "\n", 1}, "bad version"},
        {{"archive/version", "", 0}, "bad version"},
        {{"archive/notes", "3", 1}, "missing version"},
    };
    ds_text archive = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const archive_entry entries[] = {
            {"archive/data.pkl", pickle, sizeof pickle - 1}, {"archive/data/0", storage, sizeof storage}, cases[i].entry};
        ds_catalog catalog;
        archive_build(&archive, entries, 3);
        ds_status status = list_file(&catalog, archive_publish(&archive));
        if (cases[i].words == NULL)
            expect_ok(status);
        else
            expect_failure(status, DS_ERR_INPUT, cases[i].words);
        ds_catalog_release(&catalog);
    }
    const archive_entry more[][2] = {{{"archive/byteorder", "little", 6}, {"", NULL, 0}},
                                     {{"archive/byteorder", "big", 3}, {"", "byteorder \"big\" is not supported", 0}},
                                     {{"archive/byteorder", "little\n", 7}, {"", "byteorder", 0}},
                                     {{"archive/constants.pkl", "", 0}, {"", "TorchScript", 0}}};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        const archive_entry entries[] = {{"archive/data.pkl", pickle, sizeof pickle - 1},
                                         {"archive/data/0", storage, sizeof storage},
                                         {"archive/version", "3\n", 2},
                                         more[i][0]};
        ds_catalog catalog;
        archive_build(&archive, entries, 4);
        ds_status status = list_file(&catalog, archive_publish(&archive));
        if (more[i][1].bytes == NULL)
            expect_ok(status);
        else
            expect_failure(status, DS_ERR_INPUT, more[i][1].bytes);
        ds_catalog_release(&catalog);
    }
    ds_text_release(&archive);
}

/* ---- properties -------------------------------------------------------------------------------------------------- */

/* Random sizes and strides: accepted exactly when a walk over all elements stays within the storage; the extent is what the
 * walk reaches. */
static void accepts_what_a_walk_stays_within(void **state) {
    (void)state;
    ds_random random = ds_random_init(71);
    size_t accepted = 0, refused = 0;
    print_message("seed 71\n");
    for (size_t trial = 0; trial < 400; trial++) {
        static const char front[] = "\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" FLOATS "K";
        static const char back[] = HOOKS "tRs.";
        ds_text pickle = {0};
        size_t rank = (size_t)ds_random_below(&random, 4), index[3] = {0}, size[3] = {0}, stride[3] = {0}, most = 0, count = 1;
        size_t offset = (size_t)ds_random_below(&random, 10);
        expect_ok(ds_text_append(&pickle, front, sizeof front - 1));
        char byte = (char)offset;
        expect_ok(ds_text_append(&pickle, &byte, 1));
        for (size_t which = 0; which < 2; which++) {
            expect_ok(ds_text_append(&pickle, "(", 1));
            for (size_t i = 0; i < rank; i++) {
                size_t *values = which == 0 ? size : stride;
                values[i] = (size_t)ds_random_below(&random, 4);
                const char item[2] = {'K', (char)values[i]};
                expect_ok(ds_text_append(&pickle, item, 2));
            }
            expect_ok(ds_text_append(&pickle, "t", 1));
        }
        expect_ok(ds_text_append(&pickle, back, sizeof back - 1));
        for (size_t i = 0; i < rank; i++) count *= size[i];
        for (size_t n = 0; n < count; n++) {
            size_t at = 0;
            for (size_t i = 0; i < rank; i++) at += index[i] * stride[i];
            most = at + 1 > most ? at + 1 : most;
            for (size_t i = rank; i > 0; i--) {
                if (++index[i - 1] < size[i - 1]) break;
                index[i - 1] = 0;
            }
        }
        ds_catalog catalog;
        ds_status status = list_pickle(&catalog, pickle.bytes, pickle.length);
        if (offset + most <= 8) {
            expect_ok(status);
            assert_int_equal(catalog.tensors[0].count, count);
            assert_int_equal(catalog.tensors[0].extent, most);
            accepted++;
        } else {
            expect_failure(status, DS_ERR_INPUT, "outside its storage");
            refused++;
        }
        ds_catalog_release(&catalog);
        ds_text_release(&pickle);
    }
    assert_true(accepted > 50);
    assert_true(refused > 50);
}

/* Random bytes in the pickle changed (its checksum is right): refused, or every tensor lies within its record. */
static void never_leaves_the_record(void **state) {
    (void)state;
    static const char good[] =
        "\x80\x02}(X\x05\0\0\0model}(X\x01\0\0\0w" PLAIN
        "X\x01\0\0\0v" TENSOR(FLOATS, "\x02", "K\x02K\x03", "K\x03K\x01") "uX\x03\0\0\0optcargparse\nNamespace\n)\x81}bu.";
    ds_random random = ds_random_init(72);
    size_t accepted = 0;
    print_message("seed 72\n");
    for (size_t trial = 0; trial < 3000; trial++) {
        char bytes[sizeof good - 1];
        ds_catalog catalog;
        memcpy(bytes, good, sizeof bytes);
        for (size_t i = ds_random_below(&random, 3) + 1; i > 0; i--)
            bytes[ds_random_below(&random, sizeof bytes)] = (char)ds_random_below(&random, 256);
        ds_status status = list_pickle(&catalog, bytes, sizeof bytes);
        if (status != DS_OK) assert_int_equal(status, DS_ERR_INPUT);
        for (size_t i = 0; status == DS_OK && i < catalog.tensor_count; i++) {
            const ds_tensor *tensor = &catalog.tensors[i];
            size_t found = 0;
            for (size_t k = 0; k < catalog.record_count; k++) {
                const ds_record *record = &catalog.records[k];
                if (strcmp(record->name, tensor->record) != 0) continue;
                assert_true(tensor->offset >= record->offset && tensor->extent <= record->size);
                assert_true(tensor->offset + tensor->extent * ds_dtype_size(tensor->dtype) <= record->offset + record->size);
                found++;
            }
            assert_int_equal(found, 1);
            accepted++;
        }
        ds_catalog_release(&catalog);
    }
    assert_true(accepted > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_hostile_files),      cmocka_unit_test(reads_the_same_weights_from_every_layout),
        cmocka_unit_test(lists_training_checkpoints), cmocka_unit_test(lists_legal_tensors),
        cmocka_unit_test(refuses_illegal_tensors),    cmocka_unit_test(refuses_what_is_not_a_state),
        cmocka_unit_test(refuses_bad_records),        cmocka_unit_test(accepts_what_a_walk_stays_within),
        cmocka_unit_test(never_leaves_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
