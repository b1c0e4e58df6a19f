/* compare: several checkpoints on the same data, each for itself or in groups that differ in their seed. */
#include <string.h>

#include "cli/standard_streams.h"
#include "comparison_view.h"
#include "deltascope/measure/group_comparison.h"
#include "group_view.h"
#include "model_command.h"
#include "rehearsal.h"
#include "run_notes.h"

enum { MOST_CHECKPOINTS = 64 };

/* The command's own options. */
typedef struct compare_options {
    ds_compare_options measured;
    ds_words groups;
    const char *gradients;
    double margin; /* nats */
} compare_options;
#define MEASURED(field) offsetof(compare_options, measured.field)
static const compare_options defaults = {
    .measured = {.shut = "each", .regime_tolerance = 0.1}, .gradients = "states", .margin = DS_EQUIVALENCE_MARGIN};

static const ds_option options[] = {
    {"labels", "LIST", "names for the checkpoints, comma separated (the last parts of each path that tell it apart)",
     DS_OPTION_TEXT, MEASURED(labels), 0, NULL},
    {"trajectory", NULL, "the checkpoints are steps of one training run: sort them by step, draw curves", DS_OPTION_FLAG,
     MEASURED(trajectory), 0, NULL},
    {"shut", "each|none", "whether to shut each gate alone, the costly part (each)", DS_OPTION_CHOICE, MEASURED(shut), 0, NULL},
    {"gradients", "states|none", "with --group: whether to measure the gradient that reaches each state (states)",
     DS_OPTION_CHOICE, offsetof(compare_options, gradients), 0, NULL},
    {"rules", NULL, "also what residual rules are compared by: contributions, gradients, gains, forced parts, health",
     DS_OPTION_FLAG, MEASURED(rules), 0, NULL},
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     MEASURED(regime_tolerance), 0, NULL},
    {"group", "NAME=CHECKPOINT,...", "checkpoints that differ in their seed alone; once a group, in place of operands",
     DS_OPTION_LIST, offsetof(compare_options, groups), 0, NULL},
    {"margin", "X", "with --group: the difference in nats up to which two groups are equivalent (0.005)", DS_OPTION_TOLERANCE,
     offsetof(compare_options, margin), 0, NULL},
};

