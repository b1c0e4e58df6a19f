/* Pickles assembled byte by byte: each rule of the restricted machine, kept and broken. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/pickle_machine.h"

#define P(text) (text), sizeof(text) - 1

static ds_pickle *parse(const char *bytes, size_t length, ds_pickle_names names) {
    ds_pickle *pickle;
    ds_status status = ds_pickle_parse(&pickle, bytes, length, names, "test.pkl");
    if (status != DS_OK) print_error("%s\n", ds_error_text());
    assert_int_equal(status, DS_OK);
    return pickle;
}

/* The sentence must begin with the file and hold `meaning`. */
static void refuse_as(const char *bytes, size_t length, ds_pickle_names names, const char *meaning) {
    ds_pickle *pickle;
    ds_error_clear();
    ds_status status = ds_pickle_parse(&pickle, bytes, length, names, "test.pkl");
    assert_int_equal(status, DS_ERR_INPUT);
    assert_null(pickle);
    if (strncmp(ds_error_text(), "test.pkl: ", 10) != 0 || strstr(ds_error_text(), meaning) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", ds_error_text(), meaning);
}

static void refuse(const char *bytes, size_t length, const char *meaning) {
    refuse_as(bytes, length, DS_PICKLE_TORCH, meaning);
}

static int64_t int_of(const ds_pickle *pickle, ds_value value) {
    int64_t integer = -999;
    assert_true(ds_value_int(&integer, pickle, value));
    return integer;
}

/* What nanoGPT writes: {'vocab_size': 2, 'stoi': {'\n': 0, 'é': 1}, 'itos': {0: '\n', 1: 'é'}}, protocol 4. */
static const char meta[] = "\x80\x04\x95\x38\0\0\0\0\0\0\0}\x94(\x8c\x0avocab_size\x94K\x02\x8c\x04stoi\x94}\x94("
                           "\x8c\x01\n\x94K\0\x8c\x02\xC3\xA9\x94K\x01u\x8c\x04itos\x94}\x94(K\0h\x04K\x01h\x05uu.";

static void reads_a_tokenizer(void **state) {
    (void)state;
    ds_pickle *pickle = parse(P(meta), DS_PICKLE_PLAIN);
    ds_value root = ds_pickle_root(pickle), found, letter;
    assert_int_equal(ds_value_kind_of(pickle, root), DS_VALUE_DICT);
    assert_int_equal(ds_value_count(pickle, root), 3);
    assert_true(ds_value_find(&found, pickle, root, "vocab_size"));
    assert_int_equal(int_of(pickle, found), 2);
    assert_false(ds_value_find(&found, pickle, root, "vocab"));
    assert_true(ds_value_find(&found, pickle, root, "itos"));
    assert_int_equal(ds_value_count(pickle, found), 2);
    assert_int_equal(int_of(pickle, ds_value_key(pickle, found, 1)), 1);
    letter = ds_value_at(pickle, found, 1);
    const char *text;
    size_t length;
    assert_true(ds_value_string(&text, &length, pickle, letter));
    assert_int_equal(length, 2);
    assert_memory_equal(text, "\xC3\xA9", 2);
    assert_true(ds_value_find(&found, pickle, root, "stoi"));
    assert_int_equal(ds_value_key(pickle, found, 1), letter); /* shared through the memo, not copied */
    ds_pickle_free(&pickle);
    assert_null(pickle);
    ds_pickle_free(&pickle);
}

/* Every prefix of a good pickle is refused, none is read past its end (the sanitizers watch). */
static void refuses_every_prefix(void **state) {
    (void)state;
    for (size_t length = 0; length + 1 < sizeof meta; length++) {
        char *copy = malloc(length == 0 ? 1 : length);
        assert_non_null(copy);
        memcpy(copy, meta, length);
        refuse_as(copy, length, DS_PICKLE_PLAIN, length > 2 && length < 11 ? "truncated" : "");
        free(copy);
    }
}

static void reads_integers(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        int64_t value;
    } cases[] = {
        {P("\x80\x02K\xFF."), 255},
        {P("\x80\x02M\x34\x12."), 0x1234},
        {P("\x80\x02J\xFE\xFF\xFF\xFF."), -2},
        {P("\x80\x02J\xFF\xFF\xFF\x7F."), INT32_MAX},
        {P("\x80\x02\x8a\0."), 0},
        {P("\x80\x02\x8a\x01\xFF."), -1},
        {P("\x80\x02\x8a\x02\xFF\0."), 255},
        {P("\x80\x02\x8a\x08\0\0\0\0\0\0\0\x80."), INT64_MIN},
        {P("\x80\x02\x8b\x03\0\0\0\0\0\x01."), 65536},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_pickle *pickle = parse(cases[i].bytes, cases[i].length, DS_PICKLE_PLAIN);
        assert_int_equal(int_of(pickle, ds_pickle_root(pickle)), cases[i].value);
        ds_pickle_free(&pickle);
    }
    ds_pickle *pickle = parse(P("\x80\x02\x8a\x09\0\0\0\0\0\0\0\x80\0."), DS_PICKLE_PLAIN);
    assert_int_equal(ds_value_kind_of(pickle, ds_pickle_root(pickle)), DS_VALUE_BIG_INT);
    ds_pickle_free(&pickle);
}

