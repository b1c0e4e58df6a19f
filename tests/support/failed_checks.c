#include "failed_checks.h"

#include "support.h"

size_t failed_checks(ds_verify *verify, const char *model) {
    size_t failed = 0;
    for (size_t i = 0; i < ds_check_count(); i++) {
        ds_check_result result;
        expect_ok(ds_verify_check(&result, verify, i));
        if (result.status != DS_CHECK_FAIL) continue;
        failed++;
        print_message("%s\n  %s: %g > %g (%s)\n", model, ds_check_id(i), result.measured, result.tolerance, result.detail);
    }
    return failed;
}
