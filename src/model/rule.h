/* A residual rule as the model room sees it: one struct of facts and functions. Everything else in the room reaches a rule
 * through it, and knows none by name. Private to the model room.
 *
 * A sublayer under any rule: x_in = read(X); c = norm(x_in); coefficients from c and x_in; h = branch(c); X <- write(X, h).
 * Sublayer S stands for the readout, which only reads. */
#ifndef DELTASCOPE_MODEL_RULE_H
#define DELTASCOPE_MODEL_RULE_H

#include "derivative.h"
#include "init.h"
#include "parameter_table.h"

/* The arithmetic, in one precision. `void` arrays are of that precision. A tile's arrays begin with its first row; functions
 * that may be NULL are those of a rule without coefficients. */
typedef struct ds_rule_steps {
    /* The two ends. X_0 of the tile from its tokens; from the gradient at X_0 to g->embeddings, with the tile's sums. The
     * readout of the last state, normed, into hidden (rows,d); from g->dhidden to g->dx_in, with the tile's sums. */
    void (*embed_forward)(const ds_pass *pass, ds_tile tile);
    void (*embed_backward)(const ds_derivative *b, ds_tile tile);
    void (*embed_parameters)(ds_derivative *b); /* beside the table's; may be NULL */
    void (*readout_forward)(const ds_pass *pass, ds_tile tile, void *hidden);
    void (*readout_backward)(const ds_derivative *b, ds_tile tile);

    /* Returns the tile's x_in (rows,d): filled into `x_in`, or the state itself. */
    const void *(*read_forward)(const ds_pass *pass, ds_tile tile, void *x_in);
    /* One token's state gradient (planes,d) gains what comes from dx_in (B,T,d); `future` tokens of the window follow it. */
    void (*read_backward)(const ds_derivative *b, void *dstate, const void *dx_in, size_t token, size_t future);
    /* The same token's gains what comes back through coefficients computed from the state itself, which read_sums has prepared;
     * may be NULL. */
    void (*state_coefficients_backward)(const ds_derivative *b, void *dstate, size_t token);
    /* The tile's sums for the parameters of the read, from g->dx_in; then, after all tiles, their gradients. */
    void (*read_sums)(const ds_derivative *b, ds_tile tile); /* may be NULL */
    void (*read_parameters)(ds_derivative *b);               /* may be NULL */
    /* The tile's tangent of x_in, likewise filled or part of the state's tangent. */
    const void *(*read_tangent)(const ds_derivative *b, ds_tile tile, void *dx_in);

    /* The tile's weights A (rows,sublayer+1) of a read that is a weighted sum of what was written; NULL: it is none. */
    void (*mix)(const ds_pass *pass, ds_tile tile, double *mix);
    /* routing (B,T,...) <- the tile's part of what ds_route gives; NULL: reads choose from no sources. */
    void (*route)(const ds_pass *pass, ds_tile tile, double *routing);

    /* From c and x_in (rows,d) to what the update needs, kept in the workspace; `hidden` (rows, coefficient_hidden). May be
     * NULL. */
    void (*coefficients_forward)(const ds_pass *pass, ds_tile tile, const void *context, const void *x_in, void *hidden);
    /* dcontext, dx_in (rows,d) gain what comes back through the coefficients computed from c, from x_in. `sums`: the tile's
     * sums for parameters too. May be NULL. */
    void (*context_backward)(const ds_derivative *b, ds_tile tile, void *dcontext, bool sums);
    void (*input_backward)(const ds_derivative *b, ds_tile tile, const void *x_in, void *dx_in, bool sums);
    ds_status (*coefficient_parameters)(ds_derivative *b);
    void (*coefficients_tangent)(const ds_derivative *b, ds_tile tile, const void *dcontext, const void *dx_in, size_t worker);

    /* X <- write(X, h) for the tile, h (rows,d) being free to be overwritten. Returns the first row whose new state is not
     * finite, or tile.rows. */
    size_t (*write_forward)(const ds_pass *pass, ds_tile tile, void *h);
    /* From the gradient at the new state to g->dbranch, and to what comes back through the coefficients. */
    void (*write_backward)(const ds_derivative *b, ds_tile tile);
    /* One token's state gradient (planes,d) goes back along the shortcut, in place. NULL: the identity. */
    void (*shortcut_backward)(const ds_derivative *b, void *dstate, size_t token);
    /* b->state from the state's tangent to that of the new state, dh being in g->dbranch, which may be overwritten. */
    void (*write_tangent)(const ds_derivative *b, ds_tile tile);
    /* jacobian (d*planes, d*planes) as ds_token_jacobian gives it; v's arrays are free to be overwritten. */
    ds_status (*token_jacobian)(const ds_derivative *b, double *jacobian, const ds_token_directions *v);
} ds_rule_steps;

