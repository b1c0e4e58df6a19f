/* The files of plots/, compiled in as strings, so that the program needs no files beside itself. */
#include "figure.h"

/* Paths are those seen from the top of the repository, where make runs the compiler. */
#define TEMPLATE(symbol, file)                                                                                                 \
    __asm__(".pushsection .rodata\n.global " #symbol "\n" #symbol ":\n.incbin \"plots/" file "\"\n.byte 0\n.popsection\n")

TEMPLATE(ds_plot_style, "style.gp");
TEMPLATE(ds_plot_gate_distribution, "gate-distribution.gp");
TEMPLATE(ds_plot_eigenvalue_beta, "eigenvalue-beta.gp");
TEMPLATE(ds_plot_closed_gate_loss, "closed-gate-loss.gp");
