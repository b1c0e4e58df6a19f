/* On what a result was computed: what can decide its last bits, and where to look when two of them differ. */
#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>

#include "deltascope/num.h"
#include "deltascope/run.h"
#include "deltascope/spectra.h"
#include "deltascope/stats.h"

#include "environment.h"

/* The kernels are compiled for the vector units of one machine; without fused operations their last bits are others. */
static const char *arithmetic(void) {
#ifdef __FMA__
    return "fma";
#else
    return "no-fma";
#endif
}

/* "AMD EPYC 7763", as the kernel calls the first processor. */
static void put_processor(ds_json_builder *b) {
    char line[256], found[256] = "unknown";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, "model name", strlen("model name")) != 0) continue;
        const char *name = colon + 1 + strspn(colon + 1, " ");
        (void)snprintf(found, sizeof found, "%.*s", (int)strcspn(name, "\n"), name);
        break;
    }
    if (file != NULL) (void)fclose(file);
    ds_json_put_text(b, "processor", found);
}

/* "NAME VERSION" of each library that numbers pass through. */
static ds_status put_libraries(ds_json_builder *b) {
    ds_status status = DS_OK;
    ds_text lines = {0};
    DS_TRY(ds_io_libraries(&lines));
    DS_TRY(ds_spectra_libraries(&lines));
    DS_TRY(ds_stats_libraries(&lines));
    ds_json_begin_array(b, "libraries");
    for (char *at = lines.bytes, *end; at != NULL && *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        if (end == NULL) break;
        *end = '\0';
        ds_json_put_text(b, NULL, at);
    }
    ds_json_end(b);
done:
    ds_text_release(&lines);
    return status;
}

ds_status ds_environment_put(ds_json_builder *b) {
    ds_status status = DS_OK;
    ds_json_put_text(b, "arithmetic", arithmetic());
    ds_json_begin_object(b, "environment");
    put_processor(b);
    ds_json_put_text(b, "blas", ds_blas_name());
    ds_json_put_text(b, "libc", gnu_get_libc_version());
    DS_TRY(put_libraries(b));
    ds_json_end(b);
done:
    return status;
}
