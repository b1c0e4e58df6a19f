/* Two folders that hold the same bytes. */
#ifndef DELTASCOPE_TESTS_SAME_FOLDERS_H
#define DELTASCOPE_TESTS_SAME_FOLDERS_H

#include <stdbool.h>

/* Fails unless each has all the files of the other with the same bytes, but for the bytes of those that may differ (NULL:
 * none may). */
void expect_same_folders(const char *one, const char *other, bool (*may_differ)(const char *path));
void remove_folder(const char *path);

#endif
