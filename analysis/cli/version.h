/* What --version prints: the program's version and those of the libraries it runs with. */
#ifndef DELTASCOPE_CLI_VERSION_H
#define DELTASCOPE_CLI_VERSION_H

#include "deltascope/base.h"

ds_status ds_version_text(ds_text *text) DS_MUST_CHECK;

#endif