static const ds_result_column loss_columns[] = {
    DS_CELL("checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0, "label"),
    DS_CELL("variant", NULL, NULL, DS_COLUMN_TEXT, 0, "variant"),
    DS_CELL("loss", NULL, "nats", DS_COLUMN_FIXED, 4, "loss"),
    DS_CELL("delta_loss", "Δ first", "nats", DS_COLUMN_FIXED, 4, "difference"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "difference_ci95/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "difference_ci95/1"),
    DS_CELL("p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "p_value_holm"),
};
static const ds_result_column gate_columns[] = {
    DS_CELL("checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0, "label"),
    DS_CELL("layers", NULL, NULL, DS_COLUMN_INTEGER, 0, "layers"),
    DS_CELL("beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3, "overall/beta_mean"),
    DS_CELL("identity", "ident", NULL, DS_COLUMN_PERCENT, 1, "overall/regimes/identity"),
    DS_CELL("damped", "damp", NULL, DS_COLUMN_PERCENT, 1, "overall/regimes/damped"),
    DS_CELL("projection", "proj", NULL, DS_COLUMN_PERCENT, 1, "overall/regimes/projection"),
    DS_CELL("over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1, "overall/regimes/over_relaxed"),
    DS_CELL("reflection", "refl", NULL, DS_COLUMN_PERCENT, 1, "overall/regimes/reflection"),
    DS_CELL("relative_edit", "edit/|X|", NULL, DS_COLUMN_FIXED, 3, "overall/relative_edit"),
};
static const ds_result_column part_columns[] = {
    DS_CELL("checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0, "label"),
    DS_CELL("part", "forced", NULL, DS_COLUMN_TEXT, 0, "part"),
    DS_CELL("delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4, "delta_loss"),
    DS_CELL("low", "95% low", NULL, DS_COLUMN_FIXED, 4, "delta_loss_ci95/0"),
    DS_CELL("high", "95% high", NULL, DS_COLUMN_FIXED, 4, "delta_loss_ci95/1"),
    DS_CELL("p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "p_value_holm"),
    DS_CELL("kl", "KL", "nats", DS_COLUMN_FIXED, 4, "kl"),
};
static const ds_result_column health_columns[] = {
    DS_CELL("checkpoint", NULL, NULL, DS_COLUMN_TEXT, 0, "label"),
    DS_CELL("backbone", NULL, NULL, DS_COLUMN_TEXT, 0, "rules/backbone"),
    DS_CELL("deepest_largest", "largest", NULL, DS_COLUMN_FIXED, 3, "rules/health/deepest_largest"),
    DS_CELL("deepest_entropy", "entropy", NULL, DS_COLUMN_FIXED, 3, "rules/health/deepest_entropy"),
    DS_CELL("coefficient_std", "token σ", NULL, DS_COLUMN_REAL, 2, "rules/health/coefficient_std"),
    DS_CELL("identity", "ident", NULL, DS_COLUMN_PERCENT, 1, "overall/regimes/identity"),
    DS_CELL("stream_cosine", "cosine", NULL, DS_COLUMN_FIXED, 3, "rules/health/stream_cosine"),
    DS_CELL("row_defect", "row off", NULL, DS_COLUMN_REAL, 2, "rules/health/row_defect"),
    DS_CELL("column_defect", "col. off", NULL, DS_COLUMN_REAL, 2, "rules/health/column_defect"),
    DS_CELL("logit_range", "logits", NULL, DS_COLUMN_REAL, 2, "rules/health/logit_range"),
    DS_CELL("dead_tensors", "dead", NULL, DS_COLUMN_INTEGER, 0, "rules/health/dead_tensors"),
    DS_CELL("parameters_added", "added", NULL, DS_COLUMN_INTEGER, 0, "rules/health/parameters_added"),
    DS_CELL("rank_correlation", "mass~cost", NULL, DS_COLUMN_FIXED, 2, "rules/mass_cost_rank_correlation"),
    DS_CELL("gini", NULL, NULL, DS_COLUMN_FIXED, 2, "rules/cost_gini"),
};
enum { PARTS, HEALTH, RULE_TABLES };
static const ds_result_table rule_kinds[] = {
    [PARTS] = {.id = "rule-parts",
               .title = "Is the new part used: loss with the rule's own parts forced",
               .rows = "rule_parts",
               .columns = part_columns,
               .column_count = sizeof part_columns / sizeof part_columns[0]},
    [HEALTH] = {.id = "rule-health",
                .title = "Health of the rules: largest share and entropy of the deepest third, what never varies or is dead",
                .rows = "checkpoints",
                .columns = health_columns,
                .column_count = sizeof health_columns / sizeof health_columns[0]},
};
enum { LOSSES, GATES, SUBLAYERS, GROUPS, CONTRASTS, GROUP_SUBLAYERS, TABLES };
static const ds_result_table kinds[] = {
    [LOSSES] = {.id = "losses",
                .title = "Loss, and its difference from the first",
                .rows = "checkpoints",
                .columns = loss_columns,
                .column_count = sizeof loss_columns / sizeof loss_columns[0]},
    [GATES] = {.id = "gates",
               .title = "Gates over all sublayers",
               .rows = "checkpoints",
               .columns = gate_columns,
               .column_count = sizeof gate_columns / sizeof gate_columns[0]},
};

static ds_status print(const ds_run *run, const ds_told *told, ds_table *const *tables) {
    ds_status status = DS_OK;
    ds_table *beside = NULL;
    bool curves = json_is_true(json_object_get(told->results, "trajectory")) && ds_output_terminal().unicode;
    (void)printf("%zu checkpoints on the same ", json_array_size(json_object_get(told->results, "checkpoints")));
    ds_print_windows(run);
    (void)printf("\n\n");
    DS_TRY(ds_print_table(tables[LOSSES]));
    DS_TRY(ds_print_inference(run, told->results));
    if (ds_comparison_has_gates(told->results)) {
        (void)printf("\n");
        DS_TRY(ds_print_table(tables[GATES]));
        (void)printf("\n");
        DS_TRY(ds_comparison_mean_gates(&beside, told->results, curves));
        DS_TRY(ds_print_table(beside));
        ds_table_free(&beside);
    }
    if (strcmp(json_string_value(json_object_get(told->options, "shut")), "each") == 0) {
        (void)printf("\n");
        DS_TRY(ds_comparison_costs(&beside, told->results, curves));
        DS_TRY(ds_print_table(beside));
    }
done:
    ds_table_free(&beside);
    return status;
}

/* Of groups: the seeds are what is compared, and checkpoint by checkpoint is for the files. */
static ds_status print_groups(const ds_run *run, const ds_told *told, ds_table *const *tables) {
    ds_status status = DS_OK;
    (void)printf("%zu groups on the same ", json_array_size(json_object_get(told->results, "groups")));
    ds_print_windows(run);
    (void)printf("\n\n");
    DS_TRY(ds_print_table(tables[GROUPS]));
    if (ds_table_rows(tables[CONTRASTS]) != 0) {
        (void)printf("\n");
        DS_TRY(ds_print_table(tables[CONTRASTS]));
    }
    (void)printf("\n");
    DS_TRY(ds_print_group_sentences(told->results));
    (void)printf("\n");
    DS_TRY(ds_print_table(tables[GROUP_SUBLAYERS]));
done:
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    ds_table *tables[TABLES + RULE_TABLES] = {NULL};
    bool grouped = json_object_get(told->results, "groups") != NULL;
    size_t count = grouped ? TABLES : GROUPS, before = count;
    DS_TRY(ds_command_table(&tables[LOSSES], "compare", &kinds[LOSSES], told->results));
    DS_TRY(ds_command_table(&tables[GATES], "compare", &kinds[GATES], told->results));
    DS_TRY(ds_comparison_long_table(&tables[SUBLAYERS], told->results));
    if (grouped) {
        DS_TRY(ds_command_table(&tables[GROUPS], "compare", &ds_group_tables[DS_GROUP_MEANS], told->results));
        DS_TRY(ds_command_table(&tables[CONTRASTS], "compare", &ds_group_tables[DS_GROUP_CONTRASTS], told->results));
        DS_TRY(ds_group_sublayers(&tables[GROUP_SUBLAYERS], told->results));
    }
    for (size_t i = 0; i < RULE_TABLES && json_object_get(told->results, "rule_parts") != NULL; i++) {
        DS_TRY(ds_command_table(&tables[count], "compare", &rule_kinds[i], told->results));
        count += tables[count] != NULL;
    }
    DS_TRY(ds_command_publish_tables(invocation, run, told, tables, count));
    if (!invocation->common.table) goto done;
    DS_TRY(grouped ? print_groups(run, told, tables) : print(run, told, tables));
    for (size_t i = before; i < count; i++) {
        (void)printf("\n");
        DS_TRY(ds_print_table(tables[i]));
    }
done:
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) ds_table_free(&tables[i]);
    return status;
}

/* Compare is no step of a report: every warning is for standard error. */
static void warn(void *context, const ds_run *run) {
    (void)context;
    ds_command_warn(run, 0);
}

static ds_status check_groups(const ds_checkpoint_groups *groups, bool trajectory) {
    if (trajectory)
        return ds_fail(DS_ERR_USAGE,
                       "--trajectory is of the steps of one run, --group of the ends of several: give one of them");
    if (groups->path_count > MOST_CHECKPOINTS)
        return ds_fail(DS_ERR_USAGE, "--group: %zu checkpoints, at most %d can be compared", groups->path_count,
                       MOST_CHECKPOINTS);
    return DS_OK;
}

/* What is compared; no groups: checkpoints alone. */
typedef struct comparing {
    const ds_invocation *invocation;
    ds_checkpoint_groups groups;
} comparing;

static ds_status find_groups(comparing *all, const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const compare_options *given = invocation->own;
    *all = (comparing){.invocation = invocation};
    if (given->groups.count == 0) goto done;
    DS_TRY(ds_checkpoint_groups_parse(&all->groups, given->groups.at, given->groups.count));
    DS_TRY(check_groups(&all->groups, given->measured.trajectory));
done:
    return status;
}

/* On windows as `base` says; `opened` is told of every checkpoint, NULL: nobody is. */
static ds_status measure(ds_told *told, ds_run *first, const comparing *all, const ds_run_options *base,
                         void (*opened)(void *context, const ds_run *run)) {
    const compare_options *given = all->invocation->own;
    ds_compare_options own = given->measured;
    own.checkpoints = all->invocation->operands;
    own.count = all->invocation->operand_count;
    own.opened = opened;
    own.gradients = all->groups.count != 0 && strcmp(given->gradients, "states") == 0;
    if (all->groups.count == 0) return ds_compare_results(&told->options, &told->results, first, base, &own);
    return ds_compare_groups_results(&told->options, &told->results, first, base, &own, &all->groups, given->margin);
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const ds_run_options base = ds_command_run_options(invocation);
    comparing all;
    ds_run first = {0};
    ds_folder *folder;
    ds_told told = {NULL, NULL};
    DS_TRY(find_groups(&all, invocation));
    if (invocation->common.out != NULL) DS_TRY(ds_command_folder(&folder, invocation));
    DS_TRY(measure(&told, &first, &all, &base, warn));
    DS_TRY(publish(invocation, &first, &told));
done:
    ds_told_release(&told);
    ds_run_close(&first);
    ds_checkpoint_groups_release(&all.groups);
    return status;
}

/* All checkpoints, opened again each time. */
static ds_status rehearse_comparison(void *context, ds_run *run) {
    ds_status status = DS_OK;
    const comparing *all = context;
    ds_run_options base = ds_rehearsal_options(all->invocation);
    ds_run first = {0};
    ds_told told = {NULL, NULL};
    base.length = run->length;
    base.sequences = run->sequences;
    DS_TRY(measure(&told, &first, all, &base, NULL));
done:
    ds_told_release(&told);
    ds_run_close(&first);
    return status;
}

static ds_status rehearse(ds_rehearsal *all, void *context) {
    return ds_rehearse(all, "compare", 0, rehearse_comparison, context);
}

static ds_status dry_run(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run_options opening = ds_rehearsal_options(invocation);
    comparing all;
    DS_TRY(find_groups(&all, invocation));
    opening.without_weights = true;
    if (all.groups.count > 0) opening.checkpoint = all.groups.paths[0];
    DS_TRY(ds_rehearse_command(invocation, &opening, rehearse, NULL, &all));
done:
    ds_checkpoint_groups_release(&all.groups);
    return status;
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(loss_columns),
                                            DS_COLUMN_SET(gate_columns),
                                            DS_COLUMN_SET(ds_comparison_columns),
                                            DS_COLUMN_SET(ds_group_columns),
                                            DS_COLUMN_SET(ds_group_contrast_columns),
                                            DS_COLUMN_SET(ds_group_sublayer_columns)};

const ds_command ds_command_compare = {
    .name = "compare",
    .operands = "CHECKPOINT CHECKPOINT...",
    .least_operands = 2,
    .most_operands = MOST_CHECKPOINTS,
    .summary = "How checkpoints differ: seeds, training steps, variants",
    .description =
        "Losses, gates, regimes and what shutting each gate costs, side by side on the same windows. Differences are from the "
        "first checkpoint, paired window by window: mean, 95% interval (bootstrap-t, at least Student's) and p-value of "
        "no difference (adjusted over all comparisons of the table after Holm); 4 windows are the fewest. The cost of a gate "
        "is the rise of the loss when it alone is "
        "shut; rules without gates have their sublayers' outputs left out.\n"
        "Vocabularies must agree; the windows are those of the first checkpoint's block size unless --seq-len says otherwise. "
        "One model is in memory at a time. With --trajectory the checkpoints are steps of a run, the last number of each label "
        "being the step: they are sorted by it, and labels without one, or with equal ones, are refused.\n"
        "With --rules the page of residual rules: what forcing each rule's own parts does to the loss (is the new part used), "
        "its "
        "health, and results from which \"deltascope plot\" draws contribution-maps, effective-sources, largest-share, "
        "compare-costs, mass-cause, rule-gains, source-gradients and source-sizes, all rules side by side. A read's scale is "
        "taken "
        "away by the norm after it, what is read much need not be worth much, and checkpoints on different backbones are not "
        "comparable: the page says so.\n"
        "With --group the checkpoints of a group are one variant trained with several seeds, and the seed is the sampling "
        "unit: "
        "mean, standard deviation and 95% t interval of each group, and every group against the first: paired where counts are "
        "equal, seed by seed in the order given, Welch's difference where they are not, p after Holm, and one of the words "
        "better, worse, equivalent (the 90% interval lies within --margin), unresolved (with the difference that four studies "
        "of five would have found).",
    .operands_option = "group",
    .examples = "  deltascope compare --tokens val.bin seed-1/ seed-2/ additive/\n"
                "  deltascope compare --tokens val.bin --rules --json rules.json mhc/ attnres/ additive/\n"
                "  deltascope compare --tokens val.bin --trajectory --out run/ step-1000/ step-2000/ step-4000/\n"
                "  deltascope compare --tokens val.bin --group plain=p1/,p2/,p3/ --group delta=d1/,d2/,d3/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_HISTORIES | DS_TAKES_STREAMS | DS_TAKES_RANKS | DS_TAKES_REHEARSAL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .dry_run = dry_run,
};
