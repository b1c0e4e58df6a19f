/* Linked into deltascope-faults: the program with an allocator that fails when told.
 *   FAULT_AT=n       the n-th allocation after the start of main (from 0) fails; with FAULT_ON=1 all from there on. What the
 *                    run leaves unfreed or open then ends it with status 99.
 *   FAULT_COUNT=FILE the number of allocations asked for is written there when the program exits, and a line for each call path
 *                    (chain of return addresses) they were asked along: the first and the last that came along it
 *   FAULT_SIGNAL=s   signal s arrives while a file is being finished: written, not yet in place
 * The libraries' allocations count too: they find these functions first. Under sanitizers, which bring their own allocator and
 * look for leaks themselves, the linker's --wrap catches the program's own calls only. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef FAULT_WRAP
#define OURS(name) __wrap_##name
#define REAL_MALLOC __real_malloc
#define REAL_CALLOC __real_calloc
#define REAL_REALLOC __real_realloc
#define REAL_ALIGNED __real_aligned_alloc
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
#else
#define OURS(name) name
#define REAL_MALLOC __libc_malloc
#define REAL_CALLOC __libc_calloc
#define REAL_REALLOC __libc_realloc
#define REAL_ALIGNED __libc_memalign
void __libc_free(void *block);
#endif
void *REAL_MALLOC(size_t size);
void *REAL_CALLOC(size_t count, size_t size);
void *REAL_REALLOC(void *old, size_t size);
void *REAL_ALIGNED(size_t alignment, size_t size);

static uint64_t fail_at = UINT64_MAX;
static bool fail_on, counting, following;
static _Thread_local bool inside; /* backtrace() may allocate */

/* What follows is shared by all threads, and may not allocate. */
static atomic_flag lock = ATOMIC_FLAG_INIT;
static void take(void) {
    while (atomic_flag_test_and_set(&lock)) {
    }
}
static void give(void) { atomic_flag_clear(&lock); }
static uint64_t asked;

/* ---- call paths -------------------------------------------------------------------------------------------------- */

enum { PATHS = 1 << 16, FRAMES = 48 };
static struct path {
    uint64_t hash; /* 0: free */
    uint64_t first, last;
} paths[PATHS];

static uint64_t hash_of(void *const *frames, int count) {
    uint64_t hash = 0xCBF29CE484222325U;
    for (int i = 0; i < count; i++) hash = (hash ^ (uintptr_t)frames[i]) * 0x100000001B3U;
    return hash == 0 ? 1 : hash;
}

static void follow_path(uint64_t now) {
    void *frames[FRAMES];
    inside = true;
    int count = backtrace(frames, FRAMES);
    uint64_t hash = hash_of(frames, count);
    inside = false;
    take();
    for (size_t i = hash % PATHS, tried = 0; tried < PATHS; i = (i + 1) % PATHS, tried++) {
        if (paths[i].hash != 0 && paths[i].hash != hash) continue;
        if (paths[i].hash == 0) paths[i] = (struct path){hash, now, now};
        paths[i].last = now;
        break;
    }
    give();
}

static bool refused(void) {
    if (!counting || inside) return false;
    take();
    uint64_t now = asked++;
    give();
    if (following) follow_path(now);
    if (now != fail_at && !(fail_on && now > fail_at)) return false;
    errno = ENOMEM;
    return true;
}

/* ---- leaks ------------------------------------------------------------------------------------------------------- */

#ifdef FAULT_WRAP
static void keep(const void *block, const void *caller) { (void)block, (void)caller; }
static void forget(const void *block) { (void)block; }
static void watch(void) {}
static void expect_nothing_left(void) {}
#else
/* Blocks the program asked for by itself, or through libraries that keep none for later. (libzip 1.7.3 forgets its checksum's
 * context when the next allocation fails; the others keep caches.) */
static const char *const watched[] = {"libjansson", "libpcre2", "libunistring", "libgsl"};
static struct { uintptr_t low, high; } ranges[8];
static size_t range_count;

enum { BLOCKS = 1 << 20 };
static struct block { uintptr_t at, caller; } blocks[BLOCKS];
static bool at_start[64]; /* descriptors that came with the process */

static size_t place_of(uintptr_t at) { return (size_t)((at >> 4) * 0x9E3779B97F4A7C15U >> 44); }
_Static_assert(BLOCKS == 1 << (64 - 44), "place_of covers the table");

static void keep(const void *block, const void *caller) {
    uintptr_t from = (uintptr_t)caller;
    bool ours = false;
    for (size_t r = 0; r < range_count; r++) ours = ours || (from >= ranges[r].low && from < ranges[r].high);
    if (block == NULL || !ours || inside) return;
    take();
    size_t i = place_of((uintptr_t)block);
    while (blocks[i].at != 0) i = (i + 1) % BLOCKS;
    blocks[i] = (struct block){(uintptr_t)block, from};
    give();
}

