/* What to say of a tensor that is not there. Private to model. */
#ifndef DELTASCOPE_MODEL_MISSING_H
#define DELTASCOPE_MODEL_MISSING_H

#include "deltascope/model.h"

/* DS_ERR_INPUT that names the tensor, the nearest one of the checkpoint that is not wanted for something else (`wanted` has a
 * flag for each tensor, in order), and which program's names the file has, when they are another's. */
ds_status ds_missing_tensor(const ds_checkpoint *checkpoint, const ds_spec *spec, const bool *wanted, const char *name,
                            const char *role) DS_MUST_CHECK;
/* Which other program's names these are: "GPT-2 (...)"; NULL: none that is known. */
const char *ds_family_of(const ds_checkpoint *checkpoint);

#endif
