/* Runs the program under test (environment DELTASCOPE, or build/deltascope) as a script would, within limits. */
#ifndef DELTASCOPE_TESTS_CHILD_H
#define DELTASCOPE_TESTS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct child_limits {
    uint64_t address_space; /* bytes; 0: none. Ignored under AddressSanitizer, whose shadow is larger than any limit */
    uint64_t file_size;     /* bytes of a written file; 0: none */
    unsigned full_after;    /* microseconds until file_size holds */
    unsigned seconds;       /* of real time, after which it is killed; 0: 60 */
    const char *out;        /* where standard output goes; NULL: kept */
    bool closed_out;        /* standard output is a pipe nobody reads */
    const char *preset[2];  /* one environment variable and its value, or NULL */
    int kill_with;          /* a signal sent after `kill_after` microseconds; 0: none */
    unsigned kill_after;
} child_limits;

typedef struct child {
    int status; /* exit status, or -1 */
    int signal; /* that ended it, or 0 */
    double seconds;
    char out[1 << 16]; /* what it printed, cut and NUL-terminated */
    char err[1 << 14];
} child;

/* `arguments` ends with NULL and does not hold the program's name. */
void child_run(child *result, const char *const *arguments, child_limits limits);
/* The same for a program of another name. */
void child_run_program(child *result, const char *program, const char *const *arguments, child_limits limits);
bool child_under_sanitizer(void);

#define CHILD_RUN(result, limits, ...) child_run((result), (const char *const[]){__VA_ARGS__, NULL}, (limits))

#endif
