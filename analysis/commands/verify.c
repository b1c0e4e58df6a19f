/* verify: the paper's statements, and our own arithmetic, as checks with measured errors. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/external_reference.h"
#include "deltascope/base.h"
#include "cli/text_wrapping.h"
#include "model_command.h"

typedef struct verify_options {
    bool list, recipe;
    const char *only, *skip, *reference;
} verify_options;

static const ds_option options[] = {
    {"list", NULL, "print the checks, their claims and sources, and stop", DS_OPTION_FLAG, offsetof(verify_options, list), 0},
    {"only", "ID,ID", "these checks alone; \"update\" stands for every update.*", DS_OPTION_TEXT,
     offsetof(verify_options, only), 0},
    {"skip", "ID,ID", "all but these", DS_OPTION_TEXT, offsetof(verify_options, skip), 0},
    {"reference", "FILE.safetensors",
     "compare logits, loss, states.N and grad.PARAMETER that another framework computed on the first windows, tensor by tensor",
     DS_OPTION_TEXT, offsetof(verify_options, reference), 0},
    {"recipe", NULL, "print a PyTorch script that writes such a file, and stop", DS_OPTION_FLAG,
     offsetof(verify_options, recipe), 0},
};
static const verify_options defaults = {0};

/* ---- which checks -------------------------------------------------------------------------------------------------------- */

/* Whether the word names the check or the group before its dot. */
static bool names(const char *word, size_t length, const char *id) {
    return strncmp(word, id, length) == 0 && (id[length] == '\0' || id[length] == '.');
}

static bool listed(const char *list, const char *id) {
    const char *word;
    size_t length;
    while (ds_next_word(&list, &word, &length)) {
        if (names(word, length, id)) return true;
    }
    return false;
}

/* Every word of a list names some check. */
static ds_status check_list(const char *option, const char *list) {
    const char *word;
    size_t length;
    while (ds_next_word(&list, &word, &length)) {
        size_t i = 0;
        while (i < ds_check_count() && !names(word, length, ds_check_id(i))) i++;
        if (length == 0 || i == ds_check_count())
            return ds_fail(DS_ERR_USAGE, "--%s: there is no check \"%s\"; verify --list prints them", option,
                           ds_escape(word, length).text);
    }
    return DS_OK;
}

static bool chosen(const verify_options *own, size_t check) {
    const char *id = ds_check_id(check);
    return (own->only == NULL || listed(own->only, id)) && !listed(own->skip, id);
}

static ds_status print_list(void) {
    for (size_t i = 0; i < ds_check_count(); i++) {
        (void)printf("%s\n    ", ds_check_id(i));
        ds_print_wrapped(ds_check_claim(i), 4, 4);
        (void)printf("    source: ");
        ds_print_wrapped(ds_check_source(i), 12, 12);
    }
    return DS_OK;
}

/* ---- results ------------------------------------------------------------------------------------------------------------- */

static const ds_column columns[] = {
    {"status", NULL, NULL, DS_COLUMN_TEXT, 0},   {"check", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"measured", NULL, NULL, DS_COLUMN_REAL, 3}, {"tolerance", NULL, NULL, DS_COLUMN_REAL, 3},
    {"claim", NULL, NULL, DS_COLUMN_TEXT, 0},    {"detail", NULL, NULL, DS_COLUMN_TEXT, 0},
};

typedef struct outcome {
    ds_json_builder json;
    ds_table *table;
    size_t count[3]; /* by ds_check_status */
} outcome;

/* The verdict with its numbers; below it the claim, and what there is to know beside it. */
static void print_result(const char *id, const char *claim, const ds_check_result *result) {
    if (result->status == DS_CHECK_SKIP) {
        (void)printf("skip  %s\n      ", id);
        ds_print_wrapped(result->detail, 6, 6);
        return;
    }
    (void)printf("%s  %-34s %9.2e %s %.2e\n      ", ds_check_status_name(result->status), id, result->measured,
                 result->status == DS_CHECK_PASS ? "<=" : "> ", result->tolerance);
    ds_print_wrapped(claim, 6, 6);
    if (result->detail[0] == '\0') return;
    (void)printf("    - ");
    ds_print_wrapped(result->detail, 6, 6);
}

static void add_result(outcome *all, const char *id, const char *claim, const char *source, const ds_check_result *result,
                       bool print) {
    const char *status = ds_check_status_name(result->status);
    all->count[result->status]++;
    ds_json_begin_object(&all->json, NULL);
    ds_json_put_text(&all->json, "id", id);
    ds_json_put_text(&all->json, "claim", claim);
    ds_json_put_text(&all->json, "source", source);
    ds_json_put_real(&all->json, "measured", result->measured);
    ds_json_put_real(&all->json, "tolerance", result->tolerance);
    ds_json_put_text(&all->json, "status", status);
    ds_json_put_text(&all->json, result->status == DS_CHECK_SKIP ? "reason" : "detail", result->detail);
    ds_json_end(&all->json);
    ds_table_text(all->table, status);
    ds_table_text(all->table, id);
    ds_table_real(all->table, result->measured);
    ds_table_real(all->table, result->tolerance);
    ds_table_text(all->table, claim);
    ds_table_text(all->table, result->detail);
    if (print) print_result(id, claim, result);
    (void)fflush(stdout); /* the next check may take minutes */
}

