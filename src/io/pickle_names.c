/* Names that no table knows: which may stand for an inert opaque, and which mark a file as made to attack whoever loads it.
 * Nothing is called either way; the second kind is refused because such a file is not what it says it is. */
#include <string.h>

#include "pickle_machine.h"

/* Python's own modules (2.7, and 3.8 to 3.14; those beginning with '_' need no row) and packages that run, fetch or load code,
 * by the first part of a module's name. What is harmless of them is in the table of pickle_globals.c. */
static const char *const refused_packages[] = {"BaseHTTPServer",
                                               "Bastion",
                                               "CGIHTTPServer",
                                               "ConfigParser",
                                               "Cookie",
                                               "Cython",
                                               "DocXMLRPCServer",
                                               "HTMLParser",
                                               "IPython",
                                               "MimeWriter",
                                               "Queue",
                                               "SimpleHTTPServer",
                                               "SimpleXMLRPCServer",
                                               "SocketServer",
                                               "StringIO",
                                               "Tkinter",
                                               "UserDict",
                                               "UserList",
                                               "UserString",
                                               "abc",
                                               "aifc",
                                               "aiohttp",
                                               "annotationlib",
                                               "antigravity",
                                               "anydbm",
                                               "argparse",
                                               "array",
                                               "ast",
                                               "asynchat",
                                               "asyncio",
                                               "asyncore",
                                               "atexit",
                                               "audioop",
                                               "base64",
                                               "bdb",
                                               "binascii",
                                               "binhex",
                                               "bisect",
                                               "boto3",
                                               "botocore",
                                               "bsddb",
                                               "builtins",
                                               "bz2",
                                               "cPickle",
                                               "cProfile",
                                               "cStringIO",
                                               "calendar",
                                               "celery",
                                               "cffi",
                                               "cgi",
                                               "cgitb",
                                               "chunk",
                                               "cloudpickle",
                                               "cmath",
                                               "cmd",
                                               "code",
                                               "codecs",
                                               "codeop",
                                               "collections",
                                               "colorsys",
                                               "commands",
                                               "compileall",
                                               "compiler",
                                               "compression",
                                               "comtypes",
                                               "concurrent",
                                               "configparser",
                                               "contextlib",
                                               "contextvars",
                                               "cookielib",
                                               "copy",
                                               "copyreg",
                                               "crypt",
                                               "csv",
                                               "ctypes",
                                               "curses",
                                               "dask",
                                               "dataclasses",
                                               "datetime",
                                               "dbhash",
                                               "dbm",
                                               "decimal",
                                               "difflib",
                                               "dill",
                                               "dircache",
                                               "dis",
                                               "distutils",
                                               "django",
                                               "dl",
                                               "docker",
                                               "doctest",
                                               "dumbdbm",
                                               "email",
                                               "encodings",
                                               "ensurepip",
                                               "enum",
                                               "errno",
                                               "eventlet",
                                               "exceptions",
                                               "execnet",
                                               "fabric",
                                               "faulthandler",
                                               "fcntl",
                                               "filecmp",
                                               "fileinput",
                                               "flask",
                                               "fnmatch",
                                               "formatter",
                                               "fractions",
                                               "fsspec",
                                               "ftplib",
                                               "functools",
                                               "future",
                                               "future_builtins",
                                               "gc",
                                               "gdbm",
                                               "genericpath",
                                               "getopt",
                                               "getpass",
                                               "gettext",
                                               "gevent",
                                               "git",
                                               "glob",
                                               "graphlib",
                                               "grp",
                                               "gzip",
                                               "hashlib",
                                               "heapq",
                                               "hmac",
                                               "hotshot",
                                               "html",
                                               "htmlentitydefs",
                                               "htmllib",
                                               "http",
                                               "httplib",
                                               "httpx",
                                               "idlelib",
                                               "ihooks",
                                               "imaplib",
                                               "imghdr",
                                               "imp",
                                               "importlib",
                                               "imputil",
                                               "inspect",
                                               "invoke",
                                               "io",
                                               "ipaddress",
                                               "ipykernel",
                                               "itertools",
                                               "jinja2",
                                               "joblib",
                                               "json",
                                               "jsonpickle",
                                               "keyword",
                                               "kubernetes",
                                               "lib2to3",
                                               "linecache",
                                               "locale",
                                               "logging",
                                               "lzma",
                                               "mailbox",
                                               "mailcap",
                                               "mako",
                                               "marshal",
                                               "math",
                                               "md5",
                                               "mhlib",
                                               "mimetools",
                                               "mimetypes",
                                               "mimify",
                                               "mmap",
                                               "modulefinder",
                                               "msilib",
                                               "msvcrt",
                                               "multifile",
                                               "multiprocess",
                                               "multiprocessing",
                                               "mutex",
                                               "netrc",
                                               "new",
                                               "nis",
                                               "nntplib",
                                               "nose",
                                               "nt",
                                               "ntpath",
                                               "nturl2path",
                                               "numba",
                                               "numbers",
                                               "numexpr",
                                               "numpy",
                                               "opcode",
                                               "operator",
                                               "optparse",
                                               "os",
                                               "os2",
                                               "ossaudiodev",
                                               "paramiko",
                                               "parser",
                                               "past",
                                               "pathlib",
                                               "pdb",
                                               "pexpect",
                                               "pickle",
                                               "pickletools",
                                               "pip",
                                               "pipes",
                                               "pkg_resources",
                                               "pkgutil",
                                               "platform",
                                               "plistlib",
                                               "plumbum",
                                               "popen2",
                                               "poplib",
                                               "posix",
                                               "posixfile",
                                               "posixpath",
                                               "pprint",
                                               "profile",
                                               "pstats",
                                               "psutil",
                                               "pty",
                                               "ptyprocess",
                                               "pwd",
                                               "py_compile",
                                               "pyclbr",
                                               "pydoc",
                                               "pydoc_data",
                                               "pyexpat",
                                               "pytest",
                                               "pythoncom",
                                               "pyximport",
                                               "queue",
                                               "quopri",
                                               "random",
                                               "ray",
                                               "re",
                                               "readline",
                                               "reprlib",
                                               "requests",
                                               "resource",
                                               "rexec",
                                               "rfc822",
                                               "rlcompleter",
                                               "robotparser",
                                               "runpy",
                                               "sched",
                                               "secrets",
                                               "select",
                                               "selectors",
                                               "sets",
                                               "setuptools",
                                               "sgmllib",
                                               "sh",
                                               "sha",
                                               "shelve",
                                               "shlex",
                                               "shutil",
                                               "signal",
                                               "site",
                                               "six",
                                               "smtpd",
                                               "smtplib",
                                               "sndhdr",
                                               "socket",
                                               "socketserver",
                                               "spwd",
                                               "sqlite3",
                                               "sre",
                                               "sre_compile",
                                               "sre_constants",
                                               "sre_parse",
                                               "ssl",
                                               "stat",
                                               "statistics",
                                               "statvfs",
                                               "string",
                                               "stringprep",
                                               "strop",
                                               "struct",
                                               "subprocess",
                                               "sunau",
                                               "symbol",
                                               "symtable",
                                               "sympy",
                                               "sys",
                                               "sysconfig",
                                               "syslog",
                                               "tabnanny",
                                               "tarfile",
                                               "telnetlib",
                                               "tempfile",
                                               "termios",
                                               "test",
                                               "textwrap",
                                               "this",
                                               "thread",
                                               "threading",
                                               "time",
                                               "timeit",
                                               "tkinter",
                                               "toaiff",
                                               "token",
                                               "tokenize",
                                               "tomllib",
                                               "torch",
                                               "tornado",
                                               "trace",
                                               "traceback",
                                               "tracemalloc",
                                               "tty",
                                               "turtle",
                                               "turtledemo",
                                               "twisted",
                                               "types",
                                               "typing",
                                               "unicodedata",
                                               "unittest",
                                               "urllib",
                                               "urllib2",
                                               "urllib3",
                                               "urlparse",
                                               "user",
                                               "uu",
                                               "uuid",
                                               "venv",
                                               "warnings",
                                               "wave",
                                               "weakref",
                                               "webbrowser",
                                               "weave",
                                               "werkzeug",
                                               "wheel",
                                               "whichdb",
                                               "win32api",
                                               "win32com",
                                               "winreg",
                                               "winsound",
                                               "wsgiref",
                                               "xdrlib",
                                               "xml",
                                               "xmllib",
                                               "xmlrpc",
                                               "xmlrpclib",
                                               "xxsubtype",
                                               "yaml",
                                               "zipapp",
                                               "zipfile",
                                               "zipimport",
                                               "zlib",
                                               "zoneinfo"};