/* Two lists grown in turns, one item or several at a time, keep their order. */
static void keeps_order_of_items(void **state) {
    (void)state;
    ds_pickle *pickle = parse(P("\x80\x02(]q\0K\x01"
                                "a]q\x01(K\x09K\x08"
                                "eh\0(K\x02K\x03"
                                "eh\x01K\x07"
                                "ah\0(eh\0K\x04"
                                "at."),
                              DS_PICKLE_PLAIN);
    static const int64_t expected[2][4] = {{1, 2, 3, 4}, {9, 8, 7}};
    for (size_t which = 0; which < 2; which++) {
        ds_value list = ds_value_item(pickle, ds_pickle_root(pickle), which);
        assert_int_equal(ds_value_count(pickle, list), 4 - which);
        for (size_t i = 0; i < 4 - which; i++)
            assert_int_equal(int_of(pickle, ds_value_item(pickle, list, i)), expected[which][i]);
    }
    ds_pickle_free(&pickle);
}

static void holds_cycles_and_sharing(void **state) {
    (void)state;
    ds_pickle *pickle = parse(P("\x80\x02]q\0h\0a."), DS_PICKLE_PLAIN);
    assert_int_equal(ds_value_item(pickle, ds_pickle_root(pickle), 0), ds_pickle_root(pickle));
    ds_pickle_free(&pickle);

    enum { DEPTH = 1 << 20 };
    char *deep = malloc(DEPTH + 4);
    assert_non_null(deep);
    memcpy(deep, "\x80\x02)", 3);
    memset(deep + 3, '\x85', DEPTH);
    deep[DEPTH + 3] = '.';
    pickle = parse(deep, DEPTH + 4, DS_PICKLE_PLAIN);
    size_t depth = 0;
    for (ds_value at = ds_pickle_root(pickle); ds_value_count(pickle, at) == 1; at = ds_value_item(pickle, at, 0)) depth++;
    assert_int_equal(depth, DEPTH);
    ds_pickle_free(&pickle);
    free(deep);
}

