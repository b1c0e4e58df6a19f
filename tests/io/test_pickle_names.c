/* What training scripts keep beside the weights, drawn at random: objects of unknown classes load as inert opaques, names made
 * to attack are refused wherever they stand, with the way out. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "io/catalog.h"
#include "io/pickle_machine.h"
#include "support.h"

#define LENGTH_OF(array) (sizeof(array) / sizeof(array)[0])
#define WAY_OUT "torch.save(checkpoint[\"model\"], \"weights.pt\")"

static ds_random draws;

static size_t below(size_t bound) { return (size_t)ds_random_below(&draws, bound); }

static void put(ds_text *text, const char *bytes, size_t length) { expect_ok(ds_text_append(text, bytes, length)); }
#define PUT(text, literal) put((text), (literal), sizeof(literal) - 1)

/* As protocol 2 writes it, or as protocol 4 does. */
static void put_string_as(ds_text *text, const char *string, size_t length, bool later) {
    const uint8_t front[5] = {'X', (uint8_t)length}, later_front[2] = {0x8c, (uint8_t)length};
    if (later)
        put(text, (const char *)later_front, sizeof later_front);
    else
        put(text, (const char *)front, sizeof front);
    put(text, string, length);
}

static void put_string(ds_text *text, const char *string) { put_string_as(text, string, strlen(string), below(2) == 0); }

/* As GLOBAL has it, or from the stack. */
static void put_named(ds_text *text, const char *module, const char *name, bool stacked) {
    if (!stacked) {
        expect_ok(ds_text_printf(text, "c%s\n%s\n", module, name));
        return;
    }
    put_string_as(text, module, strlen(module), true);
    put_string_as(text, name, strlen(name), true);
    PUT(text, "\x93");
}

/* "module.Name" */
static void put_global_as(ds_text *text, const char *dotted, bool stacked) {
    char module[160];
    const char *dot = strrchr(dotted, '.');
    (void)snprintf(module, sizeof module, "%.*s", (int)(dot - dotted), dotted);
    put_named(text, module, dot + 1, stacked);
}

static void put_global(ds_text *text, const char *dotted) { put_global_as(text, dotted, below(2) == 0); }

/* ---- what is drawn ----------------------------------------------------------------------------------------------- */

static const char *const classes[] = {
    "__main__.GPTConfig",
    "__main__._State",
    "model.DDL_gpt.GPTConfig",
    "train.config.types.RunConfig",
    "src.logging.Settings",
    "easydict.EasyDict",
    "addict.addict.Dict",
    "box.box.Box",
    "munch.Munch",
    "yacs.config.CfgNode",
    "ml_collections.config_dict.config_dict.ConfigDict",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.base.ContainerMetadata",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "transformers.training_args.TrainingArguments",
    "transformers.models.gpt2.configuration_gpt2.GPT2Config",
    "torch.optim.lr_scheduler.CosineAnnealingLR",
    "torch.optim.adamw.AdamW",
    "torch.nn.modules.loss.CrossEntropyLoss",
    "torch.distributed.fsdp.api.ShardingStrategy",
    "torch.cuda.amp.grad_scaler.GradScaler",
};

/* A class of a script's own modules; of a digit in the package nobody's. */
static void draw_class(char name[128]) {
    if (below(3) == 0) {
        (void)snprintf(name, 128, "%s", classes[below(LENGTH_OF(classes))]);
        return;
    }
    size_t length = 0;
    for (size_t part = 0, parts = 1 + below(3); part < parts; part++) {
        for (size_t i = 0, letters = 1 + below(8); i < letters; i++) name[length++] = (char)('a' + below(26));
        name[length++] = (char)('0' + below(10));
        name[length++] = '.';
    }
    while (below(3) == 0) name[length++] = '_';
    name[length++] = (char)('A' + below(26));
    for (size_t i = 0, letters = below(10); i < letters; i++)
        name[length++] = below(4) == 0 ? (char)('0' + below(10)) : (char)('a' + below(26));
    if (length >= 2 && name[length - 1] == '_') length--;
    name[length] = '\0';
    if (strstr(name, ".__") != NULL) draw_class(name); /* two underscores in front are not a class's own choice */
}

