/* How a training goes, in one line of a terminal. */
#ifndef DELTASCOPE_COMMANDS_TRAINING_LINE_H
#define DELTASCOPE_COMMANDS_TRAINING_LINE_H

#include "deltascope/report.h"
#include "deltascope/train.h"

typedef struct ds_training_line {
    ds_terminal terminal; /* its unicode: whether the curve may have other characters than ASCII's */
    double product_rate;  /* floating-point operations a second of the machine's matrix product */
    char text[256];
} ds_training_line;

/* The loss and its curve, speed and what it is of the machine's, learning rate and update: as many of them, in this order, as
 * leave room for the share done and the time left. `context` is a ds_training_line. */
const char *ds_training_line_text(void *context, const ds_training_progress *now);

#endif