/* Modules that other packages hand out under a name of their own ("six.moves.builtins"), wherever they stand. */
static const char *const refused_modules[] = {"builtins", "ctypes", "importlib", "marshal", "moves",  "nt",         "os",
                                              "pickle",   "posix",  "pty",       "runpy",   "shutil", "subprocess", "sys"};

/* Parts of torch whose classes training scripts keep: optimizers, schedulers, loss functions, gradient scalers, settings. */
static const char *const torch_packages[] = {"torch.amp", "torch.cuda.amp", "torch.distributed.fsdp", "torch.nn",
                                             "torch.optim"};

/* Functions that no module has under these names but to run something. */
static const char *const refused_names[] = {"eval", "exec", "execfile", "getattr", "popen", "setattr", "system"};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool is_text(const uint8_t *bytes, size_t length, const char *text) {
    return strlen(text) == length && memcmp(bytes, text, length) == 0;
}

static bool is_one_of(const uint8_t *bytes, size_t length, const char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (is_text(bytes, length, texts[i])) return true;
    }
    return false;
}

static bool is_identifier(const uint8_t *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        bool letter = (text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z', digit = text[i] >= '0' && text[i] <= '9';
        if (!letter && text[i] != '_' && !(digit && i > 0)) return false;
    }
    return length > 0 && length <= PICKLE_NAME_LIMIT;
}

