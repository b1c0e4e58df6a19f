/* verify: the paper's statements, and our own arithmetic, as checks with measured errors. */
#include <string.h>

#include "cli/standard_streams.h"
#include "cli/text_wrapping.h"
#include "deltascope/measure/external_reference.h"
#include "deltascope/measure/verification.h"
#include "model_command.h"
#include "rehearsal.h"

typedef struct verify_options {
    bool list, recipe;
    ds_verification_options checks;
} verify_options;

static ds_status check_words(ds_text *text, const char *between, const char *before_last) {
    ds_status status = DS_OK;
    size_t count = ds_check_count();
    for (size_t i = 0; i < count; i++)
        DS_TRY(ds_text_printf(text, "%s%s", i == 0 ? "" : i + 1 == count ? before_last : between, ds_check_id(i)));
done:
    return status;
}

static const ds_option options[] = {
    {"list", NULL, "print the checks, their claims and sources, and stop", DS_OPTION_FLAG, offsetof(verify_options, list), 0,
     NULL},
    {"only", "ID,ID", "these checks alone; \"update\" stands for every update.*", DS_OPTION_TEXT,
     offsetof(verify_options, checks.only), 0, check_words},
    {"skip", "ID,ID", "all but these", DS_OPTION_TEXT, offsetof(verify_options, checks.skip), 0, check_words},
    {"reference", "FILE.safetensors",
     "compare logits, loss, states.N and grad.PARAMETER that another framework computed on the first windows, tensor by tensor",
     DS_OPTION_TEXT, offsetof(verify_options, checks.reference), 0, NULL},
    {"recipe", NULL, "print a PyTorch script that writes such a file, and stop", DS_OPTION_FLAG,
     offsetof(verify_options, recipe), 0, NULL},
};
static const verify_options defaults = {.list = false};

/* What was measured beside the error; of a skip the reason. */
static const char *detail(const json_t *check) {
    const json_t *reason = json_object_get(check, "reason");
    return json_string_value(reason != NULL ? reason : json_object_get(check, "detail"));
}

static const ds_result_column columns[] = {
    DS_CELL("status", NULL, NULL, DS_COLUMN_TEXT, 0, "status"),
    DS_CELL("check", NULL, NULL, DS_COLUMN_TEXT, 0, "id"),
    DS_CELL("measured", NULL, NULL, DS_COLUMN_REAL, 3, "measured"),
    DS_CELL("tolerance", NULL, NULL, DS_COLUMN_REAL, 3, "tolerance"),
    DS_CELL("claim", NULL, NULL, DS_COLUMN_TEXT, 0, "claim"),
    DS_CELL_TEXT("detail", NULL, detail),
};
static const ds_result_table tables[] = {
    {.id = "checks",
     .title = "Checks",
     .rows = "checks",
     .columns = columns,
     .column_count = sizeof columns / sizeof columns[0]},
};

/* ---- for people -------------------------------------------------------------------------------------------------- */

static ds_status print_list(void) {
    for (size_t i = 0; i < ds_check_count(); i++) {
        (void)printf("%s\n    ", ds_check_id(i));
        ds_print_wrapped(ds_check_claim(i), 4, 4);
        (void)printf("    source: ");
        ds_print_wrapped(ds_check_source(i), 12, 12);
    }
    return DS_OK;
}

/* The verdict with its numbers; below it the claim, and what there is to know beside it. */
static void print_check(const ds_verified *check) {
    const ds_check_result *result = &check->result;
    if (result->status == DS_CHECK_SKIP) {
        (void)printf("skip  %s\n      ", check->id);
        ds_print_wrapped(result->detail, 6, 6);
        return;
    }
    (void)printf("%s  %-34s %9.2e %s %.2e\n      ", ds_check_status_name(result->status), check->id, result->measured,
                 result->status == DS_CHECK_PASS ? "<=" : "> ", result->tolerance);
    ds_print_wrapped(check->claim, 6, 6);
    if (result->detail[0] == '\0') return;
    (void)printf("    - ");
    ds_print_wrapped(result->detail, 6, 6);
}

/* Each check as it is finished: `context` says whether to print it. */
static void tell_check(void *context, const ds_verified *check) {
    const bool *print = context;
    if (*print) print_check(check);
    (void)fflush(stdout); /* the next check may take minutes */
}

