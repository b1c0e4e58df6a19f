/* Forced gates: which cases a run consists of, and their losses over one batch of windows, sharing work.
 *
 * The state before the first forced sublayer is computed once for all cases, a closed gate costs nothing (its sublayer leaves
 * the state as it is, so it is not run), and equal cases are computed once. */
#ifndef DELTASCOPE_MEASURE_ABLATION_H
#define DELTASCOPE_MEASURE_ABLATION_H

#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_case {
    char name[48];    /* CONTRACT: "closed:3.mlp", "closed:all", "closed-from:4", ... */
    const char *mode; /* an intervention of the rule: "closed", "open", ... */
    bool needs_mean;
    ds_force *gates; /* (forces): DS_FORCE_NONE where the case forces nothing */
    bool *forced;    /* (forces) */
    size_t same_as;  /* index of the earliest case with the same gates: its own index when there is none */
    bool left_out;   /* ds_ablation_run passes it over */
} ds_case;

typedef struct ds_case_list {
    ds_case *cases;
    size_t count, capacity, sublayers;
    size_t forces;    /* ds_spec_forces: the sublayers, and the readout where it can be forced */
    bool needs_means; /* one of them needs a mean: ds_case_list_set_means before running */
    double *mixing;   /* (sublayers, n(n+2)): the means of parallel streams, or NULL */
} ds_case_list;

/* Appends the scopes ("each", "attn", ...), and the modes of all rules, each once, with `between` after each but the last two
 * and `before_last` before the last. */
ds_status ds_scope_words(ds_text *text, const char *between, const char *before_last) DS_MUST_CHECK;
ds_status ds_mode_words(ds_text *text, const char *between, const char *before_last) DS_MUST_CHECK;
/* Cases of comma-separated modes x scopes, in the order modes, scopes, sublayers; scopes NULL: all a mode has a meaning in.
 * Unknown words, modes the checkpoint's rule does not have, and scopes none of which suits a mode, are DS_ERR_USAGE. */
ds_status ds_case_list_parse(ds_case_list *list, const ds_spec *spec, const char *modes, const char *scopes) DS_MUST_CHECK;
/* Every mode of the rule in every scope; those that need a mean only if asked for. */
ds_status ds_case_list_all(ds_case_list *list, const ds_spec *spec, bool means) DS_MUST_CHECK;
/* For the sentence that refuses a case of that name: ` (did you mean "closed:3.mlp"?)`, or nothing. */
ds_name ds_case_list_hint(const ds_case_list *list, const char *word, size_t length);
/* means (sublayers, length), length being ds_mean_length: as ds_mean_gates finds them. */
ds_status ds_case_list_set_means(ds_case_list *list, const double *means, size_t length) DS_MUST_CHECK;
/* Leaves out all but the cases named (comma separated) and those they are equal to. Names of no case are passed over. */
void ds_case_list_keep(ds_case_list *list, const char *names);
void ds_case_list_release(ds_case_list *list);
/* gates (ds_spec_forces) <- what case names like "closed:3.mlp" or "closed-from:4,open:attn" (comma separated, later ones win)
 * force; learned elsewhere. mean-gate is not among them: a mean needs data. Unknown names are DS_ERR_USAGE naming `option`. */
ds_status ds_gates_parse(ds_force *gates, const ds_spec *spec, const char *words, const char *option) DS_MUST_CHECK;

typedef struct ds_ablation ds_ablation;
/* Buffers for batches of up to `sequences` windows of `length` tokens. */
ds_status ds_ablation_new(ds_ablation **out, const ds_model *model, const ds_case_list *list, size_t sequences,
                          size_t length) DS_MUST_CHECK;
void ds_ablation_free(ds_ablation **ablation); /* sets NULL; NULL is fine */

/* How many windows a batch should hold so that the buffers stay within about a GiB. Results do not depend on it. */
size_t ds_ablation_sequences(const ds_model *model, const ds_case_list *list, size_t length);

/* What a batch costs beside one forward pass over it, counting operations: shared work once, every case's output head. */
double ds_ablation_forward_equivalents(const ds_ablation *ablation);

typedef void (*ds_ablation_tick)(void *context, double share); /* share of this batch that is done, 0..1 */

/* baseline (B): mean loss of each window, intact. loss, kl (cases, B), row-major: mean loss and mean KL(intact || case) of each
 * window. Equal cases get equal rows. `tick` may be NULL. */
ds_status ds_ablation_run(ds_ablation *ablation, ds_workspace *workspace, const ds_batch *batch, double *baseline, double *loss,
                          double *kl, ds_ablation_tick tick, void *context) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
