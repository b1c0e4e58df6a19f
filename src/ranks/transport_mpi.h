/* Private to the ranks room: what the plug-in gives. */
#ifndef DELTASCOPE_RANKS_TRANSPORT_MPI_H
#define DELTASCOPE_RANKS_TRANSPORT_MPI_H

#include "deltascope/ranks.h"

#define DS_MPI_PLUGIN "deltascope-mpi.so"
#define DS_MPI_ENTRY "ds_transport_mpi"
/* Joins the other ranks. NULL, or why it cannot. */
typedef const char *ds_transport_begin(ds_transport *out);

#endif