static void refuses_broken_programs(void **state) {
    (void)state;
    refuse(P(""), "truncated");
    refuse(P("}."), "protocol 2 to 5");
    refuse(P("cos\nsystem\n."), "not a pickle");
    refuse(P("\x80\x06}."), "protocol 6");
    refuse(P("\x80\x02\x80\x02}."), "PROTO is not the first");
    refuse(P("\x80\x02."), "stack underflow");
    refuse(P("\x80\x02}}."), "stack not empty at STOP: 1");
    refuse(P("\x80\x02}(."), "marks left");
    refuse(P("\x80\x02}.."), "1 bytes after STOP");
    refuse(P("\x80\x02}"), "truncated");
    refuse_as(P("\x80\x04\x95\x03\0\0\0\0\0\0\0}."), DS_PICKLE_PLAIN, "a frame of 3 bytes");
    refuse_as(P("\x80\x04\x95\0\0\0\0\0\0\0\x80}."), DS_PICKLE_PLAIN, "a frame of");
    refuse(P("\x80\x02q\0."), "stack underflow");
    refuse(P("\x80\x02}(q\0."), "stack underflow");
    refuse(P("\x80\x02}r\xFF\xFF\xFF\xFF."), "memo index 4294967295");
    refuse(P("\x80\x02h\x4D."), "memo 77 is not set");
    refuse(P("\x80\x02j\xFF\xFF\xFF\xFF."), "memo 4294967295 is not set");
    refuse(P("\x80\x02t."), "no MARK");
    refuse(P("\x80\x02)\x86."), "stack underflow");
    refuse(P("\x80\x02)()\x86."), "stack underflow");
    refuse(P("\x80\x02K\x01"
             "a."),
           "stack underflow");
    refuse(P("\x80\x02(K\x01"
             "e."),
           "stack underflow");
    refuse(P("\x80\x02}K\x01"
             "a."),
           "items are added to a dict, expected a list");
    refuse(P("\x80\x02](K\x01K\x02u."), "expected a dict");
    refuse(P("\x80\x02}(K\x01u."), "odd number of items, 1");
    refuse(P("\x80\x02}]Ns."), "bad dict key: it is not a string or another scalar but a list");
    refuse(P("\x80\x02X\xFF\xFF\xFF\xFF"
             "ab."),
           "a string of 4294967295 bytes");
    refuse_as(P("\x80\x04\x8d\0\0\0\0\0\0\0\x80"
                "ab."),
              DS_PICKLE_PLAIN, "a string of 9223372036854775808 bytes");
    refuse_as(P("\x80\x04\x8e\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                "ab."),
              DS_PICKLE_PLAIN, "a string of 18446744073709551615 bytes");
    refuse(P("\x80\x02X\x01\0\0\0\xFF."), "not UTF-8");
    refuse_as(P("\x80\x02\x8b\xFF\xFF\xFF\xFF."), DS_PICKLE_PLAIN, "truncated");
    refuse(P("\x80\x02\xFF."), "0xFF is not an opcode");
    refuse(P("\x80\x02}0."), "opcode POP is not supported");
    refuse(P("\x80\x02(X\x01\0\0\0xiposix\nsystem\n."), "opcode INST is not supported");
    refuse(P("\x80\x02\x82\x01."), "opcode EXT1 is not supported");
    refuse(P("\x80\x05\x97."), "opcode NEXT_BUFFER is not supported");
}

/* What protocols 3 to 5 write besides, in a tokenizer and in a checkpoint. */
static void reads_later_opcodes(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        ds_value_kind kind;
        size_t count;
    } cases[] = {
        {P("\x80\x02\x8b\x01\0\0\0\x05."), DS_VALUE_INT, 0},
        {P("\x80\x02\x8c\x01x."), DS_VALUE_STRING, 0},
        {P("\x80\x02\x8d\x01\0\0\0\0\0\0\0x."), DS_VALUE_STRING, 0},
        {P("\x80\x02\x42\x01\0\0\0x."), DS_VALUE_BYTES, 0},
        {P("\x80\x02\x43\x01x."), DS_VALUE_BYTES, 0},
        {P("\x80\x02\x8e\x01\0\0\0\0\0\0\0x."), DS_VALUE_BYTES, 0},
        {P("\x80\x02\x96\x01\0\0\0\0\0\0\0x."), DS_VALUE_BYTES, 0},
        {P("\x80\x02\x8f(K\x01K\x02\x90."), DS_VALUE_SET, 2},
        {P("\x80\x02(K\x01\x91."), DS_VALUE_SET, 1},
        {P("\x80\x02N\x94."), DS_VALUE_NONE, 0},
        {P("\x80\x02]\x94h\0a."), DS_VALUE_LIST, 1},
        {P("\x80\x02\x95\x02\0\0\0\0\0\0\0N."), DS_VALUE_NONE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int names = DS_PICKLE_PLAIN; names <= DS_PICKLE_TORCH; names++) {
            ds_pickle *pickle = parse(cases[i].bytes, cases[i].length, (ds_pickle_names)names);
            assert_int_equal(ds_value_kind_of(pickle, ds_pickle_root(pickle)), cases[i].kind);
            assert_int_equal(ds_value_count(pickle, ds_pickle_root(pickle)), cases[i].count);
            ds_pickle_free(&pickle);
        }
    }
    refuse(P("\x80\x04}(\x90."), "items are added to a dict, expected a set");
    refuse(P("\x80\x04K\x01\x91."), "no MARK");
    refuse(P("\x80\x04\x94."), "stack underflow");
}