/* Linear probing, entries behind the hole moved up. */
static void forget(const void *block) {
    if (range_count == 0 || block == NULL) return;
    take();
    size_t i = place_of((uintptr_t)block);
    while (blocks[i].at != 0 && blocks[i].at != (uintptr_t)block) i = (i + 1) % BLOCKS;
    if (blocks[i].at != 0) {
        for (size_t j = (i + 1) % BLOCKS; blocks[j].at != 0; j = (j + 1) % BLOCKS) {
            size_t home = place_of(blocks[j].at);
            if ((j - home) % BLOCKS < (j - i) % BLOCKS) continue;
            blocks[i] = blocks[j];
            i = j;
        }
        blocks[i].at = 0;
    }
    give();
}

static int add_ranges(struct dl_phdr_info *object, size_t size, void *context) {
    bool ours = object->dlpi_name[0] == '\0'; /* the program itself */
    (void)size, (void)context;
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) ours = ours || strstr(object->dlpi_name, watched[i]) != NULL;
    for (size_t i = 0; ours && i < object->dlpi_phnum && range_count < sizeof ranges / sizeof *ranges; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
        ranges[range_count].low = object->dlpi_addr + part->p_vaddr;
        ranges[range_count++].high = object->dlpi_addr + part->p_vaddr + part->p_memsz;
    }
    return 0;
}

static void watch(void) {
    for (int i = 0; i < 64; i++) at_start[i] = fcntl(i, F_GETFD) != -1;
    (void)dl_iterate_phdr(add_ranges, NULL);
}

static void expect_nothing_left(void) {
    size_t left = 0, open = 0;
    uintptr_t caller = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        left += blocks[i].at != 0;
        if (blocks[i].at != 0) caller = blocks[i].caller;
    }
    for (int i = 3; i < 64; i++) open += !at_start[i] && fcntl(i, F_GETFD) != -1;
    if (left == 0 && open == 0) return;
    Dl_info place = {.dli_fname = "nobody"};
    (void)dladdr((void *)caller, &place); /* NOLINT(performance-no-int-to-ptr): an address from the stack */
    (void)fflush(NULL);
    (void)dprintf(STDERR_FILENO, "%zu blocks not freed, one of them asked for at %s+%#zx; %zu files not closed\n", left,
                  place.dli_fname, (size_t)(caller - (uintptr_t)place.dli_fbase), open);
    _exit(99);
}

void free(void *block) {
    forget(block);
    __libc_free(block);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    if (refused()) return ENOMEM;
    *out = REAL_ALIGNED(alignment, size);
    keep(*out, __builtin_return_address(0));
    return *out == NULL ? ENOMEM : 0;
}
#endif

/* ---- the allocator ----------------------------------------------------------------------------------------------- */

void *OURS(malloc)(size_t size) {
    void *block = refused() ? NULL : REAL_MALLOC(size);
    keep(block, __builtin_return_address(0));
    return block;
}

void *OURS(calloc)(size_t count, size_t size) {
    void *block = refused() ? NULL : REAL_CALLOC(count, size);
    keep(block, __builtin_return_address(0));
    return block;
}

void *OURS(realloc)(void *old, size_t size) {
    if (refused()) return NULL;
    forget(old); /* before its place can be given to another thread */
    void *block = REAL_REALLOC(old, size);
    keep(block, __builtin_return_address(0));
    return block;
}

void *OURS(aligned_alloc)(size_t alignment, size_t size) {
    void *block = refused() ? NULL : REAL_ALIGNED(alignment, size);
    keep(block, __builtin_return_address(0));
    return block;
}

int fsync(int descriptor) {
    const char *signal_number = getenv("FAULT_SIGNAL");
    if (signal_number != NULL) (void)raise((int)strtol(signal_number, NULL, 10));
    return fail_at == UINT64_MAX ? (int)syscall(SYS_fsync, descriptor) : 0; /* thousands of runs need no disk */
}

/* Runs after the constructors of the libraries, before main. */
static void __attribute__((constructor)) begin(void) {
    const char *at = getenv("FAULT_AT"), *on = getenv("FAULT_ON");
    void *frame;
    if (at != NULL) fail_at = strtoull(at, NULL, 10);
    fail_on = on != NULL && strcmp(on, "1") == 0;
    following = getenv("FAULT_COUNT") != NULL;
    (void)backtrace(&frame, 1); /* loads what it needs */
    if (at != NULL) watch();
    counting = true;
}

static void __attribute__((destructor)) end(void) {
    const char *path = getenv("FAULT_COUNT");
    counting = false;
    if (fail_at != UINT64_MAX) expect_nothing_left();
    FILE *file = path == NULL ? NULL : fopen(path, "w");
    if (file == NULL) return;
    (void)fprintf(file, "%llu\n", (unsigned long long)asked);
    for (size_t i = 0; i < PATHS; i++) {
        if (paths[i].hash != 0)
            (void)fprintf(file, "%llu %llu\n", (unsigned long long)paths[i].first, (unsigned long long)paths[i].last);
    }
    (void)fclose(file);
}