static bool is_dunder(const uint8_t *text, size_t length) { return length >= 2 && text[0] == '_' && text[1] == '_'; }

/* A package itself, or a module in it. */
static bool is_within(const uint8_t *module, size_t length, const char *package) {
    size_t own = strlen(package);
    return length >= own && memcmp(module, package, own) == 0 && (length == own || module[own] == '.');
}

static bool is_class_like(const uint8_t *name, size_t length) {
    while (length > 0 && *name == '_') name++, length--;
    return length > 0 && *name >= 'A' && *name <= 'Z';
}

bool pickle_name_is_class(const uint8_t *name, size_t length) {
    const uint8_t *dot = length == 0 ? NULL : memrchr(name, '.', length);
    return dot == NULL ? is_class_like(name, length) : is_class_like(dot + 1, (size_t)(name + length - dot) - 1);
}

/* What stands before a point must be a class: a module that a module imports would lead anywhere. */
bool pickle_name_is_allowed(const uint8_t *name, size_t length) {
    for (size_t start = 0, end; start <= length; start = end + 1) {
        const uint8_t *part = name + start, *dot = start < length ? memchr(part, '.', length - start) : NULL;
        end = dot == NULL ? length : (size_t)(dot - name);
        if (!is_identifier(part, end - start) || is_dunder(part, end - start) ||
            is_one_of(part, end - start, refused_names, COUNT(refused_names)))
            return false;
        if (dot != NULL && !is_class_like(part, end - start)) return false;
    }
    return length <= PICKLE_NAME_LIMIT;
}

static bool is_torch_class(const uint8_t *module, size_t module_length, const uint8_t *name, size_t name_length) {
    for (size_t i = 0; i < COUNT(torch_packages); i++) {
        if (is_within(module, module_length, torch_packages[i])) return is_class_like(name, name_length);
    }
    return false;
}

bool pickle_name_is_opaque(const uint8_t *module, size_t module_length, const uint8_t *name, size_t name_length) {
    if (module_length > PICKLE_NAME_LIMIT || !pickle_name_is_allowed(name, name_length)) return false;
    if (is_text(module, module_length, "__main__")) return true;
    for (size_t start = 0, end; start <= module_length; start = end + 1) {
        const uint8_t *part = module + start, *dot = start < module_length ? memchr(part, '.', module_length - start) : NULL;
        end = dot == NULL ? module_length : (size_t)(dot - module);
        size_t length = end - start;
        if (!is_identifier(part, length) || is_dunder(part, length)) return false;
        if (is_one_of(part, length, refused_modules, COUNT(refused_modules))) return false;
        if (start == 0 && (*part == '_' || is_one_of(part, length, refused_packages, COUNT(refused_packages))))
            return is_torch_class(module, module_length, name, name_length);
    }
    return true;
}
