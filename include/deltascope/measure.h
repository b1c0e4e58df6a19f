/* measure: what the program measures of a run, for any program that links the library.
 *
 * Each measurement has a header of its own below include/deltascope/measure. It takes an open ds_run and a plain structure of
 * options, and gives numbers (ds_X_measure) and the JSON the program writes (ds_X_json; ds_X_results does all at once). Nothing
 * here prints. */
#ifndef DELTASCOPE_MEASURE_H
#define DELTASCOPE_MEASURE_H

#include "deltascope/measure/checkpoint_comparison.h"
#include "deltascope/measure/checkpoint_inspection.h"
#include "deltascope/measure/depth_mixing.h"
#include "deltascope/measure/external_reference.h"
#include "deltascope/measure/forced_gates.h"
#include "deltascope/measure/gate_attribution.h"
#include "deltascope/measure/gates.h"
#include "deltascope/measure/gradient_flow.h"
#include "deltascope/measure/group_comparison.h"
#include "deltascope/measure/mean_gates.h"
#include "deltascope/measure/seed_contrasts.h"
#include "deltascope/measure/spectrum.h"
#include "deltascope/measure/sublayer_jacobians.h"
#include "deltascope/measure/token_trace.h"
#include "deltascope/measure/verification.h"
#include "deltascope/run.h"

#endif
