/* What outfile.c takes from folder.c. */
#ifndef DELTASCOPE_BASE_FOLDER_H
#define DELTASCOPE_BASE_FOLDER_H

#include "deltascope/base.h"

/* *descriptor <- the folder (O_PATH) that `path` below `folder` ends in, *name <- where in `path` its last part begins. With
 * `make`, missing folders on the way are made. The caller closes the descriptor; -1 after a failure. */
ds_status ds_folder_descend(int *descriptor, const char **name, const ds_folder *folder, const char *path,
                            bool make) DS_MUST_CHECK;

#endif