static ds_status run_checks(outcome *all, ds_verify *verify, const verify_options *own, const ds_common *common,
                            const ds_run *run) {
    ds_status status = DS_OK;
    ds_progress progress = ds_progress_start(run, "verify", (double)ds_check_count());
    for (size_t i = 0; i < ds_check_count(); i++) {
        ds_check_result result;
        if (!chosen(own, i)) continue;
        DS_TRY(ds_verify_check(&result, verify, i));
        ds_progress_finish(&progress); /* the line makes room for the result */
        add_result(all, ds_check_id(i), ds_check_claim(i), ds_check_source(i), &result, common->table);
        ds_progress_update(&progress, (double)i + 1);
    }
done:
    ds_progress_finish(&progress);
    return status;
}

/* ---- another framework's tensors ----------------------------------------------------------------------------------------- */

static ds_status run_reference(outcome *all, const ds_invocation *invocation, ds_run *run, const ds_model *exact, const char *path) {
    ds_status status = DS_OK;
    ds_reference *reference = NULL;
    ds_check_result *results = NULL;
    DS_TRY(ds_reference_run(&reference, &results, run, exact, path));
    for (size_t i = 0; i < ds_reference_count(reference); i++) {
        char id[DS_NAME_CAPACITY + sizeof "reference."];
        (void)snprintf(id, sizeof id, "reference.%s", DS_SHOW(ds_reference_name(reference, i)));
        add_result(all, id, "agrees with what another framework computed", path, &results[i],
                   invocation->common.table);
    }
done:
    ds_reference_close(&reference);
    free(results);
    return status;
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    (void)run;
    const verify_options *own = invocation->own;
    if (own->only != NULL) ds_json_put_text(b, "only", own->only);
    if (own->skip != NULL) ds_json_put_text(b, "skip", own->skip);
    if (own->reference != NULL) ds_json_put_text(b, "reference", own->reference);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, outcome *all) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_json_end(&all->json);
    ds_json_end(&all->json);
    DS_TRY(ds_json_finish(&results, &all->json));
    DS_TRY(ds_command_publish(invocation, run, results, &all->table, 1));
    if (invocation->common.table)
        (void)printf("%zu passed, %zu failed, %zu skipped\n", all->count[DS_CHECK_PASS], all->count[DS_CHECK_FAIL],
                     all->count[DS_CHECK_SKIP]);
done:
    json_decref(results);
    return status;
}

/* The same weights in double: the session's own model when the run is in double. */
static ds_status open_verify(ds_verify **verify, ds_model **loaded, ds_run *run) {
    ds_status status = DS_OK;
    ds_batch batch;
    ds_model *exact = run->model;
    if (ds_model_precision(run->model) != DS_F64) {
        DS_TRY(ds_model_load(loaded, run->checkpoint, DS_F64));
        exact = *loaded;
    }
    DS_TRY(ds_run_batch(run, 0, &batch));
    DS_TRY(ds_verify_new(verify, run->model, exact, &batch, run->options.seed));
done:
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const verify_options *own = invocation->own;
    ds_run run = {0};
    ds_model *loaded = NULL;
    ds_verify *verify = NULL;
    outcome all = {0};
    if (own->list) return print_list();
    if (own->recipe)
        return fputs(ds_reference_recipe, stdout) == EOF ? ds_fail(DS_ERR_SYSTEM, "standard output failed") : DS_OK;
    DS_TRY(check_list("only", own->only));
    DS_TRY(check_list("skip", own->skip));
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(open_verify(&verify, &loaded, &run));
    DS_TRY(ds_table_new(&all.table, "Checks", columns, sizeof columns / sizeof columns[0]));
    ds_json_begin_object(&all.json, NULL);
    ds_json_begin_array(&all.json, "checks");
    DS_TRY(run_checks(&all, verify, own, &invocation->common, &run));
    if (own->reference != NULL) DS_TRY(run_reference(&all, invocation, &run, loaded != NULL ? loaded : run.model, own->reference));
    DS_TRY(publish(invocation, &run, &all));
    if (all.count[DS_CHECK_FAIL] > 0) status = DS_CHECK_FAILED;
done:
    ds_json_discard(&all.json);
    ds_table_free(&all.table);
    ds_verify_free(&verify);
    ds_model_free(&loaded);
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_verify = {
    .name = "verify",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "The paper's statements and our arithmetic as checks",
    .description = "Every check states a claim and its source, measures an error and compares it with a tolerance derived from "
                   "the arithmetic. Exit status 1 when any fails. The first two windows are used, cut where a model is large "
                   "so that the whole takes minutes; checks run in the precision of the run and in double.\n"
                   "--reference FILE holds tensors of the first B windows: logits (B,T,V), loss, states.N (B,T,d,dv) or, where "
                   "the state is scalar, (B,T,d), grad.PARAMETER (as the parameter); F64, F32, F16 or BF16. --recipe prints a "
                   "script that makes one.",
    .examples = "  deltascope verify --tokens val.bin checkpoint/\n"
                "  deltascope verify --tokens val.bin --only update,pass.causality --json verify.json checkpoint/\n",
    .takes = DS_TAKES_MODEL,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .alone = "list|recipe",
    .put_options = put_options,
    .run = run_command,
};
