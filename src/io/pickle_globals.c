/* The names whose meaning is known. None of them is ever imported or called: the rule says what inert value stands for the
 * result. What is not here is an opaque or refused (pickle_names.c), wherever in the pickle it stands. */
#include <string.h>

#include "pickle_machine.h"

static const ds_pickle_dtype f64 = {"F64", DS_DTYPE_F64, 8}, f32 = {"F32", DS_DTYPE_F32, 4}, f16 = {"F16", DS_DTYPE_F16, 2},
                             bf16 = {"BF16", DS_DTYPE_BF16, 2}, i64 = {"I64", DS_DTYPE_OTHER, 8},
                             i32 = {"I32", DS_DTYPE_OTHER, 4}, i16 = {"I16", DS_DTYPE_OTHER, 2}, i8 = {"I8", DS_DTYPE_OTHER, 1},
                             u64 = {"U64", DS_DTYPE_OTHER, 8}, u32 = {"U32", DS_DTYPE_OTHER, 4},
                             u16 = {"U16", DS_DTYPE_OTHER, 2}, u8 = {"U8", DS_DTYPE_OTHER, 1},
                             boolean = {"BOOL", DS_DTYPE_OTHER, 1}, c128 = {"C128", DS_DTYPE_OTHER, 16},
                             c64 = {"C64", DS_DTYPE_OTHER, 8}, c32 = {"C32", DS_DTYPE_OTHER, 4},
                             e4m3 = {"F8_E4M3", DS_DTYPE_OTHER, 1}, e4m3fnuz = {"F8_E4M3FNUZ", DS_DTYPE_OTHER, 1},
                             e5m2 = {"F8_E5M2", DS_DTYPE_OTHER, 1}, e5m2fnuz = {"F8_E5M2FNUZ", DS_DTYPE_OTHER, 1},
                             e8m0 = {"F8_E8M0", DS_DTYPE_OTHER, 1}, qi32 = {"QI32", DS_DTYPE_OTHER, 4},
                             qi8 = {"QI8", DS_DTYPE_OTHER, 1}, qu8 = {"QU8", DS_DTYPE_OTHER, 1},
                             untyped = {"untyped", DS_DTYPE_OTHER, 1};