struct ds_rule {
    /* facts, as the accessors of model.h give them */
    const char *name, *title, *limits;
    ds_rule_kind kind;
    bool has_gates, has_operators;
    bool keeps_history;  /* sublayer s writes plane s+1 of the state and nothing else: all states of a pass are one array */
    bool forces_readout; /* a pass has a force for the readout too */
    const void *form;    /* of a rule that shares its functions with others: what tells them apart */
    const ds_intervention *interventions;
    size_t intervention_count;
    size_t (*planes)(const ds_spec *spec);
    double (*flops)(const ds_spec *spec); /* of one update per token, its coefficients included */
    /* Whether a pass can run with this force; DS_ERR_USAGE naming the sublayer. */
    ds_status (*check_force)(ds_force force, size_t sublayer);
    ds_status (*check_pass)(const ds_pass *pass); /* and whether it has what the force needs; may be NULL */
    bool (*is_identity)(ds_force trained, ds_force force); /* `force` on top of what the model always does */
    /* reached (parameters) loses what the loss does not depend on in a sublayer that always does `trained`; may be NULL. */
    void (*unreached)(bool *reached, const ds_model *model, const ds_layer_weights *layer, size_t half, ds_force trained);

    /* parameters: of the model before and after its layers, and of every layer, with slots in ds_model and ds_layer_weights; of
     * every sublayer, with slots in ds_layer_weights.rule[half] and names that begin with this half's prefix */
    ds_table_rows front, layer, sublayer, back;
    const char *prefixes[2];
    void (*start)(ds_start *starts, const ds_model *model); /* how they are initialised; NULL: as others of their rank */

    bool (*reads_in_place)(const ds_spec *spec); /* x_in is the state itself, not an array that the read fills */

    /* memory; each may be NULL */
    bool (*reads_other_tokens)(const ds_spec *spec);   /* the read needs states of earlier tokens: a step of its own */
    size_t (*coefficient_hidden)(const ds_spec *spec); /* numbers per token between c and the coefficients */
    size_t (*partial_count)(const ds_spec *spec);      /* doubles per tile for sums of gradients */
    ds_status (*workspace_init)(ds_workspace *w);      /* arrays of w->rule */
    ds_status (*gradient_init)(ds_gradient *g);        /* arrays of g->rule */

    /* What observers see beyond what all rules have; NULL: nothing. observe_init makes room for what is wanted. */
    ds_status (*observe_init)(ds_workspace *w, unsigned wants);
    void (*observe)(ds_observation *seen, const ds_pass *pass);
    void (*observe_gradient)(ds_gradient_event *event, const ds_derivative *b);

    const ds_rule_steps *steps[2]; /* by ds_precision */
};

static inline bool ds_rule_reads_other_tokens(const ds_spec *spec) {
    return spec->rule->reads_other_tokens != NULL && spec->rule->reads_other_tokens(spec);
}
static inline size_t ds_rule_coefficient_hidden(const ds_spec *spec) {
    return spec->rule->coefficient_hidden != NULL ? spec->rule->coefficient_hidden(spec) : 0;
}
/* parameter NULL: nothing to do. */
static inline void ds_unreach(bool *reached, const ds_model *model, const ds_parameter *parameter) {
    if (parameter != NULL) reached[parameter - model->parameters] = false;
}
static inline const ds_rule *ds_pass_rule(const ds_pass *pass) { return pass->model->spec.rule; }

#endif
