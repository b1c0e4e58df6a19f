#include "deltascope/library.h"

#include <pthread.h>

#include "deltascope/io.h"
#include "deltascope/num.h"
#include "deltascope/spectra.h"

static void install(void) {
    ds_io_install_hooks();
    ds_spectra_install_hooks();
    ds_num_install_hooks();
}

void ds_library_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
}