static size_t count_checks(const json_t *results, ds_check_status wanted) {
    const json_t *checks = json_object_get(results, "checks");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const char *status = json_string_value(json_object_get(json_array_get(checks, i), "status"));
        count += strcmp(status, ds_check_status_name(wanted)) == 0;
    }
    return count;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    const size_t failed = count_checks(told->results, DS_CHECK_FAIL);
    ds_table *table = NULL;
    size_t made;
    DS_TRY(ds_command_publish_results(&table, &made, invocation, run, told, tables, 1));
    if (invocation->common.table && invocation->common.columns != NULL) DS_TRY(ds_print_table(table));
    if (invocation->common.table)
        (void)printf("%zu passed, %zu failed, %zu skipped\n", count_checks(told->results, DS_CHECK_PASS), failed,
                     count_checks(told->results, DS_CHECK_SKIP));
    if (failed > 0) status = DS_CHECK_FAILED;
done:
    ds_table_free(&table);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    const verify_options *own = invocation->own;
    (void)journal;
    return ds_verification_results(told, results, run, &own->checks);
}

/* What another framework computed is compared as a whole. */
static ds_status row_names(json_t **names, const ds_run *run, const ds_invocation *invocation) {
    const verify_options *own = invocation->own;
    int code = 0;
    (void)run;
    *names = NULL;
    if (own->checks.reference != NULL) return DS_OK;
    *names = json_array();
    for (size_t i = 0; i < ds_check_count(); i++) {
        if (ds_verification_has(&own->checks, ds_check_id(i)))
            code |= json_array_append_new(*names, json_string(ds_check_id(i)));
    }
    return *names != NULL && code == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "verify: out of memory");
}

static void narrow(void *own, const char *names, const json_t *claimed) {
    (void)claimed;
    ((verify_options *)own)->checks.only = names;
}

static const ds_command_rows rows = {
    .list = "checks", .key = "id", .all_there_is = true, .options = {"only", NULL}, .names = row_names, .narrow = narrow};

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const verify_options *given = invocation->own;
    ds_verification_options own = given->checks;
    bool print = invocation->common.table && invocation->common.columns == NULL; /* else a table follows */
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    if (given->list) return print_list();
    if (given->recipe)
        return fputs(ds_reference_recipe, stdout) == EOF ? ds_fail(DS_ERR_SYSTEM, "standard output failed") : DS_OK;
    own.finished = tell_check;
    own.context = &print;
    DS_TRY(ds_verification_check(&own));
    ds_run_options opening = ds_command_run_options(invocation);
    /* another framework's file is of windows as the recipe cuts them, unless a spread was asked for */
    if (own.reference != NULL && invocation->common.spread == NULL && !invocation->common.offset.given)
        opening.spread = DS_SPREAD_CONSECUTIVE;
    DS_TRY(ds_command_open_as(&run, invocation, &opening));
    DS_TRY(ds_verification_results(&told.options, &told.results, &run, &own));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

static ds_status rehearse_checks(void *context, ds_run *run) {
    ds_status status = DS_OK;
    ds_told told = {NULL, NULL};
    DS_TRY(measure(&told.options, &told.results, run, context, NULL));
done:
    ds_told_release(&told);
    return status;
}

static ds_status rehearse(ds_rehearsal *all, void *context) {
    return ds_rehearse(all, "verify", DS_VERIFIED_WINDOWS, rehearse_checks, context);
}

static ds_status dry_run(const ds_invocation *invocation) {
    const ds_run_options opening = ds_rehearsal_options(invocation);
    return ds_rehearse_command(invocation, &opening, rehearse, NULL, (void *)(uintptr_t)invocation);
}

static const ds_column_set column_sets[] = {DS_COLUMN_SET(columns)};

const ds_command ds_command_verify = {
    .name = "verify",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "The paper's statements and our arithmetic as checks",
    .description = "Every check states a claim and its source, measures an error and compares it with a tolerance derived from "
                   "the arithmetic. Exit status 1 when any fails. Two windows are used, the first and the one half way, cut "
                   "where a model is large "
                   "so that the whole takes minutes; checks run in the precision of the run and in double.\n"
                   "--reference FILE holds tensors of the first B windows (which follow one another from token 0 on unless "
                   "--spread or --offset says otherwise): logits (B,T,V), loss, states.N (B,T,d,dv) or, where "
                   "the state is scalar, (B,T,d), grad.PARAMETER (as the parameter); F64, F32, F16 or BF16. --recipe prints a "
                   "script that makes one.",
    .examples = "  deltascope verify --tokens val.bin checkpoint/\n"
                "  deltascope verify --tokens val.bin --only update,pass.causality --json verify.json checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_HISTORIES | DS_TAKES_STREAMS | DS_TAKES_RANKS | DS_TAKES_REHEARSAL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .alone = "list|recipe",
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
    .dry_run = dry_run,
    .measure = measure,
    .rows = &rows,
};