static void put_value(ds_text *text, size_t depth);

static void put_items(ds_text *text, size_t depth) {
    PUT(text, "(");
    for (size_t i = 0, count = 1 + below(3); i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key_%zu", i);
        put_string(text, key);
        put_value(text, depth);
    }
    PUT(text, "u");
}

/* Ends what put_getattr and an object began. */
static void put_member(ds_text *text, const char *name) {
    put_string(text, name);
    PUT(text, "\x86R");
}

static void put_getattr(ds_text *text) { put_global(text, below(2) == 0 ? "builtins.getattr" : "__builtin__.getattr"); }

/* A class of a module, or a class in one: as protocol 4 writes it, and as protocol 2 does. */
static void put_class(ds_text *text) {
    char class[128], inner[160], module[128];
    size_t depth = below(3), spelling = below(3);
    draw_class(class);
    const char *dot = strrchr(class, '.');
    (void)snprintf(module, sizeof module, "%.*s", (int)(dot - class), class);
    (void)snprintf(inner, sizeof inner, "%s%s", dot + 1, depth == 0 ? "" : depth == 1 ? ".Inner" : ".Inner._Deepest");
    if (spelling > 0) {
        put_named(text, module, inner, spelling == 1);
        return;
    }
    for (size_t i = 0; i < depth; i++) put_getattr(text);
    put_global(text, class);
    if (depth > 0) put_member(text, "Inner");
    if (depth > 1) put_member(text, "_Deepest");
}

/* Every way in which Python writes an object. */
static void put_object(ds_text *text, size_t depth) {
    put_class(text);
    switch (below(8)) {
    case 0: /* a class itself */
        break;
    case 1: /* a member of an enumeration, a path, a named value */
        put_value(text, depth);
        PUT(text, "\x85R");
        break;
    case 2: /* a dataclass, a namespace */
        PUT(text, ")\x81}");
        put_items(text, depth);
        PUT(text, "b");
        break;
    case 3: /* a dict of a class of its own, with attributes */
        PUT(text, ")\x81");
        put_items(text, depth);
        PUT(text, "}");
        put_items(text, depth);
        PUT(text, "b");
        break;
    case 4: /* a list of a class of its own */
        PUT(text, ")\x81(");
        put_value(text, depth);
        put_value(text, depth);
        PUT(text, "e");
        break;
    case 5: /* slots */
        PUT(text, ")\x81N}");
        put_items(text, depth);
        PUT(text, "\x86"
                  "b");
        break;
    case 6: /* with keywords */
        PUT(text, ")}");
        put_items(text, depth);
        PUT(text, "\x92");
        break;
    default: /* a named tuple */
        put_value(text, depth);
        put_value(text, depth);
        PUT(text, "\x86\x81");
        break;
    }
}

#define ENCODED "c_codecs\nencode\nX\x04\0\0\0\0\0\xC2\x80X\x06\0\0\0latin1\x86R"
#define DTYPE "cnumpy\ndtype\nX\x02\0\0\0f4\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xFF\xFF\xFF\xFFJ\xFF\xFF\xFF\xFFK\0tb"
#define NUMBER "cnumpy.core.multiarray\nscalar\n" DTYPE ENCODED "\x86R"
#define ARRAY                                                                                                                  \
    "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" ENCODED "\x87R(K\x01K\x01\x85" DTYPE "\x89" ENCODED "tb"
#define GENERATOR                                                                                                              \
    "cnumpy.random._pickle\n__generator_ctor\ncnumpy.random._pickle\n__bit_generator_ctor\nX\x05\0\0\0PCG64\x85R}X\x05\0\0"    \
    "\0stateNsb\x85R"

