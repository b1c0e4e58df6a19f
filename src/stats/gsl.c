#include <gsl/gsl_errno.h>
#include <pthread.h>

#include "gsl.h"

static _Thread_local int complaint;

/* GSL's own handler aborts. */
static void note(const char *reason, const char *file, int line, int code) {
    (void)file;
    (void)line;
    (void)reason;
    if (complaint == 0) complaint = code;
}

static void install(void) { (void)gsl_set_error_handler(note); }

void ds_gsl_prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
    complaint = 0;
}

ds_status ds_gsl_status(void) {
    int code = complaint;
    complaint = 0;
    return code == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "the GNU Scientific Library failed: %s", gsl_strerror(code));
}
