#include <gsl/gsl_errno.h>

#include "deltascope/stats.h"

#include "gsl.h"

static _Thread_local int complaint;

static void note(const char *reason, const char *file, int line, int code) {
    (void)file;
    (void)line;
    (void)reason;
    if (complaint == 0) complaint = code;
}

void ds_stats_hooks(void) { (void)gsl_set_error_handler(note); }

void ds_gsl_begin(void) { complaint = 0; }

static ds_status failed(int code) {
    return ds_fail(DS_ERR_SYSTEM, "the GNU Scientific Library failed: %s", gsl_strerror(code));
}

ds_status ds_gsl_status(void) {
    int code = complaint;
    complaint = 0;
    return code == 0 ? DS_OK : failed(code);
}

ds_status ds_gsl_failure(void) {
    int code = complaint;
    complaint = 0;
    return failed(code == 0 ? GSL_ENOMEM : code);
}