static void put_value(ds_text *text, size_t depth) {
    static const char scalars[][3] = {"N", "K\x07", "\x88", "]", "}"};
    switch (depth == 0 ? 0 : below(8)) {
    case 0:
    case 1: {
        const char *scalar = scalars[below(LENGTH_OF(scalars))];
        put(text, scalar, strlen(scalar));
        break;
    }
    case 2:
        PUT(text, NUMBER);
        break;
    case 3:
        PUT(text, ARRAY);
        break;
    case 4:
        PUT(text, GENERATOR);
        break;
    case 5: /* a member of an enumeration, a function in a class, a bound method */
        put_getattr(text);
        put_object(text, depth - 1);
        put_member(text, below(2) == 0 ? "RED" : "_step");
        break;
    default:
        put_object(text, depth - 1);
        break;
    }
}

/* ---- checkpoints with it ----------------------------------------------------------------------------------------- */

#define TENSOR                                                                                                                 \
    "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"                                 \
    "0X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89"
#define HOOKS "ccollections\nOrderedDict\n)R"

static ds_status list_pickle(ds_catalog *catalog, const ds_text *pickle) {
    static const float storage[2] = {0.375f, -2.5f};
    ds_text archive = {0};
    archive_build_torch(&archive, pickle->bytes, pickle->length, storage, sizeof storage);
    *catalog = (ds_catalog){0};
    ds_status status = ds_catalog_open_file(catalog, archive_publish(&archive));
    if (status == DS_OK) status = ds_torch_list(catalog, &catalog->files[0].source, 0);
    ds_text_release(&archive);
    return status;
}

static void loads_opaques_drawn_at_random(void **state) {
    (void)state;
    draws = ds_random_init(81);
    print_message("seed 81\n");
    for (size_t trial = 0; trial < 600; trial++) {
        ds_text pickle = {0};
        ds_catalog catalog;
        PUT(&pickle, "\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0w" TENSOR HOOKS "tRs");
        for (size_t i = 0, count = 1 + below(4); i < count; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "beside_%zu", i);
            put_string(&pickle, key);
            put_value(&pickle, 3);
        }
        PUT(&pickle, "u.");
        expect_ok(list_pickle(&catalog, &pickle));
        assert_int_equal(catalog.tensor_count, 1);
        assert_string_equal(catalog.tensors[0].record, "data/0");
        ds_catalog_release(&catalog);
        ds_text_release(&pickle);
    }
}

static void refuses_opaques_in_place_of_tensors(void **state) {
    (void)state;
    draws = ds_random_init(82);
    print_message("seed 82\n");
    for (size_t trial = 0; trial < 200; trial++) {
        ds_text pickle = {0};
        ds_catalog catalog;
        PUT(&pickle, "\x80\x02}(X\x01\0\0\0v" TENSOR HOOKS "tRX\x01\0\0\0w");
        put_object(&pickle, 2);
        PUT(&pickle, "u.");
        expect_failure(list_pickle(&catalog, &pickle), DS_ERR_INPUT, "w is not a tensor but ");
        ds_catalog_release(&catalog);
        ds_text_release(&pickle);
    }
}

/* Names of the hostile samples and of published attacks on readers of pickles, and kin of them. */
static const char *const dangerous[] = {
    "posix.system",
    "nt.system",
    "os.system",
    "os.popen",
    "subprocess.Popen",
    "subprocess.getoutput",
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr", /* alone, and of anything but a class of no table */
    "builtins.__import__",
    "builtins.open",
    "builtins.compile",
    "__builtin__.eval",
    "__builtin__.apply",
    "sys.exit",
    "runpy._run_code",
    "importlib.import_module",
    "pty.spawn",
    "shutil.rmtree",
    "socket.create_connection",
    "urllib.request.urlopen",
    "webbrowser.open",
    "pickle.loads",
    "_pickle.loads",
    "marshal.loads",
    "types.CodeType",
    "types.FunctionType",
    "functools.partial",
    "operator.attrgetter",
    "_operator.methodcaller",
    "ctypes.CDLL",
    "code.InteractiveInterpreter",
    "pdb.Pdb",
    "timeit.Timer",
    "cProfile.run",
    "asyncio.unix_events._UnixSubprocessTransport._start",
    "multiprocessing.util.spawnv_passfds",
    "logging.config._resolve",
    "copyreg.__newobj__",
    "commands.getoutput",
    "six.moves.builtins.eval",
    "pip._internal.main",
    "pip.main",
    "setuptools._distutils.spawn.spawn",
    "numpy.testing._private.utils.runstring",
    "numpy.load",
    "numpy.f2py.crackfortran.myeval",
    "torch.load",
    "torch.hub.load",
    "torch.storage._load_from_bytes",
    "torch.utils.collect_env.run",
    "torch.utils.bottleneck.__main__.run_cprofile",
    "torch.jit.unsupported_tensor_ops.execWrapper",
    "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression",
    "torch.nn.functional.relu",
    "torch.serialization.Unpickler",
    "joblib.Parallel",
    "dill._dill._create_function",
    "cloudpickle.cloudpickle._builtin_type",
    "project.vendored.os.system",
    "project.subprocess.Popen",
    "project.tools.eval",
    "project.__main__.Config",
    "__main__.__loader__",
    "__main__.__builtins__",
};