/* A name may come from the stack, put together from strings wherever they stand, and a construction may have keywords. */
static void reads_names_and_keywords_of_protocol_4(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *what;
    } cases[] = {
        {P("\x80\x04\x8c\x0b"
           "collections\x8c\x0bOrderedDict\x93)R."),
         "a dict"},
        {P("\x80\x04\x8c\x05torch\x94\x8c\x07"
           "float32\x93."),
         "float32"},
        {P("\x80\x04\x8c\x03"
           "box\x94\x8c\x03"
           "Box\x94\x93)}\x8c\x01kK\x01s\x92}h\0Nsb."),
         "box.Box"},
        {P("\x80\x04\x8c\x08"
           "argparse\x8c\x09Namespace\x93)}\x92."),
         "Namespace"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_pickle *pickle = parse(cases[i].bytes, cases[i].length, DS_PICKLE_TORCH);
        assert_string_equal(ds_value_describe(pickle, ds_pickle_root(pickle)), cases[i].what);
        ds_pickle_free(&pickle);
    }
    refuse(P("\x80\x04\x8c\x02os\x8c\x06system\x93."), "global os.system is not allowed");
    refuse(P("\x80\x04\x8c\x06system\x94\x8c\x05posixh\0\x93\x8c\x02id\x85R."), "global posix.system is not allowed");
    refuse(P("\x80\x04\x8c\x05torch\x8c\x09os.system\x93."), "global torch.os.system is not allowed");
    refuse(P("\x80\x04\x8c\x08__main__\x8c\x09"
             "box.write\x93."),
           "global __main__.box.write is not allowed");
    refuse(P("\x80\x04\x8c\x08__main__\x8c\x09"
             "Box.write\x93)R."),
           "a call of the function __main__.Box.write is not allowed");
    refuse(P("\x80\x04K\x01\x8c\x06system\x93."), "the name of a global is not a str");
    refuse(P("\x80\x04\x8c\x02osK\x01\x93."), "the name of a global is not a str");
    refuse(P("\x80\x04\x8c\x02os\x93."), "stack underflow");
    refuse(P("\x80\x04K\x01)}\x92."), "NEWOBJ_EX constructs an int, expected a class");
    refuse(P("\x80\x04\x8c\x07_codecs\x8c\x06"
             "encode\x93)}\x92."),
           "NEWOBJ_EX constructs encode, expected a class");
    refuse(P("\x80\x04\x8c\x03"
             "box\x8c\x03"
             "Box\x93]}\x92."),
           "NEWOBJ_EX with a list for arguments, expected a tuple");
    refuse(P("\x80\x04\x8c\x03"
             "box\x8c\x03"
             "Box\x93))\x92."),
           "NEWOBJ_EX with a tuple for keyword arguments, expected a dict");
    refuse(P("\x80\x04}}\x92."), "stack underflow");
    refuse(P("\x80\x05\x43\x01x\x98."), "opcode READONLY_BUFFER is not supported");
}

