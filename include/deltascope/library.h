/* library: what a program does once for the libraries under this one.
 *
 * Nothing else in deltascope changes a setting of the process: no allocator, error handler, signal, locale or thread count of another
 * library. A program that never calls ds_library_init keeps all of its own. */
#ifndef DELTASCOPE_LIBRARY_H
#define DELTASCOPE_LIBRARY_H

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

/* For a program that is about deltascope and wants its sentences when memory runs out, and LAPACK's bits independent of the machine's
 * number of cores. Once, in main, before other threads start and before FLINT, GMP or jansson are used; later calls do nothing.
 *   jansson   its allocator notes failures      (else: memory that ran out while JSON is read may be reported as a fault of the file)
 *   FLINT,GMP allocators that end the process by ds_give_up when memory runs out                           (else: they call abort())
 *   OpenBLAS  one thread for each call                                            (else: as many as the process has set; results of
 *             LAPACK then may differ in last bits between thread counts; models do not use BLAS, and never differ)
 * GSL is called only with arguments that it accepts and with memory that is there: its error handler is never reached. */
void ds_library_init(void);

DS_END_DECLARATIONS

#endif
