#include "core_types.h"

#include <stdio.h>
#include <string.h>

/* Families of kernels that differ, then their kin. */
static const struct {
    const char *type, *flag;
} known[EVERY_CORE_TYPE] = {{"Haswell", " fma "}, {"SkylakeX", " avx512vl "}, {"Prescott", " pni "},
                            {"Zen", " fma "},     {"Sandybridge", " avx "},   {"Nehalem", " sse4_2 "}};

/* Those of the first `most` that the processor has the instructions for. */
static size_t list(const char **types, size_t most) {
    size_t count = 0;
    char line[1 << 14];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "flags", 5) != 0) continue;
        for (size_t i = 0; i < most; i++) {
            if (strstr(line, known[i].flag) != NULL) types[count++] = known[i].type;
        }
        break;
    }
    if (file != NULL) (void)fclose(file);
    return count;
}

size_t core_types(const char *types[CORE_TYPES]) { return list(types, CORE_TYPES); }

size_t every_core_type(const char *types[EVERY_CORE_TYPE]) { return list(types, EVERY_CORE_TYPE); }