/* Standing anywhere: as a value, among a tensor's hooks, as the class of a storage, constructed, called, in an attribute. */
static void refuses_names_made_to_attack(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH_OF(dangerous); i++) {
        for (size_t form = 0; form < 12; form++) {
            size_t place = form / 2;
            bool stacked = form % 2 == 1;
            ds_text pickle = {0};
            ds_catalog catalog;
            char words[160];
            (void)snprintf(words, sizeof words, "global %s is not allowed; ", dangerous[i]);
            PUT(&pickle, "\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0w");
            if (place == 5) {
                PUT(&pickle, "(X\x07\0\0\0storage");
                put_global_as(&pickle, dangerous[i], stacked);
                PUT(&pickle, "X\x01\0\0\0"
                             "0X\x03\0\0\0cpuK\x02tQ");
            }
            PUT(&pickle, TENSOR);
            if (place == 4) put_global_as(&pickle, dangerous[i], stacked);
            PUT(&pickle, HOOKS "tRsX\x06\0\0\0config");
            if (place == 3) PUT(&pickle, "c__main__\nConfig\n)\x81}X\x01\0\0\0x");
            put_global_as(&pickle, dangerous[i], stacked);
            if (place == 1) PUT(&pickle, "X\x02\0\0\0id\x85R");
            if (place == 2) PUT(&pickle, ")\x81");
            if (place == 3) PUT(&pickle, "sb");
            PUT(&pickle, "u.");
            expect_failure(list_pickle(&catalog, &pickle), DS_ERR_INPUT, words);
            assert_non_null(strstr(ds_error_text(), WAY_OUT));
            ds_catalog_release(&catalog);
            ds_text_release(&pickle);
        }
    }
}

/* A function of an unknown module may be mentioned, as one that a configuration names, but not called. */
static void refuses_calls_of_unknown_functions(void **state) {
    (void)state;
    static const char *const functions[] = {"project.tools.make", "__main__.get_config", "hydra.utils.instantiate", "a._b"};
    for (size_t i = 0; i < LENGTH_OF(functions); i++) {
        for (size_t called = 0; called < 2; called++) {
            ds_text pickle = {0};
            ds_catalog catalog;
            char words[96];
            PUT(&pickle, "\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0w" TENSOR HOOKS "tRsX\x01\0\0\0x");
            put_global(&pickle, functions[i]);
            if (called) PUT(&pickle, ")R");
            PUT(&pickle, "u.");
            (void)snprintf(words, sizeof words, "a call of the function %s is not allowed; ", functions[i]);
            if (called)
                expect_failure(list_pickle(&catalog, &pickle), DS_ERR_INPUT, words);
            else
                expect_ok(list_pickle(&catalog, &pickle));
            ds_catalog_release(&catalog);
            ds_text_release(&pickle);
        }
    }
}

