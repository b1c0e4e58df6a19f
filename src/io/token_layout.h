/* Where the ids of a token file lie and how each is stored. Private to io. */
#ifndef DELTASCOPE_IO_TOKEN_LAYOUT_H
#define DELTASCOPE_IO_TOKEN_LAYOUT_H

#include "catalog.h"

typedef struct ds_token_layout {
    uint64_t offset; /* of the first id, bytes from the start of the file; the ids reach to its end */
    uint64_t count;
    size_t width; /* bytes per id: 1, 2, 4 or 8 */
    bool is_signed, big_endian;
    bool raw; /* nothing in the file says the above */
} ds_token_layout;

/* From a .npy file (numpy's format 1.0, 2.0 or 3.0). The header is a Python dict literal with exactly the keys descr,
 * fortran_order and shape; it is parsed as such and nothing in it is evaluated. Integers of 1 to 8 bytes in either byte order;
 * any rank from 1 on, in C order, is one flat list of ids. */
ds_status ds_npy_layout(ds_token_layout *layout, const ds_source *source) DS_MUST_CHECK;

#endif
