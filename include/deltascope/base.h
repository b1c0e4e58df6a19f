/* base: what every room stands on: status and error text, allocation, checked size arithmetic, strings,
 * bounded byte cursors, files written whole or not at all, worker threads, timers, random numbers.
 *
 * Conventions used by every room
 *   - A function that can fail returns ds_status; on failure it has stored one full sentence (file, tensor or key, what was
 *     found, what was expected) that ds_error_text() returns. The record is per thread.
 *   - DS_TRY(call) leaves through the label `done` with the local variable `status` set.
 *   - The library never exits and never prints; only commands do. */
#ifndef DELTASCOPE_BASE_H
#define DELTASCOPE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define DS_VERSION "0.1.0"

/* Around every public declaration: C linkage in C++, and a name in the shared library, which hides all others. */
#ifdef __cplusplus
#define DS_BEGIN_DECLARATIONS _Pragma("GCC visibility push(default)") extern "C" {
#define DS_END_DECLARATIONS                                                                                                    \
    }                                                                                                                          \
    _Pragma("GCC visibility pop")
#else
#define DS_BEGIN_DECLARATIONS _Pragma("GCC visibility push(default)")
#define DS_END_DECLARATIONS _Pragma("GCC visibility pop")
#endif

DS_BEGIN_DECLARATIONS

/* ---- status ------------------------------------------------------------------------------------------------------ */

/* The values are the exit statuses of the program. */
typedef enum ds_status {
    DS_OK = 0,
    DS_CHECK_FAILED = 1, /* only from `verify`: it ran, and a check failed; no sentence is stored */
    DS_ERR_USAGE = 2,    /* the caller asked for something that does not exist or does not fit together */
    DS_ERR_INPUT = 3,    /* a file is unusable: the sentence names file, tensor or key, found and expected */
    DS_ERR_SYSTEM = 4,   /* disk full, out of memory, unreadable, a library failed */
} ds_status;

#define DS_MUST_CHECK __attribute__((warn_unused_result))
#define DS_PRINTF(position, first) __attribute__((format(printf, position, first)))

/* Stores the sentence for this thread and returns `code`, so that `return ds_fail(...)` reads well. Longer than 2,047
 * bytes is cut. */
ds_status ds_fail(ds_status code, const char *format, ...) DS_PRINTF(2, 3);
/* Puts "prefix: " in front of the stored sentence, so that a caller adds the file it knows about; returns `code`. */
ds_status ds_fail_prefix(ds_status code, const char *format, ...) DS_PRINTF(2, 3);
const char *ds_error_text(void);
/* An analyser that sees one file at a time is told what is returned. */
#ifdef __clang_analyzer__
#define ds_fail(code, ...) ((void)ds_fail(code, __VA_ARGS__), (code))
#define ds_fail_prefix(code, ...) ((void)ds_fail_prefix(code, __VA_ARGS__), (code))
#endif
void ds_error_clear(void);

/* For a library's call-back that must not return and has no way to fail (FLINT and GMP when memory runs out): stores the
 * sentence and ends the process through the handler, which must not return; without one, unfinished files are removed and
 * the process aborts. The handler is set once, before threads start; it may run on any of them. */
__attribute__((noreturn)) void ds_give_up(const char *format, ...) DS_PRINTF(1, 2);
void ds_give_up_handler(void (*handler)(void));

#define DS_TRY(call)                                                                                                           \
    do {                                                                                                                       \
        status = (call);                                                                                                       \
        if (status != DS_OK) goto done;                                                                                        \
    } while (0)

/* ---- allocation -------------------------------------------------------------------------------------------------- */

/* Zeroed memory for `count` elements of `size` bytes, 16-byte aligned; never NULL for count 0. On overflow or exhaustion
 * returns NULL with a DS_ERR_SYSTEM sentence stored. Freed with free(). */