/* Names that no Python source could define: refused whatever they would be. */
static void refuses_malformed_names(void **state) {
    (void)state;
    char longest[PICKLE_NAME_LIMIT + 2];
    memset(longest, 'A', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const names[][2] = {{"", "Name"},
                                    {"a", ""},
                                    {"a..b", "Name"},
                                    {".a", "Name"},
                                    {"a.", "Name"},
                                    {"a", "b.C"},
                                    {"a b", "Name"},
                                    {"a", "1Name"},
                                    {"a-b", "Name"},
                                    {"a", "N\xC3\xA9"},
                                    {"a", longest},
                                    {longest, "Name"},
                                    {"a", "__reduce__"},
                                    {"a", "B..C"},
                                    {"a", ".B"},
                                    {"a", "B."},
                                    {"a", "B.__init__"},
                                    {"a", "B.system"},
                                    {"a", "os.Popen"},
                                    {"a", "_os.B"},
                                    {"collections", "OrderedDict.fromkeys"},
                                    {"torch.optim", "_step.B"}};
    for (size_t i = 0; i < LENGTH_OF(names); i++)
        assert_false(pickle_name_is_opaque((const uint8_t *)names[i][0], strlen(names[i][0]), (const uint8_t *)names[i][1],
                                           strlen(names[i][1])));
    longest[PICKLE_NAME_LIMIT] = '\0';
    assert_true(pickle_name_is_opaque((const uint8_t *)"a", 1, (const uint8_t *)longest, PICKLE_NAME_LIMIT));
}

/* Of getattr nothing but the one call that Python writes is read: not of what could be a module or function, not of names that
 * lead to code, not of what a table knows, and its result is a class only by its name. */
static void refuses_other_uses_of_getattr(void **state) {
    (void)state;
#define GETATTR "cbuiltins\ngetattr\n"
#define CLASS "c__main__\nC\n"
    static const char function[] = "a call of the function __main__.C.run is not allowed; ", *const use =
                                                                                                 "global builtins.getattr";
    static const struct {
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
#define CASE(bytes, words) {bytes, sizeof(bytes) - 1, words}
        CASE(GETATTR "c__main__\nos\nX\x06\0\0\0system\x86R", use),
        CASE(GETATTR "c__main__\nos\nX\x01\0\0\0x\x86R", use),
        CASE(GETATTR CLASS "X\x06\0\0\0system\x86R", "global __main__.C.system is not allowed; "),
        CASE(GETATTR CLASS "X\x08\0\0\0__init__\x86R", "global __main__.C.__init__ is not allowed; "),
        CASE(GETATTR CLASS "X\x06\0\0\0os.Pop\x86R", "global __main__.C.os.Pop is not allowed; "),
        CASE(GETATTR "ccollections\nOrderedDict\nX\x08\0\0\0fromkeys\x86R", use),
        CASE(GETATTR "cbuiltins\nint\nX\x01\0\0\0x\x86R", use),
        CASE(GETATTR GETATTR "X\x01\0\0\0x\x86R", use),
        CASE(GETATTR CLASS GETATTR "\x86R", use),
        CASE(GETATTR CLASS "K\x07\x86R", use),
        CASE(GETATTR CLASS "X\x01\0\0\0xN\x87R", use),
        CASE(GETATTR CLASS "\x85R", use),
        CASE(GETATTR ")R", use),
        CASE(GETATTR "X\x01\0\0\0xX\x01\0\0\0y\x86R", use),
        CASE(GETATTR "}X\x01\0\0\0x\x86R", use),
        CASE(GETATTR "q\x07h\x07\x86", use),
        CASE(CLASS ")\x81(" GETATTR "e", use),
        CASE(CLASS ")\x81" GETATTR "a", use),
        CASE(CLASS ")\x81(X\x01\0\0\0k" GETATTR "u", use),
        CASE(CLASS ")\x81" GETATTR "b", use),
        CASE(CLASS GETATTR "\x81", use),
        CASE(GETATTR "}b", use),
        CASE("](" GETATTR "e", use),
        CASE("(" GETATTR "l", "LIST"),
        CASE("\x8f(" GETATTR "\x90", use),
        CASE(GETATTR "Q", use),
        CASE(GETATTR CLASS "X\x03\0\0\0run\x86R)R", function),
        CASE(GETATTR CLASS ")\x81X\x03\0\0\0run\x86R)R", function),
        CASE(GETATTR GETATTR CLASS "X\x03\0\0\0run\x86RX\x01\0\0\0y\x86R", use),
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        ds_text pickle = {0};
        ds_catalog catalog;
        PUT(&pickle, "\x80\x02}(X\x05\0\0\0model}X\x01\0\0\0w" TENSOR HOOKS "tRsX\x01\0\0\0x");
        put(&pickle, cases[i].bytes, cases[i].length);
        PUT(&pickle, "u.");
        expect_failure(list_pickle(&catalog, &pickle), DS_ERR_INPUT, cases[i].words);
        assert_non_null(strstr(ds_error_text(), WAY_OUT));
        ds_catalog_release(&catalog);
        ds_text_release(&pickle);
    }
}

/* A name that a memo repeats costs memory each time it is made a class again: a bound of its own. */
static void bounds_what_names_take(void **state) {
    (void)state;
    ds_text pickle = {0};
    ds_pickle *parsed = NULL;
    char name[PICKLE_NAME_LIMIT];
    memset(name, 'A', sizeof name);
    PUT(&pickle, "\x80\x04(");
    put_string_as(&pickle, name, sizeof name, true);
    PUT(&pickle, "q\0");
    for (size_t i = 0; i < PICKLE_NAMES_LIMIT / (2 * sizeof name) + 1; i++) PUT(&pickle, "h\0h\0\x93");
    PUT(&pickle, "t.");
    expect_failure(ds_pickle_parse(&parsed, pickle.bytes, pickle.length, DS_PICKLE_TORCH, "test.pkl"), DS_ERR_INPUT,
                   "names of classes of more than 16777216 bytes");
    ds_text_release(&pickle);
}

/* Attributes can be read, by the name Python gave them. */
static void remembers_attributes(void **state) {
    (void)state;
    static const char bytes[] =
        "\x80\x02"
        "c__main__\nConfig\n)\x81}(X\x05\0\0\0widthK\x20X\x04\0\0\0rateG?\xE0\0\0\0\0\0\0X\x02\0\0\0on\x88ub.";
    ds_pickle *pickle;
    ds_value attributes, found;
    int64_t width = 0;
    double rate = 0;
    bool on = false;
    expect_ok(ds_pickle_parse(&pickle, bytes, sizeof bytes - 1, DS_PICKLE_TORCH, "test.pkl"));
    ds_value root = ds_pickle_root(pickle);
    assert_int_equal(ds_value_kind_of(pickle, root), DS_VALUE_OBJECT);
    assert_string_equal(ds_value_describe(pickle, root), "__main__.Config");
    assert_true(ds_value_attributes(&attributes, pickle, root));
    assert_true(ds_value_find(&found, pickle, attributes, "width") && ds_value_int(&width, pickle, found));
    assert_int_equal(width, 32);
    assert_false(ds_value_real(&rate, pickle, found) || ds_value_bool(&on, pickle, found));
    assert_true(ds_value_find(&found, pickle, attributes, "rate") && ds_value_real(&rate, pickle, found));
    expect_close(rate, 0.5, 0.0);
    assert_true(ds_value_find(&found, pickle, attributes, "on") && ds_value_bool(&on, pickle, found));
    assert_true(on);
    assert_false(ds_value_attributes(&attributes, pickle, found));
    ds_pickle_free(&pickle);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_opaques_drawn_at_random), cmocka_unit_test(refuses_opaques_in_place_of_tensors),
        cmocka_unit_test(refuses_names_made_to_attack),  cmocka_unit_test(refuses_calls_of_unknown_functions),
        cmocka_unit_test(refuses_malformed_names),       cmocka_unit_test(refuses_other_uses_of_getattr),
        cmocka_unit_test(bounds_what_names_take),        cmocka_unit_test(remembers_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