/* `opening`, then `body` so often that `count` of them are one too many for the machine. */
static void refuse_flood(const char *opening, size_t opening_length, const char *body, size_t count, const char *meaning) {
    size_t body_length = strlen(body), length = opening_length + body_length * count + 1;
    char *bytes = malloc(length);
    assert_non_null(bytes);
    memcpy(bytes, opening, opening_length);
    for (size_t i = 0; i < count; i++) memcpy(bytes + opening_length + body_length * i, body, body_length);
    bytes[length - 1] = '.';
    refuse(bytes, length, meaning);
    free(bytes);
}

/* Whatever 64 MiB of pickle ask for, it is refused while the address space of a small machine still has room. */
static void bounds_what_a_pickle_asks_for(void **state) {
    (void)state;
    refuse_flood(P("\x80\x02"), "N", PICKLE_ENTRY_LIMIT + 1, "16777216 values on the stack");
    refuse_flood(P("\x80\x02"), "]", PICKLE_ENTRY_LIMIT, "more than 16777216 values");
    refuse_flood(P("\x80\x02"), "(", PICKLE_ENTRY_LIMIT + 1, "more than 16777216 marks");
    refuse_flood(P("\x80\x02]"), "Na", PICKLE_ENTRY_LIMIT + 1, "more than 16777216 items");
    refuse_flood(P("\x80\x02(X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\0"
                   "0X\x03\0\0\0cpuK\x01tq\x01"),
                 "h\x01Q", PICKLE_TENSOR_LIMIT + 1, "more than 2097152 mentions of storages");
    refuse_flood(P("\x80\x02"
                   "ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\0"
                   "0X\x03\0\0\0cpuK\x01tQK\0))\x89Ntq\x01"),
                 "h\x02h\x01R", PICKLE_TENSOR_LIMIT + 1, "more than 2097152 tensors");
}

static void refuses_duplicate_keys(void **state) {
    (void)state;
    refuse(P("\x80\x02}(X\x01\0\0\0aK\x01X\x01\0\0\0bK\x01X\x01\0\0\0aK\x02u."), "duplicate key \"a\"");
    refuse(P("\x80\x02}K\x07NsJ\x07\0\0\0Ns."), "duplicate key 7");
    ds_pickle *pickle = parse(P("\x80\x02}(X\x01\0\0\0aNX\x02\0\0\0aaNC\x01"
                                "aNK\x01NG?\xF0\0\0\0\0\0\0Nu."),
                              DS_PICKLE_PLAIN);
    assert_int_equal(ds_value_count(pickle, ds_pickle_root(pickle)), 5);
    ds_pickle_free(&pickle);
}

static void refuses_names(void **state) {
    (void)state;
    refuse(P("\x80\x02"
             "cposix\nsystem\n."),
           "global posix.system is not allowed");
    refuse(P("\x80\x02"
             "c__builtin__\neval\n."),
           "global __builtin__.eval is not allowed");
    refuse(P("\x80\x02"
             "cbuiltins\ngetattr\n."),
           "global builtins.getattr is not allowed");
    refuse(P("\x80\x02"
             "ctorch\n_utils._rebuild_tensor_v2\n."),
           "global torch._utils._rebuild_tensor_v2 is not allowed");
    refuse(P("\x80\x02"
             "ctorch\nFloatStorage"),
           "truncated");
    refuse(P("\x80\x02"
             "c\x1b[2J\nx\n."),
           "global \\x1B[2J.x is not allowed");
    refuse_as(P("\x80\x04\x8c\x02os\x8c\x06system\x93."), DS_PICKLE_PLAIN, "global os.system is not allowed");
    refuse_as(P("\x80\x04K\x01\x8c\x06system\x93."), DS_PICKLE_PLAIN, "not a str");
    refuse_as(P("\x80\x02"
                "ccollections\nOrderedDict\n."),
              DS_PICKLE_PLAIN, "global collections.OrderedDict is not allowed");
    refuse_as(P("\x80\x02K\x01Q."), DS_PICKLE_PLAIN, "BINPERSID");
}