void *ds_calloc(size_t count, size_t size) DS_MUST_CHECK;
/* The same, not zeroed, 64-byte aligned: for numeric arrays. Freed with free(). */
void *ds_alloc_array(size_t count, size_t size) DS_MUST_CHECK;
/* Grows *array (NULL at first) so that index `needed - 1` exists; capacity doubles. */
ds_status ds_grow(void **array, size_t *capacity, size_t needed, size_t size) DS_MUST_CHECK;
char *ds_strdup(const char *text) DS_MUST_CHECK;

/* For functions with a `status` variable and a `done` label. */
#define DS_NEW(pointer, count)                                                                                                 \
    do {                                                                                                                       \
        (pointer) = ds_calloc((count), sizeof *(pointer));                                                                     \
        if ((pointer) == NULL) {                                                                                               \
            status = DS_ERR_SYSTEM;                                                                                            \
            goto done;                                                                                                         \
        }                                                                                                                      \
    } while (0)
#define DS_NEW_ARRAY(pointer, count)                                                                                           \
    do {                                                                                                                       \
        (pointer) = ds_alloc_array((count), sizeof *(pointer));                                                                \
        if ((pointer) == NULL) {                                                                                               \
            status = DS_ERR_SYSTEM;                                                                                            \
            goto done;                                                                                                         \
        }                                                                                                                      \
    } while (0)

/* ---- checked arithmetic: true when the exact result fits, *out is written only then ------------------------------ */

