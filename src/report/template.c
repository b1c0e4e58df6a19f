/* The files of plots/, compiled in as strings, so that the program needs no files beside itself. */
#include "figure.h"

/* Paths are those seen from the top of the repository, where make runs the compiler. */
#define TEMPLATE(symbol, file)                                                                                                 \
    __asm__(".pushsection .rodata\n.global " #symbol "\n.hidden " #symbol "\n" #symbol ":\n.incbin \"plots/" file              \
            "\"\n.byte 0\n.popsection\n")

TEMPLATE(ds_plot_style, "style.gp");
TEMPLATE(ds_plot_gate_distribution, "gate-distribution.gp");
TEMPLATE(ds_plot_regime_shares, "regime-shares.gp");
TEMPLATE(ds_plot_discrepancy, "discrepancy.gp");
TEMPLATE(ds_plot_edit_sizes, "edit-sizes.gp");
TEMPLATE(ds_plot_eigenvalue_beta, "eigenvalue-beta.gp");
TEMPLATE(ds_plot_accumulated_eigenvalues, "accumulated-eigenvalues.gp");
TEMPLATE(ds_plot_singular_values, "singular-values.gp");
TEMPLATE(ds_plot_depth_spectrum, "depth-spectrum.gp");
TEMPLATE(ds_plot_depth_gain, "depth-gain.gp");
TEMPLATE(ds_plot_coherence, "coherence.gp");
TEMPLATE(ds_plot_closed_gate_loss, "closed-gate-loss.gp");
TEMPLATE(ds_plot_closed_gate_cumulative, "closed-gate-cumulative.gp");
TEMPLATE(ds_plot_controls, "controls.gp");
TEMPLATE(ds_plot_gradient_paths, "gradient-paths.gp");
TEMPLATE(ds_plot_frozen_full, "frozen-full.gp");
TEMPLATE(ds_plot_weight_spectra, "weight-spectra.gp");
TEMPLATE(ds_plot_checkpoints, "checkpoints.gp");
TEMPLATE(ds_plot_contribution_maps, "contribution-maps.gp");
TEMPLATE(ds_plot_mass_cause, "mass-cause.gp");
TEMPLATE(ds_plot_trajectory_loss, "trajectory-loss.gp");
TEMPLATE(ds_plot_trajectory_gates, "trajectory-gates.gp");
TEMPLATE(ds_plot_training_curves, "training-curves.gp");
TEMPLATE(ds_plot_gates_over_training, "gates-over-training.gp");
TEMPLATE(ds_plot_contrasts, "contrasts.gp");
TEMPLATE(ds_plot_groups, "groups.gp");
TEMPLATE(ds_plot_study_curves, "study-curves.gp");
TEMPLATE(ds_plot_study_differences, "study-differences.gp");
TEMPLATE(ds_plot_study_seeds, "study-seeds.gp");
TEMPLATE(ds_plot_study_sweep, "study-sweep.gp");
