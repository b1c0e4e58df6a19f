/* measure: what the program measures of a run, for any program that links the library.
 *
 * Each measurement has a header of its own below include/deltascope/measure. It takes an open ds_run and a plain structure of
 * options, and gives numbers (ds_X_measure) and the JSON the program writes (ds_X_json; ds_X_results does all at once). Nothing
 * here prints. */
#ifndef DELTASCOPE_MEASURE_H
#define DELTASCOPE_MEASURE_H

#include "deltascope/measure/gates.h"
#include "deltascope/measure/mean_gates.h"
#include "deltascope/measure/spectrum.h"
#include "deltascope/run.h"

#endif