const pickle_global pickle_globals[] = {
    {"UserDict", "IterableUserDict", RULE_CLASS, NULL},
    {"UserList", "UserList", RULE_CLASS, NULL},
    {"UserString", "UserString", RULE_CLASS, NULL},
    {"_codecs", "encode", RULE_FUNCTION, NULL},
    {"_operator", "getitem", RULE_FUNCTION, NULL}, /* how Python writes typing.Dict[str, int] */
    {"argparse", "Namespace", RULE_CLASS, NULL},
    {"builtins", "Ellipsis", RULE_VALUE, NULL},
    {"builtins", "NotImplemented", RULE_VALUE, NULL},
    {"builtins", "bool", RULE_CLASS, NULL},
    {"builtins", "bytearray", RULE_CLASS, NULL},
    {"builtins", "bytes", RULE_CLASS, NULL},
    {"builtins", "complex", RULE_CLASS, NULL},
    {"builtins", "dict", RULE_CLASS, NULL},
    {"builtins", "float", RULE_CLASS, NULL},
    {"builtins", "frozenset", RULE_CLASS, NULL},
    {"builtins", "getattr", RULE_MEMBER, NULL}, /* how Python writes Colour.RED and Outer.Inner */
    {"builtins", "int", RULE_CLASS, NULL},
    {"builtins", "list", RULE_CLASS, NULL},
    {"builtins", "long", RULE_CLASS, NULL},
    {"builtins", "object", RULE_VALUE, NULL},
    {"builtins", "range", RULE_CLASS, NULL},
    {"builtins", "set", RULE_CLASS, NULL},
    {"builtins", "slice", RULE_CLASS, NULL},
    {"builtins", "str", RULE_CLASS, NULL},
    {"builtins", "tuple", RULE_CLASS, NULL},
    {"builtins", "type", RULE_FUNCTION, NULL}, /* how Python writes the class of None */
    {"builtins", "unicode", RULE_CLASS, NULL},
    {"builtins", "xrange", RULE_CLASS, NULL},
    {"collections", "ChainMap", RULE_CLASS, NULL},
    {"collections", "Counter", RULE_CLASS, NULL},
    {"collections", "OrderedDict", RULE_DICT, NULL},
    {"collections", "UserDict", RULE_CLASS, NULL},
    {"collections", "UserList", RULE_CLASS, NULL},
    {"collections", "defaultdict", RULE_DICT, NULL},
    {"collections", "deque", RULE_LIST, NULL},
    {"copyreg", "_reconstructor", RULE_MAKER, NULL},
    {"datetime", "date", RULE_CLASS, NULL},
    {"datetime", "datetime", RULE_CLASS, NULL},
    {"datetime", "time", RULE_CLASS, NULL},
    {"datetime", "timedelta", RULE_CLASS, NULL},
    {"datetime", "timezone", RULE_CLASS, NULL},
    {"decimal", "Decimal", RULE_CLASS, NULL},
    {"fractions", "Fraction", RULE_CLASS, NULL},
    {"numpy", "bool", RULE_CLASS, NULL},
    {"numpy", "bool_", RULE_CLASS, NULL},
    {"numpy", "bytes_", RULE_CLASS, NULL},
    {"numpy", "clongdouble", RULE_CLASS, NULL},
    {"numpy", "complex128", RULE_CLASS, NULL},
    {"numpy", "complex64", RULE_CLASS, NULL},
    {"numpy", "datetime64", RULE_CLASS, NULL},
    {"numpy", "dtype", RULE_CLASS, NULL},
    {"numpy", "float16", RULE_CLASS, NULL},
    {"numpy", "float32", RULE_CLASS, NULL},
    {"numpy", "float64", RULE_CLASS, NULL},
    {"numpy", "int16", RULE_CLASS, NULL},
    {"numpy", "int32", RULE_CLASS, NULL},
    {"numpy", "int64", RULE_CLASS, NULL},
    {"numpy", "int8", RULE_CLASS, NULL},
    {"numpy", "longdouble", RULE_CLASS, NULL},
    {"numpy", "longlong", RULE_CLASS, NULL},
    {"numpy", "matrix", RULE_CLASS, NULL},
    {"numpy", "ndarray", RULE_CLASS, NULL},
    {"numpy", "object_", RULE_CLASS, NULL},
    {"numpy", "str_", RULE_CLASS, NULL},
    {"numpy", "timedelta64", RULE_CLASS, NULL},
    {"numpy", "uint16", RULE_CLASS, NULL},
    {"numpy", "uint32", RULE_CLASS, NULL},
    {"numpy", "uint64", RULE_CLASS, NULL},
    {"numpy", "uint8", RULE_CLASS, NULL},
    {"numpy", "ulonglong", RULE_CLASS, NULL},
    {"numpy", "void", RULE_CLASS, NULL},
    {"numpy.core.multiarray", "_reconstruct", RULE_MAKER, NULL},
    {"numpy.core.multiarray", "scalar", RULE_FUNCTION, NULL},
    {"numpy.core.numeric", "_frombuffer", RULE_FUNCTION, NULL},
    {"numpy.ma.core", "MaskedArray", RULE_CLASS, NULL},
    {"numpy.ma.core", "_mareconstruct", RULE_MAKER, NULL},
    {"numpy.random._generator", "Generator", RULE_CLASS, NULL},
    {"numpy.random._mt19937", "MT19937", RULE_CLASS, NULL},
    {"numpy.random._pcg64", "PCG64", RULE_CLASS, NULL},
    {"numpy.random._pcg64", "PCG64DXSM", RULE_CLASS, NULL},
    {"numpy.random._philox", "Philox", RULE_CLASS, NULL},
    {"numpy.random._pickle", "__bit_generator_ctor", RULE_MAKER, NULL},
    {"numpy.random._pickle", "__generator_ctor", RULE_MAKER, NULL},
    {"numpy.random._pickle", "__randomstate_ctor", RULE_MAKER, NULL},
    {"numpy.random._sfc64", "SFC64", RULE_CLASS, NULL},
    {"numpy.random.bit_generator", "SeedSequence", RULE_CLASS, NULL},
    {"numpy.random.bit_generator", "__pyx_unpickle_SeedSequence", RULE_MAKER, NULL},
    {"numpy.random.mtrand", "RandomState", RULE_CLASS, NULL},
    {"pathlib", "Path", RULE_CLASS, NULL},
    {"pathlib", "PosixPath", RULE_CLASS, NULL},
    {"pathlib", "PurePath", RULE_CLASS, NULL},
    {"pathlib", "PurePosixPath", RULE_CLASS, NULL},
    {"pathlib", "PureWindowsPath", RULE_CLASS, NULL},
    {"pathlib", "WindowsPath", RULE_CLASS, NULL},
    {"pathlib._local", "Path", RULE_CLASS, NULL},
    {"pathlib._local", "PosixPath", RULE_CLASS, NULL},
    {"pathlib._local", "PurePath", RULE_CLASS, NULL},
    {"pathlib._local", "PurePosixPath", RULE_CLASS, NULL},
    {"pathlib._local", "PureWindowsPath", RULE_CLASS, NULL},
    {"pathlib._local", "WindowsPath", RULE_CLASS, NULL},
    {"random", "Random", RULE_CLASS, NULL},
    {"torch", "BFloat16Storage", RULE_STORAGE, &bf16},
    {"torch", "BoolStorage", RULE_STORAGE, &boolean},
    {"torch", "ByteStorage", RULE_STORAGE, &u8},
    {"torch", "CharStorage", RULE_STORAGE, &i8},
    {"torch", "ComplexDoubleStorage", RULE_STORAGE, &c128},
    {"torch", "ComplexFloatStorage", RULE_STORAGE, &c64},
    {"torch", "DoubleStorage", RULE_STORAGE, &f64},
    {"torch", "FloatStorage", RULE_STORAGE, &f32},
    {"torch", "Generator", RULE_CLASS, NULL},
    {"torch", "HalfStorage", RULE_STORAGE, &f16},
    {"torch", "IntStorage", RULE_STORAGE, &i32},
    {"torch", "LongStorage", RULE_STORAGE, &i64},
    {"torch", "QInt32Storage", RULE_STORAGE, &qi32},
    {"torch", "QInt8Storage", RULE_STORAGE, &qi8},
    {"torch", "QUInt8Storage", RULE_STORAGE, &qu8},
    {"torch", "ShortStorage", RULE_STORAGE, &i16},
    {"torch", "Size", RULE_CLASS, NULL},
    {"torch", "Tensor", RULE_VALUE, NULL},
    {"torch", "bfloat16", RULE_VALUE, &bf16},
    {"torch", "bool", RULE_VALUE, &boolean},
    {"torch", "complex128", RULE_VALUE, &c128},
    {"torch", "complex32", RULE_VALUE, &c32},
    {"torch", "complex64", RULE_VALUE, &c64},
    {"torch", "device", RULE_CLASS, NULL},
    {"torch", "float16", RULE_VALUE, &f16},
    {"torch", "float32", RULE_VALUE, &f32},
    {"torch", "float64", RULE_VALUE, &f64},
    {"torch", "float8_e4m3fn", RULE_VALUE, &e4m3},
    {"torch", "float8_e4m3fnuz", RULE_VALUE, &e4m3fnuz},
    {"torch", "float8_e5m2", RULE_VALUE, &e5m2},
    {"torch", "float8_e5m2fnuz", RULE_VALUE, &e5m2fnuz},
    {"torch", "float8_e8m0fnu", RULE_VALUE, &e8m0},
    {"torch", "int16", RULE_VALUE, &i16},
    {"torch", "int32", RULE_VALUE, &i32},
    {"torch", "int64", RULE_VALUE, &i64},
    {"torch", "int8", RULE_VALUE, &i8},
    {"torch", "qint32", RULE_VALUE, &qi32},
    {"torch", "qint8", RULE_VALUE, &qi8},
    {"torch", "quint8", RULE_VALUE, &qu8},
    {"torch", "uint16", RULE_VALUE, &u16},
    {"torch", "uint32", RULE_VALUE, &u32},
    {"torch", "uint64", RULE_VALUE, &u64},
    {"torch", "uint8", RULE_VALUE, &u8},
    {"torch._C", "Generator", RULE_CLASS, NULL},
    {"torch._tensor", "_rebuild_from_type_v2", RULE_SUBCLASS, NULL},
    {"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_device_tensor_from_numpy", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_meta_tensor_no_storage", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_nested_tensor", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_parameter", RULE_PARAMETER, NULL},
    {"torch._utils", "_rebuild_parameter_with_state", RULE_PARAMETER, NULL},
    {"torch._utils", "_rebuild_qtensor", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_sparse_csr_tensor", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_sparse_tensor", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_tensor", RULE_TENSOR_V1, NULL},
    {"torch._utils", "_rebuild_tensor_v2", RULE_TENSOR_V2, NULL},
    {"torch._utils", "_rebuild_tensor_v3", RULE_TENSOR_V3, NULL},
    {"torch._utils", "_rebuild_wrapper_subclass", RULE_UNSUPPORTED, NULL},
    {"torch._utils", "_rebuild_xla_tensor", RULE_UNSUPPORTED, NULL},
    {"torch.nn.parameter", "Parameter", RULE_VALUE, NULL},
    {"torch.serialization", "_get_layout", RULE_FUNCTION, NULL},
    {"torch.storage", "UntypedStorage", RULE_STORAGE, &untyped},
    {"torch.torch_version", "TorchVersion", RULE_CLASS, NULL},
    {"types", "SimpleNamespace", RULE_CLASS, NULL},
    {"typing", "Any", RULE_VALUE, NULL},
    {"typing", "Callable", RULE_VALUE, NULL},
    {"typing", "Dict", RULE_VALUE, NULL},
    {"typing", "Iterable", RULE_VALUE, NULL},
    {"typing", "List", RULE_VALUE, NULL},
    {"typing", "Mapping", RULE_VALUE, NULL},
    {"typing", "Optional", RULE_VALUE, NULL},
    {"typing", "Sequence", RULE_VALUE, NULL},
    {"typing", "Set", RULE_VALUE, NULL},
    {"typing", "Tuple", RULE_VALUE, NULL},
    {"typing", "Type", RULE_VALUE, NULL},
    {"typing", "Union", RULE_VALUE, NULL},
    {"uuid", "UUID", RULE_CLASS, NULL},
};
const size_t pickle_global_count = sizeof pickle_globals / sizeof pickle_globals[0];

/* Older and newer spellings of the modules above. */
static const char *const aliases[][2] = {
    {"__builtin__", "builtins"},
    {"copy_reg", "copyreg"},
    {"numpy._core.multiarray", "numpy.core.multiarray"},
    {"numpy._core.numeric", "numpy.core.numeric"},
};

static int compare(const uint8_t *bytes, size_t length, const char *text) {
    size_t other = strlen(text);
    int order = memcmp(bytes, text, ds_min_size(length, other));
    return order != 0 ? order : (length > other) - (length < other);
}

const pickle_global *pickle_global_of(const pickle_value *value) {
    static const pickle_global opaque = {"", "", RULE_OPAQUE, NULL};
    return value->global == PICKLE_OPAQUE ? &opaque : &pickle_globals[value->global];
}

size_t pickle_global_find(const uint8_t *module, size_t module_length, const uint8_t *name, size_t name_length) {
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (compare(module, module_length, aliases[i][0]) != 0) continue;
        module = (const uint8_t *)aliases[i][1];
        module_length = strlen(aliases[i][1]);
        break;
    }
    size_t low = 0, high = pickle_global_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(module, module_length, pickle_globals[middle].module);
        if (order == 0) order = compare(name, name_length, pickle_globals[middle].name);
        if (order == 0) return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SIZE_MAX;
}