static inline bool ds_add_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool ds_mul_u64(uint64_t a, uint64_t b, uint64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool ds_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool ds_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline size_t ds_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t ds_max_size(size_t a, size_t b) { return a > b ? a : b; }
/* For running maxima of errors: a NaN wins and stays, where fmax would hide it. */
static inline double ds_max_real(double a, double b) { return a != a || b <= a ? a : b; }

/* ---- bounded cursor over bytes from strangers -------------------------------------------------------------------- */

typedef struct ds_cursor {
    const uint8_t *at;
    size_t left;
} ds_cursor;

/* Each takes from the front and returns false, taking nothing, when too few bytes are left. No alignment is assumed. */
bool ds_take_bytes(ds_cursor *cursor, size_t count, const uint8_t **bytes) DS_MUST_CHECK;
bool ds_take_u8(ds_cursor *cursor, uint8_t *value) DS_MUST_CHECK;
bool ds_take_u16le(ds_cursor *cursor, uint16_t *value) DS_MUST_CHECK;
bool ds_take_u64le(ds_cursor *cursor, uint64_t *value) DS_MUST_CHECK;
uint16_t ds_load_u16le(const uint8_t *bytes);
uint32_t ds_load_u32le(const uint8_t *bytes);
uint64_t ds_load_u64le(const uint8_t *bytes);

/* ---- strings ----------------------------------------------------------------------------------------------------- */

/* A growing NUL-terminated byte string. Zero-initialise; release with ds_text_release. */
typedef struct ds_text {
    char *bytes; /* never NULL after the first append */
    size_t length, capacity;
} ds_text;

ds_status ds_text_append(ds_text *text, const char *bytes, size_t length) DS_MUST_CHECK;
ds_status ds_text_printf(ds_text *text, const char *format, ...) DS_PRINTF(2, 3) DS_MUST_CHECK;
void ds_text_release(ds_text *text);

/* A character that a terminal obeys, that turns text around, or that shows nothing: C0 and C1 controls, separators of lines and
 * paragraphs, marks and overrides of the writing direction, what has no width. No output of ours passes one on as it is. */
bool ds_is_hidden(uint32_t point);
/* Appends text for people with such characters as \xNN for each of their bytes, and broken UTF-8 likewise; line ends and tabs
 * stay. */
ds_status ds_text_append_visible(ds_text *text, const char *string) DS_MUST_CHECK;
/* Appends text in ASCII: symbols of ours in words or signs ("β" as "beta", "≤" as "<="), other bytes above 0x7F as \xNN. */
ds_status ds_text_append_ascii(ds_text *text, const char *bytes, size_t length) DS_MUST_CHECK;
/* The same of the one character at the front of `length` > 0 bytes, NUL-terminated; returns how many bytes it is. */
enum { DS_ASCII_SPELLING = 24 };
size_t ds_ascii_spelling(char spelling[DS_ASCII_SPELLING], const char *bytes, size_t length);
/* A name from a file, made fit for a message: hidden characters and broken UTF-8 as \xNN, cut after 200 bytes with "...". */
#define DS_NAME_CAPACITY 832
typedef struct ds_name {
    char text[DS_NAME_CAPACITY];
} ds_name;
ds_name ds_escape(const char *bytes, size_t length);
/* For a NUL-terminated name inside one call expression: DS_SHOW(name). */
#define DS_SHOW(name) (ds_escape((name), strlen(name)).text)
/* The ending of a noun after a count: 1 window, 2 windows. */
static inline const char *ds_plural(size_t count) { return count == 1 ? "" : "s"; }
bool ds_is_utf8(const char *bytes, size_t length);
/* The length in bytes of the well-formed UTF-8 sequence at the front, its code point in *point; 0 when there is none. */
size_t ds_utf8_decode(uint32_t *point, const char *bytes, size_t left);

/* Lists of words separated by commas. An empty word is a word: "a," has two. Takes the next word off the front of *list,
 * NULL when there are none; false at the end. */
bool ds_next_word(const char **list, const char **word, size_t *length);
bool ds_is_word(const char *name, const char *word, size_t length);

/* How many letters have to be left out, added, changed, or swapped with their neighbour to make one word of the other, capitals
 * being as small letters; 129 when one is longer than 128 bytes. */
size_t ds_word_distance(const char *a, size_t a_length, const char *b, size_t b_length);
/* What a misspelt word was meant to be: begin with {.word, .length}, offer every known word (borrowed). The first of the
 * nearest is taken if it is a third of its letters away at most, or goes on where the word stops. */
typedef struct ds_guess {
    const char *word;
    size_t length;
    const char *best; /* NULL: none */
    size_t best_length, distance;
} ds_guess;
void ds_guess_offer(ds_guess *guess, const char *known, size_t length);
/* For the sentence that refuses the word: ` (did you mean "gates"?)`, or nothing; `before` stands in front of the word. */
ds_name ds_guess_hint(const ds_guess *guess, const char *before);

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

typedef enum ds_precision { DS_F32 = 0, DS_F64 = 1 } ds_precision;
static inline size_t ds_precision_size(ds_precision p) { return p == DS_F32 ? sizeof(float) : sizeof(double); }
/* Unit roundoff u: 2^-24 or 2^-53. */
static inline double ds_unit_roundoff(ds_precision p) { return p == DS_F32 ? 0x1p-24 : 0x1p-53; }
/* Element i of an array of precision p, as a double. */
static inline double ds_real_at(const void *array, ds_precision p, size_t i) {
    return p == DS_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

/* ---- folders that results go into -------------------------------------------------------------------------------- */

/* Such a folder may have come from anywhere. Its path is followed once, when it is opened, links and all but for those of
 * other users in a sticky folder which everybody may write; everything below is reached from its descriptor. `path` below it
 * has plain parts between slashes ("tables/gates.csv", no "..", none that is a link): a link or a file in the place of a folder
 * is DS_ERR_SYSTEM with its name, and nothing behind it is touched. */
typedef struct ds_folder ds_folder;
ds_status ds_folder_open(ds_folder **out, const char *path) DS_MUST_CHECK; /* makes it and its missing parents */
ds_status ds_folder_open_in(ds_folder **out, const ds_folder *parent, const char *path) DS_MUST_CHECK;
void ds_folder_close(ds_folder **folder); /* sets NULL; NULL is fine. One that opening made and that is still empty goes */
const char *ds_folder_path(const ds_folder *folder); /* for sentences */
/* Appends the path as people read it: below `folder`, or by itself where that is NULL. */
ds_status ds_folder_show(ds_text *text, const ds_folder *folder, const char *path) DS_MUST_CHECK;
/* DS_ERR_SYSTEM while another process holds the folder. The lock goes with the folder or the process. */
ds_status ds_folder_lock(const ds_folder *folder) DS_MUST_CHECK;
/* A descriptor of what is there, opened with `flags` and without waiting; -1 with errno, also for a link, and to write for a
 * file with another name (EMLINK). folder NULL: `path` as it is, links followed. */
int ds_folder_find(const ds_folder *folder, const char *path, int flags);
/* Whether something is there that can be read; a link is nothing. */
bool ds_folder_holds(const ds_folder *folder, const char *path);
/* Calls visit for the name of everything that lies in the folder, in no order; stops at and returns the first failure. */
ds_status ds_folder_each(const ds_folder *folder, ds_status (*visit)(void *context, const char *name),
                         void *context) DS_MUST_CHECK;
/* Removes what has that name, the link itself if it is one, a folder if it is empty. That there is nothing is fine. */
ds_status ds_folder_remove(const ds_folder *folder, const char *path) DS_MUST_CHECK;
/* That `path` is a folder or does not exist yet. */
ds_status ds_folder_check(const char *path) DS_MUST_CHECK;
/* Makes the folder and its missing parents. An existing folder is fine. */
ds_status ds_make_folder(const char *path) DS_MUST_CHECK;

/* ---- files written whole or not at all --------------------------------------------------------------------------- */

/* A file under construction: bytes go to a file without a name in the target's folder; commit flushes, fsyncs, names and
 * renames it, with the mode of the regular file it replaces; discard (or a fatal signal handled by ds_outfile_discard_all)
 * leaves what was there before. Where files need names, and for the moment between naming and renaming, a temporary
 * TARGET.tmp.<16 digits> lies beside the target, locked (flock) by its writer. What a killed writer left there is removed when
 * the target is written again. `path` is what somebody typed: a link is followed, a pipe or device written straight through;
 * one that another user laid in a sticky folder which everybody may write is DS_ERR_SYSTEM, as fs.protected_symlinks has it. */
typedef struct ds_outfile ds_outfile;
ds_status ds_outfile_open(ds_outfile **out, const char *path) DS_MUST_CHECK;
/* Below a folder: whatever but a folder has the name, a link, a pipe, is replaced. folder NULL: as ds_outfile_open. */
ds_status ds_outfile_open_in(ds_outfile **out, const ds_folder *folder, const char *path) DS_MUST_CHECK;
FILE *ds_outfile_stream(ds_outfile *file);
ds_status ds_outfile_commit(ds_outfile **file) DS_MUST_CHECK; /* frees and sets NULL, also on failure */
void ds_outfile_discard(ds_outfile **file);                   /* frees and sets NULL; NULL is fine */
/* An empty file to write and read again, without a name and in the folder of `path`, where there is space for it. */
ds_status ds_spool_open(FILE **spool, const char *path) DS_MUST_CHECK;
/* Removes every temporary still open. Async-signal-safe: meant for handlers of SIGINT and SIGTERM. */
void ds_outfile_discard_all(void);
ds_status ds_write_file(const char *path, const char *bytes, size_t length) DS_MUST_CHECK;
ds_status ds_write_file_in(const ds_folder *folder, const char *path, const char *bytes, size_t length) DS_MUST_CHECK;
/* What can be known before the work whose result goes there: that `path` is no folder and the folder it lies in may be
 * written. */
ds_status ds_outfile_check(const char *path) DS_MUST_CHECK;
/* After a file was made or renamed: its name in the folder survives a crash, where the system lets us. */
void ds_sync_folder_of(const char *path);

/* ---- other programs ---------------------------------------------------------------------------------------------- */

/* Another program at work for us, given by an absolute path or looked for in the absolute parts of PATH alone. With files it
 * runs in a folder of its own, made under TMPDIR (under /tmp where anybody may rename what lies in TMPDIR) and removed with the
 * helper, without any in /; it takes from the environment what it needs to know of language, libraries and fonts. It leads a
 * process group and ends when we do. */
typedef struct ds_helper ds_helper;
enum { DS_HELPER_FILES = 4 };
ds_status ds_helper_open(ds_helper **out, const char *program) DS_MUST_CHECK; /* *out NULL: it is not installed */
void ds_helper_close(ds_helper **helper);                                     /* sets NULL; NULL is fine */
/* One more variable of its environment. */
ds_status ds_helper_set(ds_helper *helper, const char *name, const char *value) DS_MUST_CHECK;
/* A file for it, in its folder; at most DS_HELPER_FILES of them. */
ds_status ds_helper_put(ds_helper *helper, const char *name, const ds_text *content) DS_MUST_CHECK;
/* Runs it to its end: standard input empty, standard output to the descriptor, what it complains of in the sentence when it
 * fails. arguments[0] is its name, NULL the last. After `seconds` it is killed: DS_ERR_SYSTEM. */
ds_status ds_helper_run(ds_helper *helper, char *const *arguments, int output, double seconds) DS_MUST_CHECK;
/* Kills every program at work and removes what it was given. Async-signal-safe, as ds_outfile_discard_all. */
void ds_helper_discard_all(void);

/* ---- worker threads ---------------------------------------------------------------------------------------------- */

/* Several threads of a program may run loops at the same time, each with arrays of its own; they share the workers. A child
 * after fork() starts with no workers, and makes its own when it needs them. */

/* Sets how many threads a loop of this process uses (at least 1; 0 = all cores it may run on). One number for the process, read
 * when a loop begins: workspaces made before run on as many as they were made for. */
ds_status ds_threads_set(size_t threads) DS_MUST_CHECK;
/* The same for the loops of the calling thread, whatever the process's number; 0: the process's number again, as at first. */
ds_status ds_threads_set_here(size_t threads) DS_MUST_CHECK;
size_t ds_threads_here(void); /* what was set here, 0 when nothing */
size_t ds_threads(void);      /* of a loop run by the calling thread */
/* Calls task(context, index, worker) once for every index in [0, count), on up to ds_threads() threads including the caller;
 * worker < ds_threads() identifies the thread, for scratch memory. Indices are handed out in increasing order. The division
 * into tasks is the caller's and must not depend on the number of threads: then neither do results. Returns the failure with
 * the smallest index, its sentence carried to the caller's thread. */
typedef ds_status (*ds_task)(void *context, size_t index, size_t worker);
ds_status ds_parallel_for(size_t count, ds_task task, void *context) DS_MUST_CHECK;
/* The same on at most `workers` threads, worker < workers: for scratch memory made for so many, when the number of threads
 * may have been set anew since. */
ds_status ds_parallel_for_within(size_t workers, size_t count, ds_task task, void *context) DS_MUST_CHECK;
/* Ends the worker threads (tests and leak checkers). They start again when needed. */
void ds_threads_stop(void);

/* ---- time and random numbers ------------------------------------------------------------------------------------- */

double ds_seconds(void);           /* monotonic */
size_t ds_peak_memory_bytes(void); /* high-water mark of the resident set */

/* SplitMix64 (Steele, Lea, Flood 2014): for initial weights and for choosing samples. Equal seeds, equal numbers. */
typedef struct ds_random {
    uint64_t state;
} ds_random;
static inline ds_random ds_random_init(uint64_t seed) { return (ds_random){seed}; }
uint64_t ds_random_u64(ds_random *random);
double ds_random_uniform(ds_random *random); /* [0, 1), 53 bits */
double ds_random_normal(ds_random *random);  /* mean 0, variance 1 (Box-Muller) */
void ds_random_normal_pair(double normal[2],
                           ds_random *random); /* both numbers of one draw, the first as ds_random_normal has it */
uint64_t ds_random_below(ds_random *random, uint64_t bound); /* uniform in [0, bound), bound > 0 */

DS_END_DECLARATIONS

#endif
