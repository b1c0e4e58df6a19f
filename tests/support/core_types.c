#include "core_types.h"

#include <stdio.h>
#include <string.h>

size_t core_types(const char *types[CORE_TYPES]) {
    static const struct {
        const char *type, *flag;
    } known[] = {{"Haswell", " fma "}, {"SkylakeX", " avx512vl "}, {"Prescott", " pni "}};
    size_t count = 0;
    char line[1 << 14];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "flags", 5) != 0) continue;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            if (strstr(line, known[i].flag) != NULL) types[count++] = known[i].type;
        }
        break;
    }
    if (file != NULL) (void)fclose(file);
    return count;
}