static void refuses_calls(void **state) {
    (void)state;
    refuse(P("\x80\x02K\x01)R."), "REDUCE calls an int");
    refuse(P("\x80\x02"
             "ccollections\nOrderedDict\nK\x01R."),
           "REDUCE with an int");
    refuse(P("\x80\x02"
             "ccollections\nOrderedDict\nK\x01\x85R."),
           "bad OrderedDict arguments");
    refuse(P("\x80\x02"
             "ctorch\nfloat32\n)R."),
           "torch.float32 is not a function");
    refuse(P("\x80\x02"
             "ctorch\nFloatStorage\n)\x81."),
           "NEWOBJ constructs");
    refuse(P("\x80\x02"
             "c_codecs\nencode\n)\x81."),
           "NEWOBJ constructs");
    refuse(P("\x80\x02"
             "ctorch._utils\n_rebuild_sparse_tensor\n)R."),
           "_rebuild_sparse_tensor is not supported");
    refuse(P("\x80\x02}}b."), "BUILD is not allowed on a dict");
    refuse(P("\x80\x02"
             "ccollections\nOrderedDict\n)R]b."),
           "BUILD gives a dict a list");
    refuse(P("\x80\x02"
             "ccollections\nOrderedDict\n}b."),
           "BUILD is not allowed on OrderedDict");
}

/* What training scripts keep beside the weights is built and left alone. */
static void holds_inert_objects(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *what;
    } cases[] = {
        {P("\x80\x02"
           "cargparse\nNamespace\n)\x81}X\x02\0\0\0lrG?PbM\xD2\xF1\xA9\xFCsb."),
         "Namespace"},
        {P("\x80\x02"
           "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\0\0\0f8\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xFF\xFF"
           "\xFF\xFFJ\xFF\xFF\xFF\xFFK\0tbc_codecs\nencode\nX\x03\0\0\0abcX\x06\0\0\0latin1\x86R\x86R."),
         "scalar"},
        {P("\x80\x02"
           "cpathlib\nPosixPath\nX\x01\0\0\0/X\x03\0\0\0out\x86R."),
         "PosixPath"},
        {P("\x80\x02"
           "c__builtin__\nset\n](K\x01K\x02"
           "e\x85R."),
         "set"},
        {P("\x80\x02"
           "ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\x01]s."),
         "a dict"},
        {P("\x80\x02"
           "cdatetime\ndate\nX\x04\0\0\0abcd\x85R."),
         "date"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ds_pickle *pickle = parse(cases[i].bytes, cases[i].length, DS_PICKLE_TORCH);
        assert_string_equal(ds_value_describe(pickle, ds_pickle_root(pickle)), cases[i].what);
        ds_pickle_free(&pickle);
    }
}

static void table_is_sorted(void **state) {
    (void)state;
    for (size_t i = 0; i < pickle_global_count; i++) {
        const pickle_global *global = &pickle_globals[i];
        assert_int_equal(pickle_global_find((const uint8_t *)global->module, strlen(global->module),
                                            (const uint8_t *)global->name, strlen(global->name)),
                         i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_tokenizer),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(reads_integers),
        cmocka_unit_test(keeps_order_of_items),
        cmocka_unit_test(holds_cycles_and_sharing),
        cmocka_unit_test(refuses_broken_programs),
        cmocka_unit_test(reads_later_opcodes),
        cmocka_unit_test(reads_names_and_keywords_of_protocol_4),
        cmocka_unit_test(bounds_what_a_pickle_asks_for),
        cmocka_unit_test(refuses_duplicate_keys),
        cmocka_unit_test(refuses_names),
        cmocka_unit_test(refuses_calls),
        cmocka_unit_test(holds_inert_objects),
        cmocka_unit_test(table_is_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
