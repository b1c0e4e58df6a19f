/* OpenBLAS maps its work space when it is first needed, one block for every thread inside it at once, and tries for ever when a block
 * cannot be had. So the blocks are taken before LAPACK is called, each after a look whether it is there. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "finite.h"

/* Weak, so that a BLAS without these functions links too. */
extern void *blas_memory_alloc(int position) __attribute__((weak));
extern void blas_memory_free(void *block) __attribute__((weak));

enum { MOST_BLOCKS = 128 }; /* OpenBLAS has more places than that for them; larger machines take their chances */

static bool could_be_mapped(void) {
    const size_t size = (size_t)129 << 20; /* BUFFER_SIZE of x86-64 and arm64, 128 MiB, and something to spare */
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block != MAP_FAILED) (void)munmap(block, size);
    return block != MAP_FAILED;
}

/* Held together, so that each is a new one; OpenBLAS keeps what is given back. */
static ds_status take_blocks(atomic_size_t *taken, size_t wanted) {
    void *blocks[MOST_BLOCKS];
    size_t held = 0;
    while (held < wanted && (held < atomic_load(taken) || could_be_mapped())) blocks[held++] = blas_memory_alloc(0);
    for (size_t i = 0; i < held; i++) blas_memory_free(blocks[i]);
    if (held > atomic_load(taken)) atomic_store(taken, held);
    if (held == wanted) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM,
                   "out of memory: OpenBLAS needs 128 MiB of address space for each of %zu threads, and there is room for %zu; "
                   "fewer --threads need less",
                   wanted, held);
}

ds_status ds_lapack_reserve(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static atomic_size_t taken;
    size_t wanted = ds_min_size(ds_threads(), MOST_BLOCKS);
    if (blas_memory_alloc == NULL || blas_memory_free == NULL || atomic_load(&taken) >= wanted) return DS_OK;
    pthread_mutex_lock(&lock);
    ds_status status = take_blocks(&taken, wanted);
    pthread_mutex_unlock(&lock);
    return status;
}
