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

/* "module.Name" as GLOBAL has it, or from the stack. */
static void put_global_as(ds_text *text, const char *dotted, bool stacked) {
    const char *dot = strrchr(dotted, '.');
    size_t module = (size_t)(dot - dotted);
    if (!stacked) {
        PUT(text, "c");
        put(text, dotted, module);
        expect_ok(ds_text_printf(text, "\n%s\n", dot + 1));
        return;
    }
    put_string_as(text, dotted, module, true);
    put_string_as(text, dot + 1, strlen(dot + 1), true);
    PUT(text, "\x93");
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

/* Every way in which Python writes an object. */
static void put_object(ds_text *text, size_t depth) {
    char class[128];
    draw_class(class);
    put_global(text, class);
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
    "builtins.getattr",
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
    const char *const names[][2] = {{"", "Name"},   {"a", ""},         {"a..b", "Name"},   {".a", "Name"},  {"a.", "Name"},
                                    {"a", "B.C"},   {"a b", "Name"},   {"a", "1Name"},     {"a-b", "Name"}, {"a", "N\xC3\xA9"},
                                    {"a", longest}, {longest, "Name"}, {"a", "__reduce__"}};
    for (size_t i = 0; i < LENGTH_OF(names); i++)
        assert_false(pickle_name_is_opaque((const uint8_t *)names[i][0], strlen(names[i][0]), (const uint8_t *)names[i][1],
                                           strlen(names[i][1])));
    longest[PICKLE_NAME_LIMIT] = '\0';
    assert_true(pickle_name_is_opaque((const uint8_t *)"a", 1, (const uint8_t *)longest, PICKLE_NAME_LIMIT));
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
        cmocka_unit_test(refuses_malformed_names),       cmocka_unit_test(remembers_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
