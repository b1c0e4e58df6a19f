#include <math.h>
#include <string.h>

#include "support.h"

void expect_close_at(double found, double expected, double tolerance, const char *file, int line) {
    if (!(fabs(found - expected) <= tolerance)) {
        print_error("found %.17g, expected %.17g, error %.3g, tolerance %.3g\n", found, expected, fabs(found - expected),
                    tolerance);
        _fail(file, line);
    }
}

void expect_status_at(ds_status found, ds_status expected, const char *words, const char *file, int line) {
    const char *sentence = found == DS_OK ? "" : ds_error_text();
    if (found != expected || strstr(sentence, words) == NULL) {
        print_error("found status %d \"%s\", expected status %d with \"%s\"\n", (int)found, sentence, (int)expected, words);
        _fail(file, line);
    }
}
