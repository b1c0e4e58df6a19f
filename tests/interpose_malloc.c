/* Linked into deltascope-faults: the program with an allocator that fails when told.
 *   FAULT_AT=n       the n-th allocation after the start of main (from 0) fails; with FAULT_ON=1 all from there on
 *   FAULT_COUNT=FILE the number of allocations asked for is written there when the program exits
 *   FAULT_SIGNAL=s   signal s arrives while a file is being finished: written, not yet renamed
 * The libraries' allocations count too: they find these functions first. Under sanitizers, which bring their own allocator,
 * the linker's --wrap catches the program's own calls only. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
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
#endif
void *REAL_MALLOC(size_t size);
void *REAL_CALLOC(size_t count, size_t size);
void *REAL_REALLOC(void *old, size_t size);
void *REAL_ALIGNED(size_t alignment, size_t size);

static atomic_ullong asked;
static unsigned long long fail_at = UINT64_MAX;
static int fail_on, counting;

static int refused(void) {
    if (!counting) return 0;
    unsigned long long now = atomic_fetch_add(&asked, 1);
    if (now != fail_at && !(fail_on && now > fail_at)) return 0;
    errno = ENOMEM;
    return 1;
}

void *OURS(malloc)(size_t size) { return refused() ? NULL : REAL_MALLOC(size); }
void *OURS(calloc)(size_t count, size_t size) { return refused() ? NULL : REAL_CALLOC(count, size); }
void *OURS(realloc)(void *old, size_t size) { return refused() ? NULL : REAL_REALLOC(old, size); }
void *OURS(aligned_alloc)(size_t alignment, size_t size) { return refused() ? NULL : REAL_ALIGNED(alignment, size); }

#ifndef FAULT_WRAP
int posix_memalign(void **out, size_t alignment, size_t size) {
    if (refused()) return ENOMEM;
    *out = REAL_ALIGNED(alignment, size);
    return *out == NULL ? ENOMEM : 0;
}
#endif

int fsync(int descriptor) {
    const char *signal_number = getenv("FAULT_SIGNAL");
    if (signal_number != NULL) (void)raise(atoi(signal_number));
    return (int)syscall(SYS_fsync, descriptor);
}

/* Runs after the constructors of the libraries, before main. */
static void __attribute__((constructor)) begin(void) {
    const char *at = getenv("FAULT_AT"), *on = getenv("FAULT_ON");
    if (at != NULL) fail_at = strtoull(at, NULL, 10);
    fail_on = on != NULL && strcmp(on, "1") == 0;
    counting = 1;
}

static void __attribute__((destructor)) end(void) {
    const char *path = getenv("FAULT_COUNT");
    counting = 0;
    FILE *file = path == NULL ? NULL : fopen(path, "w");
    if (file == NULL) return;
    (void)fprintf(file, "%llu\n", atomic_load(&asked));
    (void)fclose(file);
}
